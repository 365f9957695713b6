// Arithmetic, comparison and classification on the x87 stack.

import { EQUAL, LESS, relation, relationFlags, UNORDERED } from '../softfloat/compare';
import { INF, INVALID, QNAN, ZERO } from '../softfloat/env';
import { Pair, Rem, x_add, x_div, x_extract, x_mul, x_rem, x_rint, x_scale, x_sqrt } from '../softfloat/f80';
import { A, a32, a64, aInteger, aToB, swapAB } from '../softfloat/operand';
import { F80 } from '../softfloat/round';
import {
  aFromSt,
  begin,
  bFromSt,
  blocked,
  C0,
  C1,
  C2,
  C3,
  CONDITIONS,
  commit,
  finish,
  finishPair,
  finishUnderflow,
  isEmpty,
  memoryOperand,
  pairFault,
  pop,
  registerAt,
  underflow,
  updateStatus,
} from './state';

/** ModRM.reg of D8, DA, DC, DE: which operation of A = ST(0) and B. 2 and 3 are comparisons. */
function operate(op: i32): u64 {
  switch (op) {
    case 0:
      return x_add(0);
    case 1:
      return x_mul();
    case 4:
      return x_add(1);
    case 5:
      swapAB();
      return x_add(1);
    case 6:
      return x_div();
    default:
      swapAB();
      return x_div();
  }
}

/** ST(0) op a memory operand that has been unpacked in A. */
function withMemory(cpu: u32, op: i32): i32 {
  const compares = op == 2 || op == 3;
  if (isEmpty(cpu, 0)) return compares ? compareUnderflow(cpu, op - 2) : finishUnderflow(cpu, 0, 0);
  memoryOperand(cpu);
  if (compares) return finishCompare(cpu, relation(true), op - 2);
  return finish(cpu, 0, operate(op), 0);
}

/** D8 /op m32: FADD FMUL FCOM FCOMP FSUB FSUBR FDIV FDIVR. */
export function x87_arith_m32(cpu: u32, op: i32, bits: u32): i32 {
  begin(cpu);
  a32(bits);
  return withMemory(cpu, op);
}

/** DC /op m64. */
export function x87_arith_m64(cpu: u32, op: i32, bits: u64): i32 {
  begin(cpu);
  a64(bits);
  return withMemory(cpu, op);
}

/** DA /op m32int and DE /op m16int: the integer sign-extended to 32 bits. */
export function x87_arith_int(cpu: u32, op: i32, value: i32): i32 {
  begin(cpu);
  aInteger(value);
  return withMemory(cpu, op);
}

/** D8 C0+: ST(0) = ST(0) op ST(i), with op = ModRM.reg; 2 and 3 compare. */
export function x87_arith_st0(cpu: u32, op: i32, i: i32): i32 {
  if (op == 2 || op == 3) return x87_fcom_st(cpu, i, 1, op - 2);
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) return finishUnderflow(cpu, 0, 0);
  bFromSt(cpu, i);
  aFromSt(cpu, 0);
  return finish(cpu, 0, operate(op), 0);
}

/**
 * DC C0+ (pops = 0) and DE C0+ (pops = 1): ST(i) = ST(0) op ST(i), with op = ModRM.reg other than 2 and 3. (The
 * manual's FSUB and FSUBR change places against D8; the operation by ModRM.reg is the same: 4 is ST(0) - ST(i).)
 */
export function x87_arith_sti(cpu: u32, op: i32, i: i32, pops: i32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) return finishUnderflow(cpu, i, pops);
  bFromSt(cpu, i);
  aFromSt(cpu, 0);
  return finish(cpu, i, operate(op), pops);
}

/** C3, C2, C0 of a relation. */
function conditionOf(r: i32): i32 {
  return r == UNORDERED ? C3 | C2 | C0 : r == EQUAL ? C3 : r == LESS ? C0 : 0;
}

/** Ends a comparison: condition codes, pops. Processors set the codes for an unmasked exception too, but do not pop. */
function finishCompare(cpu: u32, r: i32, pops: i32): i32 {
  const pending = commit(cpu);
  updateStatus(cpu, CONDITIONS, conditionOf(r));
  if (!blocked()) pop(cpu, pops);
  return pending;
}

function compareUnderflow(cpu: u32, pops: i32): i32 {
  underflow();
  return finishCompare(cpu, UNORDERED, pops);
}

