// Rounding and packing. An operation leaves its exact result (or a result with a sticky bit) in `Res`; the pack
// functions round it to a format and raise OE, UE and PE. Tininess is detected after rounding, as x86 does
// (SDM vol.1 4.9.1.5).

import { DOWN, FINITE, Fp, INF, NEAREST, OE, PE, QNAN, raise, TRUNC, UE, UP, ZERO } from './env';
import { shiftRightJam, W } from './wide';

/**
 * Result before rounding: (-1)^sign * (hi:lo / 2^127) * 2^exp with bit 63 of hi set when kind is FINITE.
 * Bit 0 of lo stands for "and something more" where the result is inexact. QNAN is the default NaN.
 */
export class Res {
  static sign: i32 = 0;
  static exp: i32 = 0;
  static hi: u64 = 0;
  static lo: u64 = 0;
  static kind: i32 = 0;
}

/** Result after rounding: unbiased exponent and significand; bit 63 of sig is clear for subnormals. */
class Out {
  static exp: i32 = 0;
  static sig: u64 = 0;
  static kind: i32 = 0;
}

/** An 80-bit result: the significand is the function's value, sign and exponent are left here. */
export class F80 {
  static se: i32 = 0;
}

/** Sign and exponent of the last 80-bit result (bits 0-14 exponent, bit 15 sign). */
export function f80_se(): i32 {
  return F80.se;
}

/** Whether a value with `rest` below the last place, of which `half` is the middle, is rounded away from zero. */
function roundsAway(sign: i32, odd: bool, rest: u64, half: u64): bool {
  if (rest == 0) return false;
  switch (Fp.rounding) {
    case NEAREST:
      return rest > half || (rest == half && odd);
    case DOWN:
      return sign != 0;
    case UP:
      return sign == 0;
    default:
      return false;
  }
}

/** Whether rounding hi:lo to p bits carries into a new leading bit. */
function carries(sign: i32, hi: u64, lo: u64, p: i32): bool {
  if (p == 64) {
    return hi == 0xffffffffffffffff && roundsAway(sign, true, lo, 0x8000000000000000);
  }
  const mask = (u64(1) << (64 - p)) - 1;
  if (~(hi | mask) != 0) return false;
  return roundsAway(sign, true, (hi & mask) | u64(lo != 0), u64(1) << (63 - p));
}

/**
 * Rounds Res to p bits with exponents emin..emax into Out. `wrap` is what an unmasked overflow or underflow
 * subtracts from or adds to the exponent (x87 register destinations), 0 where no result is stored then.
 */
function roundResult(p: i32, emin: i32, emax: i32, wrap: i32): void {
  const sign = Res.sign;
  let exp = Res.exp;
  let hi = Res.hi;
  let lo = Res.lo;
  let tiny = false;
  Fp.roundedUp = 0;
  if (exp < emin) {
    tiny = exp < emin - 1 || !carries(sign, hi, lo, p);
    if (tiny && (Fp.masks & UE) == 0) {
      raise(UE);
      tiny = false;
      exp += wrap;
      if (wrap != 0 && exp < emin) return massiveUnderflow();
    } else {
      if (tiny && Fp.ftz != 0) {
        raise(UE | PE);
        Out.kind = ZERO;
        return;
      }
      shiftRightJam(hi, lo, emin - exp);
      hi = W.hi;
      lo = W.lo;
      exp = emin;
    }
  }
  const mask: u64 = p == 64 ? 0 : (u64(1) << (64 - p)) - 1;
  const unit = mask + 1;
  const rest = p == 64 ? lo : (hi & mask) | u64(lo != 0);
  const away = roundsAway(sign, (hi & unit) != 0, rest, p == 64 ? 0x8000000000000000 : unit >> 1);
  let sig = hi & ~mask;
  if (away) {
    sig += unit;
    if (sig == 0) {
      sig = 0x8000000000000000;
      exp++;
    }
  }
  if (exp > emax) {
    if ((Fp.masks & OE) != 0) return overflow(sign, p, emax);
    raise(OE);
    exp -= wrap;
    if (wrap != 0 && exp > emax) return massiveOverflow();
  }
  if (rest != 0) {
    raise(tiny ? UE | PE : PE);
    Fp.roundedUp = i32(away);
  }
  Out.kind = sig == 0 ? ZERO : FINITE;
  Out.exp = exp;
  Out.sig = sig;
}

