// The x87 registers in the vCPU state: stack access, tags, status word and how an instruction's exceptions are
// committed. ST(i) is physical register (TOP + i) & 7.

import { CPU_FCW, CPU_FEMPTY, CPU_FPR, CPU_FPU_TRAP, CPU_FSW, CPU_FTOP } from '../gen/layout';
import { Fp, IE, PE, PRE, raise, x87_environment } from '../softfloat/env';
import { a80, aToB } from '../softfloat/operand';
import { F80 } from '../softfloat/round';

// Status word (SDM vol.1 figure 8-4); TOP (bits 11-13) is kept in its own field.
//   0-5 IE DE ZE OE UE PE   6 SF stack fault   7 ES an unmasked exception is pending
//   8 C0   9 C1   10 C2   14 C3   15 B = ES
export const SF: i32 = 0x40;
export const ES: i32 = 0x80;
export const C0: i32 = 0x100;
export const C1: i32 = 0x200;
export const C2: i32 = 0x400;
export const C3: i32 = 0x4000;
export const BUSY: i32 = 0x8000;
export const CONDITIONS: i32 = C0 | C1 | C2 | C3;

/** Significand and sign/exponent of the real indefinite. */
export const INDEFINITE_SIG: u64 = 0xc000000000000000;
export const INDEFINITE_SE: i32 = 0xffff;

/** State of the instruction in progress that is not in Fp. */
class Insn {
  /** A stack fault: IE with SF. */
  static stackFault: i32 = 0;
  /** The stack fault is an overflow: C1. */
  static overflow: i32 = 0;
}

/** Starts an instruction that can raise exceptions: environment from the control word, no flags. */
export function begin(cpu: u32): void {
  x87_environment(load<u32>(cpu, CPU_FCW));
  Insn.stackFault = 0;
  Insn.overflow = 0;
}

/** Physical number of ST(i). */
export function physical(cpu: u32, i: i32): i32 {
  return (load<i32>(cpu, CPU_FTOP) + i) & 7;
}

/** Address of ST(i). */
export function registerAt(cpu: u32, i: i32): u32 {
  return cpu + CPU_FPR + (u32(physical(cpu, i)) << 4);
}

/** Whether ST(i) is empty. */
export function isEmpty(cpu: u32, i: i32): bool {
  return ((load<u32>(cpu, CPU_FEMPTY) >> physical(cpu, i)) & 1) != 0;
}

/** Writes ST(i) and marks it in use. */
export function writeSt(cpu: u32, i: i32, sig: u64, se: i32): void {
  const at = registerAt(cpu, i);
  store<u64>(at, sig);
  store<u64>(at, u64(se & 0xffff), 8);
  store<u32>(cpu, load<u32>(cpu, CPU_FEMPTY) & ~(1 << physical(cpu, i)), CPU_FEMPTY);
}

/** A = ST(i). */
export function aFromSt(cpu: u32, i: i32): void {
  const at = registerAt(cpu, i);
  a80(load<u64>(at), load<u16>(at, 8));
}

/** B = ST(i); destroys A. */
export function bFromSt(cpu: u32, i: i32): void {
  aFromSt(cpu, i);
  aToB();
}

/** Decrements TOP. */
export function pushTop(cpu: u32): void {
  store<u32>(cpu, (load<u32>(cpu, CPU_FTOP) - 1) & 7, CPU_FTOP);
}

/** Marks ST(0) empty and increments TOP, `count` times. */
export function pop(cpu: u32, count: i32): void {
  for (let n = 0; n < count; n++) {
    store<u32>(cpu, load<u32>(cpu, CPU_FEMPTY) | (1 << physical(cpu, 0)), CPU_FEMPTY);
    store<u32>(cpu, (load<u32>(cpu, CPU_FTOP) + 1) & 7, CPU_FTOP);
  }
}

/** Replaces the bits `clear` of the status word by `set`. */
export function updateStatus(cpu: u32, clear: i32, set: i32): void {
  store<u32>(cpu, (load<i32>(cpu, CPU_FSW) & ~clear) | set, CPU_FSW);
}

/** Raises a stack underflow: an operand register is empty. */
export function underflow(): void {
  raise(IE);
  Insn.stackFault = 1;
  Insn.overflow = 0;
}

/** Raises a stack overflow: the register to be pushed to is in use. */
export function stackOverflow(): void {
  raise(IE);
  Insn.stackFault = 1;
  Insn.overflow = 1;
}

