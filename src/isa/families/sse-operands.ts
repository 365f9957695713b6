/**
 * What the SSE and MMX families share about operands: an xmm register is a 128-bit vector whatever the operand's
 * width, a memory operand narrower than 128 bits and an mm register are integers.
 */
import type { Ops, Width } from '../ops.ts';

/** Element 0, of `w` bits, of operand `n`: the low part of an xmm register, or the memory operand itself. */
export const low = <V>(s: Ops<V>, n: number, w: Width): V => (s.isMem(n) ? s.get(n) : s.lane(w, s.get(n), 0));

/** Replaces element 0, of `w` bits, of the xmm register that is operand `n`. */
export const setLow = <V>(s: Ops<V>, n: number, w: Width, x: V): void => s.set(n, s.withLane(w, s.get(n), 0, x));

/** The vector with `x` as element 0 and zeros above. */
export const extended = <V>(s: Ops<V>, w: Width, x: V): V => s.withLane(w, s.vk(0n), 0, x);

/** The vector of two 64-bit elements. */
export const pair = <V>(s: Ops<V>, first: V, second: V): V => s.withLane(64, s.vec('i64x2.splat', first), 1, second);

/** Vector constant that holds `x` of `w` bits in every element. */
export const everywhere = <V>(s: Ops<V>, w: number, x: bigint): V => {
  let v = 0n;
  for (let at = 0; at < 128; at += w) v |= x << BigInt(at);
  return s.vk(v);
};

/** All ones in every bit if `c` is 1, zeros if it is 0. */
export const maskOf = <V>(s: Ops<V>, c: V): V => s.vec('i64x2.splat', s.sub(s.k(0n), c));

/**
 * What every MMX instruction does to the x87 before its result is written: TOP = 0 and all tags valid (SDM vol.3
 * 12.2). That a write of an mm register sets the exponent and sign above it to all ones is part of `set`.
 */
export const enterMmx = <V>(s: Ops<V>): void => {
  s.setField('ftop', s.k(0n));
  s.setField('fempty', s.k(0n));
};
