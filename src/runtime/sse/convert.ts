// Conversions between binary32, binary64 and signed integers. `truncate` is 1 for the CVTT forms.
// Natively converted are the values of which a second, exact conversion tells whether anything was lost.

import { CPU_MXCSR } from '../gen/layout';
import {
  f32_to_f64,
  f32_to_i32,
  f32_to_i32_trunc,
  f32_to_i64,
  f32_to_i64_trunc,
  f64_to_f32,
  f64_to_i32,
  f64_to_i32_trunc,
  f64_to_i64,
  f64_to_i64_trunc,
  i32_to_f32,
  i64_to_f32,
  i64_to_f64,
} from '../softfloat';
import {
  everyLane32,
  everyLane64,
  inexactIsFree,
  isNormal32,
  isPlain32,
  isPlain64,
  normalLanes32,
  plainLanes32,
  plainLanes64,
  roundsToNearest,
  zeroLanes64,
} from './quick';
import { begin, finish, pair, quad } from './slow';

/** An inexact result may be returned; or an exact one. */
function accepted(cpu: u32, exact: bool): bool {
  const mxcsr = load<u32>(cpu, CPU_MXCSR);
  return inexactIsFree(mxcsr) || (exact && roundsToNearest(mxcsr));
}

/** CVTSI2SS from 32 bits. */
export function sse_i32_to_ss(cpu: u32, a: i32): u32 {
  const r = f32(a);
  if (accepted(cpu, f64(r) == f64(a))) return reinterpret<u32>(r);
  begin(cpu);
  const slow = i32_to_f32(a);
  finish(cpu);
  return slow;
}

/** CVTSI2SS from 64 bits. */
export function sse_i64_to_ss(cpu: u32, a: i64): u32 {
  // A conversion back would overflow for results of 2^63; those go the slow way.
  const r = f32(a);
  if (accepted(cpu, abs<f32>(r) < 9223372036854775808.0 && i64(r) == a)) return reinterpret<u32>(r);
  begin(cpu);
  const slow = i64_to_f32(a);
  finish(cpu);
  return slow;
}

/** CVTSI2SD from 64 bits. */
export function sse_i64_to_sd(cpu: u32, a: i64): u64 {
  const r = f64(a);
  if (accepted(cpu, abs<f64>(r) < 9223372036854775808.0 && i64(r) == a)) return reinterpret<u64>(r);
  begin(cpu);
  const slow = i64_to_f64(a);
  finish(cpu);
  return slow;
}

/** CVTSS2SD: exact. */
export function sse_ss_to_sd(cpu: u32, a: u32): u64 {
  const x = reinterpret<f32>(a);
  if (x == x && isPlain32(x)) return reinterpret<u64>(f64(x));
  begin(cpu);
  const r = f32_to_f64(a);
  finish(cpu);
  return r;
}

/** CVTSD2SS. */
export function sse_sd_to_ss(cpu: u32, a: u64): u32 {
  const x = reinterpret<f64>(a);
  const r = f32(x);
  if ((isNormal32(r) || x == 0) && accepted(cpu, f64(r) == x)) return reinterpret<u32>(r);
  begin(cpu);
  const slow = f64_to_f32(a);
  finish(cpu);
  return slow;
}

/** Rounds to an integral value, by truncation or to nearest. */
function rounded(x: f64, truncate: i32): f64 {
  return truncate != 0 ? trunc<f64>(x) : nearest<f64>(x);
}

/** Whether the integral value `r` of `x` is what the instruction gives, with the flags as they are. */
function keeps(cpu: u32, x: f64, r: f64, truncate: i32): bool {
  if (r == x) return isPlain64(x);
  const mxcsr = load<u32>(cpu, CPU_MXCSR);
  // Truncation does not ask RC, so only PE matters: PM and PE set. (MXCSR bits 5 and 12.)
  return isPlain64(x) && (truncate != 0 ? (mxcsr & 0x1020) == 0x1020 : inexactIsFree(mxcsr));
}

/** CVTSD2SI and CVTTSD2SI to 32 bits. */
export function sse_sd_to_i32(cpu: u32, a: u64, truncate: i32): i32 {
  const x = reinterpret<f64>(a);
  const r = rounded(x, truncate);
  if (r >= -2147483648.0 && r <= 2147483647.0 && keeps(cpu, x, r, truncate)) return i32(r);
  begin(cpu);
  const slow = truncate != 0 ? f64_to_i32_trunc(a) : f64_to_i32(a);
  finish(cpu);
  return slow;
}

/** CVTSD2SI and CVTTSD2SI to 64 bits. */
export function sse_sd_to_i64(cpu: u32, a: u64, truncate: i32): i64 {
  const x = reinterpret<f64>(a);
  const r = rounded(x, truncate);
  if (abs<f64>(r) < 9223372036854775808.0 && keeps(cpu, x, r, truncate)) return i64(r);
  begin(cpu);
  const slow = truncate != 0 ? f64_to_i64_trunc(a) : f64_to_i64(a);
  finish(cpu);
  return slow;
}