/** Whether the exceptions so far keep the destination from being written: one found before the operation. */
export function blocked(): bool {
  return (Fp.flags & PRE & ~Fp.masks) != 0;
}

/** Unmasked exceptions of the instruction in progress. */
export function unmasked(): i32 {
  return Fp.flags & ~Fp.masks;
}

/** Enters the instruction's exceptions into the status word. Returns ES: non-zero when one is unmasked. */
export function commit(cpu: u32): i32 {
  let flags = Fp.flags;
  // An unmasked exception found before the operation means that the operation was not carried out.
  if (blocked()) flags &= PRE;
  let set = flags;
  if (Insn.stackFault != 0) set |= SF | (Insn.overflow != 0 ? C1 : 0);
  else if ((flags & PE) != 0 && Fp.roundedUp != 0) set |= C1;
  if ((flags & ~Fp.masks) != 0) {
    set |= ES | BUSY;
    store<u32>(cpu, load<u32>(cpu, CPU_FPU_TRAP) | ES, CPU_FPU_TRAP);
  }
  updateStatus(cpu, C1, set);
  return set & ES;
}

/** Recomputes ES and B after the control word or the flags were loaded. */
export function refreshPending(cpu: u32): void {
  const status = load<i32>(cpu, CPU_FSW) & ~(ES | BUSY);
  const pending = status & ~load<i32>(cpu, CPU_FCW) & 0x3f;
  const summary = pending != 0 ? ES : 0;
  store<u32>(cpu, summary != 0 ? status | ES | BUSY : status, CPU_FSW);
  // fpu_trap: ES besides CR0.EM and CR0.TS, which have other bits.
  store<u32>(cpu, (load<u32>(cpu, CPU_FPU_TRAP) & ~ES) | summary, CPU_FPU_TRAP);
}

/** Ends an instruction whose result goes to ST(i), then pops: sig with F80.se. */
export function finish(cpu: u32, i: i32, sig: u64, pops: i32): i32 {
  const pending = commit(cpu);
  if (blocked()) return pending;
  writeSt(cpu, i, sig, F80.se);
  pop(cpu, pops);
  return pending;
}

/** Ends an instruction that found an empty operand: the indefinite goes to ST(i) if the exception is masked. */
export function finishUnderflow(cpu: u32, i: i32, pops: i32): i32 {
  underflow();
  F80.se = INDEFINITE_SE;
  return finish(cpu, i, INDEFINITE_SIG, pops);
}

/** Ends an instruction that pushes sig with F80.se. */
export function finishPush(cpu: u32, sig: u64): i32 {
  const pending = commit(cpu);
  if (blocked()) return pending;
  const se = F80.se;
  pushTop(cpu);
  writeSt(cpu, 0, sig, se);
  return pending;
}

/** Ends a push that found ST(7) in use: the indefinite is pushed over it if the exception is masked. */
export function finishOverflow(cpu: u32): i32 {
  stackOverflow();
  F80.se = INDEFINITE_SE;
  return finishPush(cpu, INDEFINITE_SIG);
}

/** Whether pushing would overflow. */
export function isFull(cpu: u32): bool {
  return !isEmpty(cpu, 7);
}

/** B = A, A = ST(0): for operations of ST(0) with a memory operand unpacked in A. */
export function memoryOperand(cpu: u32): void {
  aToB();
  aFromSt(cpu, 0);
}

/**
 * Ends an instruction that replaces ST(0) by one value and pushes another. An empty ST(0) or a full stack puts the
 * indefinite in both places.
 */
export function finishPair(cpu: u32, sig: u64, se: i32, pushedSig: u64, pushedSe: i32): i32 {
  const pending = commit(cpu);
  if (blocked()) return pending;
  writeSt(cpu, 0, sig, se);
  pushTop(cpu);
  writeSt(cpu, 0, pushedSig, pushedSe);
  return pending;
}

/** Whether ST(0) can be replaced by a pair; if not the stack fault has been dealt with. */
export function pairFault(cpu: u32): bool {
  const empty = isEmpty(cpu, 0);
  if (!empty && !isFull(cpu)) return false;
  if (empty) underflow();
  else stackOverflow();
  finishPair(cpu, INDEFINITE_SIG, INDEFINITE_SE, INDEFINITE_SIG, INDEFINITE_SE);
  return true;
}
