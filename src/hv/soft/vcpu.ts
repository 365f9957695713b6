/**
 * A vCPU of the soft engine: the interpreter's chain, entered again and again until its budget of instructions is
 * used up or something needs the caller.
 */
import { Translator, type TranslatorLimits, type TranslatorOptions } from '../../engine/bt/translator.ts';
import { DecodeCache } from '../../engine/decode-cache.ts';
import { FIRST_REGION, SPECIAL } from '../../engine/interp/special.ts';
import type { HostImports, InterpreterExports, RuntimeExports } from '../../engine/runtime.ts';
import type { Decoder } from '../../isa/decoder.ts';
import { HELPERS } from '../../isa/helpers.ts';
import type { Insn } from '../../isa/insn.ts';
import { CPU, EFLAGS, EXC, EXIT, ITLB_CTX_NEVER, JUMP_KEY_NONE, REC, STOP_TSC_WRITTEN } from '../../isa/layout.ts';
import type { Row } from '../../isa/row.ts';
import type { Regs, Sregs } from '../contract.ts';
import type { EngineImage } from './image.ts';
import { nextHandler, type RuntimeCounters, readCounters } from './observe.ts';
import { Registers } from './registers.ts';
import { tracedRuntime, type VcpuTrace } from './trace.ts';
import type { SoftMemory } from './vm.ts';

/** Why `run` came back. */
export type SoftExit = 'budget' | 'hlt' | 'shutdown';

/**
 * Why `runToExit` and `stepOne` came back: also `io`, before an access that the host cannot answer yet, and after a
 * hypercall or an internal error.
 */
export type SoftLeave = SoftExit | 'io' | 'hypercall' | 'internal';
const LEAVES: Readonly<Record<number, SoftLeave>> = {
  [EXIT.SHUTDOWN]: 'shutdown',
  [EXIT.IO]: 'io',
  [EXIT.HYPERCALL]: 'hypercall',
  [EXIT.INTERNAL]: 'internal',
};

/** What the vCPU asks of the board. */
export interface VcpuHost extends Omit<HostImports, 'tsc_now'> {
  /** Guest TSC before its offset. */
  tsc_now(cpu: number): bigint;
  /** The same as a whole number, where that is below 2^53; else -1. */
  tscNumber?(): number;
  /** Interrupt acknowledge: vector 0-255, or undefined when the request went away. */
  acknowledge(): number | undefined;
  /** 64 random bits for RDRAND and RDSEED; absent: the platform's generator. */
  random64?(): bigint;
  /** The guest has set its TSC. */
  tscWritten?(): void;
  /** VMCALL or VMMCALL: takes the registers and puts the result into them. Absent: the result is -KVM_ENOSYS. */
  hypercall?(): void;
}

const platformRandom = (): bigint => crypto.getRandomValues(new BigUint64Array(1))[0]!;

export interface SoftVcpuOptions {
  readonly id: number;
  readonly memory: SoftMemory;
  readonly image: EngineImage;
  readonly decoder: Decoder;
  readonly rows: readonly Row[];
  readonly host: VcpuHost;
  /** `bt` translates what is hot; `interp` (default) only interprets. */
  readonly engine?: 'interp' | 'bt' | undefined;
  /** Jumps to a place before it is translated. */
  readonly hotThreshold?: number | undefined;
  /** Sizes of regions and of what is kept of them, for tests. */
  readonly translatorLimits?: Partial<TranslatorLimits> | undefined;
  /** The translator's (bt/translator.ts). */
  readonly compiler?: TranslatorOptions['compiler'];
  readonly onRegion?: TranslatorOptions['onRegion'];
  readonly onModule?: TranslatorOptions['onModule'];
  /**
   * Instructions behind a look at the clock for which RDTSC counts a tick each, 0 (default) to 65535. For a TSC of a tick
   * a nanosecond.
   */
  readonly tscWindow?: number | undefined;
  readonly onTrace?: ((rip: bigint, insns: readonly Insn[]) => void) | undefined;
  readonly trace?: VcpuTrace | undefined;
}

