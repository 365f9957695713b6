/**
 * The interpreter as one WebAssembly module: a handler per shape of instruction, chained by tail calls, and the
 * functions between them (flags, jumps through the instruction TLB, faults).
 */
import { CC_OPS, ccRecipe, condition, recipeCondition, recipeFlag } from '../../isa/flags.ts';
import { HELPERS } from '../../isa/helpers.ts';
import { CPU, EFLAGS, ITLB, REC } from '../../isa/layout.ts';
import { FLAG_BIT, FLAGS, type Flag } from '../../isa/ops.ts';
import type { Row } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import { type FuncType, type FunctionBuilder, ModuleBuilder } from '../../wasm/module.ts';
import type { FusionIndex } from '../fusion.ts';
import { type Shape, shapeKey, shapeName, shapesOf } from '../shape.ts';
import { AGEN_KINDS, defineAgenFault, writeAgen } from './agen.ts';
import { defineArithmetic } from './arithmetic.ts';
import {
  account,
  type Chain,
  countEntry,
  enter,
  follow,
  HANDLER,
  handlerOf,
  ownHandlerOf,
  tailCalls,
} from './chain.ts';
import { COMMON_HANDLERS } from './common.ts';
import { defineCore, type Writer } from './core.ts';
import { fusedPairs, writeFused } from './fused.ts';
import { codePageEntry, enterKnown, itlbEntry, itlbTag, withEntryAt } from './goto.ts';
import { writeHandler } from './handler.ts';
import { PureWasm } from './pure.ts';
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
  note_jumps: { params: ['i32', 'i64', 'i32'], results: ['i32'] },
  fp_check: { params: ['i32', 'i32'], results: ['i32'] },
};
/** Exports: what the vCPU enters, and what translated code calls. */
export const INTERPRETER_FUNCTIONS: readonly string[] = [
  ...['enter', 'goto', 'goto_events', 'yield_at', 'explicit', 'mulhu64', 'mulhs64', 'udiv128'],
  ...FLAGS.map((f) => `flag_${f}`),
  ...Array.from({ length: 8 }, (_, i) => `cond_${2 * i}`),
];

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
  m.importFunction('host', 'hot', { params: ['i32', 'i32', 'i32'], results: [] });
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

