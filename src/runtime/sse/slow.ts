// What surrounds SSE arithmetic by softfloat: MXCSR to its environment, flags and unmasked exceptions back.

import { CPU_CR4, CPU_MXCSR, CPU_SSE_FAULT, CR4_OSXMMEXCPT, EXC_UD, EXC_XM } from '../gen/layout';
import { sse_begin, sse_end, sse_fault } from '../softfloat';
import { PRE } from '../softfloat/env';
import { raise } from '../state';

/** Starts an instruction: softfloat's environment from MXCSR. */
export function begin(cpu: u32): void {
  sse_begin(load<i32>(cpu, CPU_MXCSR));
}

/** Ends it: flags into MXCSR; an unmasked one is noted in `sse_fault` for the row's check. */
export function finish(cpu: u32): void {
  const mxcsr = load<i32>(cpu, CPU_MXCSR);
  store<i32>(cpu, sse_end(mxcsr), CPU_MXCSR);
  const fault = sse_fault(mxcsr);
  if (fault != 0) store<u32>(cpu, load<u32>(cpu, CPU_SSE_FAULT) | fault, CPU_SSE_FAULT);
}

/**
 * The same as sse_raise for an instruction of several helper calls. `before` is MXCSR at its start: when an exception
 * found before the operation is unmasked in any part, those found after it are not reported from any.
 */
export function sse_raise_parts(cpu: u32, before: u32): u32 {
  if (load<u32>(cpu, CPU_SSE_FAULT) & PRE) {
    store<u32>(cpu, before | (load<u32>(cpu, CPU_MXCSR) & PRE), CPU_MXCSR);
  }
  return sse_raise(cpu);
}

/** Records the fault that `sse_fault` announces: #XM, or #UD if the guest has not enabled it (SDM vol.1 11.5.1). */
export function sse_raise(cpu: u32): u32 {
  store<u32>(cpu, 0, CPU_SSE_FAULT);
  return raise(cpu, (load<u32>(cpu, CPU_CR4) & CR4_OSXMMEXCPT) != 0 ? EXC_XM : EXC_UD, 0);
}

/** The vector of four 32-bit elements. */
export function quad(r0: u32, r1: u32, r2: u32, r3: u32): v128 {
  let v = i32x4.splat(r0);
  v = v128.replace_lane<u32>(v, 1, r1);
  v = v128.replace_lane<u32>(v, 2, r2);
  return v128.replace_lane<u32>(v, 3, r3);
}

/** The vector of two 64-bit elements. */
export function pair(r0: u64, r1: u64): v128 {
  return v128.replace_lane<u64>(i64x2.splat(r0), 1, r1);
}
