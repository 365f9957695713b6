// CMPxx, COMISx and UCOMISx. Operands that are neither NaN nor denormal raise nothing and are compared natively.

import { f32_cmp, f32_comi, f64_cmp, f64_comi } from '../softfloat';
import { everyLane32, everyLane64, isPlain32, isPlain64, plainLanes32, plainLanes64 } from './quick';
import { begin, finish, pair, quad } from './slow';

/**
 * Predicates between ordered operands: EQ LT LE UNORD, and with bit 2 set the opposite. Bits 3 and 4, which AVX has,
 * only matter for NaNs.
 */
function holds<T>(a: T, b: T, predicate: i32): bool {
  const opposite = (predicate & 4) != 0;
  switch (predicate & 3) {
    case 0:
      return (a == b) != opposite;
    case 1:
      return a < b != opposite;
    case 2:
      return a <= b != opposite;
    default:
      return opposite;
  }
}

/** All ones or zero. The predicate is 0-31. */
export function sse_cmp_sd(cpu: u32, a: u64, b: u64, predicate: i32): u64 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  if (x == x && y == y && isPlain64(x) && isPlain64(y)) return holds(x, y, predicate) ? -1 : 0;
  begin(cpu);
  const r = f64_cmp(a, b, predicate);
  finish(cpu);
  return r;
}

export function sse_cmp_ss(cpu: u32, a: u32, b: u32, predicate: i32): u32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  if (x == x && y == y && isPlain32(x) && isPlain32(y)) return holds(x, y, predicate) ? -1 : 0;
  begin(cpu);
  const r = f32_cmp(a, b, predicate);
  finish(cpu);
  return r;
}

function lanesHold<T>(a: v128, b: v128, predicate: i32): v128 {
  let r: v128;
  switch (predicate & 3) {
    case 0:
      r = v128.eq<T>(a, b);
      break;
    case 1:
      r = v128.lt<T>(a, b);
      break;
    case 2:
      r = v128.le<T>(a, b);
      break;
    default:
      r = i64x2.splat(0);
  }
  return predicate & 4 ? v128.not(r) : r;
}

export function sse_cmp_pd(cpu: u32, a: v128, b: v128, predicate: i32): v128 {
  if (everyLane64(v128.and(plainLanes64(a), plainLanes64(b)))) return lanesHold<f64>(a, b, predicate);
  begin(cpu);
  const low = f64_cmp(v128.extract_lane<u64>(a, 0), v128.extract_lane<u64>(b, 0), predicate);
  const high = f64_cmp(v128.extract_lane<u64>(a, 1), v128.extract_lane<u64>(b, 1), predicate);
  finish(cpu);
  return pair(low, high);
}

export function sse_cmp_ps(cpu: u32, a: v128, b: v128, predicate: i32): v128 {
  if (everyLane32(v128.and(plainLanes32(a), plainLanes32(b)))) return lanesHold<f32>(a, b, predicate);
  begin(cpu);
  const r0 = f32_cmp(v128.extract_lane<u32>(a, 0), v128.extract_lane<u32>(b, 0), predicate);
  const r1 = f32_cmp(v128.extract_lane<u32>(a, 1), v128.extract_lane<u32>(b, 1), predicate);
  const r2 = f32_cmp(v128.extract_lane<u32>(a, 2), v128.extract_lane<u32>(b, 2), predicate);
  const r3 = f32_cmp(v128.extract_lane<u32>(a, 3), v128.extract_lane<u32>(b, 3), predicate);
  finish(cpu);
  return quad(r0, r1, r2, r3);
}

/** ZF (bit 6), PF (2) and CF (0): 0 greater, 1 less, 40h equal, 45h unordered. `signal` is 1 for COMISD. */
export function sse_comi_sd(cpu: u32, a: u64, b: u64, signal: i32): i32 {
  const x = reinterpret<f64>(a);
  const y = reinterpret<f64>(b);
  if (x == x && y == y && isPlain64(x) && isPlain64(y)) return i32(x < y) | (i32(x == y) << 6);
  begin(cpu);
  const r = f64_comi(a, b, signal);
  finish(cpu);
  return r;
}

export function sse_comi_ss(cpu: u32, a: u32, b: u32, signal: i32): i32 {
  const x = reinterpret<f32>(a);
  const y = reinterpret<f32>(b);
  if (x == x && y == y && isPlain32(x) && isPlain32(y)) return i32(x < y) | (i32(x == y) << 6);
  begin(cpu);
  const r = f32_comi(a, b, signal);
  finish(cpu);
  return r;
}
