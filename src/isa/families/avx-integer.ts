/** VEX forms of the integer instructions of SSE2, SSSE3, SSE4.1 and SSE4.2: AVX for 128 bits, AVX2 for 256. */
import type { Ops, Width } from '../ops.ts';
import { type Row, row } from '../row.ts';
import {
  AVX,
  AVX2,
  type Half,
  halfOf,
  halvesOf,
  hex,
  type PackedForm,
  setHalves,
  sized,
  vexRows,
} from './packed-forms.ts';
import {
  BYTE_SHIFTS,
  PACKED,
  SHIFTS,
  type ShiftOp,
  shuffleDwords,
  shuffleWords,
  withWordAt,
  wordAt,
} from './sse-integer-ops.ts';
import { extended } from './sse-operands.ts';
import { PACKED_OPCODES, SHIFT_OPCODES } from './sse2-integer.ts';
import { EXTENSIONS, EXTRACTIONS, extracted, INSERTIONS, SSE41_FORMS } from './sse41.ts';
import { blendBySign, extendElements, signsOf, testFlags, withElementAt } from './sse41-ops.ts';
import { STRING_FORMS } from './sse42.ts';
import { SSSE3_FORMS } from './ssse3.ts';

const LENGTHS = [128, 256] as const;
const byLength = (bits: 128 | 256) => (bits === 256 ? AVX2 : AVX);

const sse2 = PACKED_OPCODES.map(
  ([name, opcode]): PackedForm => ({
    name,
    space: '66.0F',
    opcode,
    feature: 'sse2',
    wide: 'avx2',
    sources: 2,
    of: (s, a, b) => PACKED[name].of(s, a, b),
  }),
);

const shuffle = (name: string, prefix: string, of: PackedForm['of']): PackedForm => ({
  name,
  space: `${prefix}.0F`,
  opcode: 0x70,
  feature: 'sse2',
  wide: 'avx2',
  sources: 1,
  imm: true,
  of,
});
const shuffles: readonly PackedForm[] = [
  shuffle('pshufd', '66', (s, a, _b, imm) => shuffleDwords(s, a, imm)),
  shuffle('pshuflw', 'F2', (s, a, _b, imm) => shuffleWords(s, a, imm, 0)),
  shuffle('pshufhw', 'F3', (s, a, _b, imm) => shuffleWords(s, a, imm, 1)),
];

/** Every half of operand `n` through `f`. */
function eachHalf<V>(s: Ops<V>, bits: 128 | 256, n: number, f: (v: V, h: Half) => V): void {
  setHalves(
    s,
    halvesOf(bits).map((h) => s.let(f(halfOf(s, n, h), h))),
  );
}

/** Shifts by a count in a vector or an immediate; the whole vector by bytes. */
const shifts = LENGTHS.flatMap((bits): Row[] => {
  const attrs = byLength(bits);
  const byImmediate = (name: string, op: ShiftOp, opcode: number, digit: number): Row => {
    const exec: Row['exec'] = (s) => {
      const count = s.let(s.get(2));
      eachHalf(s, bits, 1, (v) => op.of(s, v, count));
    };
    const enc = `VEX.${bits}.66.0F.WIG ${hex(opcode)} /${digit} ib`;
    return row(`v${name}`, sized('=Hx,Ux,Ib', bits), enc, exec, attrs);
  };
  return [
    ...SHIFT_OPCODES.flatMap(([name, opcode, group, digit]) => {
      const exec: Row['exec'] = (s) => {
        const count = s.let(s.lane(64, s.get(2), 0));
        eachHalf(s, bits, 1, (v) => SHIFTS[name].of(s, v, count));
      };
      return [
        row(`v${name}`, sized('=Vx,Hx,Wdq', bits), `VEX.${bits}.66.0F.WIG ${hex(opcode)} /r`, exec, attrs),
        byImmediate(name, SHIFTS[name], group, digit),
      ];
    }),
    byImmediate('psrldq', BYTE_SHIFTS.psrldq, 0x73, 3),
    byImmediate('pslldq', BYTE_SHIFTS.pslldq, 0x73, 7),
  ];
});

const SIZE: Readonly<Record<number, string>> = { 16: 'w', 32: 'd', 64: 'q', 128: 'dq' };

/** VPMOVSX, VPMOVZX: the source is as much narrower as its elements are. */
const extensions = LENGTHS.flatMap((bits) =>
  EXTENSIONS.flatMap(([name, opcode, from, to]) =>
    (['s', 'u'] as const).map((sign): Row => {
      const w = bits / (to / from);
      const exec: Row['exec'] = (s) => {
        const v = s.let(s.isMem(1) && w < 128 ? extended(s, w as Width, s.get(1)) : s.get(1));
        setHalves(
          s,
          halvesOf(bits).map((h) => s.let(extendElements(s, v, from, to, sign, h))),
        );
      };
      const enc = `VEX.${bits}.66.0F38.WIG ${hex(opcode + (sign === 's' ? 0 : 0x10))} /r`;
      return row(`vpmov${sign === 's' ? 's' : 'z'}x${name}`, sized(`=Vx,W${SIZE[w]}`, bits), enc, exec, byLength(bits));
    }),
  ),
);

