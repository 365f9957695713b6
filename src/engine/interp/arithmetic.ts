/** 128-bit arithmetic that WebAssembly lacks: high halves of products, and division of 128 by 64 bits. */
import * as x from '../../wasm/expr.ts';
import type { ModuleBuilder } from '../../wasm/module.ts';
import { PureWasm } from './pure.ts';

const LOW32 = 0xffff_ffffn;

/** mulhu64(a, b): bits 64-127 of the unsigned product, by 32-bit halves. */
function defineMulhu(m: ModuleBuilder): void {
  const f = m.define('mulhu64', { params: ['i64', 'i64'], results: ['i64'] });
  const s = new PureWasm(f);
  const low = (v: x.Expr): x.Expr => f.let(s.and(v, s.k(LOW32)));
  const high = (v: x.Expr): x.Expr => f.let(s.shr(v, s.k(32n)));
  const [a, b] = [f.param(0), f.param(1)];
  const [al, ah, bl, bh] = [low(a), high(a), low(b), high(b)];
  const cross = f.let(s.add(s.mul(ah, bl), s.shr(s.mul(al, bl), s.k(32n))));
  const middle = f.let(s.add(s.mul(al, bh), s.and(cross, s.k(LOW32))));
  f.return(s.add(s.add(s.mul(ah, bh), s.shr(cross, s.k(32n))), s.shr(middle, s.k(32n))));
  f.unreachable();
}

/** mulhs64(a, b): the signed product's high half, corrected from the unsigned one. */
function defineMulhs(m: ModuleBuilder): void {
  const f = m.define('mulhs64', { params: ['i64', 'i64'], results: ['i64'] });
  const s = new PureWasm(f);
  const [a, b] = [f.param(0), f.param(1)];
  const correction = s.add(s.and(s.sar(a, s.k(63n)), b), s.and(s.sar(b, s.k(63n)), a));
  f.return(s.sub(f.call('mulhu64', a, b), correction));
  f.unreachable();
}

/** udiv128(hi, lo, d) with hi < d: shift and subtract, one quotient bit a turn; a plain division when hi is 0. */
function defineDivision(m: ModuleBuilder): void {
  const f = m.define('udiv128', { params: ['i64', 'i64', 'i64'], results: ['i64'] });
  const s = new PureWasm(f);
  const d = f.param(2);
  f.if(x.eqz(f.param(0)), () => f.return(x.binary('div_u', f.param(1), d)));
  const hi = f.variable('i64');
  const lo = f.variable('i64');
  const n = f.variable('i32');
  f.setVariable(hi, f.param(0));
  f.setVariable(lo, f.param(1));
  f.setVariable(n, x.i32Const(64));
  f.loop((again) => {
    const carry = f.let(s.shr(f.get(hi), s.k(63n)));
    f.setVariable(hi, s.or(s.shl(f.get(hi), s.k(1n)), s.shr(f.get(lo), s.k(63n))));
    f.setVariable(lo, s.shl(f.get(lo), s.k(1n)));
    const fits = x.or(x.wrap(carry), x.compare('ge_u', f.get(hi), d));
    f.if(fits, () => {
      f.setVariable(hi, s.sub(f.get(hi), d));
      f.setVariable(lo, s.or(f.get(lo), s.k(1n)));
    });
    f.setVariable(n, x.sub(f.get(n), x.i32Const(1)));
    f.brIf(again, f.get(n));
  });
  f.return(f.get(lo));
  f.unreachable();
}

export function defineArithmetic(m: ModuleBuilder): void {
  defineMulhu(m);
  defineMulhs(m);
  defineDivision(m);
}
