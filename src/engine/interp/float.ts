/**
 * Scalar SSE arithmetic written in line where it cannot change MXCSR (the result is exact, or PE is set already): the same conditions under which the runtime's
 * helpers compute natively (src/runtime/sse/quick.ts); otherwise the helper is called.
 */
import { CPU } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';

type Expr = x.Expr;

/** Opcodes of f64 and f32 arithmetic by the helper's name (core specification 5.4.6). */
const OPERATIONS: ReadonlyMap<string, { bits: 64 | 32; code: number }> = new Map([
  ['sse_add_sd', { bits: 64, code: 0xa0 }],
  ['sse_sub_sd', { bits: 64, code: 0xa1 }],
  ['sse_mul_sd', { bits: 64, code: 0xa2 }],
  ['sse_div_sd', { bits: 64, code: 0xa3 }],
  ['sse_add_ss', { bits: 32, code: 0x92 }],
  ['sse_sub_ss', { bits: 32, code: 0x93 }],
  ['sse_mul_ss', { bits: 32, code: 0x94 }],
  ['sse_div_ss', { bits: 32, code: 0x95 }],
]);
/** MXCSR: 5 PE, 12 PM, 13-14 RC. Inexact results change nothing when PE is set and masked and RC is to nearest. */
const PE = 1 << 5;
const PM = 1 << 12;
const RC = 3 << 13;

/** Magnitudes, shifted left by one: the smallest normal number and infinity. */
export const LIMITS = {
  64: { minimum: 1n << 53n, infinity: 0x7ffn << 53n },
  32: { minimum: 1n << 24n, infinity: 0xffn << 24n },
} as const;

/** Non-zero when inexact results change nothing, as MXCSR is now. */
export const isQuiet = (cpu: Expr): Expr =>
  x.compare('eq', x.and(x.load('i32', cpu, CPU.mxcsr!), x.i32Const(RC | PM | PE)), x.i32Const(PM | PE));

/** What the function being written has for its floating-point operations. */
export interface FloatState {
  /** Variable: isQuiet, kept up to date. */
  readonly quiet: number;
  /**
   * Goes somewhere else if the condition holds, as the helper left an unmasked exception or a denormal result; `mxcsr`:
   * what MXCSR was before.
   */
  readonly leaveIf?: (condition: Expr, mxcsr: Expr) => void;
  /**
   * Goes somewhere else, where the operation is carried out again, instead of calling the helper. `limits`: see
   * ordinaryLimit.
   */
  readonly retreat?: { readonly go: () => void; readonly limit: (bits: 64 | 32) => Expr };
  /** Variable that is non-zero if the last operation left an unmasked exception; where there is no `leaveIf`. */
  readonly fault?: number;
}

export const hasInlineFloat = (name: string): boolean => OPERATIONS.has(name);

/** The operation of a helper (one of hasInlineFloat) in line. Arguments are bits (i64 or i32 by width). */
export function inlineFloat(f: FunctionBuilder, cpu: Expr, name: string, args: readonly Expr[], s: FloatState): Expr {
  const { bits, code } = OPERATIONS.get(name)!;
  const type = bits === 64 ? 'f64' : 'f32';
  const floats = args.map((a) => f.let(toFloat(bits, a)));
  const inputs = args.map((a) => f.let(a));
  const r = f.let(x.inst(type, [code], ...floats));
  if (s.retreat) {
    const { go, limit } = s.retreat;
    // A product or quotient that is ordinary is not one of zeros.
    const isProduct = code - FLOAT[bits].add >= MUL;
    for (const a of inputs) {
      if (!a.plain) f.unlikely(isProduct ? isTiny(bits, a) : isDenormal(bits, a), go);
    }
    f.unlikely(x.compare('ge_u', aboveOrdinary(bits, toBits(bits, r)), limit(bits)), go);
    return x.asNumberBits(toBits(bits, r), true);
  }
  const result = f.temporary(type);
  f.block((done) => {
    f.block((slow) => {
      for (const a of inputs) if (!a.plain) f.brIf(slow, isDenormal(bits, a), 0);
      f.brIf(slow, x.eqz(isNormal(bits, toBits(bits, r))), 0);
      f.unlikely(x.eqz(f.get(s.quiet)), () => f.brIf(slow, x.eqz(isExact(f, bits, code, floats, r)), 0));
      f.setVariable(result, r);
      if (s.fault !== undefined) f.setVariable(s.fault, x.i32Const(0));
      f.br(done);
    });
    const mxcsr = f.let(x.load('i32', cpu, CPU.mxcsr!));
    const slow = f.let(f.call(name, cpu, ...inputs));
    f.setVariable(result, toFloat(bits, slow));
    const fault = x.load('i32', cpu, CPU.sse_fault!);
    if (s.fault !== undefined) f.setVariable(s.fault, fault);
    s.leaveIf?.(x.or(fault, isDenormal(bits, slow)), mxcsr);
    f.setVariable(s.quiet, isQuiet(cpu));
  });
  return x.asNumberBits(toBits(bits, x.localGet(result, type)), s.leaveIf !== undefined);
}

const integer = (bits: 64 | 32, n: bigint): Expr =>
  bits === 64 ? x.i64Const(n) : x.i32Const(Number(BigInt.asIntN(32, n)));
