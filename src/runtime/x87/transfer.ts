// Loads, stores, constants and register moves of the x87.

import { CPU_FEMPTY } from '../gen/layout';
import { Bcd, bcdMagnitude, toBcd } from '../softfloat/bcd';
import { Fp, IE, NEAREST, OE, PE, UE, UP } from '../softfloat/env';
import { x_from_i64, x_load, x_to32, x_to64 } from '../softfloat/f80';
import { toSigned, toSignedTruncated } from '../softfloat/integer';
import { a32, a64 } from '../softfloat/operand';
import { F80 } from '../softfloat/round';
import {
  aFromSt,
  begin,
  blocked,
  C1,
  commit,
  finishOverflow,
  finishPush,
  finishUnderflow,
  INDEFINITE_SE,
  INDEFINITE_SIG,
  isEmpty,
  isFull,
  physical,
  pop,
  pushTop,
  registerAt,
  underflow,
  unmasked,
  updateStatus,
  writeSt,
} from './state';

/** Ends FLD m32 and m64: a denormal operand is pushed even when DE is unmasked, a signalling NaN is not with IE. */
function finishLoad(cpu: u32, sig: u64): i32 {
  const se = F80.se;
  const pending = commit(cpu);
  if ((unmasked() & IE) != 0) return pending;
  pushTop(cpu);
  writeSt(cpu, 0, sig, se);
  return pending;
}

/** FLD m32. */
export function x87_fld_m32(cpu: u32, bits: u32): i32 {
  begin(cpu);
  if (isFull(cpu)) return finishOverflow(cpu);
  a32(bits);
  return finishLoad(cpu, x_load());
}

/** FLD m64. */
export function x87_fld_m64(cpu: u32, bits: u64): i32 {
  begin(cpu);
  if (isFull(cpu)) return finishOverflow(cpu);
  a64(bits);
  return finishLoad(cpu, x_load());
}

/** FLD m80: bits 0-63 and 64-79. Raises nothing but a stack overflow, whatever the operand is. */
export function x87_fld_m80(cpu: u32, sig: u64, se: i32): i32 {
  begin(cpu);
  if (isFull(cpu)) return finishOverflow(cpu);
  F80.se = se;
  return finishPush(cpu, sig);
}

/** FLD ST(i). */
export function x87_fld_st(cpu: u32, i: i32): i32 {
  begin(cpu);
  // With an empty source and a full stack the processor reports the underflow.
  if (isEmpty(cpu, i)) {
    underflow();
    F80.se = INDEFINITE_SE;
    return finishPush(cpu, INDEFINITE_SIG);
  }
  if (isFull(cpu)) return finishOverflow(cpu);
  const at = registerAt(cpu, i);
  F80.se = load<u16>(at, 8);
  return finishPush(cpu, load<u64>(at));
}

/** FILD m16, m32, m64: the operand sign-extended. */
export function x87_fild(cpu: u32, value: i64): i32 {
  begin(cpu);
  if (isFull(cpu)) return finishOverflow(cpu);
  return finishPush(cpu, x_from_i64(value));
}

/** FBLD: bits 0-63 and 64-79. */
export function x87_fbld(cpu: u32, low: u64, high: i32): i32 {
  begin(cpu);
  if (isFull(cpu)) return finishOverflow(cpu);
  const sig = x_from_i64(i64(bcdMagnitude(low, high)));
  F80.se |= high & 0x8000;
  return finishPush(cpu, sig);
}

/** Significands of FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ truncated to 64 bits. */
function constantSig(n: i32): u64 {
  switch (n) {
    case 0:
      return 0x8000000000000000;
    case 1:
      return 0xd49a784bcd1b8afe;
    case 2:
      return 0xb8aa3b295c17f0bb;
    case 3:
      return 0xc90fdaa22168c234;
    case 4:
      return 0x9a209a84fbcff798;
    case 5:
      return 0xb17217f7d1cf79ab;
    default:
      return 0;
  }
}

/**
 * FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: n = ModRM.rm 0-6. Rounded by RC from a longer value, never
 * inexact (SDM vol.1 8.3.8).
 */
export function x87_fld_constant(cpu: u32, n: i32): i32 {
  begin(cpu);
  if (isFull(cpu)) return finishOverflow(cpu);
  // The bits that follow are below one half only for log2(10).
  const nearUp = n != 1;
  let sig = constantSig(n);
  if (n >= 1 && n <= 5 && (Fp.rounding == UP || (Fp.rounding == NEAREST && nearUp))) sig++;
  // Exponents 0 1 0 1 -2 -1, and 0 for zero.
  F80.se = n == 6 ? 0 : 16383 + (n == 1 || n == 3 ? 1 : n == 4 ? -2 : n == 5 ? -1 : 0);
  return finishPush(cpu, sig);
}

/** What the store in progress does when it is committed. */
class Pending {
  static write: i32 = 0;
}

/** Whether the row is to write the value of the last x87_fst_*, x87_fist* or x87_fbstp to memory. */
export function x87_store_ok(_cpu: u32): i32 {
  return Pending.write;
}

/** Bits 64-79 of the value of the last x87_fst_m80 or x87_fbstp. */
export function x87_store_high(_cpu: u32): i32 {
  return F80.se;
}

/**
 * Ends a store: enters the exceptions into the status word and pops `pops` times. Call it after memory was written
 * (or need not be); nothing has been changed before, so a store that faults can be restarted.
 */
