/**
 * The interpreter as one WebAssembly module: a handler per shape of instruction, chained by tail calls, and the
 * functions between them (flags, jumps through the instruction TLB, faults).
 *
 * Accounting: `budget - COUNT(record)` is the number of instructions left when a record is reached; so a handler
 * that goes elsewhere takes COUNT + 1 off, and whoever enters a trace adds the COUNT of the record it enters.
 */
import { CC_OPS, ccRecipe, condition, recipeCondition, recipeFlag } from '../../isa/flags.ts';
import { HELPERS } from '../../isa/helpers.ts';
import { CPU, EFLAGS, ITLB, REC } from '../../isa/layout.ts';
import { FLAG_BIT, FLAGS, type Flag } from '../../isa/ops.ts';
import type { Row } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import { type FuncType, type FunctionBuilder, ModuleBuilder } from '../../wasm/module.ts';
import type { FusionIndex } from '../fusion.ts';
import { isConditionalBranch, type Shape, shapeKey, shapesOf } from '../shape.ts';
import { defineAgen } from './agen.ts';
import { defineArithmetic } from './arithmetic.ts';
import { countEntry, HANDLER, HandlerOps } from './backend.ts';
import { fusedPairs, writeFused } from './fused.ts';
import { codePageEntry, itlbEntry, itlbTag, withRecordAt } from './goto.ts';
import { PureWasm } from './pure.ts';
import { recordAt } from './record.ts';
import { EMPTY, FIRST_HANDLER, FIRST_REGION, SPECIAL, TABLE_SIZE } from './special.ts';

type Expr = x.Expr;
const load32 = (a: Expr, o: number): Expr => x.load('i32', a, o);
const load64 = (a: Expr, o: number): Expr => x.load('i64', a, o);
const load16 = (a: Expr, o: number): Expr => x.load('i32_16u', a, o);
const FLAG_FN: FuncType = { params: ['i32'], results: ['i32'] };
const CPU_FN: FuncType = { params: ['i32'], results: [] };
const WASM_TYPE = { i: 'i32', l: 'i64', v: 'v128' } as const;

/** Functions of the runtime that handlers call although no row names them. */
const RUNTIME: Readonly<Record<string, FuncType>> = {
  mem_read: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
  mem_write: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
  mem_rmw: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
  mem_commit: { params: ['i32'], results: [] },
  seg_check: { params: ['i32', 'i32', 'i32', 'i32', 'i32'], results: ['i32'] },
  raise: { params: ['i32', 'i32', 'i32'], results: ['i32'] },
  deliver_exception: { params: ['i32'], results: ['i32'] },
  straddle_holds: { params: ['i32', 'i32'], results: ['i32'] },
  fetch_record: { params: ['i32'], results: ['i32'] },
  fp_check: { params: ['i32', 'i32'], results: ['i32'] },
};
/** Exports: what the vCPU enters, and what translated code calls. */
export const INTERPRETER_FUNCTIONS: readonly string[] = [
  ...['enter', 'goto', 'goto_events', 'yield_at', 'explicit', 'mulhu64', 'mulhs64', 'udiv128'],
  ...FLAGS.map((f) => `flag_${f}`),
  ...Array.from({ length: 8 }, (_, i) => `cond_${2 * i}`),
];

/** Classes for fp_check. */
const UNIT = { x87: 0, 'x87-nowait': 1, mmx: 2, sse: 3, avx: 4 } as const;
/** Field that tells whether a unit needs the check at all. */
const TRAP = { x87: 'fpu_trap', 'x87-nowait': 'fpu_trap', mmx: 'fpu_trap', sse: 'sse_trap', avx: 'avx_trap' } as const;

export interface InterpreterModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Table index of the handler of each shape key. */
  readonly handlers: ReadonlyMap<number, number>;
  readonly fusion: FusionIndex;
}

