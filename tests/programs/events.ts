// What the host does when the kernel of a random program's machine tells of an event: it repairs the page that was
// missing, or lets the program go on behind the fault, or carries out a service. All choices come from one seeded
// sequence, and all changes are made in the guest's memory, so that both machines do the same.
import type { Random } from '../isa/random.ts';
import { AT, EVENT_PORT } from './kernel.ts';
import type { Machine } from './machine.ts';
import { NX, P, RW, US } from './paging.ts';
import { ALIAS, LARGE, LARGE_CODE, PAGE } from './places.ts';

/** Vectors of the services. */
export const SERVICE = 0x80;
export const END = 0x81;
/** The page at rBX is changed. */
export const CHANGE = 0x82;
const DB = 1;
const TRAPS = new Set([2, 3, 4]);
const PF = 14;
const TF = 0x100n;
const RF = 0x10000n;
const AC = 0x40000n;
const NO_FLUSH = 1n << 63n;

/** Times that a program is run from its beginning to its end. */
const ROUNDS = 6;
/** Bytes that rSP may be off. */
const STACK_DRIFT = 0x600n;

/** Places in the handler's frame, counted in stack slots. */
const SLOT = { VECTOR: 3, IP: 5, CS: 6, FLAGS: 7, SP: 8 } as const;

export class Events {
  /** The program has come to its end. */
  ended = false;
  /** Events by vector. */
  readonly counts = new Map<number, number>();
  private rounds = 0;
  private readonly m: Machine;
  private readonly random: Random;

  constructor(m: Machine, random: Random) {
    this.m = m;
    this.random = random;
  }

  /** The guest wrote to a port. */
  told(port: number): void {
    if (port === EVENT_PORT && this.m.get32('cpl') === 0) this.event();
  }

  private get slotSize(): number {
    return this.m.program.mode === 'legacy' ? 4 : 8;
  }
  private slotAddress(n: number): number | undefined {
    const { m } = this;
    const base = m.program.mode === 'legacy' ? m.get64('seg_base', 2) : 0n;
    const gpa = m.current.translate(base + m.get64('gpr', 4) + BigInt(n * this.slotSize));
    return gpa === undefined ? undefined : m.ram + gpa;
  }
  private slot(n: number): bigint {
    const at = this.slotAddress(n);
    if (at === undefined) return 0n;
    return this.slotSize === 8 ? this.m.view.getBigUint64(at, true) : BigInt(this.m.view.getUint32(at, true));
  }
  private setSlot(n: number, v: bigint): void {
    const at = this.slotAddress(n);
    if (at === undefined) return;
    if (this.slotSize === 8) this.m.view.setBigUint64(at, v, true);
    else this.m.view.setUint32(at, Number(BigInt.asUintN(32, v)), true);
  }

  private event(): void {
    const { m, random } = this;
    const vector = Number(this.slot(SLOT.VECTOR) & 0xffn);
    this.counts.set(vector, (this.counts.get(vector) ?? 0) + 1);
    this.ask(0n, 0n);
    if (vector === END) this.begin();
    else if (vector === SERVICE) this.service();
    else if (vector === CHANGE) this.change(m.get64('gpr', 3));
    else if (vector === DB) this.debug();
    else if (vector === PF && !random.once(8) && this.repair(m.get64('cr2'))) return;
    else if (!TRAPS.has(vector) && vector < 32) this.skip();
  }

  /** Puts into the kernel's cells what it has to invalidate and to load. */
  private ask(invlpg: bigint, cr3: bigint): void {
    const { m } = this;
    const at = m.ram + m.current.translate(m.kernelBase + BigInt(AT.CELLS))!;
    m.view.setBigUint64(at, invlpg, true);
    m.view.setBigUint64(at + 8, cr3, true);
  }

  /** A trap flag that was set goes away after a few traps; breakpoints are passed. */
  private debug(): void {
    let flags = this.slot(SLOT.FLAGS) | RF;
    if (this.random.once(6)) flags &= ~TF;
    this.setSlot(SLOT.FLAGS, flags);
  }

  /** The page at `linear` as it was mapped at first, but present and, mostly, writable; false when there is none. */
  private repair(linear: bigint): boolean {
    const { m } = this;
    if (m.isLarge(linear)) {
      m.current.map(LARGE, 0, m.largeBits);
      this.ask(linear, 0n);
      return true;
    }
    const at = Number(linear & ~0xfffn);
    const page = m.program.places.pages.find((p) => p.at === at || p.at + ALIAS === at);
    if (!page) return false;
    let bits = m.bitsOf(page, at) | P | (this.random.once(4) ? 0n : RW);
    if (m.program.environment.userPages && bits & US) bits = this.admit(bits);
    m.current.map(at, this.frameNow(at, page.at), bits);
    this.ask(BigInt(at), 0n);
    return true;
  }
  /** A program of level 0 may go on with a user page, which is its own from now on, or EFLAGS.AC is set. */
  private admit(bits: bigint): bigint {
    if (this.random.once(4)) return bits & ~US;
    this.setSlot(SLOT.FLAGS, this.slot(SLOT.FLAGS) | AC);
    return bits;
  }
  /** The frame that a page has at present in the current address space, also while it is not present. */
  private frameNow(at: number, page: number): number {
    const entry = Number(this.m.current.entry(BigInt(at)) & 0xf_ffff_f000n);
    return entry || this.m.frameOf.get(page)![0];
  }

