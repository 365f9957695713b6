// Fused multiply-add. `signs`: bit 0 the product is negated, bit 1 the addend is. WebAssembly has no such instruction
// whose result is certain, so the quick way works out the rounding errors of its steps: for round to nearest, numbers
// far from the limits of the format, and PE set and masked.

import { CPU_MXCSR } from '../gen/layout';
import { f32_fma_signed, f64_fma_signed } from '../softfloat';
import { inexactIsFree, isNormal32 } from './quick';
import { begin, finish, pair, quad } from './slow';

/** Sum rounded to odd: if it is inexact, its last bit is set. Rounding again to fewer bits is then harmless. */
function oddSum(a: f64, b: f64): f64 {
  const s = a + b;
  const part = s - a;
  const error = a - (s - part) + (b - part);
  const bits = reinterpret<u64>(s);
  if (error == 0 || (bits & 1) != 0) return s;
  // The exact sum lies beside s on the side of the error: one step there has an odd last bit.
  return reinterpret<f64>(error > 0 == s > 0 ? bits + 1 : bits - 1);
}

/** Exponent field between 2^-300 and 2^300, so that no step can overflow or lose bits below the smallest number. */
function isMiddling(x: f64): bool {
  return ((reinterpret<u64>(x) >> 52) & 0x7ff) - 723 < 600;
}

/** The factor's high part of at most 26 bits (Veltkamp). */
function highPart(x: f64): f64 {
  const t = x * 134217729.0;
  return t - (t - x);
}

/** a * b + c for middling operands: Boldo and Melquiond's way, IEEE Transactions on Computers 57 (2008). */
function exactly64(a: f64, b: f64, c: f64): f64 {
  const p = a * b;
  const ah = highPart(a);
  const bh = highPart(b);
  const al = a - ah;
  const bl = b - bh;
  const e = al * bl - (p - ah * bh - al * bh - ah * bl);
  // c + e, then p + that, each with its error.
  const t = c + e;
  const t1 = t - c;
  const te = c - (t - t1) + (e - t1);
  const v = p + t;
  const v1 = v - p;
  const ve = p - (v - v1) + (t - v1);
  return v + oddSum(te, ve);
}

/** Whether all operands allow the quick way in binary32: exponents well inside that format. */
function isMiddling32(x: u32): bool {
  return ((x >> 23) & 0xff) - 80 < 90;
}

let quick64: u64 = 0;
/** Leaves the result in quick64 if it is certain. */
function tries64(a: u64, b: u64, c: u64, signs: i32): bool {
  const x = reinterpret<f64>(a ^ ((<u64>(signs & 1)) << 63));
  const y = reinterpret<f64>(b);
  const z = reinterpret<f64>(c ^ ((<u64>(signs >> 1)) << 63));
  if (!isMiddling(x) || !isMiddling(y) || !isMiddling(z)) return false;
  const r = exactly64(x, y, z);
  // An exact zero has its own rule of signs.
  if (r == 0) return false;
  quick64 = reinterpret<u64>(r);
  return true;
}

let quick32: u32 = 0;
function tries32(a: u32, b: u32, c: u32, signs: i32): bool {
  if (!isMiddling32(a) || !isMiddling32(b) || !isMiddling32(c)) return false;
  // The product of two binary32 numbers is exact in binary64.
  const p = f64(reinterpret<f32>(a ^ ((<u32>(signs & 1)) << 31))) * f64(reinterpret<f32>(b));
  const r = f32(oddSum(p, f64(reinterpret<f32>(c ^ ((<u32>(signs >> 1)) << 31)))));
  if (!isNormal32(r)) return false;
  quick32 = reinterpret<u32>(r);
  return true;
}

export function sse_fma_sd(cpu: u32, a: u64, b: u64, c: u64, signs: i32): u64 {
  if (inexactIsFree(load<u32>(cpu, CPU_MXCSR)) && tries64(a, b, c, signs)) return quick64;
  begin(cpu);
  const slow = f64_fma_signed(a, b, c, signs);
  finish(cpu);
  return slow;
}

export function sse_fma_ss(cpu: u32, a: u32, b: u32, c: u32, signs: i32): u32 {
  if (inexactIsFree(load<u32>(cpu, CPU_MXCSR)) && tries32(a, b, c, signs)) return quick32;
  begin(cpu);
  const slow = f32_fma_signed(a, b, c, signs);
  finish(cpu);
  return slow;
}

function lane64(v: v128, i: u8): u64 {
  return i == 0 ? v128.extract_lane<u64>(v, 0) : v128.extract_lane<u64>(v, 1);
}

export function sse_fma_pd(cpu: u32, a: v128, b: v128, c: v128, signs: i32): v128 {
  if (inexactIsFree(load<u32>(cpu, CPU_MXCSR)) && tries64(lane64(a, 0), lane64(b, 0), lane64(c, 0), signs)) {
    const low = quick64;
    if (tries64(lane64(a, 1), lane64(b, 1), lane64(c, 1), signs)) return pair(low, quick64);
  }
  begin(cpu);
  const r0 = f64_fma_signed(lane64(a, 0), lane64(b, 0), lane64(c, 0), signs);
  const r1 = f64_fma_signed(lane64(a, 1), lane64(b, 1), lane64(c, 1), signs);
  finish(cpu);
  return pair(r0, r1);
}

export function sse_fma_ps(cpu: u32, a: v128, b: v128, c: v128, signs: i32): v128 {
  const a0 = v128.extract_lane<u32>(a, 0);
  const b0 = v128.extract_lane<u32>(b, 0);
  const c0 = v128.extract_lane<u32>(c, 0);
  const a1 = v128.extract_lane<u32>(a, 1);
  const b1 = v128.extract_lane<u32>(b, 1);
  const c1 = v128.extract_lane<u32>(c, 1);
  const a2 = v128.extract_lane<u32>(a, 2);
  const b2 = v128.extract_lane<u32>(b, 2);
  const c2 = v128.extract_lane<u32>(c, 2);
  const a3 = v128.extract_lane<u32>(a, 3);
  const b3 = v128.extract_lane<u32>(b, 3);
  const c3 = v128.extract_lane<u32>(c, 3);
  if (inexactIsFree(load<u32>(cpu, CPU_MXCSR)) && tries32(a0, b0, c0, signs)) {
    const q0 = quick32;
    if (tries32(a1, b1, c1, signs)) {
      const q1 = quick32;
      if (tries32(a2, b2, c2, signs)) {
        const q2 = quick32;
        if (tries32(a3, b3, c3, signs)) return quad(q0, q1, q2, quick32);
      }
    }
  }
  begin(cpu);
  const r0 = f32_fma_signed(a0, b0, c0, signs);
  const r1 = f32_fma_signed(a1, b1, c1, signs);
  const r2 = f32_fma_signed(a2, b2, c2, signs);
  const r3 = f32_fma_signed(a3, b3, c3, signs);
  finish(cpu);
  return quad(r0, r1, r2, r3);
}
