// Segment descriptors in memory (SDM vol.3 3.4.5, 3.5, 5.8.3): reading, fields, accessed and busy bits.
//
// First dword:  limit 0-15, base 0-15 (bits 16-31)
// Second dword: base 16-23, type 8-11, S 12, DPL 13-14, P 15, limit 16-19, AVL 20, L 21, D/B 22, G 23, base 24-31
// Gate, first dword:  offset 0-15, selector (bits 16-31)
// Gate, second dword: count 0-4 or IST 0-2, type 8-11, S 12 (0), DPL 13-14, P 15, offset 16-31
// In IA-32e mode system descriptors have 16 bytes; the third dword holds base or offset 32-63.

import { ATTR_NULL, CPU_GDTR_BASE, CPU_GDTR_LIMIT, EXC_GP, SEG_LDTR } from './gen/layout';
import { mem_commit, sys_read, sys_write } from './mmu';
import { long_mode, raise, seg_attr, seg_base, seg_limit } from './state';

/** Both dwords, linear address and upper half of the descriptor read last. */
export let desc_lo: u32 = 0;
export let desc_hi: u32 = 0;
export let desc_at: u64 = 0;
export let desc_high_base: u64 = 0;

/** Attribute bits of a descriptor's second dword after a shift by 8: without the limit's bits 16-19. */
const ATTR_MASK: u32 = 0xf0ff;
/** Selector without its RPL: what error codes hold. */
export const SELECTOR_MASK: u32 = 0xfffc;
const SELECTOR_TI: u32 = 4;

/** System descriptor types (SDM vol.3 table 3-2). */
export const TYPE_TSS16: u32 = 1;
export const TYPE_LDT: u32 = 2;
export const TYPE_TSS16_BUSY: u32 = 3;
export const TYPE_CALL16: u32 = 4;
export const TYPE_TASK_GATE: u32 = 5;
export const TYPE_INT16: u32 = 6;
export const TYPE_TRAP16: u32 = 7;
export const TYPE_TSS32: u32 = 9;
export const TYPE_TSS32_BUSY: u32 = 11;
export const TYPE_CALL32: u32 = 12;
export const TYPE_INT32: u32 = 14;
export const TYPE_TRAP32: u32 = 15;
/** Bit of a TSS type that tells a busy one. */
export const TSS_BUSY: u32 = 2;

/** Results of `read_descriptor`. */
export const DESC_OK: u32 = 0;
/** The selector lies outside its table (or the LDT is not there); nothing is recorded. */
export const DESC_OUTSIDE: u32 = 1;
/** Reading memory faulted; the fault is recorded. */
export const DESC_FAULT: u32 = 2;

export function is_null(sel: u32): bool {
  return (sel & SELECTOR_MASK) == 0;
}
export function is_local(sel: u32): bool {
  return (sel & SELECTOR_TI) != 0;
}

/** Linear address of a descriptor if all `bytes` of it are in its table; sets desc_at. */
function locate(cpu: u32, sel: u32, bytes: u32): bool {
  const offset = sel & 0xfff8;
  let base = load<u64>(cpu, CPU_GDTR_BASE);
  let limit = load<u32>(cpu, CPU_GDTR_LIMIT);
  if (is_local(sel)) {
    if (seg_attr(cpu, SEG_LDTR) & ATTR_NULL) return false;
    base = seg_base(cpu, SEG_LDTR);
    limit = seg_limit(cpu, SEG_LDTR);
  }
  desc_at = base + offset;
  return <u64>offset + bytes - 1 <= <u64>limit;
}

/** Reads the 8-byte descriptor of a selector into the desc_* globals: DESC_*. */
export function read_descriptor(cpu: u32, sel: u32): u32 {
  if (!locate(cpu, sel, 8)) return DESC_OUTSIDE;
  const at = sys_read(cpu, desc_at, 8);
  if (!at) return DESC_FAULT;
  desc_lo = load<u32>(at);
  desc_hi = load<u32>(at, 4);
  desc_high_base = 0;
  return DESC_OK;
}

