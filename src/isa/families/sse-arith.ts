/**
 * SSE and SSE2 arithmetic, comparison, logic and shuffles of floating-point elements (SDM vol.1 5.5.1, 5.6.1).
 * Arithmetic is by the runtime's `sse_` helpers, named after the instruction's operation and its element format.
 */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { dwordIndex, PACKED } from './sse-integer-ops.ts';
import { low, pair, setLow } from './sse-operands.ts';

export type Format = 'ps' | 'pd' | 'ss' | 'sd';
export const FORMATS: readonly Format[] = ['ps', 'pd', 'ss', 'sd'];
export const PREFIX: Readonly<Record<Format, string>> = { ps: 'NP', pd: '66', ss: 'F3', sd: 'F2' };
export const elementBits = (f: Format): 32 | 64 => (f.endsWith('s') ? 32 : 64);
export const isPacked = (f: Format): boolean => f.startsWith('p');
const attrsOf = (f: Format): RowAttrs => ({
  unit: 'sse',
  feature: f.endsWith('s') ? 'sse' : 'sse2',
  ...(isPacked(f) ? { aligned: true } : {}),
});
const source = (f: Format): string => (isPacked(f) ? 'Wdq' : f === 'ss' ? 'Wd' : 'Wq');
const hex = (n: number): string => n.toString(16).toUpperCase();

/** The value of a helper that follows MXCSR; raises #XM (or #UD, by CR4.OSXMMEXCPT) for an unmasked exception. */
export function computed<V>(s: Ops<V>, helper: string, ...args: V[]): V {
  const r = s.let(s.call(helper, ...args));
  s.if(s.field('sse_fault'), () => s.check('sse_raise'));
  return r;
}

/**
 * The values of several helpers that follow MXCSR and are parts of one instruction: an unmasked exception is raised
 * after all of them, with the flags of all.
 */
export function computedAll<V>(s: Ops<V>, calls: readonly (() => V)[]): V[] {
  if (calls.length === 1) {
    const r = s.let(calls[0]!());
    s.if(s.field('sse_fault'), () => s.check('sse_raise'));
    return [r];
  }
  const before = s.let(s.field('mxcsr'));
  const results = calls.map((call) => s.let(call()));
  s.if(s.field('sse_fault'), () => s.check('sse_raise_parts', before));
  return results;
}

/** Operand `n` as a helper for format `f` takes it: a vector, or element 0. */
const operand = <V>(s: Ops<V>, f: Format, n: number): V => (isPacked(f) ? s.get(n) : low(s, n, elementBits(f)));
const result = <V>(s: Ops<V>, f: Format, v: V): void => (isPacked(f) ? s.set(0, v) : setLow(s, 0, elementBits(f), v));

/** Arithmetic on two sources, and on one: operation and opcode. */
export const BINARY_ARITHMETIC = [
  ['add', 0x58],
  ['mul', 0x59],
  ['sub', 0x5c],
  ['min', 0x5d],
  ['div', 0x5e],
  ['max', 0x5f],
] as const;
export const UNARY_ARITHMETIC: readonly (readonly [string, number, readonly Format[]])[] = [
  ['sqrt', 0x51, FORMATS],
  ['rsqrt', 0x52, ['ps', 'ss']],
  ['rcp', 0x53, ['ps', 'ss']],
];

/** Rows of an operation on destination and source, in all four formats. */
const binary = (op: string, opcode: number): Row[] =>
  FORMATS.map((f) =>
    row(
      op + f,
      `+Vdq,${source(f)}`,
      `${PREFIX[f]} 0F ${hex(opcode)} /r`,
      (s) => result(s, f, computed(s, `sse_${op}_${f}`, operand(s, f, 0), operand(s, f, 1))),
      attrsOf(f),
    ),
  );

/** Rows of an operation on the source alone. */
const unary = (op: string, opcode: number, formats: readonly Format[]): Row[] =>
  formats.map((f) =>
    row(
      op + f,
      `${isPacked(f) ? '=' : '+'}Vdq,${source(f)}`,
      `${PREFIX[f]} 0F ${hex(opcode)} /r`,
      (s) => {
        const x = operand(s, f, 1);
        // The approximations raise nothing.
        result(s, f, op === 'sqrt' ? computed(s, `sse_${op}_${f}`, x) : s.call(`sse_${op}_${f}`, x));
      },
      attrsOf(f),
    ),
  );

/** CMPPS ... : the predicate is the low three bits of the immediate. */
const compare = FORMATS.map((f) =>
  row(
    `cmp${f}`,
    `+Vdq,${source(f)},Ib`,
    `${PREFIX[f]} 0F C2 /r ib`,
    (s) => {
      const predicate = s.and(s.get(2), s.k(7n));
      result(s, f, computed(s, `sse_cmp_${f}`, operand(s, f, 0), operand(s, f, 1), predicate));
    },
    attrsOf(f),
  ),
);

