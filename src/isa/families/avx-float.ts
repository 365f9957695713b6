/** VEX forms of floating-point arithmetic, comparison, logic and shuffles (SDM vol.1 14.1, 14.2). */
import type { Ops } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { num } from './common.ts';
import { AVX, halfOf, halvesOf, hex, type PackedForm, setHalves, sized, vexRows } from './packed-forms.ts';
import {
  BINARY_ARITHMETIC,
  BITWISE,
  computed,
  computedAll,
  elementBits,
  FLAG_COMPARISONS,
  FORMATS,
  type Format,
  isPacked,
  PREFIX,
  shuffleDoubles,
  shuffleSingles,
  UNARY_ARITHMETIC,
  UNPACKS,
} from './sse-arith.ts';
import { PACKED } from './sse-integer-ops.ts';
import { low } from './sse-operands.ts';
import { CROSS_ARITHMETIC, CROSS_SPACE, SSE3_FORMS } from './sse3.ts';
import { dotProducts, ROUND_OPCODES, singleSource } from './sse41.ts';
import { insertSingle } from './sse41-ops.ts';

const LENGTHS = [128, 256] as const;
/** `F3.0F` of a format, with nothing for NP. */
export const spaceOf = (f: Format): string => (PREFIX[f] === 'NP' ? '0F' : `${PREFIX[f]}.0F`);
/** Operand letters and size of a scalar source. */
export const scalarSource = (f: Format): string => (elementBits(f) === 32 ? 'Wd' : 'Wq');

/** Writes operand 1 with element 0 replaced, and zeros above. */
export function setScalar<V>(s: Ops<V>, f: Format, x: V): void {
  s.setWide(0, s.withLane(elementBits(f), s.get(1), 0, x), s.vk(0n));
}

/** Pairs of halves of operands `a` and `b`, loaded before anything is computed. */
function pairs<V>(s: Ops<V>, bits: 128 | 256, a: number, b: number): (readonly [V, V])[] {
  return halvesOf(bits).map((h) => {
    const second = halfOf(s, b, h);
    return [halfOf(s, a, h), second] as const;
  });
}

/** Rows of an operation on two sources; `more` are further arguments of the helper. */
function arithmetic(
  name: string,
  f: Format,
  opcode: number,
  helper: string,
  imm = '',
  more: <V>(s: Ops<V>) => V[] = () => [],
): Row[] {
  const space = spaceOf(f);
  const ib = imm === '' ? '' : ' ib';
  if (!isPacked(f)) {
    const w = elementBits(f);
    const exec: Row['exec'] = (s) => {
      const b = low(s, 2, w);
      setScalar(s, f, computed(s, helper, s.lane(w, s.get(1), 0), b, ...more(s)));
    };
    return [row(name, `=Vdq,Hdq,${scalarSource(f)}${imm}`, `VEX.LIG.${space}.WIG ${hex(opcode)} /r${ib}`, exec, AVX)];
  }
  return LENGTHS.map((bits) => {
    const exec: Row['exec'] = (s) => {
      const extra = more(s).map((v) => s.let(v));
      const calls = pairs(s, bits, 1, 2).map(
        ([a, b]) =>
          () =>
            s.call(helper, a, b, ...extra),
      );
      setHalves(s, computedAll(s, calls));
    };
    return row(name, sized(`=Vx,Hx,Wx${imm}`, bits), `VEX.${bits}.${space}.WIG ${hex(opcode)} /r${ib}`, exec, AVX);
  });
}

const binary = BINARY_ARITHMETIC.flatMap(([op, opcode]) =>
  FORMATS.flatMap((f) => arithmetic(`v${op}${f}`, f, opcode, `sse_${op}_${f}`)),
);

/** The predicate is the low five bits of the immediate. */
const compare = FORMATS.flatMap((f) =>
  arithmetic(`vcmp${f}`, f, 0xc2, `sse_cmp_${f}`, ',Ib', (s) => [s.and(s.get(3), s.k(31n))]),
);

/** Operations on the source alone; scalar ones take the rest from VEX.vvvv. The approximations raise nothing. */
const unary = UNARY_ARITHMETIC.flatMap(([op, opcode, formats]) =>
  formats.flatMap((f): Row[] => {
    const helper = `sse_${op}_${f}`;
    const raises = op === 'sqrt';
    if (!isPacked(f)) {
      const exec: Row['exec'] = (s) => {
        const x = low(s, 2, elementBits(f));
        setScalar(s, f, raises ? computed(s, helper, x) : s.call(helper, x));
      };
      const enc = `VEX.LIG.${spaceOf(f)}.WIG ${hex(opcode)} /r`;
      return [row(`v${op}${f}`, `=Vdq,Hdq,${scalarSource(f)}`, enc, exec, AVX)];
    }
    return LENGTHS.map((bits) => {
      const exec: Row['exec'] = (s) => {
        const calls = halvesOf(bits)
          .map((h) => halfOf(s, 1, h))
          .map((v) => () => s.call(helper, v));
        setHalves(s, raises ? computedAll(s, calls) : calls.map((call) => s.let(call())));
      };
      return row(`v${op}${f}`, sized('=Vx,Wx', bits), `VEX.${bits}.${spaceOf(f)}.WIG ${hex(opcode)} /r`, exec, AVX);
    });
  }),
);

