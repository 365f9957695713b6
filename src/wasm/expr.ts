/**
 * WebAssembly expressions as small trees. A tree is pure as far as this file is concerned: whoever builds one
 * from a load decides when it is emitted. Constants are folded where it is cheap to see.
 */

import type { ByteSink } from './bytes.ts';

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
/** Binary encoding of value types (core specification 5.3.1). */
export const VAL_TYPE: Readonly<Record<ValType, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** What lane 0 of a vector was set to; the other lanes are those of a register (its number), or 0. */
export interface Lane0 {
  readonly width: number;
  readonly value: Expr;
  readonly rest: number | 'zero' | undefined;
}
/** How far an i64 is from another value, modulo 2^64; `of` stands for the other. */
export interface Origin {
  readonly of: object;
  /** A safe integer. */
  readonly plus: number;
}

/**
 * A tree. All are of one shape, with every property set, because translating makes some dozen of them for a guest
 * instruction.
 */
export class Expr {
  readonly type: ValType;
  /** Opcode bytes, emitted after the arguments; `index` or the value of a constant comes behind them. */
  readonly code: readonly number[];
  readonly args: readonly Expr[];
  /** A number of the code's, as a local's or a load's offset; -1 for none. */
  readonly index: number;
  /** Value of a constant (i32 and i64 as signed) that is a safe integer. */
  readonly small: number | undefined;
  private big: bigint | undefined;
  /** An i64 is known to be below 2 to this power, 64 at the most; for constants see bitsOf. */
  readonly bits: number;
  /** Re-evaluating is free and always gives the same value: constants and locals that are set once. */
  readonly cheap: boolean;
  /** The bits of a floating-point number that is known not to be denormal. */
  readonly plain: boolean;
  readonly lane0: Lane0 | undefined;
  readonly origin: Origin | undefined;
  /** The upper half of an i64, as an i32, where that is at hand. */
  readonly high: Expr | undefined;

  constructor(
    type: ValType,
    code: readonly number[],
    args: readonly Expr[],
    index = -1,
    cheap = false,
    bits = 64,
    origin?: Origin,
    plain = false,
    lane0?: Lane0,
    small?: number,
    big?: bigint,
    high?: Expr,
  ) {
    this.type = type;
    this.code = code;
    this.args = args;
    this.index = index;
    this.small = small;
    this.big = big;
    this.bits = bits;
    this.cheap = cheap;
    this.plain = plain;
    this.lane0 = lane0;
    this.origin = origin;
    this.high = high;
  }

  /** Value of a constant (i32 and i64 as signed). */
  get constant(): bigint | undefined {
    if (this.big === undefined && this.small !== undefined) this.big = BigInt(this.small);
    return this.big;
  }
  get isConstant(): boolean {
    return this.small !== undefined || this.big !== undefined;
  }
}

const NO_ARGS: readonly Expr[] = [];
const LOCAL_GET = [0x20];
const I32_CONST = [0x41];
const I64_CONST = [0x42];

/** The same value, of which more is known. */
export const known = (e: Expr, bits: number, origin: Origin | undefined): Expr =>
  new Expr(
    e.type,
    e.code,
    e.args,
    e.index,
    e.cheap,
    bits,
    origin,
    e.plain,
    e.lane0,
    e.small,
    e.small === undefined ? e.constant : undefined,
  );
export const withLane0 = (e: Expr, lane0: Lane0): Expr =>
  new Expr(e.type, e.code, e.args, e.index, e.cheap, e.bits, e.origin, e.plain, lane0);
/** A number's bits that cost nothing to have again. */
export const asNumberBits = (e: Expr, plain: boolean): Expr =>
  new Expr(e.type, e.code, e.args, e.index, true, e.bits, e.origin, plain, e.lane0);

/** The same with its upper half. */
export const withHigh = (e: Expr, high: Expr): Expr =>
  new Expr(e.type, e.code, e.args, e.index, true, e.bits, e.origin, e.plain, e.lane0, e.small, undefined, high);

export const i32Const = (n: number): Expr =>
  new Expr('i32', I32_CONST, NO_ARGS, -1, true, 64, undefined, false, undefined, n | 0);
