/**
 * Packed SSE and AVX arithmetic in line, 128 bits at a time, where it cannot change MXCSR: inexact results change nothing
 * (`quiet`, see interp/float.ts), no operand is denormal, and all results are normal numbers. Otherwise the helper is called.
 */
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';

type Expr = x.Expr;

/** Opcodes of f64x2.add and f32x4.add; subtract, multiply and divide follow them (core specification 5.4.9). */
const FIRST = { pd: 0xf0, ps: 0xe4 } as const;
const KINDS = ['add', 'sub', 'mul', 'div'];

/** By format: opcodes of integer comparisons of the lanes, signed, and the lanes' width and exponents. */
const LANES = {
  pd: { bits: 64n, mantissa: 52n, infinity: 0x7ffn, lt: 0xd8, ge: 0xdb, ne: 0xd7 },
  ps: { bits: 32n, mantissa: 23n, infinity: 0xffn, lt: 0x39, ge: 0x3f, ne: 0x38 },
} as const;
type Lanes = (typeof LANES)['pd' | 'ps'];
const AND = 0x4e;
const OR = 0x50;
const ANY_TRUE = 0x53;

const OPERATIONS: ReadonlyMap<string, { format: 'pd' | 'ps'; code: number }> = new Map(
  (['pd', 'ps'] as const).flatMap((format) =>
    KINDS.map((kind, n) => [`sse_${kind}_${format}`, { format, code: FIRST[format] + n }] as const),
  ),
);
export const hasInlinePacked = (name: string): boolean => OPERATIONS.has(name);

/** An instruction of the vector extension; its number is of 7 bits a byte. */
const vector = (op: number, ...args: Expr[]): Expr =>
  x.inst('v128', op < 0x80 ? [0xfd, op] : [0xfd, (op & 0x7f) | 0x80, op >> 7], ...args);
/** A constant in each lane. */
const each = ({ bits }: Lanes, n: bigint): Expr => {
  let all = 0n;
  for (let at = 0n; at < 128n; at += bits) all |= n << at;
  return x.v128Const(all);
};

/** What is done where the operation may change MXCSR; `quiet` is isQuiet as it is now. */
export type PackedSlow =
  /** Goes back to where the operation is carried out again, and by the helper. */
  | { readonly quiet: Expr; readonly retreat: () => void }
  /** Gives the helper's result. */
  | { readonly quiet: Expr; readonly call: (a: Expr, b: Expr) => Expr };

/** The operation of a helper (one of hasInlinePacked) on two vectors. */
export function inlinePacked(f: FunctionBuilder, name: string, args: readonly Expr[], slow: PackedSlow): Expr {
  const { format, code } = OPERATIONS.get(name)!;
  const lanes = LANES[format];
  const [a, b] = [f.let(args[0]!), f.let(args[1]!)];
  const r = f.temporary('v128');
  f.setVariable(r, vector(code, a, b));
  const special = [denormal(f, lanes, a), denormal(f, lanes, b), notNormal(f, lanes, f.get(r))];
  const anywhere = x.inst(
    'i32',
    [0xfd, ANY_TRUE],
    special.reduce((p, q) => vector(OR, p, q)),
  );
  f.unlikely(x.or(x.eqz(slow.quiet), anywhere), () => {
    if ('retreat' in slow) slow.retreat();
    else f.setVariable(r, slow.call(a, b));
  });
  return x.localGet(r, 'v128');
}

const magnitude = (f: FunctionBuilder, lanes: Lanes, v: Expr): Expr =>
  f.let(vector(AND, v, each(lanes, (1n << (lanes.bits - 1n)) - 1n)));
const minimum = ({ mantissa }: Lanes): bigint => 1n << mantissa;
/** By lane, ones for denormals. */
function denormal(f: FunctionBuilder, lanes: Lanes, v: Expr): Expr {
  const m = magnitude(f, lanes, v);
  return vector(AND, vector(lanes.lt, m, each(lanes, minimum(lanes))), vector(lanes.ne, m, each(lanes, 0n)));
}
/** By lane, ones for zero, denormals, the smallest normal number, to which a tiny result may have been rounded, infinity and NaN. */
function notNormal(f: FunctionBuilder, lanes: Lanes, v: Expr): Expr {
  const m = magnitude(f, lanes, v);
  const infinite = vector(lanes.ge, m, each(lanes, lanes.infinity << lanes.mantissa));
  return vector(OR, vector(lanes.lt, m, each(lanes, minimum(lanes) + 1n)), infinite);
}
