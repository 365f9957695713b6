/** A virtual machine of /dev/kvm over the pool's WebAssembly memory. */
import {
  type GsiRoute,
  HvError,
  type IoHook,
  type IrqchipState,
  type MemoryRegion,
  type PitState,
  type Vm,
} from '../contract.ts';
import { IoHooks } from '../io-hooks.ts';
import type { SoftMemory } from '../soft/vm.ts';
import { CAP, ENABLE_CAP, IOCTL, MEMORY_REGION, MSR_EXIT_UNKNOWN, SIZE, XEN_INTERCEPT_HCALL } from './abi.ts';
import { viewOf } from './codec.ts';
import { need, systemError } from './errors.ts';
import { KernelIrqchip } from './irqchip.ts';
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
  private readonly irqchip: KernelIrqchip;
  private readonly scalesTsc: boolean;

  /** @param tscHz wanted frequency of the TSC, given where the processor can scale it */
  constructor(c: Libc, kvm: number, fd: number, memory: SoftMemory, tscHz?: number) {
    this.c = c;
    this.fd = fd;
    this.memory = memory;
    this.irqchip = new KernelIrqchip(c, fd);
    const hostKhz = Math.max(0, c.ioctl(fd, IOCTL.GET_TSC_KHZ, 0));
    this.scalesTsc = tscHz !== undefined && c.ioctl(kvm, IOCTL.CHECK_EXTENSION, CAP.TSC_CONTROL) > 0;
    this.tscHz = this.scalesTsc ? tscHz! : hostKhz * 1000;
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

  createVcpu(id: number): KvmVcpu {
    const fd = need(this.c, this.c.ioctl(this.fd, IOCTL.CREATE_VCPU, id), `KVM_CREATE_VCPU ${id}`);
    const mapping = this.c.map(fd, this.pageSize);
    if (!mapping) throw systemError(this.c, 'mapping kvm_run');
    const vcpu = new KvmVcpu({ c: this.c, fd, id, mapping, hooks: this.hooks, irqchip: this.irqchip.kind });
    this.vcpus.push(vcpu);
    if (this.scalesTsc)
      need(this.c, this.c.ioctl(fd, IOCTL.SET_TSC_KHZ, Math.round(this.tscHz / 1000)), 'KVM_SET_TSC_KHZ');
    return vcpu;
  }

  createIrqchip(options: { readonly split?: boolean } = {}): void {
    this.irqchip.create(options.split === true);
  }
  createPit(): void {
    this.irqchip.createPit();
  }
  setIrqLine(gsi: number, level: boolean): void {
    this.irqchip.setLine(gsi, level);
  }
  setGsiRoutes(routes: readonly GsiRoute[]): void {
    this.irqchip.setRoutes(routes);
  }
  signalMsi(address: number, data: number): boolean {
    return this.irqchip.signalMsi(address, data);
  }
  getIrqchip(): IrqchipState {
    return this.irqchip.state();
  }
  setIrqchip(state: IrqchipState): void {
    this.irqchip.setState(state);
  }
  getPit(): PitState {
    return this.irqchip.pit();
  }
  setPit(state: PitState): void {
    this.irqchip.setPit(state);
  }
  getClock(): bigint {
    const bytes = new Uint8Array(SIZE.clock);
    need(this.c, this.c.ioctlStruct(this.fd, IOCTL.GET_CLOCK, bytes), 'KVM_GET_CLOCK');
    return viewOf(bytes).getBigUint64(0, true);
  }
  setClock(ns: bigint): void {
    const bytes = new Uint8Array(SIZE.clock);
    viewOf(bytes).setBigUint64(0, ns, true);
    need(this.c, this.c.ioctlStruct(this.fd, IOCTL.SET_CLOCK, bytes), 'KVM_SET_CLOCK');
  }
  hook(hook: IoHook): () => void {
    return this.hooks.add(hook);
  }
  close(): void {
    for (const vcpu of this.vcpus) vcpu.close();
    this.c.close(this.fd);
  }
}