export function x87_store_commit(cpu: u32, pops: i32): i32 {
  const pending = commit(cpu);
  if (Pending.write != 0) pop(cpu, pops);
  return pending;
}

/** Starts a store of ST(0). False when it is empty: then the indefinite is stored, if at all. */
function beginStore(cpu: u32): bool {
  begin(cpu);
  if (isEmpty(cpu, 0)) {
    underflow();
    Pending.write = i32(!blocked());
    return false;
  }
  aFromSt(cpu, 0);
  return true;
}

/** Nothing is stored when an exception that concerns the value is unmasked, and nothing was rounded then. */
function decide(): void {
  const outOfRange = (unmasked() & (OE | UE)) != 0;
  Pending.write = i32(!blocked() && !outOfRange);
  if (outOfRange) Fp.flags &= ~PE;
}

/** FST, FSTP m32: the value to store. */
export function x87_fst_m32(cpu: u32): u32 {
  if (!beginStore(cpu)) return 0xffc00000;
  const bits = x_to32();
  decide();
  return bits;
}

/** FST, FSTP m64: the value to store. */
export function x87_fst_m64(cpu: u32): u64 {
  if (!beginStore(cpu)) return 0xfff8000000000000;
  const bits = x_to64();
  decide();
  return bits;
}

/** FSTP m80: bits 0-63 of the value to store; x87_store_high has the rest. */
export function x87_fst_m80(cpu: u32): u64 {
  if (!beginStore(cpu)) {
    F80.se = INDEFINITE_SE;
    return INDEFINITE_SIG;
  }
  const at = registerAt(cpu, 0);
  F80.se = load<u16>(at, 8);
  Pending.write = 1;
  return load<u64>(at);
}

/** FIST, FISTP: the value to store; bits = 16, 32 or 64. */
export function x87_fist(cpu: u32, bits: i32): i64 {
  if (!beginStore(cpu)) return i64(u64(0x8000000000000000)) >> (64 - bits);
  const value = toSigned(bits);
  decide();
  return value;
}

/** FISTTP: the value to store, truncated; bits = 16, 32 or 64. */
export function x87_fistt(cpu: u32, bits: i32): i64 {
  if (!beginStore(cpu)) return i64(u64(0x8000000000000000)) >> (64 - bits);
  const value = toSignedTruncated(bits);
  decide();
  return value;
}

/** FBSTP: bits 0-63 of the value to store; x87_store_high has the rest. */
export function x87_fbstp(cpu: u32): u64 {
  if (!beginStore(cpu)) {
    F80.se = INDEFINITE_SE;
    return INDEFINITE_SIG;
  }
  const low = toBcd();
  F80.se = Bcd.high;
  decide();
  return low;
}

/** FST, FSTP ST(i). */
export function x87_fst_st(cpu: u32, i: i32, pops: i32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0)) return finishUnderflow(cpu, i, pops);
  const at = registerAt(cpu, 0);
  writeSt(cpu, i, load<u64>(at), load<u16>(at, 8));
  pop(cpu, pops);
  updateStatus(cpu, C1, 0);
  return 0;
}

/** FSTPNCE ST(i): FSTP that only pops an empty ST(0), without an exception (D9 /3 with a register). */
export function x87_fstpnce(cpu: u32, i: i32): i32 {
  begin(cpu);
  const at = registerAt(cpu, 0);
  if (!isEmpty(cpu, 0)) writeSt(cpu, i, load<u64>(at), load<u16>(at, 8));
  pop(cpu, 1);
  updateStatus(cpu, C1, 0);
  return 0;
}

/** Writes the indefinite over an empty register. */
function fillEmpty(cpu: u32, i: i32): void {
  if (isEmpty(cpu, i)) writeSt(cpu, i, INDEFINITE_SIG, INDEFINITE_SE);
}

/** FXCH ST(i). */
export function x87_fxch(cpu: u32, i: i32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
    underflow();
    const pending = commit(cpu);
    if (blocked()) return pending;
    fillEmpty(cpu, 0);
    fillEmpty(cpu, i);
    exchange(cpu, i);
    return pending;
  }
  exchange(cpu, i);
  updateStatus(cpu, C1, 0);
  return 0;
}

function exchange(cpu: u32, i: i32): void {
  const a = registerAt(cpu, 0);
  const b = registerAt(cpu, i);
  const sig = load<u64>(a);
  const se = load<u64>(a, 8);
  store<u64>(a, load<u64>(b));
  store<u64>(a, load<u64>(b, 8), 8);
  store<u64>(b, sig);
  store<u64>(b, se, 8);
}

/** FCMOVcc ST(0), ST(i): `condition` is 1 when the move is to take place. */
export function x87_fcmov(cpu: u32, i: i32, condition: i32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) return finishUnderflow(cpu, 0, 0);
  if (condition != 0) {
    const at = registerAt(cpu, i);
    writeSt(cpu, 0, load<u64>(at), load<u16>(at, 8));
  }
  return 0;
}

/** FFREE ST(i), and FFREEP with pops = 1. */
export function x87_ffree(cpu: u32, i: i32, pops: i32): void {
  store<u32>(cpu, load<u32>(cpu, CPU_FEMPTY) | (1 << physical(cpu, i)), CPU_FEMPTY);
  pop(cpu, pops);
  updateStatus(cpu, C1, 0);
}
