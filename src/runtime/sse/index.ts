// Floating-point arithmetic of SSE and SSE2 as rows call it: signatures are in src/isa/helpers.ts. A helper that can
// raise an unmasked exception leaves that in the field sse_fault; the row then calls sse_raise instead of writing.
export * from './approximate';
export * from './arith';
export * from './compare';
export * from './convert';
export * from './fma';
export * from './fxstate';
export * from './half-precision';
export * from './rounding';
export { sse_raise, sse_raise_parts } from './slow';
export * from './strings';
