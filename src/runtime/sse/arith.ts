// ADD SUB MUL DIV SQRT MIN MAX on scalar and packed binary32 and binary64. Values are bit patterns. An unmasked
// exception is left in the field sse_fault, and the row must then not write its destination.

import { CPU_MXCSR } from '../gen/layout';
import { f32_max, f32_min, f64_max, f64_min } from '../softfloat';
import { Add, Div, Mul, Sqrt, Sub } from './operations';
import {
  everyLane32,
  everyLane64,
  inexactIsFree,
  isNormal32,
  isNormal64,
  isPlain32,
  isPlain64,
  normalLanes32,
  normalLanes64,
  plainLanes32,
  plainLanes64,
  roundsToNearest,
  zeroLanes32,
  zeroLanes64,
} from './quick';
import { begin, finish, pair, quad } from './slow';

/** The operation without instance that T is. */
function op<T>(): T {
  return changetype<T>(0);
}

// Each operation has three ways: native at once; native after a closer look (zeros, and exact results where PE is
// clear); softfloat.

function scalar64<T>(cpu: u32, a: u64, b: u64): u64 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  const r = op<T>().d(x, y);
  if (isNormal64(r) && isPlain64(x) && isPlain64(y) && inexactIsFree(load<u32>(cpu, CPU_MXCSR))) {
    return reinterpret<u64>(r);
  }
  return rare64<T>(cpu, x, y, r);
}

function rare64<T>(cpu: u32, x: f64, y: f64, r: f64): u64 {
  if (isPlain64(x) && isPlain64(y) && roundsToNearest(load<u32>(cpu, CPU_MXCSR))) {
    const known = r == 0 ? op<T>().zero64(x, y) : isNormal64(r) && op<T>().exact64(x, y, r);
    if (known) return reinterpret<u64>(r);
  }
  begin(cpu);
  const slow = op<T>().soft64(reinterpret<u64>(x), reinterpret<u64>(y));
  finish(cpu);
  return slow;
}

function scalar32<T>(cpu: u32, a: u32, b: u32): u32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  const r = op<T>().s(x, y);
  if (isNormal32(r) && isPlain32(x) && isPlain32(y) && inexactIsFree(load<u32>(cpu, CPU_MXCSR))) {
    return reinterpret<u32>(r);
  }
  return rare32<T>(cpu, x, y, r);
}

function rare32<T>(cpu: u32, x: f32, y: f32, r: f32): u32 {
  if (isPlain32(x) && isPlain32(y) && roundsToNearest(load<u32>(cpu, CPU_MXCSR))) {
    const known = r == 0 ? op<T>().zero32(x, y) : isNormal32(r) && op<T>().exact32(x, y, r);
    if (known) return reinterpret<u32>(r);
  }
  begin(cpu);
  const slow = op<T>().soft32(reinterpret<u32>(x), reinterpret<u32>(y));
  finish(cpu);
  return slow;
}

function packed64<T>(cpu: u32, a: v128, b: v128): v128 {
  const r = op<T>().dd(a, b);
  const zero = v128.and(zeroLanes64(r), op<T>().zeros64(a, b));
  const plain = v128.and(plainLanes64(a), plainLanes64(b));
  if (everyLane64(v128.and(v128.or(normalLanes64(r), zero), plain)) && inexactIsFree(load<u32>(cpu, CPU_MXCSR))) {
    return r;
  }
  return slow64x2<T>(cpu, a, b);
}

/** Both elements; flags are gathered over them (SDM vol.1 11.5.3). */
function slow64x2<T>(cpu: u32, a: v128, b: v128): v128 {
  begin(cpu);
  const r0 = op<T>().soft64(v128.extract_lane<u64>(a, 0), v128.extract_lane<u64>(b, 0));
  const r1 = op<T>().soft64(v128.extract_lane<u64>(a, 1), v128.extract_lane<u64>(b, 1));
  finish(cpu);
  return pair(r0, r1);
}