function declareImports(m: ModuleBuilder): void {
  for (const [name, type] of Object.entries(RUNTIME)) m.importFunction('runtime', name, type);
  for (const h of HELPERS) {
    const params = ['i32' as const, ...[...h.params].map((p) => WASM_TYPE[p as 'i'])];
    const results = h.result === '' ? [] : [WASM_TYPE[h.result as 'i']];
    m.importFunction('runtime', h.name, { params, results });
  }
  m.importFunction('host', 'resolve', { params: ['i32'], results: ['i32'] });
  m.importFunction('host', 'hot', { params: ['i32', 'i32'], results: [] });
}

/** `flag_xf(cpu)` for the six flags: by a table over cc_op, each case worked out by its recipe. */
function defineFlag(m: ModuleBuilder, flag: Flag): void {
  const f = m.define(`flag_${flag}`, FLAG_FN);
  const s = new PureWasm(f);
  const cpu = f.param(0);
  const op = f.let(load32(cpu, CPU.cc_op!));
  const bit = (): Expr => x.wrap(s.and(s.shr(load64(cpu, CPU.cc_x!), s.k(BigInt(FLAG_BIT[flag]))), s.k(1n)));
  const r = f.let(load64(cpu, CPU.cc_r!));
  if (flag === 'zf' || flag === 'pf') {
    f.if(x.eqz(op), () => f.return(bit()));
    f.return(x.wrap(recipeFlag(s, flag, ccRecipe(1)!.recipe, 64, r, r, r)));
    f.unreachable();
    return;
  }
  const vx = f.let(load64(cpu, CPU.cc_x!));
  const vy = f.let(load64(cpu, CPU.cc_y!));
  dispatchOnOp(f, op, (code) => {
    const rec = ccRecipe(code);
    f.return(rec ? x.wrap(recipeFlag(s, flag, rec.recipe, rec.w, r, vx, vy)) : bit());
  });
}

/** Conditions that need more than one flag, or CF: worked out per recipe so that a compare costs one comparison. */
function defineCondition(m: ModuleBuilder, cc: number): void {
  const f = m.define(`cond_${cc}`, FLAG_FN);
  const s = new PureWasm(f);
  const cpu = f.param(0);
  const op = f.let(load32(cpu, CPU.cc_op!));
  const r = f.let(load64(cpu, CPU.cc_r!));
  const vx = f.let(load64(cpu, CPU.cc_x!));
  const vy = f.let(load64(cpu, CPU.cc_y!));
  dispatchOnOp(f, op, (code) => {
    const rec = ccRecipe(code);
    const explicit = (n: Flag): Expr => s.and(s.shr(vx, s.k(BigInt(FLAG_BIT[n]))), s.k(1n));
    f.return(x.wrap(rec ? recipeCondition(s, rec.recipe, rec.w, r, vx, vy, cc) : condition(s, explicit, cc)));
  });
}

function dispatchOnOp(f: FunctionBuilder, op: Expr, each: (code: number) => void): void {
  const nest = (code: number, labels: number[]): void => {
    if (code === CC_OPS) {
      f.block((bad) => f.brTable(labels, bad, op));
      f.unreachable();
      return;
    }
    f.block((label) => nest(code + 1, [...labels, label]));
    each(code);
  };
  nest(0, []);
  f.unreachable();
}

/** `explicit(cpu)`: turns lazy flags into EFLAGS bits in cc_x, all by the one recipe. */
function defineExplicit(m: ModuleBuilder): void {
  const f = m.define('explicit', CPU_FN);
  const s = new PureWasm(f);
  const cpu = f.param(0);
  const op = f.let(load32(cpu, CPU.cc_op!));
  f.if(x.eqz(op), () => f.return());
  const r = f.let(load64(cpu, CPU.cc_r!));
  const vx = f.let(load64(cpu, CPU.cc_x!));
  const vy = f.let(load64(cpu, CPU.cc_y!));
  f.store('i32', cpu, CPU.cc_op!, x.i32Const(0));
  dispatchOnOp(f, op, (code) => {
    const rec = ccRecipe(code);
    if (!rec) {
      f.return();
      return;
    }
    const bits = FLAGS.map((n) => s.shl(recipeFlag(s, n, rec.recipe, rec.w, r, vx, vy), s.k(BigInt(FLAG_BIT[n]))));
    f.store(
      'i64',
      cpu,
      CPU.cc_x!,
      bits.reduce((a, b) => s.or(a, b)),
    );
    f.return();
  });
}

