// The floating-point environment of the operation in progress, the exception flags it raises and the class
// constants shared by all of softfloat. One instance of the runtime runs one operation at a time, so this state
// is module-global: callers set it up (sse_begin, x87 helpers), run an operation and collect the flags.

// Exception flags, in the bit order of MXCSR 0-5 and of the x87 status and control words 0-5.
export const IE: i32 = 1;
export const DE: i32 = 2;
export const ZE: i32 = 4;
export const OE: i32 = 8;
export const UE: i32 = 16;
export const PE: i32 = 32;
/** Exceptions found before the operation is carried out; unmasked, they leave the destination unwritten. */
export const PRE: i32 = IE | DE | ZE;

// Rounding modes, in the encoding of MXCSR.RC and FCW.RC.
export const NEAREST: i32 = 0;
export const DOWN: i32 = 1;
export const UP: i32 = 2;
export const TRUNC: i32 = 3;

// Classes of an unpacked operand.
export const ZERO: i32 = 0;
export const FINITE: i32 = 1;
export const INF: i32 = 2;
export const QNAN: i32 = 3;
export const SNAN: i32 = 4;
/** 80-bit encodings that the x87 refuses: unnormals, pseudo-infinities, pseudo-NaNs (SDM vol.1 8.2.2). */
export const INVALID: i32 = 5;

/** The environment. */
export class Fp {
  /** NEAREST, DOWN, UP or TRUNC. */
  static rounding: i32 = 0;
  /** Significand bits of 80-bit results: 24, 53 or 64. */
  static precision: i32 = 64;
  /** Exception masks: a set bit masks the exception of the same number. */
  static masks: i32 = 0x3f;
  /** Exceptions raised since the environment was set up. */
  static flags: i32 = 0;
  /** Denormal 32- and 64-bit operands count as zeros (SSE only). */
  static daz: i32 = 0;
  /** Tiny results become zeros when underflow is masked (SSE only). */
  static ftz: i32 = 0;
  /** The last rounding increased the magnitude: what the x87 reports in C1. */
  static roundedUp: i32 = 0;
}

/** Adds exceptions to those of the operation in progress. */
export function raise(flags: i32): void {
  Fp.flags |= flags;
}

/** Sets up the environment for an SSE or AVX instruction from MXCSR and clears the flags. */
export function sse_begin(mxcsr: i32): void {
  // MXCSR: 0-5 flags, 6 DAZ, 7-12 masks, 13-14 RC, 15 FTZ.
  Fp.rounding = (mxcsr >> 13) & 3;
  Fp.masks = (mxcsr >> 7) & 0x3f;
  Fp.daz = (mxcsr >> 6) & 1;
  Fp.ftz = (mxcsr >> 15) & 1;
  Fp.flags = 0;
}

/**
 * Ends an SSE instruction: all elements have been computed since sse_begin. Returns MXCSR with the flags that the
 * instruction sets. When an exception found before the operation is unmasked, those found after it (OE, UE, PE of
 * other elements) are not reported (SDM vol.1 11.5.3).
 */
export function sse_end(mxcsr: i32): i32 {
  const masks = (mxcsr >> 7) & 0x3f;
  const found = Fp.flags;
  return (found & PRE & ~masks) != 0 ? mxcsr | (found & PRE) : mxcsr | found;
}

/** Non-zero when the instruction since sse_begin raised an unmasked exception: #XM, destination unwritten. */
export function sse_fault(mxcsr: i32): i32 {
  return Fp.flags & ~(mxcsr >> 7) & 0x3f;
}

/** Sets up the environment for an x87 instruction from the control word and clears the flags. */
export function x87_environment(fcw: i32): void {
  // FCW: 0-5 masks, 8-9 precision (0 = 24 bits, 2 = 53, 3 = 64; 1 is reserved), 10-11 RC.
  Fp.rounding = (fcw >> 10) & 3;
  Fp.masks = fcw & 0x3f;
  const pc = (fcw >> 8) & 3;
  Fp.precision = pc == 0 ? 24 : pc == 2 ? 53 : 64;
  Fp.daz = 0;
  Fp.ftz = 0;
  Fp.flags = 0;
  Fp.roundedUp = 0;
}
