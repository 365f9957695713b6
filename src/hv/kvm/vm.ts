/** A virtual machine of /dev/kvm over the pool's WebAssembly memory. */
import { HvError, type IoHook, type MemoryRegion, type Vcpu, type Vm } from '../contract.ts';
import { IoHooks } from '../io-hooks.ts';
import type { SoftMemory } from '../soft/vm.ts';
import { CAP, ENABLE_CAP, IOCTL, MEMORY_REGION, MSR_EXIT_UNKNOWN, SIZE, XEN_INTERCEPT_HCALL } from './abi.ts';
import { viewOf } from './codec.ts';
import { need, systemError } from './errors.ts';
import type { Libc } from './libc.ts';
import { KvmVcpu } from './vcpu.ts';

/** Three pages below the firmware that the kernel keeps for itself on some Intel processors, and one for its page table. */
const TSS_ADDRESS = 0xfffb_d000;
const IDENTITY_MAP_ADDRESS = 0xfffb_c000;
const PAGE = 4096;

export class KvmVm implements Vm {
  readonly engine = 'kvm';
  readonly memory: SoftMemory;
  readonly tscHz: number;
  /** VMCALL and VMMCALL come out as exits. */
  readonly hasHypercallExits: boolean;
  private readonly c: Libc;
  private readonly fd: number;
  private readonly pageSize: number;
  private readonly hooks = new IoHooks();
  private readonly vcpus: KvmVcpu[] = [];
  private readonly slots = new Map<number, MemoryRegion>();
  private irqchip = false;

  constructor(c: Libc, kvm: number, fd: number, memory: SoftMemory, tscHz: number) {
    this.c = c;
    this.fd = fd;
    this.memory = memory;
    this.tscHz = tscHz;
    this.pageSize = need(c, c.ioctl(kvm, IOCTL.GET_VCPU_MMAP_SIZE, 0), 'KVM_GET_VCPU_MMAP_SIZE');
    // Both only matter to processors without unrestricted guests; others take no notice, so a refusal is none.
    c.ioctl(fd, IOCTL.SET_TSS_ADDR, TSS_ADDRESS);
    const identity = new Uint8Array(SIZE.u64);
    viewOf(identity).setBigUint64(0, BigInt(IDENTITY_MAP_ADDRESS), true);
    c.ioctlStruct(fd, IOCTL.SET_IDENTITY_MAP_ADDR, identity);
    if (c.ioctl(kvm, IOCTL.CHECK_EXTENSION, CAP.X86_USER_SPACE_MSR) > 0)
      this.enable(CAP.X86_USER_SPACE_MSR, MSR_EXIT_UNKNOWN);
    this.hasHypercallExits = this.interceptHypercalls(kvm);
  }

  private enable(cap: number, argument: number): void {
    const bytes = new Uint8Array(SIZE.enableCap);
    viewOf(bytes).setUint32(ENABLE_CAP.CAP, cap, true);
    viewOf(bytes).setBigUint64(ENABLE_CAP.ARG0, BigInt(argument), true);
    need(this.c, this.c.ioctlStruct(this.fd, IOCTL.ENABLE_CAP, bytes), `KVM_ENABLE_CAP ${cap}`);
  }
  /** KVM's own hypercalls stay in the kernel; with its Xen support on, all come out. */
  private interceptHypercalls(kvm: number): boolean {
    if (!(this.c.ioctl(kvm, IOCTL.CHECK_EXTENSION, CAP.XEN_HVM) & XEN_INTERCEPT_HCALL)) return false;
    const bytes = new Uint8Array(SIZE.xenHvmConfig);
    viewOf(bytes).setUint32(0, XEN_INTERCEPT_HCALL, true);
    return this.c.ioctlStruct(this.fd, IOCTL.XEN_HVM_CONFIG, bytes) === 0;
  }

  setUserMemoryRegion(region: MemoryRegion): void {
    const bytes = new Uint8Array(SIZE.memoryRegion);
    const v = viewOf(bytes);
    // The RAM is checked against its bounds before the kernel is given an address.
    if (region.size > 0) this.memory.checkRegion(region);
    v.setUint32(MEMORY_REGION.SLOT, region.slot, true);
    const flags = (region.logDirty ? MEMORY_REGION.LOG_DIRTY : 0) | (region.readonly ? MEMORY_REGION.READONLY : 0);
    v.setUint32(MEMORY_REGION.FLAGS, flags, true);
    v.setBigUint64(MEMORY_REGION.GPA, BigInt(region.gpa), true);
    v.setBigUint64(MEMORY_REGION.SIZE, BigInt(region.size), true);
    const ram = this.c.addressOf(new Uint8Array(this.memory.memory.buffer)) + BigInt(this.memory.layout.ram);
    v.setBigUint64(MEMORY_REGION.ADDRESS, ram + BigInt(region.offset), true);
    const result = this.c.ioctlStruct(this.fd, IOCTL.SET_USER_MEMORY_REGION, bytes);
    if (result < 0) throw systemError(this.c, `KVM_SET_USER_MEMORY_REGION of slot ${region.slot}`);
    this.memory.setRegion(region);
    if (region.size === 0) this.slots.delete(region.slot);
    else this.slots.set(region.slot, region);
  }
  getDirtyLog(slot: number): Uint8Array {
    const region = this.slots.get(slot);
    if (!region?.logDirty) throw new HvError(`slot ${slot} logs nothing`, 'set it with logDirty first');
    const bitmap = new Uint8Array(Math.ceil(region.size / PAGE / 64) * 8);
    const bytes = new Uint8Array(SIZE.dirtyLog);
    viewOf(bytes).setUint32(0, slot, true);
    viewOf(bytes).setBigUint64(8, this.c.addressOf(bitmap), true);
    need(this.c, this.c.ioctlStruct(this.fd, IOCTL.GET_DIRTY_LOG, bytes), 'KVM_GET_DIRTY_LOG');
    return bitmap.subarray(0, Math.ceil(region.size / PAGE / 8));
  }

  createVcpu(id: number): Vcpu {
    const fd = need(this.c, this.c.ioctl(this.fd, IOCTL.CREATE_VCPU, id), `KVM_CREATE_VCPU ${id}`);
    const mapping = this.c.map(fd, this.pageSize);
    if (!mapping) throw systemError(this.c, 'mapping kvm_run');
    const vcpu = new KvmVcpu({ c: this.c, fd, id, mapping, hooks: this.hooks, hasLapic: () => this.irqchip });
    this.vcpus.push(vcpu);
    return vcpu;
  }

  createIrqchip(): void {
    need(this.c, this.c.ioctl(this.fd, IOCTL.CREATE_IRQCHIP, 0), 'KVM_CREATE_IRQCHIP');
    this.irqchip = true;
  }
  createPit(): void {
    need(this.c, this.c.ioctlStruct(this.fd, IOCTL.CREATE_PIT2, new Uint8Array(SIZE.pitConfig)), 'KVM_CREATE_PIT2');
  }
  setIrqLine(gsi: number, level: boolean): void {
    const bytes = new Uint8Array(SIZE.irqLevel);
    viewOf(bytes).setUint32(0, gsi, true);
    viewOf(bytes).setUint32(4, level ? 1 : 0, true);
    need(this.c, this.c.ioctlStruct(this.fd, IOCTL.IRQ_LINE, bytes), 'KVM_IRQ_LINE');
  }
  hook(hook: IoHook): () => void {
    return this.hooks.add(hook);
  }
  close(): void {
    for (const vcpu of this.vcpus) vcpu.close();
    this.c.close(this.fd);
  }
}
