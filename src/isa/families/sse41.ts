/** SSE4.1 instructions (SDM vol.1 5.10) and PCMPGTQ; what their VEX forms share with them. */
import type { Ops, Width } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { hex, legacyRow, type PackedForm } from './packed-forms.ts';
import { computed, computedAll } from './sse-arith.ts';
import { extended, low, setLow } from './sse-operands.ts';
import {
  blendByBits,
  blendBySign,
  elementAt,
  extendElements,
  insertSingle,
  minimumWord,
  SSE41_OPS,
  slidingDifferences,
  testFlags,
  withElementAt,
} from './sse41-ops.ts';
import { evens, odds } from './ssse3-ops.ts';

const FEATURE = 'sse4_1';
const SSE41: RowAttrs = { unit: 'sse', feature: FEATURE };
const ALIGNED: RowAttrs = { ...SSE41, aligned: true };

const BINARY_OPCODES: readonly (readonly [keyof typeof SSE41_OPS, number])[] = [
  ['pmuldq', 0x28],
  ['pcmpeqq', 0x29],
  ['packusdw', 0x2b],
  ['pcmpgtq', 0x37],
  ['pminsb', 0x38],
  ['pminsd', 0x39],
  ['pminuw', 0x3a],
  ['pminud', 0x3b],
  ['pmaxsb', 0x3c],
  ['pmaxsd', 0x3d],
  ['pmaxuw', 0x3e],
  ['pmaxud', 0x3f],
  ['pmulld', 0x40],
];

const binary = BINARY_OPCODES.map(
  ([name, opcode]): PackedForm => ({
    name,
    space: '66.0F38',
    opcode,
    feature: name === 'pcmpgtq' ? 'sse4_2' : FEATURE,
    wide: 'avx2',
    sources: 2,
    of: (s, a, b) => SSE41_OPS[name].of(s, a, b),
  }),
);

/** Bits of `imm` for the elements of half `h`, which has `n` of them. */
const halfBits = <V>(s: Ops<V>, imm: V, h: 0 | 1, n: number): V => s.shr(imm, s.k(BigInt(h * n)));

const blend = (name: string, opcode: number, w: Width, wide: 'avx' | 'avx2'): PackedForm => ({
  name,
  space: '66.0F3A',
  opcode,
  feature: FEATURE,
  wide,
  sources: 2,
  imm: true,
  // Eight bits choose all elements of 256 bits, except that words are chosen by the same bits in both halves.
  of: (s, a, b, imm, h) => blendByBits(s, w, a, b, w === 16 ? imm : halfBits(s, imm, h, 128 / w)),
});

export const SSE41_FORMS: readonly PackedForm[] = [
  ...binary,
  {
    name: 'phminposuw',
    space: '66.0F38',
    opcode: 0x41,
    feature: FEATURE,
    sources: 1,
    of: (s, a) => minimumWord(s, a),
  },
  blend('blendps', 0x0c, 32, 'avx'),
  blend('blendpd', 0x0d, 64, 'avx'),
  blend('pblendw', 0x0e, 16, 'avx2'),
  {
    name: 'mpsadbw',
    space: '66.0F3A',
    opcode: 0x42,
    feature: FEATURE,
    wide: 'avx2',
    sources: 2,
    imm: true,
    of: (s, a, b, imm, h) => slidingDifferences(s, a, b, halfBits(s, imm, h, 3)),
  },
];

/** PMOVSX and PMOVZX: name, opcode of the signed form (the unsigned one is 10h above), widths. */
export const EXTENSIONS: readonly (readonly [string, number, Width, Width])[] = [
  ['bw', 0x20, 8, 16],
  ['bd', 0x21, 8, 32],
  ['bq', 0x22, 8, 64],
  ['wd', 0x23, 16, 32],
  ['wq', 0x24, 16, 64],
  ['dq', 0x25, 32, 64],
];

