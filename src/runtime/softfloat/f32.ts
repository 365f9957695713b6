// binary32 operations with SSE semantics: what ADDSS, MULSS, ... compute on one element. Operands and
// results are bit patterns; the environment is set up with sse_begin and the flags are in Fp.flags.

import { coreAdd, coreDiv, coreFma, coreMul, coreSqrt } from './core';
import { DE, Fp, IE, PE, QNAN, raise, SNAN, ZERO } from './env';
import { resFromA, toIntegral, toSigned, toSignedTruncated, toUnsigned, toUnsignedTruncated } from './integer';
import { nan32, nan32of3, nanAB } from './nan';
import { A, a32, a64, ab32, aInteger, aMagnitude, aToB, aToC, C } from './operand';
import { pack32 } from './round';

/** a + b. */
export function f32_add(a: u32, b: u32): u32 {
  ab32(a, b);
  if (nanAB()) return nan32(a, b);
  coreAdd(0);
  return pack32();
}

/** a - b. */
export function f32_sub(a: u32, b: u32): u32 {
  ab32(a, b);
  if (nanAB()) return nan32(a, b);
  coreAdd(1);
  return pack32();
}

/** a * b. */
export function f32_mul(a: u32, b: u32): u32 {
  ab32(a, b);
  if (nanAB()) return nan32(a, b);
  coreMul();
  return pack32();
}

/** a / b. */
export function f32_div(a: u32, b: u32): u32 {
  ab32(a, b);
  if (nanAB()) return nan32(a, b);
  coreDiv();
  return pack32();
}

/** Square root. */
export function f32_sqrt(a: u32): u32 {
  a32(a);
  if (A.kind >= QNAN) return quieted(a);
  coreSqrt();
  return pack32();
}

/** The NaN a, unpacked in A, quieted; IE if it was signalling. */
function quieted(a: u32): u32 {
  if (A.kind == SNAN) raise(IE);
  return a | 0x400000;
}

/**
 * a * b + c with one rounding. The digits of VFMADD132, 213 and 231 name the operands in the order a, b, c; a NaN is
 * taken in that order too.
 */
export function f32_fma(a: u32, b: u32, c: u32): u32 {
  return f32_fma_signed(a, b, c, 0);
}

/** (-1)^(s & 1) * a * b + (-1)^(s >> 1) * c: s = 0 FMADD, 2 FMSUB, 1 FNMADD, 3 FNMSUB. A NaN keeps its sign. */
export function f32_fma_signed(a: u32, b: u32, c: u32, s: i32): u32 {
  a32(c);
  aToC();
  a32(b);
  aToB();
  a32(a);
  if (nanAB() || C.kind >= QNAN) return nan32of3(a, b, c);
  A.sign ^= s & 1;
  C.sign ^= s >> 1;
  coreFma();
  return pack32();
}

/**
 * ROUNDSS: a rounded to an integral value. imm: bits 0-1 rounding mode, bit 2 use MXCSR's instead, bit 3 no PE.
 */
export function f32_round(a: u32, imm: i32): u32 {
  a32(a);
  if (A.kind >= QNAN) return quieted(a);
  const mode = Fp.rounding;
  if ((imm & 4) == 0) Fp.rounding = imm & 3;
  const inexact = toIntegral();
  Fp.rounding = mode;
  if (inexact && (imm & 8) == 0) raise(PE);
  return A.kind == ZERO ? a & 0x80000000 : pack32();
}

/** Signed 32-bit integer in the current rounding mode, or 0x80000000 and IE. */
export function f32_to_i32(a: u32): i32 {
  a32(a);
  return i32(toSigned(32));
}

/** Signed 64-bit integer in the current rounding mode, or 1 << 63 and IE. */
export function f32_to_i64(a: u32): i64 {
  a32(a);
  return toSigned(64);
}

/** Signed 32-bit integer, truncated. */
export function f32_to_i32_trunc(a: u32): i32 {
  a32(a);
  return i32(toSignedTruncated(32));
}

/** Signed 64-bit integer, truncated. */
export function f32_to_i64_trunc(a: u32): i64 {
  a32(a);
  return toSignedTruncated(64);
}

/** Unsigned 32-bit integer in the current rounding mode, or all ones and IE (AVX-512). */
export function f32_to_u32(a: u32): u32 {
  a32(a);
  return u32(toUnsigned(32));
}

/** Unsigned 64-bit integer in the current rounding mode, or all ones and IE (AVX-512). */
export function f32_to_u64(a: u32): u64 {
  a32(a);
  return toUnsigned(64);
}

/** Unsigned 32-bit integer, truncated. */
export function f32_to_u32_trunc(a: u32): u32 {
  a32(a);
  return u32(toUnsignedTruncated(32));
}

/** Unsigned 64-bit integer, truncated. */
export function f32_to_u64_trunc(a: u32): u64 {
  a32(a);
  return toUnsignedTruncated(64);
}

/** From a signed 32-bit integer. */
export function i32_to_f32(a: i32): u32 {
  return i64_to_f32(i64(a));
}

/** From a signed 64-bit integer. */
export function i64_to_f32(a: i64): u32 {
  aInteger(a);
  resFromA();
  return pack32();
}

/** From an unsigned 64-bit integer. */
export function u64_to_f32(a: u64): u32 {
  A.sign = 0;
  aMagnitude(a);
  resFromA();
  return pack32();
}

/** CVTSD2SS. */
export function f64_to_f32(a: u64): u32 {
  a64(a);
  if (A.kind >= QNAN) {
    if (A.kind == SNAN) raise(IE);
    return (u32(A.sign) << 31) | 0x7fc00000 | u32((A.sig << 1) >> 41);
  }
  if (A.denormal != 0) raise(DE);
  resFromA();
  return pack32();
}
