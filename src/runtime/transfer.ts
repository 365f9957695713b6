// What all control transfers share: checks of a new code segment and loading of CS, SS and CPL.

import {
  attr_of,
  base_of,
  desc_hi,
  descriptor_or,
  dpl_of,
  fetch_descriptor,
  is_big,
  is_code,
  is_code64,
  is_conforming,
  is_null,
  is_segment,
  limit_of,
  present,
  read_descriptor,
  SELECTOR_MASK,
} from './descriptors';
import { ATTR_ACCESSED, CPU_CPL, CPU_RIP, CPU_SHADOW, EXC_GP, EXC_NP, SEG_CS, SEG_SS } from './gen/layout';
import { load_checked_segment } from './segments';
import { canonical, cpl, long_mode, raise, set_null_segment, set_segment, update_context } from './state';

/** A flat segment descriptor's attributes: present, accessed, G; code with read, data with write. */
const FLAT_CODE64: u32 = 0xa09b;
const FLAT_CODE32: u32 = 0xc09b;
const FLAT_DATA: u32 = 0xc093;

/** Loads CS from a checked descriptor, with `level` as RPL and as CPL. The caller calls update_context. */
export function load_code(cpu: u32, sel: u32, lo: u32, hi: u32, level: u32): void {
  const base = long_mode(cpu) && is_code64(hi) ? 0 : base_of(lo, hi);
  set_segment(cpu, SEG_CS, (sel & SELECTOR_MASK) | level, base, limit_of(lo, hi), attr_of(hi) | ATTR_ACCESSED);
  store<u32>(cpu, level, CPU_CPL);
}

/** Loads SS from a checked descriptor, or a null selector with `level` as its DPL when `hi` is 0. */
export function load_stack(cpu: u32, sel: u32, lo: u32, hi: u32, level: u32): void {
  if (hi) load_checked_segment(cpu, SEG_SS, sel, lo, hi);
  else set_null_segment(cpu, SEG_SS, sel, level);
}

/** Loads CS and SS of SYSCALL, SYSENTER and their returns: flat, whatever the descriptors say. */
export function load_flat(cpu: u32, cs: u32, ss: u32, level: u32, wide: bool): void {
  const dpl = level << 5;
  set_segment(cpu, SEG_CS, (cs & SELECTOR_MASK) | level, 0, 0xffffffff, (wide ? FLAT_CODE64 : FLAT_CODE32) | dpl);
  set_segment(cpu, SEG_SS, (ss & SELECTOR_MASK) | level, 0, 0xffffffff, FLAT_DATA | dpl);
  store<u32>(cpu, level, CPU_CPL);
}

/** Checks the offset of a transfer into the code segment (lo, hi): limit, or canonical. 1: #GP(ext). */
export function check_target(cpu: u32, lo: u32, hi: u32, offset: u64, ext: u32): u32 {
  const inside = long_mode(cpu) && is_code64(hi) ? canonical(offset) : offset <= <u64>limit_of(lo, hi);
  return inside ? 0 : raise(cpu, EXC_GP, ext);
}

/** In IA-32e mode L and D/B of a code segment are not both set. 1: #GP(selector). */
export function check_code_size(cpu: u32, hi: u32, sel: u32): u32 {
  return long_mode(cpu) && is_code64(hi) && is_big(hi) ? raise(cpu, EXC_GP, sel & SELECTOR_MASK) : 0;
}

/** Reads the code segment of a return to privilege RPL(sel) into the desc_* globals and checks it. 1: #GP or #NP. */
export function fetch_return_code(cpu: u32, sel: u32): u32 {
  const error = sel & SELECTOR_MASK;
  const level = sel & 3;
  if (is_null(sel)) return raise(cpu, EXC_GP, 0);
  if (fetch_descriptor(cpu, sel)) return 1;
  if (level < cpl(cpu) || !is_code(desc_hi)) return raise(cpu, EXC_GP, error);
  if (is_conforming(desc_hi) ? dpl_of(desc_hi) > level : dpl_of(desc_hi) != level) return raise(cpu, EXC_GP, error);
  if (check_code_size(cpu, desc_hi, sel)) return 1;
  return present(desc_hi) ? 0 : raise(cpu, EXC_NP, error);
}

/** Reads the code segment that a gate leads to into the desc_* globals: CPL may enter it. 1: fault recorded. */
export function fetch_gate_code(cpu: u32, sel: u32, ext: u32): u32 {
  if (is_null(sel)) return raise(cpu, EXC_GP, ext);
  if (descriptor_or(cpu, read_descriptor(cpu, sel), EXC_GP, sel, ext)) return 1;
  return is_code(desc_hi) && dpl_of(desc_hi) <= cpl(cpu) ? 0 : raise(cpu, EXC_GP, (sel & SELECTOR_MASK) | ext);
}

/** Checks the high dword of a gate of the IDT, of a type that is `known` or not. 1: #GP or #NP of `error`. */
export function check_idt_gate(cpu: u32, hi: u32, known: bool, software: bool, error: u32): u32 {
  if (is_segment(hi) || !known) return raise(cpu, EXC_GP, error);
  if (software && dpl_of(hi) < cpl(cpu)) return raise(cpu, EXC_GP, error);
  return present(hi) ? 0 : raise(cpu, EXC_NP, error);
}

/** Ends a transfer: rip, no interrupt shadow, derived fields. */
export function finish_transfer(cpu: u32, rip: u64): void {
  store<u64>(cpu, rip, CPU_RIP);
  store<u32>(cpu, 0, CPU_SHADOW);
  update_context(cpu);
}
