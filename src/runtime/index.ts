// What the runtime exports. Helpers that instruction rows call are listed in src/isa/helpers.ts.

// Bits.
export { bmi_pdep, bmi_pext } from './bit-moves';
// Decoded code.
export * from './codecache';
// System registers.
export { clear_task_switched, load_machine_status, read_cr, read_xcr, write_cr, write_xcr } from './control-registers';
// AES, SHA and carry-less multiplication.
export * from './crypto/aes';
export * from './crypto/sha';
export { read_dr, write_dr } from './debug-registers';
export { access_rights, load_ldtr, load_tr, segment_limit, verify_segment } from './descriptor-queries';
// Exceptions and interrupts.
export { deliver_debug_trap, deliver_exception, deliver_interrupt, deliver_nmi } from './exceptions';
// Control transfers.
export { far_call, far_jump, far_return } from './far';
export { syscall, sysenter, sysexit, sysret } from './fast-calls';
// Flags and stack frames.
export {
  clear_interrupt_flag,
  enter_frame,
  pop_flags,
  push_flags,
  set_access_check,
  set_interrupt_flag,
} from './flag-instructions';
export { p2m_entry, phys_read, phys_write, prepare_store } from './frames';
export { interrupt_return, software_interrupt } from './interrupts';
// Ports.
export { io_in, io_ins, io_out } from './io';
export { itlb_clear, itlb_fill, note_jumps } from './itlb';
// Memory.
export {
  exec_translate,
  mem_commit,
  mem_read,
  mem_rmw,
  mem_write,
  ram_address,
  ram_fill,
  sys_read,
  sys_rmw,
  sys_write,
} from './mmu';
export { get_msr, read_msr, set_msr, write_msr } from './msr';
// State.
export { init_signal, reset, set_state_done, startup_signal } from './reset';
// Segments.
export { load_far_segment, load_segment, long_check, seg_check } from './segments';
export { flush_all, flush_non_global, flush_page } from './spaces';
// Floating point and vectors.
export * from './sse';
export { raise, rflags, set_rflags, update_context } from './state';
export { rep_movs, rep_stos } from './strings';
export {
  bound_fault,
  cpuid,
  halt,
  invlpg,
  invpcid,
  load_gdtr,
  load_idtr,
  monitor,
  mwait,
  read_pmc,
  read_tsc,
  read_tscp,
  rw_fs_gs_base,
  store_system_check,
  swapgs,
  undefined_opcode,
  vmcall,
  wbinvd,
} from './system';
export { tlb_drop_frame, tlb_protect_frame } from './tlb';
export { fp_check } from './units';
export * from './x87';
export { xrstor_area, xsave_area, xsave_check } from './xsave';
