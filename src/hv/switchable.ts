/**
 * One virtual machine on two engines over the same RAM, of which one runs at a time: it can change engine between two
 * instructions. What a guest can see goes along; devices stay where they are, because both engines leave them to
 * user space.
 */
import {
  type EngineKind,
  type Exit,
  type GuestMemory,
  HvError,
  type MemoryRegion,
  type RunOptions,
  type Vcpu,
} from './contract.ts';
import type { KvmVm } from './kvm/vm.ts';
import type { SoftVm } from './soft/contract-vm.ts';

/**
 * MSRs that go along where both engines have them: TSC, SYSENTER, MISC_ENABLE, PAT, SYSCALL, KERNEL_GS_BASE, TSC_AUX.
 * FS and GS bases and EFER are part of the special registers.
 */
const MSRS = [
  0x10, 0x174, 0x175, 0x176, 0x1a0, 0x277, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0102, 0xc000_0103,
];

/** MSRs of MSRS that both vCPUs have. */
function commonMsrs(a: Vcpu, b: Vcpu): number[] {
  const has = (vcpu: Vcpu, index: number): boolean => {
    try {
      vcpu.getMsrs([index]);
      return true;
    } catch {
      return false;
    }
  };
  return MSRS.filter((index) => has(a, index) && has(b, index));
}

/** Gives `to` the state of `from`; neither runs nor has an unfinished exit. */
export function carryState(from: Vcpu, to: Vcpu, msrs: readonly number[]): void {
  to.setSregs(from.getSregs());
  to.setRegs(from.getRegs());
  to.setXcr0(from.getXcr0());
  to.setXsave(from.getXsave());
  const values = from.getMsrs(msrs);
  to.setMsrs(msrs.map((index, i) => [index, values[i]!] as const));
  to.setDebugRegs(from.getDebugRegs());
  to.setMpState(from.getMpState());
  to.setEvents(from.getEvents());
}

/** A VM with one vCPU that runs on either engine. */
export class SwitchableVm {
  private readonly soft: { readonly vm: SoftVm; readonly vcpu: Vcpu };
  private readonly kvm: { readonly vm: KvmVm; readonly vcpu: Vcpu };
  private readonly msrs: readonly number[];
  private current: EngineKind = 'soft';

  /** @param soft, kvm two VMs over the same memory, without vCPUs, for the same CPUID leaves */
  constructor(soft: SoftVm, kvm: KvmVm, cpuid: Parameters<Vcpu['setCpuid']>[0]) {
    if (soft.memory !== kvm.memory) throw new HvError('two memories', 'make both with createVmOn and one memory');
    this.soft = { vm: soft, vcpu: soft.createVcpu(0) };
    this.kvm = { vm: kvm, vcpu: kvm.createVcpu(0) };
    for (const { vcpu } of [this.soft, this.kvm]) vcpu.setCpuid(cpuid);
    this.msrs = commonMsrs(this.soft.vcpu, this.kvm.vcpu);
  }

  /** The RAM of both. */
  get memory(): GuestMemory {
    return this.soft.vm.memory;
  }
  get engine(): EngineKind {
    return this.current;
  }
  /** The vCPU that has the state now. */
  get vcpu(): Vcpu {
    return this[this.current].vcpu;
  }
  setUserMemoryRegion(region: MemoryRegion): void {
    this.soft.vm.setUserMemoryRegion(region);
    this.kvm.vm.setUserMemoryRegion(region);
  }
  run(options?: RunOptions): Exit {
    return this.vcpu.run(options);
  }

  /**
   * Moves the state to another engine; does nothing when it is there. The last exit must have been handled.
   * @returns an exit that has to be handled before, which the last one has led to; call again then
   */
  switchEngine(engine: EngineKind): Exit | undefined {
    if (engine === this.current) return undefined;
    const from = this.vcpu;
    const exit = from.run({ immediate: true });
    if (exit.reason !== 'intr') return exit;
    const to = this[engine].vcpu;
    // The other engine has written memory without telling this one.
    if (engine === 'soft') this.soft.vm.dropCode();
    carryState(from, to, this.msrs);
    to.requestInterruptWindow = from.requestInterruptWindow;
    this.current = engine;
    return undefined;
  }

  close(): void {
    this.soft.vm.close();
    this.kvm.vm.close();
  }
}