/** CVTSS2SI and CVTTSS2SI to 32 bits. */
export function sse_ss_to_i32(cpu: u32, a: u32, truncate: i32): i32 {
  const x = f64(reinterpret<f32>(a));
  const r = rounded(x, truncate);
  const plain = isPlain32(reinterpret<f32>(a));
  if (plain && r >= -2147483648.0 && r <= 2147483647.0 && keeps(cpu, x, r, truncate)) return i32(r);
  begin(cpu);
  const slow = truncate != 0 ? f32_to_i32_trunc(a) : f32_to_i32(a);
  finish(cpu);
  return slow;
}

/** CVTSS2SI and CVTTSS2SI to 64 bits. */
export function sse_ss_to_i64(cpu: u32, a: u32, truncate: i32): i64 {
  const x = f64(reinterpret<f32>(a));
  const r = rounded(x, truncate);
  const plain = isPlain32(reinterpret<f32>(a));
  if (plain && abs<f64>(r) < 9223372036854775808.0 && keeps(cpu, x, r, truncate)) return i64(r);
  begin(cpu);
  const slow = truncate != 0 ? f32_to_i64_trunc(a) : f32_to_i64(a);
  finish(cpu);
  return slow;
}

/** CVTDQ2PS. */
export function sse_dq_to_ps(cpu: u32, a: v128): v128 {
  if (inexactIsFree(load<u32>(cpu, CPU_MXCSR))) return f32x4.convert_i32x4_s(a);
  begin(cpu);
  const r0 = i32_to_f32(v128.extract_lane<i32>(a, 0));
  const r1 = i32_to_f32(v128.extract_lane<i32>(a, 1));
  const r2 = i32_to_f32(v128.extract_lane<i32>(a, 2));
  const r3 = i32_to_f32(v128.extract_lane<i32>(a, 3));
  finish(cpu);
  return quad(r0, r1, r2, r3);
}

/** CVTPS2DQ and CVTTPS2DQ. */
export function sse_ps_to_dq(cpu: u32, a: v128, truncate: i32): v128 {
  const r = truncate != 0 ? v128.trunc<f32>(a) : v128.nearest<f32>(a);
  const inside = v128.lt<f32>(v128.abs<f32>(r), f32x4.splat(2147483648.0));
  if (
    everyLane32(v128.and(inside, plainLanes32(a))) &&
    (everyLane32(v128.eq<f32>(r, a)) || inexactIsFree(load<u32>(cpu, CPU_MXCSR)))
  ) {
    return i32x4.trunc_sat_f32x4_s(r);
  }
  begin(cpu);
  const r0 = element32(v128.extract_lane<u32>(a, 0), truncate);
  const r1 = element32(v128.extract_lane<u32>(a, 1), truncate);
  const r2 = element32(v128.extract_lane<u32>(a, 2), truncate);
  const r3 = element32(v128.extract_lane<u32>(a, 3), truncate);
  finish(cpu);
  return quad(r0, r1, r2, r3);
}

function element32(a: u32, truncate: i32): i32 {
  return truncate != 0 ? f32_to_i32_trunc(a) : f32_to_i32(a);
}

function element64(a: u64, truncate: i32): i32 {
  return truncate != 0 ? f64_to_i32_trunc(a) : f64_to_i32(a);
}

/** CVTPD2DQ and CVTTPD2DQ: two doublewords, zeros above. */
export function sse_pd_to_dq(cpu: u32, a: v128, truncate: i32): v128 {
  const r = truncate != 0 ? v128.trunc<f64>(a) : v128.nearest<f64>(a);
  const inside = v128.and(v128.ge<f64>(r, f64x2.splat(-2147483648.0)), v128.le<f64>(r, f64x2.splat(2147483647.0)));
  if (
    everyLane64(v128.and(inside, plainLanes64(a))) &&
    (everyLane64(v128.eq<f64>(r, a)) || inexactIsFree(load<u32>(cpu, CPU_MXCSR)))
  ) {
    return i32x4.trunc_sat_f64x2_s_zero(r);
  }
  begin(cpu);
  const r0 = element64(v128.extract_lane<u64>(a, 0), truncate);
  const r1 = element64(v128.extract_lane<u64>(a, 1), truncate);
  finish(cpu);
  return quad(r0, r1, 0, 0);
}

/** CVTPS2PD of the two low elements. */
export function sse_ps_to_pd(cpu: u32, a: v128): v128 {
  const low = v128.and(a, i64x2(-1, 0));
  if (everyLane32(plainLanes32(low))) return f64x2.promote_low_f32x4(a);
  begin(cpu);
  const r0 = f32_to_f64(v128.extract_lane<u32>(a, 0));
  const r1 = f32_to_f64(v128.extract_lane<u32>(a, 1));
  finish(cpu);
  return pair(r0, r1);
}

/** CVTPD2PS: two elements, zeros above. */
export function sse_pd_to_ps(cpu: u32, a: v128): v128 {
  const r = f32x4.demote_f64x2_zero(a);
  // Zero results are exact where the operand is zero, and in the two lanes above.
  const zero = i8x16.shuffle(zeroLanes64(a), i64x2.splat(-1), 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23);
  const good = v128.or(normalLanes32(r), zero);
  if (everyLane32(good) && inexactIsFree(load<u32>(cpu, CPU_MXCSR))) return r;
  begin(cpu);
  const r0 = f64_to_f32(v128.extract_lane<u64>(a, 0));
  const r1 = f64_to_f32(v128.extract_lane<u64>(a, 1));
  finish(cpu);
  return quad(r0, r1, 0, 0);
}
