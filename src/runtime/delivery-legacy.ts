// Delivery of interrupts and exceptions in real mode (SDM vol.3 20.1.4), protected and virtual-8086 mode
// (SDM vol.3 6.12, 20.3).
//
// Frame from the top, 2 or 4 bytes each: [GS FS DS ES from virtual-8086 mode] [SS SP if the level changes]
// FLAGS, CS, IP, error code.

import {
  desc_at,
  desc_hi,
  desc_lo,
  descriptor_or,
  dpl_of,
  is_conforming,
  is_local,
  is_null,
  present,
  read_descriptor,
  SELECTOR_MASK,
  set_accessed,
  TYPE_INT16,
  TYPE_INT32,
  TYPE_TASK_GATE,
  TYPE_TRAP16,
  TYPE_TRAP32,
  type_of,
} from './descriptors';
import {
  CPU_EFLAGS,
  CPU_IDTR_BASE,
  CPU_IDTR_LIMIT,
  EFLAGS_AC,
  EFLAGS_IF,
  EFLAGS_NT,
  EFLAGS_RF,
  EFLAGS_TF,
  EFLAGS_VM,
  EXC_GP,
  EXC_NP,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
} from './gen/layout';
import { sys_read } from './mmu';
import { load_real_segment } from './segments';
import {
  inner_hi,
  inner_lo,
  inner_mask,
  inner_ss,
  inner_stack,
  push_current,
  push_inner,
  push_value,
  pushed_sp,
  set_slot,
} from './stack';
import { cpl, gpr, RSP, raise, seg_limit, seg_sel, set_null_segment, set_sp, stack_mask, v86_mode } from './state';
import { SWITCH_INTERRUPT, switch_task, task_is_32 } from './tasks';
import { check_idt_gate, check_target, fetch_gate_code, finish_transfer, load_code, load_stack } from './transfer';

/** Real mode: through the vector table at the IDT's base. No error codes. */
export function deliver_real(cpu: u32, vector: u32, flags: u32, rip: u64): u32 {
  if (vector * 4 + 3 > load<u32>(cpu, CPU_IDTR_LIMIT)) return raise(cpu, EXC_GP, (vector << 3) | 2);
  const entry = sys_read(cpu, load<u64>(cpu, CPU_IDTR_BASE) + vector * 4, 4);
  if (!entry) return 1;
  const ip = load<u16>(entry);
  const cs = load<u16>(entry, 2);
  if (<u32>ip > seg_limit(cpu, SEG_CS)) return raise(cpu, EXC_GP, 0);
  set_slot(cpu, 0, flags);
  set_slot(cpu, 1, seg_sel(cpu, SEG_CS));
  set_slot(cpu, 2, rip);
  if (push_current(cpu, 3, 2, 0)) return 1;
  set_sp(cpu, stack_mask(cpu), pushed_sp);
  load_real_segment(cpu, SEG_CS, cs);
  clear_flags(cpu, EFLAGS_IF | EFLAGS_TF | EFLAGS_AC | EFLAGS_RF);
  finish_transfer(cpu, ip);
  return 0;
}

function clear_flags(cpu: u32, bits: u32): void {
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~bits, CPU_EFLAGS);
}

/** Protected and virtual-8086 mode, through a gate of the IDT. See `deliver`. */
export function deliver_protected(
  cpu: u32,
  vector: u32,
  software: bool,
  ext: u32,
  has_error: u32,
  error: u32,
  flags: u32,
  rip: u64,
): u32 {
  const gate_error = (vector << 3) | 2 | ext;
  if (vector * 8 + 7 > load<u32>(cpu, CPU_IDTR_LIMIT)) return raise(cpu, EXC_GP, gate_error);
  const gate = sys_read(cpu, load<u64>(cpu, CPU_IDTR_BASE) + vector * 8, 8);
  if (!gate) return 1;
  const lo = load<u32>(gate);
  const hi = load<u32>(gate, 4);
  const type = type_of(hi);
  const known =
    type == TYPE_TASK_GATE || type == TYPE_INT16 || type == TYPE_TRAP16 || type == TYPE_INT32 || type == TYPE_TRAP32;
  if (check_idt_gate(cpu, hi, known, software, gate_error)) return 1;
  if (type == TYPE_TASK_GATE) return through_task_gate(cpu, lo >> 16, ext, has_error, error, flags, rip);
  return through_gate(cpu, lo, hi, ext, has_error, error, flags, rip);
}