const extensions = EXTENSIONS.flatMap(([name, opcode, from, to]): Row[] => {
  const w = (128 / (to / from)) as 16 | 32 | 64;
  const size = { 16: 'w', 32: 'd', 64: 'q' }[w];
  return (['s', 'u'] as const).map((sign) =>
    row(
      `pmov${sign === 's' ? 's' : 'z'}x${name}`,
      `=Vdq,W${size}`,
      `66 0F 38 ${hex(opcode + (sign === 's' ? 0 : 0x10))} /r`,
      (s) => s.set(0, extendElements(s, s.isMem(1) ? extended(s, w, s.get(1)) : s.get(1), from, to, sign, 0)),
      SSE41,
    ),
  );
});

/** PBLENDVB, BLENDVPS, BLENDVPD: XMM0 chooses. */
const variableBlend = (name: string, opcode: number, w: 8 | 32 | 64): Row =>
  row(
    name,
    '+Vdq,Wdq',
    `66 0F 38 ${hex(opcode)} /r`,
    (s) => s.set(0, blendBySign(s, w, s.get(0), s.get(1), s.xmm(0))),
    ALIGNED,
  );

function ptest<V>(s: Ops<V>): void {
  const b = s.let(s.get(1));
  const a = s.let(s.get(0));
  const any = (v: V): V => s.vec('v128.any_true', v);
  testFlags(s, any(s.vec('v128.and', a, b)), any(s.vec('v128.andnot', b, a)));
}

/** Moves of one element to a general register, zero-extended, or to memory: suffix of operands, opcode, width. */
export const EXTRACTIONS: readonly (readonly [string, string, number, Width | 'y'])[] = [
  ['pextrb', '=Rd', 0x14, 8],
  ['pextrb', '=Mb', 0x14, 8],
  ['pextrw', '=Rd', 0x15, 16],
  ['pextrw', '=Mw', 0x15, 16],
  ['pextrd/pextrd/pextrq', '=Ey', 0x16, 'y'],
  ['extractps', '=Rd', 0x17, 32],
  ['extractps', '=Md', 0x17, 32],
];
/** The value: element by the immediate, which is operand 2. */
export const extracted = <V>(s: Ops<V>, w: Width | 'y'): V =>
  elementAt(s, w === 'y' ? (s.width(0) as Width) : w, s.get(1), s.get(2));

/** Insertions of a general register's or memory's element: operand, opcode, width. */
export const INSERTIONS: readonly (readonly [string, string, number, Width | 'y'])[] = [
  ['pinsrb', 'Rd', 0x20, 8],
  ['pinsrb', 'Mb', 0x20, 8],
  ['pinsrd/pinsrd/pinsrq', 'Ey', 0x22, 'y'],
];

const elements: readonly Row[] = [
  ...EXTRACTIONS.map(([name, to, opcode, w]) =>
    row(name, `${to},Vdq,Ib`, `66 0F 3A ${hex(opcode)} /r ib`, (s) => s.set(0, extracted(s, w)), SSE41),
  ),
  ...INSERTIONS.map(([name, from, opcode, w]) =>
    row(
      name,
      `+Vdq,${from},Ib`,
      `66 0F 3A ${hex(opcode)} /r ib`,
      (s) => s.set(0, withElementAt(s, w === 'y' ? (s.width(1) as Width) : w, s.get(0), s.get(2), s.get(1))),
      SSE41,
    ),
  ),
  row(
    'insertps',
    '+Vdq,Wd,Ib',
    '66 0F 3A 21 /r ib',
    (s) => s.set(0, insertSingle(s, s.get(0), singleSource(s, 1, s.get(2)), s.get(2))),
    SSE41,
  ),
];

/** The source of INSERTPS: memory, or the register's element by bits 6-7 of the immediate. */
export const singleSource = <V>(s: Ops<V>, n: number, imm: V): V =>
  s.isMem(n) ? s.get(n) : elementAt(s, 32, s.get(n), s.shr(imm, s.k(6n)));

