// Illegal instruction streams: random bytes and random instructions of all rows, run at CPL 3 and CPL 0 in every mode
// from random registers. Whatever the guest does, the host must come back: with an exit, in bounded time. Half of the
// streams go on behind what faulted, half end there.
import type { FuzzOptions, FuzzSummary } from '../../scripts/fuzz.ts';
import type { CodeMode } from '../../src/isa/insn.ts';
import { ATTR, CR0, CR4, EFER, SEG } from '../../src/isa/layout.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { CODE_PAGE, DATA, PAGE } from '../differential/case.ts';
import { drawBytes } from '../differential/generate.ts';
import { Guest, KERNEL, PTE } from '../differential/guest.ts';
import { awkward } from '../differential/values.ts';
import { Random } from '../isa/random.ts';
import { vcpuOptions } from './engines.ts';
import { handler64, LegacyTables } from './legacy-tables.ts';
import { progress } from './progress.ts';

/** Instructions a stream may run. */
const BUDGET = 800;
/**
 * Longest time for a stream, in milliseconds of processor time. A translator that translates all at once compiles up to
 * 16 times a slice's worth of regions.
 */
const PATIENCE: Readonly<Record<string, number>> = { interpreter: 2000, translator: 60_000 };
/** RAM that a stream may have changed and that is put back: all frames in use. */
const RAM_USED = 64 * PAGE;
const CODE_PAGES = 2;

type Mode = 'long' | 'compat32' | 'compat16' | 'protected32' | 'protected16' | 'real' | 'v86';
const MODES: readonly Mode[] = [
  'long',
  'long',
  'long',
  'compat32',
  'compat16',
  'protected32',
  'protected16',
  'real',
  'v86',
];
const CODE_SIZE: Readonly<Record<Mode, 16 | 32 | 64>> = {
  long: 64,
  compat32: 32,
  compat16: 16,
  protected32: 32,
  protected16: 16,
  real: 16,
  v86: 16,
};

/** Bytes of code that are drawn; the pages repeat them. */
const DRAWN = 640;
/** Times that a stream is entered, at different places: most end at an exception. */
const ROUNDS = 16;

function drawCode(mode: CodeMode, random: Random): Uint8Array {
  const bytes = new Uint8Array(DRAWN);
  for (let at = 0; at < bytes.length; ) {
    const piece =
      random.below(10) < 7
        ? drawBytes(random.pick(ROWS), mode, random)
        : Uint8Array.from({ length: 1 + random.below(6) }, () => random.below(256));
    if (!piece) continue;
    bytes.set(piece.subarray(0, bytes.length - at), at);
    at += piece.length;
  }
  return Uint8Array.from({ length: CODE_PAGES * PAGE }, (_, i) => bytes[i % DRAWN]!);
}

/** Milliseconds that this thread has used: other programs of the machine do not count. */
function processorTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

export class StreamGuest {
  readonly guest: Guest;
  private readonly clean: Uint8Array;
  private readonly state: Uint8Array;
  private readonly code: number;
  private readonly legacy: LegacyTables;
  private readonly patience: number;
  random = new Random(0);

  /** `returns`: exception handlers go on behind what faulted. */
  constructor(engine: string, returns: boolean) {
    this.patience = PATIENCE[engine]!;
    this.guest = new Guest({
      handler: (vector) => handler64(vector, returns),
      vcpu: vcpuOptions(engine),
      host: {
        port_read: () => this.random.u32(),
        mmio_read: () => BigInt.asIntN(64, this.random.u64()),
        random64: () => this.random.u64(),
        tsc_now: () => BigInt.asIntN(64, this.random.u64()),
        // Half of the MSRs that the runtime does not know exist.
        msr_read: (_cpu, index) => index & 1,
        msr_write: (_cpu, index) => index & 1,
        acknowledge: () => this.random.below(256),
      },
    });
    const { guest } = this;
    this.code = guest.frames(CODE_PAGES);
    const user = PTE.P | PTE.US | PTE.RW;
    for (let i = 0; i < CODE_PAGES; i++) guest.map(CODE_PAGE + BigInt(i * PAGE), this.code + i * PAGE, user);
    const data = guest.frames(2);
    for (let i = 0; i < 2; i++) guest.map(DATA + BigInt(i * PAGE), data + i * PAGE, user);
    this.legacy = new LegacyTables(guest, returns);
    this.clean = guest.bytes.slice(guest.ram, guest.ram + RAM_USED);
    this.state = guest.snapshot();
  }

