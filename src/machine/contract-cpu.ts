/** A vCPU behind the contract on the board: exits go to the board's devices, its interrupts to the vCPU. */

import type { AccessWidth } from '../devices/device.ts';
import type { CpuidEntry, Exit, Regs, Sregs, Vcpu, Vm } from '../hv/contract.ts';
import type { CpuModel } from '../hv/cpu-model.ts';
import { cpuidEntries } from '../hv/cpuid-entries.ts';
import { littleEndian, putLittleEndian } from '../hv/io-hooks.ts';
import type { Board } from './board.ts';
import { EngineIrqchip, PC_ROUTES } from './engine-irqchip/move.ts';
import { settleTimer, TIMER_SETTLES_NS } from './engine-irqchip/settle.ts';
import { MachineError } from './errors.ts';
import { ExitPace, NEAR_NS } from './exit-pace.ts';
import { KVM_ENOSYS } from './hypercalls.ts';

/** Why a vCPU came back. */
export type RunEnd = 'budget' | 'hlt' | 'shutdown';

/** What the machine's loop asks of its vCPU. */
export interface MachineCpu {
  /** Instructions executed, 0 where nobody counts them. */
  readonly retired: number;
  /** Longest time in nanoseconds that a run may get; absent: about a millisecond. */
  readonly longestNs?: number | undefined;
  /** Runs about `budget` instructions or `ns` nanoseconds, whichever the engine can measure. */
  run(budget: number, ns: number): RunEnd | Promise<RunEnd>;
  requestExit(): void;
  setRegs(regs: Regs): void;
  setSregs(sregs: Sregs): void;
}

const IF = 1n << 9n;
const MHZ = 1_000_000;
/** Leaves that tell the frequency of the TSC; the crystal of leaf 15H stays what the board's timers go by. */
const TSC_LEAF = 0x15;
const FREQUENCY_LEAF = 0x16;
const HYPERVISOR_FREQUENCY_LEAF = 0x4000_0010;
const FEATURE_LEAF = 1;
/** Features whose registers the board would have to see at once; an engine that has no APIC of its own does not tell. */
const ECX_X2APIC = 1 << 21;
const ECX_TSC_DEADLINE = 1 << 24;

/**
 * The model's leaves for an engine whose TSC runs at its own frequency.
 * @param engineApic the engine has the local APIC
 */
export function boardCpuid(model: CpuModel, tscHz: number, engineApic: boolean): CpuidEntry[] {
  const hidden = engineApic ? 0 : ECX_X2APIC | ECX_TSC_DEADLINE;
  return cpuidEntries(model).map((e) => {
    if (e.leaf === FEATURE_LEAF) return { ...e, ecx: (e.ecx & ~hidden) >>> 0 };
    if (e.leaf === TSC_LEAF) return { ...e, eax: Math.round(e.ecx / MHZ), ebx: Math.round(tscHz / MHZ) };
    if (e.leaf === FREQUENCY_LEAF) return { ...e, eax: Math.round(tscHz / MHZ), ebx: Math.round(tscHz / MHZ) };
    return e.leaf === HYPERVISOR_FREQUENCY_LEAF ? { ...e, eax: Math.round(tscHz / 1000) } : e;
  });
}

/** The event loop waits no longer than this for a guest that leaves all the time; milliseconds. */
const TURN_MS = 8;
const LONGEST_NS = 100e6;
/** Finishing an exit may lead to others, of which an instruction has not many. */
const MOST_EXITS = 1000;

export interface ContractCpuOptions {
  readonly vm: Vm;
  readonly board: Board;
  readonly cpuid: readonly CpuidEntry[];
  /** Interrupt controllers and timer are to be the engine's. */
  readonly engineIrqchip: boolean;
}

export class ContractCpu implements MachineCpu {
  readonly retired = 0;
  readonly longestNs = LONGEST_NS;
  /** How often each reason made the vCPU come back. */
  readonly exits: Record<string, number> = {};
  readonly vcpu: Vcpu;
  private readonly vm: Vm;
  private readonly board: Board;
  private readonly irqchip: EngineIrqchip | undefined;
  /** The guest has halted, and waits here and not in the engine. */
  private waits = false;
  private nmiPending = false;
  private exitWanted = false;
  private readonly pace = new ExitPace();
  /** The vCPU runs on a thread of its own. */
  private away = false;

  constructor(o: ContractCpuOptions) {
    this.vm = o.vm;
    this.board = o.board;
    if (o.engineIrqchip) {
      o.vm.createIrqchip();
      o.vm.createPit();
      o.vm.setGsiRoutes(PC_ROUTES);
    }
    this.vcpu = o.vm.createVcpu(0);
    this.vcpu.setCpuid(o.cpuid);
    if (o.engineIrqchip) this.irqchip = new EngineIrqchip(o.board, o.vm, this.vcpu);
  }

