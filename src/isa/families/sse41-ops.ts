/** Operations that SSE4.1 and SSE4.2 added, as functions of 128-bit vectors (SDM vol.1 5.10, 5.11). */
import type { Ops, Width } from '../ops.ts';
import type { PackedOp } from './sse-integer-ops.ts';
import { everywhere } from './sse-operands.ts';

const op = (name: string): PackedOp => ({ of: (s, a, b) => s.vec(name, a, b) });

/** Doublewords 0 and 2, side by side in the low half. */
const EVEN_DWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11];

export const SSE41_OPS = {
  packusdw: op('i16x8.narrow_i32x4_u'),
  pcmpeqq: op('i64x2.eq'),
  pcmpgtq: op('i64x2.gt_s'),
  pmulld: op('i32x4.mul'),
  pminsb: op('i8x16.min_s'),
  pminsd: op('i32x4.min_s'),
  pminuw: op('i16x8.min_u'),
  pminud: op('i32x4.min_u'),
  pmaxsb: op('i8x16.max_s'),
  pmaxsd: op('i32x4.max_s'),
  pmaxuw: op('i16x8.max_u'),
  pmaxud: op('i32x4.max_u'),
  pmuldq: {
    of: (s, a, b) => {
      const even = <V>(t: Ops<V>, v: V): V => {
        const x = t.let(v);
        return t.shuffle(x, x, EVEN_DWORDS);
      };
      return s.vec('i64x2.extmul_low_i32x4_s', even(s, a), even(s, b));
    },
  },
} as const satisfies Record<string, PackedOp>;

/**
 * PMOVSX and PMOVZX: elements of `from` bits, of the low part of `v`, extended to `to` bits. Half 1 takes the elements
 * behind those of half 0.
 */
export function extendElements<V>(s: Ops<V>, v: V, from: Width, to: Width, sign: 's' | 'u', half: 0 | 1): V {
  const start = half * (16 / (to / from));
  let x = v;
  if (start > 0) {
    const whole = s.let(v);
    x = s.shuffle(
      whole,
      whole,
      Array.from({ length: 16 }, (_, i) => (start + i) & 15),
    );
  }
  for (let w: number = from; w < to; w *= 2) x = s.vec(`i${2 * w}x${64 / w}.extend_low_i${w}x${128 / w}_${sign}`, x);
  return x;
}

/** Elements of `b` where the sign bit of the element of `chooser` is set, else of `a`. */
export function blendBySign<V>(s: Ops<V>, w: 8 | 32 | 64, a: V, b: V, chooser: V): V {
  const mask = s.vec(`i${w}x${128 / w}.shr_s`, chooser, s.k(BigInt(w - 1)));
  return s.vec('v128.bitselect', b, a, mask);
}