const DR6_BS = 1 << 14;
/** Interrupt shadow of MOV SS and POP SS, which also puts debug traps off. */
const SHADOW_SS = 2;

export class SoftVcpu {
  readonly id: number;
  /** Absolute address of the state. */
  readonly cpu: number;
  readonly runtime: RuntimeExports;
  private readonly tscWindow: number;
  private readonly interpreter: InterpreterExports;
  private readonly cache: DecodeCache;
  readonly translator: Translator | undefined;
  private readonly registers: Registers;
  private readonly view: DataView;
  private readonly host: VcpuHost;
  private readonly everyInstruction: boolean;
  /** Instructions of the current slice that will not be executed because the slice was cut short. */
  private cut = 0;
  /** Something asked for the end of the slice. */
  private ended = false;
  /** Instructions executed since power-on, up to the last slice. */
  retired = 0;
  /** Budget of the slice that runs; undefined between slices. */
  private slice: number | undefined;

  constructor(o: SoftVcpuOptions) {
    this.id = o.id;
    this.cpu = o.memory.vcpuAddress(o.id);
    this.host = o.host;
    const { memory } = o.memory;
    this.view = new DataView(memory.buffer);
    this.tscWindow = o.tscWindow ?? 0;
    const runtime = new WebAssembly.Instance(o.image.runtime, { env: { memory, ...hostFunctions(o.host) } });
    const exports = o.trace ? tracedRuntime(runtime.exports, memory, o.trace) : runtime.exports;
    this.everyInstruction = o.trace?.everyInstruction ?? false;
    this.runtime = exports as unknown as RuntimeExports;
    o.memory.runtime ??= this.runtime;
    const interpreter = new WebAssembly.Instance(o.image.interpreter, {
      env: { memory },
      runtime: runtimeFunctions(exports, o.host),
      host: {
        resolve: (cpu: number) => this.cache.resolve(cpu),
        hot: (cpu: number, rec: number, crossed: number) => {
          this.translator?.hot(cpu, rec >>> 0, crossed !== 0);
          if (this.translator?.isOverdue) this.requestExit();
        },
      },
    });
    this.interpreter = interpreter.exports as unknown as InterpreterExports;
    this.cache = new DecodeCache({
      memory,
      runtime: this.runtime,
      decoder: o.decoder,
      rowIds: new Map(o.rows.map((r, i) => [r, i])),
      handlers: o.image.handlers,
      fusion: o.image.fusion,
      aloneAt: this.cpu - 8 * REC.SIZE,
      recordsBytes: o.memory.layout.recordsEnd - o.memory.layout.records,
      onTrace: o.onTrace,
    });
    if (o.engine === 'bt') {
      this.translator = new Translator({
        memory,
        cache: this.cache,
        decoder: o.decoder,
        runtime: exports,
        interpreter: interpreter.exports,
        limits: o.translatorLimits,
        compiler: o.compiler,
        onRegion: o.onRegion,
        onModule: o.onModule,
      });
      this.translator.setThreshold(o.hotThreshold);
      this.cache.onDrop = () => this.translator?.forget();
    }
    this.cache.explicitFlags = (cpu) => this.interpreter.explicit(cpu);
    this.cache.endBudget = () => this.endSlice(0);
    const l = o.memory.layout;
    this.runtime.code_init(l.codeMap, l.codePages, l.codePagesEnd, l.records, l.recordsEnd, SPECIAL.resync);
    this.runtime.reset(this.cpu);
    this.set32('tsc_window', this.tscWindow);
    this.registers = new Registers(memory, this.cpu);
  }

  private u32(field: string): number {
    return this.view.getUint32(this.cpu + CPU[field]!, true);
  }
  private set32(field: string, value: number): void {
    this.view.setUint32(this.cpu + CPU[field]!, value >>> 0, true);
  }

