/** The functions of the AssemblyScript runtime that TypeScript calls, and the host functions it imports. */

/** Exports of build/runtime.wasm used from TypeScript. `cpu` is the absolute address of a vCPU's state. */
export interface RuntimeExports {
  /** Power-on state (SDM vol.3 table 9-1). */
  reset(cpu: number): void;
  /** Recomputes everything derived from control registers and segments after they were set from outside. */
  set_state_done(cpu: number): void;
  /** Recomputes what follows from privilege, control registers, EFLAGS.TF, DR7, CS and SS; TLBs stay. */
  update_context(cpu: number): void;
  /** gpa of an instruction byte, or all ones (as -1n or 2^64-1) after recording a fault. */
  exec_translate(cpu: number, va: bigint): bigint;
  deliver_exception(cpu: number): number;
  deliver_interrupt(cpu: number, vector: number): number;
  deliver_nmi(cpu: number): number;
  raise(cpu: number, vector: number, error: number): number;
  flush_all(cpu: number): void;
  itlb_clear(cpu: number): void;
  /** Enters a page into the instruction TLB; `global`: the field exec_global after exec_translate. */
  itlb_fill(cpu: number, linear: bigint, frame: number, page: number, global: number): void;
  code_init(map: number, pages: number, pagesEnd: number, records: number, end: number, resync: number): void;
  code_page(frame: number, mode: number): number;
  code_records(page: number, count: number): number;
  code_mark(cpu: number, page: number, from: number, to: number): void;
  code_written(cpu: number, frame: number, offset: number, size: number): void;
  code_reset(cpu: number): void;
  code_bytes(): number;
}

/** What the host provides to the runtime (src/runtime/env.ts). 64-bit values are bigints in the JavaScript interface. */
export interface HostImports {
  mmio_read(cpu: number, gpa: bigint, size: number): bigint;
  mmio_write(cpu: number, gpa: bigint, size: number, value: bigint): void;
  port_read(cpu: number, port: number, size: number): number;
  port_write(cpu: number, port: number, size: number, value: number): void;
  msr_read(cpu: number, index: number): number;
  msr_write(cpu: number, index: number, value: bigint): number;
  tsc_now(cpu: number): bigint;
  cpuid_query(cpu: number, leaf: number, subleaf: number): void;
  set_cr8(cpu: number, value: bigint): void;
  get_cr8(cpu: number): bigint;
}

/** Exports of the interpreter module. */
export interface InterpreterExports {
  /** Runs from the field rip until the budget is used up or something asks for attention. */
  enter(cpu: number): void;
  /** Makes the arithmetic flags explicit. */
  explicit(cpu: number): void;
}
