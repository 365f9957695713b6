/**
 * Packed SSE and AVX arithmetic in line, 128 bits at a time, where it cannot change MXCSR: inexact results change nothing
 * (`quiet`, see interp/float.ts), no operand is denormal, and all results are normal numbers. Otherwise the helper is called.
 */
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { LIMITS } from '../interp/float.ts';
import { vectorOp } from '../interp/pure.ts';

type Expr = x.Expr;

/** What the lanes of a format are: their width, and as integers. */
const FORMATS = { pd: { bits: 64, shape: 'i64x2' }, ps: { bits: 32, shape: 'i32x4' } } as const;
type Format = keyof typeof FORMATS;
/**
 * Opcodes of f64x2.add and f32x4.add; subtract, multiply and divide follow them (core specification 5.4.9). They are not
 * in isa/vector-ops.ts, as rows are to leave what follows MXCSR to the helpers.
 */
const FIRST = { pd: 0xf0, ps: 0xe4 } as const;
const KINDS = ['add', 'sub', 'mul', 'div'];

const OPERATIONS: ReadonlyMap<string, { format: Format; code: number }> = new Map(
  (['pd', 'ps'] as const).flatMap((format) =>
    KINDS.map((kind, n) => [`sse_${kind}_${format}`, { format, code: FIRST[format] + n }] as const),
  ),
);
export const hasInlinePacked = (name: string): boolean => OPERATIONS.has(name);

/** A constant in each lane. */
function each(format: Format, n: bigint): Expr {
  const { bits } = FORMATS[format];
  let all = 0n;
  for (let at = 0; at < 128; at += bits) all |= n << BigInt(at);
  return x.v128Const(all);
}
/** A comparison of the lanes as signed integers with a constant: ones where it holds. */
const compare = (format: Format, op: 'lt_s' | 'ge_s' | 'ne', v: Expr, n: bigint): Expr =>
  vectorOp(`${FORMATS[format].shape}.${op}`, v, each(format, n));

/** What is done where the operation may change MXCSR; `quiet` is isQuiet as it is now. */
export type PackedSlow =
  /** Goes back to where the operation is carried out again, and by the helper. */
  | { readonly quiet: Expr; readonly retreat: () => void }
  /** Gives the helper's result. */
  | { readonly quiet: Expr; readonly call: (a: Expr, b: Expr) => Expr };

/** The operation of a helper (one of hasInlinePacked) on two vectors. */
export function inlinePacked(f: FunctionBuilder, name: string, args: readonly Expr[], slow: PackedSlow): Expr {
  const { format, code } = OPERATIONS.get(name)!;
  const [a, b] = [f.let(args[0]!), f.let(args[1]!)];
  const r = f.temporary('v128');
  f.setVariable(r, x.indexed('v128', [0xfd], code, [a, b]));
  const special = [denormal(f, format, a), denormal(f, format, b), notNormal(f, format, f.get(r))];
  const anywhere = vectorOp(
    'v128.any_true',
    special.reduce((p, q) => vectorOp('v128.or', p, q)),
  );
  f.unlikely(x.or(x.eqz(slow.quiet), anywhere), () => {
    if ('retreat' in slow) slow.retreat();
    else f.setVariable(r, slow.call(a, b));
  });
  return x.localGet(r, 'v128');
}

const magnitude = (f: FunctionBuilder, format: Format, v: Expr): Expr =>
  f.let(vectorOp('v128.and', v, each(format, (1n << BigInt(FORMATS[format].bits - 1)) - 1n)));
const limitsOf = (format: Format): { minimum: bigint; infinity: bigint } => {
  const { minimum, infinity } = LIMITS[FORMATS[format].bits];
  return { minimum: minimum >> 1n, infinity: infinity >> 1n };
};
/** By lane, ones for denormals. */
function denormal(f: FunctionBuilder, format: Format, v: Expr): Expr {
  const m = magnitude(f, format, v);
  return vectorOp('v128.and', compare(format, 'lt_s', m, limitsOf(format).minimum), compare(format, 'ne', m, 0n));
}
/** By lane, ones for zero, denormals, the smallest normal number, to which a tiny result may have been rounded, infinity and NaN. */
function notNormal(f: FunctionBuilder, format: Format, v: Expr): Expr {
  const m = magnitude(f, format, v);
  const { minimum, infinity } = limitsOf(format);
  return vectorOp('v128.or', compare(format, 'lt_s', m, minimum + 1n), compare(format, 'ge_s', m, infinity));
}