  /** Runs one stream; says what is wrong, if anything. */
  run(seed: number): string | undefined {
    const random = new Random(seed);
    this.random = random;
    const mode = random.pick(MODES);
    const cpl = mode === 'v86' ? 3 : mode === 'real' ? 0 : random.pick([0, 3] as const);
    const size = CODE_SIZE[mode];
    const { guest } = this;
    guest.vcpu.dropCode();
    guest.bytes.set(this.clean, guest.ram);
    guest.bytes.set(drawCode({ code: size, stack: size }, random), guest.ram + this.code);
    guest.bytes.set(this.state, guest.vcpu.cpu);
    this.setMode(mode, cpl);
    this.setRegisters(mode);
    const started = processorTime();
    let exit: string;
    try {
      exit = this.enterAgainAndAgain();
    } catch (e) {
      return `${mode} CPL ${cpl}: ${e instanceof Error ? e.stack?.split('\n').slice(0, 6).join(' | ') : e}`;
    }
    const took = processorTime() - started;
    if (took > this.patience) return `${mode} CPL ${cpl}: ${BUDGET} instructions took ${took.toFixed(0)} ms`;
    if (!['hlt', 'budget', 'shutdown'].includes(exit)) return `${mode} CPL ${cpl}: exit ${exit}`;
    return this.inconsistency();
  }

  private enterAgainAndAgain(): string {
    const { guest, random } = this;
    const { vcpu } = guest;
    const start = guest.snapshot();
    const rip = guest.get64('rip');
    let exit = '';
    for (let round = 0; round < ROUNDS; round++) {
      guest.bytes.set(start, vcpu.cpu);
      guest.set64('rip', rip + BigInt(random.below(DRAWN)));
      vcpu.runtime.set_state_done(vcpu.cpu);
      exit = vcpu.run(BUDGET);
      // Interrupts and NMIs may come at any place.
      if (random.once(4)) vcpu.nmi();
      vcpu.setInterruptPending(random.once(4));
      if (exit !== 'shutdown') exit = vcpu.run(random.below(300));
      vcpu.setInterruptPending(false);
    }
    return exit;
  }

  /** Fields that must have sane values whatever ran. */
  private inconsistency(): string | undefined {
    const { guest } = this;
    if (guest.get32('ftop') > 7 || guest.get32('fempty') > 255) return 'x87 stack out of range';
    if (guest.get32('cpl') > 3) return `cpl ${guest.get32('cpl')}`;
    if (guest.get64('zero') !== 0n || guest.get64('seg_none') !== 0n || guest.get64('seg_none', 1) !== 0n) {
      return 'a constant field was written';
    }
    if ((guest.get32('eflags') & 0x8d7) !== 2) return `eflags ${guest.get32('eflags').toString(16)}`;
    return undefined;
  }

  private setMode(mode: Mode, cpl: 0 | 3): void {
    const { guest, random } = this;
    const size = CODE_SIZE[mode];
    const low = size === 16 ? { code: CODE_PAGE, data: DATA } : { code: 0n, data: 0n };
    if (mode !== 'long' && !mode.startsWith('compat')) {
      // Without paging linear addresses are physical: the code lies where its frames are.
      const at = { code: BigInt(this.code), data: BigInt(this.code + CODE_PAGES * PAGE) };
      guest.set64('cr0', BigInt(mode === 'real' ? CR0.ET : CR0.PE | CR0.ET | CR0.NE));
      guest.set64('efer', BigInt(random.once(2) ? EFER.SCE : 0));
      guest.set64('cr4', guest.get64('cr4') & ~BigInt(random.once(2) ? CR4.PAE : 0));
      this.legacy.use(mode === 'real');
      guest.enterMode(size, cpl, at);
      if (mode === 'v86') guest.set32('eflags', guest.get32('eflags') | 0x20000);
      if (mode === 'v86' || mode === 'real') this.realSegments(this.code);
      guest.set64('rip', BigInt(random.below(64)));
      return;
    }
    guest.enterMode(size, cpl, low);
    guest.set64('rip', (size === 16 ? 0n : CODE_PAGE) + BigInt(random.below(64)));
  }

