// PUSHF, POPF, CLI, STI, and ENTER with nesting: instructions that need IOPL or a whole frame on the stack.

import {
  CPU_EFLAGS,
  CPU_SHADOW,
  EFLAGS_AC,
  EFLAGS_ID,
  EFLAGS_IF,
  EFLAGS_IOPL,
  EFLAGS_RF,
  EFLAGS_VIF,
  EFLAGS_VIP,
  EFLAGS_VM,
  EXC_GP,
  EXC_UD,
  SEG_SS,
} from './gen/layout';
import { FLAGS_ANY } from './interrupts';
import { MEM_STACK, mem_commit, mem_write } from './mmu';
import { seg_check } from './segments';
import { begin_pops, peek, pop_fault, push_value, store_sized } from './stack';
import {
  cpl,
  gpr,
  iopl,
  mode64,
  RBP,
  RSP,
  raise,
  rflags,
  seg_base,
  set_gpr,
  set_rflags,
  set_sp,
  stack_mask,
  update_flags,
  v86_mode,
} from './state';

/** PUSHF of `size` bits. RF and VM are pushed as 0. */
export function push_flags(cpu: u32, size: u32): u32 {
  if (v86_mode(cpu) && iopl(cpu) < 3) return raise(cpu, EXC_GP, 0);
  return push_value(cpu, size >> 3, rflags(cpu) & ~(EFLAGS_RF | EFLAGS_VM));
}

/** POPF of `size` bits: what may change depends on CPL and IOPL (SDM vol.2 table 4-18). */
export function pop_flags(cpu: u32, size: u32): u32 {
  const level = cpl(cpu);
  if (v86_mode(cpu) && iopl(cpu) < 3) return raise(cpu, EXC_GP, 0);
  begin_pops();
  const value = <u32>peek(cpu, 0, size >> 3);
  if (pop_fault) return 1;
  let mask: u32 = FLAGS_ANY;
  if (level <= iopl(cpu)) mask |= EFLAGS_IF;
  if (level == 0) mask |= EFLAGS_IOPL;
  if (size > 16) mask |= EFLAGS_AC | EFLAGS_ID;
  let flags = (rflags(cpu) & ~mask) | (value & mask);
  if (size > 16) flags &= ~EFLAGS_RF;
  if (size > 16 && level == 0) flags &= ~(EFLAGS_VIF | EFLAGS_VIP);
  const sp_mask = stack_mask(cpu);
  set_sp(cpu, sp_mask, (gpr(cpu, RSP) + (size >> 3)) & sp_mask);
  const before = load<u32>(cpu, CPU_EFLAGS);
  set_rflags(cpu, flags);
  update_flags(cpu, before);
  return 0;
}

/** CLI. */
export function clear_interrupt_flag(cpu: u32): u32 {
  if (cpl(cpu) > iopl(cpu)) return raise(cpu, EXC_GP, 0);
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~EFLAGS_IF, CPU_EFLAGS);
  return 0;
}

/** STI: interrupts are held off for one more instruction if they were disabled. */
export function set_interrupt_flag(cpu: u32): u32 {
  if (cpl(cpu) > iopl(cpu)) return raise(cpu, EXC_GP, 0);
  const flags = load<u32>(cpu, CPU_EFLAGS);
  if (!(flags & EFLAGS_IF)) store<u32>(cpu, 1, CPU_SHADOW);
  store<u32>(cpu, flags | EFLAGS_IF, CPU_EFLAGS);
  return 0;
}

/** CLAC (0) and STAC (1): EFLAGS.AC, which moves the access context under CR4.SMAP. */
export function set_access_check(cpu: u32, on: u32): u32 {
  if (cpl(cpu) != 0) return raise(cpu, EXC_UD, 0);
  const before = load<u32>(cpu, CPU_EFLAGS);
  store<u32>(cpu, on ? before | EFLAGS_AC : before & ~EFLAGS_AC, CPU_EFLAGS);
  update_flags(cpu, before);
  return 0;
}

/** Whether a store of `bytes` at stack offset `sp` would go through; nothing is stored. 1: fault recorded. */
function probe_stack(cpu: u32, sp: u64, bytes: u32): u32 {
  if (!mode64(cpu) && seg_check(cpu, SEG_SS, <u32>sp, bytes, 1)) return 1;
  const base: u64 = mode64(cpu) ? 0 : seg_base(cpu, SEG_SS);
  return mem_write(cpu, base + sp, bytes | MEM_STACK) ? 0 : 1;
}

/** Stores at a stack offset that was probed. */
function store_stack(cpu: u32, sp: u64, bytes: u32, value: u64): void {
  const base: u64 = mode64(cpu) ? 0 : seg_base(cpu, SEG_SS);
  const at = mem_write(cpu, base + sp, bytes | MEM_STACK);
  if (!at) return;
  store_sized(at, bytes, value);
  mem_commit(cpu);
}

/** ENTER with `level` above 0: pushes rBP, copies `level` - 1 frame pointers, pushes the new one. */
export function enter_frame(cpu: u32, size: u32, nesting: u32, allocation: u64): u32 {
  const level = nesting & 31;
  const bytes = size >> 3;
  const mask = stack_mask(cpu);
  const sp = gpr(cpu, RSP);
  const frame = (sp - bytes) & mask;
  const end = (frame - level * bytes - allocation) & mask;
  // Everything that can fault comes first. The frames may overlap, so each pointer is copied before the next is read.
  begin_pops();
  for (let i: u32 = 1; i < level; i++) peek(cpu, gpr(cpu, RBP) - sp - i * bytes, bytes);
  if (pop_fault) return 1;
  for (let i: u32 = 0; i <= level; i++) {
    if (probe_stack(cpu, (frame - i * bytes) & mask, bytes)) return 1;
  }
  if (probe_stack(cpu, end, bytes)) return 1;
  store_stack(cpu, frame, bytes, gpr(cpu, RBP));
  for (let i: u32 = 1; i < level; i++) {
    // `peek` is relative to rSP.
    store_stack(cpu, (frame - i * bytes) & mask, bytes, peek(cpu, gpr(cpu, RBP) - sp - i * bytes, bytes));
  }
  if (level > 0) store_stack(cpu, (frame - level * bytes) & mask, bytes, frame);
  set_sp(cpu, mask, end);
  if (size == 16) set_gpr(cpu, RBP, (gpr(cpu, RBP) & ~(<u64>0xffff)) | (frame & 0xffff));
  else set_gpr(cpu, RBP, mode64(cpu) ? frame : frame & 0xffffffff);
  return 0;
}
