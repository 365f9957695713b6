/** Instructions that AVX and AVX2 brought: broadcasts, permutations, 128-bit parts, shifts by element (SDM vol.1 14.1). */
import type { Ops, Width } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { num } from './common.ts';
import { AVX, AVX2, halfOf, halvesOf, hex, type PackedForm, setHalves, sized, vexRows } from './packed-forms.ts';
import { shuffleDoubles } from './sse-arith.ts';
import { shuffleDwords } from './sse-integer-ops.ts';
import { everywhere, low } from './sse-operands.ts';
import { blendByBits } from './sse41-ops.ts';

const LENGTHS = [128, 256] as const;
const _byLength = (bits: 128 | 256) => (bits === 256 ? AVX2 : AVX);

/** One element to all. AVX has the forms with memory only. */
const broadcast = (name: string, opcode: number, w: Width, bits: 128 | 256, source: string, attrs: RowAttrs): Row => {
  const exec: Row['exec'] = (s) => {
    const v = s.let(s.vec(`i${w}x${128 / w}.splat`, low(s, 1, w)));
    setHalves(
      s,
      halvesOf(bits).map(() => v),
    );
  };
  return row(name, sized(`=Vx,${source}`, bits), `VEX.${bits}.66.0F38.W0 ${hex(opcode)} /r`, exec, attrs);
};
const broadcast128 = (name: string, opcode: number, attrs: RowAttrs): Row =>
  row(
    name,
    '=Vqq,Mdq',
    `VEX.256.66.0F38.W0 ${hex(opcode)} /r`,
    (s) => {
      const v = s.let(s.get(1));
      s.setWide(0, v, v);
    },
    attrs,
  );

const broadcasts: readonly Row[] = [
  ...LENGTHS.flatMap((bits) => [
    broadcast('vbroadcastss', 0x18, 32, bits, 'Md', AVX),
    broadcast('vbroadcastss', 0x18, 32, bits, 'Udq', AVX2),
    broadcast('vpbroadcastb', 0x78, 8, bits, 'Wb', AVX2),
    broadcast('vpbroadcastw', 0x79, 16, bits, 'Ww', AVX2),
    broadcast('vpbroadcastd', 0x58, 32, bits, 'Wd', AVX2),
    broadcast('vpbroadcastq', 0x59, 64, bits, 'Wq', AVX2),
  ]),
  broadcast('vbroadcastsd', 0x19, 64, 256, 'Mq', AVX),
  broadcast('vbroadcastsd', 0x19, 64, 256, 'Udq', AVX2),
  broadcast128('vbroadcastf128', 0x1a, AVX),
  broadcast128('vbroadcasti128', 0x5a, AVX2),
];

/** Halves as wholes: extraction, insertion, and any two of four with zeros by bits 3 and 7. */
const parts = (kind: 'f' | 'i', attrs: RowAttrs): Row[] => {
  const at = kind === 'f' ? 0x10 : 0x30;
  const chosen = <V>(s: Ops<V>, imm: V, first: V, second: V): V => s.select(s.and(imm, s.k(1n)), second, first);
  return [
    row(
      `vextract${kind}128`,
      '=Wdq,Vqq,Ib',
      `VEX.256.66.0F3A.W0 ${hex(at + 9)} /r ib`,
      (s) => {
        const v = s.let(chosen(s, s.get(2), s.half(1, 0), s.half(1, 1)));
        if (s.isMem(0)) s.set(0, v);
        else s.setWide(0, v, s.vk(0n));
      },
      attrs,
    ),
    row(
      `vinsert${kind}128`,
      '=Vqq,Hqq,Wdq,Ib',
      `VEX.256.66.0F3A.W0 ${hex(at + 8)} /r ib`,
      (s) => {
        const v = s.let(s.get(2));
        const imm = s.let(s.get(3));
        s.setWide(0, chosen(s, imm, v, s.half(1, 0)), chosen(s, imm, s.half(1, 1), v));
      },
      attrs,
    ),
    row(
      `vperm2${kind}128`,
      '=Vqq,Hqq,Wqq,Ib',
      `VEX.256.66.0F3A.W0 ${kind === 'f' ? '06' : '46'} /r ib`,
      (s) => {
        const b = [s.half(2, 0), s.half(2, 1)] as const;
        const a = [s.half(1, 0), s.half(1, 1)] as const;
        const imm = s.let(s.get(3));
        const pick = (order: V4): ReturnType<typeof s.half> => {
          const n = s.let(s.shr(imm, s.k(order)));
          const second = s.and(n, s.k(2n));
          const v = chosen(s, n, s.select(second, b[0], a[0]), s.select(second, b[1], a[1]));
          return s.select(s.and(n, s.k(8n)), s.vk(0n), v);
        };
        s.setWide(0, pick(0n), pick(4n));
      },
      attrs,
    ),
  ];
};
type V4 = 0n | 4n;

/** Doublewords of `v` chosen by the low two bits of each doubleword of `order`. */
function permuteDwords<V>(s: Ops<V>, v: V, order: V): V {
  const numbers = s.vec('v128.and', order, everywhere(s, 32, 3n));
  const bytes = s.vec('i32x4.mul', numbers, everywhere(s, 32, 0x04040404n));
  return s.vec('i8x16.swizzle', v, s.vec('i32x4.add', bytes, everywhere(s, 32, 0x03020100n)));
}
/** Quadwords of `v` chosen by bit 1 of each quadword of `order`. */
function permuteQwords<V>(s: Ops<V>, v: V, order: V): V {
  const number = s.vec('v128.and', s.vec('i64x2.shr_u', order, s.k(1n)), everywhere(s, 64, 1n));
  const bytes = s.vec('i64x2.mul', number, everywhere(s, 64, 0x0808080808080808n));
  return s.vec('i8x16.swizzle', v, s.vec('i64x2.add', bytes, everywhere(s, 64, 0x0706050403020100n)));
}

