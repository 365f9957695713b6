// The transcendental instructions: operand classes (SDM vol.2, tables of each instruction), exceptions and rounding
// around the approximations of trig.ts, logarithm.ts and arctangent.ts. Results are rounded once, to 64 bits whatever
// the precision control says, in the rounding mode of the control word.

import { DE, FINITE, INF, PE, QNAN, raise, UE, ZE, ZERO } from '../softfloat/env';
import { invalid80, nan80, nan80A, nanAB } from '../softfloat/nan';
import { A, B } from '../softfloat/operand';
import { F80, pack80To, Res } from '../softfloat/round';
import { arctangent, piEighths } from './arctangent';
import { exp2Minus1, log2OnePlusA, log2Wide } from './logarithm';
import {
  aFromSt,
  begin,
  bFromSt,
  C1,
  C2,
  finish,
  finishPair,
  finishUnderflow,
  isEmpty,
  pairFault,
  updateStatus,
} from './state';
import { reduceAngle, sineOf, tangent } from './trig';
import { mulWide, setWide } from './wide-float';

const ONE_SIG: u64 = 0x8000000000000000;
const ONE_SE: i32 = 0x3fff;

/** Significand of a signed zero, infinity or one; F80.se has the rest. */
function exactValue(kind: i32, sign: i32): u64 {
  F80.se = (sign << 15) | (kind == INF ? 0x7fff : kind == ZERO ? 0 : ONE_SE);
  return kind == ZERO ? 0 : ONE_SIG;
}

/** F2XM1 of A. Beyond -1..1 the result is undefined: the operand is returned as if it were inexact. */
function exp2m1(): u64 {
  if (A.kind >= QNAN) return nan80A();
  if (A.kind == INF) return exactValue(A.sign != 0 ? FINITE : INF, A.sign);
  if (A.kind == ZERO) return exactValue(ZERO, A.sign);
  if (A.denormal != 0) raise(DE);
  if (A.exp >= 0) {
    raise(PE);
    // 2^1 - 1 = 1, 2^-1 - 1 = -1/2.
    const exponent = A.exp == 0 && A.sig == ONE_SIG && A.sign != 0 ? -1 : A.exp;
    F80.se = (A.sign << 15) | (exponent + 16383);
    return A.sig;
  }
  exp2Minus1();
  return pack80To(64);
}

/** F2XM1: ST(0) = 2^ST(0) - 1. */
export function x87_f2xm1(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0)) return finishUnderflow(cpu, 0, 0);
  aFromSt(cpu, 0);
  return finish(cpu, 0, exp2m1(), 0);
}

/**
 * Res * B, for a logarithm in Res that is exact when its last bit is clear. Processors raise PE, and
 * UE for denormal results, even then.
 */
function timesB(): u64 {
  const sticky = Res.lo & 1;
  mulWide(B.sign, B.exp, B.sig, 0);
  Res.lo |= sticky;
  raise(PE);
  const sig = pack80To(64);
  if (i64(sig) > 0) raise(UE);
  return sig;
}

/** B times a logarithm that is an infinity of the given sign. */
function infiniteLog(sign: i32, pole: bool): u64 {
  if (B.kind == ZERO) return invalid80();
  if (B.kind == FINITE) {
    if (pole) raise(ZE);
    else if ((A.denormal | B.denormal) != 0) raise(DE);
  }
  return exactValue(INF, sign ^ B.sign);
}

/** B log2(A). */
function ylog2x(): u64 {
  if (nanAB()) return nan80();
  if (A.kind == ZERO) return infiniteLog(1, true);
  if (A.sign != 0) return invalid80();
  if (A.kind == INF) return infiniteLog(0, false);
  const isOne = A.exp == 0 && A.sig == ONE_SIG;
  const below = i32(A.exp < 0);
  if (B.kind == INF) {
    if (isOne) return invalid80();
    if (A.denormal != 0) raise(DE);
    return exactValue(INF, B.sign ^ below);
  }
  if ((A.denormal | B.denormal) != 0) raise(DE);
  if (B.kind == ZERO || isOne) return exactValue(ZERO, B.sign ^ below);
  setWide(0, A.exp, A.sig, 0);
  log2Wide();
  return timesB();
}

/** FYL2X: ST(1) = ST(1) * log2(ST(0)), pop. */
export function x87_fyl2x(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) return finishUnderflow(cpu, 1, 1);
  bFromSt(cpu, 1);
  aFromSt(cpu, 0);
  return finish(cpu, 1, ylog2x(), 1);
}