  getRegs(): Regs {
    this.interpreter.explicit(this.cpu);
    return this.registers.getRegs();
  }
  setRegs(r: Regs): void {
    this.registers.setRegs(r);
    this.runtime.set_state_done(this.cpu);
  }
  getSregs(): Sregs {
    return this.registers.getSregs();
  }
  setSregs(s: Sregs): void {
    this.registers.setSregs(s);
    this.runtime.set_state_done(this.cpu);
  }

  /** What the runtime has counted. */
  get counters(): RuntimeCounters {
    return readCounters(this.view, this.cpu);
  }
  /** Between slices: whether what comes next is a region; false also where no record is known. */
  get atRegion(): boolean {
    return this.translator !== undefined && nextHandler(this.view, this.cpu) >= FIRST_REGION;
  }

  /** The interrupt controller's request line to this vCPU. */
  setInterruptPending(pending: boolean): void {
    this.set32('irq_pending', pending ? 1 : 0);
    if (pending && this.u32('eflags') & EFLAGS.IF) this.endSlice(-1);
  }
  /** A non-maskable interrupt. */
  nmi(): void {
    this.set32('nmi_pending', 1);
    this.endSlice(-1);
  }
  /** Lets the running chain return at its next jump. */
  requestExit(): void {
    this.endSlice(-1);
  }
  /**
   * The host's clock has been looked at for the guest: its TSC is taken from the clock when it is read next, so that it is
   * not behind what the guest was told.
   */
  clockWasRead(): void {
    this.set32('tsc_budget', this.u32('budget') ^ 0x8000_0000);
  }
  /** Puts the vCPU into its power-on state. */
  reset(): void {
    this.runtime.reset(this.cpu);
  }

  /** Forgets all that is decoded or translated and empties the TLBs: memory or its map was changed from outside. */
  dropCode(): void {
    this.runtime.code_reset(this.cpu);
    this.runtime.flush_all(this.cpu);
    this.translator?.forget();
  }

  private endSlice(left: number): void {
    const budget = this.view.getInt32(this.cpu + CPU.budget!, true);
    if (left < 0) this.ended = true;
    if (budget <= left) return;
    // While a trace is being executed the budget includes instructions of the trace already passed; close enough.
    this.cut += budget - left;
    this.view.setInt32(this.cpu + CPU.budget!, left, true);
  }

  /** Runs about `budget` instructions (at most 2^30). */
  run(budget: number): SoftExit {
    for (let left = budget; left >= 0; ) {
      const before = this.retired;
      const why = this.runToExit(left);
      if (why === 'budget' || why === 'hlt' || why === 'shutdown') return why;
      if (why === 'hypercall') this.host.hypercall?.();
      // A guest that only makes hypercalls comes to its end too.
      left -= Math.max(1, this.retired - before);
    }
    return 'budget';
  }

  /** The same for a caller who takes every reason to leave. */
  runToExit(budget: number): SoftLeave {
    this.cut = 0;
    this.view.setInt32(this.cpu + CPU.budget!, budget, true);
    this.slice = budget;
    this.clockWasRead();
    const why = this.loop();
    this.retired = this.executed;
    this.slice = undefined;
    if (this.translator?.hasPending) this.translator.flush();
    return why;
  }

  /** Instructions executed since power-on, in the running slice up to the start of the running trace or region. */
  get executed(): number {
    if (this.slice === undefined) return this.retired;
    return this.retired + this.slice - this.cut - this.view.getInt32(this.cpu + CPU.budget!, true);
  }

  /** Takes the reason for which a chain came back, if there is one that ends the loop. */
  private takeExit(): SoftLeave | undefined {
    const reason = this.u32('exit_reason');
    if (this.u32('stop') === STOP_TSC_WRITTEN) this.host.tscWritten?.();
    this.set32('stop', 0);
    if (reason === EXIT.NONE) return undefined;
    this.set32('exit_reason', EXIT.NONE);
    this.set32('halted', reason === EXIT.HLT ? 1 : 0);
    return LEAVES[reason];
  }

