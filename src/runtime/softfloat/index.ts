// Software floating point: IEEE-754 as x86 defines it, bit for bit, flags included.
//
// SSE and AVX, one element at a time (operands and results are bit patterns, u32 or u64):
//   sse_begin(mxcsr)                    set rounding mode, masks, DAZ, FTZ; clear the flags
//   f32_* f64_*                         any number of element operations
//   sse_fault(mxcsr)                    non-zero: raise #XM (or #UD without CR4.OSXMMEXCPT), leave the destination
//   sse_end(mxcsr)                      the new MXCSR, to be written in either case
// x87: see ../x87/index.ts, which sets up the environment itself.
//
// Results of more than one word: an 80-bit result is the significand returned and f80_se() (exponent and sign).

export { f32_cmp, f32_comi, f32_max, f32_min, f64_cmp, f64_comi, f64_max, f64_min } from './compare';
export { sse_begin, sse_end, sse_fault } from './env';
export { f16_to_f32, f32_to_f16 } from './f16';
export * from './f32';
export * from './f64';
export { f80_add, f80_div, f80_mul, f80_sqrt, f80_sub } from './f80';
export { f80_se } from './round';
