/**
 * String instructions: MOVS CMPS STOS LODS SCAS. A row is one iteration; REP and its count are the engine's.
 * The source is in the instruction's segment at rSI, the destination always in ES at rDI.
 */
import type { Ops, Width } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { compare } from './alu.ts';
import { bitOf, num } from './common.ts';

const RSI = 6;
const RDI = 7;
const DF_BIT = 10;

/** Distance to the next element of `w` bits: forwards, or backwards when DF is set. */
export const stride = <V>(s: Ops<V>, w: Width): V =>
  s.let(s.sub(num(s, w / 8), s.mul(bitOf(s, s.field('eflags'), DF_BIT), num(s, w / 4))));

/** Moves rSI or rDI to the next element. */
const advance = <V>(s: Ops<V>, r: number, step: V): void =>
  s.setReg(s.asize, r, s.zext(s.asize, s.add(s.reg(s.asize, r), step)));

export const source = <V>(s: Ops<V>): V => s.let(s.reg(s.asize, RSI));
export const destination = <V>(s: Ops<V>): V => s.let(s.reg(s.asize, RDI));
export const advanceSource = <V>(s: Ops<V>, w: Width): void => advance(s, RSI, stride(s, w));
export const advanceDestination = <V>(s: Ops<V>, w: Width): void => advance(s, RDI, stride(s, w));

type Meaning = <V>(s: Ops<V>, w: Width) => void;

const movs: Meaning = (s, w) => {
  const v = s.let(s.load(w, 'insn', source(s)));
  s.store(w, 'es', destination(s), v);
  const step = stride(s, w);
  advance(s, RSI, step);
  advance(s, RDI, step);
};
const stos: Meaning = (s, w) => {
  s.store(w, 'es', destination(s), s.reg(w, 0));
  advanceDestination(s, w);
};
const lods: Meaning = (s, w) => {
  const v = s.let(s.load(w, 'insn', source(s)));
  advanceSource(s, w);
  s.setReg(w, 0, v);
};
const cmps: Meaning = (s, w) => {
  const x = s.let(s.load(w, 'insn', source(s)));
  const y = s.let(s.load(w, 'es', destination(s)));
  const step = stride(s, w);
  advance(s, RSI, step);
  advance(s, RDI, step);
  compare(s, w, x, y);
};
const scas: Meaning = (s, w) => {
  const x = s.let(s.reg(w, 0));
  const y = s.let(s.load(w, 'es', destination(s)));
  advanceDestination(s, w);
  compare(s, w, x, y);
};

/** The byte form at `opcode` and the wider one behind it. */
function pair(name: string, operands: [string, string], opcode: number, meaning: Meaning, attrs: RowAttrs): Row[] {
  const hex = (n: number): string => n.toString(16).toUpperCase();
  return [
    row(`${name}b`, operands[0], hex(opcode), (s) => meaning(s, 8), { asize: true, ...attrs }),
    row(`${name}w/${name}d/${name}q`, operands[1], hex(opcode + 1), (s) => meaning(s, s.w), { asize: true, ...attrs }),
  ];
}

export const STRING_ROWS: readonly Row[] = [
  ...pair('movs', ['=Yb, Xb', '=Yv, Xv'], 0xa4, movs, { rep: 'plain', bulk: 'rep_movs' }),
  ...pair('cmps', ['Xb, Yb', 'Xv, Yv'], 0xa6, cmps, { rep: 'zf' }),
  ...pair('stos', ['=Yb, AL', '=Yv, rAX'], 0xaa, stos, { rep: 'plain', bulk: 'rep_stos' }),
  ...pair('lods', ['=AL, Xb', '=rAX, Xv'], 0xac, lods, { rep: 'plain' }),
  ...pair('scas', ['AL, Yb', 'rAX, Yv'], 0xae, scas, { rep: 'zf' }),
];
