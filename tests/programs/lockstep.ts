// Runs a program on two machines: one by an engine, slice by slice, the other by the interpreter, one instruction at
// a time. After each slice the second is stepped until it is in the same state: registers, flags, memory, and what the
// board was asked. Interrupts come between slices, when the two are the same.
import type { SoftVcpuOptions } from '../../src/hv/soft/vcpu.ts';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { disassemble } from '../../src/isa/disasm.ts';
import { ATTR, EFLAGS, SEG } from '../../src/isa/layout.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { Random } from '../isa/random.ts';
import { REG } from './emit.ts';
import { Machine } from './machine.ts';
import { Program, type Spec } from './program.ts';
import { distance, same, stateDifferences } from './state.ts';

/** A way to force an engine through its rare paths. */
export interface ForcedMode {
  readonly name: string;
  readonly vcpu: Partial<SoftVcpuOptions>;
  /** Groups of pages that share TLB entries. */
  readonly far?: boolean;
  /** Longest slice, in instructions. */
  readonly slice: number;
  /** Once in so many slices the TLBs are emptied, or everything decoded is dropped. */
  readonly flush?: number;
  readonly drop?: number;
}

const FIRST = { engine: 'bt', hotThreshold: 1 } as const;
export const FORCED_MODES: readonly ForcedMode[] = [
  // The interpreter's own chains against one instruction at a time.
  { name: 'chains', vcpu: {}, slice: 60 },
  { name: 'first-execution', vcpu: FIRST, slice: 12 },
  {
    name: 'tiny-regions',
    vcpu: { ...FIRST, translatorLimits: { maxInsns: 3, maxBlocks: 2, tableSlots: 40 } },
    slice: 12,
  },
  { name: 'tiny-tlb', vcpu: FIRST, far: true, slice: 40, flush: 4 },
  { name: 'evict', vcpu: { ...FIRST, translatorLimits: { maxLiveModules: 1 } }, slice: 20, drop: 12 },
  { name: 'long-slices', vcpu: { engine: 'bt', hotThreshold: 3 }, slice: 600 },
];

/** Instructions that a program may run for, and steps within which the reference must come to the same state. */
const BUDGET = 5000;
const SLACK = 6000;
/** Steps that are told of before a difference. */
const TRAIL = 24;
/** Interrupts of a program. */
const MOST_INTERRUPTS = 40;

/** Prefixes that may stand before REP. */
const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67]);

const decoder = makeDecoder(ROWS);

export interface Outcome {
  /** Instructions carried out, states compared, regions made. */
  readonly steps: number;
  readonly compared: number;
  readonly regions: number;
  readonly events: ReadonlyMap<number, number>;
  readonly how: 'end' | 'shutdown' | 'budget' | 'halt';
  /** What is wrong, in words; undefined when the two agree. */
  readonly wrong: string | undefined;
}

/** Where a step began: rip, base and size of its code. */
interface Step {
  readonly rip: bigint;
  readonly base: bigint;
  readonly size: 16 | 32 | 64;
}

class Different extends Error {}

/** Two machines for programs in one forced mode, used again and again. */
export class Lockstep {
  readonly mode: ForcedMode;
  private readonly tested: Machine;
  private readonly reference: Machine;
  private random = new Random(0);
  private trail: Step[] = [];
  private steps = 0;

  constructor(mode: ForcedMode) {
    this.mode = mode;
    this.tested = new Machine(mode.vcpu);
    this.reference = new Machine({});
  }

  run(spec: Spec): Outcome {
    const { tested, reference } = this;
    const program = new Program(spec);
    tested.load(program, this.mode.vcpu.hotThreshold);
    reference.load(program, undefined);
    this.random = new Random(spec.seed ^ 0x3c6ef372);
    this.steps = 0;
    const regions = tested.vcpu.translator?.counters.regions ?? 0;
    let compared = 0;
    let how: Outcome['how'] = 'budget';
    let wrong: string | undefined;
    try {
      for (let spent = 0, interrupts = 0; spent < BUDGET; compared++) {
        const slice = this.random.below(this.random.pick([1, 3, this.mode.slice]));
        spent += slice + 1;
        const exit = this.slice(slice);
        this.catchUp(exit, slice);
        if (tested.events.ended) how = 'end';
        else if (exit === 'shutdown') how = 'shutdown';
        else if (exit === 'hlt' && !this.canWake()) how = 'halt';
        else {
          if (exit === 'hlt' || (this.random.once(10) && interrupts < MOST_INTERRUPTS)) {
            interrupts++;
            this.interrupt();
          }
          this.disturb();
          continue;
        }
        break;
      }
    } catch (error) {
      if (!(error instanceof Different)) wrong = this.crash(error);
      else wrong = error.message;
    }
    return {
      steps: this.steps,
      compared,
      regions: (tested.vcpu.translator?.counters.regions ?? 0) - regions,
      events: tested.events.counts,
      how,
      wrong: wrong === undefined ? undefined : `${this.describe(program)}: ${wrong}`,
    };
  }

  private crash(error: unknown): string {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return `host error: ${stack.split('\n').slice(0, 8).join('\n  ')}`;
  }
  private describe(p: Program): string {
    return `${this.mode.name}, seed ${p.seed}, ${p.mode} CPL ${p.cpl}${p.flat ? '' : ' odd segments'}, ${p.size} bytes`;
  }

