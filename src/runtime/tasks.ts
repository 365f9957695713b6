// Task switches through 16- and 32-bit task state segments (SDM vol.3 chapter 7).
//
// 32-bit TSS: link 0, cr3 1Ch, eip 20h, eflags 24h, eax ecx edx ebx esp ebp esi edi 28h-44h,
//             es cs ss ds fs gs 48h-5Ch, ldt 60h, T bit 64h, I/O map base 66h
// 16-bit TSS: link 0, ip 0Eh, flags 10h, ax cx dx bx sp bp si di 12h-20h, es cs ss ds 22h-28h, ldt 2Ah

import { load_task_cr3 } from './control-registers';
import {
  attr_of,
  base_of,
  desc_at,
  desc_hi,
  desc_lo,
  descriptor_or,
  dpl_of,
  is_code,
  is_conforming,
  is_local,
  is_null,
  is_segment,
  limit_of,
  present,
  read_descriptor,
  SELECTOR_MASK,
  set_accessed,
  store_access_byte,
  TSS_BUSY,
  TYPE_LDT,
  TYPE_TSS16,
  TYPE_TSS32,
  type_of,
} from './descriptors';
import {
  CPU_CPL,
  CPU_CR0,
  CPU_DR,
  CPU_EFLAGS,
  CPU_EXC_DR6,
  CPU_EXC_ERROR,
  CPU_EXC_VECTOR,
  CPU_GDTR_BASE,
  CPU_RIP,
  CPU_SCRATCH,
  CPU_SHADOW,
  CR0_PG,
  CR0_TS,
  EFLAGS_NT,
  EFLAGS_VM,
  EXC_GP,
  EXC_NP,
  EXC_PF,
  EXC_TS,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
} from './gen/layout';
import { mem_commit, sys_read, sys_rmw } from './mmu';
import { check_data_selector, check_stack_selector, load_described_segment, load_real_segment } from './segments';
import {
  cr0,
  gpr,
  raise,
  seg_attr,
  seg_base,
  seg_limit,
  seg_sel,
  set_gpr,
  set_null_segment,
  set_rflags,
  set_segment,
  update_context,
  v86_mode,
} from './state';
import { load_code } from './transfer';

/** What causes a switch; decides on busy bits, NT and the link. */
export const SWITCH_JUMP: u32 = 0;
export const SWITCH_CALL: u32 = 1;
export const SWITCH_IRET: u32 = 2;
export const SWITCH_INTERRUPT: u32 = 3;

/** Bit of a TSS type that tells a 32-bit one. */
const TSS_32: u32 = 8;
const TSS32_LIMIT: u32 = 0x67;
const TSS16_LIMIT: u32 = 0x2b;
/** The dynamic fields of both formats: first offset and size. */
const STATE_32: u32 = 0x20;
const STATE_32_SIZE: u32 = 0x40;
const STATE_16: u32 = 0x0e;
const STATE_16_SIZE: u32 = 0x1c;

const DR6_BT: u32 = 1 << 15;
/** L0-L3 and LE of DR7. */
const DR7_LOCAL: u64 = 0x155;

/** Copy of the new TSS in scratch. */
const IMAGE: u32 = CPU_SCRATCH;

/** Whether the current task's TSS is a 32-bit one. */
export function task_is_32(cpu: u32): bool {
  return (seg_attr(cpu, SEG_TR) & TSS_32) != 0;
}

/** Whether the descriptor in desc_hi is a TSS that can be switched to: available, or busy for IRET. */
export function is_tss(busy: bool): bool {
  const type = type_of(desc_hi) & ~(busy ? TSS_BUSY : 0);
  if (is_segment(desc_hi) || ((type_of(desc_hi) & TSS_BUSY) != 0) != busy) return false;
  return type == TYPE_TSS16 || type == TYPE_TSS32;
}

/** Copies bytes from a TSS to the host address `to`. 1: page fault. */
function copy_in(cpu: u32, va: u64, to: u32, n: u32): u32 {
  for (let done: u32 = 0; done < n; done += 8) {
    const size: u32 = n - done < 8 ? n - done : 8;
    const at = sys_read(cpu, va + done, size);
    if (!at) return 1;
    memory.copy(to + done, at, size);
  }
  return 0;
}

/** Writes the state of the old task into the fields at `at`, a copy of its TSS from STATE_32 on. */
function save_32(cpu: u32, at: u32, rip: u64, flags: u32): void {
  store<u32>(at, <u32>rip);
  store<u32>(at, flags, 4);
  for (let i: u32 = 0; i < 8; i++) store<u32>(at + i * 4, <u32>gpr(cpu, i), 8);
  for (let i: u32 = 0; i < 6; i++) store<u16>(at + i * 4, <u16>seg_sel(cpu, i), 0x28);
}