/** The masked response to overflow: infinity or the largest finite number, by rounding mode and sign. */
function overflow(sign: i32, p: i32, emax: i32): void {
  raise(OE | PE);
  const mode = Fp.rounding;
  if (mode == TRUNC || (mode == DOWN && sign == 0) || (mode == UP && sign != 0)) {
    Out.kind = FINITE;
    Out.exp = emax;
    Out.sig = p == 64 ? 0xffffffffffffffff : ~((u64(1) << (64 - p)) - 1);
    Fp.roundedUp = 0;
  } else {
    Out.kind = INF;
    Fp.roundedUp = 1;
  }
}

/** Unmasked overflow by more than the exponent adjustment can hold (FSCALE): an infinity is stored. */
function massiveOverflow(): void {
  raise(PE);
  Out.kind = INF;
  Fp.roundedUp = 1;
}

/** Unmasked underflow by more than the exponent adjustment can hold (FSCALE): a zero is stored. */
function massiveUnderflow(): void {
  raise(PE);
  Out.kind = ZERO;
}

/** Rounds Res to 80-bit extended at the current precision. Returns the significand; F80.se has the rest. */
export function pack80(): u64 {
  return pack80To(Fp.precision);
}

/** Rounds Res to 80-bit extended with p significant bits. */
export function pack80To(p: i32): u64 {
  const sign = Res.sign << 15;
  let kind = Res.kind;
  if (kind == FINITE) {
    roundResult(p, -16382, 16383, 24576);
    kind = Out.kind;
    if (kind == FINITE) {
      F80.se = sign | (i64(Out.sig) < 0 ? Out.exp + 16383 : 0);
      return Out.sig;
    }
  } else {
    Fp.roundedUp = 0;
  }
  if (kind == ZERO) {
    F80.se = sign;
    return 0;
  }
  if (kind == INF) {
    F80.se = sign | 0x7fff;
    return 0x8000000000000000;
  }
  F80.se = 0xffff;
  return 0xc000000000000000;
}

/** Rounds Res to binary64. */
export function pack64(): u64 {
  const sign = u64(Res.sign) << 63;
  let kind = Res.kind;
  if (kind == FINITE) {
    roundResult(53, -1022, 1023, 0);
    kind = Out.kind;
    if (kind == FINITE) {
      const exponent: u64 = i64(Out.sig) < 0 ? u64(Out.exp + 1023) & 0x7ff : 0;
      return sign | (exponent << 52) | ((Out.sig << 1) >> 12);
    }
  } else {
    Fp.roundedUp = 0;
  }
  if (kind == ZERO) return sign;
  if (kind == INF) return sign | 0x7ff0000000000000;
  return 0xfff8000000000000;
}

/** Rounds Res to binary32. */
export function pack32(): u32 {
  const sign = u32(Res.sign) << 31;
  let kind = Res.kind;
  if (kind == FINITE) {
    roundResult(24, -126, 127, 0);
    kind = Out.kind;
    if (kind == FINITE) {
      const exponent: u32 = i64(Out.sig) < 0 ? u32(Out.exp + 127) & 0xff : 0;
      return sign | (exponent << 23) | u32((Out.sig << 1) >> 41);
    }
  } else {
    Fp.roundedUp = 0;
  }
  if (kind == ZERO) return sign;
  if (kind == INF) return sign | 0x7f800000;
  return 0xffc00000;
}

/** Rounds Res, which is not a NaN, to binary16. */
export function pack16(): u32 {
  const sign = u32(Res.sign) << 15;
  let kind = Res.kind;
  if (kind == FINITE) {
    roundResult(11, -14, 15, 0);
    kind = Out.kind;
    if (kind == FINITE) {
      const exponent: u32 = i64(Out.sig) < 0 ? u32(Out.exp + 15) & 31 : 0;
      return sign | (exponent << 10) | u32((Out.sig << 1) >> 54);
    }
  }
  return kind == ZERO ? sign : sign | 0x7c00;
}

/**
 * Rounds hi:lo (a fixed-point number with 64 fraction bits in lo) to an integer by the current rounding mode and
 * notes in Fp.roundedUp whether the magnitude grew. Returns the integer; the caller raises PE when lo != 0.
 */
export function roundFixed(sign: i32, hi: u64, lo: u64): u64 {
  const away = roundsAway(sign, (hi & 1) != 0, lo, 0x8000000000000000);
  Fp.roundedUp = i32(away);
  return away ? hi + 1 : hi;
}

/** Res = the default NaN (the real indefinite), raising IE. */
export function invalid(): void {
  raise(1);
  Res.kind = QNAN;
}
