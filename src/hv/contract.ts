/**
 * The vCPU contract: the shape of KVM's API as types. Register and segment names are KVM's
 * (`struct kvm_regs`, `struct kvm_sregs`), values are bigints where 64 bits are meant.
 */

import type { GsiRoute, IrqchipState, PitState } from './irqchip-state.ts';

export type * from './irqchip-state.ts';

/** General-purpose registers, instruction pointer and flags (`struct kvm_regs`). All values are unsigned 64-bit. */
export interface Regs {
  rax: bigint;
  rbx: bigint;
  rcx: bigint;
  rdx: bigint;
  rsi: bigint;
  rdi: bigint;
  rsp: bigint;
  rbp: bigint;
  r8: bigint;
  r9: bigint;
  r10: bigint;
  r11: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
  rip: bigint;
  rflags: bigint;
}

/** One segment register with its hidden part (`struct kvm_segment`). `limit` is in bytes, already scaled by G. */
export interface Segment {
  base: bigint;
  limit: number;
  selector: number;
  /** Descriptor type, 4 bits (SDM vol.3 3.4.5.1 for code and data, 3.5 for system). */
  type: number;
  present: number;
  dpl: number;
  /** D/B bit: default operand size or stack size. */
  db: number;
  /** S bit: 1 code or data, 0 system. */
  s: number;
  /** L bit: 64-bit code segment. */
  l: number;
  /** G bit: granularity. */
  g: number;
  avl: number;
  /** 1 when the segment register holds a null selector or is otherwise unusable. */
  unusable: number;
}

/** GDTR or IDTR (`struct kvm_dtable`). */
export interface DescriptorTable {
  base: bigint;
  limit: number;
}

/** Special registers (`struct kvm_sregs`). */
export interface Sregs {
  cs: Segment;
  ds: Segment;
  es: Segment;
  fs: Segment;
  gs: Segment;
  ss: Segment;
  tr: Segment;
  ldt: Segment;
  gdt: DescriptorTable;
  idt: DescriptorTable;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  cr8: bigint;
  efer: bigint;
  apicBase: bigint;
}

/** Guest-physical memory as loaders and devices see it. Addresses are gpa in bytes; throws `RangeError` outside RAM. */
export interface GuestMemory {
  /** Bytes of RAM in total. */
  readonly size: number;
  read(gpa: number, length: number): Uint8Array;
  write(gpa: number, bytes: Uint8Array): void;
  fill(gpa: number, length: number, value: number): void;
}

/** Floating-point, vector and configuration state in the standard form of XSAVE (SDM vol.1 13.4): 4096 bytes. */
export const XSAVE_BYTES = 4096;

/** Debug registers (`struct kvm_debugregs`). */
export interface DebugRegs {
  /** DR0-DR3. */
  readonly db: readonly [bigint, bigint, bigint, bigint];
  readonly dr6: bigint;
  readonly dr7: bigint;
}

/** Events between two instructions (`struct kvm_vcpu_events`, the parts that outlive an exit). */
export interface VcpuEvents {
  /** An exception to be delivered on entry, with its error code where the vector has one. */
  readonly exception: { readonly vector: number; readonly errorCode: number | undefined } | undefined;
  /** An interrupt that was acknowledged and has still to be delivered. */
  readonly interrupt: number | undefined;
  /** Interrupt shadow: bit 0 after MOV or POP SS, bit 1 after STI (`KVM_X86_SHADOW_INT_*`). */
  readonly shadow: number;
  readonly nmiPending: boolean;
  /** NMIs wait until the next IRET. */
  readonly nmiMasked: boolean;
}

/** `struct kvm_mp_state`. `halted` only with an in-kernel local APIC; otherwise HLT is an exit. */
export type MpState = 'runnable' | 'uninitialized' | 'init-received' | 'halted' | 'sipi-received';

