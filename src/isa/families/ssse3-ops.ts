/** Operations that SSSE3 added, as functions of 128-bit vectors (SDM vol.1 5.8); the destination comes first. */
import type { Ops } from '../ops.ts';
import type { PackedOp } from './sse-integer-ops.ts';
import { everywhere } from './sse-operands.ts';

/** Elements of `n` bytes at even (0) or odd (1) places of both sources, the first source's first. */
function alternate<V>(s: Ops<V>, a: V, b: V, n: 2 | 4 | 8, odd: 0 | 1): V {
  const bytes: number[] = [];
  for (let at = odd * n; at < 32; at += 2 * n) for (let i = 0; i < n; i++) bytes.push(at + i);
  return s.shuffle(a, b, bytes);
}
export const evens = <V>(s: Ops<V>, a: V, b: V, n: 2 | 4 | 8): V => alternate(s, a, b, n, 0);
export const odds = <V>(s: Ops<V>, a: V, b: V, n: 2 | 4 | 8): V => alternate(s, a, b, n, 1);

/** `op` between neighbouring elements of `n` bytes: pairs of the first source, then of the second. */
const horizontal = (op: string, n: 2 | 4): PackedOp => ({
  of: (s, a, b) => {
    const x = s.let(a);
    const y = s.let(b);
    return s.vec(op, evens(s, x, y, n), odds(s, x, y, n));
  },
});

/** Elements of the first source with the sign of the second's, or 0 where that is 0. */
const withSign = (w: 8 | 16 | 32): PackedOp => ({
  of: (s, a, b) => {
    const shape = `i${w}x${128 / w}`;
    const y = s.let(b);
    const negative = s.let(s.vec(`${shape}.shr_s`, y, s.k(BigInt(w - 1))));
    const signed = s.vec(`${shape}.sub`, s.vec('v128.xor', a, negative), negative);
    return s.vec('v128.andnot', signed, s.vec(`${shape}.eq`, y, s.vk(0n)));
  },
});

/** Bytes of `a` chosen by the low four bits of those of `b`; bit 7 gives 0. A swizzle gives 0 for 16 and above. */
function shuffleBytes<V>(s: Ops<V>, a: V, b: V): V {
  return s.vec('i8x16.swizzle', a, s.vec('v128.and', b, everywhere(s, 8, 0x8fn)));
}

/** Sums of two products of unsigned bytes of `a` and signed bytes of `b`, saturated to words. */
function multiplyAddBytes<V>(s: Ops<V>, a: V, b: V): V {
  const x = s.let(a);
  const y = s.let(b);
  const eight = s.k(8n);
  const even = s.vec(
    'i16x8.mul',
    s.vec('v128.and', x, everywhere(s, 16, 0xffn)),
    s.vec('i16x8.shr_s', s.vec('i16x8.shl', y, eight), eight),
  );
  const odd = s.vec('i16x8.mul', s.vec('i16x8.shr_u', x, eight), s.vec('i16x8.shr_s', y, eight));
  return s.vec('i16x8.add_sat_s', even, odd);
}

/** High halves of products of words, rounded. WebAssembly saturates the one product that does not fit. */
function multiplyHighRounded<V>(s: Ops<V>, a: V, b: V): V {
  const x = s.let(a);
  const y = s.let(b);
  const lowest = everywhere(s, 16, 0x8000n);
  const saturated = s.vec('v128.and', s.vec('i16x8.eq', x, lowest), s.vec('i16x8.eq', y, lowest));
  return s.vec('v128.xor', s.vec('i16x8.q15mulr_sat_s', x, y), saturated);
}

export const SSSE3_OPS = {
  pshufb: { of: shuffleBytes },
  phaddw: horizontal('i16x8.add', 2),
  phaddd: horizontal('i32x4.add', 4),
  phaddsw: horizontal('i16x8.add_sat_s', 2),
  pmaddubsw: { of: multiplyAddBytes },
  phsubw: horizontal('i16x8.sub', 2),
  phsubd: horizontal('i32x4.sub', 4),
  phsubsw: horizontal('i16x8.sub_sat_s', 2),
  psignb: withSign(8),
  psignw: withSign(16),
  psignd: withSign(32),
  pmulhrsw: { of: multiplyHighRounded },
} as const satisfies Record<string, PackedOp>;

/** Byte numbers 0-15 as a vector. */
const IOTA = 0x0f0e0d0c0b0a09080706050403020100n;

/** PALIGNR: 16 bytes of `high`:`low` from byte `count` on, zeros behind the end. A swizzle gives 0 outside 0-15. */
export function alignRight<V>(s: Ops<V>, high: V, low: V, count: V): V {
  const n = s.let(count);
  const limited = s.let(s.select(s.ltu(n, s.k(32n)), n, s.k(32n)));
  const at = (from: V): V => s.vec('i8x16.add', s.vk(IOTA), s.vec('i8x16.splat', from));
  return s.vec(
    'v128.or',
    s.vec('i8x16.swizzle', low, at(limited)),
    s.vec('i8x16.swizzle', high, at(s.sub(limited, s.k(16n)))),
  );
}
