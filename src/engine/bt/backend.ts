/**
 * The translator's implementation of the vocabulary: guest registers are WebAssembly locals of the region, operands
 * are constants. A memory access that misses the TLB and cannot be filled, and every fault, leaves the region
 * before the instruction has changed anything; the interpreter then carries that instruction out.
 */
import { HELPERS, type HelperSpec } from '../../isa/helpers.ts';
import type { OperandValue } from '../../isa/insn.ts';
import { CPU, CPU_FIELDS, ITLB_CTX_NEVER, SEG } from '../../isa/layout.ts';
import type { FaultName, MemWidth, Ops, Width } from '../../isa/ops.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { type FloatState, hasInlineFloat, inlineFloat, isQuiet, ordinaryLimit } from '../interp/float.ts';
import type { RegionInsn } from './cfg.ts';
import type { PageUse } from './hosts.ts';
import { RegionFlags } from './lazy-flags.ts';
import { LOAD, STORE } from './memory.ts';
import { hasInlinePacked, inlinePacked } from './packed-float.ts';
import { type CarriedRegisters, NOTHING, ones } from './registers.ts';
import { SYNCED_HELPERS, type Synced } from './synced.ts';
import type { RegionExit } from './ways-out.ts';

type Expr = x.Expr;
const i64 = x.extendU;
const HELPER_BY_NAME: ReadonlyMap<string, HelperSpec> = new Map(HELPERS.map((h) => [h.name, h]));
const FIELD_BY_NAME = new Map(CPU_FIELDS.map((f) => [f.name, f]));

/** Arithmetic of one binary64 number; and what loads such numbers where there is some. */
const NUMBER_ARITHMETIC = new Set(['addsd', 'subsd', 'mulsd', 'divsd']);
const NUMBER_ROWS = new Set([...NUMBER_ARITHMETIC, 'movsd']);
export const isOfNumbers = (insns: readonly RegionInsn[]): boolean =>
  insns.some((i) => NUMBER_ARITHMETIC.has(i.insn.row.name));

/** What the region's emitter does for an instruction that leaves the straight line. */
export interface RegionControl {
  /** Leaves the region before instruction `i`, which the interpreter carries out. @returns the exit, if it is in the table */
  leaveAt(i: RegionInsn): RegionExit | undefined;
  /** Instructions that are left, without the current one. */
  instructionsLeft(): Expr;
  /** The instruction's own branch is taken. */
  branch(): void;
  /** Control goes to a computed rip. */
  jump(rip: Expr): void;
  /** Leaves behind the current instruction to look for events if the condition holds. */
  leaveBehindIf(condition: Expr): void;
}

/**
 * Operands, fields, control and helpers; registers, memory and flags are below it. Vocabulary that is not here (wide
 * vectors, transfers) makes a row the interpreter's: see isTranslatable.
 */
export class RegionOps extends RegionFlags implements Partial<Ops<Expr>> {
  /** The instruction being translated has left: nothing follows. */
  left = false;
  private readonly control: RegionControl;
  /** The block being written calculates with binary64 numbers. */
  inNumbers = false;
  private float: FloatState | undefined;
  /** Variables: ordinaryLimit by width. */
  private readonly limits = new Map<64 | 32, number>();
  /** The last helper call of the current instruction was in line and has left if there was a fault. */
  private faultsLeft = false;
  /** MXCSR in front of the first helper that the current instruction calls, if that may change it. */
  private mxcsr: Expr | undefined;

  /** `pagesKept`: keys (see accessKey) whose page is worth remembering. */
  constructor(f: FunctionBuilder, control: RegionControl, pagesKept: ReadonlyMap<string, PageUse>) {
    super(f, pagesKept);
    this.control = control;
  }

