// Packed BCD of FBLD and FBSTP: 18 digits and a sign in ten bytes.
//   low u64:  digits 0-15, four bits each      high u16: digits 16-17 in bits 0-7, sign in bit 15

import { FINITE, Fp, IE, PE, raise, ZERO } from './env';
import { A } from './operand';
import { roundFixed } from './round';
import { shiftRightJam, W } from './wide';

/** Bits 64-79 of the last BCD result. */
export class Bcd {
  static high: i32 = 0;
}

/** The magnitude of a BCD operand; digits above 9 count by their place value. */
export function bcdMagnitude(low: u64, high: i32): u64 {
  let value = u64((high >> 4) & 15) * 10 + u64(high & 15);
  for (let shift = 60; shift >= 0; shift -= 4) value = value * 10 + ((low >> u64(shift)) & 15);
  return value;
}

/** A rounded to an 18-digit BCD integer: low 64 bits, the rest in Bcd.high. Out of range: IE and the indefinite. */
export function toBcd(): u64 {
  Fp.roundedUp = 0;
  if (A.kind == ZERO) {
    Bcd.high = A.sign << 15;
    return 0;
  }
  if (A.kind == FINITE && A.exp < 60) {
    shiftRightJam(A.sig, 0, 63 - A.exp);
    const fraction = W.lo;
    let value = roundFixed(A.sign, W.hi, fraction);
    if (value <= 999999999999999999) {
      if (fraction != 0) raise(PE);
      let low: u64 = 0;
      for (let shift: u64 = 0; shift < 64; shift += 4) {
        low |= (value % 10) << shift;
        value /= 10;
      }
      Bcd.high = (A.sign << 15) | i32((value / 10) << 4) | i32(value % 10);
      return low;
    }
  }
  raise(IE);
  Fp.roundedUp = 0;
  Bcd.high = 0xffff;
  return 0xc000000000000000;
}
