// 80-bit results as integers, so that units in the last place can be counted.

/** An 80-bit value as an integer that grows by one from a value to the next of the same sign. */
export function ordinalOf(signAndExponent: number, significand: bigint): bigint {
  const magnitude = (BigInt(signAndExponent & 0x7fff) << 63n) + (significand & 0x7fff_ffff_ffff_ffffn);
  return signAndExponent >> 15 ? -magnitude : magnitude;
}

/** The smallest normal number, and what an unmasked underflow adds to the exponent (SDM vol.1 8.5.5). */
const SMALLEST = 1n << 63n;
const UNBIASED = 24576n << 63n;

/** UE of FSW, with what an unmasked one sets: ES and B (SDM vol.1 figure 8-4). */
export const UNDERFLOW = 0x8090;

/**
 * Whether two results of one instruction lie where one unit in the last place decides about underflow: both beside the
 * smallest normal number, or one of them there with the exponent that an unmasked underflow has changed; or both beside
 * zero and not the same, as one of them is denormal then.
 */
export function decidesUnderflow(a: bigint, b: bigint): boolean {
  if (a < 0n !== b < 0n && a !== 0n && b !== 0n) return false;
  const [x, y] = [a, b].map((v) => (v < 0n ? -v : v)) as [bigint, bigint];
  const isAt = (v: bigint): boolean => v >= SMALLEST - 1n && v <= SMALLEST + 1n;
  const isSmallest = (v: bigint): boolean => isAt(v) || isAt(v - UNBIASED);
  return (isSmallest(x) && isSmallest(y)) || (x <= 1n && y <= 1n && x !== y);
}
