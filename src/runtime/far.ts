// Far JMP, CALL and RET in all modes: direct, through call gates, task gates and TSSs (SDM vol.2, vol.3 5.8).

import {
  desc_at,
  desc_hi,
  desc_high_base,
  desc_lo,
  descriptor_or,
  dpl_of,
  fetch_descriptor,
  is_big,
  is_code,
  is_code64,
  is_conforming,
  is_local,
  is_null,
  is_segment,
  present,
  read_descriptor,
  read_system_descriptor,
  SELECTOR_MASK,
  set_accessed,
  TYPE_CALL16,
  TYPE_CALL32,
  TYPE_TASK_GATE,
  type_of,
} from './descriptors';
import { settle } from './exceptions';
import { EXC_GP, EXC_NP, SEG_CS, SEG_SS } from './gen/layout';
import { check_outer_stack, finish_outer, outer_hi, outer_lo } from './outer-return';
import { load_real_segment } from './segments';
import {
  begin_pops,
  inner_hi,
  inner_lo,
  inner_mask,
  inner_ss,
  inner_stack,
  peek,
  pop_fault,
  push_current,
  push_inner,
  pushed_sp,
  set_slot,
} from './stack';
import {
  cpl,
  gpr,
  long_mode,
  protected_mode,
  RSP,
  raise,
  rflags,
  seg_limit,
  seg_sel,
  set_sp,
  stack_mask,
} from './state';
import { is_tss, SWITCH_CALL, SWITCH_JUMP, switch_task } from './tasks';
import {
  check_code_size,
  check_target,
  fetch_gate_code,
  fetch_return_code,
  finish_transfer,
  load_code,
  load_stack,
} from './transfer';

/** Checks desc_hi as the code segment of a direct JMP or CALL. 1: #GP or #NP. */
function check_direct(cpu: u32, sel: u32): u32 {
  const error = sel & SELECTOR_MASK;
  const level = cpl(cpu);
  const dpl = dpl_of(desc_hi);
  if (!is_code(desc_hi)) return raise(cpu, EXC_GP, error);
  if (is_conforming(desc_hi) ? dpl > level : (sel & 3) > level || dpl != level) return raise(cpu, EXC_GP, error);
  if (check_code_size(cpu, desc_hi, sel)) return 1;
  return present(desc_hi) ? 0 : raise(cpu, EXC_NP, error);
}

/** JMP far in real and virtual-8086 mode. */
function jump_real(cpu: u32, sel: u32, offset: u64): u32 {
  if (offset > <u64>seg_limit(cpu, SEG_CS)) return raise(cpu, EXC_GP, 0);
  load_real_segment(cpu, SEG_CS, sel);
  finish_transfer(cpu, offset);
  return 0;
}

/** JMP far. `size` is the operand size in bits, `next` the rip to save for a task switch. */
export function far_jump(cpu: u32, selector: u32, target: u64, size: u32, next: u64): u32 {
  const sel = selector & 0xffff;
  const offset = cut(target, size);
  if (!protected_mode(cpu)) return jump_real(cpu, sel, offset);
  if (is_null(sel)) return raise(cpu, EXC_GP, 0);
  if (fetch_descriptor(cpu, sel)) return 1;
  if (!is_segment(desc_hi)) return system_transfer(cpu, sel, SWITCH_JUMP, next);
  if (check_direct(cpu, sel)) return 1;
  return jump_to(cpu, sel, offset);
}

/** Ends a JMP into the code segment in the desc_* globals, which passed its checks; CPL stays. */
function jump_to(cpu: u32, sel: u32, offset: u64): u32 {
  const lo = desc_lo;
  const hi = desc_hi;
  if (check_target(cpu, lo, hi, offset, 0) || set_accessed(cpu, desc_at, hi)) return 1;
  load_code(cpu, sel, lo, hi, cpl(cpu));
  finish_transfer(cpu, offset);
  return 0;
}