/** FCOM, FCOMP, FCOMPP (signal = 1: quiet NaNs raise IE) and FUCOM, FUCOMP, FUCOMPP (0) with ST(i). */
export function x87_fcom_st(cpu: u32, i: i32, signal: i32, pops: i32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) return compareUnderflow(cpu, pops);
  bFromSt(cpu, i);
  aFromSt(cpu, 0);
  return finishCompare(cpu, relation(signal != 0), pops);
}

/**
 * FCOMI, FCOMIP (signal = 1), FUCOMI, FUCOMIP (0) with ST(i). Returns ZF, PF, CF in their EFLAGS places; OF, SF and AF
 * are cleared. EFLAGS are set for an unmasked exception too.
 */
export function x87_fcomi(cpu: u32, i: i32, signal: i32, pops: i32): i32 {
  begin(cpu);
  let r = UNORDERED;
  if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
    underflow();
  } else {
    bFromSt(cpu, i);
    aFromSt(cpu, 0);
    r = relation(signal != 0);
  }
  commit(cpu);
  if (!blocked()) pop(cpu, pops);
  return relationFlags(r);
}

/** FTST: ST(0) against 0.0. */
export function x87_ftst(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0)) return compareUnderflow(cpu, 0);
  aInteger(0);
  aToB();
  aFromSt(cpu, 0);
  return finishCompare(cpu, relation(true), 0);
}

/** FXAM: class of ST(0) in C3, C2, C0, its sign in C1. */
export function x87_fxam(cpu: u32): void {
  aFromSt(cpu, 0);
  let code = C2;
  if (isEmpty(cpu, 0)) code = C3 | C0;
  else if (A.kind == INVALID) code = 0;
  else if (A.kind >= QNAN) code = C0;
  else if (A.kind == INF) code = C2 | C0;
  else if (A.kind == ZERO) code = C3;
  else if (A.denormal != 0) code = C3 | C2;
  updateStatus(cpu, CONDITIONS, code | (A.sign != 0 ? C1 : 0));
}

/** FCHS (flip = 1) and FABS (0). */
export function x87_sign(cpu: u32, flip: i32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0)) return finishUnderflow(cpu, 0, 0);
  const at = registerAt(cpu, 0);
  const se = load<u16>(at, 8);
  store<u16>(at, flip != 0 ? se ^ 0x8000 : se & 0x7fff, 8);
  updateStatus(cpu, C1, 0);
  return 0;
}

/** FSQRT. */
export function x87_fsqrt(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0)) return finishUnderflow(cpu, 0, 0);
  aFromSt(cpu, 0);
  return finish(cpu, 0, x_sqrt(), 0);
}

/** FRNDINT. */
export function x87_frndint(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0)) return finishUnderflow(cpu, 0, 0);
  aFromSt(cpu, 0);
  return finish(cpu, 0, x_rint(), 0);
}

/** FSCALE. */
export function x87_fscale(cpu: u32): i32 {
  begin(cpu);
  if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) return finishUnderflow(cpu, 0, 0);
  bFromSt(cpu, 1);
  aFromSt(cpu, 0);
  return finish(cpu, 0, x_scale(), 0);
}

/** FPREM (nearest = 0), FPREM1 (1): C2 partial, C0 C3 C1 = quotient bits 2 1 0. */
export function x87_fprem(cpu: u32, nearest: i32): i32 {
  begin(cpu);
  updateStatus(cpu, C2, 0);
  if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) return finishUnderflow(cpu, 0, 0);
  bFromSt(cpu, 1);
  aFromSt(cpu, 0);
  const pending = finish(cpu, 0, x_rem(nearest), 0);
  const q = Rem.quotient;
  if (q < 0 || blocked()) return pending;
  const bits = ((q & 4) != 0 ? C0 : 0) | ((q & 2) != 0 ? C3 : 0) | ((q & 1) != 0 ? C1 : 0);
  updateStatus(cpu, CONDITIONS, bits | (Rem.partial != 0 ? C2 : 0));
  return pending;
}

/** FXTRACT: exponent to ST(0), then the significand is pushed. */
export function x87_fxtract(cpu: u32): i32 {
  begin(cpu);
  if (pairFault(cpu)) return 0;
  aFromSt(cpu, 0);
  const sig = x_extract();
  return finishPair(cpu, Pair.sig, Pair.se, sig, F80.se);
}
