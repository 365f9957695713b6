/**
 * The vCPU contract: the shape of KVM's API as types. Register and segment names are KVM's
 * (`struct kvm_regs`, `struct kvm_sregs`), values are bigints where 64 bits are meant.
 */

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
