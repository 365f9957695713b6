/** Bits: BT BTS BTR BTC, BSF BSR, POPCNT LZCNT TZCNT. */
import type { Ops, Width } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { complement, num } from './common.ts';

/** What a bit test leaves: the value with the bit `bit` (one bit set) changed. */
type Change = <V>(s: Ops<V>, x: V, bit: V) => V;
const CHANGES: readonly { name: string; change?: Change; register: string; digit: number }[] = [
  { name: 'bt', register: '0F A3 /r', digit: 4 },
  { name: 'bts', change: (s, x, bit) => s.or(x, bit), register: '0F AB /r', digit: 5 },
  { name: 'btr', change: (s, x, bit) => s.and(x, complement(s, bit)), register: '0F B3 /r', digit: 6 },
  { name: 'btc', change: (s, x, bit) => s.xor(x, bit), register: '0F BB /r', digit: 7 },
];

/** CF is the bit before the change. The bit number is taken modulo the width; the address has been moved already. */
const bitTest =
  (change?: Change): Row['exec'] =>
  (s) => {
    const n = s.let(s.and(s.get(1), num(s, s.w - 1)));
    const x = s.let(s.get(0));
    if (change) s.set(0, change(s, x, s.shl(s.k(1n), n)));
    s.setFlag('cf', () => s.and(s.shr(x, n), s.k(1n)));
  };

const BIT_TESTS: readonly Row[] = CHANGES.flatMap(({ name, change, register, digit }) => {
  const attrs = { undef: 'of sf af pf', ...(change ? { lock: true } : {}) };
  const e = change ? '+Ev' : 'Ev';
  return [
    row(name, `${e}, Gv`, register, bitTest(change), { ...attrs, bitOffset: true }),
    row(name, `${e}, Ib`, `0F BA /${digit}`, bitTest(change), attrs),
  ];
});

/** BSF and BSR leave the destination as it is when the source is 0: also its upper half (AMD vol.3 BSF). */
const scan =
  (find: <V>(s: Ops<V>, x: V) => V): Row['exec'] =>
  (s) => {
    const x = s.let(s.get(1));
    if (s.w === 32) s.if(x, () => s.set(0, find(s, x)));
    else s.set(0, s.select(s.eqz(x), s.get(0), find(s, x)));
    s.flags('carry', s.w, { r: x, x: s.k(0n), y: s.k(0n) });
  };

/** Leading zero bits of a value of width `w`; `w` for 0. */
const leading = <V>(s: Ops<V>, w: Width, x: V): V => s.sub(s.clz(x), num(s, 64 - w));
/** Trailing zero bits; a bit behind the value stops the search at `w`. */
const trailing = <V>(s: Ops<V>, w: Width, x: V): V => s.ctz(w === 64 ? x : s.or(x, s.k(1n << BigInt(w))));

/** LZCNT and TZCNT: CF tells of a zero source, ZF of a zero result. */
const count =
  (find: <V>(s: Ops<V>, w: Width, x: V) => V): Row['exec'] =>
  (s) => {
    const x = s.let(s.get(1));
    const r = s.let(find(s, s.w, x));
    s.set(0, r);
    s.flags('carry', s.w, { r, x: s.eqz(x), y: s.k(0n) });
  };

const COUNTS: readonly Row[] = [
  row(
    'bsf',
    '+Gv, Ev',
    '0F BC /r',
    scan((s, x) => s.ctz(x)),
    { undef: 'cf of sf af pf' },
  ),
  row(
    'bsr',
    '+Gv, Ev',
    '0F BD /r',
    scan((s, x) => s.sub(s.k(63n), s.clz(x))),
    { undef: 'cf of sf af pf' },
  ),
  row('tzcnt', '=Gv, Ev', 'F3 0F BC /r', count(trailing), { undef: 'of sf af pf', feature: 'bmi1' }),
  row('lzcnt', '=Gv, Ev', 'F3 0F BD /r', count(leading), { undef: 'of sf af pf', feature: 'lzcnt' }),
  row(
    'popcnt',
    '=Gv, Ev',
    'F3 0F B8 /r',
    (s) => {
      const x = s.let(s.get(1));
      s.set(0, s.popcnt(x));
      s.setArith(s.shl(s.eqz(x), s.k(6n))); // ZF; the others are 0
    },
    { feature: 'popcnt' },
  ),
];

export const BITS_ROWS: readonly Row[] = [...BIT_TESTS, ...COUNTS];