  private loop(): SoftLeave {
    for (;;) {
      const leave = this.takeExit();
      if (leave) return leave;
      const shadow = this.u32('shadow') !== 0;
      if (!shadow) this.deliverPending();
      // Where an event could not be delivered, a triple fault: nothing is carried out behind it.
      if (this.u32('exit_reason') !== EXIT.NONE) continue;
      if (this.u32('halted')) return 'hlt';
      if (this.view.getInt32(this.cpu + CPU.budget!, true) < 0) return 'budget';
      this.step(shadow);
    }
  }

  /** NMI before external interrupts (SDM vol.3 table 6-2). */
  private deliverPending(): void {
    if (this.u32('nmi_pending') && !this.u32('nmi_blocked')) {
      this.set32('nmi_pending', 0);
      this.set32('halted', 0);
      this.interpreter.explicit(this.cpu);
      this.runtime.deliver_nmi(this.cpu);
      return;
    }
    if (!this.u32('irq_pending') || !(this.u32('eflags') & EFLAGS.IF)) return;
    const vector = this.host.acknowledge();
    if (vector === undefined) return;
    this.set32('halted', 0);
    this.interpreter.explicit(this.cpu);
    this.runtime.deliver_interrupt(this.cpu, vector);
  }

  /** One instruction, whatever is decoded already. Its interrupt shadow is left to be seen. */
  private enterAlone(): void {
    this.set32('shadow', 0);
    this.set32('stop', 1);
    const budget = this.view.getInt32(this.cpu + CPU.budget!, true);
    const { cut } = this;
    this.ended = false;
    // The context that never matches sends the fetch to the decoder, also where the instruction TLB knows the page.
    this.set32('itlb_ctx', this.u32('itlb_ctx') | ITLB_CTX_NEVER);
    this.view.setBigUint64(this.cpu + CPU.jump_key!, BigInt(JUMP_KEY_NONE), true);
    this.cache.alone = true;
    this.interpreter.enter(this.cpu);
    this.cache.alone = false;
    this.runtime.update_context(this.cpu);
    if (this.ended) return;
    this.cut = cut;
    this.view.setInt32(this.cpu + CPU.budget!, budget - 1, true);
  }

  /**
   * Runs one instruction, or delivers the fault that it raises; interrupts are not looked at. `budget` is the
   * ordinary result.
   */
  stepOne(): SoftLeave {
    this.view.setInt32(this.cpu + CPU.budget!, 0, true);
    this.step(true);
    this.retired++;
    const leave = this.takeExit();
    return leave ?? (this.u32('halted') ? 'hlt' : 'budget');
  }

  private step(shadow: boolean): void {
    const flags = this.u32('eflags');
    const trap = (flags & EFLAGS.TF) !== 0;
    const watched = (this.u32('itlb_ctx') & ITLB_CTX_NEVER) !== 0;
    if (!shadow && !trap && !watched && !this.everyInstruction) {
      this.interpreter.enter(this.cpu);
      return;
    }
    if (watched && !(flags & EFLAGS.RF) && this.noteBreakpoints()) {
      this.deliverDebug();
      // A handler that begins with a breakpoint of its own must come to an end too.
      this.view.setInt32(this.cpu + CPU.budget!, this.view.getInt32(this.cpu + CPU.budget!, true) - 1, true);
      return;
    }
    // RF holds for one instruction; IRET may set it anew, and an unfinished repetition keeps it.
    this.set32('eflags', flags & ~EFLAGS.RF);
    const events = this.u32('n_delivered');
    const rip = this.view.getBigUint64(this.cpu + CPU.rip!, true);
    this.enterAlone();
    const stays = this.view.getBigUint64(this.cpu + CPU.rip!, true) === rip;
    const left = this.u32('exit_reason') === EXIT.IO;
    if (this.u32('n_delivered') !== events || left) this.set32('exc_dr6', 0);
    if ((watched && stays && this.cache.aloneRepeats) || left) {
      this.set32('eflags', this.u32('eflags') | (watched ? EFLAGS.RF : flags & EFLAGS.RF));
    }
    if (this.u32('n_delivered') !== events || left) return;
    // The trap comes after the instruction, unless that faulted (SDM vol.3 17.3.1.4). MOV SS puts it off.
    if (this.u32('shadow') === SHADOW_SS) return;
    if (trap) this.set32('exc_dr6', this.u32('exc_dr6') | DR6_BS);
    if (this.u32('exc_dr6')) this.deliverDebug();
  }