/** VPBLENDVB, VBLENDVPS, VBLENDVPD: the fourth operand chooses. */
const variableBlends = LENGTHS.flatMap((bits) =>
  (
    [
      ['vblendvps', 0x4a, 32],
      ['vblendvpd', 0x4b, 64],
      ['vpblendvb', 0x4c, 8],
    ] as const
  ).map(([name, opcode, w]): Row => {
    const exec: Row['exec'] = (s) => {
      const halves = halvesOf(bits).map((h) =>
        s.let(blendBySign(s, w, halfOf(s, 1, h), halfOf(s, 2, h), halfOf(s, 3, h))),
      );
      setHalves(s, halves);
    };
    const enc = `VEX.${bits}.66.0F3A.W0 ${hex(opcode)} /r /is4`;
    return row(name, sized('=Vx,Hx,Wx,Lx', bits), enc, exec, w === 8 ? byLength(bits) : AVX);
  }),
);

/** VPTEST, VTESTPS, VTESTPD: of all bits or of the signs of elements. */
const tests = LENGTHS.flatMap((bits) =>
  (
    [
      ['vtestps', 0x0e, 32, '.W0'],
      ['vtestpd', 0x0f, 64, '.W0'],
      ['vptest', 0x17, 0, '.WIG'],
    ] as const
  ).map(([name, opcode, w, vexW]): Row => {
    const exec: Row['exec'] = (s) => {
      const found = halvesOf(bits).map((h) => {
        const b = s.let(halfOf(s, 1, h));
        const a = s.let(halfOf(s, 0, h));
        const both = s.vec('v128.and', a, b);
        const missing = s.vec('v128.andnot', b, a);
        return w === 0 ? { both, missing } : { both: signsOf(s, w, both), missing: signsOf(s, w, missing) };
      });
      const any = (parts: (typeof found)[number]['both'][]) =>
        s.vec(
          'v128.any_true',
          parts.reduce((x, y) => s.vec('v128.or', x, y)),
        );
      testFlags(s, any(found.map((f) => f.both)), any(found.map((f) => f.missing)));
    };
    return row(name, sized('Vx,Wx', bits), `VEX.${bits}.66.0F38${vexW} ${hex(opcode)} /r`, exec, AVX);
  }),
);

/** VEX.W is the operand size of forms with a doubleword or a quadword, else it is ignored. */
const vexW = (operand: string): string => (operand.endsWith('y') ? '' : '.WIG');

/** Between general registers or memory and elements. */
const elements: readonly Row[] = [
  ...EXTRACTIONS.map(([name, to, opcode, w]) => {
    return row(
      name.replaceAll('pextr', 'vpextr').replace('extractps', 'vextractps'),
      `${to},Vdq,Ib`,
      `VEX.128.66.0F3A${vexW(to)} ${hex(opcode)} /r ib`,
      (s) => s.set(0, extracted(s, w)),
      AVX,
    );
  }),
  ...INSERTIONS.map(([name, from, opcode, w]) => {
    const exec: Row['exec'] = (s) => {
      const x = s.get(2);
      const v = withElementAt(s, w === 'y' ? (s.width(2) as Width) : w, s.get(1), s.get(3), x);
      s.setWide(0, v, s.vk(0n));
    };
    const enc = `VEX.128.66.0F3A${vexW(from)} ${hex(opcode)} /r ib`;
    return row(name.replaceAll('pinsr', 'vpinsr'), `=Vdq,Hdq,${from},Ib`, enc, exec, AVX);
  }),
  row('vpextrw', '=Gd,Udq,Ib', 'VEX.128.66.0F.WIG C5 /r ib', (s) => s.set(0, wordAt(s, s.get(1), s.get(2))), AVX),
  ...['Rd', 'Mw'].map((from) => {
    const exec: Row['exec'] = (s) => s.setWide(0, withWordAt(s, s.get(1), s.get(3), s.get(2)), s.vk(0n));
    const enc = 'VEX.128.66.0F.WIG C4 /r ib';
    return row('vpinsrw', `=Vdq,Hdq,${from},Ib`, enc, exec, AVX);
  }),
  ...LENGTHS.map((bits) =>
    row(
      'vpmovmskb',
      sized('=Gd,Ux', bits),
      `VEX.${bits}.66.0F.WIG D7 /r`,
      (s) => {
        const parts = halvesOf(bits).map((h) => s.vec('i8x16.bitmask', halfOf(s, 1, h)));
        s.set(0, parts.length === 1 ? parts[0]! : s.or(parts[0]!, s.shl(parts[1]!, s.k(16n))));
      },
      byLength(bits),
    ),
  ),
];

const strings = STRING_FORMS.map(({ name, opcode, exec }) =>
  row(
    `v${name}`,
    'Vdq,Wdq,Ib',
    `VEX.128.66.0F3A${name.startsWith('pcmpe') ? '' : '.WIG'} ${hex(opcode)} /r ib`,
    exec(true),
    AVX,
  ),
);

export const AVX_INTEGER: readonly Row[] = [
  ...[...sse2, ...shuffles, ...SSSE3_FORMS, ...SSE41_FORMS].flatMap((f) => vexRows(f)),
  ...shifts,
  ...extensions,
  ...variableBlends,
  ...tests,
  ...elements,
  ...strings,
];
