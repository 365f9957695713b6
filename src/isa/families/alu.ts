/** Addition, subtraction, logic and comparison: ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT. */
import type { Ops, Width } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { complement, num } from './common.ts';

/** A result and the setting of its flags, which must come after the result is stored. */
interface AluResult<V> {
  readonly r: V;
  readonly flags: () => void;
}
type Alu = <V>(s: Ops<V>, w: Width, x: V, y: V) => AluResult<V>;

/** x + y. */
export const plus: Alu = (s, w, x, y) => {
  const r = s.let(s.zext(w, s.add(x, y)));
  return { r, flags: () => s.flags('add', w, { r, x, y }) };
};
const plusCarry: Alu = (s, w, x, y) => {
  const r = s.let(s.zext(w, s.add(s.add(x, y), s.flag('cf'))));
  return { r, flags: () => s.flags('adc', w, { r, x, y }) };
};
/** x - y. */
export const minus: Alu = (s, w, x, y) => {
  const r = s.let(s.zext(w, s.sub(x, y)));
  return { r, flags: () => s.flags('sub', w, { r, x, y }) };
};
/** The flags of x - y, whose value is needed for nothing else. */
export const compare = <V>(s: Ops<V>, w: Width, x: V, y: V): void =>
  s.flags('sub', w, { r: s.zext(w, s.sub(x, y)), x, y });
const minusBorrow: Alu = (s, w, x, y) => {
  const r = s.let(s.zext(w, s.sub(s.sub(x, y), s.flag('cf'))));
  return { r, flags: () => s.flags('sbb', w, { r, x, y }) };
};
const logic =
  (op: 'and' | 'or' | 'xor'): Alu =>
  (s, w, x, y) => {
    const r = s.let(s[op](x, y));
    return { r, flags: () => s.flags('logic', w, { r }) };
  };

/** What `op` does to its operands. */
const apply =
  (op: Alu, size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = size === 'b' ? 8 : s.w;
    const x = s.let(s.get(0));
    const y = s.let(s.get(1));
    const { r, flags } = op(s, w, x, y);
    s.set(0, r);
    flags();
  };
/** Only the flags. */
const look =
  (flags: <V>(s: Ops<V>, w: Width, x: V, y: V) => void, size: 'b' | 'v'): Row['exec'] =>
  (s) =>
    flags(s, size === 'b' ? 8 : s.w, s.let(s.get(0)), s.let(s.get(1)));

/** The eight operations in the order of opcode bits 3-5 and of ModRM.reg in 80-83. */
const GROUP1: readonly { name: string; op: Alu; store: boolean; undef?: string }[] = [
  { name: 'add', op: plus, store: true },
  { name: 'or', op: logic('or'), store: true, undef: 'af' },
  { name: 'adc', op: plusCarry, store: true },
  { name: 'sbb', op: minusBorrow, store: true },
  { name: 'and', op: logic('and'), store: true, undef: 'af' },
  { name: 'sub', op: minus, store: true },
  { name: 'xor', op: logic('xor'), store: true, undef: 'af' },
  { name: 'cmp', op: minus, store: false },
];

const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');

function group1(index: number): Row[] {
  const { name, op, store, undef } = GROUP1[index]!;
  const base = index * 8;
  const to = store ? '+' : '';
  const attrs: RowAttrs = undef === undefined ? {} : { undef };
  const locked: RowAttrs = store ? { ...attrs, lock: true } : attrs;
  const b = store ? apply(op, 'b') : look(compare, 'b');
  const v = store ? apply(op, 'v') : look(compare, 'v');
  return [
    row(name, `${to}Eb, Gb`, `${hex(base)} /r`, b, locked),
    row(name, `${to}Ev, Gv`, `${hex(base + 1)} /r`, v, locked),
    row(name, `${to}Gb, Eb`, `${hex(base + 2)} /r`, b, attrs),
    row(name, `${to}Gv, Ev`, `${hex(base + 3)} /r`, v, attrs),
    row(name, `${to}AL, Ib`, hex(base + 4), b, attrs),
    row(name, `${to}rAX, Iz`, hex(base + 5), v, attrs),
    row(name, `${to}Eb, Ib`, `80 /${index}`, b, locked),
    row(name, `${to}Ev, Iz`, `81 /${index}`, v, locked),
    row(name, `${to}Eb, Ib`, `82 /${index}`, b, { ...locked, no64: true }),
    row(name, `${to}Ev, Ibs`, `83 /${index}`, v, locked),
  ];
}

const bitsInCommon = <V>(s: Ops<V>, w: Width, x: V, y: V): void => s.flags('logic', w, { r: s.and(x, y) });
const testB = look(bitsInCommon, 'b');
const testV = look(bitsInCommon, 'v');
const TEST: readonly Row[] = [
  row('test', 'Eb, Gb', '84 /r', testB, { undef: 'af' }),
  row('test', 'Ev, Gv', '85 /r', testV, { undef: 'af' }),
  row('test', 'AL, Ib', 'A8', testB, { undef: 'af' }),
  row('test', 'rAX, Iz', 'A9', testV, { undef: 'af' }),
  row('test', 'Eb, Ib', 'F6 /0', testB, { undef: 'af' }),
  row('test', 'Eb, Ib', 'F6 /1', testB, { undef: 'af' }),
  row('test', 'Ev, Iz', 'F7 /0', testV, { undef: 'af' }),
  row('test', 'Ev, Iz', 'F7 /1', testV, { undef: 'af' }),
];

/** INC and DEC: CF is kept. */
const step =
  (recipe: 'inc' | 'dec', size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = size === 'b' ? 8 : s.w;
    const x = s.get(0);
    const one = num(s, 1);
    const r = s.let(s.zext(w, recipe === 'inc' ? s.add(x, one) : s.sub(x, one)));
    const cf = s.flag('cf');
    s.set(0, r);
    s.flags(recipe, w, { r, x: cf });
  };

const neg =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const { r, flags } = minus(s, size === 'b' ? 8 : s.w, s.k(0n), s.let(s.get(0)));
    s.set(0, r);
    flags();
  };

const not =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) =>
    s.set(0, s.zext(size === 'b' ? 8 : s.w, complement(s, s.get(0))));

const UNARY: readonly Row[] = [
  row('inc', '+Zv', '40+r', step('inc', 'v'), { no64: true }),
  row('dec', '+Zv', '48+r', step('dec', 'v'), { no64: true }),
  row('inc', '+Eb', 'FE /0', step('inc', 'b'), { lock: true }),
  row('dec', '+Eb', 'FE /1', step('dec', 'b'), { lock: true }),
  row('inc', '+Ev', 'FF /0', step('inc', 'v'), { lock: true }),
  row('dec', '+Ev', 'FF /1', step('dec', 'v'), { lock: true }),
  row('not', '+Eb', 'F6 /2', not('b'), { lock: true }),
  row('not', '+Ev', 'F7 /2', not('v'), { lock: true }),
  row('neg', '+Eb', 'F6 /3', neg('b'), { lock: true }),
  row('neg', '+Ev', 'F7 /3', neg('v'), { lock: true }),
];

export const ALU_ROWS: readonly Row[] = [...GROUP1.flatMap((_, i) => group1(i)), ...TEST, ...UNARY];
