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

/** The state of a vCPU that goes along: all of the contract's but what belongs to a run. */
export type VcpuState = Pick<
  Vcpu,
  | 'getRegs'
  | 'setRegs'
  | 'getSregs'
  | 'setSregs'
  | 'getXcr0'
  | 'setXcr0'
  | 'getXsave'
  | 'setXsave'
  | 'getMsrs'
  | 'setMsrs'
  | 'getDebugRegs'
  | 'setDebugRegs'
  | 'getEvents'
  | 'setEvents'
>;

const IA32_TSC = 0x10;
/** MSRs of KVM's own. */
const KVM_MSRS = 0x4b56_4d00;
const KVM_MSRS_END = 0x4b56_4e00;
/**
 * MSRs that go along where both engines have them: TSC_ADJUST before the TSC, which it is part of; SYSENTER, MISC_ENABLE,
 * PAT, MTRRs, SYSCALL, KERNEL_GS_BASE, TSC_AUX, KVM's clock. FS and GS bases and EFER are part of the special registers.
 */
const MSRS = [
  0x3b, IA32_TSC, 0x174, 0x175, 0x176, 0x1a0, 0x277, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0102,
  0xc000_0103, 0x2ff, 0x250, 0x258, 0x259, ...range(0x268, 8), ...range(0x200, 16), 0x4b56_4d00, 0x4b56_4d01,
]; // biome-ignore format: one group a line

function range(first: number, length: number): number[] {
  return Array.from({ length }, (_, i) => first + i);
}

/** MSRs of MSRS that both vCPUs have. */
export function commonMsrs(a: VcpuState, b: VcpuState): number[] {
  const has = (vcpu: VcpuState, index: number): boolean => {
    try {
      vcpu.getMsrs([index]);
      return true;
    } catch {
      return false;
    }
  };
  return MSRS.filter((index) => has(a, index) && has(b, index));
}

/**
 * Gives `to` the state of `from`; neither runs nor has an unfinished exit. The TSC goes on through the time that this
 * takes, which the caller gives as its frequency.
 */
export function carryState(from: VcpuState, to: VcpuState, msrs: readonly number[], tscHz: number): void {
  const read = performance.now();
  const values = new Map(from.getMsrs(msrs).map((value, i) => [msrs[i]!, value]));
  to.setSregs(from.getSregs());
  to.setRegs(from.getRegs());
  to.setXcr0(from.getXcr0());
  to.setXsave(from.getXsave());
  to.setDebugRegs(from.getDebugRegs());
  const some = (has: (index: number) => boolean): [number, bigint][] => [...values].filter(([index]) => has(index));
  to.setMsrs(some((index) => index !== IA32_TSC && index < KVM_MSRS));
  const tsc = values.get(IA32_TSC);
  // At the last moment, so that little is lost; KVM's clock is reckoned from it.
  if (tsc !== undefined) {
    to.setMsrs([[IA32_TSC, tsc + BigInt(Math.round(((performance.now() - read) * tscHz) / 1000))]]);
  }
  to.setMsrs(some((index) => index >= KVM_MSRS && index < KVM_MSRS_END));
  to.setMsrs(some((index) => index >= KVM_MSRS_END));
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
    // A host that cannot give a guest a TSC of its own lets it see the host's: the other engine begins with that.
    this.soft.vcpu.setMsrs([[IA32_TSC, this.kvm.vcpu.getMsrs([IA32_TSC])[0]!]]);
  }

  /** The RAM of both. */
  get memory(): GuestMemory {
    return this.soft.vm.memory;
  }
  get engine(): EngineKind {
    return this.current;
  }
  /** Frequency of the guest's TSC in hertz. */
  get tscHz(): number {
    return this.kvm.vm.tscHz;
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
   * @param name `bt` is the soft engine, which translates if it was made so
   * @returns an exit that has to be handled before, which the last one has led to; call again then
   */
  switchEngine(name: 'bt' | 'kvm'): Exit | undefined {
    const engine: EngineKind = name === 'kvm' ? 'kvm' : 'soft';
    if (engine === this.current) return undefined;
    const from = this.vcpu;
    const exit = from.run({ immediate: true });
    if (exit.reason !== 'intr') return exit;
    const to = this[engine].vcpu;
    // The other engine has written memory without telling this one.
    if (engine === 'soft') this.soft.vm.dropCode();
    carryState(from, to, this.msrs, this.kvm.vm.tscHz);
    to.setMpState(from.getMpState());
    to.cr8 = from.cr8;
    to.requestInterruptWindow = from.requestInterruptWindow;
    this.current = engine;
    return undefined;
  }

  close(): void {
    this.soft.vm.close();
    this.kvm.vm.close();
  }
}
