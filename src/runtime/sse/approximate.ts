// RCPSS, RCPPS, RSQRTSS, RSQRTPS: approximations whose relative error is at most 1.5 * 2^-12 (SDM vol.2 RCPPS). What
// is returned is the correctly rounded quotient with its last 11 bits cleared, so that guests do not come
// to rely on a precision that a CPU does not have. No exceptions; denormals count as zeros.

const KEEP: u32 = 0xfffff800;
const SIGN: u32 = 0x80000000;
const QUIET: u32 = 0x400000;
const INFINITY: u32 = 0x7f800000;
const DEFAULT_NAN: u32 = 0xffc00000;

/** The operand with denormals as zeros. */
function seen(a: u32): u32 {
  return (a & INFINITY) == 0 ? a & SIGN : a;
}

export function sse_rcp_ss(cpu: u32, a: u32): u32 {
  const x = seen(a);
  if ((x & ~SIGN) > INFINITY) return x | QUIET;
  const r = reinterpret<u32>(f32(1) / reinterpret<f32>(x));
  // Tiny results become zeros.
  return (r & INFINITY) == 0 ? r & SIGN : r & KEEP;
}

export function sse_rsqrt_ss(cpu: u32, a: u32): u32 {
  const x = seen(a);
  if ((x & ~SIGN) > INFINITY) return x | QUIET;
  if (x == SIGN) return SIGN | INFINITY;
  if ((x & SIGN) != 0) return DEFAULT_NAN;
  return reinterpret<u32>(f32(1.0 / sqrt<f64>(f64(reinterpret<f32>(x))))) & KEEP;
}

export function sse_rcp_ps(cpu: u32, a: v128): v128 {
  let r = a;
  r = v128.replace_lane<u32>(r, 0, sse_rcp_ss(cpu, v128.extract_lane<u32>(a, 0)));
  r = v128.replace_lane<u32>(r, 1, sse_rcp_ss(cpu, v128.extract_lane<u32>(a, 1)));
  r = v128.replace_lane<u32>(r, 2, sse_rcp_ss(cpu, v128.extract_lane<u32>(a, 2)));
  return v128.replace_lane<u32>(r, 3, sse_rcp_ss(cpu, v128.extract_lane<u32>(a, 3)));
}

export function sse_rsqrt_ps(cpu: u32, a: v128): v128 {
  let r = a;
  r = v128.replace_lane<u32>(r, 0, sse_rsqrt_ss(cpu, v128.extract_lane<u32>(a, 0)));
  r = v128.replace_lane<u32>(r, 1, sse_rsqrt_ss(cpu, v128.extract_lane<u32>(a, 1)));
  r = v128.replace_lane<u32>(r, 2, sse_rsqrt_ss(cpu, v128.extract_lane<u32>(a, 2)));
  return v128.replace_lane<u32>(r, 3, sse_rsqrt_ss(cpu, v128.extract_lane<u32>(a, 3)));
}