  private slice(budget: number): string {
    const exit = this.tested.vcpu.runToExit(budget);
    return exit === 'budget' ? this.settle() : exit;
  }
  /**
   * A repeated instruction that is done in one piece may stop with rCX at 0 but rip still at itself; one iteration at
   * a time it never does. It is gone past.
   */
  private settle(): string {
    const { tested } = this;
    for (let n = 0; n < 4; n++) {
      if (!this.atRepeat() || (tested.get64('gpr', REG.CX) & 0xffffn) !== 0n) break;
      const exit = tested.vcpu.runToExit(0);
      if (exit !== 'budget') return exit;
    }
    return 'budget';
  }
  /** Whether there is a REP among the prefixes at rip. */
  private atRepeat(): boolean {
    const { tested } = this;
    const linear = BigInt.asUintN(64, tested.get64('rip') + tested.get64('code_base')) & tested.get64('code_mask');
    for (let i = 0n; i < 5n; i++) {
      const gpa = tested.current.translate(linear + i);
      const byte = gpa === undefined ? 0 : (tested.bytes[tested.ram + gpa] ?? 0);
      if (byte === 0xf2 || byte === 0xf3) return true;
      if (!PREFIXES.has(byte)) return false;
    }
    return false;
  }

  /** An external interrupt or, where those are off, now and then an NMI. */
  private interrupt(): void {
    const both = [this.tested.vcpu, this.reference.vcpu];
    if (this.random.once(8)) for (const v of both) v.nmi();
    else for (const v of both) v.setInterruptPending(true);
  }
  private canWake(): boolean {
    return (this.tested.get32('eflags') & EFLAGS.IF) !== 0 || this.tested.get32('nmi_blocked') === 0;
  }
  /**
   * What must not be noticed. TLBs are emptied on both sides: an address space that is not the current one may rightly
   * keep a translation that was taken away in its tables without an INVPCID.
   */
  private disturb(): void {
    const { vcpu } = this.tested;
    if (this.mode.flush && this.random.once(this.mode.flush)) {
      for (const v of [vcpu, this.reference.vcpu]) v.runtime.flush_all(v.cpu);
    }
    if (this.mode.drop && this.random.once(this.mode.drop)) {
      vcpu.dropCode();
      this.reference.vcpu.runtime.flush_all(this.reference.vcpu.cpu);
    }
  }

  /** Steps the reference until it is where the tested machine is. */
  private catchUp(exit: string, slice: number): void {
    const { tested, reference } = this;
    this.trail = [];
    let nearest: { readonly count: number; readonly differences: readonly string[]; readonly step: number } | undefined;
    const rip = tested.get64('rip');
    for (let n = 0; n < slice + SLACK; n++) {
      if (reference.get64('rip') === rip) {
        if (same(reference, tested) || this.sameWhenAccessed()) return;
        const count = distance(reference, tested);
        if (!nearest || count < nearest.count) {
          nearest = { count, differences: stateDifferences(reference, tested, count === 0), step: n };
        }
      }
      if (!this.step()) break;
    }
    if (same(reference, tested)) return;
    nearest ??= { count: 0, differences: [`rip 0x${rip.toString(16)} is never reached (exit ${exit})`], step: TRAIL };
    throw new Different(this.report(nearest.differences, nearest.step));
  }

  /**
   * Whether the states are the same once the reference has accessed what the tested machine has. A region asks for a page
   * before it goes there, and for all that its accesses will need of one; it may be left in between. A processor may set
   * accessed bits ahead, too (SDM vol.3 4.10.2.3).
   */
  private sameWhenAccessed(): boolean {
    const { tested, reference } = this;
    if (distance(reference, tested) > 0) return false;
    const places = reference.roots.map((t, n) => t.accessedIn(tested.roots[n]!));
    const set = (accessed: boolean): void =>
      places.forEach((list, n) => {
        for (const at of list) reference.roots[n]!.setAccessed(at, accessed);
      });
    set(true);
    if (same(reference, tested)) return true;
    set(false);
    return false;
  }

  /** One instruction of the reference, or the delivery of an interrupt; false when it cannot go on. */
  private step(): boolean {
    const { reference } = this;
    const { vcpu } = reference;
    const before = reference.get32('n_delivered');
    const isPending = reference.get32('irq_pending') || reference.get32('nmi_pending');
    if (isPending && vcpu.runToExit(-1) === 'shutdown') return false;
    if (reference.get32('n_delivered') !== before) return true;
    if (reference.get32('halted')) return false;
    this.trail.push(this.here());
    this.steps++;
    return vcpu.stepOne() !== 'shutdown';
  }

  /** The differences with the instructions that led there. */
  private report(differences: readonly string[], step: number): string {
    const steps = this.trail.slice(Math.max(0, step - TRAIL), step);
    const code = steps.map((s) => `  ${s.rip.toString(16)}: ${this.textAt(s)}`);
    return `${differences.slice(0, 6).join('; ')}\n${code.join('\n')}`;
  }
  private here(): Step {
    const { reference } = this;
    const attr = reference.get32('seg_attr', SEG.cs);
    const long = attr & ATTR.L && reference.program.mode !== 'legacy';
    const size = long ? 64 : attr & ATTR.DB ? 32 : 16;
    return { rip: reference.get64('rip'), base: reference.get64('code_base'), size };
  }
  private textAt({ rip, base, size }: Step): string {
    const { reference } = this;
    const bytes = Uint8Array.from({ length: 15 }, (_, i) => {
      const gpa = reference.current.translate(rip + base + BigInt(i));
      return gpa === undefined ? 0 : (reference.bytes[reference.ram + gpa] ?? 0);
    });
    const insn = decoder.decode(bytes, 0, 15, { code: size, stack: size === 64 ? 64 : 32 });
    if ('failure' in insn) return `(${insn.failure}) ${Buffer.from(bytes).toString('hex')}`;
    return `${Buffer.from(bytes.subarray(0, insn.length)).toString('hex').padEnd(22)} ${disassemble(insn, rip)}`;
  }
}