function packed32<T>(cpu: u32, a: v128, b: v128): v128 {
  const r = op<T>().ssss(a, b);
  const zero = v128.and(zeroLanes32(r), op<T>().zeros32(a, b));
  const plain = v128.and(plainLanes32(a), plainLanes32(b));
  if (everyLane32(v128.and(v128.or(normalLanes32(r), zero), plain)) && inexactIsFree(load<u32>(cpu, CPU_MXCSR))) {
    return r;
  }
  return slow32x4<T>(cpu, a, b);
}

function slow32x4<T>(cpu: u32, a: v128, b: v128): v128 {
  begin(cpu);
  const r0 = op<T>().soft32(v128.extract_lane<u32>(a, 0), v128.extract_lane<u32>(b, 0));
  const r1 = op<T>().soft32(v128.extract_lane<u32>(a, 1), v128.extract_lane<u32>(b, 1));
  const r2 = op<T>().soft32(v128.extract_lane<u32>(a, 2), v128.extract_lane<u32>(b, 2));
  const r3 = op<T>().soft32(v128.extract_lane<u32>(a, 3), v128.extract_lane<u32>(b, 3));
  finish(cpu);
  return quad(r0, r1, r2, r3);
}

export function sse_add_sd(cpu: u32, a: u64, b: u64): u64 {
  return scalar64<Add>(cpu, a, b);
}
export function sse_sub_sd(cpu: u32, a: u64, b: u64): u64 {
  return scalar64<Sub>(cpu, a, b);
}
export function sse_mul_sd(cpu: u32, a: u64, b: u64): u64 {
  return scalar64<Mul>(cpu, a, b);
}
export function sse_div_sd(cpu: u32, a: u64, b: u64): u64 {
  return scalar64<Div>(cpu, a, b);
}
export function sse_sqrt_sd(cpu: u32, a: u64): u64 {
  return scalar64<Sqrt>(cpu, a, a);
}
export function sse_add_ss(cpu: u32, a: u32, b: u32): u32 {
  return scalar32<Add>(cpu, a, b);
}
export function sse_sub_ss(cpu: u32, a: u32, b: u32): u32 {
  return scalar32<Sub>(cpu, a, b);
}
export function sse_mul_ss(cpu: u32, a: u32, b: u32): u32 {
  return scalar32<Mul>(cpu, a, b);
}
export function sse_div_ss(cpu: u32, a: u32, b: u32): u32 {
  return scalar32<Div>(cpu, a, b);
}
export function sse_sqrt_ss(cpu: u32, a: u32): u32 {
  return scalar32<Sqrt>(cpu, a, a);
}
export function sse_add_pd(cpu: u32, a: v128, b: v128): v128 {
  return packed64<Add>(cpu, a, b);
}
export function sse_sub_pd(cpu: u32, a: v128, b: v128): v128 {
  return packed64<Sub>(cpu, a, b);
}
export function sse_mul_pd(cpu: u32, a: v128, b: v128): v128 {
  return packed64<Mul>(cpu, a, b);
}
export function sse_div_pd(cpu: u32, a: v128, b: v128): v128 {
  return packed64<Div>(cpu, a, b);
}
export function sse_sqrt_pd(cpu: u32, a: v128): v128 {
  return packed64<Sqrt>(cpu, a, a);
}
export function sse_add_ps(cpu: u32, a: v128, b: v128): v128 {
  return packed32<Add>(cpu, a, b);
}
export function sse_sub_ps(cpu: u32, a: v128, b: v128): v128 {
  return packed32<Sub>(cpu, a, b);
}
export function sse_mul_ps(cpu: u32, a: v128, b: v128): v128 {
  return packed32<Mul>(cpu, a, b);
}
export function sse_div_ps(cpu: u32, a: v128, b: v128): v128 {
  return packed32<Div>(cpu, a, b);
}
export function sse_sqrt_ps(cpu: u32, a: v128): v128 {
  return packed32<Sqrt>(cpu, a, a);
}

