/**
 * MMX instructions and what SSE and SSE2 added to them (SDM vol.1 5.4, 5.5.2, 5.6.3). An mm register is a 64-bit
 * integer; for operations on its elements it is taken into both halves of a vector. Every row but EMMS puts the x87
 * into its MMX state once nothing can fault any more (`enterMmx`).
 */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { PACKED, type PackedOp, SHIFTS, type ShiftOp, wordIndex } from './sse-integer-ops.ts';
import { maskedStore } from './sse-moves.ts';
import { enterMmx, pair } from './sse-operands.ts';
import { PACKED_OPCODES, SHIFT_OPCODES } from './sse2-integer.ts';

const mmx = (feature: string): RowAttrs => ({ unit: 'mmx', feature });
const MMX = mmx('mmx');
const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');
const both = <V>(s: Ops<V>, x: V): V => s.vec('i64x2.splat', x);
const lowHalf = <V>(s: Ops<V>, v: V): V => s.lane(64, v, 0);

/** Writes the destination register, after the transition. */
function finish<V>(s: Ops<V>, x: V): void {
  const value = s.let(x);
  enterMmx(s);
  s.set(0, value);
}

/** Eight bytes of interleaved elements start in the middle of what the 128-bit operation gives for the high half. */
const HIGH_UNPACK: Readonly<Partial<Record<keyof typeof PACKED, keyof typeof PACKED>>> = {
  punpckhbw: 'punpcklbw',
  punpckhwd: 'punpcklwd',
  punpckhdq: 'punpckldq',
};

/** The operation on 64-bit operands, from the one on vectors. */
function narrowed<V>(s: Ops<V>, name: keyof typeof PACKED, a: V, b: V): V {
  const high = HIGH_UNPACK[name];
  if (high) return s.lane(64, PACKED[high].of(s, both(s, a), both(s, b)), 1);
  const f: PackedOp = PACKED[name];
  if (!name.startsWith('pack')) return lowHalf(s, f.of(s, both(s, a), both(s, b)));
  // Packing takes the destination's elements, then the source's: side by side they are one source.
  const v = s.let(pair(s, a, b));
  return lowHalf(s, f.of(s, v, v));
}

const packed = PACKED_OPCODES.flatMap(([name, opcode, feature]): Row[] => {
  if (feature === undefined) return [];
  // The low unpack operations read only half of their source.
  const source = name.startsWith('punpckl') ? 'Qd' : 'Qq';
  const exec: Row['exec'] = (s) => finish(s, narrowed(s, name, s.get(0), s.get(1)));
  return [row(name, `+Pq,${source}`, `NP 0F ${hex(opcode)} /r`, exec, mmx(feature))];
});

const shifts = SHIFT_OPCODES.flatMap(([name, opcode, group, digit]): Row[] => {
  const f: ShiftOp = SHIFTS[name];
  const exec: Row['exec'] = (s) => finish(s, lowHalf(s, f.of(s, both(s, s.get(0)), s.get(1))));
  return [
    row(name, '+Pq,Qq', `NP 0F ${hex(opcode)} /r`, exec, MMX),
    row(name, '+Nq,Ib', `NP 0F ${hex(group)} /${digit} ib`, exec, MMX),
  ];
});

/** A store, then the transition: a store can fault. */
function storeOut<V>(s: Ops<V>, x: V): void {
  s.set(0, x);
  enterMmx(s);
}

const moves: readonly Row[] = [
  row('movd/movd/movq', '=Pq,Ey', 'NP 0F 6E /r', (s) => finish(s, s.get(1)), MMX),
  row(
    'movd/movd/movq',
    '=Ey,Pq',
    'NP 0F 7E /r',
    (s) => storeOut(s, s.width(0) === 64 ? s.get(1) : s.zext(32, s.get(1))),
    MMX,
  ),
  row('movq', '=Pq,Qq', 'NP 0F 6F /r', (s) => finish(s, s.get(1)), MMX),
  row('movq', '=Qq,Pq', 'NP 0F 7F /r', (s) => storeOut(s, s.get(1)), MMX),
  row('movntq', '=Mq,Pq', 'NP 0F E7 /r', (s) => storeOut(s, s.get(1)), mmx('sse')),
  row('maskmovq', 'Pq,Nq', 'NP 0F F7 /r', maskmovq, { ...mmx('sse'), asize: true }),
];

function maskmovq<V>(s: Ops<V>): void {
  const v = s.let(s.get(0));
  const bits = s.and(s.vec('i8x16.bitmask', both(s, s.get(1))), s.k(0xffn));
  maskedStore(s, 8, bits, (i) => s.zext(8, s.shr(v, s.k(BigInt(8 * i)))));
  enterMmx(s);
}

/** Position of word `n` (0-3, cut) in bits. */
const wordShift = <V>(s: Ops<V>, n: V): V => s.shl(s.and(n, s.k(3n)), s.k(4n));

function pinsrw<V>(s: Ops<V>): void {
  const at = s.let(wordShift(s, s.get(2)));
  const hole = s.xor(s.shl(s.k(0xffffn), at), s.k(0xffff_ffff_ffff_ffffn));
  finish(s, s.or(s.and(s.get(0), hole), s.shl(s.zext(16, s.get(1)), at)));
}

function pextrw<V>(s: Ops<V>): void {
  const word = s.let(s.zext(16, s.shr(s.get(1), wordShift(s, s.get(2)))));
  enterMmx(s);
  s.set(0, word);
}

function pshufw<V>(s: Ops<V>): void {
  finish(s, lowHalf(s, s.vec('i8x16.swizzle', both(s, s.get(1)), both(s, wordIndex(s, s.get(2))))));
}

function pmovmskb<V>(s: Ops<V>): void {
  const bits = s.let(s.and(s.vec('i8x16.bitmask', both(s, s.get(1))), s.k(0xffn)));
  enterMmx(s);
  s.set(0, bits);
}

/** All registers become empty and TOP is 0 (SDM vol.3 table 13-1). */
function emms<V>(s: Ops<V>): void {
  s.setField('ftop', s.k(0n));
  s.setField('fempty', s.k(0xffn));
}

export const MMX_ROWS: readonly Row[] = [
  ...packed,
  ...shifts,
  ...moves,
  row('pshufw', '=Pq,Qq,Ib', 'NP 0F 70 /r ib', pshufw, mmx('sse')),
  row('pinsrw', '+Pq,Rd,Ib', 'NP 0F C4 /r ib', pinsrw, mmx('sse')),
  row('pinsrw', '+Pq,Mw,Ib', 'NP 0F C4 /r ib', pinsrw, mmx('sse')),
  row('pextrw', '=Gd,Nq,Ib', 'NP 0F C5 /r ib', pextrw, mmx('sse')),
  row('pmovmskb', '=Gd,Nq', 'NP 0F D7 /r', pmovmskb, mmx('sse')),
  row('emms', '', 'NP 0F 77', emms, MMX),
];
