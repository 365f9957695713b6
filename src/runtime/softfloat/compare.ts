// Comparisons and the SSE minimum and maximum.

import { DE, IE, QNAN, raise, SNAN, ZERO } from './env';
import { A, a32, a64, ab32, ab64, B } from './operand';

// Relations, as bits so that a predicate is a set of them.
export const LESS: i32 = 1;
export const EQUAL: i32 = 2;
export const GREATER: i32 = 4;
export const UNORDERED: i32 = 8;

/** The relation of A to B. Raises IE for signalling NaNs and refused encodings, for any NaN if `signal`, and DE. */
export function relation(signal: bool): i32 {
  if (A.kind >= QNAN || B.kind >= QNAN) {
    if (signal || A.kind >= SNAN || B.kind >= SNAN) raise(IE);
    return UNORDERED;
  }
  if ((A.denormal | B.denormal) != 0) raise(DE);
  if (A.kind == ZERO && B.kind == ZERO) return EQUAL;
  if (A.kind == ZERO) return B.sign != 0 ? GREATER : LESS;
  if (B.kind == ZERO) return A.sign != 0 ? LESS : GREATER;
  if (A.sign != B.sign) return A.sign != 0 ? LESS : GREATER;
  // Infinities carry an exponent above all others and one significand.
  if (A.exp == B.exp && A.sig == B.sig) return EQUAL;
  const smaller = A.exp < B.exp || (A.exp == B.exp && A.sig < B.sig);
  return smaller == (A.sign == 0) ? LESS : GREATER;
}

/** ZF, PF and CF as COMISS, UCOMISS, FCOMI and FUCOMI set them (EFLAGS bits 6, 2, 0). */
export function relationFlags(r: i32): i32 {
  return r == UNORDERED ? 0x45 : r == EQUAL ? 0x40 : r == LESS ? 1 : 0;
}

/** Relations of predicates 0-15, four bits each: EQ_OQ LT_OS LE_OS UNORD NEQ_UQ NLT NLE ORD EQ_UQ NGE NGT FALSE ... */
const PREDICATES: u64 = 0xf4650b9a7ced8312;
/** Predicates 0-15 that signal for quiet NaNs; 16-31 are the same relations with the opposite. */
const SIGNALLING: i32 = 0x6666;

function predicateSignals(predicate: i32): bool {
  return ((SIGNALLING >> (predicate & 15)) & 1) != (predicate >> 4) % 2;
}

function holds(predicate: i32, r: i32): bool {
  return (i32(PREDICATES >> ((predicate & 15) << 2)) & r) != 0;
}

/** CMPSS with an immediate of 0-31 (SDM vol.2 table 3-1): all ones or zero. */
export function f32_cmp(a: u32, b: u32, predicate: i32): i32 {
  ab32(a, b);
  return holds(predicate, relation(predicateSignals(predicate))) ? -1 : 0;
}

/** CMPSD with an immediate of 0-31: all ones or zero. */
export function f64_cmp(a: u64, b: u64, predicate: i32): i64 {
  ab64(a, b);
  return holds(predicate, relation(predicateSignals(predicate))) ? -1 : 0;
}

/** COMISS (signal = 1) and UCOMISS (0): ZF, PF, CF in their EFLAGS places; OF, SF, AF are cleared by the row. */
export function f32_comi(a: u32, b: u32, signal: i32): i32 {
  ab32(a, b);
  return relationFlags(relation(signal != 0));
}

/** COMISD (signal = 1) and UCOMISD (0). */
export function f64_comi(a: u64, b: u64, signal: i32): i32 {
  ab64(a, b);
  return relationFlags(relation(signal != 0));
}

/** Whether MINSS/MAXSS takes its first operand: only if `wanted` holds strictly; NaNs and equals take the second. */
function takesFirst(wanted: i32): bool {
  return relation(true) == wanted;
}

/** The operand as DAZ makes the instruction see it. */
function seen32(x: u32): u32 {
  a32(x);
  return A.kind == ZERO ? x & 0x80000000 : x;
}

function seen64(x: u64): u64 {
  a64(x);
  return A.kind == ZERO ? x & 0x8000000000000000 : x;
}

/** MINSS. */
export function f32_min(a: u32, b: u32): u32 {
  ab32(a, b);
  return seen32(takesFirst(LESS) ? a : b);
}

/** MAXSS. */
export function f32_max(a: u32, b: u32): u32 {
  ab32(a, b);
  return seen32(takesFirst(GREATER) ? a : b);
}

/** MINSD. */
export function f64_min(a: u64, b: u64): u64 {
  ab64(a, b);
  return seen64(takesFirst(LESS) ? a : b);
}

/** MAXSD. */
export function f64_max(a: u64, b: u64): u64 {
  ab64(a, b);
  return seen64(takesFirst(GREATER) ? a : b);
}