/** @param n any bigint, of which 64 bits count, or a safe integer */
export const i64Const = (n: bigint | number): Expr => {
  if (typeof n === 'number') return new Expr('i64', I64_CONST, NO_ARGS, -1, true, 64, undefined, false, undefined, n);
  const value = BigInt.asIntN(64, n);
  const number = Number(value);
  const isSafe = Number.isSafeInteger(number);
  return new Expr(
    'i64',
    I64_CONST,
    NO_ARGS,
    -1,
    true,
    64,
    undefined,
    false,
    undefined,
    isSafe ? number : undefined,
    value,
  );
};
/** A 128-bit constant; byte 0 is the least significant. */
export const v128Const = (n: bigint): Expr => {
  const bytes = Array.from({ length: 16 }, (_, i) => Number((n >> BigInt(8 * i)) & 0xffn));
  return new Expr('v128', [0xfd, 12, ...bytes], NO_ARGS, -1, true);
};
export const localGet = (index: number, type: ValType, cheap = true): Expr =>
  new Expr(type, LOCAL_GET, NO_ARGS, index, cheap);
/** A read of local `index` that is the value of `e`, with what is known about it. */
export const named = (index: number, e: Expr): Expr =>
  new Expr(e.type, LOCAL_GET, NO_ARGS, index, true, e.bits, e.origin, e.plain, e.lane0);
/** An instruction with a number behind its opcode. */
export const indexed = (
  type: ValType,
  code: readonly number[],
  index: number,
  args: readonly Expr[],
  cheap = false,
): Expr => new Expr(type, code, args, index, cheap);

/** Calls `visit` with the number of each local that a tree reads. */
export function visitLocals(e: Expr, visit: (index: number) => void): void {
  if (e.code === LOCAL_GET) visit(e.index);
  const { args } = e;
  for (let i = 0; i < args.length; i++) visitLocals(args[i]!, visit);
}
/** Are both reads of the same local, or the same constant? */
export const isSameLeaf = (a: Expr, b: Expr): boolean =>
  a.args.length === 0 && a.code === b.code && a.index === b.index && a.constant === b.constant;

/** Any instruction by its opcode bytes. */
export const inst = (type: ValType, code: readonly number[], ...args: Expr[]): Expr => new Expr(type, code, args);

/** Code of an integer instruction for i64 and i32. */
const both = (i64: number, i32: number): Readonly<Record<'i64' | 'i32', readonly number[]>> => ({
  i64: [i64],
  i32: [i32],
});
/** Integer instructions (core specification 5.4.6). */
const INT_BINARY = {
  add: both(0x7c, 0x6a),
  sub: both(0x7d, 0x6b),
  mul: both(0x7e, 0x6c),
  div_s: both(0x7f, 0x6d),
  div_u: both(0x80, 0x6e),
  rem_s: both(0x81, 0x6f),
  rem_u: both(0x82, 0x70),
  and: both(0x83, 0x71),
  or: both(0x84, 0x72),
  xor: both(0x85, 0x73),
  shl: both(0x86, 0x74),
  shr_s: both(0x87, 0x75),
  shr_u: both(0x88, 0x76),
  rotl: both(0x89, 0x77),
  rotr: both(0x8a, 0x78),
} as const;
const INT_COMPARE = {
  eq: both(0x51, 0x46),
  ne: both(0x52, 0x47),
  lt_s: both(0x53, 0x48),
  lt_u: both(0x54, 0x49),
  gt_s: both(0x55, 0x4a),
  gt_u: both(0x56, 0x4b),
  le_s: both(0x57, 0x4c),
  le_u: both(0x58, 0x4d),
  ge_s: both(0x59, 0x4e),
  ge_u: both(0x5a, 0x4f),
} as const;
const INT_UNARY = { clz: both(0x79, 0x67), ctz: both(0x7a, 0x68), popcnt: both(0x7b, 0x69) } as const;
const EQZ = both(0x50, 0x45);
export type IntBinary = keyof typeof INT_BINARY;
export type IntCompare = keyof typeof INT_COMPARE;

/** Cases in which one operand is the result; undefined when there is something to compute. */
function identity(op: IntBinary, a: Expr, b: Expr): Expr | undefined {
  if (b.small === 0) {
    if (op === 'and') return b;
    if (op === 'add' || op === 'sub' || op === 'or' || op === 'xor') return a;
    if (op === 'shl' || op === 'shr_s' || op === 'shr_u' || op === 'rotl' || op === 'rotr') return a;
  }
  if (a.small === 0) {
    if (op === 'and') return a;
    if (op === 'add' || op === 'or' || op === 'xor') return b;
  }
  if (op === 'and' && (b.small === -1 || isMaskOf(b, a))) return a;
  if (op === 'and' && a.small === -1) return b;
  return undefined;
}

/** Is a constant an i64 whose low bits are set, as many as the value has, and no others? */
function isMaskOf({ small, type }: Expr, value: Expr): boolean {
  if (type !== 'i64' || small === undefined || small <= 0) return false;
  const bits = Math.log2(small + 1);
  return Number.isInteger(bits) && bitsOf(value) <= bits;
}

