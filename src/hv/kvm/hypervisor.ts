/** /dev/kvm as a Hypervisor. */
import { type CpuidEntry, HvError, type Hypervisor, type VmOptions } from '../contract.ts';
import { SoftMemory } from '../soft/vm.ts';
import { API_VERSION, CAP, IOCTL, REQUIRED_CAPS, SIZE } from './abi.ts';
import { readCpuidList, viewOf } from './codec.ts';
import { need, systemError } from './errors.ts';
import { type Libc, libc } from './libc.ts';
import { KvmVm } from './vm.ts';

const O_RDWR_CLOEXEC = 2 | 0o2000000;
const MAX_CPUID_ENTRIES = 256;

export class KvmHypervisor implements Hypervisor {
  readonly engine = 'kvm';
  private readonly c: Libc;
  private readonly fd: number;

  private constructor(c: Libc, fd: number) {
    this.c = c;
    this.fd = fd;
  }

  /**
   * Opens the device and checks what it can do.
   * @throws HvError with a one-line cause: not there, no permission, wrong version, or a capability is missing
   */
  static open(path = '/dev/kvm'): KvmHypervisor {
    let c: Libc;
    try {
      c = libc();
    } catch (cause) {
      throw new HvError('the native interface to libc cannot be loaded', 'use Linux with glibc, or --engine bt', {
        cause,
      });
    }
    const fd = c.open(path, O_RDWR_CLOEXEC);
    if (fd < 0) throw systemError(c, `opening ${path}`);
    const hypervisor = new KvmHypervisor(c, fd);
    try {
      hypervisor.check(path);
    } catch (error) {
      hypervisor.close();
      throw error;
    }
    return hypervisor;
  }

  /** The API version; negative when the device is none of KVM's. */
  get apiVersion(): number {
    return this.c.ioctl(this.fd, IOCTL.GET_API_VERSION, 0);
  }
  /** Value of a capability, 0 when it is not there. */
  capability(name: keyof typeof CAP): number {
    return Math.max(0, this.c.ioctl(this.fd, IOCTL.CHECK_EXTENSION, CAP[name]));
  }
  /** Interrupt controllers and timer are there, with all that moving them needs. */
  get hasIrqchip(): boolean {
    return (['IRQCHIP', 'PIT2', 'PIT_STATE2', 'IRQ_ROUTING'] as const).every((name) => this.capability(name) > 0);
  }
  private check(path: string): void {
    const version = this.apiVersion;
    if (version !== API_VERSION) {
      throw new HvError(`${path} has API version ${version}, not ${API_VERSION}`, 'use --engine bt');
    }
    const missing = REQUIRED_CAPS.filter((name) => this.capability(name) === 0);
    if (missing.length > 0) throw new HvError(`${path} lacks ${missing.join(', ')}`, 'use --engine bt');
  }

  /** CPUID leaves that this host can give to guests. */
  supportedCpuid(): CpuidEntry[] {
    const bytes = new Uint8Array(SIZE.cpuidHead + MAX_CPUID_ENTRIES * SIZE.cpuidEntry);
    viewOf(bytes).setUint32(0, MAX_CPUID_ENTRIES, true);
    const result = this.c.ioctlStruct(this.fd, IOCTL.GET_SUPPORTED_CPUID, bytes);
    need(this.c, result, 'KVM_GET_SUPPORTED_CPUID');
    return readCpuidList(bytes);
  }
  /** MSRs that are part of a vCPU's state on this host. */
  msrIndices(): number[] {
    const bytes = new Uint8Array(SIZE.msrListHead + 1024 * SIZE.u32);
    viewOf(bytes).setUint32(0, 1024, true);
    need(this.c, this.c.ioctlStruct(this.fd, IOCTL.GET_MSR_INDEX_LIST, bytes), 'KVM_GET_MSR_INDEX_LIST');
    const count = Math.min(1024, viewOf(bytes).getUint32(0, true));
    return Array.from({ length: count }, (_, i) => viewOf(bytes).getUint32(SIZE.msrListHead + i * SIZE.u32, true));
  }

  createVm(options: VmOptions): KvmVm {
    return this.createVmOn(SoftMemory.ofSize(options), options.tscHz);
  }
  /** A VM over memory that another engine may use too. */
  createVmOn(memory: SoftMemory, tscHz?: number): KvmVm {
    const fd = need(this.c, this.c.ioctl(this.fd, IOCTL.CREATE_VM, 0), 'KVM_CREATE_VM');
    return new KvmVm(this.c, this.fd, fd, memory, tscHz);
  }

  close(): void {
    this.c.close(this.fd);
  }
}
