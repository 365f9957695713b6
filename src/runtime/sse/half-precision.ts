// F16C: VCVTPH2PS and VCVTPS2PH on four elements.

import { f16_to_f32, f32_to_f16 } from '../softfloat';
import { begin, finish, quad } from './slow';

/** The four binary16 elements in the low half, as binary32. */
export function sse_ph_to_ps(cpu: u32, a: v128): v128 {
  begin(cpu);
  const r0 = f16_to_f32(v128.extract_lane<u16>(a, 0));
  const r1 = f16_to_f32(v128.extract_lane<u16>(a, 1));
  const r2 = f16_to_f32(v128.extract_lane<u16>(a, 2));
  const r3 = f16_to_f32(v128.extract_lane<u16>(a, 3));
  finish(cpu);
  return quad(r0, r1, r2, r3);
}

/** Four binary32 elements as binary16 in the low half, zeros above. */
export function sse_ps_to_ph(cpu: u32, a: v128, imm: i32): v128 {
  begin(cpu);
  const r0 = f32_to_f16(v128.extract_lane<u32>(a, 0), imm);
  const r1 = f32_to_f16(v128.extract_lane<u32>(a, 1), imm);
  const r2 = f32_to_f16(v128.extract_lane<u32>(a, 2), imm);
  const r3 = f32_to_f16(v128.extract_lane<u32>(a, 3), imm);
  finish(cpu);
  return quad(r0 | (r1 << 16), r2 | (r3 << 16), 0, 0);
}
