/**
 * The translator's implementation of the vocabulary: guest registers are WebAssembly locals of the region, operands
 * are constants. A memory access that misses the TLB and cannot be filled, and every fault, leaves the region
 * before the instruction has changed anything; the interpreter then carries that instruction out.
 */
import { ccOp, ccRecipe, condition, recipeCondition, recipeFlag } from '../../isa/flags.ts';
import { HELPERS, type HelperSpec } from '../../isa/helpers.ts';
import type { MemRef, OperandValue } from '../../isa/insn.ts';
import { CPU, CPU_FIELDS, SEG, TLB } from '../../isa/layout.ts';
import {
  type FaultName,
  FLAG_BIT,
  FLAGS,
  type Flag,
  type MemWidth,
  type Ops,
  type SegRef,
  type Width,
} from '../../isa/ops.ts';
import { type Operand, sizeBits } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { type FloatState, hasInlineFloat, inlineFloat, isQuiet } from '../interp/float.ts';
import { VectorWasm } from '../interp/pure.ts';
import { memoryOperand } from '../shape.ts';
import type { RegionInsn } from './cfg.ts';

type Expr = x.Expr;
const i64 = x.extendU;
const LOAD: Readonly<Record<Width, x.LoadOp>> = { 8: 'i64_8u', 16: 'i64_16u', 32: 'i64_32u', 64: 'i64' };
const STORE: Readonly<Record<Width, x.StoreOp>> = { 8: 'i64_8', 16: 'i64_16', 32: 'i64_32', 64: 'i64' };
const HELPER_BY_NAME: ReadonlyMap<string, HelperSpec> = new Map(HELPERS.map((h) => [h.name, h]));
const FIELD_BY_NAME = new Map(CPU_FIELDS.map((f) => [f.name, f]));
const ones = (w: number): bigint => (1n << BigInt(w)) - 1n;
const PAGE_MASK = -4096n;

/** What is known at translation time about the arithmetic flags. */
type FlagState =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'recipe'; readonly op: number; readonly r: Expr; readonly x: Expr; readonly y: Expr }
  | { readonly kind: 'bits'; readonly bits: Expr };

/** What the region's emitter does for an instruction that leaves the straight line. */
export interface RegionControl {
  /** Leaves the region before instruction `i`, which the interpreter carries out. */
  leaveAt(i: RegionInsn): void;
  /** The instruction's own branch is taken. */
  branch(): void;
  /** Control goes to a computed rip. */
  jump(rip: Expr): void;
}

/**
 * Registers and flags of a region as locals, used and written ones noted. Vocabulary that is not here (wide vectors,
 * transfers) makes a row the interpreter's: see isTranslatable.
 */
export class RegionOps extends VectorWasm implements Partial<Ops<Expr>> {
  w: Width = 32;
  asize: 16 | 32 | 64 = 32;
  stack: 16 | 32 | 64 = 32;
  long = false;
  /** The instruction being translated has left: nothing follows. */
  left = false;
  flagState: FlagState = { kind: 'unknown' };
  private readonly cpu: Expr;
  private readonly control: RegionControl;
  private readonly gprs: (number | undefined)[] = new Array(16).fill(undefined);
  private readonly xmms: (number | undefined)[] = new Array(16).fill(undefined);
  private readonly gprWritten = new Set<number>();
  private readonly xmmWritten = new Set<number>();
  private readonly bases = new Map<number, number>();
  private cc: { op: number; r: number; x: number; y: number } | undefined;
  private tlb: number | undefined;
  private pageBase: number | undefined;
  private float: FloatState | undefined;
  /** The last helper call of the current instruction was in line: its fault is in a local. */
  private faultIsLocal = false;
  private current!: RegionInsn;
  private mem: Operand | undefined;
  private address: Expr | undefined;
  private rmwHost: Expr | undefined;

  constructor(f: FunctionBuilder, control: RegionControl) {
    super(f);
    this.cpu = f.param(0);
    this.control = control;
  }

  /** Turns to the next instruction. */
  begin(i: RegionInsn): void {
    const { insn } = i;
    this.current = i;
    this.w = insn.w;
    this.asize = insn.asize;
    this.stack = insn.mode.stack;
    this.long = insn.mode.code === 64;
    this.left = false;
    this.mem = insn.mem ? memoryOperand(insn.row) : undefined;
    this.address = undefined;
    this.rmwHost = undefined;
    this.faultIsLocal = false;
  }

