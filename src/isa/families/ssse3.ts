/** SSSE3 instructions on xmm and mm registers (SDM vol.1 5.8). */
import type { Ops } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { hex, legacyRow, type PackedForm } from './packed-forms.ts';
import { BYTE_SHIFTS, type PackedOp } from './sse-integer-ops.ts';
import { enterMmx, pair } from './sse-operands.ts';
import { alignRight, SSSE3_OPS } from './ssse3-ops.ts';

const FEATURE = 'ssse3';
const SPACE = '66.0F38';

/** Operations on two sources: opcodes from 0 on in this order. */
const BINARY = Object.entries(SSSE3_OPS).map(
  ([name, op], opcode): PackedForm => ({
    name,
    space: SPACE,
    opcode,
    feature: FEATURE,
    wide: 'avx2',
    sources: 2,
    of: (s, a, b) => op.of(s, a, b),
  }),
);

const absolute = (name: string, opcode: number, shape: string): PackedForm => ({
  name,
  space: SPACE,
  opcode,
  feature: FEATURE,
  wide: 'avx2',
  sources: 1,
  of: (s, a) => s.vec(`${shape}.abs`, a),
});

export const SSSE3_FORMS: readonly PackedForm[] = [
  ...BINARY,
  absolute('pabsb', 0x1c, 'i8x16'),
  absolute('pabsw', 0x1d, 'i16x8'),
  absolute('pabsd', 0x1e, 'i32x4'),
  {
    name: 'palignr',
    space: '66.0F3A',
    opcode: 0x0f,
    feature: FEATURE,
    wide: 'avx2',
    sources: 2,
    imm: true,
    of: alignRight,
  },
];

// mm registers: the operation on vectors whose halves are both the operand.

const both = <V>(s: Ops<V>, x: V): V => s.vec('i64x2.splat', x);
function finish<V>(s: Ops<V>, x: V): void {
  const value = s.let(x);
  enterMmx(s);
  s.set(0, value);
}
const MMX = { unit: 'mmx', feature: FEATURE } as const;

/** Pairs of the destination, then of the source: side by side they are one source. */
const horizontalMmx =
  (op: PackedOp): Row['exec'] =>
  (s) => {
    const v = s.let(pair(s, s.get(0), s.get(1)));
    finish(s, s.lane(64, op.of(s, v, v), 0));
  };

const MMX_ROWS: readonly Row[] = SSSE3_FORMS.filter((f) => !f.imm).map((f) => {
  const horizontal = f.name.startsWith('phadd') || f.name.startsWith('phsub');
  const exec: Row['exec'] = horizontal
    ? horizontalMmx({ of: (s, a, b) => f.of(s, a, b, s.k(0n), 0) })
    : (s) => {
        const b = s.let(both(s, s.get(1)));
        finish(s, s.lane(64, f.of(s, f.sources === 2 ? both(s, s.get(0)) : b, b, s.k(0n), 0), 0));
      };
  return row(f.name, `${f.sources === 2 ? '+' : '='}Pq,Qq`, `NP 0F 38 ${hex(f.opcode)} /r`, exec, MMX);
});

export const SSSE3_ROWS: readonly Row[] = [
  ...SSSE3_FORMS.map((f) => legacyRow(f)),
  ...MMX_ROWS,
  row(
    'palignr',
    '+Pq,Qq,Ib',
    'NP 0F 3A 0F /r ib',
    (s) => finish(s, s.lane(64, BYTE_SHIFTS.psrldq.of(s, pair(s, s.get(1), s.get(0)), s.get(2)), 0)),
    MMX,
  ),
];
