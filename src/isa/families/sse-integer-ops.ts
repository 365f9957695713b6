/**
 * Operations of MMX and SSE2 on packed integers as functions of vectors: WebAssembly's where it has them, composed
 * where it has not. Stated once for the 64-bit, the 128-bit and the VEX forms. A function takes the destination first.
 */
import type { Ops } from '../ops.ts';
import { everywhere, maskOf, pair } from './sse-operands.ts';

export interface PackedOp {
  of<V>(s: Ops<V>, a: V, b: V): V;
}

const op = (name: string): PackedOp => ({ of: (s, a, b) => s.vec(name, a, b) });
const reversed = (name: string): PackedOp => ({ of: (s, a, b) => s.vec(name, b, a) });

/** Bytes of an interleaving of elements of `n` bytes, from byte `start` of both sources. */
const interleaved = (n: number, start: number): number[] => {
  const bytes: number[] = [];
  for (let at = start; at < start + 8; at += n) {
    for (let i = 0; i < n; i++) bytes.push(at + i);
    for (let i = 0; i < n; i++) bytes.push(16 + at + i);
  }
  return bytes;
};
const unpack = (n: number, start: number): PackedOp => {
  const bytes = interleaved(n, start);
  return { of: (s, a, b) => s.shuffle(a, b, bytes) };
};

/** High 16 bits of the products of words. */
const HIGH_WORDS = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];
const mulHigh = (sign: 's' | 'u'): PackedOp => ({
  of: (s, a, b) => {
    const x = s.let(a);
    const y = s.let(b);
    const product = (half: string) => s.vec(`i32x4.extmul_${half}_i16x8_${sign}`, x, y);
    return s.shuffle(product('low'), product('high'), HIGH_WORDS);
  },
});

/** Doublewords 0 and 2, side by side in the low half. */
const EVEN_DWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11];

/** Sums of |a - b| over each group of eight bytes, in 64-bit elements. */
function absoluteDifferences<V>(s: Ops<V>, a: V, b: V): V {
  const x = s.let(a);
  const y = s.let(b);
  const distance = s.vec('v128.or', s.vec('i8x16.sub_sat_u', x, y), s.vec('i8x16.sub_sat_u', y, x));
  const words = s.vec('i16x8.extadd_pairwise_i8x16_u', distance);
  const dwords = s.let(s.vec('i32x4.extadd_pairwise_i16x8_u', words));
  const even = s.vec('v128.and', dwords, everywhere(s, 64, 0xffff_ffffn));
  return s.vec('i64x2.add', even, s.vec('i64x2.shr_u', dwords, s.k(32n)));
}

/** Operations by mnemonic. Packing and unpacking take their elements from 128-bit sources. */
export const PACKED = {
  paddb: op('i8x16.add'),
  paddw: op('i16x8.add'),
  paddd: op('i32x4.add'),
  paddq: op('i64x2.add'),
  psubb: op('i8x16.sub'),
  psubw: op('i16x8.sub'),
  psubd: op('i32x4.sub'),
  psubq: op('i64x2.sub'),
  paddsb: op('i8x16.add_sat_s'),
  paddsw: op('i16x8.add_sat_s'),
  paddusb: op('i8x16.add_sat_u'),
  paddusw: op('i16x8.add_sat_u'),
  psubsb: op('i8x16.sub_sat_s'),
  psubsw: op('i16x8.sub_sat_s'),
  psubusb: op('i8x16.sub_sat_u'),
  psubusw: op('i16x8.sub_sat_u'),
  pmullw: op('i16x8.mul'),
  pmulhw: mulHigh('s'),
  pmulhuw: mulHigh('u'),
  pmaddwd: op('i32x4.dot_i16x8_s'),
  pmuludq: {
    of: (s, a, b) => {
      const even = <V>(t: Ops<V>, v: V): V => {
        const x = t.let(v);
        return t.shuffle(x, x, EVEN_DWORDS);
      };
      return s.vec('i64x2.extmul_low_i32x4_u', even(s, a), even(s, b));
    },
  },
  psadbw: { of: absoluteDifferences },
  pavgb: op('i8x16.avgr_u'),
  pavgw: op('i16x8.avgr_u'),
  pminub: op('i8x16.min_u'),
  pmaxub: op('i8x16.max_u'),
  pminsw: op('i16x8.min_s'),
  pmaxsw: op('i16x8.max_s'),
  pcmpeqb: op('i8x16.eq'),
  pcmpeqw: op('i16x8.eq'),
  pcmpeqd: op('i32x4.eq'),
  pcmpgtb: op('i8x16.gt_s'),
  pcmpgtw: op('i16x8.gt_s'),
  pcmpgtd: op('i32x4.gt_s'),
  pand: op('v128.and'),
  pandn: reversed('v128.andnot'),
  por: op('v128.or'),
  pxor: op('v128.xor'),
  packsswb: op('i8x16.narrow_i16x8_s'),
  packuswb: op('i8x16.narrow_i16x8_u'),
  packssdw: op('i16x8.narrow_i32x4_s'),
  punpcklbw: unpack(1, 0),
  punpcklwd: unpack(2, 0),
  punpckldq: unpack(4, 0),
  punpcklqdq: unpack(8, 0),
  punpckhbw: unpack(1, 8),
  punpckhwd: unpack(2, 8),
  punpckhdq: unpack(4, 8),
  punpckhqdq: unpack(8, 8),
} as const satisfies Record<string, PackedOp>;

