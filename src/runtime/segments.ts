// Segment registers: loading them in every mode, and checks of accesses through them.

import {
  attr_of,
  base_of,
  desc_at,
  desc_hi,
  desc_lo,
  descriptor_or,
  dpl_of,
  is_conforming,
  is_null,
  is_readable,
  is_segment,
  is_writable_data,
  limit_of,
  present,
  read_descriptor,
  SELECTOR_MASK,
  set_accessed,
} from './descriptors';
import {
  ATTR_CODE,
  ATTR_DB,
  ATTR_DPL_SHIFT,
  ATTR_EXPAND_DOWN,
  ATTR_NULL,
  ATTR_WRITABLE,
  CPU_SHADOW,
  EXC_GP,
  EXC_NP,
  EXC_SS,
  EXC_UD,
  SEG_CS,
  SEG_GS,
  SEG_SS,
} from './gen/layout';
import {
  canonical,
  cpl,
  mode64,
  protected_mode,
  raise,
  seg_attr,
  seg_limit,
  set_null_segment,
  set_segment,
  update_context,
  v86_mode,
} from './state';

/** present, DPL 3, writable data, accessed: every segment of virtual-8086 mode. */
export const ATTR_V86: u32 = 0xf3;
/** present, DPL 0, writable data, accessed. */
export const ATTR_DATA: u32 = 0x93;

/** Loads a segment register as real mode and virtual-8086 mode do: base = selector * 16. */
export function load_real_segment(cpu: u32, seg: u32, sel: u32): void {
  let limit = seg_limit(cpu, seg);
  let attr = seg_attr(cpu, seg);
  if (v86_mode(cpu)) {
    limit = 0xffff;
    attr = ATTR_V86;
  } else if (attr & ATTR_NULL) {
    limit = 0xffff;
    attr = ATTR_DATA;
  }
  set_segment(cpu, seg, sel, <u64>((sel & 0xffff) << 4), limit, attr);
}

/** Loads a segment register from a descriptor that passed its checks. */
export function load_checked_segment(cpu: u32, seg: u32, sel: u32, lo: u32, hi: u32): void {
  set_segment(cpu, seg, sel, base_of(lo, hi), limit_of(lo, hi), attr_of(hi) | 1);
}

/**
 * Checks a selector for SS at privilege `level` and leaves its descriptor in the desc_* globals (SDM vol.2 MOV).
 * `vector` is #GP, or #TS in a stack switch; `ext` is OR-ed to error codes. 1: fault recorded.
 */
export function check_stack_selector(cpu: u32, sel: u32, level: u32, vector: u32, ext: u32): u32 {
  const error = (sel & SELECTOR_MASK) | ext;
  if (is_null(sel)) return raise(cpu, vector, ext);
  if (descriptor_or(cpu, read_descriptor(cpu, sel), vector, sel, ext)) return 1;
  if ((sel & 3) != level || !is_writable_data(desc_hi) || dpl_of(desc_hi) != level) return raise(cpu, vector, error);
  return present(desc_hi) ? 0 : raise(cpu, EXC_SS, error);
}

/** Checks a selector, not null, for DS, ES, FS or GS at privilege `level`; as `check_stack_selector`. */
export function check_data_selector(cpu: u32, sel: u32, level: u32, vector: u32): u32 {
  const error = sel & SELECTOR_MASK;
  if (descriptor_or(cpu, read_descriptor(cpu, sel), vector, sel, 0)) return 1;
  if (!is_segment(desc_hi) || !is_readable(desc_hi)) return raise(cpu, vector, error);
  const dpl = dpl_of(desc_hi);
  if (!is_conforming(desc_hi) && ((sel & 3) > dpl || level > dpl)) return raise(cpu, vector, error);
  return present(desc_hi) ? 0 : raise(cpu, EXC_NP, error);
}

/** MOV SS in protected mode. */
function load_stack_segment(cpu: u32, sel: u32): u32 {
  const level = cpl(cpu);
  if (is_null(sel) && mode64(cpu) && level != 3 && (sel & 3) == level) {
    set_null_segment(cpu, SEG_SS, sel, level);
    return 0;
  }
  if (check_stack_selector(cpu, sel, level, EXC_GP, 0)) return 1;
  return load_described_segment(cpu, SEG_SS, sel);
}

