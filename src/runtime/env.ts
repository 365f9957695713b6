// The functions that the host gives to the runtime. The module name of the imports is this file's name, `env`.
// All of them may set irq_pending, nmi_pending or stop in the vCPU's state before they return.

/** Reads `size` (1, 2, 4, 8; naturally aligned) bytes from a gpa that is not RAM; any 1-8 where accesses are exits. */
export declare function mmio_read(cpu: u32, gpa: u64, size: u32): u64;
/** Writes `size` (1, 2, 4, 8; naturally aligned) bytes to a gpa that is not RAM; any 1-8 where accesses are exits. */
export declare function mmio_write(cpu: u32, gpa: u64, size: u32, value: u64): void;
/** Reads `size` (1, 2, 4) bytes from an I/O port. */
export declare function port_read(cpu: u32, port: u32, size: u32): u32;
/** Writes `size` (1, 2, 4) bytes to an I/O port. */
export declare function port_write(cpu: u32, port: u32, size: u32, value: u32): void;
/** Reads an MSR that the runtime does not hold into scratch[0]. Non-zero: no such MSR, #GP. */
export declare function msr_read(cpu: u32, index: u32): u32;
/** Writes an MSR that the runtime does not hold. Non-zero: no such MSR or a bad value, #GP. */
export declare function msr_write(cpu: u32, index: u32, value: u64): u32;
/** The clock of the guest TSC, before tsc_offset is added. */
export declare function tsc_now(cpu: u32): u64;
/** The same where a number holds it, else -1: a number costs the host less. */
export declare function tsc_number(cpu: u32): f64;
/** Leaves eax, ebx, ecx, edx of a CPUID leaf as four u32 in scratch. */
export declare function cpuid_query(cpu: u32, leaf: u32, subleaf: u32): void;
/** Tells the interrupt controller the task priority, 0-15. */
export declare function set_cr8(cpu: u32, value: u64): void;
/** Task priority, 0-15. */
export declare function get_cr8(cpu: u32): u64;