/** budget -= COUNT(rec) + retired. */
function account(f: FunctionBuilder, cpu: Expr, rec: Expr, retired: number): Expr {
  const left = f.let(x.sub(x.sub(load32(cpu, CPU.budget!), load16(rec, REC.COUNT)), x.i32Const(retired)));
  f.store('i32', cpu, CPU.budget!, left);
  return left;
}
/** rip = page_base + offset of the record (+ its length). */
function storeRip(f: FunctionBuilder, cpu: Expr, rec: Expr, after: boolean): void {
  const length = after ? x.load('i32_8u', rec, REC.LEN) : x.i32Const(0);
  const rip = x.add(load64(cpu, CPU.page_base!), x.extendU(x.add(load16(rec, REC.OFFSET), length)));
  f.store('i64', cpu, CPU.rip!, x.and(rip, load64(cpu, CPU.code_mask!)));
}
/** Enters a trace at record `t`, counting how often that happens. */
function enter(f: FunctionBuilder, cpu: Expr, t: Expr): void {
  countEntry(f, cpu, t);
  f.store('i32', cpu, CPU.budget!, x.add(load32(cpu, CPU.budget!), load16(t, REC.COUNT)));
  f.returnCallIndirect(HANDLER, load32(t, REC.HANDLER), cpu, t);
}

/** `goto(cpu, rip)`: through the instruction TLB to the record at rip, or to the host to make one. */
function defineGoto(m: ModuleBuilder): void {
  const f = m.define('goto', { params: ['i32', 'i64'], results: [] });
  const [cpu, rip] = [f.param(0), f.param(1)];
  f.if(x.compare('lt_s', load32(cpu, CPU.budget!), x.i32Const(0)), () => {
    f.store('i64', cpu, CPU.rip!, rip);
    f.return();
  });
  withRecordAt(f, cpu, rip, (t) => enter(f, cpu, t));
  f.store('i64', cpu, CPU.rip!, rip);
  const made = f.variable('i32');
  f.setVariable(made, f.call('fetch_record', cpu));
  f.if(x.eqz(f.get(made)), () => {
    f.setVariable(made, f.call('resolve', cpu));
    f.if(x.eqz(f.get(made)), () => f.return());
  });
  const found = f.let(f.get(made));
  const offset = x.extendU(load16(found, REC.OFFSET));
  f.store('i64', cpu, CPU.page_base!, x.sub(load64(cpu, CPU.rip!), offset));
  enter(f, cpu, found);
}
/** `branch_slow(cpu, rec, target)`: a taken branch whose link is not known; learns it when the target is in this page. */
function defineBranchSlow(m: ModuleBuilder, name: string, retired: number): void {
  const f = m.define(name, { params: ['i32', 'i32', 'i64'], results: [] });
  const [cpu, rec, target] = [f.param(0), f.param(1), f.param(2)];
  const left = account(f, cpu, rec, retired);
  const within = f.let(load32(rec, REC.DISP));
  // With a 16-bit operand a branch may be cut to another page than its distance says.
  const whole = x.compare('eq', target, x.add(load64(cpu, CPU.page_base!), x.extendU(within)));
  const isNear = x.and(x.compare('lt_u', within, x.i32Const(4096)), whole);
  f.if(x.and(isNear, x.compare('ge_s', left, x.i32Const(0))), () => {
    const start = x.add(load64(cpu, CPU.page_base!), load64(cpu, CPU.code_base!));
    const linear = f.let(x.and(start, load64(cpu, CPU.code_mask!)));
    const entry = f.let(itlbEntry(cpu, linear));
    f.if(x.compare('eq', load64(entry, ITLB.OFFSET + ITLB.TAG), itlbTag(cpu, linear)), () => {
      const t = f.let(codePageEntry(load32(entry, ITLB.OFFSET + ITLB.PAGE), within));
      f.if(t, () => {
        f.store('i32', rec, REC.LINK, t);
        enter(f, cpu, t);
      });
    });
  });
  f.returnCall('goto', cpu, target);
}

