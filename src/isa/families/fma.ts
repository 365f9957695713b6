/** FMA: a * b + c with one rounding, in 96 forms (SDM vol.1 14.5). */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { halfOf, halvesOf, hex, setHalves, sized } from './packed-forms.ts';
import { computed, computedAll } from './sse-arith.ts';
import { everywhere, low } from './sse-operands.ts';

const FMA: RowAttrs = { unit: 'avx', feature: 'fma' };
const LENGTHS = [128, 256] as const;

/** Which operands (0 destination, 1 VEX.vvvv, 2 ModRM.rm) are a, b and c; the opcodes of a group start there. */
const ORDERS = [
  { digits: '132', base: 0x90, a: 0, b: 2, c: 1 },
  { digits: '213', base: 0xa0, a: 1, b: 0, c: 2 },
  { digits: '231', base: 0xb0, a: 1, b: 2, c: 0 },
] as const;

/** Bit 0: the product is negated, bit 1: c is (as the helpers take them). */
const OPERATIONS = [
  { name: 'vfmadd', at: 8, signs: 0n },
  { name: 'vfmsub', at: 0xa, signs: 2n },
  { name: 'vfnmadd', at: 0xc, signs: 1n },
  { name: 'vfnmsub', at: 0xe, signs: 3n },
] as const;
/** Signs of c in odd and in even elements. */
const ALTERNATING = [
  { name: 'vfmaddsub', at: 6, odd: 0n, even: 2n },
  { name: 'vfmsubadd', at: 7, odd: 2n, even: 0n },
] as const;

type Order = (typeof ORDERS)[number];
type Packed = 'ps' | 'pd';
const vexW = (f: string): string => (f.endsWith('s') ? 'W0' : 'W1');

/** a, b and c of each half, loaded before anything is computed. */
function sources<V>(s: Ops<V>, bits: 128 | 256, o: Order): { a: V; b: V; c: V }[] {
  return halvesOf(bits).map((h) => {
    const values = [2, 1, 0].map((n) => s.let(halfOf(s, n, h))).reverse();
    return { a: values[o.a]!, b: values[o.b]!, c: values[o.c]! };
  });
}

const packed = (name: string, opcode: number, f: Packed, exec: (bits: 128 | 256) => Row['exec']): Row[] =>
  LENGTHS.map((bits) =>
    row(name, sized('+Vx,Hx,Wx', bits), `VEX.${bits}.66.0F38.${vexW(f)} ${hex(opcode)} /r`, exec(bits), FMA),
  );

const plain = ORDERS.flatMap((o) =>
  OPERATIONS.flatMap(({ name, at, signs }): Row[] => [
    ...(['ps', 'pd'] as const).flatMap((f) =>
      packed(`${name}${o.digits}${f}`, o.base + at, f, (bits) => (s) => {
        const calls = sources(s, bits, o).map(
          ({ a, b, c }) =>
            () =>
              s.call(`sse_fma_${f}`, a, b, c, s.k(signs)),
        );
        setHalves(s, computedAll(s, calls));
      }),
    ),
    ...(['ss', 'sd'] as const).map((f) => {
      const w = f === 'ss' ? 32 : 64;
      const exec: Row['exec'] = (s) => {
        const old = s.let(s.get(0));
        const values = [s.lane(w, old, 0), s.lane(w, s.get(1), 0), low(s, 2, w)];
        const r = computed(s, `sse_fma_${f}`, values[o.a]!, values[o.b]!, values[o.c]!, s.k(signs));
        s.setWide(0, s.withLane(w, old, 0, r), s.vk(0n));
      };
      const operands = `+Vdq,Hdq,W${f === 'ss' ? 'd' : 'q'}`;
      const enc = `VEX.LIG.66.0F38.${vexW(f)} ${hex(o.base + at + 1)} /r`;
      return row(`${name}${o.digits}${f}`, operands, enc, exec, FMA);
    }),
  ]),
);

/**
 * Sums in some elements, differences in the others: two multiplications, each with zeros in the elements that do not
 * count, which raise nothing.
 */
const alternating = ORDERS.flatMap((o) =>
  ALTERNATING.flatMap(({ name, at, odd, even }) =>
    (['ps', 'pd'] as const).flatMap((f) =>
      packed(`${name}${o.digits}${f}`, o.base + at, f, (bits) => (s) => {
        const evens = f === 'ps' ? everywhere(s, 64, 0xffff_ffffn) : s.vk(0xffff_ffff_ffff_ffffn);
        const all = sources(s, bits, o);
        const calls = all.flatMap(({ a, b, c }) =>
          [
            { kept: (v: typeof a) => s.vec('v128.and', v, evens), signs: even },
            { kept: (v: typeof a) => s.vec('v128.andnot', v, evens), signs: odd },
          ].map(
            ({ kept, signs }) =>
              () =>
                s.call(`sse_fma_${f}`, kept(a), kept(b), kept(c), s.k(signs)),
          ),
        );
        const r = computedAll(s, calls);
        setHalves(
          s,
          all.map((_, i) => s.vec('v128.bitselect', r[2 * i]!, r[2 * i + 1]!, evens)),
        );
      }),
    ),
  ),
);

export const FMA_ROWS: readonly Row[] = [...plain, ...alternating];
