/**
 * The kernel's interface, /dev/kvm on x86-64, as one table: ioctl requests, capabilities, exit reasons and the
 * layouts of structures (Linux Documentation/virt/kvm/api.rst, include/uapi/linux/kvm.h). Offsets in bytes.
 */

/** The only API version there is. */
export const API_VERSION = 12;

/** Sizes of structures that requests carry; a request's number contains it. */
export const SIZE = {
  regs: 144,
  sregs: 312,
  xsave: 4096,
  xcrs: 392,
  debugregs: 128,
  events: 64,
  lapic: 1024,
  guestDebug: 72,
  memoryRegion: 32,
  dirtyLog: 16,
  enableCap: 104,
  pitConfig: 64,
  irqLevel: 8,
  irqchip: 520,
  pitState: 112,
  msi: 32,
  deviceAttr: 24,
  clock: 48,
  routesHead: 8,
  route: 48,
  xenHvmConfig: 56,
  /** Heads of structures with a list behind: `struct kvm_cpuid2`, `kvm_msrs`, `kvm_msr_list`. */
  cpuidHead: 8,
  cpuidEntry: 40,
  msrsHead: 8,
  msrEntry: 16,
  msrListHead: 4,
  u32: 4,
  u64: 8,
} as const;

// A request: direction in bits 30-31 (1 to the kernel, 2 from it), size in 16-29, type AEh in 8-15, number in 0-7.
const request = (direction: number, nr: number, size: number): number =>
  ((direction << 30) | (size << 16) | (0xae << 8) | nr) >>> 0;
const io = (nr: number): number => request(0, nr, 0);
const iow = (nr: number, size: number): number => request(1, nr, size);
const ior = (nr: number, size: number): number => request(2, nr, size);
const iowr = (nr: number, size: number): number => request(3, nr, size);

export const IOCTL = {
  // /dev/kvm
  GET_API_VERSION: io(0x00),
  CREATE_VM: io(0x01),
  GET_MSR_INDEX_LIST: iowr(0x02, SIZE.msrListHead),
  CHECK_EXTENSION: io(0x03),
  GET_VCPU_MMAP_SIZE: io(0x04),
  GET_SUPPORTED_CPUID: iowr(0x05, SIZE.cpuidHead),
  // a virtual machine
  CREATE_VCPU: io(0x41),
  GET_DIRTY_LOG: iow(0x42, SIZE.dirtyLog),
  SET_USER_MEMORY_REGION: iow(0x46, SIZE.memoryRegion),
  SET_TSS_ADDR: io(0x47),
  SET_IDENTITY_MAP_ADDR: iow(0x48, SIZE.u64),
  CREATE_IRQCHIP: io(0x60),
  IRQ_LINE: iow(0x61, SIZE.irqLevel),
  GET_IRQCHIP: iowr(0x62, SIZE.irqchip),
  SET_IRQCHIP: ior(0x63, SIZE.irqchip),
  SET_GSI_ROUTING: iow(0x6a, SIZE.routesHead),
  CREATE_PIT2: iow(0x77, SIZE.pitConfig),
  SET_CLOCK: iow(0x7b, SIZE.clock),
  GET_CLOCK: ior(0x7c, SIZE.clock),
  XEN_HVM_CONFIG: iow(0x7a, SIZE.xenHvmConfig),
  GET_PIT2: ior(0x9f, SIZE.pitState),
  SET_PIT2: iow(0xa0, SIZE.pitState),
  ENABLE_CAP: iow(0xa3, SIZE.enableCap),
  SIGNAL_MSI: iow(0xa5, SIZE.msi),
  // a virtual CPU
  RUN: io(0x80),
  GET_REGS: ior(0x81, SIZE.regs),
  SET_REGS: iow(0x82, SIZE.regs),
  GET_SREGS: ior(0x83, SIZE.sregs),
  SET_SREGS: iow(0x84, SIZE.sregs),
  INTERRUPT: iow(0x86, SIZE.u32),
  GET_MSRS: iowr(0x88, SIZE.msrsHead),
  SET_MSRS: iow(0x89, SIZE.msrsHead),
  GET_LAPIC: ior(0x8e, SIZE.lapic),
  SET_LAPIC: iow(0x8f, SIZE.lapic),
  SET_CPUID2: iow(0x90, SIZE.cpuidHead),
  GET_MP_STATE: ior(0x98, SIZE.u32),
  SET_MP_STATE: iow(0x99, SIZE.u32),
  NMI: io(0x9a),
  SET_GUEST_DEBUG: iow(0x9b, SIZE.guestDebug),
  GET_VCPU_EVENTS: ior(0x9f, SIZE.events),
  SET_VCPU_EVENTS: iow(0xa0, SIZE.events),
  GET_DEBUGREGS: ior(0xa1, SIZE.debugregs),
  SET_DEBUGREGS: iow(0xa2, SIZE.debugregs),
  SET_TSC_KHZ: io(0xa2),
  GET_TSC_KHZ: io(0xa3),
  GET_XSAVE: ior(0xa4, SIZE.xsave),
  SET_XSAVE: iow(0xa5, SIZE.xsave),
  GET_XCRS: ior(0xa6, SIZE.xcrs),
  SET_XCRS: iow(0xa7, SIZE.xcrs),
  SET_DEVICE_ATTR: iow(0xe1, SIZE.deviceAttr),
  GET_DEVICE_ATTR: iow(0xe2, SIZE.deviceAttr),
} as const;

