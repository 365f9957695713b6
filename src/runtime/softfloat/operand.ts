// Unpacked operands. A finite non-zero value is
//   (-1)^sign * sig / 2^63 * 2^exp     with bit 63 of sig set,
// whatever its format was; NaNs keep their fraction left-justified below bit 63.

import { FINITE, Fp, INF, INVALID, QNAN, SNAN, ZERO } from './env';

/** Exponent of infinities: above that of every finite number in any format. */
const ABOVE: i32 = 0x8000;

/** First operand. */
export class A {
  static sign: i32 = 0;
  static exp: i32 = 0;
  static sig: u64 = 0;
  static kind: i32 = 0;
  /** The encoding was denormal or pseudo-denormal: the operation raises DE. */
  static denormal: i32 = 0;
}

/** Second operand. */
export class B {
  static sign: i32 = 0;
  static exp: i32 = 0;
  static sig: u64 = 0;
  static kind: i32 = 0;
  static denormal: i32 = 0;
}

/** Third operand (the addend of a fused multiply-add). */
export class C {
  static sign: i32 = 0;
  static exp: i32 = 0;
  static sig: u64 = 0;
  static kind: i32 = 0;
  static denormal: i32 = 0;
}

/** Unpacks a binary format with a hidden bit into A: `fraction` left-justified below bit 63. */
function unpackHidden(sign: i32, exponent: i32, fraction: u64, bias: i32, top: i32): void {
  A.sign = sign;
  A.denormal = 0;
  if (exponent == top) {
    A.sig = fraction | 0x8000000000000000;
    A.exp = ABOVE;
    A.kind = fraction == 0 ? INF : (fraction & 0x4000000000000000) != 0 ? QNAN : SNAN;
  } else if (exponent != 0) {
    A.sig = fraction | 0x8000000000000000;
    A.exp = exponent - bias;
    A.kind = FINITE;
  } else if (fraction == 0 || Fp.daz != 0) {
    A.sig = 0;
    A.exp = 0;
    A.kind = ZERO;
  } else {
    const shift = i32(clz<u64>(fraction));
    A.sig = fraction << shift;
    A.exp = 1 - bias - shift;
    A.kind = FINITE;
    A.denormal = 1;
  }
}

/** A = binary32. */
export function a32(bits: u32): void {
  unpackHidden(i32(bits >> 31), i32((bits >> 23) & 0xff), u64(bits & 0x7fffff) << 40, 127, 0xff);
}

/** A = binary64. */
export function a64(bits: u64): void {
  unpackHidden(i32(bits >> 63), i32((bits >> 52) & 0x7ff), (bits & 0xfffffffffffff) << 11, 1023, 0x7ff);
}

/** A = 80-bit extended: significand and sign/exponent word. */
export function a80(sig: u64, se: i32): void {
  A.sign = (se >> 15) & 1;
  A.denormal = 0;
  const exponent = se & 0x7fff;
  A.sig = sig;
  A.exp = exponent - 16383;
  A.kind = FINITE;
  if (exponent == 0) {
    if (sig == 0) {
      A.kind = ZERO;
      A.exp = 0;
      return;
    }
    // Denormals and pseudo-denormals alike have exponent 1 - bias.
    const shift = i32(clz<u64>(sig));
    A.sig = sig << shift;
    A.exp = -16382 - shift;
    A.denormal = 1;
  } else if (i64(sig) >= 0) {
    A.kind = INVALID;
  } else if (exponent == 0x7fff) {
    A.exp = ABOVE;
    A.kind = sig == 0x8000000000000000 ? INF : (sig & 0x4000000000000000) != 0 ? QNAN : SNAN;
  }
}

/** B = A. */
export function aToB(): void {
  B.sign = A.sign;
  B.exp = A.exp;
  B.sig = A.sig;
  B.kind = A.kind;
  B.denormal = A.denormal;
}

/** C = A. */
export function aToC(): void {
  C.sign = A.sign;
  C.exp = A.exp;
  C.sig = A.sig;
  C.kind = A.kind;
  C.denormal = A.denormal;
}

/** Exchanges A and B. */
export function swapAB(): void {
  const sign = B.sign;
  const exp = B.exp;
  const sig = B.sig;
  const kind = B.kind;
  const denormal = B.denormal;
  aToB();
  A.sign = sign;
  A.exp = exp;
  A.sig = sig;
  A.kind = kind;
  A.denormal = denormal;
}

/** A, B = binary32. */
export function ab32(a: u32, b: u32): void {
  a32(b);
  aToB();
  a32(a);
}

/** A, B = binary64. */
export function ab64(a: u64, b: u64): void {
  a64(b);
  aToB();
  a64(a);
}

/** A, B = 80-bit extended. */
export function ab80(asig: u64, ase: i32, bsig: u64, bse: i32): void {
  a80(bsig, bse);
  aToB();
  a80(asig, ase);
}

/** A = signed integer (exact; never denormal). */
export function aInteger(value: i64): void {
  A.denormal = 0;
  A.sign = i32(value < 0);
  const magnitude = value < 0 ? u64(0) - u64(value) : u64(value);
  aMagnitude(magnitude);
}

/** A's significand and exponent = unsigned integer; leaves the sign. */
export function aMagnitude(magnitude: u64): void {
  A.denormal = 0;
  if (magnitude == 0) {
    A.kind = ZERO;
    A.sig = 0;
    A.exp = 0;
    return;
  }
  const shift = i32(clz<u64>(magnitude));
  A.kind = FINITE;
  A.sig = magnitude << shift;
  A.exp = 63 - shift;
}
