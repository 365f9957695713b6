// PCMPESTRI and its relatives, and CRC32 (SDM vol.2 4.1, CRC32).

import { CPU_SCRATCH } from '../gen/layout';

/** Immediate: 0 words, 1 signed, 2-3 aggregation, 4 negative polarity, 5 only within the second string. */
const WORDS: i32 = 1;
const SIGNED: i32 = 2;
const NEGATED: i32 = 16;
const WITHIN: i32 = 32;

const ANY_OF: i32 = 0;
const RANGES: i32 = 1;
const EACH: i32 = 2;

// EFLAGS bits of the result: CF found any, ZF second string ends here, SF first one does, OF element 0 found.
const CF: i32 = 1;
const ZF: i32 = 0x40;
const SF: i32 = 0x80;
const OF: i32 = 0x800;

// Elements as numbers, 16 of i32 for each string, and the bytes they come from: in the vCPU's scratch area.
const FIRST: u32 = CPU_SCRATCH;
const SECOND: u32 = CPU_SCRATCH + 64;
const BYTES: u32 = CPU_SCRATCH + 128;

function take(cpu: u32, v: v128, imm: i32, to: u32): void {
  const bytes = cpu + BYTES;
  v128.store(bytes, v);
  for (let i: u32 = 0; i < 16; i++) {
    if ((imm & WORDS) == 0) {
      store<i32>(to + (i << 2), imm & SIGNED ? i32(load<i8>(bytes + i)) : i32(load<u8>(bytes + i)));
    } else if (i < 8) {
      const at = bytes + (i << 1);
      store<i32>(to + (i << 2), imm & SIGNED ? i32(load<i16>(at)) : i32(load<u16>(at)));
    }
  }
}

/** Number of elements before the first zero. */
function terminated(at: u32, most: i32): i32 {
  let n = 0;
  while (n < most && load<i32>(at + (n << 2)) != 0) n++;
  return n;
}

function a(cpu: u32, i: i32): i32 {
  return load<i32>(cpu + (i << 2), FIRST);
}
function b(cpu: u32, i: i32): i32 {
  return load<i32>(cpu + (i << 2), SECOND);
}

/** Whether element j of the second string is one of the first, or in one of its ranges (pairs of limits). */
function isOneOf(cpu: u32, j: i32, la: i32): bool {
  for (let i = 0; i < la; i++) if (a(cpu, i) == b(cpu, j)) return true;
  return false;
}
function isInRange(cpu: u32, j: i32, la: i32): bool {
  for (let i = 0; i + 1 < la; i += 2) if (a(cpu, i) <= b(cpu, j) && b(cpu, j) <= a(cpu, i + 1)) return true;
  return false;
}
/** Whether the first string starts at element j of the second, as far as that goes. */
function startsAt(cpu: u32, j: i32, la: i32, lb: i32, count: i32): bool {
  for (let i = 0; i < la && i + j < count; i++) if (i + j >= lb || a(cpu, i) != b(cpu, i + j)) return false;
  return true;
}

/** IntRes1 (SDM vol.2 table 4-3 for elements behind the end of a string). */
function aggregate(cpu: u32, mode: i32, la: i32, lb: i32, count: i32): i32 {
  let found = 0;
  for (let j = 0; j < count; j++) {
    let hit: bool;
    if (mode == ANY_OF) hit = j < lb && isOneOf(cpu, j, la);
    else if (mode == RANGES) hit = j < lb && isInRange(cpu, j, la);
    else if (mode == EACH) hit = j < la && j < lb ? a(cpu, j) == b(cpu, j) : j >= la && j >= lb;
    else hit = startsAt(cpu, j, la, lb, count);
    if (hit) found |= 1 << j;
  }
  return found;
}

/**
 * Compares strings. Lengths are 0-16, or -1 for a string that ends at a zero element. Returns the elements found
 * (IntRes2) in bits 0-15 and EFLAGS bits 0-11 in bits 16-27.
 */
export function sse_compare_strings(cpu: u32, va: v128, vb: v128, na: i32, nb: i32, imm: i32): i32 {
  const count = imm & WORDS ? 8 : 16;
  take(cpu, va, imm, cpu + FIRST);
  take(cpu, vb, imm, cpu + SECOND);
  const la = na < 0 ? terminated(cpu + FIRST, count) : na;
  const lb = nb < 0 ? terminated(cpu + SECOND, count) : nb;
  const all = (1 << count) - 1;
  let found = aggregate(cpu, (imm >> 2) & 3, la, lb, count);
  if (imm & NEGATED) found ^= imm & WITHIN ? (1 << lb) - 1 : all;
  let flags = found != 0 ? CF : 0;
  if (lb < count) flags |= ZF;
  if (la < count) flags |= SF;
  if (found & 1) flags |= OF;
  return found | (flags << 16);
}

/** Polynomial 11EDC6F41h, bits reversed. */
const POLYNOMIAL: u32 = 0x82f63b78;

/** CRC32 over `bytes` (1, 2, 4, 8) of `data`, lowest first. */
export function sse_crc32(cpu: u32, crc: u32, data: u64, bytes: i32): u32 {
  let c = crc;
  let rest = data;
  for (let i = 0; i < bytes; i++, rest >>= 8) {
    c ^= u32(rest & 0xff);
    for (let bit = 0; bit < 8; bit++) c = (c >> 1) ^ (c & 1 ? POLYNOMIAL : 0);
  }
  return c;
}
