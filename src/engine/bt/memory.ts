/**
 * Memory as a region sees it: linear addresses of operands, and the host's addresses behind them by the TLB or by the
 * page that a base register's accesses went to last. An access that misses and cannot be filled leaves the region.
 */
import type { MemRef, OperandValue } from '../../isa/insn.ts';
import { CPU, RECENT, SEG, TLB } from '../../isa/layout.ts';
import type { MemWidth, SegRef, Width } from '../../isa/ops.ts';
import { type Operand, sizeBits } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import type { RegionInsn } from './cfg.ts';
import { isReinterpretation, ones, RegionRegisters, type RegisterKnowledge } from './registers.ts';
import { Span } from './spans.ts';
import type { RegionExit } from './ways-out.ts';

type Expr = x.Expr;
const i64 = x.extendU;
export const LOAD: Readonly<Record<Width, x.LoadOp>> = { 8: 'i64_8u', 16: 'i64_16u', 32: 'i64_32u', 64: 'i64' };
export const STORE: Readonly<Record<Width, x.StoreOp>> = { 8: 'i64_8', 16: 'i64_16', 32: 'i64_32', 64: 'i64' };
const PAGE_MASK = -4096n;

/** Accesses that probably go to the same page have the same key: those off the same base register. */
export function accessKey(m: MemRef): string {
  if (m.ripRelative || m.base === undefined) return `page ${m.disp >> 12n}`;
  return `base ${m.base}`;
}
export const STACK_KEY = 'base 4';
const baseOf = (key: string): number | undefined => (key.startsWith('base ') ? Number(key.slice(5)) : undefined);

/** Is it worth keeping the page of a key: for loads, for stores? */
export interface PageUse {
  readonly read: boolean;
  readonly write: boolean;
}

const formOf = (m: MemRef, write: boolean): string =>
  `${m.seg} ${m.ripRelative ? 'rip' : m.base} ${m.index} ${m.index === undefined ? 0 : m.scale} ${write}`;
/** A constant of the type of another expression. */
const integerOf = (e: Expr, n: number): Expr => (e.type === 'i64' ? x.i64Const(BigInt(n)) : x.i32Const(n));

/**
 * A host address that an access of the path being written went to; others are found from there if on the same page.
 * Addresses are those of Expr: constants on top of a common value.
 */
interface KnownHost {
  readonly host: Expr;
  readonly plus: number;
  readonly bytes: number;
  readonly write: boolean;
  /** What is known to be on the page with it; undefined where that is only the access itself. */
  readonly span: Span | undefined;
}

/** What is known about registers and memory at a point of the code and holds only on the path to it. */
export interface MemoryKnowledge extends RegisterKnowledge {
  readonly hosts: ReadonlyMap<object, KnownHost>;
}

const NO_HOSTS: MemoryKnowledge['hosts'] = new Map();
/**
 * The page that operands of one form went to last in a loop of one block. Of an address a part changes in the loop, the
 * rest does not: `delta` is the variable that, added to the former, gives the offset in the page, `host` the one that gives
 * the host address. So neither waits for the other. Outside 64-bit mode `delta` is i32, as addresses wrap at 4 GiB there.
 */
interface LoopPage {
  readonly number: number;
  readonly operand: MemRef;
  readonly bytes: number;
  readonly write: boolean;
  readonly delta: number;
  readonly host: number;
}
/** What the loop being written is known to do; the set of registers that it writes once its first turn is there. */
interface LoopPages {
  readonly pages: Map<string, LoopPage>;
  /** Variable: the linear address of an access that is not on its page, on the way to where that is changed. */
  missed: number | undefined;
  /** Are pages changed by themselves? Else what is not on its page goes to the first turn's code. */
  change: boolean;
  readonly versions: readonly number[];
  written: ReadonlySet<number> | undefined;
}

