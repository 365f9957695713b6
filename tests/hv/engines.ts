// The engines that tests run guests on, and the word for why one of them is missing.
import { type Hypervisor, type Vcpu, type Vm, XSAVE_BYTES } from '../../src/hv/contract.ts';
import { CPU_MODELS } from '../../src/hv/cpu-model.ts';
import { cpuidEntries, filterCpuid } from '../../src/hv/cpuid-entries.ts';
import { loadEngineImage } from '../../src/hv/kvm/engine-files.ts';
import { KvmHypervisor } from '../../src/hv/kvm/hypervisor.ts';
import { AT, type ModeName, setUpMode } from '../../src/hv/modes.ts';
import { SoftHypervisor } from '../../src/hv/soft/contract-vm.ts';

export interface Guest {
  readonly vm: Vm;
  readonly vcpu: Vcpu;
}

/** /dev/kvm, or why there is none. */
export function openKvm(): KvmHypervisor | string {
  try {
    return KvmHypervisor.open();
  } catch (error) {
    return (error as Error).message;
  }
}

export const softHypervisor = async (): Promise<SoftHypervisor> =>
  new SoftHypervisor({ image: await loadEngineImage() });

/** Leaves that both engines can carry, where /dev/kvm is there. */
export function commonCpuid(kvm: KvmHypervisor): ReturnType<typeof cpuidEntries> {
  return filterCpuid(cpuidEntries(CPU_MODELS[0]!), kvm.supportedCpuid()).entries;
}

/** A machine with the surroundings of a mode and code at AT.code, ready to run at CPL 0. */
export function makeGuest(
  hypervisor: Hypervisor,
  mode: ModeName,
  code: readonly number[],
  handler: (vector: number) => readonly number[] = () => [0xf4],
): Guest {
  const vm = hypervisor.createVm({ ram: AT.ram, gpaTop: 4 << 20 });
  vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
  const sregs = setUpMode(vm.memory, mode, handler);
  vm.memory.write(AT.code, Uint8Array.from(code));
  const vcpu = vm.createVcpu(0);
  if (hypervisor instanceof KvmHypervisor) vcpu.setCpuid(commonCpuid(hypervisor));
  vcpu.setSregs(sregs);
  vcpu.setRegs({ ...ZERO, rip: BigInt(AT.code), rsp: BigInt(mode === 'real' ? 0x8000 : AT.stack), rflags: 2n });
  vcpu.setXsave(initialXsave());
  return { vm, vcpu };
}

const ZERO = {
  rax: 0n, rbx: 0n, rcx: 0n, rdx: 0n, rsi: 0n, rdi: 0n, rsp: 0n, rbp: 0n,
  r8: 0n, r9: 0n, r10: 0n, r11: 0n, r12: 0n, r13: 0n, r14: 0n, r15: 0n, rip: 0n, rflags: 2n,
}; // biome-ignore format: a line a group

/** An XSAVE area as after FNINIT and a reset of MXCSR. */
export function initialXsave(): Uint8Array {
  const area = new Uint8Array(XSAVE_BYTES);
  const v = new DataView(area.buffer);
  v.setUint16(0, 0x37f, true);
  v.setUint32(24, 0x1f80, true);
  v.setUint32(512, 3, true);
  return area;
}

/** Whether a /dev/kvm runs 32-bit code with paging; hosts without nested virtualization may not. */
export function runsPae(kvm: KvmHypervisor): boolean {
  const { vm, vcpu } = makeGuest(kvm, 'pae', [0xf4]);
  const { reason } = vcpu.run({ nanoseconds: 1e9 });
  vm.close();
  return reason === 'hlt';
}
