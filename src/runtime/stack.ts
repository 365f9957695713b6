// Stack frames of control transfers: popping from the current stack, pushing on any stack. A frame to push is
// first laid out in slots (in `scratch`), so that all of it is checked before any of it is written.

import {
  attr_of,
  base_of,
  desc_at,
  desc_hi,
  desc_lo,
  is_big,
  limit_of,
  SELECTOR_MASK,
  set_accessed,
} from './descriptors';
import {
  CPU_EXC_ERROR,
  CPU_EXC_VECTOR,
  CPU_SCRATCH,
  EXC_SS,
  EXC_TS,
  SEG_SS,
  SEG_TR,
  TLB_CTX_SUPERVISOR,
} from './gen/layout';
import { MEM_STACK, mem_commit, mem_read, mem_write_in, sys_read } from './mmu';
import { check_stack_selector, inside_limit, seg_check } from './segments';
import {
  current_context,
  gpr,
  long_mode,
  mode64,
  RSP,
  raise,
  seg_attr,
  seg_base,
  seg_limit,
  seg_sel,
  set_sp,
  stack_mask,
} from './state';

/** First slot's offset in scratch: the lower part stays free for the caller. */
const SLOTS: u32 = CPU_SCRATCH + 64 * 8;
export const MAX_SLOTS: u32 = 64;
const TSS_TYPE_32: u32 = 8;

/** Set to 1 by a pop that recorded a fault; later pops then do nothing. */
export let pop_fault: u32 = 0;
/** Stack pointer after the last push_slots. */
export let pushed_sp: u64 = 0;
/** Stack pointer, selector and descriptor that inner_stack found. */
export let inner_sp: u64 = 0;
export let inner_ss: u32 = 0;
export let inner_lo: u32 = 0;
export let inner_hi: u32 = 0;
export let inner_at: u64 = 0;

/** Begins a sequence of pops. */
export function begin_pops(): void {
  pop_fault = 0;
}

/** `size` (2, 4, 8) bytes at rSP + `offset` (modulo the stack's width), zero-extended; rSP stays. See pop_fault. */
export function peek(cpu: u32, offset: u64, size: u32): u64 {
  if (pop_fault) return 0;
  const sp = (gpr(cpu, RSP) + offset) & stack_mask(cpu);
  if (!mode64(cpu) && seg_check(cpu, SEG_SS, <u32>sp, size, 0)) {
    pop_fault = 1;
    return 0;
  }
  const at = mem_read(cpu, mode64(cpu) ? sp : seg_base(cpu, SEG_SS) + sp, size | MEM_STACK);
  if (!at) {
    pop_fault = 1;
    return 0;
  }
  return load_sized(at, size);
}

export function load_sized(at: u32, size: u32): u64 {
  if (size == 8) return load<u64>(at);
  if (size == 4) return load<u32>(at);
  return load<u16>(at);
}
export function store_sized(at: u32, size: u32, value: u64): void {
  if (size == 8) store<u64>(at, value);
  else if (size == 4) store<u32>(at, <u32>value);
  else store<u16>(at, <u16>value);
}

/** Sets the value of slot `i`; slot 0 is pushed first, to the highest address. */
export function set_slot(cpu: u32, i: u32, value: u64): void {
  store<u64>(cpu + i * 8, value, SLOTS);
}

/**
 * Pushes `count` slots of `size` bytes on a stack: rSP `sp`, of which `mask` bits count, in a segment with this
 * base, limit and attributes (only with a mask below 64 bits), with the rights of access context `ctx`. #SS
 * carries `error`. Leaves rSP in pushed_sp. 1: fault recorded, nothing written.
 */
export function push_slots(
  cpu: u32,
  count: u32,
  size: u32,
  sp: u64,
  mask: u64,
  base: u64,
  limit: u32,
  attr: u32,
  ctx: u32,
  error: u32,
): u32 {
  const flat = mask == ~(<u64>0);
  for (let i: u32 = 0; i < count; i++) {
    const offset = (sp - size * (i + 1)) & mask;
    if (!flat && !inside_limit(attr, limit, <u32>offset, size)) return raise(cpu, EXC_SS, error);
    if (!mem_write_in(cpu, flat ? offset : base + offset, size | MEM_STACK, ctx)) {
      if (load<u32>(cpu, CPU_EXC_VECTOR) == EXC_SS) store<u32>(cpu, error, CPU_EXC_ERROR);
      return 1;
    }
  }
  for (let i: u32 = 0; i < count; i++) {
    const offset = (sp - size * (i + 1)) & mask;
    const at = mem_write_in(cpu, flat ? offset : base + offset, size | MEM_STACK, ctx);
    if (!at) return 1;
    store_sized(at, size, load<u64>(cpu + i * 8, SLOTS));
    mem_commit(cpu);
  }
  pushed_sp = (sp - size * count) & mask;
  return 0;
}

