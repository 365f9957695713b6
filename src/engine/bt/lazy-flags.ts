/**
 * The arithmetic flags of a region: a recipe as long as it is known, worked out where a flag is read; put into locals
 * where paths come together or the region is left.
 */
import { ccOp, ccRecipe, condition, FLAG_RECIPES, recipeCondition, recipeFlag } from '../../isa/flags.ts';
import { CPU } from '../../isa/layout.ts';
import { FLAG_BIT, FLAGS, type Flag, type Width } from '../../isa/ops.ts';
import * as x from '../../wasm/expr.ts';
import type { MemoryKnowledge } from './hosts.ts';
import { RegionMemory } from './memory.ts';
import type { CarriedRegisters } from './registers.ts';

type Expr = x.Expr;
const i64 = x.extendU;

/** What is known at translation time about the arithmetic flags. */
type FlagState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'recipe'; readonly op: number; readonly r: Expr; readonly x: Expr; readonly y: Expr }
  /** At a loop's head: by this recipe if the variable `again` is not 0, else as for `unknown`. */
  | {
      readonly kind: 'again';
      readonly again: number;
      readonly op: number;
      readonly r: Expr;
      readonly x: Expr;
      readonly y: Expr;
    }
  | { readonly kind: 'bits'; readonly bits: Expr };

/** What is known at a point of the code and holds only on the path to it. */
export interface Knowledge extends MemoryKnowledge {
  readonly flags: FlagState;
}

/** CMP, or TEST, of a register with another (its number) or a constant, cut to `w` bits. */
export interface Comparison {
  readonly test: boolean;
  readonly w: 32 | 64;
  readonly x: number;
  readonly y: number | bigint;
}

const comparisonOp = (c: Comparison): number => ccOp(c.test ? 'logic' : 'sub', c.w);

/** Variables that hold flags as the state does: cc_op, cc_r, cc_x and cc_y. */
interface FlagVars {
  readonly op: number;
  readonly r: number;
  readonly x: number;
  readonly y: number;
}

export abstract class RegionFlags extends RegionMemory {
  protected flagState: FlagState = { kind: 'unknown' };
  private turnFlags: FlagState = { kind: 'unknown' };
  private goBack: (page?: number) => void = () => {};
  /** Variables of the flags where paths come together; of those with which the region is left. */
  private cc: FlagVars | undefined;
  private leaving: FlagVars | undefined;

