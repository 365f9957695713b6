/**
 * A PC: vCPU, memory, board and kernel put together, and the loop that gives each its time.
 */

import { HostClock } from '../devices/clock.ts';
import type { RegionCompiler } from '../engine/bt/job.ts';
import type { CpuidEntry, Vm } from '../hv/contract.ts';
import { CPU_MODELS, type CpuModel, cpuModel, withKvmClock } from '../hv/cpu-model.ts';
import { hostTurn } from '../hv/soft/host-turn.ts';
import { compileEngineImage, type EngineImage } from '../hv/soft/image.ts';
import { SoftMemory } from '../hv/soft/vm.ts';
import { writeAcpiTables } from './acpi/tables.ts';
import { Board, type BoardEnd } from './board.ts';
import type { RunEnd } from './contract-cpu.ts';
import { stateDigest } from './digest.ts';
import type { ChosenEngine } from './engine-choice.ts';
import { MachineError } from './errors.ts';
import { type BootMethod, loadKernel } from './loaders/index.ts';
import { type MadeCpu, makeCpu } from './make-cpu.ts';
import { createMemoryMap } from './memory-map.ts';
import { type MachineStats, Statistics } from './statistics.ts';
import { notSwitchable, SwitchingCpu, type SwitchTarget } from './switching-cpu.ts';
import { HostTime, InstructionTime, type TimeSource } from './time.ts';
import { checkLogItems } from './trace-items.ts';
import { Wait } from './wait.ts';

export { compileEngineImage };

export interface MachineOptions {
  /** Bytes of guest RAM. */
  readonly memory: number;
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  /** Kernel command line. */
  readonly append: string;
  /** How to boot. Default: `auto`, which looks at the file. */
  readonly boot?: BootMethod | undefined;
  /** What runs the instructions; `auto` is decided before (engine-choice.ts). */
  readonly engine: ChosenEngine;
  /** Makes the virtual machine of the engine `kvm` over the machine's memory: for `kvm`, and to be able to switch. */
  readonly openVm?: ((memory: SoftMemory) => EngineVm) | undefined;
  /** Name of a CPU model. */
  readonly cpu: string;
  /** False: the guest is not told of KVM's clock, and finds a PC without a hypervisor's help. Default: true. */
  readonly kvmclock?: boolean | undefined;
  /**
   * Time is a function of the instructions executed, and the guest's random bits come of the seed: the same inputs
   * give the same run. `serialInput` then does nothing.
   */
  readonly deterministic?: { readonly seed: bigint } | undefined;
  /** What is typed at the serial console at which guest time, in milliseconds since power-on. */
  readonly typed?: readonly TypedInput[] | undefined;
  /** Trace items by name; their lines go to `logOutput`. */
  readonly log: readonly string[];
  /** Linear addresses `[first, last]` to trace: of instructions, or of accesses for `mmu`. Default: all. */
  readonly logRange?: readonly [bigint, bigint] | undefined;
  readonly serialOutput: (bytes: Uint8Array) => void;
  readonly logOutput: (line: string) => void;
  /** Bytes written to the debug console port. Default: `serialOutput`. */
  readonly debugOutput?: ((bytes: Uint8Array) => void) | undefined;
  /**
   * Starts what makes regions on a thread of its own, for a CPU model's features. Absent: they are made by this thread,
   * as for a deterministic machine in any case.
   */
  readonly openCompiler?: ((features: ReadonlySet<string>) => RegionCompiler | undefined) | undefined;
  /** Told of the machine's memory before anything is put there. */
  readonly adviseMemory?: ((memory: ArrayBuffer) => void) | undefined;
  /** The compiled engine. */
  readonly image: EngineImage;
}

/** Input at a moment of guest time. */
export interface TypedInput {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

/** A virtual machine of an engine that is not the soft one. */
export interface EngineVm {
  readonly vm: Vm;
  /** Takes away the features that the engine cannot give, and names them. */
  readonly filterCpuid: (entries: readonly CpuidEntry[]) => { entries: CpuidEntry[]; missing: string[] };
  /** It is to have interrupt controllers and timer itself. */
  readonly engineIrqchip: boolean;
}

/** How a run ended. */
export type Outcome =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'triple-fault' }
  /** The guest wrote `value` to the debug-exit port. */
  | { readonly kind: 'debug-exit'; readonly value: number }
  /** The signal was aborted; the machine can be run on. */
  | { readonly kind: 'stopped' }
  | { readonly kind: 'error'; readonly message: string };

/** Longest time in milliseconds that the host's event loop waits for the guest. */
const TURN_MS = 8;

