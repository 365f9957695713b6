/**
 * The vCPU of a machine that can change engine while it runs: one of the soft engine and one of another over the same
 * memory and board, of which one runs at a time.
 */
import type { Regs, Sregs } from '../hv/contract.ts';
import { carryState, commonMsrs } from '../hv/switchable.ts';
import type { ContractCpu, MachineCpu, RunEnd } from './contract-cpu.ts';
import { MachineError } from './errors.ts';
import type { SoftCpu } from './soft-cpu.ts';

const IA32_TSC = 0x10;
/** A TSC that cannot be set on an engine may be a little behind: it is waited for up to this long, milliseconds. */
const TSC_WAIT_MS = 20;

/** What `switchEngine` takes: `bt` is the soft engine of the machine. */
export type SwitchTarget = 'bt' | 'kvm';

export interface SwitchingCpuOptions {
  readonly soft: SoftCpu;
  readonly other: ContractCpu;
  readonly tscHz: number;
}

export class SwitchingCpu implements MachineCpu {
  engine: SwitchTarget = 'bt';
  private readonly soft: SoftCpu;
  private readonly other: ContractCpu;
  private readonly msrs: readonly number[];
  private readonly tscHz: number;

  constructor(o: SwitchingCpuOptions) {
    this.soft = o.soft;
    this.other = o.other;
    this.tscHz = o.tscHz;
    // A host that cannot give a guest a TSC of its own lets it see the host's: both begin with that.
    o.soft.attach();
    o.soft.setMsrs([[IA32_TSC, o.other.vcpu.getMsrs([IA32_TSC])[0]!]]);
    this.msrs = commonMsrs(o.soft, o.other.vcpu);
  }

  private get current(): SoftCpu | ContractCpu {
    return this.engine === 'kvm' ? this.other : this.soft;
  }
  get retired(): number {
    return this.soft.retired;
  }
  get longestNs(): number | undefined {
    return this.current.longestNs;
  }
  run(budget: number, ns: number): RunEnd | Promise<RunEnd> {
    return this.current.run(budget, ns);
  }
  requestExit(): void {
    this.current.requestExit();
  }
  /** The state to start with, before the first switch. */
  setSregs(sregs: Sregs): void {
    this.soft.setSregs(sregs);
  }
  setRegs(regs: Regs): void {
    this.soft.setRegs(regs);
  }
  close(): void {
    this.other.close();
  }

  /** Moves the state; does nothing when it is there. Nothing runs meanwhile. */
  async switchTo(engine: SwitchTarget): Promise<void> {
    if (engine === this.engine) return;
    if (engine === 'kvm') await this.toOther();
    else await this.toSoft();
    this.engine = engine;
  }

  private async toOther(): Promise<void> {
    const { soft, other } = this;
    carryState(soft, other.vcpu, this.msrs, this.tscHz);
    other.attach();
    other.halted = soft.halted;
    await this.waitForTsc();
  }
  /** The guest must not see its TSC go back. */
  private async waitForTsc(): Promise<void> {
    const wanted = this.soft.getMsrs([IA32_TSC])[0]!;
    const behind = Number(wanted - this.other.vcpu.getMsrs([IA32_TSC])[0]!) / (this.tscHz / 1000);
    if (behind > 0 && behind < TSC_WAIT_MS) await new Promise((resolve) => setTimeout(resolve, Math.ceil(behind)));
  }

  private async toSoft(): Promise<void> {
    const { soft, other } = this;
    await other.finish();
    soft.attach();
    carryState(other.vcpu, soft, this.msrs, this.tscHz);
    soft.halted = other.halted;
    other.detach();
  }
}

/** @throws MachineError: this machine cannot change engine */
export function notSwitchable(): MachineError {
  return new MachineError('this machine has one engine', 'start it with --switchable, where /dev/kvm is usable');
}