/** B log2(A + 1). At -1 and below, where the instruction is undefined, as FYL2X of A + 1. */
function ylog2xp1(): u64 {
  if (nanAB()) return nan80();
  if (A.sign != 0 && (A.kind == INF || (A.kind == FINITE && A.exp >= 0))) {
    if (A.kind == FINITE && A.exp == 0 && A.sig == ONE_SIG) return infiniteLog(1, true);
    return invalid80();
  }
  if (A.kind == INF) return infiniteLog(0, false);
  if (B.kind == INF) {
    if (A.kind == ZERO) return invalid80();
    if (A.denormal != 0) raise(DE);
    return exactValue(INF, A.sign ^ B.sign);
  }
  if ((A.denormal | B.denormal) != 0) raise(DE);
  if (A.kind == ZERO || B.kind == ZERO) return exactValue(ZERO, A.sign ^ B.sign);
  log2OnePlusA();
  return timesB();
}

/** FYL2XP1: ST(1) = ST(1) * log2(ST(0) + 1), pop. */
export function x87_fyl2xp1(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) return finishUnderflow(cpu, 1, 1);
  bFromSt(cpu, 1);
  aFromSt(cpu, 0);
  return finish(cpu, 1, ylog2xp1(), 1);
}

/** The angle of the point (A, B). */
function angle(): u64 {
  if (nanAB()) return nan80();
  if ((A.denormal | B.denormal) != 0) raise(DE);
  const sign = B.sign;
  let eighths = 0;
  if (B.kind == INF) eighths = A.kind != INF ? 4 : A.sign != 0 ? 6 : 2;
  else if (B.kind == ZERO || A.kind == INF) eighths = A.sign != 0 ? 8 : 0;
  else if (A.kind == ZERO) eighths = 4;
  else {
    arctangent();
    return pack80To(64);
  }
  if (eighths == 0) return exactValue(ZERO, sign);
  piEighths(sign, eighths);
  return pack80To(64);
}

/** FPATAN: ST(1) = arctangent of ST(1) / ST(0) in the quadrant of the two, pop. */
export function x87_fpatan(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) return finishUnderflow(cpu, 1, 1);
  bFromSt(cpu, 1);
  aFromSt(cpu, 0);
  return finish(cpu, 1, angle(), 1);
}

/** Whether A is too large an angle: C2 is set and nothing else happens. */
function outOfRange(cpu: u32): bool {
  if (A.kind != FINITE || A.exp < 63) return false;
  updateStatus(cpu, C1, C2);
  return true;
}

/** Sine (shift = 0) or cosine (1) of A, not out of range. */
function sine(shift: i32): u64 {
  if (A.kind >= QNAN) return nan80A();
  if (A.kind == INF) return invalid80();
  if (A.kind == ZERO) return exactValue(shift != 0 ? FINITE : ZERO, shift != 0 ? 0 : A.sign);
  if (A.denormal != 0) raise(DE);
  reduceAngle();
  sineOf(shift);
  return pack80To(64);
}

/** FSIN and FCOS. */
function sineInstruction(cpu: u32, shift: i32): i32 {
  begin(cpu);
  updateStatus(cpu, C2, 0);
  if (isEmpty(cpu, 0)) return finishUnderflow(cpu, 0, 0);
  aFromSt(cpu, 0);
  if (outOfRange(cpu)) return 0;
  return finish(cpu, 0, sine(shift), 0);
}

/** FSIN. */
export function x87_fsin(cpu: u32): i32 {
  return sineInstruction(cpu, 0);
}

/** FCOS. */
export function x87_fcos(cpu: u32): i32 {
  return sineInstruction(cpu, 1);
}

/** FSINCOS: ST(0) = sine, then the cosine is pushed. */
export function x87_fsincos(cpu: u32): i32 {
  begin(cpu);
  updateStatus(cpu, C2, 0);
  if (pairFault(cpu)) return 0;
  aFromSt(cpu, 0);
  if (outOfRange(cpu)) return 0;
  const cosSig = sine(1);
  const cosSe = F80.se;
  aFromSt(cpu, 0);
  const sinSig = sine(0);
  return finishPair(cpu, sinSig, F80.se, cosSig, cosSe);
}

/** FPTAN: ST(0) = tangent, then 1.0 is pushed (a NaN is pushed again). */
export function x87_fptan(cpu: u32): i32 {
  begin(cpu);
  updateStatus(cpu, C2, 0);
  if (pairFault(cpu)) return 0;
  aFromSt(cpu, 0);
  if (outOfRange(cpu)) return 0;
  if (A.kind != FINITE && A.kind != ZERO) {
    const nan = sine(0);
    return finishPair(cpu, nan, F80.se, nan, F80.se);
  }
  if (A.kind == ZERO) return finishPair(cpu, 0, A.sign << 15, ONE_SIG, ONE_SE);
  if (A.denormal != 0) raise(DE);
  reduceAngle();
  tangent();
  const sig = pack80To(64);
  return finishPair(cpu, sig, F80.se, ONE_SIG, ONE_SE);
}