/** What a machine is made of. */
interface Parts extends MadeCpu {
  readonly board: Board;
  readonly clock: HostClock;
  readonly time: TimeSource;
  readonly memory: SoftMemory;
}

export class Machine {
  private readonly parts: Parts;
  private readonly statistics: Statistics;
  private readonly wait = new Wait();
  private end: BoardEnd | undefined;
  /** Guest time up to which the running slice may go; -1 between slices. */
  private sliceEnds = -1n;
  private running = false;
  private switchWanted: { readonly engine: SwitchTarget; done(): void; failed(error: unknown): void } | undefined;

  private constructor(parts: Parts) {
    this.parts = parts;
    const { board, vcpu, clock, observer } = parts;
    this.statistics = new Statistics(vcpu, observer, clock);
    board.onTimerSet = (deadline) => {
      if (deadline < this.sliceEnds) vcpu.requestExit();
    };
    board.onEnd = (end) => {
      this.end ??= end;
      vcpu.requestExit();
    };
  }

  /**
   * Builds the machine and loads the kernel.
   * @throws MachineError, LoadError with a one-line cause and advice
   */
  static async create(o: MachineOptions): Promise<Machine> {
    const model = modelOf(o);
    checkLogItems(o.log);
    if (o.engine === 'kvm' && !o.openVm) throw new MachineError('no engine to run on', 'use --engine auto');
    const map = createMemoryMap(o.memory);
    const slots = map.slots.map((s) => ({ gpa: s.gpa, size: s.size, offset: s.slabOffset }));
    const memory = makeMemory(slots, o.adviseMemory);
    const time = timeOf(o);
    const clock = new HostClock(time.nowNs);
    const other = o.openVm?.(memory);
    const board = new Board({
      clock,
      map,
      tscHz: other?.vm.tscHz,
      engineIoApic: other !== undefined,
      serialOutput: o.serialOutput,
      debugOutput: o.debugOutput ?? o.serialOutput,
      wallClockMs: time.wallMs,
      trace: o.log.includes('io') ? o.logOutput : undefined,
    });
    const poweredOn = clock.state();
    const cpu = makeCpu({ options: o, memory, board, model, time, other });
    const rsdp = writeAcpiTables(memory, 1);
    const boot = await loadKernel(memory, {
      kernel: o.kernel,
      initrd: o.initrd,
      commandLine: o.append,
      map,
      rsdp,
      method: o.boot,
    });
    cpu.vcpu.setSregs(boot.sregs);
    cpu.vcpu.setRegs(boot.regs);
    // The guest's time begins when it is there, not while its kernel is unpacked.
    clock.restore(poweredOn);
    for (const { atMs, bytes } of o.typed ?? []) {
      clock.at(BigInt(Math.round(atMs * 1e6)), () => board.serial.receive(bytes));
    }
    const machine = new Machine({ ...cpu, board, clock, time, memory });
    if (o.engine === 'kvm') await machine.switchEngine('kvm');
    return machine;
  }

  /** The engine that runs now; undefined for a machine with one engine. */
  get engine(): SwitchTarget | undefined {
    const { vcpu } = this.parts;
    return vcpu instanceof SwitchingCpu ? vcpu.engine : undefined;
  }

  /**
   * Goes on with another engine, at the next moment at which nothing runs. `bt` is the machine's soft engine.
   * @throws MachineError when the machine has one engine
   */
  async switchEngine(engine: SwitchTarget): Promise<void> {
    const { vcpu } = this.parts;
    if (!(vcpu instanceof SwitchingCpu)) throw notSwitchable();
    if (!this.running) return vcpu.switchTo(engine);
    await new Promise<void>((done, failed) => {
      this.switchWanted = { engine, done, failed };
      vcpu.requestExit();
      this.wait.wake();
    });
  }
  private async switchNow(): Promise<void> {
    const wanted = this.switchWanted;
    this.switchWanted = undefined;
    if (!wanted) return;
    try {
      await (this.parts.vcpu as SwitchingCpu).switchTo(wanted.engine);
      wanted.done();
    } catch (error) {
      wanted.failed(error);
    }
  }

  /** Gives back what the machine holds of the host. It does not run. */
  close(): void {
    const { vcpu, soft } = this.parts;
    soft.translator?.close();
    if (vcpu instanceof SwitchingCpu) vcpu.close();
  }

  /** Bytes typed at the serial console. A deterministic machine has only the input it was made with. */
  serialInput(bytes: Uint8Array): void {
    if (this.parts.time.deterministic) return;
    this.parts.board.serial.receive(bytes);
    this.wait.wake();
  }