  /** The board is this vCPU's from now on. Its special registers are set already. */
  attach(): void {
    const { board } = this;
    board.onNmi = () => {
      this.nmiPending = true;
      this.comeBack();
    };
    board.onInterruptChange = () => {
      if (board.apic.pending) this.comeBack();
    };
    // Address bit 20 cannot be forced to zero here.
    board.onA20 = () => {};
    this.vm.setClock(board.clock.now());
    this.irqchip?.moveIn();
  }
  /** Finishes the last exit and what it leads to, so that the state can be read. */
  async finish(): Promise<void> {
    if (this.irqchip) await settleTimer(this.vcpu, () => this.run(0, TIMER_SETTLES_NS));
    for (let i = 0; i < MOST_EXITS; i++) {
      const immediate = { immediate: true };
      const exit = this.pace.near ? this.vcpu.run(immediate) : await this.vcpu.runAsync(immediate);
      if (exit.reason === 'intr') return;
      this.handle(exit);
    }
    throw new MachineError('the guest does not come to rest', 'try again');
  }
  /** Gives the board's controllers back. Its callbacks are another's already. */
  detach(): void {
    this.irqchip?.moveOut();
  }
  get halted(): boolean {
    return this.irqchip ? this.vcpu.getMpState() === 'halted' : this.waits;
  }
  set halted(value: boolean) {
    if (this.irqchip) this.vcpu.setMpState(value ? 'halted' : 'runnable');
    else this.waits = value;
  }
  setRegs(regs: Regs): void {
    this.vcpu.setRegs(regs);
  }
  setSregs(sregs: Sregs): void {
    this.vcpu.setSregs(sregs);
  }
  requestExit(): void {
    this.exitWanted = true;
    this.comeBack();
  }
  /** Between two runs there is nothing to come back from. */
  private comeBack(): void {
    if (this.away) this.vcpu.requestExit();
  }
  close(): void {
    this.vm.close();
  }

  async run(_budget: number, ns: number): Promise<RunEnd> {
    const began = performance.now();
    const ends = began + ns / 1e6;
    const turnEnds = began + TURN_MS;
    this.exitWanted = false;
    for (let turn = began; ; turn = performance.now()) {
      this.offerInterrupts();
      if (this.waits) return 'hlt';
      // A guest that leaves often must let the event loop have its turn too.
      if (turn >= ends || this.exitWanted || (turn >= turnEnds && turn !== began)) return 'budget';
      const exit = await this.enter((ends - turn) * 1e6);
      this.pace.note(exit.reason !== 'intr', performance.now());
      this.exits[exit.reason] = (this.exits[exit.reason] ?? 0) + 1;
      if (exit.reason === 'shutdown') return 'shutdown';
      if (!this.irqchip) this.board.apic.cr8 = this.vcpu.cr8;
      this.handle(exit);
    }
  }

  private enter(nanoseconds: number): Exit | Promise<Exit> {
    if (this.pace.near) return this.vcpu.run({ nanoseconds: Math.min(nanoseconds, NEAR_NS) });
    this.away = true;
    return this.vcpu.runAsync({ nanoseconds }).finally(() => {
      this.away = false;
    });
  }

  /** Hands over what waits, if the vCPU can take it now, and ends a HLT. */
  private offerInterrupts(): void {
    const { vcpu, board } = this;
    if (this.nmiPending) {
      this.nmiPending = false;
      this.waits = false;
      vcpu.nmi();
    }
    if (this.irqchip) return;
    vcpu.requestInterruptWindow = false;
    vcpu.cr8 = board.apic.cr8;
    if (!board.apic.pending) return;
    if (vcpu.readyForInterrupt) {
      this.waits = false;
      vcpu.interrupt(board.apic.acknowledge());
    } else if (this.waits && (vcpu.getRegs().rflags & IF) === 0n) return;
    else vcpu.requestInterruptWindow = true;
  }

  private handle(exit: Exit): void {
    switch (exit.reason) {
      case 'io':
        for (let at = 0; at < exit.data.length; at += exit.size) this.port(exit, at);
        return;
      case 'mmio':
        this.mmio(exit);
        return;
      case 'rdmsr': {
        const value = this.board.apic.readMsr(exit.index);
        exit.error = value === undefined;
        exit.value = value ?? 0n;
        return;
      }
      case 'wrmsr':
        exit.error = !this.board.apic.writeMsr(exit.index, exit.value);
        return;
      case 'hypercall':
        exit.result = KVM_ENOSYS;
        return;
      case 'hlt':
        this.waits = true;
        return;
      case 'set-tpr':
      case 'intr':
      case 'irq-window-open':
        return;
      default:
        throw new MachineError(`the engine stopped with ${describe(exit)}`, 'use --engine bt and report it');
    }
  }
  private port(exit: Extract<Exit, { reason: 'io' }>, at: number): void {
    const { ports } = this.board;
    const { port, size, data } = exit;
    if (exit.direction === 'out') ports.write(port, size, Number(littleEndian(data, at, size)));
    else putLittleEndian(data, at, size, BigInt(ports.read(port, size)));
  }
  /** An access of up to 8 bytes at any address, as the accesses of 1, 2 and 4 aligned bytes that devices answer. */
  private mmio(exit: Extract<Exit, { reason: 'mmio' }>): void {
    const { mmio } = this.board;
    const { data } = exit;
    for (let at = 0; at < data.length; ) {
      const gpa = Number(exit.gpa) + at;
      let size: AccessWidth = 4;
      while (gpa % size !== 0 || size > data.length - at) size = (size / 2) as AccessWidth;
      if (exit.isWrite) mmio.write(gpa, size, Number(littleEndian(data, at, size)));
      else putLittleEndian(data, at, size, BigInt(mmio.read(gpa, size)));
      at += size;
    }
  }
}

function describe(exit: Exit): string {
  if (exit.reason === 'internal-error') {
    const data = exit.data.map((v) => v.toString(16)).join(' ');
    return exit.suberror === 1 ? 'an instruction that it cannot carry out' : `error ${exit.suberror} (${data})`;
  }
  if (exit.reason === 'fail-entry') return `a state that the processor refuses (${exit.hardwareReason.toString(16)})`;
  return exit.reason === 'unknown' ? `reason ${exit.code}` : exit.reason;
}