/** `goto_events(cpu)`: to the field rip, unless something asks for attention first. */
function defineEvents(m: ModuleBuilder): void {
  const slow = m.define('events', CPU_FN);
  {
    const cpu = slow.param(0);
    const now = (['halted', 'exit_reason', 'stop', 'nmi_pending'] as const).map((n) => load32(cpu, CPU[n]!));
    slow.if(
      now.reduce((a, b) => x.or(a, b)),
      () => slow.return(),
    );
    slow.if(load32(cpu, CPU.shadow!), () => {
      // Also when the slice ends here: an interrupt that comes before the next one must still see the shadow.
      const spent = x.compare('lt_s', load32(cpu, CPU.budget!), x.i32Const(0));
      slow.if(x.or(load32(cpu, CPU.irq_pending!), spent), () => slow.return());
      slow.store('i32', cpu, CPU.shadow!, x.i32Const(0));
    });
    const open = x.and(load32(cpu, CPU.eflags!), x.i32Const(EFLAGS.IF));
    slow.if(load32(cpu, CPU.irq_pending!), () => slow.if(open, () => slow.return()));
    slow.returnCall('goto', cpu, load64(cpu, CPU.rip!));
  }
  const f = m.define('goto_events', CPU_FN);
  const cpu = f.param(0);
  const any = (['irq_pending', 'halted', 'exit_reason', 'stop', 'nmi_pending', 'shadow'] as const).map((n) =>
    load32(cpu, CPU[n]!),
  );
  f.if(
    any.reduce((a, b) => x.or(a, b)),
    () => f.returnCall('events', cpu),
  );
  f.returnCall('goto', cpu, load64(cpu, CPU.rip!));
}

/** Joints that handlers and special records leave through. */
function defineJoints(m: ModuleBuilder): void {
  const transferred = m.define('transferred', HANDLER);
  account(transferred, transferred.param(0), transferred.param(1), 1);
  transferred.returnCall('goto_events', transferred.param(0));

  const events = m.define('retire_events', HANDLER);
  storeRip(events, events.param(0), events.param(1), true);
  account(events, events.param(0), events.param(1), 1);
  events.returnCall('goto_events', events.param(0));

  const jump = m.define('retire_goto', { params: ['i32', 'i32', 'i64'], results: [] });
  account(jump, jump.param(0), jump.param(1), 1);
  jump.returnCall('goto', jump.param(0), jump.param(2));

  const yieldAt = m.define('yield_at', HANDLER);
  storeRip(yieldAt, yieldAt.param(0), yieldAt.param(1), false);
  account(yieldAt, yieldAt.param(0), yieldAt.param(1), 0);

  const fault = m.define('fault', HANDLER);
  storeRip(fault, fault.param(0), fault.param(1), false);
  account(fault, fault.param(0), fault.param(1), 1);
  fault.run(fault.call('explicit', fault.param(0)));
  fault.if(fault.call('deliver_exception', fault.param(0)), () => fault.return());
  fault.returnCall('goto_events', fault.param(0));

  const start = m.define('enter', CPU_FN);
  start.returnCall('goto', start.param(0), load64(start.param(0), CPU.rip!));
  for (const name of INTERPRETER_FUNCTIONS) m.export(name);
}