/** The same for a 16-bit TSS from STATE_16 on; FS and GS have no place there. */
function save_16(cpu: u32, at: u32, rip: u64, flags: u32): void {
  store<u16>(at, <u16>rip);
  store<u16>(at, <u16>flags, 2);
  for (let i: u32 = 0; i < 8; i++) store<u16>(at + i * 2, <u16>gpr(cpu, i), 4);
  for (let i: u32 = 0; i < 4; i++) store<u16>(at + i * 2, <u16>seg_sel(cpu, i), 0x14);
}

/** Saves the running task in its TSS. 1: fault recorded, nothing written. */
function save_task(cpu: u32, rip: u64, flags: u32): u32 {
  const wide = task_is_32(cpu);
  const base = seg_base(cpu, SEG_TR) + (wide ? STATE_32 : STATE_16);
  if (seg_limit(cpu, SEG_TR) < (wide ? TSS32_LIMIT : TSS16_LIMIT)) {
    return raise(cpu, EXC_TS, seg_sel(cpu, SEG_TR) & SELECTOR_MASK);
  }
  const at = sys_rmw(cpu, base, wide ? STATE_32_SIZE : STATE_16_SIZE);
  if (!at) return 1;
  if (wide) save_32(cpu, at, rip, flags);
  else save_16(cpu, at, rip, flags);
  mem_commit(cpu);
  return 0;
}

/** Sets or clears the busy bit of a TSS descriptor. 1: page fault. */
function set_busy(cpu: u32, at: u64, busy: bool): u32 {
  const from = sys_read(cpu, at + 5, 1);
  if (!from) return 1;
  const access = <u32>load<u8>(from);
  return store_access_byte(cpu, at, busy ? access | TSS_BUSY : access & ~TSS_BUSY);
}

/** Writes the selector of the old task into the new TSS's link. 1: page fault. */
function store_link(cpu: u32, base: u64): u32 {
  const at = sys_rmw(cpu, base, 2);
  if (!at) return 1;
  store<u16>(at, <u16>seg_sel(cpu, SEG_TR));
  mem_commit(cpu);
  return 0;
}

/** Selector of the previous task, from the running task's TSS; 0x10000 after a page fault. */
export function task_link(cpu: u32): u32 {
  const at = sys_read(cpu, seg_base(cpu, SEG_TR), 2);
  return at ? <u32>load<u16>(at) : 0x10000;
}

/**
 * Switches to the task whose TSS selector is `sel` and whose descriptor, available or (IRET) busy, is in the
 * desc_* globals. `rip` and `flags` are saved for the old task. 0: done. 1: fault recorded, nothing changed.
 * 2: fault recorded in the new task.
 */
export function switch_task(cpu: u32, sel: u32, reason: u32, rip: u64, flags: u32, ext: u32): u32 {
  const error = (sel & SELECTOR_MASK) | ext;
  if (!is_tss(reason == SWITCH_IRET)) return raise(cpu, reason == SWITCH_IRET ? EXC_TS : EXC_GP, error);
  if (!present(desc_hi)) return raise(cpu, EXC_NP, error);
  const lo = desc_lo;
  const hi = desc_hi;
  const at = desc_at;
  const wide = (type_of(hi) & TSS_32) != 0;
  if (limit_of(lo, hi) < (wide ? TSS32_LIMIT : TSS16_LIMIT)) return raise(cpu, EXC_TS, error);
  const base = base_of(lo, hi);
  const image = cpu + IMAGE;
  if (copy_in(cpu, base, image, wide ? TSS32_LIMIT + 1 : TSS16_LIMIT + 1)) return 1;

  // Everything below writes memory; each can page-fault, and what was written before is harmless to repeat.
  const nested = reason == SWITCH_CALL || reason == SWITCH_INTERRUPT;
  const saved = reason == SWITCH_IRET ? flags & ~EFLAGS_NT : flags;
  if (nested && store_link(cpu, base)) return 1;
  if (save_task(cpu, rip, saved)) return 1;
  if (!nested && set_busy(cpu, load<u64>(cpu, CPU_GDTR_BASE) + (seg_sel(cpu, SEG_TR) & 0xfff8), false)) return 1;
  if (reason != SWITCH_IRET && set_busy(cpu, at, true)) return 1;

  set_segment(cpu, SEG_TR, sel, base, limit_of(lo, hi), attr_of(hi) | TSS_BUSY);
  store<u64>(cpu, load<u64>(cpu, CPU_CR0) | CR0_TS, CPU_CR0);
  store<u64>(cpu, load<u64>(cpu, CPU_DR + 56) & ~DR7_LOCAL, CPU_DR + 56);
  return enter_task(cpu, image, wide, nested, ext);
}