/** ZF, PF and CF from the comparison, the other flags 0. */
const compareToFlags =
  (f: 'ss' | 'sd', signal: bigint): Row['exec'] =>
  (s) => {
    const w = elementBits(f);
    s.setArith(computed(s, `sse_comi_${f}`, s.lane(w, s.get(0), 0), low(s, 1, w), s.k(signal)));
  };

/** UCOMISS ... : name, format, prefix, opcode, meaning. */
export const FLAG_COMPARISONS: readonly (readonly [string, 'ss' | 'sd', 'NP' | '66', number, Row['exec']])[] = [
  ['ucomiss', 'ss', 'NP', 0x2e, compareToFlags('ss', 0n)],
  ['ucomisd', 'sd', '66', 0x2e, compareToFlags('sd', 0n)],
  ['comiss', 'ss', 'NP', 0x2f, compareToFlags('ss', 1n)],
  ['comisd', 'sd', '66', 0x2f, compareToFlags('sd', 1n)],
];
const flagComparisons = FLAG_COMPARISONS.map(([name, f, prefix, opcode, exec]) =>
  row(name, `Vdq,${source(f)}`, `${prefix} 0F ${hex(opcode)} /r`, exec, attrsOf(f)),
);

type BitwiseForm = readonly [name: string, opcode: number, op: keyof typeof PACKED];
export const BITWISE: readonly BitwiseForm[] = [
  ['and', 0x54, 'pand'],
  ['andn', 0x55, 'pandn'],
  ['or', 0x56, 'por'],
  ['xor', 0x57, 'pxor'],
];
export const UNPACKS: readonly (readonly [string, 'ps' | 'pd', number, keyof typeof PACKED])[] = [
  ['unpcklps', 'ps', 0x14, 'punpckldq'],
  ['unpcklpd', 'pd', 0x14, 'punpcklqdq'],
  ['unpckhps', 'ps', 0x15, 'punpckhdq'],
  ['unpckhpd', 'pd', 0x15, 'punpckhqdq'],
];

/** Logic and unpacking do not look at the elements: they are the integer operations by other names. */
const bitwise = ([name, opcode, op]: BitwiseForm): Row[] =>
  (['ps', 'pd'] as const).map((f) =>
    row(
      name + f,
      '+Vdq,Wdq',
      `${PREFIX[f]} 0F ${hex(opcode)} /r`,
      (s) => s.set(0, PACKED[op].of(s, s.get(0), s.get(1))),
      attrsOf(f),
    ),
  );
const unpack = ([name, f, opcode, op]: (typeof UNPACKS)[number]): Row =>
  row(
    name,
    '+Vdq,Wdq',
    `${PREFIX[f]} 0F ${hex(opcode)} /r`,
    (s) => s.set(0, PACKED[op].of(s, s.get(0), s.get(1))),
    attrsOf(f),
  );

/** Two elements of the destination, then two of the source, chosen by two bits each. */
export function shuffleSingles<V>(s: Ops<V>, a: V, b: V, order: V): V {
  const x = s.let(order);
  const first = s.vec('i8x16.swizzle', a, s.vec('i64x2.splat', dwordIndex(s, x)));
  const second = s.vec('i8x16.swizzle', b, s.vec('i64x2.splat', dwordIndex(s, s.shr(x, s.k(4n)))));
  return s.shuffle(first, second, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
}

/** One element of the destination, then one of the source, chosen by one bit each. */
export function shuffleDoubles<V>(s: Ops<V>, a: V, b: V, order: V): V {
  const x = s.let(order);
  const chosen = (v: V, bit: bigint): V => {
    const n = s.let(v);
    return s.select(s.and(x, s.k(bit)), s.lane(64, n, 1), s.lane(64, n, 0));
  };
  return pair(s, chosen(a, 1n), chosen(b, 2n));
}

export const SSE_ARITH: readonly Row[] = [
  ...UNARY_ARITHMETIC.flatMap(([op, opcode, formats]) => unary(op, opcode, formats)),
  ...BITWISE.flatMap(bitwise),
  ...BINARY_ARITHMETIC.flatMap(([op, opcode]) => binary(op, opcode)),
  ...compare,
  ...flagComparisons,
  ...UNPACKS.map(unpack),
  row(
    'shufps',
    '+Vdq,Wdq,Ib',
    'NP 0F C6 /r ib',
    (s) => s.set(0, shuffleSingles(s, s.get(0), s.get(1), s.get(2))),
    attrsOf('ps'),
  ),
  row(
    'shufpd',
    '+Vdq,Wdq,Ib',
    '66 0F C6 /r ib',
    (s) => s.set(0, shuffleDoubles(s, s.get(0), s.get(1), s.get(2))),
    attrsOf('pd'),
  ),
];