/** One CPUID leaf (`struct kvm_cpuid_entry2`). `subleaf` is undefined where ECX does not matter. */
export interface CpuidEntry {
  readonly leaf: number;
  readonly subleaf: number | undefined;
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** `KVM_SET_GUEST_DEBUG`: with `singleStep` every entry runs one instruction and ends in a `debug` exit. */
export interface GuestDebug {
  readonly singleStep: boolean;
}

/**
 * Why `run` came back (`struct kvm_run`). An I/O, MMIO, MSR or hypercall exit is finished by the next `run`: what the
 * caller put into `data`, `value` or `result` until then is what the guest gets, and registers are only final
 * after that (`run({ immediate: true })` finishes it without going on).
 */
export type Exit =
  /** `count` accesses of `size` bytes at one port; `data` holds them in order and is to be filled for `in`. */
  | {
      readonly reason: 'io';
      readonly direction: 'in' | 'out';
      readonly port: number;
      readonly size: 1 | 2 | 4;
      readonly count: number;
      readonly data: Uint8Array;
    }
  /** An access to a gpa without memory; `data` has 1-8 bytes and is to be filled when `isWrite` is false. */
  | { readonly reason: 'mmio'; readonly gpa: bigint; readonly isWrite: boolean; readonly data: Uint8Array }
  /** RDMSR of an MSR nobody knows: set `value`, or `error` for #GP. */
  | { readonly reason: 'rdmsr'; readonly index: number; value: bigint; error: boolean }
  | { readonly reason: 'wrmsr'; readonly index: number; readonly value: bigint; error: boolean }
  /** VMCALL or VMMCALL at CPL 0: number in RAX, arguments in RDI RSI RDX R10 R8 R9 (32-bit: EBX ECX EDX ESI EDI EBP). */
  | {
      readonly reason: 'hypercall';
      readonly number: bigint;
      readonly args: readonly bigint[];
      readonly longMode: boolean;
      result: bigint;
    }
  /** HLT with the local APIC in user space; `run` goes on behind it. */
  | { readonly reason: 'hlt' }
  /** Triple fault. */
  | { readonly reason: 'shutdown' }
  /** The processor refused the state; `hardwareReason` is its own code. */
  | { readonly reason: 'fail-entry'; readonly hardwareReason: bigint }
  /** The engine cannot go on: `suberror` 1 is an instruction it cannot carry out; `data` is for a bug report. */
  | { readonly reason: 'internal-error'; readonly suberror: number; readonly data: readonly bigint[] }
  /** `requestExit`, a time limit, or a budget of instructions. */
  | { readonly reason: 'intr' }
  /** The window that `requestInterruptWindow` asked for is open. */
  | { readonly reason: 'irq-window-open' }
  /** With the local APIC in user space: the guest lowered CR8; `Vcpu.cr8` has the new value. */
  | { readonly reason: 'set-tpr' }
  /** With a split irqchip: the guest ended a level-triggered interrupt that a message route has. */
  | { readonly reason: 'ioapic-eoi'; readonly vector: number }
  /** After a single step. `pc` is the linear address of the next instruction. */
  | {
      readonly reason: 'debug';
      readonly exception: number;
      readonly pc: bigint;
      readonly dr6: bigint;
      readonly dr7: bigint;
    }
  | { readonly reason: 'system-event'; readonly type: number }
  | { readonly reason: 'unknown'; readonly code: number };

/** How far a `run` goes. */
export interface RunOptions {
  /** Finishes what the last exit left and comes back before the next instruction. */
  readonly immediate?: boolean | undefined;
  /** Comes back with `intr` after about this many nanoseconds. */
  readonly nanoseconds?: number | undefined;
}

/** Answers port and memory accesses without an exit (KVM's ioeventfd, and reads too). */
export interface IoHook {
  readonly space: 'port' | 'mmio';
  /** First port or gpa, and how many. */
  readonly base: number;
  readonly length: number;
  /** `size` is 1, 2, 4 or (memory only) 8; the result is cut to it. */
  read(address: number, size: number): bigint;
  write(address: number, size: number, value: bigint): void;
}

/** One virtual CPU. All calls but `requestExit` are for when it does not run. */
export interface Vcpu {
  readonly id: number;
  /**
   * Runs until an exit, on the caller's thread.
   * @throws HvError when the engine refuses the call
   */
  run(options?: RunOptions): Exit;
  /** The same without blocking the caller's event loop. */
  runAsync(options?: RunOptions): Promise<Exit>;
  /** Makes the current or next `run` come back with `intr`. May be called from hooks and while `runAsync` is pending. */
  requestExit(): void;
  /** Queues external interrupt `vector` (0-255). @throws HvError unless `readyForInterrupt` */
  interrupt(vector: number): void;
  /** RFLAGS.IF is set, there is no shadow and nothing is queued: `interrupt` may be called. */
  readonly readyForInterrupt: boolean;
  /** Makes `run` come back with `irq-window-open` as soon as `readyForInterrupt` holds; until set to false. */
  requestInterruptWindow: boolean;
  /** CR8, 0-15: as the guest left it, and what the next `run` starts with. For a local APIC in user space. */
  cr8: number;
  nmi(): void;
  getRegs(): Regs;
  setRegs(regs: Regs): void;
  getSregs(): Sregs;
  setSregs(sregs: Sregs): void;
  /** XSAVE_BYTES bytes. */
  getXsave(): Uint8Array;
  setXsave(area: Uint8Array): void;
  /** XCR0. */
  getXcr0(): bigint;
  setXcr0(value: bigint): void;
  /** Values in the order of `indices`. @throws HvError naming the first MSR that does not exist */
  getMsrs(indices: readonly number[]): bigint[];
  setMsrs(values: readonly (readonly [index: number, value: bigint])[]): void;
  /** The local APIC's register page, 1024 bytes. @throws HvError unless the VM has an in-kernel irqchip */
  getLapic(): Uint8Array;
  setLapic(page: Uint8Array): void;
  getEvents(): VcpuEvents;
  setEvents(events: VcpuEvents): void;
  getDebugRegs(): DebugRegs;
  setDebugRegs(regs: DebugRegs): void;
  getMpState(): MpState;
  setMpState(state: MpState): void;
  setCpuid(entries: readonly CpuidEntry[]): void;
  setGuestDebug(debug: GuestDebug): void;
  close(): void;
}

/** A range of guest-physical memory (`KVM_SET_USER_MEMORY_REGION`). Addresses and sizes are multiples of 4096 bytes. */
export interface MemoryRegion {
  /** Slot number; a region of size 0 takes the slot away. */
  readonly slot: number;
  readonly gpa: number;
  readonly size: number;
  /** Where it lies in the VM's RAM, in bytes. */
  readonly offset: number;
  readonly readonly?: boolean | undefined;
  readonly logDirty?: boolean | undefined;
}

/** One virtual machine. */
export interface Vm {
  readonly engine: EngineKind;
  /** The VM's RAM by gpa. */
  readonly memory: GuestMemory;
  /** @throws HvError for ranges that overlap or lie outside the RAM */
  setUserMemoryRegion(region: MemoryRegion): void;
  /** Frames of a slot written since the last call: bit i of byte j is frame 8j + i. @throws HvError without `logDirty` */
  getDirtyLog(slot: number): Uint8Array;
  /** @throws HvError for an id that is taken or too high */
  createVcpu(id: number): Vcpu;
  /**
   * PICs, I/O APIC and local APICs inside the engine; to be called before the first vCPU. HLT then waits inside `run`.
   * With `split` only the local APICs, for which `signalMsi` and `Vcpu.interrupt` (of the PICs) stand in.
   * @throws HvError where the engine has none
   */
  createIrqchip(options?: { readonly split?: boolean }): void;
  /** The 8254 and port 61h, beside a whole irqchip. */
  createPit(): void;
  /** Level of a GSI of the irqchip. May be called while a vCPU runs. */
  setIrqLine(gsi: number, level: boolean): void;
  /** Replaces all routes. At first GSI n goes to input n of the PICs and pin n of the I/O APIC. */
  setGsiRoutes(routes: readonly GsiRoute[]): void;
  /** Sends a message to local APICs. May be called while a vCPU runs. @returns whether one took it */
  signalMsi(address: number, data: number): boolean;
  getIrqchip(): IrqchipState;
  /** Lines count as low afterwards: raise those of level-triggered inputs again. */
  setIrqchip(state: IrqchipState): void;
  getPit(): PitState;
  /** Counter 0 starts over with its count. */
  setPit(state: PitState): void;
  /** The time in nanoseconds that KVM's clock gives to guests. @throws HvError where the engine has none */
  getClock(): bigint;
  setClock(ns: bigint): void;
  /** Adds a hook; the result takes it away. */
  hook(hook: IoHook): () => void;
  /** Guest TSC frequency in hertz. */
  readonly tscHz: number;
  close(): void;
}

export interface VmOptions {
  /** Bytes of RAM, a multiple of 4096. It is given to the guest by `setUserMemoryRegion`. */
  readonly ram: number;
  /** First gpa that can never be RAM, in bytes. Default: `ram`, at least 4 MiB. */
  readonly gpaTop?: number | undefined;
  /** vCPUs at most. Default 1. */
  readonly vcpus?: number | undefined;
  /** Wanted frequency of the TSC in hertz; `Vm.tscHz` tells what it is, because not every host can scale. */
  readonly tscHz?: number | undefined;
}

export type EngineKind = 'soft' | 'kvm';

/** What `open("/dev/kvm")` is to a C program. */
export interface Hypervisor {
  readonly engine: EngineKind;
  createVm(options: VmOptions): Vm;
  close(): void;
}

/** A call that the engine refuses: `message` is the cause, `advice` what to do, each one line. */
export class HvError extends Error {
  readonly advice: string;
  constructor(message: string, advice: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'HvError';
    this.advice = advice;
  }
}
