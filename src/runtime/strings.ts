// Many iterations of REP MOVS and REP STOS at once, as far as both sides stay within a page of RAM that the TLB
// knows. They return how many elements were done; with 0 the caller carries out one iteration in the ordinary
// way, which also raises what there is to raise.

import {
  CPU_BUDGET,
  CPU_EFLAGS,
  CPU_GPR,
  CPU_ITLB_CTX,
  CPU_SEG_BASE,
  CPU_TLB_PTR,
  EFLAGS_DF,
  ITLB_CTX_NEVER,
  SEG_ES,
  TLB_ADDEND,
  TLB_ENTRIES,
  TLB_ENTRY_SIZE,
  TLB_TAG_READ,
  TLB_TAG_WRITE,
} from './gen/layout';
import { probe_ram } from './mmu';
import { seg_check } from './segments';
import { gpr, mode64, RAX, RCX, set_gpr } from './state';

const RSI: u32 = 6;
const RDI: u32 = 7;
/** Up to so many bytes a loop here is faster than memory.copy and memory.fill, which leave WebAssembly. */
const SHORT: u32 = 128;

/** Every instruction is looked at: a trap may be due after each iteration. */
function stepped(cpu: u32): bool {
  return (load<u32>(cpu, CPU_ITLB_CTX) & ITLB_CTX_NEVER) != 0;
}

function mask_of(asize: u32): u64 {
  return asize == 64 ? ~(<u64>0) : asize == 32 ? 0xffffffff : 0xffff;
}

/** Writes the low `asize` bits of a register: 16 bits keep the rest, 32 bits clear it. */
function set_counter(cpu: u32, n: u32, asize: u32, value: u64): void {
  if (asize == 16) store<u16>(cpu + n * 8, <u16>value, CPU_GPR);
  else set_gpr(cpu, n, asize == 32 ? value & 0xffffffff : value);
}

/** Linear address of an offset; in legacy modes wrapped to 32 bits. */
function linear(cpu: u32, seg_field: u32, offset: u64): u64 {
  const va = load<u64>(cpu + seg_field) + offset;
  return mode64(cpu) ? va : va & 0xffffffff;
}