  /** Notes in exc_dr6 the instruction breakpoints at the field rip (SDM vol.3 17.3.1.1); true when there are some. */
  private noteBreakpoints(): boolean {
    const { view, cpu } = this;
    const u64 = (field: string): bigint => view.getBigUint64(cpu + CPU[field]!, true);
    const linear = BigInt.asUintN(64, u64('rip') + u64('code_base')) & u64('code_mask');
    const control = view.getUint32(cpu + CPU.dr! + 7 * 8, true);
    let hits = 0;
    for (let i = 0; i < 4; i++) {
      const enabled = (control >>> (2 * i)) & 3;
      const kind = (control >>> (16 + 4 * i)) & 3;
      if (enabled && kind === 0 && view.getBigUint64(cpu + CPU.dr! + i * 8, true) === linear) hits |= 1 << i;
    }
    if (hits) this.set32('exc_dr6', this.u32('exc_dr6') | hits);
    return hits !== 0;
  }

  /** Delivers #DB for what is noted in exc_dr6. It also ends a HLT. */
  private deliverDebug(): void {
    if (this.u32('exit_reason') === EXIT.HLT) this.set32('exit_reason', EXIT.NONE);
    this.set32('halted', 0);
    this.interpreter.explicit(this.cpu);
    this.runtime.raise(this.cpu, EXC.DB, 0);
    this.runtime.deliver_exception(this.cpu);
  }
}

function hostFunctions(host: VcpuHost): WebAssembly.ModuleImports {
  const unsigned = (v: bigint): bigint => BigInt.asUintN(64, v);
  return {
    mmio_read: (cpu: number, gpa: bigint, size: number) => host.mmio_read(cpu, unsigned(gpa), size),
    mmio_write: (cpu: number, gpa: bigint, size: number, v: bigint) =>
      host.mmio_write(cpu, unsigned(gpa), size, unsigned(v)),
    port_read: (cpu: number, port: number, size: number) => host.port_read(cpu, port, size),
    port_write: (cpu: number, port: number, size: number, v: number) => host.port_write(cpu, port, size, v >>> 0),
    msr_read: (cpu: number, index: number) => host.msr_read(cpu, index >>> 0),
    msr_write: (cpu: number, index: number, v: bigint) => host.msr_write(cpu, index >>> 0, unsigned(v)),
    tsc_now: (cpu: number) => host.tsc_now(cpu),
    tsc_number: host.tscNumber ? () => host.tscNumber!() : () => -1,
    cpuid_query: (cpu: number, leaf: number, subleaf: number) => host.cpuid_query(cpu, leaf >>> 0, subleaf >>> 0),
    set_cr8: (cpu: number, v: bigint) => host.set_cr8(cpu, unsigned(v)),
    get_cr8: (cpu: number) => host.get_cr8(cpu),
  };
}

/** The interpreter's imports; a helper that the runtime lacks is a bug that shows when it is called. */
function runtimeFunctions(exports: WebAssembly.Exports, host: VcpuHost): WebAssembly.ModuleImports {
  const out: WebAssembly.ModuleImports = { ...(exports as WebAssembly.ModuleImports) };
  out.hw_random = () => BigInt.asIntN(64, host.random64?.() ?? platformRandom());
  for (const h of HELPERS) {
    out[h.name] ??= () => {
      throw new Error(`the runtime has no helper ${h.name}`);
    };
  }
  return out;
}