/** A task gate: the handler is a task; its error code goes on its own stack. */
function through_task_gate(cpu: u32, sel: u32, ext: u32, has_error: u32, error: u32, flags: u32, rip: u64): u32 {
  if (is_null(sel) || is_local(sel)) return raise(cpu, EXC_GP, (sel & SELECTOR_MASK) | ext);
  if (descriptor_or(cpu, read_descriptor(cpu, sel), EXC_GP, sel, ext)) return 1;
  const status = switch_task(cpu, sel, SWITCH_INTERRUPT, rip, flags, ext);
  if (status || !has_error) return status;
  return push_value(cpu, task_is_32(cpu) ? 4 : 2, error) ? 2 : 0;
}

/** Reads and checks the handler's code segment into the desc_* globals (SDM vol.2 INT). */
function check_handler(cpu: u32, sel: u32, ext: u32): u32 {
  const error = (sel & SELECTOR_MASK) | ext;
  if (fetch_gate_code(cpu, sel, ext)) return 1;
  if (!present(desc_hi)) return raise(cpu, EXC_NP, error);
  // From virtual-8086 mode only a nonconforming segment of level 0 will do.
  if (v86_mode(cpu) && (is_conforming(desc_hi) || dpl_of(desc_hi) != 0)) return raise(cpu, EXC_GP, error);
  return 0;
}

/** An interrupt or trap gate of 16 or 32 bits. */
function through_gate(cpu: u32, lo: u32, hi: u32, ext: u32, has_error: u32, error: u32, flags: u32, rip: u64): u32 {
  const sel = lo >> 16;
  if (check_handler(cpu, sel, ext)) return 1;
  const cs_lo = desc_lo;
  const cs_hi = desc_hi;
  const wide = type_of(hi) >= TYPE_INT32;
  const target: u64 = wide ? (hi & 0xffff0000) | (lo & 0xffff) : lo & 0xffff;
  const level = is_conforming(cs_hi) ? cpl(cpu) : dpl_of(cs_hi);
  const inner = level < cpl(cpu);
  if (set_accessed(cpu, desc_at, cs_hi)) return 1;
  if (inner && inner_stack(cpu, level, ext)) return 1;
  if (check_target(cpu, cs_lo, cs_hi, target, ext)) return 1;

  const from_v86 = v86_mode(cpu);
  let n: u32 = 0;
  if (from_v86) {
    set_slot(cpu, n++, seg_sel(cpu, SEG_GS));
    set_slot(cpu, n++, seg_sel(cpu, SEG_FS));
    set_slot(cpu, n++, seg_sel(cpu, SEG_DS));
    set_slot(cpu, n++, seg_sel(cpu, SEG_ES));
  }
  if (inner) {
    set_slot(cpu, n++, seg_sel(cpu, SEG_SS));
    set_slot(cpu, n++, gpr(cpu, RSP));
  }
  set_slot(cpu, n++, flags);
  set_slot(cpu, n++, seg_sel(cpu, SEG_CS));
  set_slot(cpu, n++, rip);
  if (has_error) set_slot(cpu, n++, error);
  if (inner ? push_inner(cpu, n, wide ? 4 : 2, ext) : push_current(cpu, n, wide ? 4 : 2, ext)) return 1;

  if (from_v86) drop_v86_segments(cpu);
  load_code(cpu, sel, cs_lo, cs_hi, level);
  if (inner) load_stack(cpu, inner_ss, inner_lo, inner_hi, level);
  set_sp(cpu, inner ? inner_mask(cpu) : stack_mask(cpu), pushed_sp);
  const traps = type_of(hi) & 1;
  clear_flags(cpu, EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM | (traps ? 0 : EFLAGS_IF));
  finish_transfer(cpu, target);
  return 0;
}

function drop_v86_segments(cpu: u32): void {
  set_null_segment(cpu, SEG_GS, 0, 0);
  set_null_segment(cpu, SEG_FS, 0, 0);
  set_null_segment(cpu, SEG_DS, 0, 0);
  set_null_segment(cpu, SEG_ES, 0, 0);
}
