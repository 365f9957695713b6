// 80-bit extended operations with x87 semantics. Each works on the operands unpacked in A (and B), rounds by the
// environment of x87_environment, raises flags in Fp.flags and returns the significand; F80.se has sign and exponent.

import { coreAdd, coreDiv, coreMul, coreSqrt } from './core';
import { DE, FINITE, Fp, INF, PE, QNAN, raise, ZE, ZERO } from './env';
import { resFromA, toIntegral } from './integer';
import { invalid80, nan80, nan80A, nanAB } from './nan';
import { A, a80, ab80, aInteger, B } from './operand';
import { F80, pack32, pack64, pack80, pack80To, Res } from './round';
import { divide128, W } from './wide';

/** A + B, or A - B when `negate` is 1. */
export function x_add(negate: i32): u64 {
  if (nanAB()) return nan80();
  coreAdd(negate);
  return pack80();
}

/** A * B. */
export function x_mul(): u64 {
  if (nanAB()) return nan80();
  coreMul();
  return pack80();
}

/** A / B. */
export function x_div(): u64 {
  if (nanAB()) return nan80();
  coreDiv();
  return pack80();
}

/** Square root of A. */
export function x_sqrt(): u64 {
  if (A.kind >= QNAN) return nan80A();
  coreSqrt();
  return pack80();
}

/** FRNDINT: A rounded to an integral value. */
export function x_rint(): u64 {
  if (A.kind >= QNAN) return nan80A();
  if (A.denormal != 0) raise(DE);
  const inexact = toIntegral();
  const away = Fp.roundedUp;
  if (inexact) raise(PE);
  const sig = pack80To(64);
  Fp.roundedUp = away;
  return sig;
}

/** FSCALE: A * 2^trunc(B). */
export function x_scale(): u64 {
  if (nanAB()) return nan80();
  if (B.kind == INF) {
    if (B.sign != 0 ? A.kind == INF : A.kind == ZERO) return invalid80();
    if (A.denormal != 0) raise(DE);
    F80.se = (A.sign << 15) | (B.sign != 0 || A.kind == ZERO ? 0 : 0x7fff);
    return B.sign != 0 || A.kind == ZERO ? 0 : 0x8000000000000000;
  }
  if ((A.denormal | B.denormal) != 0) raise(DE);
  resFromA();
  if (A.kind == FINITE && B.kind == FINITE && B.exp >= 0) {
    // Beyond 2^16 the result overflows or underflows whatever A is.
    const n = B.exp > 16 ? 0x20000 : i32(B.sig >> (63 - B.exp));
    Res.exp += B.sign != 0 ? -n : n;
  }
  return pack80To(64);
}

/** Second results of FXTRACT (the exponent). */
export class Pair {
  static sig: u64 = 0;
  static se: i32 = 0;
}

/** FXTRACT: returns A's significand as a number; Pair is its exponent. */
export function x_extract(): u64 {
  if (A.kind >= QNAN) {
    const sig = nan80A();
    Pair.sig = sig;
    Pair.se = F80.se;
    return sig;
  }
  if (A.kind == FINITE) {
    if (A.denormal != 0) raise(DE);
    const sig = A.sig;
    const sign = A.sign;
    aInteger(A.exp);
    resFromA();
    Pair.sig = pack80To(64);
    Pair.se = F80.se;
    F80.se = (sign << 15) | 16383;
    return sig;
  }
  if (A.kind == ZERO) raise(ZE);
  Pair.sig = 0x8000000000000000;
  Pair.se = A.kind == ZERO ? 0xffff : 0x7fff;
  resFromA();
  return pack80To(64);
}

/** Side results of x_rem. */
export class Rem {
  /** Low bits of the quotient; 0 after a partial reduction, -1 when there is none. */
  static quotient: i32 = 0;
  /** The reduction is partial: C2. */
  static partial: i32 = 0;
}

/**
 * FPREM (nearest = 0) and FPREM1 (nearest = 1) of A by B: always exact. One step reduces the exponent difference by
 * at most 63; a larger one is partial and leaves a difference that repeated steps bring down.
 */
