/** SSE and SSE2 moves between registers and memory, without arithmetic (SDM vol.1 5.5.1.1, 5.6.1.1, 5.6.3). */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { behind } from './common.ts';
import { enterMmx, extended, low, pair, setLow } from './sse-operands.ts';

const SSE: RowAttrs = { unit: 'sse', feature: 'sse' };
const SSE2: RowAttrs = { unit: 'sse', feature: 'sse2' };
const aligned = (attrs: RowAttrs): RowAttrs => ({ ...attrs, aligned: true });

const copy: Row['exec'] = (s) => s.set(0, s.get(1));

/** A load and a store of whole vectors. */
const whole = (name: string, load: string, store: string, attrs: RowAttrs): Row[] => [
  row(name, '=Vdq,Wdq', load, copy, attrs),
  row(name, '=Wdq,Vdq', store, copy, attrs),
];

/** A scalar move: from memory it clears the rest of the register, between registers it keeps it. */
const scalar = (name: string, size: 'd' | 'q', prefix: string, attrs: RowAttrs): Row[] => {
  const w = size === 'd' ? 32 : 64;
  const merge: Row['exec'] = (s) => setLow(s, 0, w, s.lane(w, s.get(1), 0));
  return [
    row(name, `=Vdq,M${size}`, `${prefix} 0F 10 /r`, (s) => s.set(0, extended(s, w, s.get(1))), attrs),
    row(name, '+Vdq,Udq', `${prefix} 0F 10 /r`, merge, attrs),
    row(name, `=M${size},Vdq`, `${prefix} 0F 11 /r`, (s) => s.set(0, s.lane(w, s.get(1), 0)), attrs),
    row(name, '+Udq,Vdq', `${prefix} 0F 11 /r`, merge, attrs),
  ];
};

/** A load into and a store from one half of a register; the other half is kept. */
const half = (name: string, lane: 0 | 1, prefix: string, opcode: number, attrs: RowAttrs): Row[] => {
  const hex = (n: number): string => n.toString(16).toUpperCase();
  return [
    row(name, '+Vdq,Mq', `${prefix} 0F ${hex(opcode)} /r`, (s) => setHalf(s, lane, s.get(1)), attrs),
    row(name, '=Mq,Vdq', `${prefix} 0F ${hex(opcode + 1)} /r`, (s) => s.set(0, s.lane(64, s.get(1), lane)), attrs),
  ];
};
const setHalf = <V>(s: Ops<V>, lane: number, x: V): void => s.set(0, s.withLane(64, s.get(0), lane, x));

/** Non-temporal hints have no meaning here: plain stores. */
const nonTemporal: readonly Row[] = [
  row('movntps', '=Mdq,Vdq', 'NP 0F 2B /r', copy, aligned(SSE)),
  row('movntpd', '=Mdq,Vdq', '66 0F 2B /r', copy, aligned(SSE2)),
  row('movntdq', '=Mdq,Vdq', '66 0F E7 /r', copy, aligned(SSE2)),
  row('movnti', '=My,Gy', 'NP 0F C3 /r', copy, { feature: 'sse2' }),
];

/** Stores the bytes of `v` whose mask byte has its top bit set to DS:rDI. A fault may come after some were stored. */
export function maskedStore<V>(s: Ops<V>, bytes: 8 | 16, bits: V, byteAt: (i: number) => V): void {
  const chosen = s.let(bits);
  const start = s.let(s.reg(s.asize, 7));
  for (let i = 0; i < bytes; i++) {
    s.if(s.and(s.shr(chosen, s.k(BigInt(i))), s.k(1n)), () => {
      s.store(8, 'insn', behind(s, start, i), byteAt(i));
    });
  }
}

export function maskmovdqu<V>(s: Ops<V>): void {
  const v = s.let(s.get(0));
  maskedStore(s, 16, s.vec('i8x16.bitmask', s.get(1)), (i) => s.lane(8, v, i));
}