/** The bits without the sign, one place up. */
const magnitude = (bits: 64 | 32, b: Expr): Expr => x.binary('shl', b, integer(bits, 1n));
/** Neither zero nor normal, infinity or NaN. */
const isDenormal = (bits: 64 | 32, b: Expr): Expr =>
  x.compare('lt_u', x.sub(magnitude(bits, b), integer(bits, 1n)), integer(bits, LIMITS[bits].minimum - 1n));
/** Neither the smallest normal number, to which a tiny result may have been rounded, nor anything special. */
const isNormal = (bits: 64 | 32, b: Expr): Expr => {
  const { minimum, infinity } = LIMITS[bits];
  const above = x.sub(magnitude(bits, b), integer(bits, minimum + 1n));
  return x.compare('lt_u', above, integer(bits, infinity - minimum - 1n));
};

/** Zero or denormal. */
const isTiny = (bits: 64 | 32, b: Expr): Expr =>
  x.eqz(x.and(bits === 64 ? highOf(b) : b, x.i32Const(bits === 64 ? 0x7ff0_0000 : 0x7f80_0000)));
const highOf = (b: Expr): Expr => b.high ?? x.wrap(x.binary('shr_u', b, x.i64Const(32n)));
/**
 * An i32 below ordinaryLimit if the exponent is neither one of the two lowest, to which a tiny result may have been rounded,
 * nor that of infinity and NaN: the upper 32 bits without the sign, one place up, above the smallest that is ordinary.
 */
const aboveOrdinary = (bits: 64 | 32, b: Expr): Expr =>
  x.sub(x.binary('shl', bits === 64 ? highOf(b) : b, x.i32Const(1)), x.i32Const(ORDINARY[bits].first));
const ORDINARY = {
  64: { first: 2 << 21, end: 0x7ff << 21 },
  32: { first: 2 << 24, end: 0xff << 24 },
} as const;
/** What results have to be below; none is where inexact results change something (`quiet` is 0). */
export const ordinaryLimit = (bits: 64 | 32, quiet: Expr): Expr =>
  x.binary('mul', quiet, x.i32Const(ORDINARY[bits].end - ORDINARY[bits].first));

/** Opcodes by width: add, subtract, multiply, negate, compare for equality. */
const FLOAT = {
  64: { type: 'f64', add: 0xa0, sub: 0xa1, mul: 0xa2, neg: 0x9a, eq: 0x61 },
  32: { type: 'f32', add: 0x92, sub: 0x93, mul: 0x94, neg: 0x8c, eq: 0x5b },
} as const;
const ADD = 0;
const SUB = 1;
const MUL = 2;

/** An i32: non-zero only if `r` is the exact result of the operation, so that it raises nothing in any rounding mode. */
function isExact(f: FunctionBuilder, bits: 64 | 32, code: number, [a, b]: readonly Expr[], r: Expr): Expr {
  const op = FLOAT[bits];
  const kind = code - op.add;
  const binary = (c: number, p: Expr, q: Expr): Expr => x.inst(op.type, [c], p, q);
  if (kind === ADD || kind === SUB) {
    // Knuth's two-sum: the error of a rounded sum is itself a number.
    const addend = kind === ADD ? b! : f.let(x.inst(op.type, [op.neg], b!));
    const part = f.let(binary(op.sub, r, a!));
    const error = binary(op.add, binary(op.sub, a!, binary(op.sub, r, part)), binary(op.sub, addend, part));
    return x.inst('i32', [op.eq], error, zero(bits));
  }
  const [p, q, product] = kind === MUL ? [a!, b!, r] : [r, b!, a!];
  if (bits === 32) {
    // A product of two 24-bit significands is exact in binary64.
    const promote = (v: Expr): Expr => x.inst('f64', [0xbb], v);
    return x.inst('i32', [0x61], x.inst('f64', [0xa2], promote(p), promote(q)), promote(product));
  }
  // With 53 trailing zeros in the two significands together the product has at most 53 bits.
  const trailing = (v: Expr): Expr => x.unary('ctz', x.or(toBits(64, v), x.i64Const(1n << 52n)));
  const short = x.compare('ge_u', x.add(trailing(p), trailing(q)), x.i64Const(53n));
  return x.and(short, x.inst('i32', [op.eq], binary(op.mul, p, q), product));
}
const zero = (bits: 64 | 32): Expr =>
  bits === 64 ? x.inst('f64', [0xbf], x.i64Const(0n)) : x.inst('f32', [0xbe], x.i32Const(0));

const toBits = (bits: 64 | 32, v: Expr): Expr => (bits === 64 ? x.inst('i64', [0xbd], v) : x.inst('i32', [0xbc], v));

/** Reinterprets bits as a number; a lane of a vector is taken as a number at once. */
function toFloat(bits: 64 | 32, v: Expr): Expr {
  const [prefix, op, lane] = v.code;
  if (prefix === 0xfd && op === (bits === 64 ? 0x1d : 0x1b)) {
    return x.inst(bits === 64 ? 'f64' : 'f32', [0xfd, bits === 64 ? 0x21 : 0x1f, lane!], ...v.args);
  }
  return bits === 64 ? x.inst('f64', [0xbf], v) : x.inst('f32', [0xbe], v);
}