/** All ones in element `i` of `w` bits if bit `i` of `bits` is set, else zeros. */
export function maskOfBits<V>(s: Ops<V>, w: Width, bits: V): V {
  const shape = `i${w}x${128 / w}`;
  let v = s.vec(`${shape}.splat`, bits);
  let numbers = 0n;
  // Sixteen bits do not fit a byte: the upper eight elements look at the second byte.
  if (w === 8) {
    const words = s.let(s.vec('i16x8.splat', bits));
    v = s.shuffle(words, words, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
  }
  for (let i = 0; i < 128 / w; i++) numbers |= (1n << BigInt(w === 8 ? i & 7 : i)) << BigInt(i * w);
  const each = s.vk(numbers);
  return s.vec(`${shape}.eq`, s.vec('v128.and', v, each), each);
}

/** Elements of `b` where the bit of `bits` is set, else of `a`. */
export function blendByBits<V>(s: Ops<V>, w: Width, a: V, b: V, bits: V): V {
  return s.vec('v128.bitselect', b, a, maskOfBits(s, w, bits));
}

/** Element `n` (cut) of `w` bits of `v`, zero-extended. */
export function elementAt<V>(s: Ops<V>, w: Width, v: V, n: V): V {
  const x = s.let(v);
  const i = s.let(n);
  const inHalf = 64 / w;
  const half = s.select(s.and(i, s.k(BigInt(inHalf))), s.lane(64, x, 1), s.lane(64, x, 0));
  if (w === 64) return half;
  return s.zext(w, s.shr(half, s.mul(s.and(i, s.k(BigInt(inHalf - 1))), s.k(BigInt(w)))));
}

/** `v` with element `n` (cut) of `w` bits replaced by the low bits of `x`. */
export function withElementAt<V>(s: Ops<V>, w: Width, v: V, n: V, x: V): V {
  const count = 128 / w;
  const shape = `i${w}x${count}`;
  let numbers = 0n;
  for (let i = 0; i < count; i++) numbers |= BigInt(i) << BigInt(i * w);
  const here = s.vec(`${shape}.eq`, s.vec(`${shape}.splat`, s.and(n, s.k(BigInt(count - 1)))), s.vk(numbers));
  return s.vec('v128.bitselect', s.vec(`${shape}.splat`, x), v, here);
}

/** PHMINPOSUW: the smallest word in bits 0-15, its first place in bits 16-18, zeros above. */
export function minimumWord<V>(s: Ops<V>, v: V): V {
  const x = s.let(v);
  // Words with their place below them, as doublewords: the smallest of these is the smallest word's first.
  const keys = (half: 'low' | 'high', places: bigint): V =>
    s.vec('v128.or', s.vec('i32x4.shl', s.vec(`i32x4.extend_${half}_i16x8_u`, x), s.k(16n)), s.vk(places));
  const least = (a: V, b: V): V => s.let(s.vec('i32x4.min_u', a, b));
  const four = least(
    keys('low', 0x00000003_00000002_00000001_00000000n),
    keys('high', 0x00000007_00000006_00000005_00000004n),
  );
  const two = least(four, s.shuffle(four, four, [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7]));
  const one = least(two, s.shuffle(two, two, [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11]));
  const key = s.let(s.lane(32, one, 0));
  const result = s.or(s.shr(key, s.k(16n)), s.shl(s.and(key, s.k(7n)), s.k(16n)));
  return s.withLane(32, s.vk(0n), 0, result);
}

/** Byte numbers 0-15 as a vector. */
const IOTA = 0x0f0e0d0c0b0a09080706050403020100n;

/**
 * MPSADBW: eight sums of absolute differences of four bytes of `b`, from byte 4 * bits 0-1 of `order`, and four
 * consecutive bytes of `a`, from byte 4 * bit 2 on.
 */
export function slidingDifferences<V>(s: Ops<V>, a: V, b: V, order: V): V {
  const n = s.let(order);
  const from = (bits: V): V => s.vec('i8x16.add', s.vk(IOTA), s.vec('i8x16.splat', bits));
  const x = s.let(s.vec('i8x16.swizzle', a, from(s.and(n, s.k(4n)))));
  const y = s.let(s.vec('i8x16.swizzle', b, from(s.shl(s.and(n, s.k(3n)), s.k(2n)))));
  const zero = s.vk(0n);
  let sum = zero;
  for (let k = 0; k < 4; k++) {
    const window: number[] = [];
    const fixed: number[] = [];
    for (let i = 0; i < 8; i++) {
      window.push(i + k, 16);
      fixed.push(k, 16);
    }
    const difference = s.vec('i16x8.sub', s.shuffle(x, zero, window), s.shuffle(y, zero, fixed));
    sum = s.vec('i16x8.add', sum, s.vec('i16x8.abs', difference));
  }
  return sum;
}

/**
 * INSERTPS: `x`, 32 bits, as element bits 4-5 of `imm` of `v`; then elements of bits 0-3 are cleared.
 */
export function insertSingle<V>(s: Ops<V>, v: V, x: V, imm: V): V {
  const n = s.let(imm);
  const inserted = withElementAt(s, 32, v, s.shr(n, s.k(4n)), x);
  return s.vec('v128.andnot', inserted, maskOfBits(s, 32, s.and(n, s.k(15n))));
}

/** PTEST: ZF if no bit of `a` and `b` is in both, CF if all of `b` are in `a`; from the bits that were found. */
export function testFlags<V>(s: Ops<V>, common: V, missing: V): void {
  s.setArith(s.or(s.shl(s.eqz(common), s.k(6n)), s.eqz(missing)));
}

/** Sign bits of the elements: everything else of `v` cleared. */
export const signsOf = <V>(s: Ops<V>, w: 32 | 64, v: V): V =>
  s.vec('v128.and', v, everywhere(s, w, 1n << BigInt(w - 1)));