export abstract class RegionMemory extends RegionRegisters {
  w: Width = 32;
  asize: 16 | 32 | 64 = 32;
  stack: 16 | 32 | 64 = 32;
  /** What is being translated is a loop of few blocks. */
  inTightLoop = false;
  protected current!: RegionInsn;
  protected readonly bases = new Map<number, number>();
  private readonly pagesKept: ReadonlyMap<string, PageUse>;
  private hosts = new Map<object, KnownHost>();
  private readonly recent = new Map<string, number>();
  /** In loops that keep pages in variables. */
  private loopPages: LoopPages | undefined;
  /** What is being written is carried out under a condition. */
  protected conditional = false;
  /** In blocks of binary64 arithmetic: the current instruction takes its operand in memory as a number. */
  protected takesNumbers = false;
  /** What has been written of the current turn of a loop changes more than registers and flags: see restart. */
  protected irreversible = true;
  private tlb: number | undefined;
  private address: Expr | undefined;
  /** Keys that only one access of the block being written has. */
  accessedOnce: ReadonlySet<string> = new Set();
  private rmwHost: Expr | undefined;
  /** Host address of the current instruction's 256 bits of memory. */
  private wideHost: Expr | undefined;

  /** `pagesKept`: keys (see accessKey) whose page is worth remembering. */
  constructor(f: FunctionBuilder, pagesKept: ReadonlyMap<string, PageUse>) {
    super(f);
    this.pagesKept = pagesKept;
  }

  protected hostKnowledge(): MemoryKnowledge['hosts'] {
    return this.hosts.size > 0 ? new Map(this.hosts) : NO_HOSTS;
  }
  protected returnToHosts(hosts: MemoryKnowledge['hosts']): void {
    this.hosts = new Map(hosts.size > 0 ? hosts : undefined);
  }
  override forget(): void {
    super.forget();
    this.hosts.clear();
  }
  override keepKnown(): void {
    super.keepKnown();
    for (const { host } of this.hosts.values()) this.f.keep(host);
  }
  /** Outside 64-bit mode addresses are cut to 32 bits: distances hold modulo 2^32 there. */
  override zext(w: Width, v: Expr): Expr {
    const known = w === 32 ? this.known.find((k) => k.value && x.isSameLeaf(k.value, v))?.low32 : undefined;
    const cut = known ?? super.zext(w, v);
    return w === 32 && !this.long && v.origin ? x.known(cut, cut.bits, v.origin) : cut;
  }

  /** Leaves the region before the current instruction. @returns the exit, if it is in the table */
  protected abstract leave(): RegionExit | undefined;
  /** Value of an operand. */
  abstract get(n: number): Expr;

  /** Turns to the next instruction. */
  begin(i: RegionInsn): void {
    const { insn } = i;
    this.f.freeTemporaries();
    this.keepKnown();
    this.current = i;
    this.w = insn.w;
    this.asize = insn.asize;
    this.stack = insn.mode.stack;
    this.long = insn.mode.code === 64;
    this.address = undefined;
    this.rmwHost = undefined;
    this.wideHost = undefined;
  }
  override prologue(): void {
    const { f, cpu } = this;
    super.prologue();
    if (this.tlb !== undefined) f.setVariable(this.tlb, x.load('i32', cpu, CPU.tlb_ptr!));
    for (const [key, at] of this.recent) {
      const use = this.pagesKept.get(key)!;
      if (use.read) f.store('i64', cpu, at + TLB.TAG_READ, x.i64Const(RECENT.NO_PAGE));
      if (use.write) f.store('i64', cpu, at + TLB.TAG_WRITE, x.i64Const(RECENT.NO_PAGE));
    }
    for (const [seg, v] of this.bases) f.setVariable(v, x.load('i64', cpu, CPU.seg_base! + seg * 8));
  }

