// Conversions between floating point and integers on the unpacked operand A, and rounding to an integral value.

import { FINITE, Fp, IE, PE, raise, TRUNC, ZERO } from './env';
import { A } from './operand';
import { Res, roundFixed } from './round';
import { shiftRightJam, W } from './wide';

/** Rounds |A|, exponent below 64, to an integer; raises PE when it was not one. */
function magnitude(): u64 {
  shiftRightJam(A.sig, 0, 63 - A.exp);
  const fraction = W.lo;
  const value = roundFixed(A.sign, W.hi, fraction);
  if (fraction != 0) raise(PE);
  return value;
}

/** The integer indefinite of a width: only its top bit is set. */
function indefinite(bits: i32): i64 {
  raise(IE);
  Fp.roundedUp = 0;
  return i64(u64(0x8000000000000000)) >> (64 - bits);
}

/** A as a signed integer of 16, 32 or 64 bits in the current rounding mode; the integer indefinite raises only IE. */
export function toSigned(bits: i32): i64 {
  Fp.roundedUp = 0;
  if (A.kind == ZERO) return 0;
  if (A.kind != FINITE || A.exp > 63) return indefinite(bits);
  const before = Fp.flags;
  const value = magnitude();
  const limit = u64(1) << (bits - 1);
  // Rounding 2^64 - 1/2 up wraps to 0.
  const wrapped = value == 0 && A.exp == 63;
  if (wrapped || value > limit || (value == limit && A.sign == 0)) {
    Fp.flags = before;
    return indefinite(bits);
  }
  return A.sign != 0 ? -i64(value) : i64(value);
}

/** A as an unsigned integer of 32 or 64 bits; all ones raises only IE. */
export function toUnsigned(bits: i32): u64 {
  Fp.roundedUp = 0;
  if (A.kind == ZERO) return 0;
  const ones: u64 = u64(0xffffffffffffffff) >> u64(64 - bits);
  if (A.kind == FINITE && A.exp <= 63) {
    const before = Fp.flags;
    const value = magnitude();
    const wrapped = value == 0 && A.exp == 63;
    if (!wrapped && value <= ones && (A.sign == 0 || value == 0)) return value;
    Fp.flags = before;
  }
  raise(IE);
  Fp.roundedUp = 0;
  return ones;
}

/** toSigned with truncation. */
export function toSignedTruncated(bits: i32): i64 {
  const mode = Fp.rounding;
  Fp.rounding = TRUNC;
  const value = toSigned(bits);
  Fp.rounding = mode;
  return value;
}

/** toUnsigned with truncation. */
export function toUnsignedTruncated(bits: i32): u64 {
  const mode = Fp.rounding;
  Fp.rounding = TRUNC;
  const value = toUnsigned(bits);
  Fp.rounding = mode;
  return value;
}

/** Res = A unchanged. A is not a NaN. */
export function resFromA(): void {
  Res.kind = A.kind;
  Res.sign = A.sign;
  Res.exp = A.exp;
  Res.hi = A.sig;
  Res.lo = 0;
}

/** Res = A rounded to an integral value; returns whether it was not one. A is not a NaN. Leaves Fp.roundedUp. */
export function toIntegral(): bool {
  resFromA();
  Fp.roundedUp = 0;
  if (A.kind != FINITE || A.exp >= 63) return false;
  shiftRightJam(A.sig, 0, 63 - A.exp);
  const inexact = W.lo != 0;
  const value = roundFixed(A.sign, W.hi, W.lo);
  if (value == 0) {
    Res.kind = ZERO;
    return inexact;
  }
  const shift = i32(clz<u64>(value));
  Res.exp = 63 - shift;
  Res.hi = value << shift;
  return inexact;
}
