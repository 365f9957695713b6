/** The operations on values alone as WebAssembly expressions. Booleans may be i32; they are extended where 64 bits are meant. */
import type { PureOps, Width } from '../../isa/ops.ts';
import { VECTOR_OPS } from '../../isa/vector-ops.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';

type Expr = x.Expr;
const i64 = x.extendU;

const SEXT32 = 0xc4;
const isSigned32 = (a: Expr): boolean =>
  a.code[0] === SEXT32 || (a.constant !== undefined && BigInt.asIntN(32, a.constant) === a.constant);
const unextended = (a: Expr): Expr => (a.code[0] === SEXT32 ? a.args[0]! : a);

export class PureWasm implements PureOps<Expr> {
  protected readonly f: FunctionBuilder;

  constructor(f: FunctionBuilder) {
    this.f = f;
  }

  k(n: bigint): Expr {
    return x.i64Const(n);
  }
  add(a: Expr, b: Expr): Expr {
    return x.add(i64(a), i64(b));
  }
  sub(a: Expr, b: Expr): Expr {
    return x.sub(i64(a), i64(b));
  }
  mul(a: Expr, b: Expr): Expr {
    return x.binary('mul', i64(a), i64(b));
  }
  and(a: Expr, b: Expr): Expr {
    return a.type === 'i32' && b.type === 'i32' ? x.and(a, b) : x.and(i64(a), i64(b));
  }
  or(a: Expr, b: Expr): Expr {
    return a.type === 'i32' && b.type === 'i32' ? x.or(a, b) : x.or(i64(a), i64(b));
  }
  xor(a: Expr, b: Expr): Expr {
    return x.binary('xor', ...(a.type === 'i32' && b.type === 'i32' ? ([a, b] as const) : ([i64(a), i64(b)] as const)));
  }
  shl(a: Expr, n: Expr): Expr {
    return x.binary('shl', i64(a), i64(n));
  }
  shr(a: Expr, n: Expr): Expr {
    return x.binary('shr_u', i64(a), i64(n));
  }
  sar(a: Expr, n: Expr): Expr {
    return x.binary('shr_s', i64(a), i64(n));
  }
  rotl(a: Expr, n: Expr): Expr {
    return x.binary('rotl', i64(a), i64(n));
  }
  eqz(a: Expr): Expr {
    return x.eqz(a);
  }
  eq(a: Expr, b: Expr): Expr {
    return x.compare('eq', i64(a), i64(b));
  }
  ltu(a: Expr, b: Expr): Expr {
    return x.compare('lt_u', i64(a), i64(b));
  }
  lts(a: Expr, b: Expr): Expr {
    // Both are sign-extended from 32 bits, or one is a small constant: the low halves compare the same.
    if (isSigned32(a) && isSigned32(b)) return x.compare('lt_s', x.wrap(unextended(a)), x.wrap(unextended(b)));
    return x.compare('lt_s', i64(a), i64(b));
  }
  popcnt(a: Expr): Expr {
    return x.unary('popcnt', i64(a));
  }
  clz(a: Expr): Expr {
    return x.unary('clz', i64(a));
  }
  ctz(a: Expr): Expr {
    return x.unary('ctz', i64(a));
  }
  sext(w: Width, a: Expr): Expr {
    return w === 64 ? i64(a) : x.signExtend(w, i64(a));
  }
  zext(w: Width, a: Expr): Expr {
    if (w === 64 || x.bitsOf(i64(a)) <= w) return i64(a);
    if (w === 32) return i64(x.wrap(i64(a)));
    return x.and(i64(a), x.i64Const((1n << BigInt(w)) - 1n));
  }
  select(c: Expr, a: Expr, b: Expr): Expr {
    const [p, q] = a.type === 'v128' ? [a, b] : [i64(a), i64(b)];
    return x.inst(p.type, p.type === 'v128' ? [0x1c, 1, 0x7b] : [0x1b], p, q, this.truth(c));
  }
  let(a: Expr): Expr {
    return this.f.let(a);
  }
  mulhu(a: Expr, b: Expr): Expr {
    return this.f.call('mulhu64', i64(a), i64(b));
  }
  mulhs(a: Expr, b: Expr): Expr {
    return this.f.call('mulhs64', i64(a), i64(b));
  }
  divu(a: Expr, b: Expr): Expr {
    return x.binary('div_u', i64(a), i64(b));
  }
  remu(a: Expr, b: Expr): Expr {
    return x.binary('rem_u', i64(a), i64(b));
  }
  divs(a: Expr, b: Expr): Expr {
    return x.binary('div_s', i64(a), i64(b));
  }
  rems(a: Expr, b: Expr): Expr {
    return x.binary('rem_s', i64(a), i64(b));
  }
  udiv128(hi: Expr, lo: Expr, d: Expr): Expr {
    return this.f.call('udiv128', i64(hi), i64(lo), i64(d));
  }
  /** A condition as an i32 that is non-zero when the value is. */
  protected truth(c: Expr): Expr {
    return c.type === 'i32' ? c : x.compare('ne', c, x.i64Const(0n));
  }
}

/** Prefix of vector instructions. */
const VECTOR = [0xfd];

/** A vector operation by its name in src/isa/vector-ops.ts. */
export function vectorOp(op: string, ...args: readonly Expr[]): Expr {
  const spec = VECTOR_OPS.get(op);
  if (!spec) throw new Error(`no vector operation ${op} in src/isa/vector-ops.ts`);
  const types = [...spec.params];
  const converted = args.map((a, i) => (types[i] === 'i' ? x.wrap(a) : types[i] === 'l' ? i64(a) : a));
  const type = spec.result === 'v' ? 'v128' : spec.result === 'i' ? 'i32' : 'i64';
  return x.indexed(type, VECTOR, spec.opcode, converted);
}

/** The vector operations too. */
export class VectorWasm extends PureWasm {
  vec(op: string, ...args: Expr[]): Expr {
    return vectorOp(op, ...args);
  }
  vk(n: bigint): Expr {
    return x.v128Const(n);
  }
  lane(w: Width, v: Expr, i: number): Expr {
    const op = { 8: 0x16, 16: 0x19, 32: 0x1b, 64: 0x1d }[w];
    return i64(x.inst(w === 64 ? 'i64' : 'i32', [0xfd, op, i], v));
  }
  withLane(w: Width, v: Expr, i: number, value: Expr): Expr {
    // A number whose bits are wanted goes into the lane as a number.
    if (w === 64 && value.code[0] === 0xbd) return x.inst('v128', [0xfd, 0x22, i], v, value.args[0]!);
    if (w === 32 && value.code[0] === 0xbc) return x.inst('v128', [0xfd, 0x20, i], v, value.args[0]!);
    const op = { 8: 0x17, 16: 0x1a, 32: 0x1c, 64: 0x1e }[w];
    return x.inst('v128', [0xfd, op, i], v, w === 64 ? i64(value) : x.wrap(value));
  }
  shuffle(a: Expr, b: Expr, bytes: readonly number[]): Expr {
    return x.inst('v128', [0xfd, 13, ...bytes], a, b);
  }
}