/** rip = page_base + offset of the record (+ its length). */
function storeRip(f: FunctionBuilder, cpu: Expr, rec: Expr, after: boolean): void {
  const length = after ? x.load('i32_8u', rec, REC.LEN) : x.i32Const(0);
  const rip = x.add(load64(cpu, CPU.page_base!), x.extendU(x.add(load16(rec, REC.OFFSET), length)));
  f.store('i64', cpu, CPU.rip!, x.and(rip, load64(cpu, CPU.code_mask!)));
}
/** `goto(cpu, rip)`: by known jumps or through the instruction TLB to the record at rip, or to the host to make one. */
function defineGoto(m: ModuleBuilder): void {
  const f = m.define('goto', { params: ['i32', 'i64'], results: [] });
  const [cpu, rip] = [f.param(0), f.param(1)];
  f.if(x.compare('lt_s', load32(cpu, CPU.budget!), x.i32Const(0)), () => {
    f.store('i64', cpu, CPU.rip!, rip);
    f.return();
  });
  enterKnown(f, tailCalls(f), cpu, rip);
  withEntryAt(f, cpu, rip, (t, handler) => enter(f, tailCalls(f), t, handler));
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
  enter(f, tailCalls(f), found, f.let(handlerOf(found)));
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
        enter(f, tailCalls(f), t, f.let(handlerOf(t)));
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

/** To the record or rip that follows a trace. */
function writeJoin(f: FunctionBuilder, chain: Chain): void {
  const [cpu, rec] = [f.param(0), f.param(1)];
  const link = f.let(load32(rec, REC.LINK));
  f.if(link, () => follow(f, chain, rec, link, 0));
  const target = x.add(load64(cpu, CPU.page_base!), x.load('i64_32s', rec, REC.DISP));
  f.returnCall('join_slow', cpu, rec, x.and(target, load64(cpu, CPU.code_mask!)));
}

function defineSpecials(m: ModuleBuilder): void {
  m.define(EMPTY, HANDLER).unreachable();
  m.export(EMPTY);

  const resync = m.define('resync', HANDLER);
  storeRip(resync, resync.param(0), resync.param(1), false);
  account(resync, resync.param(0), resync.param(1), 0);
  resync.returnCall('goto_events', resync.param(0));

  const guard = m.define('guard', HANDLER);
  {
    const [cpu, rec] = [guard.param(0), guard.param(1)];
    guard.if(x.eqz(guard.call('straddle_holds', cpu, rec)), () => guard.returnCall('resync', cpu, rec));
    tailCalls(guard).to(guard.let(x.add(rec, x.i32Const(2 * REC.SIZE))));
  }
  const crossed = m.define('crossed', HANDLER);
  {
    const [cpu, rec] = [crossed.param(0), crossed.param(1)];
    const handler = crossed.let(handlerOf(rec));
    // Of the page looked for and the first byte's address: they differ only below the page if that page was there.
    const apart = x.and(x.load('i64', cpu, CPU.scratch!), x.i64Const(-4096n));
    const isCrossing = crossed.let(x.compare('eq', apart, x.i64Const(0n)));
    crossed.if(isCrossing, () => countEntry(crossed, rec, handler, true));
    // The region that begins here would leave at once again.
    const own = crossed.let(ownHandlerOf(rec));
    const isEntry = x.compare('ge_u', handler, x.i32Const(FIRST_REGION));
    crossed.if(isEntry, () => {
      crossed.if(isCrossing, () => crossed.run(crossed.call('hot', cpu, rec, x.i32Const(1))));
      crossed.returnCallIndirect(HANDLER, own, cpu, rec);
    });
    crossed.returnCallIndirect(HANDLER, handler, cpu, rec);
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
  defineAgenFault(m);
}

/** Handlers in the order of their places in the table. */
class Handlers {
  /** Names of the functions from FIRST_HANDLER on. */
  readonly names: string[] = COMMON_HANDLERS.map(() => CORE);
  /** Cases of the function of the commonest handlers, by place. */
  readonly cases = new Map<number, Writer>();
  private readonly m: ModuleBuilder;
  private readonly common = new Map(COMMON_HANDLERS.map((name, i) => [name, FIRST_HANDLER + i]));
  /** Places by what the handlers' functions consist of. */
  private readonly byBody = new Map<string, number>();

  constructor(m: ModuleBuilder) {
    this.m = m;
  }
  /** Adds a handler, unless there is one with the same code. @returns its place */
  add(name: string, write: Writer): number {
    const f = this.m.define(name, HANDLER);
    write(f, tailCalls(f));
    const body = f.body().join();
    const known = this.byBody.get(body);
    const common = known === undefined ? this.common.get(name) : undefined;
    const place = known ?? common ?? FIRST_HANDLER + this.names.length;
    if (known !== undefined || common !== undefined) this.m.dropLast();
    else this.names.push(name);
    if (common !== undefined) this.cases.set(common, write);
    this.byBody.set(body, place);
    return place;
  }
  /** Defines the function of the commonest. */
  defineCommon(): void {
    const missing = [...this.common].find(([, place]) => !this.cases.has(place));
    if (missing) throw new Error(`common.ts: no handler of its own is called "${missing[0]}"`);
    const specials = [...COMMON_SPECIALS].map(([name, write]): [number, Writer] => [SPECIAL[name], write]);
    const places = [...this.cases].sort(([a], [b]) => a - b);
    defineCore(this.m, CORE, new Map([...specials, ...places]));
  }
}
/** The function of the commonest handlers. */
const CORE = 'core';
/** Those of them that are no instructions. */
const COMMON_SPECIALS: ReadonlyMap<keyof typeof SPECIAL, Writer> = new Map<keyof typeof SPECIAL, Writer>([
  ['join', writeJoin],
  ...[...AGEN_KINDS].map(([name, kind]) => [name, (f, chain) => writeAgen(f, chain, kind)] as [typeof name, Writer]),
]);

/** Adds the handlers of pairs of instructions. */
function addFused(handlers: Handlers, shapes: readonly Shape[], places: ReadonlyMap<number, number>): FusionIndex {
  const placeOf = (shape: Shape): number => places.get(shapeKey(shape))!;
  const once = (list: Shape[]): Shape[] => [...new Map(list.map((shape) => [placeOf(shape), shape])).values()];
  const known = new Set<string>();
  return fusedPairs(shapes, once).flatMap(([first, second]) => {
    const [p, q] = [placeOf(first), placeOf(second)];
    if (known.has(`${p} ${q}`)) return [];
    known.add(`${p} ${q}`);
    const name = `${shapeName(first)} + ${second.row.name}`;
    return [p, q, handlers.add(name, (f, chain) => writeFused(f, chain, first, second))];
  });
}

/** Builds the interpreter for all rows. `maximumPages` and `shared` describe the memory it will be given. */
export function buildInterpreter(
  rows: readonly Row[],
  memory: { maximumPages: number; shared: boolean },
): InterpreterModule {
  const m = new ModuleBuilder();
  declareImports(m);
  defineArithmetic(m);
  for (const flag of FLAGS) defineFlag(m, flag);
  for (let cc = 0; cc < 16; cc += 2) defineCondition(m, cc);
  defineExplicit(m);
  defineGoto(m);
  defineEvents(m);
  defineBranchSlow(m, 'branch_slow', 1);
  defineBranchSlow(m, 'join_slow', 0);
  defineJoints(m);
  defineSpecials(m);

  const handlers = new Handlers(m);
  const shapes = rows.flatMap((row, rowId) => shapesOf(row, rowId));
  const places = new Map(
    shapes.map((shape) => [
      shapeKey(shape),
      handlers.add(shapeName(shape), (f, chain) => writeHandler(f, chain, shape)),
    ]),
  );
  const fusion = addFused(handlers, shapes, places);
  handlers.defineCommon();
  const { names } = handlers;
  for (const [name, index] of Object.entries(SPECIAL)) {
    m.element(x.i32Const(index), [COMMON_SPECIALS.has(name as keyof typeof SPECIAL) ? CORE : name]);
  }
  m.element(x.i32Const(FIRST_HANDLER), names);
  const table = { type: HANDLER, size: TABLE_SIZE, filledWith: EMPTY };
  if (FIRST_HANDLER + names.length > FIRST_REGION) throw new RangeError('more handlers than places in the table');
  return { bytes: m.build({ ...memory, table }), handlers: places, fusion };
}
