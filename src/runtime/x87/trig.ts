// Sine, cosine and tangent of the x87. The argument is reduced with the processor's 66-bit value of pi
// (SDM vol.1 8.3.8), exactly, so results for large arguments are the processor's and not the mathematician's.

import { FINITE } from '../softfloat/env';
import { A } from '../softfloat/operand';
import { Res } from '../softfloat/round';
import { less128, sub128, W } from '../softfloat/wide';
import { complement, divideSmall, divideWide, fractionOfRes, mulFraction, mulWide, setWide } from './wide-float';

// pi to 66 bits is PI_HIGH:PI_LOW * 2^-64, so half of it is the same integer * 2^-65.
const PI_HIGH: u64 = 3;
const PI_LOW: u64 = 0x243f6a8885a308d3;

/** The reduced argument: r in [-pi/4, pi/4] and the quadrant it came from. */
class Reduced {
  static sign: i32 = 0;
  static exp: i32 = 0;
  static hi: u64 = 0;
  static lo: u64 = 0;
  static kind: i32 = 0;
  /** Multiple of pi/2 that was taken off, modulo 4. */
  static quadrant: i32 = 0;
}

/** Reduces A, finite and below 2^63. */
export function reduceAngle(): void {
  let hi: u64 = 0;
  let lo = A.sig;
  let sign = A.sign;
  let quadrant = 0;
  if (A.exp < -1) {
    setWide(sign, A.exp, A.sig, 0);
  } else {
    // In units of 2^-65 the argument is sig << (exp + 2): divide bit by bit.
    for (let n = A.exp + 2; n > 0; n--) {
      hi = (hi << 1) | (lo >> 63);
      lo <<= 1;
      quadrant <<= 1;
      if (!less128(hi, lo, PI_HIGH, PI_LOW)) {
        sub128(hi, lo, PI_HIGH, PI_LOW);
        hi = W.hi;
        lo = W.lo;
        quadrant |= 1;
      }
    }
    if (!less128((hi << 1) | (lo >> 63), lo << 1, PI_HIGH, PI_LOW)) {
      sub128(PI_HIGH, PI_LOW, hi, lo);
      hi = W.hi;
      lo = W.lo;
      sign ^= 1;
      quadrant++;
    }
    if (A.sign != 0) quadrant = -quadrant;
    setWide(sign, 62, hi, lo);
  }
  Reduced.quadrant = quadrant & 3;
  Reduced.sign = Res.sign;
  Reduced.exp = Res.exp;
  Reduced.hi = Res.hi;
  Reduced.lo = Res.lo;
  Reduced.kind = Res.kind;
}

/** Res = the reduced argument. */
function loadReduced(): void {
  Res.sign = Reduced.sign;
  Res.exp = Reduced.exp;
  Res.hi = Reduced.hi;
  Res.lo = Reduced.lo;
  Res.kind = Reduced.kind;
}

/** Terms of the series: r^2 < 0.617 and 28! bring the last one below 2^-100. */
const LAST_TERM: u64 = 28;

/**
 * W = 1 - z/(n(n+1)) (1 - z/((n+2)(n+3)) (1 - ...)) with z = r^2 and n = `first`: 2 for sin(r)/r, 1 for cos(r).
 */
function alternating(first: u64): void {
  loadReduced();
  fractionOfRes();
  mulFraction(W.hi, W.lo, W.hi, W.lo);
  const zhi = W.hi;
  const zlo = W.lo;
  complement(0, 0);
  for (let n = LAST_TERM - 2 + first; n >= first; n -= 2) {
    mulFraction(zhi, zlo, W.hi, W.lo);
    divideSmall(W.hi, W.lo, n * (n + 1));
    complement(W.hi, W.lo);
    if (n < 2) break;
  }
}

/** Res = sin(r). */
function sinReduced(): void {
  alternating(2);
  const hi = W.hi;
  const lo = W.lo;
  loadReduced();
  mulWide(0, -1, hi, lo);
}

/** Res = cos(r). */
function cosReduced(): void {
  alternating(1);
  setWide(0, -1, W.hi, W.lo);
}

/** Res = sine (shift = 0) or cosine (1) of the angle that was reduced. */
export function sineOf(shift: i32): void {
  const quadrant = Reduced.quadrant + shift;
  if ((quadrant & 1) != 0) cosReduced();
  else sinReduced();
  if ((quadrant & 2) != 0) Res.sign ^= 1;
  jam();
}

/** Res = tangent of the angle that was reduced. */
export function tangent(): void {
  const odd = (Reduced.quadrant & 1) != 0;
  if (!odd && Reduced.exp < -64) {
    // r (1 + r^2 / 3): above r by less than the fractions can express.
    loadReduced();
    return jam();
  }
  if (odd) sinReduced();
  else cosReduced();
  const sign = Res.sign;
  const exp = Res.exp;
  const hi = Res.hi;
  const lo = Res.lo;
  if (odd) cosReduced();
  else sinReduced();
  divideWide(sign ^ i32(odd), exp, hi, lo);
  jam();
}

/** No result is exact. */
function jam(): void {
  if (Res.kind == FINITE) Res.lo |= 1;
}