/** Capabilities by their number. */
export const CAP = {
  IRQCHIP: 0,
  HLT: 1,
  USER_MEMORY: 3,
  EXT_CPUID: 7,
  NR_VCPUS: 9,
  MP_STATE: 14,
  SET_GUEST_DEBUG: 23,
  IRQ_ROUTING: 25,
  PIT2: 33,
  PIT_STATE2: 35,
  XEN_HVM: 38,
  VCPU_EVENTS: 41,
  DEBUGREGS: 50,
  XSAVE: 55,
  XCRS: 56,
  TSC_CONTROL: 60,
  SIGNAL_MSI: 77,
  READONLY_MEM: 81,
  SPLIT_IRQCHIP: 121,
  IMMEDIATE_EXIT: 136,
  X86_USER_SPACE_MSR: 188,
} as const;
/** Capabilities without which the engine does not start. */
export const REQUIRED_CAPS = [
  'HLT',
  'USER_MEMORY',
  'EXT_CPUID',
  'MP_STATE',
  'VCPU_EVENTS',
  'DEBUGREGS',
  'XSAVE',
  'XCRS',
  'IMMEDIATE_EXIT',
] as const satisfies readonly (keyof typeof CAP)[];

/** `exit_reason` of `struct kvm_run`. */
export const EXIT_REASON = {
  UNKNOWN: 0,
  IO: 2,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  SET_TPR: 11,
  INTERNAL_ERROR: 17,
  SYSTEM_EVENT: 24,
  IOAPIC_EOI: 26,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
  XEN: 34,
} as const;

/** `struct kvm_run`, the page shared with the kernel; what an exit tells starts at 32. */
export const RUN = {
  REQUEST_INTERRUPT_WINDOW: 0, // u8
  IMMEDIATE_EXIT: 1, // u8
  EXIT_REASON: 8, // u32
  READY_FOR_INTERRUPT: 12, // u8
  IF_FLAG: 13, // u8
  CR8: 16, // u64
  APIC_BASE: 24, // u64
  IO: { DIRECTION: 32, SIZE: 33, PORT: 34, COUNT: 36, DATA_OFFSET: 40 }, // u8 u8 u16 u32 u64
  MMIO: { GPA: 32, DATA: 40, LENGTH: 48, IS_WRITE: 52 }, // u64 u8[8] u32 u8
  DEBUG: { EXCEPTION: 32, PC: 40, DR6: 48, DR7: 56 }, // u32 u64 u64 u64
  FAIL_ENTRY: { REASON: 32 }, // u64
  UNKNOWN: { REASON: 32 }, // u64
  INTERNAL: { SUBERROR: 32, COUNT: 36, DATA: 40 }, // u32 u32 u64[16]
  MSR: { ERROR: 32, REASON: 40, INDEX: 44, DATA: 48 }, // u8 u32 u32 u64
  SYSTEM_EVENT: { TYPE: 32 }, // u32
  EOI: { VECTOR: 32 }, // u8
  XEN: { TYPE: 32, LONG_MODE: 40, CPL: 44, INPUT: 48, RESULT: 56, PARAMS: 64 }, // u32 u32 u32 u64 u64 u64[6]
} as const;
export const IO_OUT = 1;
export const INTERNAL_DATA_MAX = 16;

/** `struct kvm_regs`: u64 each, in this order. */
export const REG_ORDER = [
  'rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip',
  'rflags',
] as const; // biome-ignore format: as the kernel has it

/** `struct kvm_sregs`: segments, two tables, then u64 each; the interrupt bitmap follows. */
export const SREG_SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const;
export const SREG_TABLES = ['gdt', 'idt'] as const;
export const SREG_CONTROL = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer', 'apicBase'] as const;
/** `struct kvm_segment`: base u64, limit u32, selector u16, then u8 each in this order. */
export const SEGMENT = { SIZE: 24, BASE: 0, LIMIT: 8, SELECTOR: 12, BYTES: 14 } as const;
export const SEGMENT_BYTES = ['type', 'present', 'dpl', 'db', 's', 'l', 'g', 'avl', 'unusable'] as const;
/** `struct kvm_dtable`: base u64, limit u16. */
export const DTABLE = { SIZE: 16, BASE: 0, LIMIT: 8 } as const;