  override begin(i: RegionInsn): void {
    super.begin(i);
    this.left = false;
    this.faultsLeft = false;
    this.mxcsr = undefined;
    this.takesNumbers = this.inNumbers && i.insn.row.unit === 'sse' && NUMBER_ROWS.has(i.insn.row.name);
  }
  override prologue(): void {
    super.prologue();
    if (this.float) this.f.setVariable(this.float.quiet, isQuiet(this.cpu));
  }
  protected leave(): RegionExit | undefined {
    return this.control.leaveAt(this.current);
  }

  // --- operands --------------------------------------------------------------------------------------------
  isMem(n: number): boolean {
    return this.value(n).kind === 'mem';
  }
  number(n: number): Expr {
    const v = this.value(n);
    return x.i64Const(v.kind === 'reg' ? v.n : 0);
  }
  get(n: number): Expr {
    const v = this.value(n);
    switch (v.kind) {
      case 'imm':
        return x.i64Const(v.value);
      case 'mem':
        return this.loadOperand(n);
      case 'far':
        return x.i64Const(v.offset | (BigInt(v.selector) << 32n));
      case 'rel':
        return x.i64Const(v.value);
      case 'reg':
        return this.getRegister(v, this.width(n));
    }
  }
  private getRegister(v: OperandValue & { kind: 'reg' }, width: MemWidth): Expr {
    if (v.cls === 'xmm') return this.xmm(v.n);
    if (v.cls === 'mm') return this.f.let(x.load('i64', this.cpu, CPU.fpr! + v.n * 16));
    if (v.cls === 'seg') return this.field('seg_sel', v.n);
    if (v.high) return this.f.let(x.and(x.binary('shr_u', this.gpr(v.n), x.i64Const(8n)), x.i64Const(0xffn)));
    return this.reg(width as Width, v.n);
  }
  set(n: number, value: Expr): void {
    const v = this.value(n);
    if (v.kind === 'mem') this.storeOperand(n, value);
    else if (v.kind !== 'reg') throw new Error(`operand ${n} of ${this.current.insn.row.name} is not written`);
    else if (v.cls === 'xmm') this.setXmm(v.n, value);
    else if (v.cls === 'mm') {
      this.irreversible = true;
      this.f.store('i64', this.cpu, CPU.fpr! + v.n * 16, i64(value));
      this.f.store('i32_16', this.cpu, CPU.fpr! + v.n * 16 + 8, x.i32Const(0xffff));
    } else if (v.high) this.insert(v.n, 8, 8, value);
    else this.setReg(this.width(n) as Width, v.n, value);
  }

  half(n: number, h: 0 | 1): Expr {
    const v = this.value(n);
    if (v.kind !== 'reg') return this.loadHalf(h);
    return h === 0 ? this.xmm(v.n) : this.high(v.n);
  }
  setWide(n: number, low: Expr, high: Expr): void {
    const v = this.value(n);
    if (v.kind !== 'reg') {
      this.storeHalves(low, high);
      return;
    }
    const h = this.f.let(high);
    this.setXmm(v.n, low);
    this.setHigh(v.n, h);
  }

  // --- fields ----------------------------------------------------------------------------------------------
  field(name: string, index = 0): Expr {
    if (name === 'sse_fault' && (this.faultsLeft || !this.mxcsr)) return x.i64Const(0n);
    // Regions outside 64-bit mode are entered with flat segments only.
    if (name === 'seg_limit' && index === SEG.cs) return x.i64Const(0xffff_ffffn);
    const f = FIELD_BY_NAME.get(name)!;
    return this.f.let(x.load(LOAD[(f.stride * 8) as Width], this.cpu, f.offset + index * f.stride));
  }
  setField(name: string, v: Expr, index = 0): void {
    const f = FIELD_BY_NAME.get(name)!;
    this.irreversible = true;
    this.f.store(STORE[(f.stride * 8) as Width], this.cpu, f.offset + index * f.stride, i64(v));
    if (name === 'mxcsr') {
      this.f.setVariable(this.floatState().quiet, isQuiet(this.cpu));
    }
  }

