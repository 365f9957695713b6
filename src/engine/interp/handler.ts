/** The code of one handler: a shape of instruction, carried out for the record that it is called with. */
import { CPU, REC } from '../../isa/layout.ts';
import type { Row } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { isConditionalBranch, type Shape } from '../shape.ts';
import { HandlerOps } from './backend.ts';
import { type Chain, goOn } from './chain.ts';
import { recordAt } from './record.ts';

type Expr = x.Expr;
const load32 = (a: Expr, o: number): Expr => x.load('i32', a, o);
const load16 = (a: Expr, o: number): Expr => x.load('i32_16u', a, o);

/** Classes for fp_check. */
const UNIT = { x87: 0, 'x87-nowait': 1, mmx: 2, sse: 3, avx: 4 } as const;
/** Field that tells whether a unit needs the check at all. */
const TRAP = { x87: 'fpu_trap', 'x87-nowait': 'fpu_trap', mmx: 'fpu_trap', sse: 'sse_trap', avx: 'avx_trap' } as const;

/** What every handler does before its row: is the unit it uses available? */
function checkUnit(f: FunctionBuilder, row: Row): void {
  if (!row.unit) return;
  const [cpu, rec] = [f.param(0), f.param(1)];
  f.unlikely(load32(cpu, CPU[TRAP[row.unit]]!), () => {
    f.if(f.call('fp_check', cpu, x.i32Const(UNIT[row.unit!])), () => f.returnCall('fault', cpu, rec));
  });
}
function next(f: FunctionBuilder, chain: Chain, row: Row, fallsThrough: boolean): void {
  if (row.ends && !fallsThrough) f.returnCall('retire_events', f.param(0), f.param(1));
  else goOn(f, chain, f.param(1));
}

/** Writes the handler of a shape; the record is the function's second parameter. */
export function writeHandler(f: FunctionBuilder, chain: Chain, shape: Shape): void {
  const s = new HandlerOps(f, shape, recordAt(f.param(1)), chain);
  checkUnit(f, shape.row);
  if (shape.rep !== 'none') {
    writeRepeat(f, chain, s, shape);
    return;
  }
  shape.row.exec(s);
  if (!s.left) next(f, chain, shape.row, isConditionalBranch(shape.row));
}

/** REP: the row's meaning is one iteration; it is repeated until rCX (and ZF) say stop (SDM vol.2 REP). */
function writeRepeat(f: FunctionBuilder, chain: Chain, s: HandlerOps, shape: Shape): void {
  const { row, asize } = shape;
  const [cpu, rec] = [f.param(0), f.param(1)];
  const again = (cost: Expr): void => {
    const left = f.let(x.sub(load32(cpu, CPU.budget!), cost));
    f.store('i32', cpu, CPU.budget!, left);
    f.if(x.compare('lt_s', x.sub(left, load16(rec, REC.COUNT)), x.i32Const(0)), () =>
      f.returnCall('yield_at', cpu, rec),
    );
    chain.to(rec);
  };
  f.if(x.eqz(s.reg(asize, 1)), () => next(f, chain, row, false));
  if (row.bulk) {
    const width = x.i32Const(s.width(0) || s.w);
    const done = f.let(f.call(row.bulk, cpu, width, x.i32Const(asize), load16(rec, REC.SEG)));
    f.if(x.wrap(done), () => again(x.wrap(done)));
  }
  row.exec(s);
  const left = f.let(s.zext(asize, s.sub(s.reg(asize, 1), s.k(1n))));
  s.setReg(asize, 1, left);
  const zf = (): Expr => x.compare(shape.rep === 'rep' ? 'eq' : 'ne', f.call('flag_zf', cpu), x.i32Const(0));
  const done = x.eqz(left);
  const stop = row.rep === 'zf' ? x.or(done, zf()) : done;
  f.if(stop, () => next(f, chain, row, false));
  again(x.i32Const(1));
}