  // --- the region's frame ----------------------------------------------------------------------------------
  private gprVar(n: number): number {
    this.gprs[n] ??= this.f.variable('i64');
    return this.gprs[n];
  }
  private xmmVar(n: number): number {
    this.xmms[n] ??= this.f.variable('v128');
    return this.xmms[n];
  }
  private ccVars(): { op: number; r: number; x: number; y: number } {
    const { f } = this;
    this.cc ??= { op: f.variable('i32'), r: f.variable('i64'), x: f.variable('i64'), y: f.variable('i64') };
    return this.cc;
  }
  private tlbBase(): Expr {
    this.tlb ??= this.f.variable('i32');
    return this.f.get(this.tlb);
  }
  /** rip of the first byte of the region's page. */
  page(): Expr {
    this.pageBase ??= this.f.variable('i64');
    return this.f.get(this.pageBase);
  }
  /** Loads what the region uses; emitted last, put first. */
  prologue(): void {
    const { f, cpu } = this;
    this.gprs.forEach((v, n) => {
      if (v !== undefined) f.setVariable(v, x.load('i64', cpu, CPU.gpr! + n * 8));
    });
    this.xmms.forEach((v, n) => {
      if (v !== undefined) f.setVariable(v, x.load('v128', cpu, CPU.ymm! + n * 32));
    });
    if (this.cc) {
      f.setVariable(this.cc.op, x.load('i32', cpu, CPU.cc_op!));
      f.setVariable(this.cc.r, x.load('i64', cpu, CPU.cc_r!));
      f.setVariable(this.cc.x, x.load('i64', cpu, CPU.cc_x!));
      f.setVariable(this.cc.y, x.load('i64', cpu, CPU.cc_y!));
    }
    if (this.tlb !== undefined) f.setVariable(this.tlb, x.load('i32', cpu, CPU.tlb_ptr!));
    if (this.pageBase !== undefined) f.setVariable(this.pageBase, x.load('i64', cpu, CPU.page_base!));
    if (this.float) f.setVariable(this.float.quiet, isQuiet(cpu));
    for (const [seg, v] of this.bases) f.setVariable(v, x.load('i64', cpu, CPU.seg_base! + seg * 8));
  }
  /** Stores what the region may have written. */
  epilogue(): void {
    const { f, cpu } = this;
    for (const n of this.gprWritten) f.store('i64', cpu, CPU.gpr! + n * 8, f.get(this.gprs[n]!));
    for (const n of this.xmmWritten) f.store('v128', cpu, CPU.ymm! + n * 32, f.get(this.xmms[n]!));
    if (this.cc) this.storeFlags();
  }
  private storeFlags(): void {
    const { f, cpu } = this;
    const cc = this.ccVars();
    f.store('i32', cpu, CPU.cc_op!, f.get(cc.op));
    f.store('i64', cpu, CPU.cc_r!, f.get(cc.r));
    f.store('i64', cpu, CPU.cc_x!, f.get(cc.x));
    f.store('i64', cpu, CPU.cc_y!, f.get(cc.y));
  }