/** MOV DS, ES, FS, GS in protected mode. */
function load_data_segment(cpu: u32, seg: u32, sel: u32): u32 {
  if (is_null(sel)) {
    set_null_segment(cpu, seg, sel, 0);
    return 0;
  }
  if (check_data_selector(cpu, sel, cpl(cpu), EXC_GP)) return 1;
  return load_described_segment(cpu, seg, sel);
}

/** Loads a segment register from the descriptor in the desc_* globals, setting its accessed bit. 1: fault. */
export function load_described_segment(cpu: u32, seg: u32, sel: u32): u32 {
  const lo = desc_lo;
  const hi = desc_hi;
  if (set_accessed(cpu, desc_at, hi)) return 1;
  load_checked_segment(cpu, seg, sel, lo, hi);
  return 0;
}

/** MOV or POP to ES, SS, DS, FS, GS in any mode; SS starts an interrupt shadow. 1: fault recorded. */
export function load_segment(cpu: u32, seg: u32, selector: u32): u32 {
  const sel = selector & 0xffff;
  if (seg == SEG_CS || seg > SEG_GS) return raise(cpu, EXC_UD, 0);
  if (!protected_mode(cpu)) load_real_segment(cpu, seg, sel);
  else if (seg == SEG_SS ? load_stack_segment(cpu, sel) : load_data_segment(cpu, seg, sel)) return 1;
  if (seg == SEG_SS) {
    store<u32>(cpu, 2, CPU_SHADOW);
    update_context(cpu);
  }
  return 0;
}

/** LDS, LES, LFS, LGS, LSS: like load_segment, but LSS, which loads rSP too, needs no interrupt shadow. */
export function load_far_segment(cpu: u32, seg: u32, selector: u32, _unused: u32): u32 {
  const shadow = load<u32>(cpu, CPU_SHADOW);
  if (load_segment(cpu, seg, selector)) return 1;
  store<u32>(cpu, shadow, CPU_SHADOW);
  return 0;
}

/** A return to an outer level makes DS, ES, FS, GS null when `level` may not use them (SDM vol.3 5.8.6). */
export function drop_inner_segments(cpu: u32, level: u32): void {
  for (let seg: u32 = 0; seg <= SEG_GS; seg++) {
    if (seg == SEG_CS || seg == SEG_SS) continue;
    const attr = seg_attr(cpu, seg);
    const conforming = (attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == (ATTR_CODE | ATTR_EXPAND_DOWN);
    if (!(attr & ATTR_NULL) && !conforming && ((attr >> ATTR_DPL_SHIFT) & 3) < level) set_null_segment(cpu, seg, 0, 0);
  }
}

/** Whether `size` bytes at `offset` lie inside a segment with these attributes and limit (SDM vol.3 5.3). */
export function inside_limit(attr: u32, limit: u32, offset: u32, size: u32): bool {
  const last = <u64>offset + size - 1;
  if ((attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == ATTR_EXPAND_DOWN) {
    return offset > limit && last <= (attr & ATTR_DB ? <u64>0xffffffff : <u64>0xffff);
  }
  return last <= <u64>limit;
}

/**
 * Checks an access through a segment register outside 64-bit mode: null, type, limit. Non-zero: #GP(0), or
 * #SS(0) for SS, is recorded.
 */
export function seg_check(cpu: u32, seg: u32, offset: u32, size: u32, write: u32): u32 {
  const attr = seg_attr(cpu, seg);
  const vector = seg == SEG_SS ? EXC_SS : EXC_GP;
  if (attr & ATTR_NULL) return raise(cpu, vector, 0);
  if (!inside_limit(attr, seg_limit(cpu, seg), offset, size)) return raise(cpu, vector, 0);
  if (!protected_mode(cpu)) return 0;
  // Bit 1 of the type is "writable" of data and "readable" of code.
  const code = (attr & ATTR_CODE) != 0;
  const allowed = write ? !code && (attr & ATTR_WRITABLE) != 0 : !code || (attr & ATTR_WRITABLE) != 0;
  return allowed ? 0 : raise(cpu, vector, 0);
}

/** 64-bit mode: `size` bytes at `va` have canonical addresses, else #GP(0), or #SS(0) for SS. */
export function long_check(cpu: u32, seg: u32, va: u64, size: u32): u32 {
  if (canonical(va) && canonical(va + size - 1)) return 0;
  return raise(cpu, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}
