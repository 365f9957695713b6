// INT n, INT3, INTO, INT1 and IRET in all modes (SDM vol.2 INT n, IRET; vol.3 20.3 for virtual-8086 mode).

import {
  desc_at,
  desc_hi,
  desc_lo,
  descriptor_or,
  is_local,
  is_null,
  read_descriptor,
  SELECTOR_MASK,
  set_accessed,
} from './descriptors';
import { deliver, KIND_INT, settle } from './exceptions';
import {
  CPU_CPL,
  CPU_DR,
  CPU_NMI_BLOCKED,
  EFLAGS_AC,
  EFLAGS_ID,
  EFLAGS_IF,
  EFLAGS_IOPL,
  EFLAGS_NT,
  EFLAGS_RF,
  EFLAGS_VIF,
  EFLAGS_VIP,
  EFLAGS_VM,
  EXC_GP,
  EXC_TS,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
} from './gen/layout';
import { check_outer_stack, finish_outer, outer_hi, outer_lo } from './outer-return';
import { load_real_segment } from './segments';
import { begin_pops, peek, pop_fault } from './stack';
import {
  cpl,
  gpr,
  iopl,
  long_mode,
  mode64,
  protected_mode,
  RSP,
  raise,
  rflags,
  seg_limit,
  set_rflags,
  set_sp,
  stack_mask,
  v86_mode,
} from './state';
import { SWITCH_IRET, switch_task, task_link } from './tasks';
import { check_target, fetch_return_code, finish_transfer, load_code } from './transfer';
import { DR7_ENABLES } from './watch';

/** CF PF AF ZF SF TF DF OF NT: what any IRET or POPF may change. */
export const FLAGS_ANY: u32 = 0x4dd5;
/** Above bit 15, what any 32- or 64-bit IRET may change. RF: see `set_returned`. */
const FLAGS_WIDE: u32 = EFLAGS_RF | EFLAGS_AC | EFLAGS_ID;
/** What only privilege level 0 may change. */
const FLAGS_RING0: u32 = EFLAGS_IOPL;
const FLAGS_RING0_WIDE: u32 = EFLAGS_VIF | EFLAGS_VIP;
const LINK_FAULT: u32 = 0x10000;

/** INT n (kind 0), INT3 and INTO (1), INT1 (2); `next` is pushed. 1: fault recorded. */
export function software_interrupt(cpu: u32, vector: u32, kind: u32, next: u64): u32 {
  if (kind == KIND_INT && v86_mode(cpu) && iopl(cpu) < 3) return raise(cpu, EXC_GP, 0);
  return settle(cpu, deliver(cpu, vector & 0xff, kind, 0, next));
}

/** IRET; `next` is saved when it ends a nested task. 1: fault recorded. */
export function interrupt_return(cpu: u32, size: u32, next: u64): u32 {
  const status = return_by_mode(cpu, size >> 3, next);
  if (status == 0) store<u32>(cpu, 0, CPU_NMI_BLOCKED);
  return status;
}

function return_by_mode(cpu: u32, bytes: u32, next: u64): u32 {
  if (!protected_mode(cpu)) return return_real(cpu, bytes);
  if (rflags(cpu) & EFLAGS_NT) {
    return long_mode(cpu) ? raise(cpu, EXC_GP, 0) : settle(cpu, return_to_task(cpu, next));
  }
  return return_protected(cpu, bytes);
}

/**
 * Loads the popped flags under `mask`. RF holds for one instruction and is seen by instruction breakpoints only,
 * so it is dropped here when there are none; no other instruction then has to clear it (SDM vol.3 17.3.1.1).
 */
function set_returned(cpu: u32, flags: u32, mask: u32): void {
  const rf: u32 = load<u32>(cpu, CPU_DR + 7 * 8) & DR7_ENABLES ? 0 : EFLAGS_RF;
  set_rflags(cpu, ((rflags(cpu) & ~mask) | (flags & mask)) & ~rf);
}

/** Real mode, and virtual-8086 mode with IOPL 3. */
function return_real(cpu: u32, bytes: u32): u32 {
  const v86 = v86_mode(cpu);
  if (v86 && iopl(cpu) < 3) return raise(cpu, EXC_GP, 0);
  begin_pops();
  const rip = peek(cpu, 0, bytes);
  const sel = <u32>peek(cpu, bytes, bytes) & 0xffff;
  const flags = <u32>peek(cpu, bytes * 2, bytes);
  if (pop_fault) return 1;
  if (rip > <u64>seg_limit(cpu, SEG_CS)) return raise(cpu, EXC_GP, 0);
  let mask: u32 = FLAGS_ANY | EFLAGS_IF;
  if (!v86) mask |= EFLAGS_IOPL;
  if (bytes > 2) mask |= FLAGS_WIDE;
  const sp_mask = stack_mask(cpu);
  set_sp(cpu, sp_mask, (gpr(cpu, RSP) + bytes * 3) & sp_mask);
  load_real_segment(cpu, SEG_CS, sel);
  set_returned(cpu, flags, mask);
  finish_transfer(cpu, rip);
  return 0;
}

