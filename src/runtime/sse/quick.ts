// When native WebAssembly arithmetic gives what SSE arithmetic gives, flags included. It does for round to nearest
// when no flag can be newly set: operands and result are normal numbers (or zeros where that is exact), and
// the result is exact or PE is set already and masked. Everything else goes through softfloat (slow.ts).

/** MXCSR: 5 PE, 12 PM, 13-14 RC. */
const PE: u32 = 1 << 5;
const PM: u32 = 1 << 12;
const RC: u32 = 3 << 13;

/** Inexact results change nothing: round to nearest, PE masked and set. */
export function inexactIsFree(mxcsr: u32): bool {
  return (mxcsr & (RC | PM | PE)) == (PM | PE);
}

/** Exact results change nothing. (Only the sign of a zero sum depends on the rounding mode.) */
export function roundsToNearest(mxcsr: u32): bool {
  return (mxcsr & RC) == 0;
}

// Magnitudes are compared as integers, with the sign shifted out.
const MIN64: u64 = 1 << 53;
const INF64: u64 = 0x7ff << 53;
const MIN32: u32 = 1 << 24;
const INF32: u32 = 0xff << 24;

/** Finite, and above the smallest normal number: a result that was tiny before rounding may have become that one. */
export function isNormal64(r: f64): bool {
  return (reinterpret<u64>(r) << 1) - (MIN64 + 1) < INF64 - MIN64 - 1;
}
export function isNormal32(r: f32): bool {
  return (reinterpret<u32>(r) << 1) - (MIN32 + 1) < INF32 - MIN32 - 1;
}

/** Not denormal. */
export function isPlain64(x: f64): bool {
  return (reinterpret<u64>(x) << 1) - 1 >= MIN64 - 1;
}
export function isPlain32(x: f32): bool {
  return (reinterpret<u32>(x) << 1) - 1 >= MIN32 - 1;
}

/** The same for vectors: all ones in the lanes where it holds. */
export function normalLanes64(r: v128): v128 {
  const m = v128.abs<f64>(r);
  return v128.and(v128.gt<f64>(m, f64x2.splat(2.2250738585072014e-308)), v128.lt<f64>(m, f64x2.splat(Infinity)));
}
export function normalLanes32(r: v128): v128 {
  const m = v128.abs<f32>(r);
  return v128.and(v128.gt<f32>(m, f32x4.splat(1.1754943508222875e-38)), v128.lt<f32>(m, f32x4.splat(Infinity)));
}
export function zeroLanes64(x: v128): v128 {
  return v128.eq<f64>(x, f64x2.splat(0));
}
export function zeroLanes32(x: v128): v128 {
  return v128.eq<f32>(x, f32x4.splat(0));
}
/** Not denormal and not NaN. */
export function plainLanes64(x: v128): v128 {
  return v128.or(v128.ge<f64>(v128.abs<f64>(x), f64x2.splat(2.2250738585072014e-308)), zeroLanes64(x));
}
export function plainLanes32(x: v128): v128 {
  return v128.or(v128.ge<f32>(v128.abs<f32>(x), f32x4.splat(1.1754943508222875e-38)), zeroLanes32(x));
}
export function everyLane64(mask: v128): bool {
  return i64x2.all_true(mask);
}
export function everyLane32(mask: v128): bool {
  return i32x4.all_true(mask);
}