/** CALL far. */
export function far_call(cpu: u32, selector: u32, target: u64, size: u32, next: u64): u32 {
  const sel = selector & 0xffff;
  const offset = cut(target, size);
  if (!protected_mode(cpu)) {
    if (offset > <u64>seg_limit(cpu, SEG_CS)) return raise(cpu, EXC_GP, 0);
    if (push_return(cpu, size >> 3, next)) return 1;
    set_sp(cpu, stack_mask(cpu), pushed_sp);
    return jump_real(cpu, sel, offset);
  }
  if (is_null(sel)) return raise(cpu, EXC_GP, 0);
  if (fetch_descriptor(cpu, sel)) return 1;
  if (!is_segment(desc_hi)) return system_transfer(cpu, sel, SWITCH_CALL, next);
  if (check_direct(cpu, sel)) return 1;
  return call_same(cpu, sel, offset, size >> 3, next);
}

/** Pushes CS and the return address on the current stack; rSP stays. */
function push_return(cpu: u32, bytes: u32, next: u64): u32 {
  set_slot(cpu, 0, seg_sel(cpu, SEG_CS));
  set_slot(cpu, 1, next);
  return push_current(cpu, 2, bytes, 0);
}

/** Ends a CALL at the same level into the code segment in the desc_* globals. */
function call_same(cpu: u32, sel: u32, offset: u64, bytes: u32, next: u64): u32 {
  const lo = desc_lo;
  const hi = desc_hi;
  if (check_target(cpu, lo, hi, offset, 0) || set_accessed(cpu, desc_at, hi)) return 1;
  if (push_return(cpu, bytes, next)) return 1;
  set_sp(cpu, stack_mask(cpu), pushed_sp);
  load_code(cpu, sel, lo, hi, cpl(cpu));
  finish_transfer(cpu, offset);
  return 0;
}

function cut(offset: u64, size: u32): u64 {
  return size == 64 ? offset : offset & (size == 32 ? 0xffffffff : 0xffff);
}

/** JMP or CALL to a system descriptor: call gate, task gate, TSS. `reason`: SWITCH_JUMP or SWITCH_CALL. */
function system_transfer(cpu: u32, sel: u32, reason: u32, next: u64): u32 {
  const error = sel & SELECTOR_MASK;
  if (long_mode(cpu)) {
    if (type_of(desc_hi) != TYPE_CALL32) return raise(cpu, EXC_GP, error);
    if (descriptor_or(cpu, read_system_descriptor(cpu, sel), EXC_GP, sel, 0)) return 1;
  }
  const dpl = dpl_of(desc_hi);
  const type = type_of(desc_hi);
  const gate = type == TYPE_CALL16 || type == TYPE_CALL32;
  if (!gate && type != TYPE_TASK_GATE && !is_tss(false)) return raise(cpu, EXC_GP, error);
  if (dpl < cpl(cpu) || dpl < (sel & 3)) return raise(cpu, EXC_GP, error);
  if (gate || type == TYPE_TASK_GATE) {
    if (!present(desc_hi)) return raise(cpu, EXC_NP, error);
    if (gate) return call_gate(cpu, reason, next);
    return settle(cpu, task_gate(cpu, desc_lo >> 16, reason, next));
  }
  if (is_local(sel)) return raise(cpu, EXC_GP, error);
  return settle(cpu, switch_task(cpu, sel, reason, next, rflags(cpu), 0));
}

function task_gate(cpu: u32, sel: u32, reason: u32, next: u64): u32 {
  if (is_null(sel) || is_local(sel)) return raise(cpu, EXC_GP, sel & SELECTOR_MASK);
  if (descriptor_or(cpu, read_descriptor(cpu, sel), EXC_GP, sel, 0)) return 1;
  return switch_task(cpu, sel, reason, next, rflags(cpu), 0);
}