export function x_rem(nearest: i32): u64 {
  Rem.quotient = -1;
  Rem.partial = 0;
  if (nanAB()) return nan80();
  if (A.kind == INF || B.kind == ZERO) return invalid80();
  Rem.quotient = 0;
  if ((A.denormal | B.denormal) != 0) raise(DE);
  resFromA();
  if (A.kind == ZERO || B.kind == INF) return pack80To(64);
  let distance = A.exp - B.exp;
  if (distance < -1 || (distance < 0 && nearest == 0)) return pack80To(64);
  let scale = 0;
  if (distance >= 64) {
    // An implementation may choose 32-63: this choice leaves a multiple of 32 for the steps that follow.
    const step = (distance & 31) | 32;
    scale = distance - step;
    distance = step;
    Rem.partial = 1;
  }
  let quotient: u64 = 0;
  let rest: u64;
  let sign = A.sign;
  const d = B.sig;
  if (distance < 0) {
    // |A| is between a quarter of and once |B|: compare it with the half, in units of half of B's last place.
    if (A.sig <= d) return pack80To(64);
    Rem.quotient = 1;
    sign ^= 1;
    return remainder(sign, B.exp - 1, (d << 1) - A.sig);
  }
  quotient = distance == 0 ? divide128(0, A.sig, d) : divide128(A.sig >> (64 - distance), A.sig << distance, d);
  rest = W.lo;
  if (nearest != 0 && Rem.partial == 0) {
    const other = d - rest;
    if (rest > other || (rest == other && (quotient & 1) != 0)) {
      rest = other;
      quotient++;
      sign ^= 1;
    }
  }
  if (Rem.partial == 0) Rem.quotient = i32(quotient & 7);
  return remainder(sign, B.exp + scale, rest);
}

/** rest * 2^(exp - 63), exact; a zero has the dividend's sign. */
function remainder(sign: i32, exp: i32, rest: u64): u64 {
  if (rest == 0) {
    F80.se = A.sign << 15;
    return 0;
  }
  const shift = i32(clz<u64>(rest));
  Res.kind = FINITE;
  Res.sign = sign;
  Res.exp = exp - shift;
  Res.hi = rest << shift;
  Res.lo = 0;
  return pack80To(64);
}

/** A, unpacked from any format, as 80-bit extended: exact except that a signalling NaN is quieted with IE. */
export function x_load(): u64 {
  if (A.kind >= QNAN) return nan80A();
  if (A.denormal != 0) raise(DE);
  resFromA();
  return pack80To(64);
}

/** A as binary32. */
export function x_to32(): u32 {
  if (A.kind >= QNAN) {
    const sig = nan80A();
    return (u32(F80.se >> 15) << 31) | 0x7f800000 | u32((sig << 1) >> 41);
  }
  resFromA();
  return pack32();
}

/** A as binary64. */
export function x_to64(): u64 {
  if (A.kind >= QNAN) {
    const sig = nan80A();
    return (u64(F80.se >> 15) << 63) | 0x7ff0000000000000 | ((sig << 1) >> 12);
  }
  resFromA();
  return pack64();
}

/** A signed integer as 80-bit extended, exact. */
export function x_from_i64(value: i64): u64 {
  aInteger(value);
  resFromA();
  return pack80To(64);
}

// The same operations on packed operands: significand, then sign and exponent. The result's sign and exponent are
// read with f80_se().

/** a + b. */
export function f80_add(asig: u64, ase: i32, bsig: u64, bse: i32): u64 {
  ab80(asig, ase, bsig, bse);
  return x_add(0);
}

/** a - b. */
export function f80_sub(asig: u64, ase: i32, bsig: u64, bse: i32): u64 {
  ab80(asig, ase, bsig, bse);
  return x_add(1);
}

/** a * b. */
export function f80_mul(asig: u64, ase: i32, bsig: u64, bse: i32): u64 {
  ab80(asig, ase, bsig, bse);
  return x_mul();
}

/** a / b. */
export function f80_div(asig: u64, ase: i32, bsig: u64, bse: i32): u64 {
  ab80(asig, ase, bsig, bse);
  return x_div();
}

/** Square root of a. */
export function f80_sqrt(asig: u64, ase: i32): u64 {
  a80(asig, ase);
  return x_sqrt();
}
