/**
 * A PC: vCPU, memory, board and kernel put together, and the loop that gives each its time.
 */

import { HostClock } from '../devices/clock.ts';
import type { CpuidEntry, Vm } from '../hv/contract.ts';
import { CPU_MODELS, type CpuModel, cpuModel, withKvmClock } from '../hv/cpu-model.ts';
import { compileEngineImage, type EngineImage } from '../hv/soft/image.ts';
import { SoftVcpu } from '../hv/soft/vcpu.ts';
import { SoftMemory } from '../hv/soft/vm.ts';
import { makeDecoder } from '../isa/decoder.ts';
import { ROWS } from '../isa/rows.ts';
import { writeAcpiTables } from './acpi/tables.ts';
import { Board, type BoardEnd } from './board.ts';
import { boardCpuid, ContractCpu, type MachineCpu, type RunEnd } from './contract-cpu.ts';
import type { ChosenEngine } from './engine-choice.ts';
import { MachineError } from './errors.ts';
import { type BootMethod, loadKernel } from './loaders/index.ts';
import { createMemoryMap } from './memory-map.ts';
import { SoftCpu } from './soft-cpu.ts';
import { notSwitchable, SwitchingCpu, type SwitchTarget } from './switching-cpu.ts';
import { checkLogItems, vcpuTrace } from './trace-items.ts';
import { type SharedIdentity, VcpuBridge } from './vcpu-bridge.ts';

export { LOG_ITEMS } from './trace-items.ts';
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
  /** Trace items by name; their lines go to `logOutput`. */
  readonly log: readonly string[];
  /** Linear addresses `[first, last]` to trace: of instructions, or of accesses for `mmu`. Default: all. */
  readonly logRange?: readonly [bigint, bigint] | undefined;
  readonly serialOutput: (bytes: Uint8Array) => void;
  readonly logOutput: (line: string) => void;
  /** Bytes written to the debug console port. Default: `serialOutput`. */
  readonly debugOutput?: ((bytes: Uint8Array) => void) | undefined;
  /** The compiled engine. */
  readonly image: EngineImage;
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
  | { readonly kind: 'debug-exit'; readonly value: number }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'error'; readonly message: string };

/** Longest time in milliseconds that the host's event loop waits for the guest. */
const TURN_MS = 8;
/** Instructions in a slice: at most as many as take about a millisecond, so that timers are not late. */
const MIN_SLICE = 2_000;
const MAX_SLICE = 4_000_000;
const SLICE_NS = 1_000_000;

const nowNs = (): bigint => BigInt(Math.round(performance.now() * 1e6));

export class Machine {
  private readonly vcpu: MachineCpu;
  private readonly board: Board;
  private readonly clock: HostClock;
  private end: BoardEnd | undefined;
  /** Instructions per nanosecond, measured, for sizing slices. */
  private speed = 0.05;
  private wake: (() => void) | undefined;
  /** Guest time up to which the running slice may go; -1 between slices. */
  private sliceEnds = -1n;
  private readonly started = performance.now();
  private idleMs = 0;
  private running = false;
  private switchWanted: { readonly engine: SwitchTarget; done(): void; failed(error: unknown): void } | undefined;

  private constructor(vcpu: MachineCpu, board: Board, clock: HostClock) {
    this.vcpu = vcpu;
    this.board = board;
    this.clock = clock;
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
    const memory = makeMemory(map.slots.map((s) => ({ gpa: s.gpa, size: s.size, offset: s.slabOffset })));
    const clock = new HostClock(nowNs);
    const other = o.openVm?.(memory);
    const board = new Board({
      clock,
      map,
      tscHz: other?.vm.tscHz,
      engineIoApic: other !== undefined,
      serialOutput: o.serialOutput,
      debugOutput: o.debugOutput ?? o.serialOutput,
      wallClockMs: () => Date.now(),
      trace: o.log.includes('io') ? o.logOutput : undefined,
    });
    const vcpu = other ? switchingCpu(o, memory, board, model, other) : softCpu(o, memory, board, model).soft;
    const rsdp = writeAcpiTables(memory, 1);
    const boot = await loadKernel(memory, {
      kernel: o.kernel,
      initrd: o.initrd,
      commandLine: o.append,
      map,
      rsdp,
      method: o.boot,
    });
    vcpu.setSregs(boot.sregs);
    vcpu.setRegs(boot.regs);
    const machine = new Machine(vcpu, board, clock);
    if (o.engine === 'kvm') await machine.switchEngine('kvm');
    return machine;
  }

  /** The engine that runs now; undefined for a machine with one engine. */
  get engine(): SwitchTarget | undefined {
    return this.vcpu instanceof SwitchingCpu ? this.vcpu.engine : undefined;
  }

  /**
   * Goes on with another engine, at the next moment at which nothing runs. `bt` is the machine's soft engine.
   * @throws MachineError when the machine has one engine
   */
  async switchEngine(engine: SwitchTarget): Promise<void> {
    const { vcpu } = this;
    if (!(vcpu instanceof SwitchingCpu)) throw notSwitchable();
    if (!this.running) return vcpu.switchTo(engine);
    await new Promise<void>((done, failed) => {
      this.switchWanted = { engine, done, failed };
      vcpu.requestExit();
      this.wake?.();
    });
  }
  private async switchNow(): Promise<void> {
    const wanted = this.switchWanted;
    this.switchWanted = undefined;
    if (!wanted) return;
    try {
      await (this.vcpu as SwitchingCpu).switchTo(wanted.engine);
      wanted.done();
    } catch (error) {
      wanted.failed(error);
    }
  }

