// Values that are awkward for arithmetic: limits, signs, carries; for integers, vectors and floating point. They are
// written as words into records, because most of the time of making cases goes here.
import type { Random } from '../isa/random.ts';

const EDGES: readonly bigint[] = [
  0n,
  1n,
  2n,
  0xffff_ffff_ffff_ffffn,
  0xffff_ffff_ffff_fffen,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0xffff_ffff_8000_0000n,
  0x7fff_ffff_ffff_ffffn,
  0x8000_0000_0000_0000n,
  0x5555_5555_5555_5555n,
  0x9999_9999_9999_9999n,
  0x0102_0408_1020_4080n,
];

/** An integer of 64 bits: an edge, a small one, or anything. */
export function awkward(random: Random): bigint {
  const kind = random.below(4);
  if (kind === 0) return BigInt(random.below(80));
  if (kind === 1) return random.u64();
  return random.pick(EDGES);
}

const F32: readonly number[] = [
  0, 0x8000_0000, 0x3f80_0000, 0xbf80_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 0xffc1_2345, 1,
  0x8000_0001, 0x007f_ffff, 0x0080_0000, 0x7f7f_ffff, 0x4f00_0000, 0xcf00_0000, 0x4b00_0001, 0x3eff_ffff, 0x3f00_0001,
]; // biome-ignore format: a table
const F64: readonly bigint[] = [
  0n, 0x8000_0000_0000_0000n, 0x3ff0_0000_0000_0000n, 0xbff0_0000_0000_0000n, 0x7ff0_0000_0000_0000n,
  0xfff0_0000_0000_0000n, 0x7ff8_0000_0000_0000n, 0x7ff0_0000_0000_0001n, 1n, 0x000f_ffff_ffff_ffffn,
  0x0010_0000_0000_0000n, 0x7fef_ffff_ffff_ffffn, 0x41e0_0000_0000_0000n, 0xc1e0_0000_0000_0000n,
  0x43e0_0000_0000_0000n, 0x3fe0_0000_0000_0001n, 0x4330_0000_0000_0001n, 0x36a0_0000_0000_0000n,
]; // biome-ignore format: a table

const pairs = (list: readonly bigint[]): Int32Array =>
  Int32Array.from(list.flatMap((v) => [Number(BigInt.asIntN(32, v)), Number(BigInt.asIntN(32, v >> 32n))]));
const EDGE_WORDS = pairs(EDGES);
const F64_WORDS = pairs(F64);
const F32_WORDS = Int32Array.from(F32);

function pickPair(words: Int32Array, at: number, table: Int32Array, random: Random): void {
  const i = random.below(table.length / 2) * 2;
  words[at] = table[i]!;
  words[at + 1] = table[i + 1]!;
}

/** Like `awkward`, into two words. */
export function awkwardQuad(words: Int32Array, at: number, random: Random): void {
  const kind = random.u32();
  if ((kind & 3) === 0) {
    words[at] = (kind >>> 2) % 80;
    words[at + 1] = 0;
  } else if ((kind & 3) === 1) {
    words[at] = random.u32();
    words[at + 1] = random.u32();
  } else pickPair(words, at, EDGE_WORDS, random);
}

/** Bytes of which most are limits. */
function awkwardBytes(random: Random): number {
  const r = random.u32();
  const pattern = [0x7f80ff00, 0x01ff0080, 0x80007fff, 0xff01807f][r & 3]!;
  return r & 4 ? pattern ^ (random.u32() & 0x01010101) : r & 8 ? random.u32() : pattern;
}

/** 16 bytes into four words: a vector of integers or of floats. */
export function awkwardVector(words: Int32Array, at: number, random: Random): void {
  const kind = random.below(5);
  if (kind === 0) for (let i = 0; i < 4; i++) words[at + i] = F32_WORDS[random.below(F32_WORDS.length)]!;
  else if (kind === 1) for (let i = 0; i < 4; i += 2) pickPair(words, at + i, F64_WORDS, random);
  else if (kind === 2) for (let i = 0; i < 4; i += 2) awkwardQuad(words, at + i, random);
  else if (kind === 3) for (let i = 0; i < 4; i++) words[at + i] = nearFloat(random);
  else for (let i = 0; i < 4; i++) words[at + i] = awkwardBytes(random);
}

/** A float whose exponent is near that of 1 or of the limits of integers, so that sums and conversions round. */
function nearFloat(random: Random): number {
  const r = random.u32();
  const exponent = random.pick([127, 126, 128, 150, 151, 157, 158, 189, 190, 100, 1, 254]);
  return (r & 0x807f_ffff) | (exponent << 23);
}

/** [significand, sign and exponent] of 80-bit values: numbers, denormals, infinities, NaNs, unsupported ones. */
const F80: readonly (readonly [bigint, number])[] = [
  [0n, 0],
  [0n, 0x8000],
  [0x8000_0000_0000_0000n, 0x3fff],
  [0xc000_0000_0000_0000n, 0xbfff],
  [0x8000_0000_0000_0000n, 0x7fff],
  [0x8000_0000_0000_0000n, 0xffff],
  [0xc000_0000_0000_0000n, 0x7fff],
  [0x8000_0000_0000_0001n, 0x7fff],
  [1n, 0],
  [0x7fff_ffff_ffff_ffffn, 0x8000],
  [0x8000_0000_0000_0000n, 0],
  [0xffff_ffff_ffff_ffffn, 0x7ffe],
  [0xc90f_daa2_2168_c235n, 0x4000],
  [0x8000_0000_0000_0000n, 0x403e],
  [0x4000_0000_0000_0000n, 0x3fff],
];
const F80_WORDS = Int32Array.from(
  F80.flatMap(([m, se]) => [Number(BigInt.asIntN(32, m)), Number(BigInt.asIntN(32, m >> 32n)), se]),
);

/** An 80-bit value into three words, the last of which holds sign and exponent. */
export function awkwardExtended(words: Int32Array, at: number, random: Random): void {
  const r = random.u32();
  if (r & 1) {
    const i = ((r >>> 1) % F80.length) * 3;
    for (let k = 0; k < 3; k++) words[at + k] = F80_WORDS[i + k]!;
    return;
  }
  words[at] = r & 2 ? random.u32() : 0;
  words[at + 1] = (r & 4 ? random.u32() : r & 8 ? -1 : 0) | 0x8000_0000;
  const far = (r & 0x70) === 0;
  const exponent = far ? (r >>> 8) & 0x7fff : 0x3fff - 80 + ((r >>> 8) % 160);
  words[at + 2] = exponent | ((r >>> 16) & 0x8000);
}