/** Between general registers and vectors. */
const general: readonly Row[] = [
  row('movd/movd/movq', '=Vdq,Ey', '66 0F 6E /r', (s) => s.set(0, extended(s, 64, s.get(1))), SSE2),
  row(
    'movd/movd/movq',
    '=Ey,Vdq',
    '66 0F 7E /r',
    (s) => s.set(0, s.lane(s.width(0) === 64 ? 64 : 32, s.get(1), 0)),
    SSE2,
  ),
  row('movq', '=Vdq,Wq', 'F3 0F 7E /r', (s) => s.set(0, extended(s, 64, low(s, 1, 64))), SSE2),
  row('movq', '=Mq,Vdq', '66 0F D6 /r', (s) => s.set(0, s.lane(64, s.get(1), 0)), SSE2),
  row('movq', '=Udq,Vdq', '66 0F D6 /r', (s) => s.set(0, extended(s, 64, s.lane(64, s.get(1), 0))), SSE2),
  row('movmskps', '=Gd,Udq', 'NP 0F 50 /r', (s) => s.set(0, s.vec('i32x4.bitmask', s.get(1))), SSE),
  row('movmskpd', '=Gd,Udq', '66 0F 50 /r', (s) => s.set(0, s.vec('i64x2.bitmask', s.get(1))), SSE2),
  row('pmovmskb', '=Gd,Udq', '66 0F D7 /r', (s) => s.set(0, s.vec('i8x16.bitmask', s.get(1))), SSE2),
  row('maskmovdqu', 'Vdq,Udq', '66 0F F7 /r', maskmovdqu, { ...SSE2, asize: true }),
];

/** Between vectors and mm registers: MMX instructions, which report pending x87 exceptions. */
const toAndFromMmx: readonly Row[] = [
  row(
    'movq2dq',
    '=Vdq,Nq',
    'F3 0F D6 /r',
    (s) => {
      enterMmx(s);
      s.set(0, extended(s, 64, s.get(1)));
    },
    { unit: 'mmx', feature: 'sse2' },
  ),
  row(
    'movdq2q',
    '=Pq,Udq',
    'F2 0F D6 /r',
    (s) => {
      enterMmx(s);
      s.set(0, s.lane(64, s.get(1), 0));
    },
    { unit: 'mmx', feature: 'sse2' },
  ),
];

export const SSE_MOVES: readonly Row[] = [
  ...whole('movups', 'NP 0F 10 /r', 'NP 0F 11 /r', SSE),
  ...whole('movupd', '66 0F 10 /r', '66 0F 11 /r', SSE2),
  ...whole('movaps', 'NP 0F 28 /r', 'NP 0F 29 /r', aligned(SSE)),
  ...whole('movapd', '66 0F 28 /r', '66 0F 29 /r', aligned(SSE2)),
  ...whole('movdqa', '66 0F 6F /r', '66 0F 7F /r', aligned(SSE2)),
  ...whole('movdqu', 'F3 0F 6F /r', 'F3 0F 7F /r', SSE2),
  ...scalar('movss', 'd', 'F3', SSE),
  ...scalar('movsd', 'q', 'F2', SSE2),
  ...half('movlps', 0, 'NP', 0x12, SSE),
  ...half('movlpd', 0, '66', 0x12, SSE2),
  ...half('movhps', 1, 'NP', 0x16, SSE),
  ...half('movhpd', 1, '66', 0x16, SSE2),
  row('movhlps', '+Vdq,Udq', 'NP 0F 12 /r', (s) => setHalf(s, 0, s.lane(64, s.get(1), 1)), SSE),
  row(
    'movlhps',
    '+Vdq,Udq',
    'NP 0F 16 /r',
    (s) => s.set(0, pair(s, s.lane(64, s.get(0), 0), s.lane(64, s.get(1), 0))),
    SSE,
  ),
  ...nonTemporal,
  ...general,
  ...toAndFromMmx,
];