  // --- operands --------------------------------------------------------------------------------------------
  private operand(n: number): Operand {
    return this.current.insn.row.operands[n]!;
  }
  private value(n: number): OperandValue {
    return this.current.insn.operands[n]!;
  }
  width(n: number): MemWidth {
    return sizeBits(this.operand(n).size, this.w, this.long) as MemWidth;
  }
  isMem(n: number): boolean {
    return this.value(n).kind === 'mem';
  }
  number(n: number): Expr {
    const v = this.value(n);
    return x.i64Const(BigInt(v.kind === 'reg' ? v.n : 0));
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
        return x.i64Const(BigInt(v.value));
      case 'reg':
        return this.getRegister(v, this.width(n));
    }
  }
  private getRegister(v: OperandValue & { kind: 'reg' }, width: MemWidth): Expr {
    if (v.cls === 'xmm') return this.xmm(v.n);
    if (v.cls === 'mm') return this.f.let(x.load('i64', this.cpu, CPU.fpr! + v.n * 16));
    if (v.cls === 'seg') return this.field('seg_sel', v.n);
    if (v.high)
      return this.f.let(x.and(x.binary('shr_u', this.f.get(this.gprVar(v.n)), x.i64Const(8n)), x.i64Const(0xffn)));
    return this.reg(width as Width, v.n);
  }
  set(n: number, value: Expr): void {
    const v = this.value(n);
    if (v.kind === 'mem') this.storeOperand(n, value);
    else if (v.kind !== 'reg') throw new Error(`operand ${n} of ${this.current.insn.row.name} is not written`);
    else if (v.cls === 'xmm') this.setXmm(v.n, value);
    else if (v.cls === 'mm') {
      this.f.store('i64', this.cpu, CPU.fpr! + v.n * 16, i64(value));
      this.f.store('i32_16', this.cpu, CPU.fpr! + v.n * 16 + 8, x.i32Const(0xffff));
    } else if (v.high) this.insert(v.n, 8, 8, value);
    else this.setReg(this.width(n) as Width, v.n, value);
  }
  reg(w: Width, r: number): Expr {
    return this.f.let(this.zext(w, this.f.get(this.gprVar(r))));
  }
  setReg(w: Width, r: number, v: Expr): void {
    if (w < 32) this.insert(r, 0, w, v);
    else {
      this.gprWritten.add(r);
      this.f.setVariable(this.gprVar(r), w === 32 ? this.zext(32, v) : i64(v));
    }
  }
  /** Replaces `w` bits at `shift` of a register (SDM vol.1 3.4.1.1: 8- and 16-bit writes keep the rest). */
  private insert(r: number, shift: number, w: number, v: Expr): void {
    const local = this.gprVar(r);
    this.gprWritten.add(r);
    const kept = x.and(this.f.get(local), x.i64Const(~(ones(w) << BigInt(shift))));
    const value = x.and(i64(v), x.i64Const(ones(w)));
    this.f.setVariable(local, x.or(kept, x.binary('shl', value, x.i64Const(BigInt(shift)))));
  }
  xmm(r: number): Expr {
    return this.f.let(this.f.get(this.xmmVar(r)));
  }
  setXmm(r: number, v: Expr): void {
    this.xmmWritten.add(r);
    this.f.setVariable(this.xmmVar(r), v);
  }

  // --- addresses and memory --------------------------------------------------------------------------------
  private segmentBase(seg: number): Expr | undefined {
    if (seg !== SEG.fs && seg !== SEG.gs) return undefined;
    let v = this.bases.get(seg);
    if (v === undefined) {
      v = this.f.variable('i64');
      this.bases.set(seg, v);
    }
    return this.f.get(v);
  }
  private effective(m: MemRef): Expr {
    const { insn, at } = this.current;
    const popped = insn.row.popsFirst && m.base === 4 ? BigInt(insn.w / 8) : 0n;
    const disp = x.i64Const(m.disp + popped + (m.ripRelative ? BigInt(at + insn.length) : 0n));
    let sum = disp;
    if (m.index !== undefined) {
      const index = x.binary('shl', this.f.get(this.gprVar(m.index)), x.i64Const(BigInt(m.scale)));
      sum = x.add(index, sum);
    }
    if (m.ripRelative) sum = x.add(this.page(), sum);
    else if (m.base !== undefined) sum = x.add(this.f.get(this.gprVar(m.base)), sum);
    return this.asize === 32 ? this.zext(32, sum) : sum;
  }
  private toLinear(seg: number, offset: Expr): Expr {
    const base = this.segmentBase(seg);
    if (!base) return offset;
    const sum = x.add(offset, base);
    return this.long ? sum : this.zext(32, sum);
  }
  private operandAddress(): Expr {
    const { insn } = this.current;
    const m = insn.mem!;
    if (!this.address) {
      let offset = this.effective(m);
      if (insn.row.bitOffset) offset = x.add(offset, this.bitDisplacement());
      if (!this.long) offset = this.zext(32, offset);
      this.address = this.f.let(this.toLinear(m.seg, offset));
    }
    return this.address;
  }
  /** Bytes that the signed bit offset in operand 1 moves the address by, in steps of the operand (SDM vol.2 BT). */
  private bitDisplacement(): Expr {
    const log2 = BigInt(Math.log2(this.w));
    const steps = this.sar(this.sext(this.w, this.get(1)), x.i64Const(log2));
    return this.shl(steps, x.i64Const(log2 - 3n));
  }
  offset(_n: number): Expr {
    const sum = this.effective(this.current.insn.mem!);
    return this.f.let(this.asize === 64 ? sum : x.and(sum, x.i64Const(ones(this.asize))));
  }
  linear(seg: SegRef, offset: Expr): Expr {
    const number = seg === 'insn' ? this.current.insn.seg : SEG[seg];
    return this.f.let(this.toLinear(number, i64(offset)));
  }
  /** Host address of a linear range: TLB hit inline, a fill, or out of the region. */
  private host(va: Expr, bytes: number, write: boolean): Expr {
    const { f, cpu } = this;
    const slot = x.and(x.wrap(x.binary('shr_u', va, x.i64Const(7n))), x.i32Const((TLB.ENTRIES - 1) * TLB.ENTRY_SIZE));
    const entry = f.let(x.add(this.tlbBase(), slot));
    const tag = x.load('i64', entry, write ? TLB.TAG_WRITE : TLB.TAG_READ);
    const last = bytes === 1 ? va : x.add(va, x.i64Const(BigInt(bytes - 1)));
    const at = f.variable('i32');
    f.if(
      x.compare('eq', tag, x.and(last, x.i64Const(PAGE_MASK))),
      () => f.setVariable(at, x.add(x.wrap(va), x.load('i32', entry, TLB.ADDEND))),
      () => {
        f.setVariable(at, f.call(write ? 'ram_write' : 'ram_read', cpu, va, x.i32Const(bytes)));
        f.if(x.eqz(f.get(at)), () => this.leave());
      },
    );
    return f.get(at);
  }
  private leave(): void {
    this.control.leaveAt(this.current);
  }
  private checkAlignment(va: Expr, width: MemWidth): void {
    if (!this.current.insn.row.aligned || width < 128) return;
    this.f.if(x.wrap(x.and(va, x.i64Const(BigInt(width / 8 - 1)))), () => this.leave());
  }
  private loadOperand(n: number): Expr {
    const width = this.width(n);
    const va = this.operandAddress();
    this.checkAlignment(va, width);
    const host = this.host(va, width / 8, this.operand(n).write);
    if (this.operand(n).write) this.rmwHost = host;
    return this.f.let(x.load(width === 128 ? 'v128' : LOAD[width as Width], host, 0));
  }
  private storeOperand(n: number, v: Expr): void {
    const width = this.width(n);
    const value = this.f.let(v.type === 'i32' ? i64(v) : v);
    const va = this.operandAddress();
    this.checkAlignment(va, width);
    const host = (this.operand(n).read ? this.rmwHost : undefined) ?? this.host(va, width / 8, true);
    this.f.store(value.type === 'v128' ? 'v128' : STORE[width as Width], host, 0, value);
  }
  private implicit(seg: SegRef, offset: Expr): Expr {
    const number = seg === 'insn' ? (this.current.insn.mem?.seg ?? this.current.insn.seg) : SEG[seg];
    const at = i64(offset);
    return this.f.let(this.toLinear(number, this.long ? at : this.zext(32, at)));
  }
  load(w: Width, seg: SegRef, offset: Expr): Expr {
    return this.f.let(x.load(LOAD[w], this.host(this.implicit(seg, offset), w / 8, false), 0));
  }
  store(w: Width, seg: SegRef, offset: Expr, v: Expr): void {
    const value = this.f.let(i64(v));
    this.f.store(STORE[w], this.host(this.implicit(seg, offset), w / 8, true), 0, value);
  }
  // --- fields and flags ------------------------------------------------------------------------------------
  field(name: string, index = 0): Expr {
    if (name === 'sse_fault' && this.faultIsLocal && this.float) return this.f.get(this.float.fault);
    const f = FIELD_BY_NAME.get(name)!;
    return this.f.let(x.load(LOAD[(f.stride * 8) as Width], this.cpu, f.offset + index * f.stride));
  }
  setField(name: string, v: Expr, index = 0): void {
    const f = FIELD_BY_NAME.get(name)!;
    this.f.store(STORE[(f.stride * 8) as Width], this.cpu, f.offset + index * f.stride, i64(v));
    if (name === 'mxcsr') {
      this.float ??= { quiet: this.f.variable('i32'), fault: this.f.variable('i32') };
      this.f.setVariable(this.float.quiet, isQuiet(this.cpu));
    }
  }
  flags(recipe: string, w: Width, v: { r: Expr; x?: Expr; y?: Expr }): void {
    const { f } = this;
    const cc = this.ccVars();
    const zero = x.i64Const(0n);
    const op = ccOp(recipe, w);
    const [r, vx, vy] = [f.let(i64(v.r)), f.let(i64(v.x ?? zero)), f.let(i64(v.y ?? zero))];
    f.setVariable(cc.op, x.i32Const(op));
    f.setVariable(cc.r, r);
    f.setVariable(cc.x, vx);
    f.setVariable(cc.y, vy);
    this.flagState = { kind: 'recipe', op, r, x: vx, y: vy };
  }
  private flagOf(state: FlagState, flag: Flag): Expr {
    if (state.kind === 'bits')
      return x.and(x.binary('shr_u', state.bits, x.i64Const(BigInt(FLAG_BIT[flag]))), x.i64Const(1n));
    if (state.kind === 'recipe') {
      const { recipe, w } = ccRecipe(state.op)!;
      return recipeFlag(this, flag, recipe, w, state.r, state.x, state.y);
    }
    this.ccVars();
    this.storeFlags();
    return this.f.call(`flag_${flag}`, this.cpu);
  }
  flag(flag: Flag): Expr {
    return this.f.let(this.flagOf(this.flagState, flag));
  }
  cond(cc: number): Expr {
    const state = this.flagState;
    if (state.kind === 'recipe') {
      const { recipe, w } = ccRecipe(state.op)!;
      return this.f.let(recipeCondition(this, recipe, w, state.r, state.x, state.y, cc));
    }
    if (state.kind === 'bits') return this.f.let(condition(this, (n) => this.flagOf(state, n), cc));
    this.ccVars();
    this.storeFlags();
    const even = this.f.call(`cond_${cc & ~1}`, this.cpu);
    return this.f.let(cc & 1 ? x.eqz(even) : even);
  }
  setFlag(flag: Flag, v: () => Expr): void {
    const value = this.f.let(i64(v()));
    const others = this.arithExcept(flag);
    this.setArith(x.or(others, x.binary('shl', value, x.i64Const(BigInt(FLAG_BIT[flag])))));
  }
  /** The flags as EFLAGS bits but one. */
  private arithExcept(flag: Flag | undefined): Expr {
    const keep = x.i64Const(~(flag ? 1n << BigInt(FLAG_BIT[flag]) : 0n));
    const state = this.flagState;
    if (state.kind === 'bits') return x.and(state.bits, keep);
    if (state.kind === 'unknown') {
      this.ccVars();
      this.storeFlags();
      this.f.run(this.f.call('explicit', this.cpu));
      return x.and(this.f.let(x.load('i64', this.cpu, CPU.cc_x!)), keep);
    }
    const bits = FLAGS.filter((n) => n !== flag).map((n) =>
      x.binary('shl', i64(this.flagOf(state, n)), x.i64Const(BigInt(FLAG_BIT[n]))),
    );
    return bits.reduce((a, b) => x.or(a, b));
  }
  arith(): Expr {
    return this.f.let(this.arithExcept(undefined));
  }
  setArith(v: Expr): void {
    const cc = this.ccVars();
    const bits = this.f.let(i64(v));
    this.f.setVariable(cc.op, x.i32Const(0));
    this.f.setVariable(cc.x, bits);
    this.flagState = { kind: 'bits', bits };
  }

  // --- control ---------------------------------------------------------------------------------------------
  if(c: Expr, then: () => void, otherwise?: () => void): void {
    const before = this.flagState;
    const wasLeft = this.left;
    let changed = false;
    const arm = (body: () => void) => (): void => {
      this.flagState = before;
      body();
      changed ||= this.flagState !== before;
    };
    this.f.if(this.truth(c), arm(then), otherwise ? arm(otherwise) : undefined);
    this.flagState = changed ? { kind: 'unknown' } : before;
    this.left = wasLeft;
  }
  fault(c: Expr, _name: FaultName, _error?: Expr): void {
    if (c.constant === 0n) return;
    this.f.if(this.truth(c), () => this.leave());
  }
  nextRip(): Expr {
    const { insn, at } = this.current;
    return this.cutRip(x.add(this.page(), x.i64Const(BigInt(at + insn.length))));
  }
  thisRip(): Expr {
    return this.cutRip(x.add(this.page(), x.i64Const(BigInt(this.current.at))));
  }
  private cutRip(rip: Expr): Expr {
    return this.f.let(this.long ? rip : this.zext(32, rip));
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
    if (!hasInlineFloat(name)) return this.f.call(name, this.cpu, ...converted);
    this.float ??= { quiet: this.f.variable('i32'), fault: this.f.variable('i32') };
    this.faultIsLocal = true;
    return inlineFloat(this.f, this.cpu, name, converted, this.float);
  }
  call(name: string, ...args: Expr[]): Expr {
    const e = this.helper(name, args);
    if (HELPER_BY_NAME.get(name)!.result !== '') return this.f.let(e);
    this.f.run(e);
    return x.i64Const(0n);
  }
  check(name: string, ...args: Expr[]): void {
    this.f.if(this.helper(name, args), () => this.leave());
  }
}