/** Host address if the TLB of the current context lets the access go straight to memory, else 0. */
function direct(cpu: u32, va: u64, tag: u32): u32 {
  const entry = load<u32>(cpu, CPU_TLB_PTR) + (<u32>(va >> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_SIZE;
  return load<u64>(entry + tag) == (va & ~(<u64>0xfff)) ? <u32>va + load<u32>(entry, TLB_ADDEND) : 0;
}
function readable(cpu: u32, va: u64): u32 {
  const at = direct(cpu, va, TLB_TAG_READ);
  if (at != 0) return at;
  return probe_ram(cpu, va, false) ? direct(cpu, va, TLB_TAG_READ) : 0;
}
function writable(cpu: u32, va: u64): u32 {
  const at = direct(cpu, va, TLB_TAG_WRITE);
  if (at != 0) return at;
  return probe_ram(cpu, va, true) ? direct(cpu, va, TLB_TAG_WRITE) : 0;
}

/** Bytes from an offset to the end of its page or of the address space of this address size. */
function room(va: u64, offset: u64, mask: u64): u64 {
  const page: u64 = 4096 - (va & 0xfff);
  const space = mask - offset;
  return space < page - 1 ? space + 1 : page;
}

function seg_number(field: u32): u32 {
  return (field - CPU_SEG_BASE) >> 3;
}
/** In legacy modes: the whole range lies within the segment. */
function within(cpu: u32, field: u32, offset: u64, bytes: u32, write: u32): bool {
  return mode64(cpu) || seg_check(cpu, seg_number(field), <u32>offset, bytes, write) == 0;
}
/** The field of the base of ES: no base in 64-bit mode, where the offset is the address. */
function destination(cpu: u32, offset: u64): u64 {
  return mode64(cpu) ? offset : (load<u64>(cpu, CPU_SEG_BASE + SEG_ES * 8) + offset) & 0xffffffff;
}

/** Backwards; or the chain is to come back after one iteration, as a single step asks. */
function one_at_a_time(cpu: u32): bool {
  return (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_DF) != 0 || load<i32>(cpu, CPU_BUDGET) <= 0;
}

export function rep_movs(cpu: u32, width: u32, asize: u32, seg_field: u32): u64 {
  if (stepped(cpu)) return 0;
  if (one_at_a_time(cpu)) return 0;
  const mask = mask_of(asize);
  const shift: u64 = ctz(width >> 3);
  const source = gpr(cpu, RSI) & mask;
  const target = gpr(cpu, RDI) & mask;
  const from = linear(cpu, seg_field, source);
  const to = destination(cpu, target);
  const bytes = min(room(from, source, mask), room(to, target, mask));
  const count = min(bytes >> shift, gpr(cpu, RCX) & mask);
  if (count == 0) return 0;
  const length = <u32>(count << shift);
  if (!within(cpu, seg_field, source, length, 0) || !within(cpu, CPU_SEG_BASE + SEG_ES * 8, target, length, 1))
    return 0;
  const read_at = readable(cpu, from);
  if (read_at == 0) return 0;
  const write_at = writable(cpu, to);
  if (write_at == 0) return 0;
  // Forwards over itself a string repeats what lies between the two addresses (SDM vol.2 MOVS).
  if (write_at - read_at < length && write_at != read_at) copy_forward(write_at, read_at, length, width >> 3);
  else if (length <= SHORT) copy_short(write_at, read_at, length);
  else memory.copy(write_at, read_at, length);
  set_counter(cpu, RSI, asize, source + length);
  set_counter(cpu, RDI, asize, target + length);
  set_counter(cpu, RCX, asize, (gpr(cpu, RCX) & mask) - count);
  return count;
}

/** Copies at most SHORT bytes to where no byte that is still to be read lies. */
function copy_short(to: u32, from: u32, length: u32): void {
  const words = length & ~7;
  let i: u32 = 0;
  for (; i < words; i += 8) store<u64>(to + i, load<u64>(from + i));
  if (length & 4) {
    store<u32>(to + i, load<u32>(from + i));
    i += 4;
  }
  for (; i < length; i++) store<u8>(to + i, load<u8>(from + i));
}

function copy_forward(to: u32, from: u32, length: u32, size: u32): void {
  for (let i: u32 = 0; i < length; i += size) {
    if (size == 1) store<u8>(to + i, load<u8>(from + i));
    else if (size == 2) store<u16>(to + i, load<u16>(from + i));
    else if (size == 4) store<u32>(to + i, load<u32>(from + i));
    else store<u64>(to + i, load<u64>(from + i));
  }
}

export function rep_stos(cpu: u32, width: u32, asize: u32, _seg_field: u32): u64 {
  if (stepped(cpu)) return 0;
  if (one_at_a_time(cpu)) return 0;
  const mask = mask_of(asize);
  const shift: u64 = ctz(width >> 3);
  const target = gpr(cpu, RDI) & mask;
  const to = destination(cpu, target);
  const count = min(room(to, target, mask) >> shift, gpr(cpu, RCX) & mask);
  if (count == 0) return 0;
  const length = <u32>(count << shift);
  if (!within(cpu, CPU_SEG_BASE + SEG_ES * 8, target, length, 1)) return 0;
  const at = writable(cpu, to);
  if (at == 0) return 0;
  fill(at, gpr(cpu, RAX), length, width);
  set_counter(cpu, RDI, asize, target + length);
  set_counter(cpu, RCX, asize, (gpr(cpu, RCX) & mask) - count);
  return count;
}

/** Fills with an element, by bytes where all bytes of the element are the same. */
function fill(at: u32, value: u64, length: u32, width: u32): void {
  let pattern = value;
  if (width == 8) pattern = (value & 0xff) * 0x0101010101010101;
  else if (width == 16) pattern = (value & 0xffff) * 0x0001000100010001;
  else if (width == 32) pattern = (value & 0xffffffff) * 0x0000000100000001;
  if (length > SHORT && pattern == (pattern & 0xff) * 0x0101010101010101) {
    memory.fill(at, <u8>pattern, length);
    return;
  }
  let i: u32 = 0;
  for (; i + 8 <= length; i += 8) store<u64>(at + i, pattern);
  for (; i < length; i++) store<u8>(at + i, <u8>(pattern >> ((i & 7) << 3)));
}

function min(a: u64, b: u64): u64 {
  return a < b ? a : b;
}