/** Goes through the call gate in the desc_* globals. */
function call_gate(cpu: u32, reason: u32, next: u64): u32 {
  const gate_hi = desc_hi;
  const sel = desc_lo >> 16;
  const wide = type_of(gate_hi) == TYPE_CALL32;
  let offset: u64 = desc_lo & 0xffff;
  if (wide) offset |= (gate_hi & 0xffff0000) | desc_high_base;
  const error = sel & SELECTOR_MASK;
  if (fetch_gate_code(cpu, sel, 0)) return 1;
  const dpl = dpl_of(desc_hi);
  if (reason == SWITCH_JUMP && !is_conforming(desc_hi) && dpl != cpl(cpu)) return raise(cpu, EXC_GP, error);
  if (long_mode(cpu) && (!is_code64(desc_hi) || is_big(desc_hi))) return raise(cpu, EXC_GP, error);
  if (!present(desc_hi)) return raise(cpu, EXC_NP, error);
  if (reason == SWITCH_JUMP) return jump_to(cpu, sel, offset);
  const bytes: u32 = long_mode(cpu) ? 8 : wide ? 4 : 2;
  if (is_conforming(desc_hi) || dpl == cpl(cpu)) return call_same(cpu, sel, offset, bytes, next);
  return call_inner(cpu, sel, offset, bytes, long_mode(cpu) ? 0 : gate_hi & 31, next);
}

/** CALL through a gate to a more privileged level, copying `count` parameters to its stack. */
function call_inner(cpu: u32, sel: u32, offset: u64, bytes: u32, count: u32, next: u64): u32 {
  const lo = desc_lo;
  const hi = desc_hi;
  const level = dpl_of(hi);
  if (set_accessed(cpu, desc_at, hi)) return 1;
  if (inner_stack(cpu, level, 0)) return 1;
  if (check_target(cpu, lo, hi, offset, 0)) return 1;
  set_slot(cpu, 0, seg_sel(cpu, SEG_SS));
  set_slot(cpu, 1, gpr(cpu, RSP));
  begin_pops();
  for (let i: u32 = 0; i < count; i++) set_slot(cpu, 1 + count - i, peek(cpu, i * bytes, bytes));
  if (pop_fault) return 1;
  set_slot(cpu, count + 2, seg_sel(cpu, SEG_CS));
  set_slot(cpu, count + 3, next);
  if (push_inner(cpu, count + 4, bytes, 0)) return 1;
  load_code(cpu, sel, lo, hi, level);
  load_stack(cpu, inner_ss, inner_lo, inner_hi, level);
  set_sp(cpu, inner_mask(cpu), pushed_sp);
  finish_transfer(cpu, offset);
  return 0;
}

/** RET far: `size` operand size in bits, `release` bytes of parameters. */
export function far_return(cpu: u32, size: u32, release: u32): u32 {
  const bytes = size >> 3;
  begin_pops();
  const rip = peek(cpu, 0, bytes);
  const sel = <u32>peek(cpu, bytes, bytes) & 0xffff;
  if (pop_fault) return 1;
  const mask = stack_mask(cpu);
  const after = gpr(cpu, RSP) + bytes * 2 + release;
  if (!protected_mode(cpu)) {
    if (jump_real(cpu, sel, rip)) return 1;
    set_sp(cpu, mask, after & mask);
    return 0;
  }
  if (fetch_return_code(cpu, sel)) return 1;
  const level = sel & 3;
  const lo = desc_lo;
  const hi = desc_hi;
  const at = desc_at;
  if (level > cpl(cpu)) return return_outer(cpu, sel, lo, hi, at, rip, bytes, release);
  if (check_target(cpu, lo, hi, rip, 0) || set_accessed(cpu, at, hi)) return 1;
  set_sp(cpu, mask, after & mask);
  load_code(cpu, sel, lo, hi, level);
  finish_transfer(cpu, rip);
  return 0;
}

/** RET far to a less privileged level: takes SS:rSP from the stack too. */
function return_outer(cpu: u32, sel: u32, lo: u32, hi: u32, at: u64, rip: u64, bytes: u32, release: u32): u32 {
  begin_pops();
  const sp = peek(cpu, bytes * 2 + release, bytes);
  const ss = <u32>peek(cpu, bytes * 3 + release, bytes) & 0xffff;
  if (pop_fault) return 1;
  if (check_outer_stack(cpu, ss, sel & 3, hi)) return 1;
  if (check_target(cpu, lo, hi, rip, 0) || set_accessed(cpu, at, hi)) return 1;
  finish_outer(cpu, sel, lo, hi, ss, outer_lo, outer_hi, sp + release, rip);
  return 0;
}
