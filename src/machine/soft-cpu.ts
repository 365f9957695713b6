/** The soft engine's vCPU as one of the two that a switchable machine has. */
import type { DebugRegs, Regs, Sregs, VcpuEvents } from '../hv/contract.ts';
import { SoftState } from '../hv/soft/state.ts';
import type { SoftVcpu } from '../hv/soft/vcpu.ts';
import type { SoftMemory } from '../hv/soft/vm.ts';
import type { VcpuState } from '../hv/switchable.ts';
import type { Board } from './board.ts';
import type { MachineCpu, RunEnd } from './contract-cpu.ts';
import type { VcpuBridge } from './vcpu-bridge.ts';

const IA32_TSC = 0x10;
const IA32_APIC_BASE = 0x1b;

export class SoftCpu implements MachineCpu, VcpuState {
  readonly longestNs = undefined;
  private readonly soft: SoftVcpu;
  private readonly bridge: VcpuBridge;
  private readonly board: Board;
  private readonly state: SoftState;

  constructor(memory: SoftMemory, soft: SoftVcpu, bridge: VcpuBridge, board: Board) {
    this.soft = soft;
    this.bridge = bridge;
    this.board = board;
    this.state = new SoftState(memory.memory, soft);
  }

  get retired(): number {
    return this.soft.retired;
  }
  run(budget: number): RunEnd {
    return this.soft.run(budget);
  }
  requestExit(): void {
    this.soft.requestExit();
  }
  close(): void {}

  /** The board is this vCPU's from now on; memory may have been written by another. */
  attach(): void {
    this.soft.dropCode();
    this.bridge.attach(this.soft);
    this.soft.setInterruptPending(this.board.apic.pending);
  }
  get halted(): boolean {
    return this.state.get32('halted') !== 0;
  }
  set halted(value: boolean) {
    this.state.set32('halted', value ? 1 : 0);
  }

  getRegs(): Regs {
    return this.soft.getRegs();
  }
  setRegs(regs: Regs): void {
    this.soft.setRegs(regs);
  }
  /** CR8 and IA32_APIC_BASE are the board's. */
  getSregs(): Sregs {
    const { apic } = this.board;
    return { ...this.soft.getSregs(), cr8: BigInt(apic.cr8), apicBase: apic.readMsr(IA32_APIC_BASE) ?? 0n };
  }
  setSregs(sregs: Sregs): void {
    this.soft.setSregs(sregs);
  }
  getXsave(): Uint8Array {
    return this.state.xsave();
  }
  setXsave(area: Uint8Array): void {
    this.state.setXsave(area);
  }
  getXcr0(): bigint {
    return this.state.get64('xcr0');
  }
  setXcr0(value: bigint): void {
    this.state.set64('xcr0', value);
    this.soft.runtime.update_context(this.soft.cpu);
  }
  getMsrs(indices: readonly number[]): bigint[] {
    return indices.map((index) => this.state.msr(index));
  }
  setMsrs(values: readonly (readonly [index: number, value: bigint])[]): void {
    for (const [index, value] of values) {
      if (index === IA32_TSC) this.bridge.setTsc(value);
      else this.state.setMsr(index, value);
    }
  }
  getDebugRegs(): DebugRegs {
    return this.state.debugRegs();
  }
  setDebugRegs(regs: DebugRegs): void {
    this.state.setDebugRegs(regs);
  }
  getEvents(): VcpuEvents {
    return { ...this.state.events(), interrupt: undefined, exception: undefined };
  }
  /** What another engine had begun to deliver is delivered at once. */
  setEvents(events: VcpuEvents): void {
    const { soft, state } = this;
    state.setEvents(events);
    if (events.exception) {
      state.explicitFlags();
      soft.runtime.raise(soft.cpu, events.exception.vector, events.exception.errorCode ?? 0);
      soft.runtime.deliver_exception(soft.cpu);
    } else if (events.interrupt !== undefined) {
      state.explicitFlags();
      soft.runtime.deliver_interrupt(soft.cpu, events.interrupt);
    }
  }
}