function defineSpecials(m: ModuleBuilder): void {
  m.define(EMPTY, HANDLER).unreachable();
  m.export(EMPTY);

  const resync = m.define('resync', HANDLER);
  storeRip(resync, resync.param(0), resync.param(1), false);
  account(resync, resync.param(0), resync.param(1), 0);
  resync.returnCall('goto_events', resync.param(0));

  const join = m.define('join', HANDLER);
  {
    const [cpu, rec] = [join.param(0), join.param(1)];
    const link = join.let(load32(rec, REC.LINK));
    join.if(link, () => {
      countEntry(join, cpu, link);
      const left = join.let(x.sub(load32(cpu, CPU.budget!), load16(rec, REC.COUNT)));
      join.store('i32', cpu, CPU.budget!, x.add(left, load16(link, REC.COUNT)));
      join.if(x.compare('lt_s', left, x.i32Const(0)), () => join.returnCall('yield_at', cpu, link));
      join.returnCallIndirect(HANDLER, load32(link, REC.HANDLER), cpu, link);
    });
    const target = x.add(load64(cpu, CPU.page_base!), x.load('i64_32s', rec, REC.DISP));
    join.returnCall('join_slow', cpu, rec, x.and(target, load64(cpu, CPU.code_mask!)));
  }
  const guard = m.define('guard', HANDLER);
  {
    const [cpu, rec] = [guard.param(0), guard.param(1)];
    guard.if(x.eqz(guard.call('straddle_holds', cpu, rec)), () => guard.returnCall('resync', cpu, rec));
    const next = guard.let(x.add(rec, x.i32Const(2 * REC.SIZE)));
    guard.returnCallIndirect(HANDLER, load32(next, REC.HANDLER), cpu, next);
  }
  const alone = m.define('alone', HANDLER);
  storeRip(alone, alone.param(0), alone.param(1), false);
  account(alone, alone.param(0), alone.param(1), 0);

  const invalid = m.define('invalid', HANDLER);
  {
    const [cpu, rec] = [invalid.param(0), invalid.param(1)];
    invalid.run(invalid.call('raise', cpu, load16(rec, REC.A), x.i32Const(0)), true);
    invalid.returnCall('fault', cpu, rec);
  }
  defineAgen(m);
}

/** What every handler does before its row: is the unit it uses available? */
function checkUnit(f: FunctionBuilder, row: Row): void {
  if (!row.unit) return;
  const [cpu, rec] = [f.param(0), f.param(1)];
  f.if(load32(cpu, CPU[TRAP[row.unit]]!), () => {
    f.if(f.call('fp_check', cpu, x.i32Const(UNIT[row.unit!])), () => f.returnCall('fault', cpu, rec));
  });
}
function next(f: FunctionBuilder, row: Row, fallsThrough: boolean): void {
  const [cpu, rec] = [f.param(0), f.param(1)];
  if (row.ends && !fallsThrough) {
    f.returnCall('retire_events', cpu, rec);
    return;
  }
  goOn(f, rec);
}
/** To the record behind one. */
function goOn(f: FunctionBuilder, rec: Expr): void {
  const after = f.let(x.add(rec, x.i32Const(REC.SIZE)));
  f.returnCallIndirect(HANDLER, load32(after, REC.HANDLER), f.param(0), after);
}

function defineHandler(m: ModuleBuilder, name: string, shape: Shape): FunctionBuilder {
  const f = m.define(name, HANDLER);
  const s = new HandlerOps(f, shape, recordAt(f.param(1)));
  checkUnit(f, shape.row);
  if (shape.rep !== 'none') {
    defineRepeat(f, s, shape);
    return f;
  }
  shape.row.exec(s);
  if (!s.left) next(f, shape.row, isConditionalBranch(shape.row));
  return f;
}