const form = (name: string, f: 'ps' | 'pd', opcode: number, of: PackedForm['of'], imm = false): PackedForm => ({
  name,
  space: spaceOf(f),
  opcode,
  feature: 'sse',
  wide: 'avx',
  sources: 2,
  imm,
  of,
});

/** Logic, unpacking and shuffles do not look at the elements. */
const plain: readonly PackedForm[] = [
  ...BITWISE.flatMap(([name, opcode, op]) =>
    (['ps', 'pd'] as const).map((f) => form(name + f, f, opcode, (s, a, b) => PACKED[op].of(s, a, b))),
  ),
  ...UNPACKS.map(([name, f, opcode, op]) => form(name, f, opcode, (s, a, b) => PACKED[op].of(s, a, b))),
  form('shufps', 'ps', 0xc6, (s, a, b, imm) => shuffleSingles(s, a, b, imm), true),
  form('shufpd', 'pd', 0xc6, (s, a, b, imm, h) => shuffleDoubles(s, a, b, s.shr(imm, num(s, 2 * h))), true),
  ...SSE3_FORMS,
];

const cross = CROSS_ARITHMETIC.flatMap((op) =>
  (['ps', 'pd'] as const).flatMap((f) =>
    LENGTHS.map((bits) => {
      const exec: Row['exec'] = (s) => setHalves(s, op.of(s, f, pairs(s, bits, 1, 2)));
      const enc = `VEX.${bits}.${CROSS_SPACE[f]}.WIG ${hex(op.opcode)} /r`;
      return row(`v${op.name}${f}`, sized('=Vx,Hx,Wx', bits), enc, exec, AVX);
    }),
  ),
);

const dotProduct = (f: 'ps' | 'pd', opcode: number, bits: 128 | 256): Row => {
  const exec: Row['exec'] = (s) => setHalves(s, dotProducts(s, f, pairs(s, bits, 1, 2), s.let(s.get(3))));
  const enc = `VEX.${bits}.66.0F3A.WIG ${hex(opcode)} /r ib`;
  return row(`vdp${f}`, sized('=Vx,Hx,Wx,Ib', bits), enc, exec, AVX);
};

const rounding: readonly Row[] = [
  ...(['ps', 'pd'] as const).flatMap((f) =>
    LENGTHS.map((bits) => {
      const exec: Row['exec'] = (s) => {
        const imm = s.let(s.get(2));
        const calls = halvesOf(bits)
          .map((h) => halfOf(s, 1, h))
          .map((v) => () => s.call(`sse_round_${f}`, v, imm));
        setHalves(s, computedAll(s, calls));
      };
      const enc = `VEX.${bits}.66.0F3A.WIG ${hex(ROUND_OPCODES[f])} /r ib`;
      return row(`vround${f}`, sized('=Vx,Wx,Ib', bits), enc, exec, AVX);
    }),
  ),
  ...(['ss', 'sd'] as const).map((f) => {
    const exec: Row['exec'] = (s) =>
      setScalar(s, f, computed(s, `sse_round_${f}`, low(s, 2, elementBits(f)), s.get(3)));
    const enc = `VEX.LIG.66.0F3A.WIG ${hex(ROUND_OPCODES[f])} /r ib`;
    return row(`vround${f}`, `=Vdq,Hdq,${scalarSource(f)},Ib`, enc, exec, AVX);
  }),
];

export const AVX_FLOAT: readonly Row[] = [
  ...binary,
  ...compare,
  ...unary,
  ...plain.flatMap((f) => vexRows(f)),
  ...cross,
  dotProduct('ps', 0x40, 128),
  dotProduct('ps', 0x40, 256),
  dotProduct('pd', 0x41, 128),
  ...rounding,
  ...FLAG_COMPARISONS.map(([name, f, prefix, opcode, exec]) =>
    row(
      `v${name}`,
      `Vdq,${scalarSource(f)}`,
      `VEX.LIG.${prefix === 'NP' ? '' : '66.'}0F.WIG ${hex(opcode)} /r`,
      exec,
      AVX,
    ),
  ),
  row(
    'vinsertps',
    '=Vdq,Hdq,Wd,Ib',
    'VEX.128.66.0F3A.WIG 21 /r ib',
    (s) => {
      const imm = s.let(s.get(3));
      const x = singleSource(s, 2, imm);
      s.setWide(0, insertSingle(s, s.get(1), x, imm), s.vk(0n));
    },
    AVX,
  ),
];
