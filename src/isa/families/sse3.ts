/** SSE3 instructions on vectors (SDM vol.1 5.7), and what their VEX forms share with them. */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { hex, legacyRow, type PackedForm } from './packed-forms.ts';
import { computedAll } from './sse-arith.ts';
import { everywhere, low, pair } from './sse-operands.ts';
import { evens, odds } from './ssse3-ops.ts';

const FEATURE = 'sse3';
const SSE3: RowAttrs = { unit: 'sse', feature: FEATURE };

type Format = 'ps' | 'pd';

/** Arithmetic on elements of ps or pd that are not in the same place. */
export interface CrossArithmetic {
  readonly name: string;
  readonly opcode: number;
  /** Results of halves from the pairs of sources of each; an unmasked exception is looked for after all of them. */
  of<V>(s: Ops<V>, f: Format, sources: readonly (readonly [V, V])[]): V[];
}
/** Prefix and map of these instructions, by format. */
export const CROSS_SPACE: Readonly<Record<Format, string>> = { ps: 'F2.0F', pd: '66.0F' };

const horizontal = (name: string, op: string, opcode: number): CrossArithmetic => ({
  name,
  opcode,
  of: (s, f, sources) => {
    const n = f === 'ps' ? 4 : 8;
    const named = sources.map(([a, b]) => [s.let(a), s.let(b)] as const);
    return computedAll(
      s,
      named.map(
        ([a, b]) =>
          () =>
            s.call(`sse_${op}_${f}`, evens(s, a, b, n), odds(s, a, b, n)),
      ),
    );
  },
});

/** All ones in the even elements. */
const evenElements = <V>(s: Ops<V>, f: Format): V =>
  f === 'ps' ? everywhere(s, 64, 0xffff_ffffn) : s.vk(0xffff_ffff_ffff_ffffn);

/** Differences of even elements, sums of odd ones. Elements that do not count are zeros, which raise nothing. */
function addSub<V>(s: Ops<V>, f: Format, sources: readonly (readonly [V, V])[]): V[] {
  const even = evenElements(s, f);
  const evenOf = (v: V): V => s.vec('v128.and', v, even);
  const oddOf = (v: V): V => s.vec('v128.andnot', v, even);
  const calls = sources.flatMap(([a, b]) => {
    const x = s.let(a);
    const y = s.let(b);
    return [() => s.call(`sse_sub_${f}`, evenOf(x), evenOf(y)), () => s.call(`sse_add_${f}`, oddOf(x), oddOf(y))];
  });
  const results = computedAll(s, calls);
  return sources.map((_, i) => s.vec('v128.bitselect', results[2 * i]!, results[2 * i + 1]!, even));
}

export const CROSS_ARITHMETIC: readonly CrossArithmetic[] = [
  horizontal('hadd', 'add', 0x7c),
  horizontal('hsub', 'sub', 0x7d),
  { name: 'addsub', opcode: 0xd0, of: addSub },
];

const arithmetic = CROSS_ARITHMETIC.flatMap((op) =>
  (['ps', 'pd'] as const).map((f): Row => {
    const exec: Row['exec'] = (s) => s.set(0, op.of(s, f, [[s.get(0), s.get(1)]])[0]!);
    const enc = `${f === 'ps' ? 'F2' : '66'} 0F ${hex(op.opcode)} /r`;
    return row(op.name + f, '+Vdq,Wdq', enc, exec, { ...SSE3, aligned: true });
  }),
);

const duplicate = (name: string, opcode: number, bytes: readonly number[]): PackedForm => ({
  name,
  space: 'F3.0F',
  opcode,
  feature: FEATURE,
  wide: 'avx',
  sources: 1,
  of: (s, a) => {
    const x = s.let(a);
    return s.shuffle(x, x, bytes);
  },
});

export const SSE3_FORMS: readonly PackedForm[] = [
  duplicate('movsldup', 0x12, [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 8, 9, 10, 11]),
  duplicate('movshdup', 0x16, [4, 5, 6, 7, 4, 5, 6, 7, 12, 13, 14, 15, 12, 13, 14, 15]),
];

export const SSE3_ROWS: readonly Row[] = [
  ...arithmetic,
  ...SSE3_FORMS.map((f) => legacyRow(f)),
  row(
    'movddup',
    '=Vdq,Wq',
    'F2 0F 12 /r',
    (s) => {
      const x = s.let(low(s, 1, 64));
      s.set(0, pair(s, x, x));
    },
    SSE3,
  ),
  row('lddqu', '=Vdq,Mdq', 'F2 0F F0 /r', (s) => s.set(0, s.get(1)), SSE3),
];