  private operand(n: number): Operand {
    return this.current.insn.row.operands[n]!;
  }
  protected value(n: number): OperandValue {
    return this.current.insn.operands[n]!;
  }
  width(n: number): MemWidth {
    return sizeBits(this.operand(n).size, this.w, this.long) as MemWidth;
  }
  protected tlbBase(): Expr {
    this.tlb ??= this.f.variable('i32');
    return this.f.get(this.tlb);
  }
  // --- addresses and memory --------------------------------------------------------------------------------
  protected segmentBase(seg: number): Expr | undefined {
    if (seg !== SEG.fs && seg !== SEG.gs) return undefined;
    let v = this.bases.get(seg);
    if (v === undefined) {
      v = this.f.variable('i64');
      this.bases.set(seg, v);
    }
    return this.f.get(v);
  }
  private displacement(m: MemRef): bigint {
    const { insn, at } = this.current;
    const popped = insn.row.popsFirst && m.base === 4 ? BigInt(insn.w / 8) : 0n;
    return m.disp + popped + (m.ripRelative ? BigInt(at + insn.length) : 0n);
  }
  private effective(m: MemRef): Expr {
    let sum: Expr = x.i64Const(this.displacement(m));
    if (m.index !== undefined) {
      const index = x.binary('shl', this.gpr(m.index), x.i64Const(m.scale));
      sum = x.add(index, sum);
    }
    if (m.ripRelative) sum = x.add(this.page(), sum);
    else if (m.base !== undefined) sum = x.add(this.gpr(m.base), sum);
    return this.asize === 32 ? this.zext(32, sum) : sum;
  }
  private toLinear(seg: number, offset: Expr): Expr {
    const base = this.segmentBase(seg);
    if (!base) return offset;
    const sum = x.add(offset, base);
    return this.long ? sum : this.zext(32, sum);
  }
  private operandAddress(): Expr {
    const { insn } = this.current;
    const m = insn.mem!;
    if (!this.address) {
      let offset = this.effective(m);
      if (insn.row.bitOffset) offset = x.add(offset, this.bitDisplacement());
      if (!this.long) offset = this.zext(32, offset);
      this.address = this.named(this.toLinear(m.seg, offset));
    }
    return this.address;
  }
  /** Bytes that the signed bit offset in operand 1 moves the address by, in steps of the operand (SDM vol.2 BT). */
  private bitDisplacement(): Expr {
    const log2 = BigInt(Math.log2(this.w));
    const steps = this.sar(this.sext(this.w, this.get(1)), x.i64Const(log2));
    return this.shl(steps, x.i64Const(log2 - 3n));
  }
  offset(_n: number): Expr {
    const sum = this.effective(this.current.insn.mem!);
    return this.f.let(this.asize === 64 ? sum : x.and(sum, x.i64Const(ones(this.asize))));
  }
  linear(seg: SegRef, offset: Expr): Expr {
    const number = seg === 'insn' ? this.current.insn.seg : SEG[seg];
    return this.f.let(this.toLinear(number, i64(offset)));
  }
  /**
   * Host address of a linear range in RAM: from that of another access off the same value if both are on one page, else
   * by the TLB.
   */
  private host(va: Expr, bytes: number, write: boolean, key?: string): Expr {
    const { origin } = va;
    if (!origin || this.current.alone) return this.lookUp(va, bytes, write, key);
    const near = this.nearHost(origin, bytes, write);
    if (near?.isOnPage) return this.f.let(x.add(near.host, x.i32Const(near.distance)));
    if (near) return this.hostFrom(near.host, near.distance, va, bytes, write);
    const span = this.conditional || this.isKept(bytes, key) ? undefined : new Span(this.f, bytes);
    const host = this.f.let(span ? this.lookUpSpan(va, span, write) : this.lookUp(va, bytes, write, key));
    this.hosts.set(origin.of, { host, plus: origin.plus, bytes, write, span });
    return host;
  }
  /** A known host address less than a page from a linear address, and how far from it; whether that is on its page. */
  private nearHost(
    { of, plus }: NonNullable<Expr['origin']>,
    bytes: number,
    write: boolean,
  ): { host: Expr; distance: number; isOnPage: boolean } | undefined {
    const known = this.hosts.get(of);
    if (!known || (write && !known.write)) return undefined;
    const { host, span } = known;
    const distance = this.long ? plus - known.plus : (plus - known.plus) | 0;
    // What is carried out under a condition is not looked up with what always is.
    const isOnPage = span
      ? span.has(distance, bytes) || (!this.conditional && span.takes(distance, bytes))
      : distance === 0 && bytes <= known.bytes;
    return Math.abs(distance) < 4096 ? { host, distance, isOnPage } : undefined;
  }
  private hostFrom(known: Expr, distance: number, va: Expr, bytes: number, write: boolean): Expr {
    const { f, cpu } = this;
    const host = f.temporary('i32');
    f.setVariable(host, x.add(known, x.i32Const(distance)));
    const within = x.add(x.and(known, x.i32Const(0xfff)), x.i32Const(distance));
    this.putWritten();
    f.unlikely(x.compare('gt_u', within, x.i32Const(4096 - bytes)), () => {
      if (this.inState) {
        this.leave();
        return;
      }
      const found = f.let(f.call('ram_address', cpu, va, x.i32Const(bytes), x.i32Const(write ? 1 : 0)));
      f.unlikely(x.eqz(found), () => this.leave());
      // Of what was loaded V8 knows that it has 32 bits, of a result it does not, and would extend it on both paths.
      f.store('i32', cpu, CPU.scratch!, found);
      f.setVariable(host, x.load('i32', cpu, CPU.scratch!));
    });
    return x.localGet(host, 'i32');
  }
  /** An address that is worth a local: where it is near a known one it is needed only when that is on another page. */
  private named(va: Expr): Expr {
    return va.origin && this.hosts.has(va.origin.of) ? va : this.f.let(va);
  }
  /**
   * Host address of a linear range in RAM. The TLB's entry is looked up here. Where an access is likely to be to the same
   * page again (`key`), that page's tags and addend are kept in RECENT, and an aligned access looks there first.
   */
  private lookUp(va: Expr, bytes: number, write: boolean, key?: string): Expr {
    const { f, cpu } = this;
    this.putWritten();
    const recent = this.isKept(bytes, key) ? this.recentEntry(key!) : undefined;
    if (recent === undefined) return this.hostBy(this.tlbEntry(va, bytes, write), va);
    const aligned = x.and(va, x.i64Const(PAGE_MASK | BigInt(bytes - 1)));
    const tag = f.let(x.load('i64', cpu, recent + (write ? TLB.TAG_WRITE : TLB.TAG_READ)));
    const use = this.pagesKept.get(key!)!;
    f.unlikely(x.compare('ne', tag, aligned), () => {
      f.store('i64', cpu, CPU.scratch!, tag);
      const entry = this.tlbEntry(va, bytes, write);
      // Both tags of an entry are of the page that its addend belongs to, or none.
      for (const t of [...(use.read ? [TLB.TAG_READ] : []), ...(use.write ? [TLB.TAG_WRITE] : [])]) {
        f.store('i64', cpu, recent + t, x.load('i64', entry, t));
      }
      f.store('i32', cpu, recent + TLB.ADDEND, x.load('i32', entry, TLB.ADDEND));
    });
    return x.add(x.wrap(va), x.load('i32', cpu, recent + TLB.ADDEND));
  }
  /** Is the page of an access remembered? An alignment that is no power of two says nothing about crossing a page. */
  private isKept(bytes: number, key: string | undefined): boolean {
    return (
      key !== undefined &&
      this.inTightLoop &&
      (bytes & (bytes - 1)) === 0 &&
      this.accessedOnce.has(key) &&
      this.recentEntry(key) !== undefined
    );
  }
  /** Host address of an access whose span is looked up in the TLB. */
  private lookUpSpan(va: Expr, span: Span, write: boolean): Expr {
    const { f } = this;
    this.putWritten();
    const first = f.plusLate(va, span.first);
    const last = f.plusLate(first, span.length);
    const bytes = (): Expr => x.add(x.wrap(x.sub(last, first)), x.i32Const(1));
    return this.hostBy(
      this.entryOf(first, last, write, () => this.missed(first, bytes, write, () => span.leavesAt(this.leave()))),
      va,
    );
  }
  private hostBy(entry: Expr, va: Expr): Expr {
    return x.add(x.wrap(va), x.load('i32', entry, TLB.ADDEND));
  }
  /** The TLB entry that a range hits; `leave` leaves if there is none; `atOnce`: without having it filled. */
  private tlbEntry(
    va: Expr,
    bytes: number,
    write: boolean,
    leave: () => void = () => this.leave(),
    atOnce = false,
  ): Expr {
    const last = bytes === 1 ? va : x.add(va, x.i64Const(bytes - 1));
    return this.entryOf(va, last, write, () => {
      if (atOnce) leave();
      else this.missed(va, () => x.i32Const(bytes), write, leave);
    });
  }
  /** The TLB entry of a range, from its first byte to the last; `miss` emits what is done if it is not there. */
  private entryOf(first: Expr, last: Expr, write: boolean, miss: () => void): Expr {
    const { f, cpu } = this;
    const slot = x.and(x.binary('shr_u', x.wrap(first), x.i32Const(7)), x.i32Const((TLB.ENTRIES - 1) * TLB.ENTRY_SIZE));
    const entry = f.let(x.add(this.tlbBase(), slot));
    const tag = f.let(x.load('i64', entry, write ? TLB.TAG_WRITE : TLB.TAG_READ));
    f.unlikely(x.compare('ne', tag, x.and(last, x.i64Const(PAGE_MASK))), () => {
      // V8 makes two loads of a tag that is only compared, one of them for the trap. A second use prevents that. It tells
      // the handler `crossed` whether the first byte's page is there.
      f.store('i64', cpu, CPU.scratch!, x.binary('xor', tag, first));
      miss();
    });
    return entry;
  }
  /**
   * On a miss the runtime fills the TLB's entry, and the region is left if it cannot. Where there are few loops it is left
   * at once: the calls would be a fifth of what V8 spends on the region.
   */
  private missed(first: Expr, bytes: () => Expr, write: boolean, leave: () => void): void {
    const { f, cpu } = this;
    if (this.inState) {
      leave();
      return;
    }
    const filled = f.call('ram_fill', cpu, first, bytes(), x.i32Const(write ? 1 : 0));
    f.unlikely(x.eqz(filled), leave);
  }
  /** Offset from `cpu` of the entry for accesses of a kind, if their page is kept. */
  private recentEntry(key: string): number | undefined {
    if (!this.pagesKept.has(key)) return undefined;
    let at = this.recent.get(key);
    if (at === undefined) {
      const base = baseOf(key);
      const others = [...this.recent.keys()].filter((k) => baseOf(k) === undefined).length;
      const index = base ?? RECENT.BASES + others;
      if (index >= RECENT.ENTRIES) return undefined;
      at = CPU.recent! + index * RECENT.ENTRY_SIZE;
      this.recent.set(key, at);
    }
    return at;
  }
  /** The first turn of a loop of one block follows. */
  protected openPages(): void {
    this.hosts.clear();
    this.loopPages = {
      pages: new Map(),
      missed: undefined,
      change: false,
      versions: [...this.versions],
      written: undefined,
    };
  }
  /** How many pages of the loop its turns may change; only before its further turns are written. */
  pagesToChange(gathers: boolean): number {
    this.loopPages!.change = gathers;
    return gathers ? this.loopPages!.pages.size : 0;
  }
  /** Changes page `number` of the loop to that of the address that was not on it; `otherwise`: the TLB does not have it. */
  changePage(number: number, otherwise: () => void): void {
    const { f } = this;
    const { pages, missed, written } = this.loopPages!;
    const p = [...pages.values()][number]!;
    const { rest } = this.splitAddress(p.operand, written!);
    const page = this.pageTo(p, f.get(missed!), p.bytes, p.write, otherwise);
    f.setVariable(p.delta, x.sub(rest, page));
    this.hostFromDelta(p);
  }
  /** Behind pageTo: from the host address of the page's start to what is added to the part that changes. */
  private hostFromDelta({ host, delta }: LoopPage): void {
    const { f } = this;
    f.setVariable(host, x.add(f.get(host), x.wrap(f.get(delta))));
  }
  /** The first turn ends. */
  protected carryPages(): void {
    const { f } = this;
    const { pages, versions } = this.loopPages!;
    const written = new Set(versions.flatMap((v, r) => (v === this.versions[r] ? [] : [r])));
    this.loopPages!.written = written;
    this.irreversible = true;
    for (const p of pages.values()) {
      const { operand, delta } = p;
      const { rest } = this.splitAddress(operand, written);
      // Written as a sum: behind a difference V8 does not see that the sum with an index is one LEA.
      const page = f.get(delta);
      f.setVariable(delta, x.add(x.add(rest, integerOf(page, 1)), x.binary('xor', page, integerOf(page, -1))));
      this.hostFromDelta(p);
    }
  }
  protected closePages(): void {
    this.loopPages = undefined;
    this.irreversible = true;
  }
  /** At the begin of a turn that can be gone back to. @returns the general-purpose registers that it writes */
  protected markPages(): ReadonlySet<number> {
    this.hosts.clear();
    this.irreversible = false;
    return this.loopPages!.written!;
  }
  /**
   * Goes to the first turn's code from the begin of the current turn, or to where a page of the loop is changed and from
   * there to the turn again: possible until something irreversible is done.
   */
  protected abstract restart(page?: number): void;
  /** The linear address of an operand in two parts: of the registers that are written and the displacement, and the rest. */
  private splitAddress(m: MemRef, written: ReadonlySet<number>): { moving: Expr; rest: Expr } {
    const cut = (e: Expr): Expr => (this.long ? e : x.wrap(e));
    const parts: { is: boolean; e: Expr }[] = [];
    if (m.index !== undefined) {
      const index = cut(this.gpr(m.index));
      parts.push({ is: written.has(m.index), e: x.binary('shl', index, integerOf(index, m.scale)) });
    }
    if (m.ripRelative) parts.push({ is: false, e: cut(this.page()) });
    else if (m.base !== undefined) parts.push({ is: written.has(m.base), e: cut(this.gpr(m.base)) });
    const segment = this.segmentBase(m.seg);
    if (segment) parts.push({ is: false, e: cut(segment) });
    const sum = (start: Expr, is: boolean): Expr =>
      parts.filter((p) => p.is === is).reduce((all, p) => x.add(p.e, all), start);
    const disp = cut(x.i64Const(this.displacement(m)));
    return { moving: sum(disp, true), rest: sum(cut(x.i64Const(0n)), false) };
  }
  /** Host address of the operand by the page of an earlier turn; undefined where such pages are not kept. */
  private loopHost(bytes: number, write: boolean): Expr | undefined {
    const { f, loopPages } = this;
    const { insn } = this.current;
    const m = insn.mem!;
    if (!loopPages || insn.row.bitOffset || this.asize !== (this.long ? 64 : 32)) return undefined;
    const { pages, written } = loopPages;
    const form = formOf(m, write);
    const known = pages.get(form);
    if (!written) return known || this.conditional ? undefined : this.keepPage(pages, form, m, bytes, write);
    if (!known) return undefined;
    const { moving, rest } = this.splitAddress(m, written);
    const within = x.add(f.get(known.delta), moving);
    f.unlikely(x.compare('gt_u', within, integerOf(moving, 4096 - bytes)), () => {
      if (!this.irreversible && !loopPages.change) {
        this.restart();
        return;
      }
      const at = f.let(x.add(moving, rest));
      if (!this.irreversible) {
        f.setVariable(loopPages.missed!, at);
        this.restart(known.number);
        return;
      }
      const page = this.pageTo(known, at, bytes, write);
      f.setVariable(known.delta, x.sub(rest, page));
      this.hostFromDelta(known);
    });
    return x.add(f.get(known.host), x.wrap(moving));
  }
  /** Sets the host address of a page by the TLB. @returns its linear address */
  private pageTo({ host }: { host: number }, at: Expr, bytes: number, write: boolean, otherwise?: () => void): Expr {
    const { f } = this;
    const entry = this.tlbEntry(i64(at), bytes, write, otherwise, otherwise !== undefined);
    const page = f.let(x.and(at, integerOf(at, -4096)));
    f.setVariable(host, x.add(x.wrap(page), x.load('i32', entry, TLB.ADDEND)));
    return page;
  }
  /** An access of the first turn: its page is found by the TLB. Until the turn ends `delta` is its linear address. */
  private keepPage(pages: Map<string, LoopPage>, form: string, operand: MemRef, bytes: number, write: boolean): Expr {
    const { f } = this;
    const va = this.operandAddress();
    const at = this.long ? va : f.let(x.wrap(va));
    const [delta, host] = [f.variable(at.type), f.variable('i32')];
    this.loopPages!.missed ??= f.variable(at.type);
    const kept = { number: pages.size, operand, bytes, write, delta, host };
    const page = this.pageTo(kept, at, bytes, write);
    f.setVariable(kept.delta, page);
    pages.set(form, kept);
    return x.add(x.wrap(x.sub(at, page)), f.get(kept.host));
  }
  private checkAlignment(va: Expr, width: MemWidth): void {
    this.f.unlikely(x.wrap(x.and(va, x.i64Const(width / 8 - 1))), () => this.leave());
  }
  private operandHost(width: MemWidth, write: boolean): Expr {
    const { row, mem } = this.current.insn;
    if (row.aligned && width >= 128) this.checkAlignment(this.operandAddress(), width);
    const kept = this.loopHost(width / 8, write);
    return this.f.let(kept ?? this.host(this.operandAddress(), width / 8, write, accessKey(mem!)));
  }
  protected loadOperand(n: number): Expr {
    const width = this.width(n);
    const host = this.operandHost(width, this.operand(n).write);
    if (this.operand(n).write) this.rmwHost = host;
    if (width === 64 && this.takesNumbers) return this.loadNumber(host);
    return this.f.let(x.load(width === 128 ? 'v128' : LOAD[width as Width], host, 0));
  }
  /** The bits of a binary64 number that will be calculated with, and its upper half to be looked at. */
  private loadNumber(host: Expr): Expr {
    const number = this.f.let(x.load('f64', host, 0));
    const high = this.f.let(x.load('i32', host, 4));
    return x.withHigh(x.inst('i64', [0xbd], number), high);
  }
  /** Half of an operand of 256 bits in memory. */
  protected loadHalf(h: 0 | 1): Expr {
    this.wideHost ??= this.operandHost(256, false);
    return this.f.let(x.load('v128', this.wideHost, 16 * h));
  }
  protected storeHalves(low: Expr, high: Expr): void {
    const { f } = this;
    const [l, h] = [f.let(low), f.let(high)];
    const host = this.operandHost(256, true);
    this.irreversible = true;
    f.store('v128', host, 0, l);
    f.store('v128', host, 16, h);
  }
  protected storeOperand(n: number, v: Expr): void {
    const width = this.width(n);
    const value = this.f.let(v.type === 'i32' ? i64(v) : v);
    const host = (this.operand(n).read ? this.rmwHost : undefined) ?? this.operandHost(width, true);
    this.irreversible = true;
    if (width === 64 && isReinterpretation(value)) this.f.store('f64', host, 0, value.args[0]!);
    else this.f.store(value.type === 'v128' ? 'v128' : STORE[width as Width], host, 0, value);
  }
  private implicit(seg: SegRef, offset: Expr): Expr {
    const number = seg === 'insn' ? (this.current.insn.mem?.seg ?? this.current.insn.seg) : SEG[seg];
    const at = i64(offset);
    return this.named(this.toLinear(number, this.long ? at : this.zext(32, at)));
  }
  load(w: Width, seg: SegRef, offset: Expr): Expr {
    return this.f.let(
      x.load(LOAD[w], this.host(this.implicit(seg, offset), w / 8, false, seg === 'ss' ? STACK_KEY : undefined), 0),
    );
  }
  store(w: Width, seg: SegRef, offset: Expr, v: Expr): void {
    const value = this.f.let(i64(v));
    const host = this.host(this.implicit(seg, offset), w / 8, true, seg === 'ss' ? STACK_KEY : undefined);
    this.irreversible = true;
    this.f.store(STORE[w], host, 0, value);
  }
}
