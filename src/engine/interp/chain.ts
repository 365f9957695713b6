/**
 * From record to record: how a handler hands over to the next one, and the accounting on the way.
 *
 * `budget - COUNT(record)` is the number of instructions left when a record is reached; so a handler that goes
 * elsewhere takes COUNT + 1 off, and whoever enters a trace adds the COUNT of the record it enters.
 */
import { CPU, REC } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FuncType, FunctionBuilder } from '../../wasm/module.ts';
import { FIRST_REGION } from './special.ts';

type Expr = x.Expr;
const load32 = (a: Expr, o: number): Expr => x.load('i32', a, o);
const load16 = (a: Expr, o: number): Expr => x.load('i32_16u', a, o);

/** Type of a handler: the vCPU's state, the record. */
export const HANDLER: FuncType = { params: ['i32', 'i32'], results: [] };

/**
 * The handler of the record behind the current one, looked up when this one began: the host waits for less when it has
 * to find out where the next one is. What is called may drop the page, so it is looked up `again` behind a call.
 */
export interface Ahead {
  readonly handler: Expr;
  again(): void;
}

/** How the function being written hands over. */
export interface Chain {
  readonly ahead?: Ahead | undefined;
  /** Goes on with a record, of which `handler` is the handler if that has been looked at. */
  to(rec: Expr, handler?: Expr): void;
  /** The instruction of record `rec` is done and control goes to a rip, cut to its width. */
  jump(rec: Expr, rip: Expr): void;
}

export const handlerOf = (rec: Expr): Expr => load16(rec, REC.HANDLER);
/** The interpreter's own handler of a record that a region stands in for. */
export const ownHandlerOf = (rec: Expr): Expr => load16(rec, REC.HEAT);

/** A function of its own for a handler: by tail calls. */
export const tailCalls = (f: FunctionBuilder): Chain => ({
  to: (rec, handler = handlerOf(rec)) => f.returnCallIndirect(HANDLER, handler, f.param(0), rec),
  jump: (rec, rip) => f.returnCall('retire_goto', f.param(0), rec, rip),
});

/** To the record behind one, which is the current one if the chain looks ahead. */
export const goOn = (f: FunctionBuilder, chain: Chain, rec: Expr): void =>
  chain.to(f.let(x.add(rec, x.i32Const(REC.SIZE))), chain.ahead?.handler);

/**
 * Counts a jump to record `t` unless that is a region's; the host hears of it when the counter has run down, and whether
 * it is a region that was left there because of two pages.
 */
export function countEntry(f: FunctionBuilder, t: Expr, handler: Expr, crossed = false): void {
  f.if(x.compare('lt_u', handler, x.i32Const(FIRST_REGION)), () => {
    const left = f.let(x.sub(load16(t, REC.HEAT), x.i32Const(1)));
    f.store('i32_16', t, REC.HEAT, left);
    f.unlikely(x.eqz(left), () => f.run(f.call('hot', f.param(0), t, x.i32Const(crossed ? 1 : 0))));
  });
}
/** budget -= COUNT(rec) + retired. @returns what is left */
export function account(f: FunctionBuilder, cpu: Expr, rec: Expr, retired: number): Expr {
  const left = f.let(x.sub(x.sub(load32(cpu, CPU.budget!), load16(rec, REC.COUNT)), x.i32Const(retired)));
  f.store('i32', cpu, CPU.budget!, left);
  return left;
}
/** Enters a trace at record `t`, counting how often that happens. */
export function enter(f: FunctionBuilder, chain: Chain, t: Expr, handler: Expr): void {
  const cpu = f.param(0);
  countEntry(f, t, handler);
  f.store('i32', cpu, CPU.budget!, x.add(load32(cpu, CPU.budget!), load16(t, REC.COUNT)));
  chain.to(t, handler);
}
/**
 * From record `rec`, of which `retired` instructions are done (0 or 1), to record `link` of the same page, unless the
 * budget is used up.
 */
export function follow(f: FunctionBuilder, chain: Chain, rec: Expr, link: Expr, retired: number): void {
  const cpu = f.param(0);
  const handler = f.let(handlerOf(link));
  countEntry(f, link, handler);
  const left = f.let(x.sub(x.sub(load32(cpu, CPU.budget!), load16(rec, REC.COUNT)), x.i32Const(retired)));
  f.store('i32', cpu, CPU.budget!, x.add(left, load16(link, REC.COUNT)));
  f.unlikely(x.compare('lt_s', left, x.i32Const(0)), () => f.returnCall('yield_at', cpu, link));
  chain.to(link, handler);
}