const within = (name: string, opcode: number, of: PackedForm['of'], imm = false): Row[] =>
  vexRows(
    {
      name,
      space: imm ? '66.0F3A' : '66.0F38',
      opcode,
      feature: 'avx',
      wide: 'avx',
      sources: imm ? 1 : 2,
      imm,
      of,
    },
    '.W0',
  );

const withinHalves: readonly Row[] = [
  ...within('permilps', 0x0c, (s, a, b) => permuteDwords(s, a, b)),
  ...within('permilpd', 0x0d, (s, a, b) => permuteQwords(s, a, b)),
  ...within('permilps', 0x04, (s, a, _b, imm) => shuffleDwords(s, a, imm), true),
  ...within('permilpd', 0x05, (s, a, _b, imm, h) => shuffleDoubles(s, a, a, s.shr(imm, num(s, 2 * h))), true),
];

/** VPERMD, VPERMPS: doublewords of all 256 bits by three bits each. */
function permuteAcross<V>(s: Ops<V>): void {
  const v = [s.half(2, 0), s.half(2, 1)] as const;
  const pick = (h: 0 | 1): V => {
    const order = s.let(s.half(1, h));
    // Bit 2 of the number, as a mask, takes the doubleword from the high half.
    const high = s.vec('i32x4.shr_s', s.vec('i32x4.shl', order, s.k(29n)), s.k(31n));
    return s.vec('v128.bitselect', permuteDwords(s, v[1], order), permuteDwords(s, v[0], order), high);
  };
  const halves = [s.let(pick(0)), s.let(pick(1))];
  setHalves(s, halves);
}

/** VPERMQ, VPERMPD: quadwords of all 256 bits by two bits of the immediate each. */
function permuteQuads<V>(s: Ops<V>): void {
  const v = [s.half(1, 0), s.half(1, 1)] as const;
  const imm = s.let(s.get(2));
  const quad = (i: number): V => {
    const n = s.let(s.shr(imm, num(s, 2 * i)));
    const half = s.let(s.select(s.and(n, s.k(2n)), v[1], v[0]));
    return s.select(s.and(n, s.k(1n)), s.lane(64, half, 1), s.lane(64, half, 0));
  };
  const halves = [0, 2].map((i) => s.let(s.withLane(64, s.vec('i64x2.splat', quad(i)), 1, quad(i + 1))));
  setHalves(s, halves);
}

/** Shifts of each element by its own count; counts of the width and above give zeros or copies of the sign. */
const variableShift = (name: string, opcode: number, w: 32 | 64, kind: 'shl' | 'shr_u' | 'shr_s'): Row[] =>
  vexRows(
    {
      name,
      space: '66.0F38',
      opcode,
      feature: 'avx2',
      wide: 'avx2',
      sources: 2,
      of: (s, a, b) => {
        const v = s.let(a);
        const counts = s.let(b);
        let r = s.vk(0n);
        const shape = `i${w}x${128 / w}`;
        for (let i = 0; i < 128 / w; i++) {
          const n = s.let(s.lane(w, counts, i));
          const most = s.k(BigInt(w - 1));
          const x = s.lane(w, v, i);
          const fits = s.let(s.ltu(n, s.k(BigInt(w))));
          const shifted =
            kind === 'shr_s'
              ? s.sar(s.sext(w, x), s.select(fits, n, most))
              : s.select(fits, kind === 'shl' ? s.shl(x, n) : s.shr(x, n), s.k(0n));
          r = i === 0 ? s.vec(`${shape}.splat`, shifted) : s.withLane(w, r, i, shifted);
        }
        return r;
      },
    },
    w === 32 ? '.W0' : '.W1',
  ).map((r) => ({ ...r, feature: 'avx2' }));

const blendDwords = LENGTHS.map((bits): Row => {
  const exec: Row['exec'] = (s) => {
    const imm = s.let(s.get(3));
    const halves = halvesOf(bits).map((h) => {
      const b = halfOf(s, 2, h);
      return s.let(blendByBits(s, 32, halfOf(s, 1, h), b, s.and(s.shr(imm, num(s, 4 * h)), s.k(15n))));
    });
    setHalves(s, halves);
  };
  return row('vpblendd', sized('=Vx,Hx,Wx,Ib', bits), `VEX.${bits}.66.0F3A.W0 02 /r ib`, exec, AVX2);
});

export const AVX_PERMUTE: readonly Row[] = [
  ...broadcasts,
  ...parts('f', AVX),
  ...parts('i', AVX2),
  ...withinHalves,
  row('vpermd', '=Vqq,Hqq,Wqq', 'VEX.256.66.0F38.W0 36 /r', permuteAcross, AVX2),
  row('vpermps', '=Vqq,Hqq,Wqq', 'VEX.256.66.0F38.W0 16 /r', permuteAcross, AVX2),
  row('vpermq', '=Vqq,Wqq,Ib', 'VEX.256.66.0F3A.W1 00 /r ib', permuteQuads, AVX2),
  row('vpermpd', '=Vqq,Wqq,Ib', 'VEX.256.66.0F3A.W1 01 /r ib', permuteQuads, AVX2),
  ...variableShift('psrlvd', 0x45, 32, 'shr_u'),
  ...variableShift('psrlvq', 0x45, 64, 'shr_u'),
  ...variableShift('psravd', 0x46, 32, 'shr_s'),
  ...variableShift('psllvd', 0x47, 32, 'shl'),
  ...variableShift('psllvq', 0x47, 64, 'shl'),
  ...blendDwords,
];
