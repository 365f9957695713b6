// Base-2 logarithm and exponential of the x87 to about 110 bits: FYL2X, FYL2XP1 and F2XM1 before rounding.

import { sum128 } from '../softfloat/core';
import { FINITE, ZERO } from '../softfloat/env';
import { A } from '../softfloat/operand';
import { Res } from '../softfloat/round';
import { add128, sub128, W } from '../softfloat/wide';
import { divideSmall, divideWide, fractionOfRes, mulFraction, mulWide, reciprocal, setWide } from './wide-float';

// log2(e) = 1.442695... and ln(2) = 0.693147..., significands of wide floats.
const LOG2E_HI: u64 = 0xb8aa3b295c17f0bb;
const LOG2E_LO: u64 = 0xbe87fed0691d3e88;
const LN2_HI: u64 = 0xb17217f7d1cf79ab;
const LN2_LO: u64 = 0xc9e3b39803f2f6af;

/** Terms of the logarithm's series: s^2 < 0.0295, so the 19th is below 2^-100. */
const LOG_TERMS: u64 = 19;

/** Res = log2(1 + f) for the wide float f in Res, -0.3 < f < 0.42. */
function log2OnePlus(): void {
  const fsign = Res.sign;
  const fexp = Res.exp;
  const fhi = Res.hi;
  const flo = Res.lo;
  if (Res.kind == ZERO) return;
  // ln(1 + f) = 2 artanh(s) with s = f / (2 + f).
  sum128(0, 1, 0x8000000000000000, 0, fsign, fexp, fhi, flo);
  const dexp = Res.exp;
  const dhi = Res.hi;
  const dlo = Res.lo;
  setWide(fsign, fexp, fhi, flo);
  divideWide(0, dexp, dhi, dlo);
  const ssign = Res.sign;
  const sexp = Res.exp;
  const shi = Res.hi;
  const slo = Res.lo;
  fractionOfRes();
  mulFraction(W.hi, W.lo, W.hi, W.lo);
  const zhi = W.hi;
  const zlo = W.lo;
  let hi: u64 = 0;
  let lo: u64 = 0;
  for (let k = LOG_TERMS; k >= 1; k--) {
    mulFraction(zhi, zlo, hi, lo);
    hi = W.hi;
    lo = W.lo;
    reciprocal(2 * k + 1);
    add128(hi, lo, W.hi, W.lo);
    hi = W.hi;
    lo = W.lo;
  }
  mulFraction(zhi, zlo, hi, lo);
  hi = W.hi;
  lo = W.lo;
  // (1 + hi:lo) * s * 2 log2(e)
  setWide(ssign, sexp, shi, slo);
  mulWide(0, 0, 0x8000000000000000 | (hi >> 1), (hi << 63) | (lo >> 1));
  mulWide(0, 1, LOG2E_HI, LOG2E_LO);
}

/** Above this significand, sqrt(2), a number counts as 2 * (1 + f) with f < 0. */
const SQRT2: u64 = 0xb504f333f9de6484;

/** Res = log2 of the positive wide float in Res. Exact for powers of two. */
export function log2Wide(): void {
  let e = Res.exp;
  let exp = 0;
  if (Res.hi > SQRT2) {
    exp = -1;
    e++;
  }
  sum128(0, exp, Res.hi, Res.lo, 1, 0, 0x8000000000000000, 0);
  if (Res.kind == ZERO) {
    setInteger(e);
    return;
  }
  log2OnePlus();
  addInteger(e);
  Res.lo |= 1;
}

/** Res = an integer. */
function setInteger(e: i32): void {
  setWide(i32(e < 0), 127, 0, u64(e < 0 ? -e : e));
}

/** Res += an integer. */
function addInteger(e: i32): void {
  if (e == 0) return;
  const sign = Res.sign;
  const exp = Res.exp;
  const hi = Res.hi;
  const lo = Res.lo;
  setInteger(e);
  sum128(sign, exp, hi, lo, Res.sign, Res.exp, Res.hi, Res.lo);
}

/** Res = log2(1 + A) for finite non-zero A above -1. */
export function log2OnePlusA(): void {
  if (A.exp <= -3) {
    setWide(A.sign, A.exp, A.sig, 0);
    log2OnePlus();
    Res.lo |= 1;
    return;
  }
  sum128(0, 0, 0x8000000000000000, 0, A.sign, A.exp, A.sig, 0);
  log2Wide();
}

/** Terms of the exponential's series: ln(2)^25 / 25! is below 2^-97. */
const EXP_TERMS: u64 = 26;

/** Res = 2^A - 1 for finite non-zero A, |A| < 1. */
export function exp2Minus1(): void {
  setWide(A.sign, A.exp, A.sig, 0);
  mulWide(0, -1, LN2_HI, LN2_LO);
  const sign = Res.sign;
  const exp = Res.exp;
  const thi = Res.hi;
  const tlo = Res.lo;
  fractionOfRes();
  const fhi = W.hi;
  const flo = W.lo;
  // (e^t - 1) / t = 1 + t/2 (1 + t/3 (1 + ...)); halves of it are fractions.
  let hi: u64 = 0x8000000000000000;
  let lo: u64 = 0;
  for (let n = EXP_TERMS; n >= 2; n--) {
    mulFraction(fhi, flo, hi, lo);
    divideSmall(W.hi, W.lo, n);
    if (sign != 0) sub128(0x8000000000000000, 0, W.hi, W.lo);
    else add128(0x8000000000000000, 0, W.hi, W.lo);
    hi = W.hi;
    lo = W.lo;
  }
  setWide(0, 0, hi, lo);
  mulWide(sign, exp, thi, tlo);
  if (Res.kind == FINITE) Res.lo |= 1;
}
