/**
 * WebAssembly expressions as small trees. A tree is pure as far as this file is concerned: whoever builds one
 * from a load decides when it is emitted. Constants are folded where it is cheap to see.
 */

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
/** Binary encoding of value types (core specification 5.3.1). */
export const VAL_TYPE: Readonly<Record<ValType, number>> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

export interface Expr {
  readonly type: ValType;
  /** Opcode bytes with immediates, emitted after the arguments. */
  readonly code: readonly number[];
  readonly args: readonly Expr[];
  /** Value of a constant (i32 and i64 as signed). */
  readonly constant?: bigint;
  /** An i64 is known to be below 2 to this power. */
  readonly bits?: number;
  /** The bits of a floating-point number that is known not to be denormal. */
  readonly plain?: boolean;
  /** What lane 0 of a vector was set to; the other lanes are those of a register (its number), or 0. */
  readonly lane0?: { readonly width: number; readonly value: Expr; readonly rest: number | 'zero' | undefined };
  /** An i64 that is that far from another value, modulo 2^64; `of` stands for the other. */
  readonly origin?: { readonly of: object; readonly plus: bigint };
  /** Re-evaluating is free and always gives the same value: constants and locals that are set once. */
  readonly cheap?: boolean;
}

/** Unsigned LEB128 (core specification 5.2.2). */
export function uleb(n: number): number[] {
  const out: number[] = [];
  let rest = n >>> 0;
  for (;;) {
    const byte = rest & 0x7f;
    rest >>>= 7;
    if (rest === 0) {
      out.push(byte);
      return out;
    }
    out.push(byte | 0x80);
  }
}

/** Signed LEB128 of up to 64 bits. */
export function sleb(n: bigint): number[] {
  if (n >= -64n && n < 64n) return [Number(n) & 0x7f];
  const out: number[] = [];
  let rest = BigInt.asIntN(64, n);
  for (;;) {
    const byte = Number(rest & 0x7fn);
    rest >>= 7n;
    if ((rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0)) {
      out.push(byte);
      return out;
    }
    out.push(byte | 0x80);
  }
}

export const i32Const = (n: number): Expr => {
  const constant = BigInt(n | 0);
  return { type: 'i32', code: [0x41, ...sleb(constant)], args: [], constant, cheap: true };
};
export const i64Const = (n: bigint): Expr => {
  const constant = BigInt.asIntN(64, n);
  return { type: 'i64', code: [0x42, ...sleb(constant)], args: [], constant, cheap: true };
};
/** A 128-bit constant; byte 0 is the least significant. */
export const v128Const = (n: bigint): Expr => {
  const bytes = Array.from({ length: 16 }, (_, i) => Number((n >> BigInt(8 * i)) & 0xffn));
  return { type: 'v128', code: [0xfd, 12, ...bytes], args: [], cheap: true };
};
export const localGet = (index: number, type: ValType, cheap = true): Expr => ({
  type,
  code: [0x20, ...uleb(index)],
  args: [],
  cheap,
});

/** Adds the numbers of the locals that a tree reads to `found`. */
export function localsOf(e: Expr, found: Set<number>): void {
  if (e.code[0] === 0x20) {
    let n = 0;
    for (let i = e.code.length - 1; i > 0; i--) n = n * 128 + (e.code[i]! & 0x7f);
    found.add(n);
  }
  for (const a of e.args) localsOf(a, found);
}

/** Any instruction by its opcode bytes. */
export const inst = (type: ValType, code: readonly number[], ...args: Expr[]): Expr => ({ type, code, args });

/** Opcodes of the integer instructions (core specification 5.4.6), i64 and i32. */
const INT_BINARY = {
  add: [0x7c, 0x6a],
  sub: [0x7d, 0x6b],
  mul: [0x7e, 0x6c],
  div_s: [0x7f, 0x6d],
  div_u: [0x80, 0x6e],
  rem_s: [0x81, 0x6f],
  rem_u: [0x82, 0x70],
  and: [0x83, 0x71],
  or: [0x84, 0x72],
  xor: [0x85, 0x73],
  shl: [0x86, 0x74],
  shr_s: [0x87, 0x75],
  shr_u: [0x88, 0x76],
  rotl: [0x89, 0x77],
  rotr: [0x8a, 0x78],
} as const;
const INT_COMPARE = {
  eq: [0x51, 0x46],
  ne: [0x52, 0x47],
  lt_s: [0x53, 0x48],
  lt_u: [0x54, 0x49],
  gt_s: [0x55, 0x4a],
  gt_u: [0x56, 0x4b],
  le_s: [0x57, 0x4c],
  le_u: [0x58, 0x4d],
  ge_s: [0x59, 0x4e],
  ge_u: [0x5a, 0x4f],
} as const;
const INT_UNARY = { clz: [0x79, 0x67], ctz: [0x7a, 0x68], popcnt: [0x7b, 0x69] } as const;
export type IntBinary = keyof typeof INT_BINARY;
export type IntCompare = keyof typeof INT_COMPARE;

