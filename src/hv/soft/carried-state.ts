/** The state of a soft vCPU that goes along when a machine changes engine: what every form of it says alike. */
import { type DebugRegs, HvError, type Regs, type Sregs, type VcpuEvents, XSAVE_BYTES } from '../contract.ts';
import type { SoftState } from './state.ts';
import type { SoftVcpu } from './vcpu.ts';

const IA32_TSC = 0x10;

export abstract class CarriedState {
  abstract readonly soft: SoftVcpu;
  protected abstract readonly state: SoftState;
  /** Sets the guest's TSC, without IA32_TSC_ADJUST, which is the guest's own. */
  protected abstract setTsc(value: bigint): void;

  getRegs(): Regs {
    return this.soft.getRegs();
  }
  setRegs(regs: Regs): void {
    this.soft.setRegs(regs);
  }
  getSregs(): Sregs {
    return this.soft.getSregs();
  }
  setSregs(sregs: Sregs): void {
    this.soft.setSregs(sregs);
  }
  /** XSAVE_BYTES bytes in standard form. */
  getXsave(): Uint8Array {
    return this.state.xsave();
  }
  /** @throws HvError for an area of another length */
  setXsave(area: Uint8Array): void {
    if (area.length !== XSAVE_BYTES) {
      throw new HvError(`an XSAVE area of ${area.length} bytes`, `give ${XSAVE_BYTES} bytes in standard form`);
    }
    this.state.setXsave(area);
  }
  getXcr0(): bigint {
    return this.state.get64('xcr0');
  }
  setXcr0(value: bigint): void {
    this.state.set64('xcr0', value);
    this.soft.runtime.update_context(this.soft.cpu);
  }
  /** @throws HvError for an MSR that the engine does not hold */
  getMsrs(indices: readonly number[]): bigint[] {
    return indices.map((index) => this.state.msr(index));
  }
  /** @throws HvError for an MSR that the engine does not hold, or that does not take the value */
  setMsrs(values: readonly (readonly [index: number, value: bigint])[]): void {
    for (const [index, value] of values) {
      if (index === IA32_TSC) this.setTsc(value);
      else this.state.setMsr(index, value);
    }
  }
  getDebugRegs(): DebugRegs {
    return this.state.debugRegs();
  }
  setDebugRegs(regs: DebugRegs): void {
    this.state.setDebugRegs(regs);
  }

  /** Delivers an exception or, where there is none, an interrupt, through the guest's tables. */
  protected deliver(events: Pick<VcpuEvents, 'exception' | 'interrupt'>): void {
    const { soft } = this;
    const { exception, interrupt } = events;
    if (!exception && interrupt === undefined) return;
    this.state.explicitFlags();
    if (exception) {
      soft.runtime.raise(soft.cpu, exception.vector, exception.errorCode ?? 0);
      soft.runtime.deliver_exception(soft.cpu);
    } else soft.runtime.deliver_interrupt(soft.cpu, interrupt!);
  }
}