  /** Gives back what the machine holds of the host. It does not run. */
  close(): void {
    if (this.vcpu instanceof SwitchingCpu) this.vcpu.close();
  }

  /** Bytes typed at the serial console. */
  serialInput(bytes: Uint8Array): void {
    this.board.serial.receive(bytes);
    this.wake?.();
  }

  /** Runs until the guest ends the machine or `signal` is aborted; then it can be run on. */
  async run(options: { readonly signal?: AbortSignal } = {}): Promise<Outcome> {
    const { signal } = options;
    const onAbort = (): void => {
      this.vcpu.requestExit();
      this.wake?.();
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
      this.clock.runDue();
      if (this.switchWanted) await this.switchNow();
      const slice = this.slice();
      const why = typeof slice === 'string' ? slice : await slice;
      this.sliceEnds = -1n;
      if (this.end) return this.end;
      if (why === 'shutdown') return { kind: 'triple-fault' };
      if (why === 'hlt') {
        await this.idle();
        turnEnds = performance.now() + TURN_MS;
      } else if (performance.now() >= turnEnds) {
        await hostTurn();
        turnEnds = performance.now() + TURN_MS;
      }
    }
  }

  /** Runs up to the next timer, or about a millisecond. */
  private slice(): RunEnd | Promise<RunEnd> {
    const started = performance.now();
    const deadline = this.clock.nextDeadline();
    const longest = this.vcpu.longestNs ?? SLICE_NS;
    const ns = deadline === undefined ? longest : Math.min(Number(deadline - this.clock.now()), longest);
    const budget = Math.max(MIN_SLICE, Math.min(MAX_SLICE, Math.round(ns * this.speed)));
    const before = this.vcpu.retired;
    this.sliceEnds = this.clock.now() + BigInt(ns);
    const why = this.vcpu.run(budget, ns);
    const took = (performance.now() - started) * 1e6;
    const done = this.vcpu.retired - before;
    if (done > MIN_SLICE / 2 && took > 0) this.speed += 0.1 * (done / took - this.speed);
    return why;
  }

  /** Waits for the next timer or input. */
  private async idle(): Promise<void> {
    const deadline = this.clock.nextDeadline();
    const ms = deadline === undefined ? 1000 : Number(deadline - this.clock.now()) / 1e6;
    if (ms <= 0) return;
    const started = performance.now();
    if (ms < 1) await hostTurn();
    else {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, Math.floor(ms));
        function done(): void {
          clearTimeout(timer);
          resolve();
        }
        this.wake = done;
      });
      this.wake = undefined;
    }
    this.idleMs += performance.now() - started;
  }

  /** Counters for a status line. */
  stats(): { instructions: number; seconds: number; mips: number; idleShare: number } {
    const ms = performance.now() - this.started;
    const busy = Math.max(1, ms - this.idleMs);
    return {
      instructions: this.vcpu.retired,
      seconds: ms / 1000,
      mips: this.vcpu.retired / busy / 1000,
      idleShare: this.idleMs / ms,
    };
  }
}

/** @throws MachineError for a name that is no model */
function modelOf(o: MachineOptions): CpuModel {
  const model = cpuModel(o.cpu);
  if (model) return o.kvmclock === false ? model : withKvmClock(model);
  throw new MachineError(`no CPU model ${o.cpu}`, `give one of ${CPU_MODELS.map((m) => m.name).join(', ')}`);
}

function softCpu(
  o: MachineOptions,
  memory: SoftMemory,
  board: Board,
  model: CpuModel,
  shared?: SharedIdentity,
): { soft: SoftVcpu; bridge: VcpuBridge } {
  const bridge = new VcpuBridge(memory, board, model, shared);
  const rows = ROWS.map((r) => r);
  const decoder = makeDecoder(ROWS.filter((r) => r.feature === undefined || model.features.has(r.feature)));
  const soft = new SoftVcpu({
    id: 0,
    engine: o.engine === 'interp' ? 'interp' : 'bt',
    memory,
    image: o.image,
    decoder,
    rows,
    host: bridge,
    ...vcpuTrace(o.log, o.logRange, o.logOutput),
  });
  bridge.attach(soft);
  return { soft, bridge };
}

/** Two engines for one guest, which is told of what both can carry. */
function switchingCpu(
  o: MachineOptions,
  memory: SoftMemory,
  board: Board,
  model: CpuModel,
  { vm, filterCpuid, engineIrqchip }: EngineVm,
): SwitchingCpu {
  memory.memorySlots.forEach(({ gpa, size, offset }, slot) => {
    vm.setUserMemoryRegion({ slot, gpa, size, offset });
  });
  const { tscHz } = vm;
  const { entries: cpuid, missing } = filterCpuid(boardCpuid(model, tscHz, engineIrqchip));
  const common = { ...model, features: new Set([...model.features].filter((name) => !missing.includes(name))) };
  const { soft, bridge } = softCpu(o, memory, board, common, { cpuid, tscHz });
  const other = new ContractCpu({ vm, board, cpuid, engineIrqchip });
  return new SwitchingCpu({ soft: new SoftCpu(memory, soft, bridge, board), other, tscHz });
}

function makeMemory(slots: ConstructorParameters<typeof SoftMemory>[0]): SoftMemory {
  try {
    return new SoftMemory(slots, 1);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new MachineError(`this much memory cannot be had: ${error.message}`, 'give less with --memory');
  }
}

/** Lets the host's event loop run once. */
function hostTurn(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (f: () => void) => void };
  if (setImmediate) return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(0);
  });
}
