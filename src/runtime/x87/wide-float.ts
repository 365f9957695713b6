// Arithmetic on wide floats and 128-bit fractions for the transcendental instructions. A wide float is a sign, an
// exponent and a normalised significand hi:lo, value (hi:lo / 2^127) * 2^exp; results are left in Res. A fraction is
// hi:lo / 2^128 in [0, 1); results are left in W. Errors are a few units of the 128th bit.

import { FINITE, ZERO } from '../softfloat/env';
import { Res } from '../softfloat/round';
import {
  divide128,
  leadingZeros,
  less128,
  mul64,
  mulHigh,
  shiftLeft,
  shiftRightJam,
  sub128,
  W,
} from '../softfloat/wide';

/** W = a * b, both fractions. */
export function mulFraction(ahi: u64, alo: u64, bhi: u64, blo: u64): void {
  const m1 = mulHigh(ahi, blo);
  const m2 = mulHigh(alo, bhi);
  mul64(ahi, bhi);
  let lo = W.lo + m1;
  let hi = W.hi + u64(lo < m1);
  lo += m2;
  hi += u64(lo < m2);
  W.hi = hi;
  W.lo = lo;
}

/** W = fraction / n, 0 < n < 2^32. */
export function divideSmall(hi: u64, lo: u64, n: u64): void {
  const qhi = hi / n;
  let rest = hi - qhi * n;
  const mid = (rest << 32) | (lo >> 32);
  const q1 = mid / n;
  rest = mid - q1 * n;
  const q0 = ((rest << 32) | (lo & 0xffffffff)) / n;
  W.hi = qhi;
  W.lo = (q1 << 32) | q0;
}

/** W = 1 / n as a fraction, n odd, 1 < n < 2^32. */
export function reciprocal(n: u64): void {
  // 2^64 = q * n + r, so r * 2^64 / n = r * q + r * r / n.
  const q = u64(0xffffffffffffffff) / n;
  const r = u64(0) - q * n;
  W.hi = q;
  W.lo = r * q + (r * r) / n;
}

/** One 64-bit digit of (rhi:rlo * 2^64) / (dhi:dlo), r < d, d normalised; the remainder is left in W. */
function quotientDigit(rhi: u64, rlo: u64, dhi: u64, dlo: u64): u64 {
  let q: u64 = 0xffffffffffffffff;
  if (rhi < dhi) q = divide128(rhi, rlo, dhi);
  // r * 2^64 - q * d, three words; the estimate is at most 2 too large.
  mul64(q, dlo);
  const p0 = W.lo;
  const p1 = W.hi;
  mul64(q, dhi);
  const low = W.lo + p1;
  let top = rhi - W.hi - u64(low < p1);
  let mid = rlo - low;
  top -= u64(rlo < low);
  let bottom = u64(0) - p0;
  const borrow = u64(p0 != 0);
  top -= u64(mid < borrow);
  mid -= borrow;
  while (i64(top) < 0) {
    q--;
    bottom += dlo;
    const carry = u64(bottom < dlo);
    mid += dhi;
    let over = u64(mid < dhi);
    mid += carry;
    over += u64(mid < carry);
    top += over;
  }
  W.hi = mid;
  W.lo = bottom;
  return q;
}

/** W = a / b as a fraction, a < b, b normalised. */
export function divideFraction(ahi: u64, alo: u64, bhi: u64, blo: u64): void {
  const hi = quotientDigit(ahi, alo, bhi, blo);
  const lo = quotientDigit(W.hi, W.lo, bhi, blo);
  W.hi = hi;
  W.lo = lo;
}

/** Res = (hi:lo / 2^127) * 2^exp, normalised. */
export function setWide(sign: i32, exp: i32, hi: u64, lo: u64): void {
  const shift = leadingZeros(hi, lo);
  Res.sign = sign;
  if (shift == 128) {
    Res.kind = ZERO;
    return;
  }
  shiftLeft(hi, lo, shift);
  Res.kind = FINITE;
  Res.exp = exp - shift;
  Res.hi = W.hi;
  Res.lo = W.lo;
}

/** Res *= a wide float. */
export function mulWide(sign: i32, exp: i32, hi: u64, lo: u64): void {
  if (Res.kind == ZERO) return;
  mulFraction(Res.hi, Res.lo, hi, lo);
  setWide(Res.sign ^ sign, Res.exp + exp + 1, W.hi, W.lo);
}

/** Res /= a wide float. */
export function divideWide(sign: i32, exp: i32, hi: u64, lo: u64): void {
  if (Res.kind == ZERO) return;
  let ahi = Res.hi;
  let alo = Res.lo;
  let e = Res.exp - exp - 1;
  if (!less128(ahi, alo, hi, lo)) {
    alo = (ahi << 63) | (alo >> 1);
    ahi >>= 1;
    e++;
  }
  divideFraction(ahi, alo, hi, lo);
  setWide(Res.sign ^ sign, e, W.hi, W.lo);
}

/** W = |Res| as a fraction; its exponent is below 0. */
export function fractionOfRes(): void {
  if (Res.kind == ZERO) {
    W.hi = 0;
    W.lo = 0;
  } else {
    shiftRightJam(Res.hi, Res.lo, -1 - Res.exp);
  }
}

/** W = 1 - fraction, less one unit of the last place. */
export function complement(hi: u64, lo: u64): void {
  W.hi = ~hi;
  W.lo = ~lo;
}
