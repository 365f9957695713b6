// ROUNDSS, ROUNDSD, ROUNDPS, ROUNDPD. `imm`: bits 0-1 rounding mode, bit 2 MXCSR's instead, bit 3 PE is not raised.
// Natively rounded are numbers that are not denormal, in a way that cannot newly set PE.

import { CPU_MXCSR } from '../gen/layout';
import { f32_round, f64_round } from '../softfloat';
import { everyLane32, everyLane64, isPlain32, isPlain64, plainLanes32, plainLanes64 } from './quick';
import { begin, finish, pair, quad } from './slow';

/** MXCSR: 5 PE, 12 PM, 13-14 RC. */
const PE_PM: u32 = 0x1020;

function modeOf(cpu: u32, imm: i32): i32 {
  return imm & 4 ? i32((load<u32>(cpu, CPU_MXCSR) >> 13) & 3) : imm & 3;
}
/** Whether an inexact result changes nothing: PE is not asked for, or set and masked already. */
function inexactIsSilent(cpu: u32, imm: i32): bool {
  return (imm & 8) != 0 || (load<u32>(cpu, CPU_MXCSR) & PE_PM) == PE_PM;
}

function rounded<T>(x: T, mode: i32): T {
  if (mode == 0) return nearest<T>(x);
  if (mode == 1) return floor<T>(x);
  return mode == 2 ? ceil<T>(x) : trunc<T>(x);
}
function roundedLanes<T>(v: v128, mode: i32): v128 {
  if (mode == 0) return v128.nearest<T>(v);
  if (mode == 1) return v128.floor<T>(v);
  return mode == 2 ? v128.ceil<T>(v) : v128.trunc<T>(v);
}

export function sse_round_ss(cpu: u32, a: u32, imm: i32): u32 {
  const x = reinterpret<f32>(a);
  const r = rounded<f32>(x, modeOf(cpu, imm));
  if (x == x && isPlain32(x) && (r == x || inexactIsSilent(cpu, imm))) return reinterpret<u32>(r);
  begin(cpu);
  const slow = f32_round(a, imm);
  finish(cpu);
  return slow;
}

export function sse_round_sd(cpu: u32, a: u64, imm: i32): u64 {
  const x = reinterpret<f64>(a);
  const r = rounded<f64>(x, modeOf(cpu, imm));
  if (x == x && isPlain64(x) && (r == x || inexactIsSilent(cpu, imm))) return reinterpret<u64>(r);
  begin(cpu);
  const slow = f64_round(a, imm);
  finish(cpu);
  return slow;
}

export function sse_round_ps(cpu: u32, a: v128, imm: i32): v128 {
  const r = roundedLanes<f32>(a, modeOf(cpu, imm));
  if (everyLane32(plainLanes32(a)) && (inexactIsSilent(cpu, imm) || everyLane32(v128.eq<f32>(a, r)))) return r;
  begin(cpu);
  const r0 = f32_round(v128.extract_lane<u32>(a, 0), imm);
  const r1 = f32_round(v128.extract_lane<u32>(a, 1), imm);
  const r2 = f32_round(v128.extract_lane<u32>(a, 2), imm);
  const r3 = f32_round(v128.extract_lane<u32>(a, 3), imm);
  finish(cpu);
  return quad(r0, r1, r2, r3);
}

export function sse_round_pd(cpu: u32, a: v128, imm: i32): v128 {
  const r = roundedLanes<f64>(a, modeOf(cpu, imm));
  if (everyLane64(plainLanes64(a)) && (inexactIsSilent(cpu, imm) || everyLane64(v128.eq<f64>(a, r)))) return r;
  begin(cpu);
  const r0 = f64_round(v128.extract_lane<u64>(a, 0), imm);
  const r1 = f64_round(v128.extract_lane<u64>(a, 1), imm);
  finish(cpu);
  return pair(r0, r1);
}
