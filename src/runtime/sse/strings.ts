// PCMPESTRI and its relatives, and CRC32 (SDM vol.2 4.1, CRC32).

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

/** Elements as numbers; the row hands over vectors, so they lie here while they are looked at. */
const first = memory.data(64);
const second = memory.data(64);

function unpack(v: v128, imm: i32, to: usize): void {
  for (let i: u32 = 0; i < 16; i++) {
    const byte = u32(load<u8>(scratch + i));
    if ((imm & WORDS) == 0) {
      store<i32>(to + (i << 2), imm & SIGNED ? i32(i8(byte)) : i32(byte));
    } else if (i < 8) {
      const word = u32(load<u16>(scratch + (i << 1)));
      store<i32>(to + (i << 2), imm & SIGNED ? i32(i16(word)) : i32(word));
    }
  }
}
const scratch = memory.data(16);

function take(v: v128, imm: i32, to: usize): void {
  v128.store(scratch, v);
  unpack(v, imm, to);
}

/** Number of elements before the first zero. */
function terminated(at: usize, most: i32): i32 {
  let n = 0;
  while (n < most && load<i32>(at + (n << 2)) != 0) n++;
  return n;
}

function a(i: i32): i32 {
  return load<i32>(first + (i << 2));
}
function b(i: i32): i32 {
  return load<i32>(second + (i << 2));
}

/** Whether element j of the second string is one of the first, or in one of its ranges (pairs of limits). */
function isOneOf(j: i32, la: i32): bool {
  for (let i = 0; i < la; i++) if (a(i) == b(j)) return true;
  return false;
}
function isInRange(j: i32, la: i32): bool {
  for (let i = 0; i + 1 < la; i += 2) if (a(i) <= b(j) && b(j) <= a(i + 1)) return true;
  return false;
}
/** Whether the first string starts at element j of the second, as far as that goes. */
function startsAt(j: i32, la: i32, lb: i32, count: i32): bool {
  for (let i = 0; i < la && i + j < count; i++) if (i + j >= lb || a(i) != b(i + j)) return false;
  return true;
}

/** IntRes1 (SDM vol.2 table 4-3 for elements behind the end of a string). */
function aggregate(mode: i32, la: i32, lb: i32, count: i32): i32 {
  let found = 0;
  for (let j = 0; j < count; j++) {
    let hit: bool;
    if (mode == ANY_OF) hit = j < lb && isOneOf(j, la);
    else if (mode == RANGES) hit = j < lb && isInRange(j, la);
    else if (mode == EACH) hit = j < la && j < lb ? a(j) == b(j) : j >= la && j >= lb;
    else hit = startsAt(j, la, lb, count);
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
  take(va, imm, first);
  take(vb, imm, second);
  const la = na < 0 ? terminated(first, count) : na;
  const lb = nb < 0 ? terminated(second, count) : nb;
  const all = (1 << count) - 1;
  let found = aggregate((imm >> 2) & 3, la, lb, count);
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