  get knowledge(): Knowledge {
    const { gprs, lanes } = this.registerKnowledge();
    return { gprs, lanes, hosts: this.hostKnowledge(), flags: this.flagState };
  }
  set knowledge(k: Knowledge) {
    this.returnToRegisters(k);
    this.returnToHosts(k.hosts);
    this.flagState = k.flags;
  }
  /** Paths come together here: registers are in their locals, flags in theirs. */
  override forget(): void {
    super.forget();
    this.flagState = { kind: 'unknown' };
  }
  override keepKnown(): void {
    super.keepKnown();
    this.keepFlags(this.flagState);
    this.keepFlags(this.turnFlags);
  }
  private keepFlags(s: FlagState): void {
    const { f } = this;
    if (s.kind === 'bits') f.keep(s.bits);
    else if (s.kind !== 'unknown') {
      f.keep(s.r);
      f.keep(s.x);
      f.keep(s.y);
    }
  }
  override prologue(): void {
    const { f, cpu, cc } = this;
    super.prologue();
    if (!cc) return;
    f.setVariable(cc.op, x.load('i32', cpu, CPU.cc_op!));
    f.setVariable(cc.r, x.load('i64', cpu, CPU.cc_r!));
    f.setVariable(cc.x, x.load('i64', cpu, CPU.cc_x!));
    f.setVariable(cc.y, x.load('i64', cpu, CPU.cc_y!));
  }
  override epilogue(): void {
    super.epilogue();
    if (this.leaving) this.storeFlags(this.leaving);
  }
  private newFlagVars(): FlagVars {
    const { f } = this;
    return { op: f.variable('i32'), r: f.variable('i64'), x: f.variable('i64'), y: f.variable('i64') };
  }
  private ccVars(): FlagVars {
    this.cc ??= this.newFlagVars();
    return this.cc;
  }
  /**
   * Before the region is left: puts what is known into its place. The flags have variables of their own for that: those
   * of the places where paths come together would be carried round each loop that can be left.
   */
  settleToLeave(): void {
    this.settle(this.inState);
    if (this.inState) return;
    const { f, flagState } = this;
    this.leaving ??= this.newFlagVars();
    const { leaving } = this;
    const keep = (): void => {
      const cc = this.ccVars();
      for (const v of ['op', 'r', 'x', 'y'] as const) f.setVariable(leaving[v], f.get(cc[v]));
    };
    if (flagState.kind === 'unknown') keep();
    else if (flagState.kind === 'again') f.if(f.get(flagState.again), () => this.setCc(leaving, flagState), keep);
    else this.setCc(leaving, flagState);
  }
  /** Puts the flags of the locals into the state. */
  protected storeFlags(given?: FlagVars): void {
    if (this.inState) return;
    const { f, cpu } = this;
    const cc = given ?? this.ccVars();
    const op = f.get(cc.op);
    // Where the operands tell the result, setCc has kept only these.
    for (const { name, result } of FLAG_RECIPES) {
      if (!result) continue;
      const number = x.sub(op, x.i32Const(ccOp(name, 8)));
      f.if(x.compare('lt_u', number, x.i32Const(4)), () => {
        const unused = i64(x.sub(x.i32Const(64), x.binary('shl', x.i32Const(8), number)));
        const mask = x.binary('shr_u', x.i64Const(-1n), unused);
        f.setVariable(cc.r, x.and(result<Expr>(this, f.get(cc.x), f.get(cc.y)), mask));
      });
    }
    f.store('i32', cpu, CPU.cc_op!, f.get(cc.op));
    f.store('i64', cpu, CPU.cc_r!, f.get(cc.r));
    f.store('i64', cpu, CPU.cc_x!, f.get(cc.x));
    f.store('i64', cpu, CPU.cc_y!, f.get(cc.y));
  }
  flags(recipe: string, w: Width, v: { r: Expr; x?: Expr; y?: Expr }): void {
    const zero = x.i64Const(0n);
    // What is not a register's value is worked out only where flags are read or have to be exact.
    this.flagState = {
      kind: 'recipe',
      op: ccOp(recipe, w),
      r: i64(v.r),
      x: i64(v.x ?? zero),
      y: i64(v.y ?? zero),
    };
  }
  /** Puts what is known into the locals, where paths come together; `flags`: flags too. */
  settle(flags = true): void {
    for (const [r, lane] of this.lanes) this.settleLane(r, lane);
    this.storeWritten();
    if (flags) this.settleFlags();
  }
  protected settleFlags(): void {
    const { f } = this;
    const state = this.flagState;
    if (state.kind === 'unknown') return;
    if (this.inState) {
      this.flagsToState(state);
      return;
    }
    const cc = this.ccVars();
    if (state.kind === 'again') f.if(f.get(state.again), () => this.setCc(cc, state));
    else this.setCc(cc, state);
  }
  private flagsToState(state: FlagState): void {
    const { f, cpu } = this;
    if (state.kind === 'bits') {
      f.store('i32', cpu, CPU.cc_op!, x.i32Const(0));
      f.store('i64', cpu, CPU.cc_x!, state.bits);
    } else if (state.kind === 'recipe') {
      const { uses } = ccRecipe(state.op)!.recipe;
      f.store('i32', cpu, CPU.cc_op!, x.i32Const(state.op));
      f.store('i64', cpu, CPU.cc_r!, state.r);
      if (uses >= 1) f.store('i64', cpu, CPU.cc_x!, state.x);
      if (uses >= 2) f.store('i64', cpu, CPU.cc_y!, state.y);
    } else throw new Error(`flags in the state are ${state.kind}`);
  }
  private setCc(cc: FlagVars, state: Exclude<FlagState, { kind: 'unknown' }>): void {
    const { f } = this;
    if (state.kind === 'bits') {
      f.setVariable(cc.op, x.i32Const(0));
      f.setVariable(cc.x, state.bits);
      return;
    }
    f.setVariable(cc.op, x.i32Const(state.op));
    const { uses, result } = ccRecipe(state.op)!.recipe;
    if (!result) f.setVariable(cc.r, state.r);
    if (uses >= 1) f.setVariable(cc.x, state.x);
    if (uses >= 2) f.setVariable(cc.y, state.y);
  }
  /**
   * Where paths come together: the flags are those of a comparison of the registers as they are now; with `again` only
   * if that variable is not 0, as at the head of a loop whose ends are comparisons.
   */
  compared(c: Comparison, again?: number): void {
    const [a, b] = this.comparedValues(c);
    const zero = x.i64Const(0n);
    const [r, vx, vy] = c.test ? [this.and(a, b), zero, zero] : [this.zext(c.w, this.sub(a, b)), a, b];
    const recipe = { op: comparisonOp(c), r, x: vx, y: vy };
    this.flagState = again === undefined ? { kind: 'recipe', ...recipe } : { kind: 'again', again, ...recipe };
  }
  /** Are the flags those of a comparison already? No TEST is looked at. */
  haveCompared(c: Comparison): boolean {
    const s = this.flagState;
    if (c.test || s.kind !== 'recipe' || s.op !== comparisonOp(c)) return false;
    const [a, b] = this.comparedValues(c);
    return x.isSameLeaf(s.x, a) && x.isSameLeaf(s.y, b);
  }
  private comparedValues(c: Comparison): [Expr, Expr] {
    return [this.reg(c.w, c.x), typeof c.y === 'number' ? this.reg(c.w, c.y) : x.i64Const(c.y)];
  }
  /** The first turn of a loop of one block begins here; registers are in their locals. */
  beginTurns(): void {
    this.openRegisters();
    this.openPages();
  }
  /** Behind its first turn: what is known then holds whenever a turn ends. `settled`: the flags are wanted in their locals. */
  endFirstTurn(settled: boolean): CarriedRegisters {
    if (settled) this.settleFlags();
    this.carryPages();
    return this.carryRegisters();
  }
  /** Where the loop comes back to; `c`: the comparison that a turn ends with, if it does. */
  takeCarried(carried: CarriedRegisters, c: Comparison | undefined): void {
    this.takeCarriedRegisters(carried);
    this.flagState = { kind: 'unknown' };
    if (c) this.compared(c);
  }
  /** At the begin of a further turn. `goBack` goes where `restart` says once all is as it is now. */
  beginTurn(goBack: (page?: number) => void): void {
    this.markRegisters(this.markPages());
    this.turnFlags = this.flagState;
    this.goBack = goBack;
  }
  protected restart(page?: number): void {
    const here = this.knowledge;
    this.restoreRegisters();
    this.flagState = this.turnFlags;
    this.goBack(page);
    this.knowledge = here;
  }
  /** At the end of the last turn before the loop goes back. */
  endTurn(carried: CarriedRegisters, settled: boolean): void {
    if (settled) this.settleFlags();
    this.putCarriedRegisters(carried);
  }
  endTurns(): void {
    this.closePages();
    this.closeRegisters();
    this.turnFlags = { kind: 'unknown' };
  }
  /** The flags are going to be read. */
  private readFlags(): FlagState {
    if (this.flagState.kind === 'again') {
      this.settleFlags();
      this.flagState = { kind: 'unknown' };
    }
    return this.flagState;
  }
  private flagOf(state: FlagState, flag: Flag): Expr {
    if (state.kind === 'bits') return x.and(x.binary('shr_u', state.bits, x.i64Const(FLAG_BIT[flag])), x.i64Const(1n));
    if (state.kind === 'recipe') {
      const { recipe, w } = ccRecipe(state.op)!;
      return recipeFlag(this, flag, recipe, w, state.r, state.x, state.y);
    }
    this.storeFlags();
    return this.f.call(`flag_${flag}`, this.cpu);
  }
  flag(flag: Flag): Expr {
    const value = this.flagOf(this.readFlags(), flag);
    return this.flagState.kind === 'unknown' ? this.f.let(value) : value;
  }
  cond(cc: number): Expr {
    const state = this.readFlags();
    if (state.kind === 'recipe') {
      const { recipe, w } = ccRecipe(state.op)!;
      return this.f.let(recipeCondition(this, recipe, w, state.r, state.x, state.y, cc));
    }
    if (state.kind === 'bits') return this.f.let(condition(this, (n) => this.flagOf(state, n), cc));
    this.storeFlags();
    const even = this.f.call(`cond_${cc & ~1}`, this.cpu);
    return this.f.let(cc & 1 ? x.eqz(even) : even);
  }
  setFlag(flag: Flag, v: () => Expr): void {
    const value = this.f.let(i64(v()));
    const others = this.arithExcept(flag);
    this.setArith(x.or(others, x.binary('shl', value, x.i64Const(FLAG_BIT[flag]))));
  }
  /** The flags as EFLAGS bits but one. */
  private arithExcept(flag: Flag | undefined): Expr {
    const keep = x.i64Const(~(flag ? 1n << BigInt(FLAG_BIT[flag]) : 0n));
    const state = this.readFlags();
    if (state.kind === 'bits') return x.and(state.bits, keep);
    if (state.kind === 'unknown' || state.kind === 'again') {
      this.storeFlags();
      this.f.run(this.f.call('explicit', this.cpu));
      return x.and(this.f.let(x.load('i64', this.cpu, CPU.cc_x!)), keep);
    }
    const bits = FLAGS.filter((n) => n !== flag).map((n) =>
      x.binary('shl', i64(this.flagOf(state, n)), x.i64Const(FLAG_BIT[n])),
    );
    return bits.reduce((a, b) => x.or(a, b));
  }
  arith(): Expr {
    return this.f.let(this.arithExcept(undefined));
  }
  setArith(v: Expr): void {
    this.flagState = { kind: 'bits', bits: this.f.let(i64(v)) };
  }
}