/** The result for constants, where it is worth it. */
function fold(op: IntBinary, a: Expr, b: Expr): Expr | undefined {
  if (a.small !== undefined && b.small !== undefined && (op === 'add' || op === 'sub')) {
    const n = op === 'add' ? a.small + b.small : a.small - b.small;
    if (Number.isSafeInteger(n)) return a.type === 'i64' ? i64Const(n) : i32Const(n);
  }
  const n = foldBig(op, a.type === 'i64' ? 64 : 32, a.constant!, b.constant!);
  if (n === undefined) return undefined;
  return a.type === 'i64' ? i64Const(n) : i32Const(Number(BigInt.asIntN(32, n)));
}
function foldBig(op: IntBinary, bits: 64 | 32, x: bigint, y: bigint): bigint | undefined {
  const u = (n: bigint): bigint => BigInt.asUintN(bits, n);
  const n = u(y) % BigInt(bits);
  switch (op) {
    case 'add':
      return x + y;
    case 'sub':
      return x - y;
    case 'mul':
      return x * y;
    case 'and':
      return x & y;
    case 'or':
      return x | y;
    case 'xor':
      return x ^ y;
    case 'shl':
      return x << n;
    case 'shr_u':
      return u(x) >> n;
    case 'shr_s':
      return x >> n;
    default:
      return undefined;
  }
}

/** Number of low bits outside of which an i64 is known to be 0, from 1 to 64. */
export function bitsOf(e: Expr): number {
  const { small } = e;
  if (small === undefined) return e.isConstant ? Math.max(1, bigBits(e.constant!)) : e.bits;
  if (small < 0) return 64;
  return small < 2 ** 32 ? Math.max(1, 32 - Math.clz32(small)) : bigBits(e.constant!);
}
const bigBits = (n: bigint): number => (n < 0n ? 64 : n.toString(2).length);

function resultBits(op: IntBinary, a: Expr, b: Expr): number {
  if (op === 'and') return Math.min(bitsOf(a), bitsOf(b));
  if (op === 'or' || op === 'xor') return Math.max(bitsOf(a), bitsOf(b));
  if (op === 'add') return Math.min(64, Math.max(bitsOf(a), bitsOf(b)) + 1);
  if (op !== 'shr_u' && op !== 'shl') return 64;
  const n = b.small;
  if (n === undefined || n < 0 || n > 63) return op === 'shr_u' ? bitsOf(a) : 64;
  return op === 'shr_u' ? Math.max(0, bitsOf(a) - n) : Math.min(64, bitsOf(a) + n);
}

/** An integer operation on two operands of the same type. */
export function binary(op: IntBinary, a: Expr, b: Expr): Expr {
  if (a.isConstant || b.isConstant) {
    const simple = (a.isConstant && b.isConstant ? fold(op, a, b) : undefined) ?? identity(op, a, b);
    if (simple) return simple;
  }
  if (a.type === 'i32') return new Expr('i32', INT_BINARY[op].i32, [a, b]);
  const code = INT_BINARY[op].i64;
  return new Expr('i64', code, [a, b], -1, false, resultBits(op, a, b), movedOrigin(op, a, b));
}
/** Distances that are no safe integers are left out. */
function movedOrigin(op: IntBinary, { origin }: Expr, { small }: Expr): Origin | undefined {
  if (!origin || small === undefined || (op !== 'add' && op !== 'sub')) return undefined;
  const plus = op === 'add' ? origin.plus + small : origin.plus - small;
  return Number.isSafeInteger(plus) ? { of: origin.of, plus } : undefined;
}
export const add = (a: Expr, b: Expr): Expr => binary('add', a, b);
export const sub = (a: Expr, b: Expr): Expr => binary('sub', a, b);
export const and = (a: Expr, b: Expr): Expr => binary('and', a, b);
export const or = (a: Expr, b: Expr): Expr => binary('or', a, b);

/** A comparison; the result is an i32, 0 or 1. */
export const compare = (op: IntCompare, a: Expr, b: Expr): Expr =>
  new Expr('i32', INT_COMPARE[op][a.type as 'i64'], [a, b]);
/** `a == 0` as an i32. */
export const eqz = (a: Expr): Expr => new Expr('i32', EQZ[a.type as 'i64'], [a]);
export const unary = (op: keyof typeof INT_UNARY, a: Expr): Expr =>
  new Expr(a.type, INT_UNARY[op][a.type as 'i64'], [a]);

