// LLDT and LTR, and the instructions that ask about a descriptor without loading it: LAR, LSL, VERR, VERW.

import {
  attr_of,
  base_of,
  DESC_FAULT,
  DESC_OK,
  desc_at,
  desc_hi,
  desc_high_base,
  desc_lo,
  descriptor_or,
  dpl_of,
  is_code,
  is_conforming,
  is_local,
  is_null,
  is_readable,
  is_segment,
  is_writable_data,
  limit_of,
  present,
  read_descriptor,
  read_system_descriptor,
  SELECTOR_MASK,
  store_access_byte,
  TSS_BUSY,
  TYPE_CALL16,
  TYPE_CALL32,
  TYPE_LDT,
  TYPE_TASK_GATE,
  TYPE_TSS16,
  TYPE_TSS16_BUSY,
  TYPE_TSS32,
  TYPE_TSS32_BUSY,
  type_of,
} from './descriptors';
import { CPU_SCRATCH, EXC_GP, EXC_NP, EXC_UD, SEG_LDTR, SEG_TR } from './gen/layout';
import {
  canonical,
  check_privilege,
  cpl,
  long_mode,
  protected_mode,
  raise,
  set_null_segment,
  set_segment,
} from './state';

/** Base of the system descriptor in the desc_* globals. */
function system_base(): u64 {
  return desc_high_base | base_of(desc_lo, desc_hi);
}

/** LLDT. 1: fault recorded. */
export function load_ldtr(cpu: u32, selector: u32): u32 {
  const sel = selector & 0xffff;
  if (!protected_mode(cpu)) return raise(cpu, EXC_UD, 0);
  if (check_privilege(cpu)) return 1;
  if (is_null(sel)) {
    set_null_segment(cpu, SEG_LDTR, sel, 0);
    return 0;
  }
  const error = sel & SELECTOR_MASK;
  if (is_local(sel)) return raise(cpu, EXC_GP, error);
  if (descriptor_or(cpu, read_system_descriptor(cpu, sel), EXC_GP, sel, 0)) return 1;
  if (is_segment(desc_hi) || type_of(desc_hi) != TYPE_LDT) return raise(cpu, EXC_GP, error);
  if (!present(desc_hi)) return raise(cpu, EXC_NP, error);
  if (!canonical(system_base())) return raise(cpu, EXC_GP, error);
  set_segment(cpu, SEG_LDTR, sel, system_base(), limit_of(desc_lo, desc_hi), attr_of(desc_hi));
  return 0;
}

/** LTR: the TSS must be available and becomes busy. 1: fault recorded. */
export function load_tr(cpu: u32, selector: u32): u32 {
  const sel = selector & 0xffff;
  if (!protected_mode(cpu)) return raise(cpu, EXC_UD, 0);
  if (check_privilege(cpu)) return 1;
  const error = sel & SELECTOR_MASK;
  if (is_null(sel) || is_local(sel)) return raise(cpu, EXC_GP, error);
  if (descriptor_or(cpu, read_system_descriptor(cpu, sel), EXC_GP, sel, 0)) return 1;
  const lo = desc_lo;
  const hi = desc_hi;
  const base = system_base();
  const available = type_of(hi) == TYPE_TSS32 || (type_of(hi) == TYPE_TSS16 && !long_mode(cpu));
  if (is_segment(hi) || !available) return raise(cpu, EXC_GP, error);
  if (!present(hi)) return raise(cpu, EXC_NP, error);
  if (!canonical(base)) return raise(cpu, EXC_GP, error);
  if (store_access_byte(cpu, desc_at, (hi >> 8) | TSS_BUSY)) return 1;
  set_segment(cpu, SEG_TR, sel, base, limit_of(lo, hi), attr_of(hi) | TSS_BUSY);
  return 0;
}

/** Whether LAR (`gates` too) or LSL answers for a system descriptor of this type (SDM vol.2 tables of LAR, LSL). */
function answers(cpu: u32, type: u32, gates: bool): bool {
  if (type == TYPE_LDT || type == TYPE_TSS32 || type == TYPE_TSS32_BUSY) return true;
  if (gates && type == TYPE_CALL32) return true;
  if (long_mode(cpu)) return false;
  if (type == TYPE_TSS16 || type == TYPE_TSS16_BUSY) return true;
  return gates && (type == TYPE_CALL16 || type == TYPE_TASK_GATE);
}

/** Answers of `query` and `is_verified`; with FAULTED the fault is recorded. */
const NO: u32 = 0;
const YES: u32 = 1;
const FAULTED: u32 = 2;

function unless_read(status: u32): u32 {
  return status == DESC_FAULT ? FAULTED : NO;
}

/** Reads the descriptor that LAR or LSL asks about: whether it is accessible. */
function query(cpu: u32, sel: u32, gates: bool): u32 {
  if (is_null(sel)) return NO;
  let status = read_descriptor(cpu, sel);
  if (status != DESC_OK) return unless_read(status);
  if (is_segment(desc_hi)) {
    if (is_code(desc_hi) && is_conforming(desc_hi)) return YES;
  } else {
    if (!answers(cpu, type_of(desc_hi), gates)) return NO;
    if (long_mode(cpu)) {
      status = read_system_descriptor(cpu, sel);
      if (status != DESC_OK) return unless_read(status);
    }
  }
  const dpl = dpl_of(desc_hi);
  return cpl(cpu) <= dpl && (sel & 3) <= dpl ? YES : NO;
}

/**
 * LAR: bits 8-23 of the second dword in place in scratch, or 0 when not accessible. Bits 16-19 are open in SDM vol.2 LAR
 * ("00FxFF00H"); CPUs leave the limit in them. 1: fault recorded.
 */
export function access_rights(cpu: u32, selector: u32): u32 {
  const answer = query(cpu, selector & 0xffff, true);
  store<u64>(cpu, answer == YES ? desc_hi & 0x00ffff00 : 0, CPU_SCRATCH);
  return u32(answer == FAULTED);
}

/** LSL: limit in bytes with bit 32 set in scratch, or 0 when not accessible. 1: fault recorded. */
export function segment_limit(cpu: u32, selector: u32): u32 {
  const answer = query(cpu, selector & 0xffff, false);
  store<u64>(cpu, answer == YES ? ((<u64>1) << 32) | limit_of(desc_lo, desc_hi) : 0, CPU_SCRATCH);
  return u32(answer == FAULTED);
}

/** Whether the segment may be read, or written, at this CPL. */
function is_verified(cpu: u32, sel: u32, write: bool): u32 {
  if (is_null(sel)) return NO;
  const status = read_descriptor(cpu, sel);
  if (status != DESC_OK) return unless_read(status);
  if (!is_segment(desc_hi)) return NO;
  const dpl = dpl_of(desc_hi);
  if (!is_conforming(desc_hi) && ((sel & 3) > dpl || cpl(cpu) > dpl)) return NO;
  return (write ? is_writable_data(desc_hi) : is_readable(desc_hi)) ? YES : NO;
}

/** VERR (`write` 0) and VERW (1): 1 in scratch if the segment may be read or written at this CPL. 1: fault recorded. */
export function verify_segment(cpu: u32, selector: u32, write: u32): u32 {
  const answer = is_verified(cpu, selector & 0xffff, write != 0);
  store<u64>(cpu, u64(answer == YES), CPU_SCRATCH);
  return u32(answer == FAULTED);
}