/** REP: the row's meaning is one iteration; it is repeated until rCX (and ZF) say stop (SDM vol.2 REP). */
function defineRepeat(f: FunctionBuilder, s: HandlerOps, shape: Shape): void {
  const { row, asize } = shape;
  const [cpu, rec] = [f.param(0), f.param(1)];
  const again = (cost: Expr): void => {
    const left = f.let(x.sub(load32(cpu, CPU.budget!), cost));
    f.store('i32', cpu, CPU.budget!, left);
    f.if(x.compare('lt_s', x.sub(left, load16(rec, REC.COUNT)), x.i32Const(0)), () =>
      f.returnCall('yield_at', cpu, rec),
    );
    f.returnCallIndirect(HANDLER, load32(rec, REC.HANDLER), cpu, rec);
  };
  f.if(x.eqz(s.reg(asize, 1)), () => next(f, row, false));
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
  f.if(stop, () => next(f, row, false));
  again(x.i32Const(1));
}

const nameOf = ({ row, rowId, w, env, ea, asize, rep }: Shape): string =>
  `${row.name}_${rowId}_${w}_${env}_${ea}_${asize}_${rep}`;

/** Adds the handlers of pairs of instructions to `names`. */
function defineFused(
  m: ModuleBuilder,
  shapes: readonly Shape[],
  handlers: ReadonlyMap<number, number>,
  names: string[],
): FusionIndex {
  const placeOf = (shape: Shape): number => handlers.get(shapeKey(shape))!;
  const once = (list: Shape[]): Shape[] => [...new Map(list.map((shape) => [placeOf(shape), shape])).values()];
  const known = new Set<string>();
  return fusedPairs(shapes, once).flatMap(([first, second]) => {
    const [p, q] = [placeOf(first), placeOf(second)];
    if (known.has(`${p} ${q}`)) return [];
    known.add(`${p} ${q}`);
    const f = m.define(`${nameOf(first)}+${nameOf(second)}`, HANDLER);
    goOn(f, writeFused(f, first, second));
    return [p, q, FIRST_HANDLER + names.push(f.name) - 1];
  });
}

/** Builds the interpreter for all rows. `maximumPages` and `shared` describe the memory it will be given. */
export function buildInterpreter(
  rows: readonly Row[],
  memory: { maximumPages: number; shared: boolean },
): InterpreterModule {
  const m = new ModuleBuilder();
  declareImports(m);
  for (const flag of FLAGS) defineFlag(m, flag);
  for (let cc = 0; cc < 16; cc += 2) defineCondition(m, cc);
  defineExplicit(m);
  defineArithmetic(m);
  defineGoto(m);
  defineEvents(m);
  defineBranchSlow(m, 'branch_slow', 1);
  defineBranchSlow(m, 'join_slow', 0);
  defineJoints(m);
  defineSpecials(m);

  const handlers = new Map<number, number>();
  const names: string[] = [];
  const byBody = new Map<string, number>();
  const shapes = rows.flatMap((row, rowId) => shapesOf(row, rowId));
  for (const shape of shapes) {
    const name = nameOf(shape);
    const body = defineHandler(m, name, shape).body().join();
    const known = byBody.get(body);
    if (known !== undefined) m.dropLast();
    else names.push(name);
    const index = known ?? FIRST_HANDLER + names.length - 1;
    byBody.set(body, index);
    handlers.set(shapeKey(shape), index);
  }
  const fusion = defineFused(m, shapes, handlers, names);
  for (const [name, index] of Object.entries(SPECIAL)) m.element(x.i32Const(index), [name]);
  m.element(x.i32Const(FIRST_HANDLER), names);
  const table = { type: HANDLER, size: TABLE_SIZE, filledWith: EMPTY };
  if (FIRST_HANDLER + names.length > FIRST_REGION) throw new RangeError('more handlers than places in the table');
  return { bytes: m.build({ ...memory, table }), handlers, fusion };
}