  /** Runs until the guest ends the machine or `signal` is aborted; then it can be run on. */
  async run(options: { readonly signal?: AbortSignal } = {}): Promise<Outcome> {
    const { signal } = options;
    const onAbort = (): void => {
      // Where time counts instructions a slice ends where it would have ended.
      if (!this.parts.time.deterministic) this.parts.vcpu.requestExit();
      this.wait.wake();
    };
    signal?.addEventListener('abort', onAbort);
    this.running = true;
    try {
      return await this.loop(() => signal?.aborted ?? false);
    } finally {
      this.running = false;
      signal?.removeEventListener('abort', onAbort);
      await this.switchNow();
    }
  }

  private async loop(aborted: () => boolean): Promise<Outcome> {
    let turnEnds = performance.now() + TURN_MS;
    for (;;) {
      if (this.end) return this.end;
      if (aborted()) return { kind: 'stopped' };
      this.parts.clock.runDue();
      if (this.switchWanted) await this.switchNow();
      const started = performance.now();
      const before = this.parts.vcpu.retired;
      const slice = this.slice();
      const why = typeof slice === 'string' ? slice : await slice;
      this.sliceDone(why, performance.now() - started, before);
      if (this.end) return this.end;
      if (why === 'shutdown') return { kind: 'triple-fault' };
      let hadTurn = why === 'hlt' && (await this.idle());
      if (!hadTurn && performance.now() >= turnEnds) {
        await hostTurn();
        hadTurn = true;
      }
      if (hadTurn) turnEnds = performance.now() + TURN_MS;
    }
  }

  /** Guest time until the next timer; undefined when there is none. */
  private nsToTimer(): number | undefined {
    const { clock } = this.parts;
    const deadline = clock.nextDeadline();
    return deadline === undefined ? undefined : Number(deadline - clock.now());
  }

  /** Runs up to the next timer, or as long as the time source allows. */
  private slice(): RunEnd | Promise<RunEnd> {
    const { vcpu, clock, time } = this.parts;
    const { budget, ns } = time.plan(this.nsToTimer(), vcpu.longestNs);
    this.sliceEnds = clock.now() + BigInt(Math.ceil(ns));
    return vcpu.run(budget, ns);
  }
  private sliceDone(why: RunEnd, ms: number, before: number): void {
    this.sliceEnds = -1n;
    this.parts.time.ran(this.parts.vcpu.retired - before, ms * 1e6);
    this.statistics.ran(why, ms);
  }

  /** Lets the time pass until the next timer or input. @returns whether the host's event loop had its turn */
  private async idle(): Promise<boolean> {
    const started = performance.now();
    const hadTurn = await this.parts.time.halted(this.nsToTimer(), this.wait);
    this.statistics.idled(performance.now() - started);
    return hadTurn;
  }

  /** What the machine has done so far. */
  stats(): MachineStats {
    return this.statistics.report();
  }

  /**
   * SHA-256 of the guest's memory and registers, of how much it executed and what time it is, in hexadecimal.
   * @throws MachineError unless the machine is deterministic: no other gives the same twice
   */
  digest(): Promise<string> {
    const { soft, memory, clock, time } = this.parts;
    if (!time.deterministic) throw new MachineError('no digest of this machine', 'make it deterministic');
    return stateDigest(memory, [soft.getRegs(), soft.getSregs(), soft.retired, clock.now()]);
  }
}

/** @throws MachineError where an engine cannot count instructions */
function timeOf(o: MachineOptions): TimeSource {
  if (!o.deterministic) return new HostTime();
  if (o.engine !== 'kvm' && !o.openVm) return new InstructionTime(o.deterministic.seed);
  throw new MachineError('the engine kvm does not count instructions', 'use --engine bt or interp');
}

/** @throws MachineError for a name that is no model */
function modelOf(o: MachineOptions): CpuModel {
  const model = cpuModel(o.cpu);
  if (model) return o.kvmclock === false ? model : withKvmClock(model);
  throw new MachineError(`no CPU model ${o.cpu}`, `give one of ${CPU_MODELS.map((m) => m.name).join(', ')}`);
}

function makeMemory(
  slots: ConstructorParameters<typeof SoftMemory>[0],
  advise: MachineOptions['adviseMemory'],
): SoftMemory {
  try {
    return new SoftMemory(slots, 1, undefined, advise);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new MachineError(`this much memory cannot be had: ${error.message}`, 'give less with --memory');
  }
}
