// Values that are awkward for arithmetic: limits, signs, carries; for integers, vectors and floating point.
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

/** 16 bytes that are vectors of integers or of floats. */
export function awkwardVector(random: Random): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  const kind = random.below(4);
  if (kind === 0) for (let i = 0; i < 16; i += 4) view.setUint32(i, random.pick(F32), true);
  else if (kind === 1) for (let i = 0; i < 16; i += 8) view.setBigUint64(i, random.pick(F64), true);
  else if (kind === 2) for (let i = 0; i < 16; i += 8) view.setBigUint64(i, awkward(random), true);
  else for (let i = 0; i < 16; i++) bytes[i] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
  return bytes;
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
export function awkwardExtended(random: Random): readonly [bigint, number] {
  if (random.once(2)) return random.pick(F80);
  return [random.u64() | (1n << 63n), (0x3fff - 80 + random.below(160)) | (random.below(2) << 15)];
}
