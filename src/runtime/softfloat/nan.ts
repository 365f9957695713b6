// What an operation with a NaN operand returns. SSE takes the first NaN in operand order, the x87 the one with the
// larger significand (SDM vol.1 table 4-7); both quiet it and raise IE for a signalling one.

import { IE, INVALID, QNAN, raise, SNAN } from './env';
import { A, B, C } from './operand';
import { F80 } from './round';

const QUIET32: u32 = 0x400000;
const QUIET64: u64 = 0x8000000000000;
const QUIET80: u64 = 0x4000000000000000;

/** Whether A or B is a NaN or an encoding the x87 refuses. */
export function nanAB(): bool {
  return A.kind >= QNAN || B.kind >= QNAN;
}

/** SSE: the result of an operation on binary32 a and b, unpacked in A and B, of which one is a NaN. */
export function nan32(a: u32, b: u32): u32 {
  if (A.kind == SNAN || B.kind == SNAN) raise(IE);
  return (A.kind >= QNAN ? a : b) | QUIET32;
}

/** SSE: the result of an operation on binary64 a and b, unpacked in A and B, of which one is a NaN. */
export function nan64(a: u64, b: u64): u64 {
  if (A.kind == SNAN || B.kind == SNAN) raise(IE);
  return (A.kind >= QNAN ? a : b) | QUIET64;
}

/** The same for three operands. */
export function nan32of3(a: u32, b: u32, c: u32): u32 {
  if (A.kind == SNAN || B.kind == SNAN || C.kind == SNAN) raise(IE);
  return (A.kind >= QNAN ? a : B.kind >= QNAN ? b : c) | QUIET32;
}

/** The same for three operands. */
export function nan64of3(a: u64, b: u64, c: u64): u64 {
  if (A.kind == SNAN || B.kind == SNAN || C.kind == SNAN) raise(IE);
  return (A.kind >= QNAN ? a : B.kind >= QNAN ? b : c) | QUIET64;
}

/** The 80-bit real indefinite. */
export function indefinite80(): u64 {
  F80.se = 0xffff;
  return 0xc000000000000000;
}

/** The 80-bit real indefinite, raising IE. */
export function invalid80(): u64 {
  raise(IE);
  return indefinite80();
}

function take(sign: i32, sig: u64): u64 {
  F80.se = (sign << 15) | 0x7fff;
  return sig | QUIET80;
}

/** x87: the result of an operation on A alone, a NaN or refused encoding. */
export function nan80A(): u64 {
  if (A.kind == INVALID) return invalid80();
  if (A.kind == SNAN) raise(IE);
  return take(A.sign, A.sig);
}

/** x87: the result of an operation on A and B, of which one is a NaN or refused encoding. */
export function nan80(): u64 {
  if (A.kind == INVALID || B.kind == INVALID) return invalid80();
  if (A.kind == SNAN || B.kind == SNAN) raise(IE);
  if (A.kind < QNAN) return take(B.sign, B.sig);
  if (B.kind < QNAN) return take(A.sign, A.sig);
  // A quiet NaN goes before a signalling one, then the larger significand, then the positive one.
  if (A.kind != B.kind) return A.kind == QNAN ? take(A.sign, A.sig) : take(B.sign, B.sig);
  const first = A.sig != B.sig ? A.sig > B.sig : A.sign < B.sign;
  return first ? take(A.sign, A.sig) : take(B.sign, B.sig);
}