  /**
   * Goes on behind the instruction that faulted, or at the next place where that makes sense; somewhere, when that is
   * outside the program. A stack pointer that has gone astray is put right.
   */
  private skip(): void {
    const { m, random } = this;
    const { program } = m;
    const { code } = program.places;
    const base = BigInt(program.baseOf(Number(this.slot(SLOT.CS) & 0xffffn)));
    const linear = BigInt.asUintN(64, this.slot(SLOT.IP) + base);
    const isCode = (at: bigint): boolean => at >= BigInt(code[0]!.at) && at < BigInt(code.at(-1)!.at + PAGE);
    // The same code is mapped elsewhere too.
    const alias = [BigInt(ALIAS), BigInt(LARGE_CODE)].find((x) => isCode(linear ^ x)) ?? 0n;
    const here = linear ^ alias;
    const found = program.resumes.find((at) => BigInt(at) > here);
    const next = isCode(here) ? (found ?? program.end) : random.pick([program.end, ...program.resumes]);
    this.goTo(next, alias);
    this.straightenStack();
  }
  /** Returns to a place of the program, in one of the other places where it is mapped unless that is 16-bit code. */
  private goTo(place: number, alias: bigint): void {
    const { program } = this.m;
    const now = Number(this.slot(SLOT.CS) & 0xffffn);
    const [selector, base] = program.segmentAt(place);
    if (program.isNarrow(selector) || program.isNarrow(now)) {
      this.setSlot(SLOT.CS, BigInt(selector));
      this.setSlot(SLOT.IP, BigInt(place - base));
    } else this.setSlot(SLOT.IP, (BigInt(place) ^ alias) - BigInt(program.baseOf(now)));
  }
  private straightenStack(): void {
    const { program } = this.m;
    if (program.mode === 'legacy' && (this.slot(SLOT.CS) & 3n) === 0n) return;
    const off = this.slot(SLOT.SP) - BigInt(program.stackPointer);
    if (off > STACK_DRIFT || off < -STACK_DRIFT || this.random.once(16)) {
      this.setSlot(SLOT.SP, BigInt(program.stackPointer));
    }
  }

  /** The program begins again, a few times: what was translated in the first round is run in the next. */
  private begin(): void {
    const { program } = this.m;
    this.rounds++;
    this.ended = this.rounds === ROUNDS;
    this.goTo(program.start, 0n);
    this.straightenStack();
  }

  /** A service that the program asked for: something about its address space changes. */
  private service(): void {
    const { m, random } = this;
    const { pages } = m.program.places;
    const kind = random.below(8);
    if (kind < 2) {
      const other = m.current === m.roots[0] ? 1 : 0;
      // An address space that was changed while another was current has no stale entries: each has its own tables.
      this.ask(
        0n,
        m.cr3Of(random.once(5) ? 1 - other : other) | (m.program.environment.pcid && random.once(2) ? NO_FLUSH : 0n),
      );
      return;
    }
    if (m.program.environment.large && random.once(3)) {
      this.changeLarge();
      return;
    }
    const page = random.pick(pages);
    const at = page.at + (random.once(4) ? ALIAS : 0);
    if (kind === 2 && page.use === 'code') {
      // Another frame with the same instructions but other constants.
      m.current.map(at, random.pick(m.frameOf.get(page.at)!), m.bitsOf(page, at) | P);
    } else if (page.use !== 'stack' || m.program.cpl === 3) this.changeRights(at, kind);
    this.ask(BigInt(at), 0n);
  }
  private changeRights(at: number, kind: number): void {
    const { m } = this;
    const entry = m.current.entry(BigInt(at));
    const { paging, smep, smap } = m.program.environment;
    const last = smep || smap ? US : paging === 'two-level' ? RW : NX;
    const bit = kind < 5 ? P : kind < 7 ? RW : last;
    m.current.setEntry(BigInt(at), entry ^ bit);
  }
  /** The page at a linear address: code gets its other frame, with other constants, data other rights. */
  private change(linear: bigint): void {
    const { m, random } = this;
    const at = Number(linear & ~0xfffn);
    const page = m.program.places.pages.find((p) => p.at === at);
    if (!page) return;
    if (page.use === 'code') {
      const [a, b] = m.frameOf.get(at)!;
      m.current.map(at, this.frameNow(at, at) === a ? b : a, m.bitsOf(page, at) | P);
    } else this.changeRights(at, random.pick([4, 5]));
    this.ask(BigInt(at), 0n);
  }
  /** The large page loses or gets a right, and some single page inside it is invalidated. */
  private changeLarge(): void {
    const { m, random } = this;
    const paging = m.program.environment.paging;
    const bit = random.pick(paging === 'two-level' ? [P, RW] : [P, RW, NX]);
    m.current.setEntry(BigInt(LARGE), m.current.entry(BigInt(LARGE)) ^ bit);
    this.ask(BigInt(LARGE + random.below(1 << 20)), 0n);
  }
}