// MIN takes the first operand only if it is smaller, MAX only if it is greater: of equal zeros the second. NaNs and
// denormals are left to softfloat.

export function sse_min_sd(cpu: u32, a: u64, b: u64): u64 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  if (x == x && y == y && isPlain64(x) && isPlain64(y)) return x < y ? a : b;
  begin(cpu);
  const slow = f64_min(a, b);
  finish(cpu);
  return slow;
}
export function sse_min_ss(cpu: u32, a: u32, b: u32): u32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  if (x == x && y == y && isPlain32(x) && isPlain32(y)) return x < y ? a : b;
  begin(cpu);
  const slow = f32_min(a, b);
  finish(cpu);
  return slow;
}
export function sse_min_pd(cpu: u32, a: v128, b: v128): v128 {
  if (everyLane64(v128.and(plainLanes64(a), plainLanes64(b)))) return v128.pmin<f64>(b, a);
  begin(cpu);
  const r0 = f64_min(v128.extract_lane<u64>(a, 0), v128.extract_lane<u64>(b, 0));
  const r1 = f64_min(v128.extract_lane<u64>(a, 1), v128.extract_lane<u64>(b, 1));
  finish(cpu);
  return pair(r0, r1);
}
export function sse_min_ps(cpu: u32, a: v128, b: v128): v128 {
  if (everyLane32(v128.and(plainLanes32(a), plainLanes32(b)))) return v128.pmin<f32>(b, a);
  begin(cpu);
  const r0 = f32_min(v128.extract_lane<u32>(a, 0), v128.extract_lane<u32>(b, 0));
  const r1 = f32_min(v128.extract_lane<u32>(a, 1), v128.extract_lane<u32>(b, 1));
  const r2 = f32_min(v128.extract_lane<u32>(a, 2), v128.extract_lane<u32>(b, 2));
  const r3 = f32_min(v128.extract_lane<u32>(a, 3), v128.extract_lane<u32>(b, 3));
  finish(cpu);
  return quad(r0, r1, r2, r3);
}
export function sse_max_sd(cpu: u32, a: u64, b: u64): u64 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  if (x == x && y == y && isPlain64(x) && isPlain64(y)) return x > y ? a : b;
  begin(cpu);
  const slow = f64_max(a, b);
  finish(cpu);
  return slow;
}
export function sse_max_ss(cpu: u32, a: u32, b: u32): u32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  if (x == x && y == y && isPlain32(x) && isPlain32(y)) return x > y ? a : b;
  begin(cpu);
  const slow = f32_max(a, b);
  finish(cpu);
  return slow;
}
export function sse_max_pd(cpu: u32, a: v128, b: v128): v128 {
  if (everyLane64(v128.and(plainLanes64(a), plainLanes64(b)))) return v128.pmax<f64>(b, a);
  begin(cpu);
  const r0 = f64_max(v128.extract_lane<u64>(a, 0), v128.extract_lane<u64>(b, 0));
  const r1 = f64_max(v128.extract_lane<u64>(a, 1), v128.extract_lane<u64>(b, 1));
  finish(cpu);
  return pair(r0, r1);
}
export function sse_max_ps(cpu: u32, a: v128, b: v128): v128 {
  if (everyLane32(v128.and(plainLanes32(a), plainLanes32(b)))) return v128.pmax<f32>(b, a);
  begin(cpu);
  const r0 = f32_max(v128.extract_lane<u32>(a, 0), v128.extract_lane<u32>(b, 0));
  const r1 = f32_max(v128.extract_lane<u32>(a, 1), v128.extract_lane<u32>(b, 1));
  const r2 = f32_max(v128.extract_lane<u32>(a, 2), v128.extract_lane<u32>(b, 2));
  const r3 = f32_max(v128.extract_lane<u32>(a, 3), v128.extract_lane<u32>(b, 3));
  finish(cpu);
  return quad(r0, r1, r2, r3);
}