/** `struct kvm_vcpu_events`, u8 unless said otherwise. */
export const EVENTS = {
  EXCEPTION_INJECTED: 0,
  EXCEPTION_VECTOR: 1,
  EXCEPTION_HAS_ERROR: 2,
  EXCEPTION_PENDING: 3,
  EXCEPTION_ERROR: 4, // u32
  INTERRUPT_INJECTED: 8,
  INTERRUPT_VECTOR: 9,
  INTERRUPT_SOFT: 10,
  INTERRUPT_SHADOW: 11,
  NMI_INJECTED: 12,
  NMI_PENDING: 13,
  NMI_MASKED: 14,
  FLAGS: 20, // u32
} as const;
/** FLAGS: which parts SET_VCPU_EVENTS is to take. */
export const EVENTS_VALID = { NMI_PENDING: 1, SHADOW: 4 } as const;

/** `struct kvm_debugregs`: db u64[4], dr6, dr7, flags. */
export const DEBUGREGS = { DB: 0, DR6: 32, DR7: 40 } as const;
/** `struct kvm_xcrs`: count u32, flags u32, then pairs of number u32, reserved u32, value u64. */
export const XCRS = { COUNT: 0, FIRST_NUMBER: 8, FIRST_VALUE: 16 } as const;
/** `struct kvm_guest_debug`: control u32, padding, debugreg u64[8]. */
export const GUEST_DEBUG = { ENABLE: 1, SINGLE_STEP: 2 } as const;
/** `struct kvm_userspace_memory_region`: slot u32, flags u32, gpa, size, address u64. */
export const MEMORY_REGION = { SLOT: 0, FLAGS: 4, GPA: 8, SIZE: 16, ADDRESS: 24, LOG_DIRTY: 1, READONLY: 2 } as const;
/** `struct kvm_enable_cap`: cap u32, flags u32, args u64[4]. */
export const ENABLE_CAP = { CAP: 0, ARG0: 8 } as const;
/** `struct kvm_irqchip`: chip u32, padding, then the chip's state. */
export const IRQCHIP = { CHIP: 0, STATE: 8, MASTER: 0, SLAVE: 1, IO_APIC: 2 } as const;
/** `struct kvm_pic_state`: u8 each in this order. */
export const PIC_FIELDS = [
  'lastIrr', 'irr', 'imr', 'isr', 'priorityAdd', 'irqBase', 'readRegSelect', 'poll', 'specialMask', 'initState',
  'autoEoi', 'rotateOnAutoEoi', 'specialFullyNestedMode', 'init4', 'elcr', 'elcrMask',
] as const; // biome-ignore format: as the kernel has it
/** `struct kvm_ioapic_state`: base u64, select, id, irr u32, padding, u64 a pin. */
export const IO_APIC = { BASE: 0, SELECT: 8, ID: 12, IRR: 16, REDIRECTION: 24, PINS: 24 } as const;
/** `struct kvm_pit_config`: flags u32; 1: port 61h too. */
export const PIT_SPEAKER = 1;
/** `struct kvm_pit_state2`: three channels, flags u32 (2: bit 1 of port 61h). */
export const PIT = { CHANNEL: 24, FLAGS: 72, SPEAKER_ON: 2 } as const;
/** `struct kvm_pit_channel_state`: count u32, latched count u16, then u8 each, load time s64 of CLOCK_MONOTONIC in ns. */
export const PIT_CHANNEL = { COUNT: 0, LATCHED_COUNT: 4, BYTES: 6, LOAD_TIME: 16 } as const;
export const PIT_CHANNEL_BYTES = [
  'countLatched', 'statusLatched', 'status', 'readState', 'writeState', 'writeLatch', 'rwMode', 'mode', 'bcd', 'gate',
] as const; // biome-ignore format: as the kernel has it
/** `struct kvm_irq_routing_entry`: gsi, type, flags, padding u32, then chip and pin, or address and data, u32 each. */
export const ROUTE = { GSI: 0, TYPE: 4, CHIP: 16, PIN: 20, ADDRESS: 16, DATA: 24, IRQCHIP: 1, MSI: 2 } as const;
/** `struct kvm_msi`: address u64, data u32. */
export const MSI = { ADDRESS: 0, DATA: 8 } as const;
/** `struct kvm_device_attr`: flags, group u32, attribute, address u64; the vCPU's TSC offset is attribute 0 of group 0. */
export const DEVICE_ATTR = { ADDRESS: 16 } as const;
/** KVM_CAP_X86_USER_SPACE_MSR: exits for MSRs that the kernel does not know. */
export const MSR_EXIT_UNKNOWN = 2;
/** `struct kvm_xen_hvm_config`: flags u32 first. Hypercalls then leave to user space whatever their number. */
export const XEN_INTERCEPT_HCALL = 2;
/** `struct kvm_cpuid_entry2`: u32 each: function, index, flags, eax, ebx, ecx, edx. */
export const CPUID_ENTRY = {
  LEAF: 0,
  SUBLEAF: 4,
  FLAGS: 8,
  EAX: 12,
  EBX: 16,
  ECX: 20,
  EDX: 24,
  SUBLEAF_MATTERS: 1,
} as const;
/** `struct kvm_mp_state` values by number. */
export const MP_STATES = ['runnable', 'uninitialized', 'init-received', 'halted', 'sipi-received'] as const;
