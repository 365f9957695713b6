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
 * Whether a result lies where one unit decides about underflow: beside the smallest normal number, or unmasked beside
 * it with the exponent that the response has changed. Zero's neighbours are denormal, and raise it if they are inexact.
 */
export function atUnderflow(ordinal: bigint): boolean {
  const magnitude = ordinal < 0n ? -ordinal : ordinal;
  return [0n, SMALLEST, SMALLEST + UNBIASED].some((edge) => magnitude >= edge - 1n && magnitude <= edge + 1n);
}