const ones = (e: Expr): boolean => e.constant === -1n;
const isZero = (e: Expr): boolean => e.constant === 0n;

/** Cases in which one operand is the result; undefined when there is something to compute. */
function identity(op: IntBinary, a: Expr, b: Expr): Expr | undefined {
  if (isZero(b) && (op === 'add' || op === 'sub' || op === 'or' || op === 'xor')) return a;
  if (isZero(b) && (op === 'shl' || op === 'shr_s' || op === 'shr_u' || op === 'rotl' || op === 'rotr')) return a;
  if (isZero(a) && (op === 'add' || op === 'or' || op === 'xor')) return b;
  if (op === 'and' && ones(b)) return a;
  if (op === 'and' && ones(a)) return b;
  if (op === 'and' && (isZero(a) || isZero(b))) return isZero(a) ? a : b;
  return undefined;
}

function fold(op: IntBinary, type: 'i32' | 'i64', x: bigint, y: bigint): bigint | undefined {
  const bits = type === 'i64' ? 64 : 32;
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

/** Number of low bits outside of which an i64 is known to be 0. */
export function bitsOf(e: Expr): number {
  if (e.constant !== undefined) return e.constant < 0n ? 64 : e.constant.toString(2).length;
  return e.bits ?? 64;
}
const withBits = (e: Expr, bits: number): Expr => (bits < 64 ? { ...e, bits } : e);

function resultBits(op: IntBinary, a: Expr, b: Expr): number {
  if (op === 'and') return Math.min(bitsOf(a), bitsOf(b));
  if (op === 'or' || op === 'xor') return Math.max(bitsOf(a), bitsOf(b));
  if (op === 'add') return Math.max(bitsOf(a), bitsOf(b)) + 1;
  const n = b.constant;
  if (n === undefined || n < 0n || n > 63n) return op === 'shr_u' ? bitsOf(a) : 64;
  if (op === 'shr_u') return Math.max(0, bitsOf(a) - Number(n));
  return op === 'shl' ? bitsOf(a) + Number(n) : 64;
}

/** An integer operation on two operands of the same type. */
export function binary(op: IntBinary, a: Expr, b: Expr): Expr {
  const type = a.type as 'i32' | 'i64';
  if (a.constant !== undefined && b.constant !== undefined) {
    const value = fold(op, type, a.constant, b.constant);
    if (value !== undefined) return type === 'i64' ? i64Const(value) : i32Const(Number(BigInt.asIntN(32, value)));
  }
  const same = identity(op, a, b);
  if (same) return same;
  const e = inst(type, [INT_BINARY[op][type === 'i64' ? 0 : 1]], a, b);
  if (type !== 'i64') return e;
  const origin = movedOrigin(op, a, b);
  return { ...withBits(e, resultBits(op, a, b)), ...(origin && { origin }) };
}
function movedOrigin(op: IntBinary, { origin }: Expr, { constant }: Expr): Expr['origin'] {
  if (!origin || constant === undefined || (op !== 'add' && op !== 'sub')) return undefined;
  return { of: origin.of, plus: op === 'add' ? origin.plus + constant : origin.plus - constant };
}
export const add = (a: Expr, b: Expr): Expr => binary('add', a, b);
export const sub = (a: Expr, b: Expr): Expr => binary('sub', a, b);
export const and = (a: Expr, b: Expr): Expr => binary('and', a, b);
export const or = (a: Expr, b: Expr): Expr => binary('or', a, b);

/** A comparison; the result is an i32, 0 or 1. */
export const compare = (op: IntCompare, a: Expr, b: Expr): Expr =>
  inst('i32', [INT_COMPARE[op][a.type === 'i64' ? 0 : 1]], a, b);
/** `a == 0` as an i32. */
export const eqz = (a: Expr): Expr => inst('i32', [a.type === 'i64' ? 0x50 : 0x45], a);
export const unary = (op: keyof typeof INT_UNARY, a: Expr): Expr =>
  inst(a.type, [INT_UNARY[op][a.type === 'i64' ? 0 : 1]], a);

/** i64 to i32, dropping the upper half; undoes an extension instead of adding an instruction. */
export function wrap(a: Expr): Expr {
  if (a.type === 'i32') return a;
  if (a.constant !== undefined) return i32Const(Number(BigInt.asIntN(32, a.constant)));
  const [op] = a.code;
  if (op === 0xad || op === 0xac) return a.args[0]!;
  const narrow = op === undefined ? undefined : NARROWED.get(op);
  // The low half of a sum, difference, product or bitwise operation follows from the low halves of its operands.
  if (narrow) return binary(narrow, wrap(a.args[0]!), wrap(a.args[1]!));
  if (op === 0x86 && isShortShift(a.args[1]!)) return binary('shl', wrap(a.args[0]!), wrap(a.args[1]!));
  if (op === 0x35) return inst('i32', [0x28, ...a.code.slice(1)], ...a.args);
  return inst('i32', [0xa7], a);
}
const NARROWED: ReadonlyMap<number, IntBinary> = new Map([
  [0x7c, 'add'],
  [0x7d, 'sub'],
  [0x7e, 'mul'],
  [0x83, 'and'],
  [0x84, 'or'],
  [0x85, 'xor'],
]);
const isShortShift = (n: Expr): boolean => n.constant !== undefined && n.constant >= 0n && n.constant < 32n;
/** i32 to i64, zero-extended. */
export function extendU(a: Expr): Expr {
  if (a.type === 'i64') return a;
  if (a.constant !== undefined) return i64Const(BigInt.asUintN(32, a.constant));
  return { ...inst('i64', [0xad], a), bits: isCompare(a) ? 1 : 32 };
}
const isCompare = (a: Expr): boolean => a.code.length === 1 && a.code[0]! >= 0x45 && a.code[0]! <= 0x66;
/** Sign extension of the low 8, 16 or 32 bits of an i64. */
export const signExtend = (bits: 8 | 16 | 32, a: Expr): Expr =>
  inst('i64', [bits === 8 ? 0xc2 : bits === 16 ? 0xc3 : 0xc4], a);

export type LoadOp = 'i32' | 'i64' | 'v128' | 'i32_8u' | 'i32_16u' | 'i64_8u' | 'i64_16u' | 'i64_32u' | 'i64_32s';
const LOADS: Readonly<Record<LoadOp, { type: ValType; code: readonly number[]; align: number }>> = {
  i32: { type: 'i32', code: [0x28], align: 2 },
  i64: { type: 'i64', code: [0x29], align: 3 },
  i32_8u: { type: 'i32', code: [0x2d], align: 0 },
  i32_16u: { type: 'i32', code: [0x2f], align: 1 },
  i64_8u: { type: 'i64', code: [0x31], align: 0 },
  i64_16u: { type: 'i64', code: [0x33], align: 1 },
  i64_32s: { type: 'i64', code: [0x34], align: 2 },
  i64_32u: { type: 'i64', code: [0x35], align: 2 },
  v128: { type: 'v128', code: [0xfd, 0], align: 4 },
};
/** A load at `address + offset`; the alignment hint is 1 so that any address is as good as another. */
export const load = (op: LoadOp, address: Expr, offset: number): Expr => {
  const e = inst(LOADS[op].type, [...LOADS[op].code, 0, ...uleb(offset)], address);
  const bits = LOADED_BITS[op];
  return bits === undefined ? e : { ...e, bits };
};
const LOADED_BITS: Readonly<Partial<Record<LoadOp, number>>> = { i64_8u: 8, i64_16u: 16, i64_32u: 32 };

export type StoreOp = 'i32' | 'i64' | 'v128' | 'i64_8' | 'i64_16' | 'i64_32' | 'i32_8' | 'i32_16';
/** Opcode bytes of stores; the type is that of the stored value. */
export const STORES: Readonly<Record<StoreOp, readonly number[]>> = {
  i32: [0x36],
  i64: [0x37],
  i32_8: [0x3a],
  i32_16: [0x3b],
  i64_8: [0x3c],
  i64_16: [0x3d],
  i64_32: [0x3e],
  v128: [0xfd, 11],
};

/** Bytes that are appended to. */
export class ByteSink {
  private bytes = new Uint8Array(1024);
  length = 0;

  push(byte: number): void {
    if (this.length === this.bytes.length) this.grow(this.length + 1);
    this.bytes[this.length++] = byte;
  }
  append(bytes: ArrayLike<number>): void {
    const end = this.length + bytes.length;
    if (end > this.bytes.length) this.grow(end);
    for (let i = 0, at = this.length; at < end; i++, at++) this.bytes[at] = bytes[i]!;
    this.length = end;
  }
  /** The bytes from `from` on, which are taken out. */
  cut(from: number): Uint8Array {
    const rest = this.bytes.slice(from, this.length);
    this.length = from;
    return rest;
  }
  /** What there is, until more is appended. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
  private grow(least: number): void {
    const bytes = new Uint8Array(Math.max(least, this.bytes.length * 2));
    bytes.set(this.bytes);
    this.bytes = bytes;
  }
}

/** Appends an expression's code. */
export function emitExpr(out: ByteSink, e: Expr): void {
  const { args, code } = e;
  for (let i = 0; i < args.length; i++) emitExpr(out, args[i]!);
  if (code.length === 1) out.push(code[0]!);
  else out.append(code);
}