export interface ShiftOp {
  /** `count` is an unsigned 64-bit integer; counts of the element's width and above give zeros or copies of the sign. */
  of<V>(s: Ops<V>, v: V, count: V): V;
}

const logical = (w: 16 | 32 | 64, direction: 'shl' | 'shr_u'): ShiftOp => ({
  of: (s, v, count) => {
    const n = s.let(count);
    // WebAssembly takes the count modulo the width.
    const shifted = s.vec(`i${w}x${128 / w}.${direction}`, v, n);
    return s.vec('v128.and', shifted, maskOf(s, s.ltu(n, s.k(BigInt(w)))));
  },
});
const arithmetic = (w: 16 | 32): ShiftOp => ({
  of: (s, v, count) => {
    const n = s.let(count);
    const most = BigInt(w - 1);
    return s.vec(`i${w}x${128 / w}.shr_s`, v, s.select(s.ltu(n, s.k(most)), n, s.k(most)));
  },
});

/** Shifts of every element by one count. */
export const SHIFTS = {
  psrlw: logical(16, 'shr_u'),
  psrld: logical(32, 'shr_u'),
  psrlq: logical(64, 'shr_u'),
  psraw: arithmetic(16),
  psrad: arithmetic(32),
  psllw: logical(16, 'shl'),
  pslld: logical(32, 'shl'),
  psllq: logical(64, 'shl'),
} as const satisfies Record<string, ShiftOp>;

/** Byte numbers 0-15 as a vector. */
const IOTA = 0x0f0e0d0c0b0a09080706050403020100n;
const upTo16 = <V>(s: Ops<V>, count: V): V => {
  const n = s.let(count);
  return s.vec('i8x16.splat', s.select(s.ltu(n, s.k(16n)), n, s.k(16n)));
};

/** PSLLDQ and PSRLDQ: the whole vector by `count` bytes. A swizzle index outside 0-15 gives a zero byte. */
export const BYTE_SHIFTS = {
  pslldq: {
    of: (s, v, count) => s.vec('i8x16.swizzle', v, s.vec('i8x16.sub', s.vk(IOTA), upTo16(s, count))),
  },
  psrldq: {
    of: (s, v, count) => s.vec('i8x16.swizzle', v, s.vec('i8x16.add', s.vk(IOTA), upTo16(s, count))),
  },
} as const satisfies Record<string, ShiftOp>;

/**
 * Byte numbers that choose two doublewords by bits 0-3 of `order` (two bits each), as 64 bits of a swizzle's index.
 * A doubleword n is the bytes 4n ... 4n + 3, so its index is n * 04040404h + 03020100h.
 */
export function dwordIndex<V>(s: Ops<V>, order: V): V {
  const x = s.let(order);
  const first = s.and(x, s.k(3n));
  const second = s.and(s.shr(x, s.k(2n)), s.k(3n));
  const chosen = s.or(first, s.shl(second, s.k(32n)));
  return s.add(s.mul(chosen, s.k(0x04040404n)), s.k(0x03020100_03020100n));
}

/** Byte numbers that choose four words by bits 0-7 of `order` (two bits each), as 64 bits of a swizzle's index. */
export function wordIndex<V>(s: Ops<V>, order: V): V {
  const x = s.let(order);
  let chosen = s.and(x, s.k(3n));
  for (let i = 1; i < 4; i++) {
    const n = s.and(s.shr(x, s.k(BigInt(2 * i))), s.k(3n));
    chosen = s.or(chosen, s.shl(n, s.k(BigInt(16 * i))));
  }
  return s.add(s.mul(chosen, s.k(0x0202n)), s.k(0x0100_0100_0100_0100n));
}

/** PSHUFD: the doublewords of `v` in the order given by four two-bit numbers. */
export function shuffleDwords<V>(s: Ops<V>, v: V, order: V): V {
  const x = s.let(order);
  return s.vec('i8x16.swizzle', v, pair(s, dwordIndex(s, x), dwordIndex(s, s.shr(x, s.k(4n)))));
}

/** PSHUFLW (half 0) and PSHUFHW (half 1): the words of one half reordered, the other half kept. */
export function shuffleWords<V>(s: Ops<V>, v: V, order: V, half: 0 | 1): V {
  const index = wordIndex(s, order);
  const high = s.add(index, s.k(0x0808_0808_0808_0808n));
  return s.vec(
    'i8x16.swizzle',
    v,
    half === 0 ? pair(s, index, s.k(IOTA >> 64n)) : pair(s, s.k(IOTA & 0xffff_ffff_ffff_ffffn), high),
  );
}

/** Word `n` (0-7, cut) of `v`, zero-extended. */
export function wordAt<V>(s: Ops<V>, v: V, n: V): V {
  const x = s.let(v);
  const i = s.let(n);
  const half = s.select(s.and(i, s.k(4n)), s.lane(64, x, 1), s.lane(64, x, 0));
  return s.zext(16, s.shr(half, s.shl(s.and(i, s.k(3n)), s.k(4n))));
}

/** `v` with word `n` (0-7, cut) replaced by the low 16 bits of `x`. */
export function withWordAt<V>(s: Ops<V>, v: V, n: V, x: V): V {
  const numbers = s.vk(0x0007_0006_0005_0004_0003_0002_0001_0000n);
  const here = s.vec('i16x8.eq', s.vec('i16x8.splat', s.and(n, s.k(7n))), numbers);
  return s.vec('v128.bitselect', s.vec('i16x8.splat', x), v, here);
}