/** Pushes slots on the current stack; rSP itself is the caller's to set (`set_sp` with pushed_sp). */
export function push_current(cpu: u32, count: u32, size: u32, error: u32): u32 {
  const mask = stack_mask(cpu);
  return push_slots(
    cpu,
    count,
    size,
    gpr(cpu, RSP),
    mask,
    seg_base(cpu, SEG_SS),
    seg_limit(cpu, SEG_SS),
    seg_attr(cpu, SEG_SS),
    current_context(cpu),
    error,
  );
}

/** Pushes one value of `size` bytes on the current stack and moves rSP. */
export function push_value(cpu: u32, size: u32, value: u64): u32 {
  set_slot(cpu, 0, value);
  if (push_current(cpu, 1, size, 0)) return 1;
  set_sp(cpu, stack_mask(cpu), pushed_sp);
  return 0;
}

/** Reads a stack pointer of IA-32e mode at `offset` of the TSS into inner_sp. 1: #TS or a page fault. */
export function tss_stack64(cpu: u32, offset: u32, ext: u32): u32 {
  if (offset + 7 > seg_limit(cpu, SEG_TR)) {
    return raise(cpu, EXC_TS, (seg_sel(cpu, SEG_TR) & SELECTOR_MASK) | ext);
  }
  const at = sys_read(cpu, seg_base(cpu, SEG_TR) + offset, 8);
  if (!at) return 1;
  inner_sp = load<u64>(at);
  return 0;
}

/**
 * Finds the stack for privilege `level` (0-2) in the TSS (SDM vol.3 5.8.5) into inner_*, and checks its selector.
 * In IA-32e mode SS becomes null. 1: fault recorded with `ext` in its error code.
 */
export function inner_stack(cpu: u32, level: u32, ext: u32): u32 {
  inner_lo = 0;
  inner_hi = 0;
  inner_ss = level;
  if (long_mode(cpu)) return tss_stack64(cpu, 4 + level * 8, ext);
  const wide = (seg_attr(cpu, SEG_TR) & TSS_TYPE_32) != 0;
  const offset: u32 = wide ? 4 + level * 8 : 2 + level * 4;
  const bytes: u32 = wide ? 6 : 4;
  if (offset + bytes - 1 > seg_limit(cpu, SEG_TR)) {
    return raise(cpu, EXC_TS, (seg_sel(cpu, SEG_TR) & SELECTOR_MASK) | ext);
  }
  const at = sys_read(cpu, seg_base(cpu, SEG_TR) + offset, bytes);
  if (!at) return 1;
  inner_sp = wide ? load<u32>(at) : load<u16>(at);
  inner_ss = load<u16>(at + bytes - 2);
  if (check_stack_selector(cpu, inner_ss, level, EXC_TS, ext)) return 1;
  inner_lo = desc_lo;
  inner_hi = desc_hi;
  inner_at = desc_at;
  return 0;
}

/** Bits of the stack pointer on the stack that inner_stack found. */
export function inner_mask(cpu: u32): u64 {
  if (long_mode(cpu)) return ~(<u64>0);
  return is_big(inner_hi) ? 0xffffffff : 0xffff;
}

/** Pushes slots on the stack that inner_stack found, and marks its segment accessed. 1: fault recorded. */
export function push_inner(cpu: u32, count: u32, size: u32, ext: u32): u32 {
  if (inner_hi && set_accessed(cpu, inner_at, inner_hi)) return 1;
  return push_slots(
    cpu,
    count,
    size,
    inner_sp,
    inner_mask(cpu),
    base_of(inner_lo, inner_hi),
    limit_of(inner_lo, inner_hi),
    attr_of(inner_hi),
    TLB_CTX_SUPERVISOR,
    long_mode(cpu) ? ext : (inner_ss & SELECTOR_MASK) | ext,
  );
}

/** Access context of the processor's own pushes: supervisor when a more privileged level is entered. */
export function stack_context(cpu: u32, inner: bool): u32 {
  return inner ? TLB_CTX_SUPERVISOR : current_context(cpu);
}