/** Reads a system descriptor: 16 bytes in IA-32e mode, where a bad upper half counts as outside. */
export function read_system_descriptor(cpu: u32, sel: u32): u32 {
  if (!long_mode(cpu)) return read_descriptor(cpu, sel);
  if (!locate(cpu, sel, 16)) return DESC_OUTSIDE;
  const at = sys_read(cpu, desc_at, 16);
  if (!at) return DESC_FAULT;
  desc_lo = load<u32>(at);
  desc_hi = load<u32>(at, 4);
  desc_high_base = (<u64>load<u32>(at, 8)) << 32;
  // The type field of the upper half has to be 0, so that it is not taken for a descriptor.
  return load<u32>(at, 12) & 0x1f00 ? DESC_OUTSIDE : DESC_OK;
}

/** Turns DESC_OUTSIDE into `vector` (selector | ext); 0 when the descriptor was read, else 1. */
export function descriptor_or(cpu: u32, status: u32, vector: u32, sel: u32, ext: u32): u32 {
  if (status == DESC_OK) return 0;
  return status == DESC_FAULT ? 1 : raise(cpu, vector, (sel & SELECTOR_MASK) | ext);
}

/** Reads a code or data descriptor; 1 after #GP(selector) or a page fault. */
export function fetch_descriptor(cpu: u32, sel: u32): u32 {
  return descriptor_or(cpu, read_descriptor(cpu, sel), EXC_GP, sel, 0);
}

export function base_of(lo: u32, hi: u32): u64 {
  return (lo >> 16) | ((hi & 0xff) << 16) | (hi & 0xff000000);
}
/** Limit in bytes. */
export function limit_of(lo: u32, hi: u32): u32 {
  const limit = (lo & 0xffff) | (hi & 0xf0000);
  return hi & 0x800000 ? (limit << 12) | 0xfff : limit;
}
export function attr_of(hi: u32): u32 {
  return (hi >> 8) & ATTR_MASK;
}
export function dpl_of(hi: u32): u32 {
  return (hi >> 13) & 3;
}
export function type_of(hi: u32): u32 {
  return (hi >> 8) & 15;
}
export function present(hi: u32): bool {
  return (hi & 0x8000) != 0;
}
/** S: a code or data segment, not a system descriptor. */
export function is_segment(hi: u32): bool {
  return (hi & 0x1000) != 0;
}
export function is_code(hi: u32): bool {
  return (hi & 0x1800) == 0x1800;
}
export function is_conforming(hi: u32): bool {
  return (hi & 0x1c00) == 0x1c00;
}
/** Data that may be written. */
export function is_writable_data(hi: u32): bool {
  return (hi & 0x1a00) == 0x1200;
}
/** Data, or code that may be read. */
export function is_readable(hi: u32): bool {
  return (hi & 0x0a00) != 0x0800;
}
/** 64-bit code: L set. */
export function is_code64(hi: u32): bool {
  return (hi & 0x200000) != 0;
}
/** D/B. */
export function is_big(hi: u32): bool {
  return (hi & 0x400000) != 0;
}

/** Sets the accessed bit of the descriptor at `at`, whose second dword is `hi`, if it is clear. 1: fault. */
export function set_accessed(cpu: u32, at: u64, hi: u32): u32 {
  return hi & 0x100 ? 0 : store_access_byte(cpu, at, (hi >> 8) | 1);
}

/** Writes byte 5 (type, S, DPL, P) of the descriptor at `at`. 1: fault. */
export function store_access_byte(cpu: u32, at: u64, value: u32): u32 {
  const to = sys_write(cpu, at + 5, 1);
  if (!to) return 1;
  store<u8>(to, <u8>value);
  mem_commit(cpu);
  return 0;
}