type Format = 'ps' | 'pd';

/**
 * DPPS, DPPD: products chosen by bits 4-7 of the immediate, their sum to the elements chosen by bits 0-3. Each step
 * raises its exceptions before the next begins (SDM vol.2 DPPS).
 */
export function dotProducts<V>(s: Ops<V>, f: Format, sources: readonly (readonly [V, V])[], imm: V): V[] {
  const w = f === 'ps' ? 32 : 64;
  const factors = s.let(maskOfFactors(s, w, imm));
  const products = computedAll(
    s,
    sources.map(
      ([a, b]) =>
        () =>
          s.call(`sse_mul_${f}`, s.vec('v128.and', a, factors), s.vec('v128.and', b, factors)),
    ),
  );
  const neighbours = (vectors: readonly V[]): V[] =>
    computedAll(
      s,
      vectors.map(
        (v) => () => s.call(`sse_add_${f}`, evens(s, v, v, w === 32 ? 4 : 8), odds(s, v, v, w === 32 ? 4 : 8)),
      ),
    );
  let sums = neighbours(products);
  if (f === 'ps') sums = neighbours(sums);
  const kept = maskOfKept(s, w, imm);
  return sums.map((sum) => s.vec('v128.and', sum, kept));
}
const maskOfFactors = <V>(s: Ops<V>, w: 32 | 64, imm: V): V => maskOfKept(s, w, s.shr(imm, s.k(4n)));
const maskOfKept = <V>(s: Ops<V>, w: 32 | 64, imm: V): V =>
  blendByBits(s, w, s.vk(0n), s.vk((1n << 128n) - 1n), s.and(imm, s.k(15n)));

const dotProduct = (f: Format, opcode: number): Row =>
  row(
    `dp${f}`,
    '+Vdq,Wdq,Ib',
    `66 0F 3A ${hex(opcode)} /r ib`,
    (s) => s.set(0, dotProducts(s, f, [[s.let(s.get(0)), s.let(s.get(1))]], s.let(s.get(2)))[0]!),
    ALIGNED,
  );

/** ROUNDPS ...: opcode by format. */
export const ROUND_OPCODES = { ps: 0x08, pd: 0x09, ss: 0x0a, sd: 0x0b } as const;

const rounding: readonly Row[] = [
  ...(['ps', 'pd'] as const).map((f) =>
    row(
      `round${f}`,
      '=Vdq,Wdq,Ib',
      `66 0F 3A ${hex(ROUND_OPCODES[f])} /r ib`,
      (s) => s.set(0, computed(s, `sse_round_${f}`, s.get(1), s.get(2))),
      ALIGNED,
    ),
  ),
  ...(['ss', 'sd'] as const).map((f) => {
    const w = f === 'ss' ? 32 : 64;
    return row(
      `round${f}`,
      `+Vdq,W${f === 'ss' ? 'd' : 'q'},Ib`,
      `66 0F 3A ${hex(ROUND_OPCODES[f])} /r ib`,
      (s) => setLow(s, 0, w, computed(s, `sse_round_${f}`, low(s, 1, w), s.get(2))),
      SSE41,
    );
  }),
];

export const SSE41_ROWS: readonly Row[] = [
  ...SSE41_FORMS.map((f) => legacyRow(f)),
  ...extensions,
  variableBlend('pblendvb', 0x10, 8),
  variableBlend('blendvps', 0x14, 32),
  variableBlend('blendvpd', 0x15, 64),
  row('ptest', 'Vdq,Wdq', '66 0F 38 17 /r', ptest, ALIGNED),
  row('movntdqa', '=Vdq,Mdq', '66 0F 38 2A /r', (s) => s.set(0, s.get(1)), ALIGNED),
  ...elements,
  dotProduct('ps', 0x40),
  dotProduct('pd', 0x41),
  ...rounding,
];