  override ltu(a: Expr, b: Expr): Expr {
    const never = a.isConstant && BigInt.asUintN(64, a.constant!) >= ones(x.bitsOf(i64(b)));
    return never ? x.i64Const(0n) : super.ltu(a, b);
  }

  // --- control ---------------------------------------------------------------------------------------------
  if(c: Expr, then: () => void, otherwise?: () => void): void {
    if (c.constant !== undefined) {
      (c.constant === 0n ? otherwise : then)?.();
      return;
    }
    for (const [r, lane] of this.lanes) this.settleLane(r, lane);
    this.lanes.clear();
    this.putWritten();
    const before = this.knowledge;
    const wasLeft = this.left;
    const condition = this.truth(c);
    const versions = [...this.versions];
    let changed = false;
    const { conditional } = this;
    this.conditional = true;
    const arm = (body: (() => void) | undefined, last: boolean) => (): void => {
      this.knowledge = before;
      body?.();
      changed ||= this.flagState !== before.flags;
      for (const [r, lane] of this.lanes) this.settleLane(r, lane);
      this.storeWritten();
      // What the other arm will do is not known yet.
      if (changed || (!last && otherwise)) this.settleFlags();
    };
    this.f.if(condition, arm(then, false), arm(otherwise, true));
    this.conditional = conditional;
    this.knowledge = before;
    if (changed) this.flagState = { kind: 'unknown' };
    versions.forEach((v, r) => {
      if (v !== this.versions[r]) this.known[r] = NOTHING;
    });
    this.lanes.clear();
    this.left = wasLeft;
  }
  fault(c: Expr, _name: FaultName, _error?: Expr): void {
    if (c.constant === 0n) return;
    this.putWritten();
    this.f.unlikely(this.truth(c), () => this.leave());
  }
  nextRip(): Expr {
    const { insn, at } = this.current;
    return this.cutRip(x.add(this.page(), x.i64Const(at + insn.length)));
  }
  thisRip(): Expr {
    return this.cutRip(x.add(this.page(), x.i64Const(this.current.at)));
  }
  /** Regions of 32-bit code are entered with a limit of 4 GiB only: see guardSegments. */
  checkBranch(_c?: Expr): void {}
  branch(c?: Expr): void {
    if (c) this.f.if(this.truth(c), () => this.control.branch());
    else {
      this.control.branch();
      this.left = true;
    }
  }
  jump(rip: Expr): void {
    this.control.jump(this.f.let(this.w === 64 ? i64(rip) : x.and(i64(rip), x.i64Const(ones(this.w)))));
    this.left = true;
  }

