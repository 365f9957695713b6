// binary16 to and from binary32, as VCVTPH2PS and VCVTPS2PH convert one element.

import { DE, Fp, IE, QNAN, raise, SNAN } from './env';
import { resFromA } from './integer';
import { A, a32 } from './operand';
import { pack16 } from './round';

/** To binary32, exactly. Denormals raise nothing and are never zeros; IE for a signalling NaN. */
export function f16_to_f32(a: u32): u32 {
  const sign = (a & 0x8000) << 16;
  const exponent = (a >> 10) & 31;
  const fraction = a & 0x3ff;
  if (exponent == 31) {
    if (fraction == 0) return sign | 0x7f800000;
    if ((fraction & 0x200) == 0) raise(IE);
    return sign | 0x7fc00000 | (fraction << 13);
  }
  if (exponent != 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction == 0) return sign;
  const shift = clz<u32>(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}

/**
 * From binary32. imm: bits 0-1 rounding mode, bit 2 use MXCSR's instead. MXCSR.FTZ has no effect; the caller's
 * environment is left as it was.
 */
export function f32_to_f16(a: u32, imm: i32): u32 {
  a32(a);
  if (A.kind >= QNAN) {
    if (A.kind == SNAN) raise(IE);
    return (u32(A.sign) << 15) | 0x7e00 | u32((A.sig << 1) >> 54);
  }
  if (A.denormal != 0) raise(DE);
  const mode = Fp.rounding;
  const ftz = Fp.ftz;
  if ((imm & 4) == 0) Fp.rounding = imm & 3;
  Fp.ftz = 0;
  resFromA();
  const r = pack16();
  Fp.rounding = mode;
  Fp.ftz = ftz;
  return r;
}
