// Delivery of interrupts and exceptions in IA-32e mode (SDM vol.3 6.14).
//
// IDT gate, 16 bytes: offset 0-15, selector 16-31 | IST 32-34, type 40-43, DPL 45-46, P 47, offset 16-31 at 48-63
//                     | offset 32-63 | reserved
// Frame, 8 bytes each, from the top: SS, RSP, RFLAGS, CS, RIP, error code.

import {
  desc_at,
  desc_hi,
  desc_lo,
  dpl_of,
  is_big,
  is_code64,
  is_conforming,
  present,
  SELECTOR_MASK,
  set_accessed,
  TYPE_INT32,
  TYPE_TRAP32,
  type_of,
} from './descriptors';
import {
  CPU_EFLAGS,
  CPU_EXC_ERROR,
  CPU_EXC_VECTOR,
  CPU_IDTR_BASE,
  CPU_IDTR_LIMIT,
  EFLAGS_IF,
  EFLAGS_NT,
  EFLAGS_RF,
  EFLAGS_TF,
  EFLAGS_VM,
  EXC_GP,
  EXC_NP,
  EXC_SS,
  SEG_CS,
  SEG_SS,
} from './gen/layout';
import { MEM_STACK, mem_commit, mem_write_in, sys_read } from './mmu';
import { inner_sp, stack_context, tss_stack64 } from './stack';
import { cpl, gpr, RSP, raise, seg_sel, set_gpr, set_null_segment } from './state';
import { check_idt_gate, check_target, fetch_gate_code, finish_transfer, load_code } from './transfer';

/** Offset of RSP0 and IST1 in the 64-bit TSS (SDM vol.3 figure 7-11). */
const TSS_RSP0: u32 = 4;
const TSS_IST1: u32 = 36;

/** See `deliver`. `software`: the gate's DPL is checked against CPL. `has_error` and `ext` are 0 or 1. */
export function deliver_long(
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
  if (vector * 16 + 15 > load<u32>(cpu, CPU_IDTR_LIMIT)) return raise(cpu, EXC_GP, gate_error);
  const gate = sys_read(cpu, load<u64>(cpu, CPU_IDTR_BASE) + vector * 16, 16);
  if (!gate) return 1;
  const lo = load<u32>(gate);
  const hi = load<u32>(gate, 4);
  const target = ((<u64>load<u32>(gate, 8)) << 32) | (hi & 0xffff0000) | (lo & 0xffff);
  const known = type_of(hi) == TYPE_INT32 || type_of(hi) == TYPE_TRAP32;
  if (check_idt_gate(cpu, hi, known, software, gate_error)) return 1;

  const sel = lo >> 16;
  if (check_handler(cpu, sel, ext)) return 1;
  const cs_lo = desc_lo;
  const cs_hi = desc_hi;
  const level = is_conforming(cs_hi) ? cpl(cpu) : dpl_of(cs_hi);
  if (set_accessed(cpu, desc_at, cs_hi)) return 1;

  const inner = level < cpl(cpu);
  const ist = hi & 7;
  let sp = gpr(cpu, RSP);
  if (ist || inner) {
    if (tss_stack64(cpu, ist ? TSS_IST1 + (ist - 1) * 8 : TSS_RSP0 + level * 8, ext)) return 1;
    sp = inner_sp;
  }
  if (check_target(cpu, cs_lo, cs_hi, target, ext)) return 1;
  const bytes: u32 = has_error ? 48 : 40;
  const frame = (sp & ~(<u64>15)) - bytes;
  if (push_frame(cpu, frame, bytes, stack_context(cpu, inner), ext, error, flags, rip)) return 1;

  load_code(cpu, sel, cs_lo, cs_hi, level);
  if (inner) set_null_segment(cpu, SEG_SS, level, level);
  set_gpr(cpu, RSP, frame);
  let cleared: u32 = EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM;
  if (type_of(hi) == TYPE_INT32) cleared |= EFLAGS_IF;
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~cleared, CPU_EFLAGS);
  finish_transfer(cpu, target);
  return 0;
}

/** Reads and checks the handler's code segment into the desc_* globals: 64-bit code that CPL may enter. */
function check_handler(cpu: u32, sel: u32, ext: u32): u32 {
  const error = (sel & SELECTOR_MASK) | ext;
  if (fetch_gate_code(cpu, sel, ext)) return 1;
  if (!is_code64(desc_hi) || is_big(desc_hi)) return raise(cpu, EXC_GP, error);
  return present(desc_hi) ? 0 : raise(cpu, EXC_NP, error);
}

/** Writes the frame at `at`, aligned by 16. 1: fault recorded. */
function push_frame(cpu: u32, at: u64, bytes: u32, ctx: u32, ext: u32, error: u32, flags: u32, rip: u64): u32 {
  const to = mem_write_in(cpu, at, bytes | MEM_STACK, ctx);
  if (!to) {
    if (load<u32>(cpu, CPU_EXC_VECTOR) == EXC_SS) store<u32>(cpu, ext, CPU_EXC_ERROR);
    return 1;
  }
  let next = to;
  if (bytes == 48) {
    store<u64>(next, error);
    next += 8;
  }
  store<u64>(next, rip);
  store<u64>(next, seg_sel(cpu, SEG_CS), 8);
  store<u64>(next, flags, 16);
  store<u64>(next, gpr(cpu, RSP), 24);
  store<u64>(next, seg_sel(cpu, SEG_SS), 32);
  mem_commit(cpu);
  return 0;
}