  // --- helpers ---------------------------------------------------------------------------------------------
  private helper(name: string, args: readonly Expr[]): Expr {
    const spec = HELPER_BY_NAME.get(name)!;
    const converted = args.map((a, i) => (spec.params[i] === 'i' ? x.wrap(a) : spec.params[i] === 'l' ? i64(a) : a));
    if (hasInlinePacked(name)) return this.packed(name, converted);
    if (!hasInlineFloat(name)) {
      this.irreversible = true;
      if (name.startsWith('sse_')) this.mxcsr ??= this.f.let(x.load('i32', this.cpu, CPU.mxcsr!));
      return this.f.call(name, this.cpu, ...converted);
    }
    this.faultsLeft = true;
    const state = this.floatState();
    const retreat = { go: () => this.restart(), limit: (bits: 64 | 32) => this.limitOf(bits) };
    return inlineFloat(this.f, this.cpu, name, converted, this.irreversible ? state : { ...state, retreat });
  }
  private packed(name: string, args: readonly Expr[]): Expr {
    const { f, cpu } = this;
    this.faultsLeft = true;
    const state = this.floatState();
    const quiet = f.get(state.quiet);
    if (!this.irreversible) return inlinePacked(f, name, args, { quiet, retreat: () => this.restart() });
    // The other half of a vector may have set flags of MXCSR when this one leaves.
    this.mxcsr ??= f.let(x.load('i32', cpu, CPU.mxcsr!));
    const before = this.mxcsr;
    const call = (a: Expr, b: Expr): Expr => {
      const result = f.let(f.call(name, cpu, a, b));
      state.leaveIf!(x.load('i32', cpu, CPU.sse_fault!), before);
      f.setVariable(state.quiet, isQuiet(cpu));
      return result;
    };
    return inlinePacked(f, name, args, { quiet, call });
  }
  private limitOf(bits: 64 | 32): Expr {
    return this.f.get(this.limits.get(bits)!);
  }
  override endFirstTurn(settled: boolean): CarriedRegisters {
    const { f, float } = this;
    for (const bits of float ? ([64, 32] as const) : []) {
      const limit = this.limits.get(bits) ?? f.variable('i32');
      this.limits.set(bits, limit);
      f.setVariable(limit, ordinaryLimit(bits, f.get(float!.quiet)));
    }
    return super.endFirstTurn(settled);
  }
  private floatState(): FloatState {
    this.float ??= {
      quiet: this.f.variable('i32'),
      leaveIf: (c, mxcsr) => this.f.unlikely(c, () => this.leaveBeforeFloat(mxcsr)),
    };
    return this.float;
  }
  /** The current instruction has set flags of MXCSR, or found an exception: it has not been carried out. */
  private leaveBeforeFloat(mxcsr: Expr): void {
    this.f.store('i32', this.cpu, CPU.mxcsr!, mxcsr);
    this.f.store('i32', this.cpu, CPU.sse_fault!, x.i32Const(0));
    this.leave();
  }
  call(name: string, ...args: Expr[]): Expr {
    const e = this.helper(name, args);
    if (HELPER_BY_NAME.get(name)!.result !== '') return this.f.let(e);
    this.f.run(e);
    return x.i64Const(0n);
  }
  check(name: string, ...args: Expr[]): void {
    if (name === 'sse_raise' || name === 'sse_raise_parts') {
      this.leaveBeforeFloat(this.mxcsr!);
      return;
    }
    const synced = SYNCED_HELPERS.get(name);
    if (synced) this.before(synced);
    this.f.unlikely(this.helper(name, args), () => this.leave());
    if (synced) this.behind(synced);
  }
  /** Puts what a helper looks at where it looks. */
  private before(s: Synced): void {
    if (s.budget) this.f.store('i32', this.cpu, CPU.budget!, this.control.instructionsLeft());
    const { f, cpu } = this;
    for (const r of s.reads ?? []) this.putInState(r);
    if (!s.flags) return;
    this.settleFlags();
    this.storeFlags();
    f.run(f.call('explicit', cpu));
  }
  /** Takes up what a helper has changed. */
  private behind(s: Synced): void {
    const { f, cpu } = this;
    for (const r of s.writes ?? []) this.takeFromState(r);
    if (s.flags) this.flagState = { kind: 'bits', bits: f.let(x.load('i64', cpu, CPU.cc_x!)) };
    if (s.base !== undefined) {
      this.segmentBase(s.base);
      f.setVariable(this.bases.get(s.base)!, x.load('i64', cpu, CPU.seg_base! + s.base * 8));
    }
    if (s.context) {
      const never = x.and(x.load('i32', cpu, CPU.itlb_ctx!), x.i32Const(ITLB_CTX_NEVER));
      this.control.leaveBehindIf(x.or(x.compare('ne', x.load('i32', cpu, CPU.tlb_ptr!), this.tlbBase()), never));
    }
    if (!s.events) return;
    const now = ['irq_pending', 'halted', 'exit_reason', 'stop', 'nmi_pending'].map((n) => x.load('i32', cpu, CPU[n]!));
    this.control.leaveBehindIf(now.reduce((a, b) => x.or(a, b)));
  }
  /** The instruction behind STI is done: interrupts may come from here on. */
  endShadow(): void {
    this.f.store('i32', this.cpu, CPU.shadow!, x.i32Const(0));
  }
}