/** The running task is nested: back to the one in its TSS's link. */
function return_to_task(cpu: u32, next: u64): u32 {
  const sel = task_link(cpu);
  if (sel == LINK_FAULT) return 1;
  if (is_null(sel) || is_local(sel)) return raise(cpu, EXC_TS, sel & SELECTOR_MASK);
  if (descriptor_or(cpu, read_descriptor(cpu, sel), EXC_TS, sel, 0)) return 1;
  return switch_task(cpu, sel, SWITCH_IRET, next, rflags(cpu), 0);
}

/** RFLAGS bits that IRET may change at the present CPL. */
function return_flags(cpu: u32, bytes: u32): u32 {
  let mask: u32 = FLAGS_ANY;
  if (bytes > 2) mask |= FLAGS_WIDE;
  if (cpl(cpu) <= iopl(cpu)) mask |= EFLAGS_IF;
  if (cpl(cpu) == 0) mask |= bytes > 2 ? FLAGS_RING0 | FLAGS_RING0_WIDE : FLAGS_RING0;
  return mask;
}

function return_protected(cpu: u32, bytes: u32): u32 {
  begin_pops();
  const rip = peek(cpu, 0, bytes);
  const sel = <u32>peek(cpu, bytes, bytes) & 0xffff;
  const flags = <u32>peek(cpu, bytes * 2, bytes);
  if (pop_fault) return 1;
  if (bytes == 4 && flags & EFLAGS_VM && cpl(cpu) == 0 && !long_mode(cpu)) return return_v86(cpu, rip, sel, flags);
  if (fetch_return_code(cpu, sel)) return 1;
  const level = sel & 3;
  const lo = desc_lo;
  const hi = desc_hi;
  const at = desc_at;
  // 64-bit mode takes SS:RSP from the stack even when the level stays.
  const full = level > cpl(cpu) || mode64(cpu);
  const sp = full ? peek(cpu, bytes * 3, bytes) : 0;
  const ss = full ? <u32>peek(cpu, bytes * 4, bytes) & 0xffff : 0;
  if (pop_fault) return 1;
  if (full && check_outer_stack(cpu, ss, level, hi)) return 1;
  if (check_target(cpu, lo, hi, rip, 0) || set_accessed(cpu, at, hi)) return 1;

  const mask = return_flags(cpu, bytes);
  set_returned(cpu, flags, mask);
  if (full) {
    finish_outer(cpu, sel, lo, hi, ss, outer_lo, outer_hi, sp, rip);
    return 0;
  }
  const sp_mask = stack_mask(cpu);
  set_sp(cpu, sp_mask, (gpr(cpu, RSP) + bytes * 3) & sp_mask);
  load_code(cpu, sel, lo, hi, level);
  finish_transfer(cpu, rip);
  return 0;
}

/** From level 0 to virtual-8086 mode: ESP, SS, ES, DS, FS and GS come from the stack too. */
function return_v86(cpu: u32, rip: u64, cs: u32, flags: u32): u32 {
  const sp = peek(cpu, 12, 4);
  const ss = <u32>peek(cpu, 16, 4);
  const es = <u32>peek(cpu, 20, 4);
  const ds = <u32>peek(cpu, 24, 4);
  const fs = <u32>peek(cpu, 28, 4);
  const gs = <u32>peek(cpu, 32, 4);
  if (pop_fault) return 1;
  if (rip > 0xffff) return raise(cpu, EXC_GP, 0);
  const mask = return_flags(cpu, 4) | EFLAGS_VM;
  set_returned(cpu, flags, mask);
  store<u32>(cpu, 3, CPU_CPL);
  load_real_segment(cpu, SEG_CS, cs & 0xffff);
  load_real_segment(cpu, SEG_SS, ss & 0xffff);
  load_real_segment(cpu, SEG_ES, es & 0xffff);
  load_real_segment(cpu, SEG_DS, ds & 0xffff);
  load_real_segment(cpu, SEG_FS, fs & 0xffff);
  load_real_segment(cpu, SEG_GS, gs & 0xffff);
  set_sp(cpu, 0xffffffff, sp);
  finish_transfer(cpu, rip);
  return 0;
}
