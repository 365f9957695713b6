// The arctangent of FPATAN to about 110 bits.

import { sum128 } from '../softfloat/core';
import { FINITE, ZERO } from '../softfloat/env';
import { A, B } from '../softfloat/operand';
import { Res } from '../softfloat/round';
import { sub128, W } from '../softfloat/wide';
import { complement, divideWide, fractionOfRes, mulFraction, mulWide, reciprocal, setWide } from './wide-float';

/** Significand of pi, the same for its multiples by powers of two. */
const PI_HI: u64 = 0xc90fdaa22168c234;
const PI_LO: u64 = 0xc4c6628b80dc1cd1;

/** High words of atan(i / 8) as fractions, i = 1..8. */
function tableHi(i: i32): u64 {
  switch (i) {
    case 1:
      return 0x1fd5ba9aac2f6dc6;
    case 2:
      return 0x3eb6ebf25901bac5;
    case 3:
      return 0x5bd86507937bc239;
    case 4:
      return 0x76b19c1586ed3da2;
    case 5:
      return 0x8f005d5ef7f59f9b;
    case 6:
      return 0xa4bc7d1934f70924;
    case 7:
      return 0xb8053e2bc2319e73;
    case 8:
      return 0xc90fdaa22168c234;
    default:
      return 0;
  }
}

/** Low words of the same. */
function tableLo(i: i32): u64 {
  switch (i) {
    case 1:
      return 0x5912f313e7d111de;
    case 2:
      return 0x5b71e7bd7de885f9;
    case 3:
      return 0xc55190916e7f2241;
    case 4:
      return 0xb7f222f65e1d4681;
    case 5:
      return 0x5c835e1665c43747;
    case 6:
      return 0x19a87f2a457dac9e;
    case 7:
      return 0xcb2da55210a4443d;
    case 8:
      return 0xc4c6628b80dc1cd1;
    default:
      return 0;
  }
}

/** Terms of the series: t^2 <= 2^-8, so the 13th is below 2^-108. */
const TERMS: u64 = 13;

/** Res = atan(t) for the wide float t in Res, |t| <= 1/16. */
function series(): void {
  if (Res.kind == ZERO) return;
  const sign = Res.sign;
  const exp = Res.exp;
  const hi = Res.hi;
  const lo = Res.lo;
  fractionOfRes();
  mulFraction(W.hi, W.lo, W.hi, W.lo);
  const zhi = W.hi;
  const zlo = W.lo;
  let phi: u64 = 0;
  let plo: u64 = 0;
  for (let k = TERMS; k >= 1; k--) {
    mulFraction(zhi, zlo, phi, plo);
    phi = W.hi;
    plo = W.lo;
    reciprocal(2 * k + 1);
    sub128(W.hi, W.lo, phi, plo);
    phi = W.hi;
    plo = W.lo;
  }
  mulFraction(zhi, zlo, phi, plo);
  complement(W.hi, W.lo);
  setWide(0, -1, W.hi, W.lo);
  mulWide(sign, exp, hi, lo);
}

/** Res = atan(q) for the wide float q in Res, 0 < q <= 1. */
function unitArctangent(): void {
  const exp = Res.exp;
  const hi = Res.hi;
  const lo = Res.lo;
  // Eighths of q, rounded: at least 1 from 1/16 on.
  const eighths = exp < -4 ? 0 : i32(((hi >> u64(-exp)) + 0x800000000000000) >> 60);
  if (eighths == 0) return series();
  // atan(q) = atan(c) + atan((q - c) / (1 + q c)) with c = eighths / 8.
  setWide(0, 124, 0, u64(eighths));
  const cexp = Res.exp;
  const chi = Res.hi;
  mulWide(0, exp, hi, lo);
  sum128(0, 0, 0x8000000000000000, 0, 0, Res.exp, Res.hi, Res.lo);
  const dexp = Res.exp;
  const dhi = Res.hi;
  const dlo = Res.lo;
  sum128(0, exp, hi, lo, 1, cexp, chi, 0);
  if (Res.kind == ZERO) {
    setWide(0, -1, tableHi(eighths), tableLo(eighths));
    return;
  }
  divideWide(0, dexp, dhi, dlo);
  series();
  const tsign = Res.sign;
  const texp = Res.exp;
  const thi = Res.hi;
  const tlo = Res.lo;
  setWide(0, -1, tableHi(eighths), tableLo(eighths));
  sum128(0, Res.exp, Res.hi, Res.lo, tsign, texp, thi, tlo);
}

/** Res = a multiple of pi minus Res, the multiple given by its exponent: 1 for pi, 0 for pi / 2. */
function fromPi(exp: i32): void {
  sum128(0, exp, PI_HI, PI_LO, Res.sign ^ 1, Res.exp, Res.hi, Res.lo);
}

/** Res = eighths of pi: for the arctangents of zeros and infinities. */
export function piEighths(sign: i32, n: i32): void {
  setWide(0, 127, 0, u64(n));
  mulWide(sign, -2, PI_HI, PI_LO);
  Res.lo |= 1;
}

/** Res = the angle of the point (A, B), both finite and not zero. */
export function arctangent(): void {
  const steep = B.exp > A.exp || (B.exp == A.exp && B.sig > A.sig);
  if (steep) {
    setWide(0, A.exp, A.sig, 0);
    divideWide(0, B.exp, B.sig, 0);
  } else {
    setWide(0, B.exp, B.sig, 0);
    divideWide(0, A.exp, A.sig, 0);
  }
  unitArctangent();
  if (steep) fromPi(0);
  if (A.sign != 0) fromPi(1);
  Res.sign = B.sign;
  if (Res.kind == FINITE) Res.lo |= 1;
}
