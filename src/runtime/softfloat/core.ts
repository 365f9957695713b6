// The arithmetic operations on unpacked operands A, B (and C), with results before rounding in Res. NaNs and
// encodings the x87 refuses have been dealt with before (nan.ts); infinities and zeros are dealt with here.

import { DE, DOWN, FINITE, Fp, INF, raise, ZE, ZERO } from './env';
import { A, B, C } from './operand';
import { invalid, Res } from './round';
import {
  add128,
  divide128,
  leadingZeros,
  less128,
  mul64,
  shiftLeft,
  shiftRightJam,
  squareRoot128,
  sub128,
  W,
} from './wide';

function raiseDenormalAB(): void {
  if ((A.denormal | B.denormal) != 0) raise(DE);
}

/** Res = zero or infinity. */
function special(kind: i32, sign: i32): void {
  Res.kind = kind;
  Res.sign = sign;
}

/** Res = finite (sig:lo need not be normalised). The sign of an exact zero follows the rounding mode. */
function normalise(sign: i32, exp: i32, hi: u64, lo: u64): void {
  const shift = leadingZeros(hi, lo);
  if (shift == 128) return special(ZERO, i32(Fp.rounding == DOWN));
  shiftLeft(hi, lo, shift);
  Res.kind = FINITE;
  Res.sign = sign;
  Res.exp = exp - shift;
  Res.hi = W.hi;
  Res.lo = W.lo;
}

/** Res = sum of two finite non-zero numbers with 128-bit normalised significands, jammed where bits are lost. */
export function sum128(asign: i32, aexp: i32, ahi: u64, alo: u64, bsign: i32, bexp: i32, bhi: u64, blo: u64): void {
  const distance = aexp - bexp;
  let exp = aexp;
  if (distance >= 0) {
    shiftRightJam(bhi, blo, distance);
    bhi = W.hi;
    blo = W.lo;
  } else {
    shiftRightJam(ahi, alo, -distance);
    ahi = W.hi;
    alo = W.lo;
    exp = bexp;
  }
  if (asign == bsign) {
    const carry = add128(ahi, alo, bhi, blo);
    Res.kind = FINITE;
    Res.sign = asign;
    Res.exp = exp + i32(carry);
    if (carry != 0) shiftRightJam(W.hi, W.lo, 1);
    Res.hi = W.hi | (carry << 63);
    Res.lo = W.lo;
    return;
  }
  if (less128(ahi, alo, bhi, blo)) {
    sub128(bhi, blo, ahi, alo);
    normalise(bsign, exp, W.hi, W.lo);
  } else {
    sub128(ahi, alo, bhi, blo);
    normalise(asign, exp, W.hi, W.lo);
  }
}

/** Res = A + B, or A - B when `negate` is 1. */
export function coreAdd(negate: i32): void {
  const bsign = B.sign ^ negate;
  if (A.kind == INF) {
    if (B.kind == INF && A.sign != bsign) return invalid();
    raiseDenormalAB();
    return special(INF, A.sign);
  }
  raiseDenormalAB();
  if (B.kind == INF) return special(INF, bsign);
  if (A.kind == ZERO) {
    if (B.kind == ZERO) return special(ZERO, A.sign == bsign ? bsign : i32(Fp.rounding == DOWN));
    return normalise(bsign, B.exp, B.sig, 0);
  }
  if (B.kind == ZERO) return normalise(A.sign, A.exp, A.sig, 0);
  sum128(A.sign, A.exp, A.sig, 0, bsign, B.exp, B.sig, 0);
}

/** Res = A * B. */
export function coreMul(): void {
  const sign = A.sign ^ B.sign;
  if (A.kind == INF || B.kind == INF) {
    if (A.kind == ZERO || B.kind == ZERO) return invalid();
    raiseDenormalAB();
    return special(INF, sign);
  }
  raiseDenormalAB();
  if (A.kind == ZERO || B.kind == ZERO) return special(ZERO, sign);
  mul64(A.sig, B.sig);
  normalise(sign, A.exp + B.exp + 1, W.hi, W.lo);
}

/** Res = A / B. */
export function coreDiv(): void {
  const sign = A.sign ^ B.sign;
  if (A.kind == INF) {
    if (B.kind == INF) return invalid();
    raiseDenormalAB();
    return special(INF, sign);
  }
  if (B.kind == INF) {
    raiseDenormalAB();
    return special(ZERO, sign);
  }
  if (B.kind == ZERO) {
    if (A.kind == ZERO) return invalid();
    raise(ZE);
    return special(INF, sign);
  }
  raiseDenormalAB();
  if (A.kind == ZERO) return special(ZERO, sign);
  // The numerator is kept below the divisor so that the quotient has exactly 64 bits.
  const d = B.sig;
  const less = A.sig < d;
  const q = less ? divide128(A.sig, 0, d) : divide128(A.sig >> 1, A.sig << 63, d);
  const rest = W.lo;
  Res.kind = FINITE;
  Res.sign = sign;
  Res.exp = A.exp - B.exp - i32(less);
  Res.hi = q;
  Res.lo = belowUnit(rest, d);
}

/** Where rest / d, 0 <= rest < d, lies against one half: as a word with sticky bit to follow a significand. */
function belowUnit(rest: u64, d: u64): u64 {
  if (rest == 0) return 0;
  const other = d - rest;
  return rest > other ? 0xc000000000000000 : rest == other ? 0x8000000000000000 : 1;
}

/** Res = square root of A. */
export function coreSqrt(): void {
  if (A.kind == ZERO) return special(ZERO, A.sign);
  if (A.sign != 0) return invalid();
  if (A.kind == INF) return special(INF, 0);
  if (A.denormal != 0) raise(DE);
  const odd = A.exp & 1;
  const root = odd != 0 ? squareRoot128(A.sig, 0) : squareRoot128(A.sig >> 1, A.sig << 63);
  Res.kind = FINITE;
  Res.sign = 0;
  Res.exp = (A.exp - odd) >> 1;
  Res.hi = root;
  // (root + 1/2)^2 = root^2 + root + 1/4: a remainder above the root is above one half.
  Res.lo = W.hi != 0 || W.lo > root ? 0xc000000000000000 : u64(W.lo != 0);
}

/** Res = A * B + C. NaNs have been dealt with. */
export function coreFma(): void {
  const sign = A.sign ^ B.sign;
  const infinite = A.kind == INF || B.kind == INF;
  if (infinite) {
    if (A.kind == ZERO || B.kind == ZERO || (C.kind == INF && C.sign != sign)) return invalid();
  }
  if ((A.denormal | B.denormal | C.denormal) != 0) raise(DE);
  if (infinite) return special(INF, sign);
  if (C.kind == INF) return special(INF, C.sign);
  if (A.kind == ZERO || B.kind == ZERO) {
    if (C.kind == ZERO) return special(ZERO, C.sign == sign ? sign : i32(Fp.rounding == DOWN));
    return normalise(C.sign, C.exp, C.sig, 0);
  }
  mul64(A.sig, B.sig);
  normalise(sign, A.exp + B.exp + 1, W.hi, W.lo);
  if (C.kind == ZERO) return;
  sum128(sign, Res.exp, Res.hi, Res.lo, C.sign, C.exp, C.sig, 0);
}