  private realSegments(code: number): void {
    const attr = ATTR.P | ATTR.S | ATTR.WRITABLE | ATTR.ACCESSED | (3 << ATTR.DPL_SHIFT);
    for (let seg = 0; seg < 6; seg++) {
      const at = seg === SEG.cs ? code : code + CODE_PAGES * PAGE;
      this.guest.segment(seg, (at >> 4) & 0xffff, attr, BigInt(at), 0xffff);
    }
  }

  private setRegisters(mode: Mode): void {
    const { guest, random } = this;
    for (let i = 0; i < 16; i++) guest.set64('gpr', this.pointer(mode), i);
    for (let i = 0; i < 8; i++) guest.set64('fpr', awkward(random), i * 2);
    for (let i = 0; i < 64; i++) guest.set64('ymm', awkward(random), i);
    guest.set32('mxcsr', random.once(2) ? 0x1f80 : random.u32() & 0xffff);
    guest.set32('fcw', random.once(2) ? 0x37f : 0x340 | (random.u32() & 0xf3f));
    const vm = guest.get32('eflags') & 0x20000;
    // TF, IF, DF, IOPL, NT, RF, AC, VIF, VIP, ID.
    guest.set32('eflags', (random.once(2) ? 2 : (random.u32() & 0x3d7700) | 2) | vm);
    if (random.once(3)) {
      for (let i = 0; i < 4; i++) guest.set64('dr', this.pointer(mode), i);
      guest.set64('dr', BigInt((random.u32() & 0xffff23ff) | 0x400) & 0xffff_ffffn, 7);
    }
    if (random.once(3)) guest.set64('cr4', guest.get64('cr4') ^ BigInt(1 << random.below(22)));
    if (random.once(8)) guest.set64('cr0', guest.get64('cr0') ^ BigInt(random.pick([2, 4, 8, 32, 0x10000, 0x40000])));
    guest.vcpu.runtime.set_state_done(guest.vcpu.cpu);
  }

  /** Something that may point at code, data, tables of the kernel, or nowhere. */
  private pointer(mode: Mode): bigint {
    const { random } = this;
    const kind = random.below(6);
    const offset = BigInt(random.below(0x2000));
    if (kind < 2) return DATA + offset;
    if (kind === 2) return CODE_PAGE + offset;
    if (kind === 3 && mode === 'long') return KERNEL + BigInt(random.below(0x5000));
    if (kind === 4) return BigInt(random.below(RAM_USED));
    return awkward(random);
  }
}

export function fuzz(o: FuzzOptions): FuzzSummary {
  const report = progress(o);
  const streams = [false, true].map((returns) => new StreamGuest(o.engine, returns));
  const mismatches: string[] = [];
  let done = 0;
  for (; done < o.cases; done++) {
    if (process.env.PLINTH_STREAM_TRACE) console.error(`stream ${o.seed + done}`);
    const wrong = streams[(o.seed + done) & 1]!.run(o.seed + done);
    if (wrong) mismatches.push(`seed ${o.seed + done}: ${wrong}`);
    if (done % 256 === 0 && !report(done, mismatches.length)) break;
    if (mismatches.length > 50) break;
  }
  return {
    compared: done,
    allowed: 0,
    rows: ROWS.length,
    mismatches,
    notes: [`${ROUNDS} entries of up to ${BUDGET} instructions a stream`],
  };
}