const WRAP = [0xa7];
const EXTEND_U = [0xad];
const EXTEND_S = 0xac;
/** i64 to i32, dropping the upper half; undoes an extension instead of adding an instruction. */
export function wrap(a: Expr): Expr {
  if (a.type === 'i32') return a;
  if (a.small !== undefined) return i32Const(a.small);
  if (a.isConstant) return i32Const(Number(BigInt.asIntN(32, a.constant!)));
  if (a.code === EXTEND_U || a.code[0] === EXTEND_S) return a.args[0]!;
  if (a.code === LOADS.i64_32u.code) return new Expr('i32', LOADS.i32.code, a.args, a.index);
  // The low half of a sum, difference, product or bitwise operation follows from the low halves of its operands.
  const narrow = a.args.length === 2 ? NARROWED.get(a.code) : undefined;
  if (narrow && (narrow !== 'shl' || isShortShift(a.args[1]!))) {
    return binary(narrow, wrap(a.args[0]!), wrap(a.args[1]!));
  }
  return new Expr('i32', WRAP, [a]);
}
const NARROWED: ReadonlyMap<readonly number[], IntBinary> = new Map(
  (['add', 'sub', 'mul', 'and', 'or', 'xor', 'shl'] as const).map((op) => [INT_BINARY[op].i64, op]),
);
const isShortShift = ({ small }: Expr): boolean => small !== undefined && small >= 0 && small < 32;
/** i32 to i64, zero-extended. */
export function extendU(a: Expr): Expr {
  if (a.type === 'i64') return a;
  if (a.small !== undefined) return i64Const(a.small >>> 0);
  return new Expr('i64', EXTEND_U, [a], -1, false, isCompare(a) ? 1 : 32);
}
const isCompare = (a: Expr): boolean => a.code.length === 1 && a.code[0]! >= 0x45 && a.code[0]! <= 0x66;
const SIGN_EXTEND = { 8: [0xc2], 16: [0xc3], 32: [0xc4] } as const;
/** Sign extension of the low 8, 16 or 32 bits of an i64. */
export const signExtend = (bits: 8 | 16 | 32, a: Expr): Expr => new Expr('i64', SIGN_EXTEND[bits], [a]);

export type LoadOp =
  | 'i32'
  | 'i64'
  | 'f64'
  | 'v128'
  | 'i32_8u'
  | 'i32_16u'
  | 'i64_8u'
  | 'i64_16u'
  | 'i64_32u'
  | 'i64_32s';
/** The alignment hint behind the opcodes is 1, so that any address is as good as another; `bits`: see Expr. */
const LOADS: Readonly<Record<LoadOp, { type: ValType; code: readonly number[]; bits: number }>> = {
  i32: { type: 'i32', code: [0x28, 0], bits: 64 },
  i64: { type: 'i64', code: [0x29, 0], bits: 64 },
  f64: { type: 'f64', code: [0x2b, 0], bits: 64 },
  i32_8u: { type: 'i32', code: [0x2d, 0], bits: 64 },
  i32_16u: { type: 'i32', code: [0x2f, 0], bits: 64 },
  i64_8u: { type: 'i64', code: [0x31, 0], bits: 8 },
  i64_16u: { type: 'i64', code: [0x33, 0], bits: 16 },
  i64_32s: { type: 'i64', code: [0x34, 0], bits: 64 },
  i64_32u: { type: 'i64', code: [0x35, 0], bits: 32 },
  v128: { type: 'v128', code: [0xfd, 0, 0], bits: 64 },
};
/** A load at `address + offset`. */
export function load(op: LoadOp, address: Expr, offset: number): Expr {
  const { type, code, bits } = LOADS[op];
  return new Expr(type, code, [address], offset, false, bits);
}

export type StoreOp = 'i32' | 'i64' | 'f64' | 'v128' | 'i64_8' | 'i64_16' | 'i64_32' | 'i32_8' | 'i32_16';
/** Opcode bytes of stores, with the same alignment hint; the type is that of the stored value. */
export const STORES: Readonly<Record<StoreOp, readonly number[]>> = {
  i32: [0x36, 0],
  i64: [0x37, 0],
  f64: [0x39, 0],
  i32_8: [0x3a, 0],
  i32_16: [0x3b, 0],
  i64_8: [0x3c, 0],
  i64_16: [0x3d, 0],
  i64_32: [0x3e, 0],
  v128: [0xfd, 11, 0],
};

/** Appends an expression's code. */
export function emitExpr(out: ByteSink, e: Expr): void {
  const { args, code } = e;
  for (let i = 0; i < args.length; i++) emitExpr(out, args[i]!);
  if (code.length === 1) out.push(code[0]!);
  else out.append(code);
  if (e.index >= 0) out.uleb(e.index);
  else if (e.small !== undefined) out.sleb(e.small);
  else if (e.isConstant) out.slebBig(e.constant!);
}