/** Loads the new task from the copy of its TSS. 0, or 2 after a fault in the new task. */
function enter_task(cpu: u32, image: u32, wide: bool, nested: bool, ext: u32): u32 {
  const bad_cr3 = wide && cr0(cpu) & CR0_PG ? load_task_cr3(cpu, load<u32>(image, 0x1c)) : 0;
  let flags: u32 = wide ? load<u32>(image, 0x24) : <u32>load<u16>(image, 0x10);
  if (nested) flags |= EFLAGS_NT;
  set_rflags(cpu, flags & FLAGS_LOADED);
  store<u64>(cpu, wide ? load<u32>(image, 0x20) : load<u16>(image, 0x0e), CPU_RIP);
  for (let i: u32 = 0; i < 8; i++) {
    set_gpr(cpu, i, wide ? load<u32>(image + i * 4, 0x28) : load<u16>(image + i * 2, 0x12));
  }
  // All selectors first, unusable: a fault on one of them finds the others' values, not the old task's segments.
  for (let seg: u32 = 0; seg < 6; seg++) {
    let sel: u32 = 0;
    if (wide) sel = load<u16>(image + seg * 4, 0x48);
    else if (seg < 4) sel = load<u16>(image + seg * 2, 0x22);
    set_null_segment(cpu, seg, sel, 0);
  }
  set_null_segment(cpu, SEG_LDTR, load<u16>(image + (wide ? 0x60 : 0x2a)), 0);
  store<u32>(cpu, v86_mode(cpu) ? 3 : seg_sel(cpu, SEG_CS) & 3, CPU_CPL);
  store<u32>(cpu, 0, CPU_SHADOW);
  update_context(cpu);
  if (bad_cr3) return raise(cpu, EXC_TS, ext) + 1;
  const failed = load_task_segments(cpu);
  update_context(cpu);
  if (failed) {
    if (load<u32>(cpu, CPU_EXC_VECTOR) != EXC_PF) store<u32>(cpu, load<u32>(cpu, CPU_EXC_ERROR) | ext, CPU_EXC_ERROR);
    return 2;
  }
  if (<u32>load<u64>(cpu, CPU_RIP) > seg_limit(cpu, SEG_CS)) return raise(cpu, EXC_GP, ext) + 1;
  if (wide && load<u8>(image, 0x64) & 1) {
    store<u32>(cpu, load<u32>(cpu, CPU_EXC_DR6) | DR6_BT, CPU_EXC_DR6);
  }
  return 0;
}

/** EFLAGS bits that exist: CF PF AF ZF SF TF IF DF OF IOPL NT RF VM AC VIF VIP ID. */
const FLAGS_LOADED: u32 = 0x3f7fd5;

/** Loads the segments of the new task by the selectors that are already in place. 1: fault recorded. */
function load_task_segments(cpu: u32): u32 {
  if (load_task_ldt(cpu)) return 1;
  if (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_VM) {
    for (let seg: u32 = 0; seg < 6; seg++) load_real_segment(cpu, seg, seg_sel(cpu, seg));
    return 0;
  }
  if (load_task_code(cpu)) return 1;
  const ss = seg_sel(cpu, SEG_SS);
  const level = load<u32>(cpu, CPU_CPL);
  if (check_stack_selector(cpu, ss, level, EXC_TS, 0) || load_described_segment(cpu, SEG_SS, ss)) return 1;
  if (load_task_data(cpu, SEG_DS, level) || load_task_data(cpu, SEG_ES, level)) return 1;
  return load_task_data(cpu, SEG_FS, level) || load_task_data(cpu, SEG_GS, level) ? 1 : 0;
}

function load_task_data(cpu: u32, seg: u32, level: u32): u32 {
  const sel = seg_sel(cpu, seg);
  if (is_null(sel)) return 0;
  if (check_data_selector(cpu, sel, level, EXC_TS)) return 1;
  return load_described_segment(cpu, seg, sel);
}

function load_task_ldt(cpu: u32): u32 {
  const sel = seg_sel(cpu, SEG_LDTR);
  const error = sel & SELECTOR_MASK;
  if (is_null(sel)) return 0;
  if (is_local(sel)) return raise(cpu, EXC_TS, error);
  if (descriptor_or(cpu, read_descriptor(cpu, sel), EXC_TS, sel, 0)) return 1;
  if (is_segment(desc_hi) || type_of(desc_hi) != TYPE_LDT || !present(desc_hi)) return raise(cpu, EXC_TS, error);
  set_segment(cpu, SEG_LDTR, sel, base_of(desc_lo, desc_hi), limit_of(desc_lo, desc_hi), attr_of(desc_hi));
  return 0;
}

function load_task_code(cpu: u32): u32 {
  const sel = seg_sel(cpu, SEG_CS);
  const error = sel & SELECTOR_MASK;
  const level = sel & 3;
  if (is_null(sel)) return raise(cpu, EXC_TS, 0);
  if (descriptor_or(cpu, read_descriptor(cpu, sel), EXC_TS, sel, 0)) return 1;
  const dpl = dpl_of(desc_hi);
  if (!is_code(desc_hi) || (is_conforming(desc_hi) ? dpl > level : dpl != level)) return raise(cpu, EXC_TS, error);
  if (!present(desc_hi)) return raise(cpu, EXC_NP, error);
  const lo = desc_lo;
  const hi = desc_hi;
  if (set_accessed(cpu, desc_at, hi)) return 1;
  load_code(cpu, sel, lo, hi, level);
  return 0;
}
