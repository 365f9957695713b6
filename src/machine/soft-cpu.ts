/** The soft engine's vCPU as one of the two that a switchable machine has. */
import type { Sregs, VcpuEvents } from '../hv/contract.ts';
import { CarriedState } from '../hv/soft/carried-state.ts';
import { SoftState } from '../hv/soft/state.ts';
import type { SoftVcpu } from '../hv/soft/vcpu.ts';
import type { SoftMemory } from '../hv/soft/vm.ts';
import type { VcpuState } from '../hv/switchable.ts';
import type { Board } from './board.ts';
import type { MachineCpu, RunEnd } from './contract-cpu.ts';
import type { VcpuBridge } from './vcpu-bridge.ts';

const IA32_APIC_BASE = 0x1b;

export class SoftCpu extends CarriedState implements MachineCpu, VcpuState {
  readonly longestNs = undefined;
  readonly soft: SoftVcpu;
  private readonly bridge: VcpuBridge;
  private readonly board: Board;
  protected readonly state: SoftState;

  constructor(memory: SoftMemory, soft: SoftVcpu, bridge: VcpuBridge, board: Board) {
    super();
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

  /** CR8 and IA32_APIC_BASE are the board's. */
  override getSregs(): Sregs {
    const { apic } = this.board;
    return { ...this.soft.getSregs(), cr8: BigInt(apic.cr8), apicBase: apic.readMsr(IA32_APIC_BASE) ?? 0n };
  }
  protected override setTsc(value: bigint): void {
    this.bridge.setTsc(value);
  }
  getEvents(): VcpuEvents {
    return { ...this.state.events(), interrupt: undefined, exception: undefined };
  }
  /** What another engine had begun to deliver is delivered at once. */
  setEvents(events: VcpuEvents): void {
    this.state.setEvents(events);
    this.deliver(events);
  }
}
