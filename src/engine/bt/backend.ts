/**
 * The translator's implementation of the vocabulary: guest registers are WebAssembly locals of the region, operands
 * are constants. A memory access that misses the TLB and cannot be filled, and every fault, leaves the region
 * before the instruction has changed anything; the interpreter then carries that instruction out.
 */
import { ccOp, ccRecipe, condition, FLAG_RECIPES, recipeCondition, recipeFlag } from '../../isa/flags.ts';
import { HELPERS, type HelperSpec } from '../../isa/helpers.ts';
import type { MemRef, OperandValue } from '../../isa/insn.ts';
import { CPU, CPU_FIELDS, ITLB_CTX_NEVER, RECENT, SEG, TLB } from '../../isa/layout.ts';
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
import { SYNCED_HELPERS, type Synced } from './synced.ts';

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

/** Accesses that probably go to the same page have the same key: those off the same base register. */
export function accessKey(m: MemRef): string {
  if (m.ripRelative || m.base === undefined) return `page ${m.disp >> 12n}`;
  return `base ${m.base}`;
}
export const STACK_KEY = 'base 4';
const baseOf = (key: string): number | undefined => (key.startsWith('base ') ? Number(key.slice(5)) : undefined);

/** Is it worth keeping the page of a key: for loads, for stores? */
export interface PageUse {
  readonly read: boolean;
  readonly write: boolean;
}

/** What is known about a register's value at this point. */
interface Known {
  /** Number of low bits outside of which it is 0. */
  readonly bits: number;
  /** A local that is never written again and holds the value; and one for the low byte. */
  readonly value?: Expr | undefined;
  readonly low8?: Expr | undefined;
}
const NOTHING: Known = { bits: 64 };

type Lane0 = NonNullable<Expr['lane0']>;

/** What is known at a point of the code and holds only on the path to it. */
export interface Knowledge {
  readonly flags: FlagState;
  readonly gprs: readonly Known[];
  /** What lane 0 of an XMM register was set to. */
  readonly lanes: ReadonlyMap<number, Lane0>;
}

/** CMP, or TEST, of a register with another (its number) or a constant, cut to `w` bits. */
export interface Comparison {
  readonly test: boolean;
  readonly w: 32 | 64;
  readonly x: number;
  readonly y: number | bigint;
}

const comparisonOp = (c: Comparison): number => ccOp(c.test ? 'logic' : 'sub', c.w);
/** Two reads of the same local, or the same constant. */
const isSameLocal = (a: Expr, b: Expr): boolean =>
  a.args.length === 0 && b.args.length === 0 && a.code.join() === b.code.join();

/** What the region's emitter does for an instruction that leaves the straight line. */
export interface RegionControl {
  /** Leaves the region before instruction `i`, which the interpreter carries out. */
  leaveAt(i: RegionInsn): void;
  /** The instruction's own branch is taken. */
  branch(): void;
  /** Control goes to a computed rip. */
  jump(rip: Expr): void;
  /** Leaves behind the current instruction to look for events if the condition holds. */
  leaveBehindIf(condition: Expr): void;
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
  /** What is being translated is a loop of few blocks: its next access may well be to another page. */
  inTightLoop = false;
  private flagState: FlagState = { kind: 'unknown' };
  private known: Known[] = new Array(16).fill(NOTHING);
  /** Lane 0 of XMM registers where it is not in the register's local yet. */
  private lanes = new Map<number, Lane0>();
  /** Counts the writes to each register: what an arm of a condition has changed is not known behind it. */
  private readonly versions: number[] = new Array(16).fill(0);
  private readonly cpu: Expr;
  private readonly control: RegionControl;
  private readonly pagesKept: ReadonlyMap<string, PageUse>;
  private readonly gprs: (number | undefined)[] = new Array(16).fill(undefined);
  private readonly xmms: (number | undefined)[] = new Array(16).fill(undefined);
  private readonly gprWritten = new Set<number>();
  private readonly xmmWritten = new Set<number>();
  private readonly bases = new Map<number, number>();
  private cc: { op: number; r: number; x: number; y: number } | undefined;
  private readonly recent = new Map<string, number>();
  private tlb: number | undefined;
  private pageBase: number | undefined;
  private float: FloatState | undefined;
  /** The last helper call of the current instruction was in line and has left if there was a fault. */
  private faultsLeft = false;
  private current!: RegionInsn;
  private mem: Operand | undefined;
  private address: Expr | undefined;
  private rmwHost: Expr | undefined;

  /** `pagesKept`: keys (see accessKey) whose page is worth remembering. */
  constructor(f: FunctionBuilder, control: RegionControl, pagesKept: ReadonlyMap<string, PageUse>) {
    super(f);
    this.cpu = f.param(0);
    this.control = control;
    this.pagesKept = pagesKept;
  }

  /** Turns to the next instruction. */
  begin(i: RegionInsn): void {
    const { insn } = i;
    this.f.keepTemporaries(this.knownValues());
    this.current = i;
    this.w = insn.w;
    this.asize = insn.asize;
    this.stack = insn.mode.stack;
    this.long = insn.mode.code === 64;
    this.left = false;
    this.mem = insn.mem ? memoryOperand(insn.row) : undefined;
    this.address = undefined;
    this.rmwHost = undefined;
    this.faultsLeft = false;
  }

  /** What is known here, to be returned to when another path is written. */
  get knowledge(): Knowledge {
    return { flags: this.flagState, gprs: [...this.known], lanes: new Map(this.lanes) };
  }
  set knowledge(k: Knowledge) {
    this.flagState = k.flags;
    this.known = [...k.gprs];
    this.lanes = new Map(k.lanes);
  }
  /** Paths come together here: registers are in their locals, flags in theirs. */
  forget(): void {
    this.flagState = { kind: 'unknown' };
    this.known.fill(NOTHING);
    this.lanes.clear();
  }

  /** The values that what is known refers to. */
  private *knownValues(): Generator<Expr> {
    for (const k of this.known) {
      if (k.value) yield k.value;
      if (k.low8) yield k.low8;
    }
    for (const lane of this.lanes.values()) yield lane.value;
    const s = this.flagState;
    if (s.kind === 'bits') yield s.bits;
    else if (s.kind !== 'unknown') yield* [s.r, s.x, s.y];
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
  /** rip of a position. */
  ripOf(at: number): Expr {
    return this.cutRip(x.add(this.page(), x.i64Const(BigInt(at))));
  }
  /** Linear address that instructions at a position are fetched from: regions outside 64-bit mode are of flat segments. */
  fetchAddress(at: number): Expr {
    return this.ripOf(at);
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
    for (const [key, at] of this.recent) {
      const use = this.pagesKept.get(key)!;
      if (use.read) f.store('i64', cpu, at + TLB.TAG_READ, x.i64Const(BigInt(RECENT.NO_PAGE)));
      if (use.write) f.store('i64', cpu, at + TLB.TAG_WRITE, x.i64Const(BigInt(RECENT.NO_PAGE)));
    }
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
    if (v.high) return this.f.let(x.and(x.binary('shr_u', this.gpr(v.n), x.i64Const(8n)), x.i64Const(0xffn)));
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
  /** The whole register, in a local that stays as it is. */
  private gpr(r: number): Expr {
    const known = this.known[r]!;
    if (known.value) return known.value;
    const value = { ...this.f.let(this.f.get(this.gprVar(r))), bits: known.bits };
    this.known[r] = { ...known, value };
    return value;
  }
  private noteWrite(r: number): void {
    this.gprWritten.add(r);
    this.versions[r]!++;
  }
  reg(w: Width, r: number): Expr {
    const low8 = w === 8 ? this.known[r]!.low8 : undefined;
    return low8 ?? this.f.let(this.zext(w, this.gpr(r)));
  }
  setReg(w: Width, r: number, v: Expr): void {
    if (w < 32) this.insert(r, 0, w, v);
    else {
      this.noteWrite(r);
      const value = this.f.let(w === 32 ? this.zext(32, i64(v)) : i64(v));
      this.f.setVariable(this.gprVar(r), value);
      this.known[r] = { bits: x.bitsOf(value), value };
    }
  }
  /** Replaces `w` bits at `shift` of a register (SDM vol.1 3.4.1.1: 8- and 16-bit writes keep the rest). */
  private insert(r: number, shift: number, w: number, v: Expr): void {
    const local = this.gprVar(r);
    this.noteWrite(r);
    const { bits } = this.known[r]!;
    const kept = x.and(this.gpr(r), x.i64Const(~(ones(w) << BigInt(shift))));
    const value = this.f.let(x.bitsOf(i64(v)) <= w ? i64(v) : x.and(i64(v), x.i64Const(ones(w))));
    this.f.setVariable(local, x.or(kept, x.binary('shl', value, x.i64Const(BigInt(shift)))));
    this.known[r] = { bits: Math.max(bits, 16), low8: w === 8 && shift === 0 ? value : undefined };
  }
  /**
   * The vector of a register. If only lane 0 was written, that is put into it here, in a tree that is worth something
   * only before the register's next write: rows read their operands first.
   */
  xmm(r: number): Expr {
    const lane = this.lanes.get(r);
    const local = this.f.get(this.xmmVar(r));
    if (!lane) return { ...this.f.let(local), lane0: { width: 0, value: local, rest: r } };
    return {
      ...super.withLane(lane.width as Width, lane.rest === 'zero' ? this.vk(0n) : local, 0, lane.value),
      lane0: lane,
    };
  }
  setXmm(r: number, v: Expr): void {
    const { lane0 } = v;
    const old = this.lanes.get(r);
    if (lane0 && lane0.width > 0 && (lane0.rest === 'zero' || lane0.rest === r)) {
      if (lane0.rest === r && old && old.width > lane0.width) this.settleLane(r, old);
      const rest = lane0.rest === r && old?.rest === 'zero' && old.width <= lane0.width ? 'zero' : lane0.rest;
      this.lanes.set(r, { ...lane0, rest });
      return;
    }
    this.xmmWritten.add(r);
    this.f.setVariable(this.xmmVar(r), v);
    this.lanes.delete(r);
  }
  private settleLane(r: number, lane: Lane0): void {
    this.xmmWritten.add(r);
    const local = this.f.get(this.xmmVar(r));
    const rest = lane.rest === 'zero' ? this.vk(0n) : local;
    this.f.setVariable(this.xmmVar(r), super.withLane(lane.width as Width, rest, 0, lane.value));
  }
  override lane(w: Width, v: Expr, i: number): Expr {
    return i === 0 && v.lane0?.width === w ? v.lane0.value : super.lane(w, v, i);
  }
  override withLane(w: Width, v: Expr, i: number, value: Expr): Expr {
    if (i !== 0) return super.withLane(w, v, i, value);
    const named = this.f.let(value);
    const zero = v.code[0] === 0xfd && v.code[1] === 12 && v.code.slice(2).every((b) => b === 0);
    // A narrower lane leaves a part of the wider one.
    const known = v.lane0 && v.lane0.width <= w ? v.lane0.rest : undefined;
    return { ...super.withLane(w, v, 0, named), lane0: { width: w, value: named, rest: zero ? 'zero' : known } };
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
      const index = x.binary('shl', this.gpr(m.index), x.i64Const(BigInt(m.scale)));
      sum = x.add(index, sum);
    }
    if (m.ripRelative) sum = x.add(this.page(), sum);
    else if (m.base !== undefined) sum = x.add(this.gpr(m.base), sum);
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
  /**
   * Host address of a linear range in RAM. The TLB's entry is looked up here; on a miss the runtime fills it, or the
   * region is left. Where an access is likely to be to the same page again (`key`), that page's tag and addend are kept
   * in locals, and an aligned access looks there first.
   */
  private host(va: Expr, bytes: number, write: boolean, key?: string): Expr {
    const { f } = this;
    // An alignment that is no power of two says nothing about crossing a page.
    const recent = key === undefined || (bytes & (bytes - 1)) !== 0 ? undefined : this.recentEntry(key);
    if (recent === undefined) return x.add(x.wrap(va), x.load('i32', this.tlbEntry(va, bytes, write), TLB.ADDEND));
    const { cpu } = this;
    const aligned = x.and(va, x.i64Const(PAGE_MASK | BigInt(bytes - 1)));
    const tag = x.load('i64', cpu, recent + (write ? TLB.TAG_WRITE : TLB.TAG_READ));
    const use = this.pagesKept.get(key!)!;
    f.unlikely(x.compare('ne', tag, aligned), () => {
      const fill = (): void => {
        const entry = x.add(cpu, x.i32Const(recent));
        const filled = f.call('recent_fill', cpu, va, x.i32Const(bytes), x.i32Const(write ? 1 : 0), entry);
        f.unlikely(x.eqz(filled), () => this.leave());
      };
      if (this.inTightLoop) this.recentFromTlb(recent, va, bytes, write, use, fill);
      else fill();
    });
    return x.add(x.wrap(va), x.load('i32', cpu, recent + TLB.ADDEND));
  }
  /** Takes the page of a range from the TLB's entry into one of RECENT, as recent_fill does; `fill` if it is not there. */
  private recentFromTlb(recent: number, va: Expr, bytes: number, write: boolean, use: PageUse, fill: () => void): void {
    const { f, cpu } = this;
    const entry = this.tlbSlot(va);
    f.if(
      this.tlbMisses(entry, va, bytes, write),
      fill,
      () => {
        // Both tags of an entry are of the page that its addend belongs to, or none.
        for (const tag of [...(use.read ? [TLB.TAG_READ] : []), ...(use.write ? [TLB.TAG_WRITE] : [])]) {
          f.store('i64', cpu, recent + tag, x.load('i64', entry, tag));
        }
        f.store('i32', cpu, recent + TLB.ADDEND, x.load('i32', entry, TLB.ADDEND));
      },
      0,
    );
  }
  private tlbSlot(va: Expr): Expr {
    const slot = x.and(x.binary('shr_u', x.wrap(va), x.i32Const(7)), x.i32Const((TLB.ENTRIES - 1) * TLB.ENTRY_SIZE));
    return this.f.let(x.add(this.tlbBase(), slot));
  }
  private tlbMisses(entry: Expr, va: Expr, bytes: number, write: boolean): Expr {
    const tag = x.load('i64', entry, write ? TLB.TAG_WRITE : TLB.TAG_READ);
    const last = bytes === 1 ? va : x.add(va, x.i64Const(BigInt(bytes - 1)));
    return x.compare('ne', tag, x.and(last, x.i64Const(PAGE_MASK)));
  }
  /** The TLB entry that a range hits. */
  private tlbEntry(va: Expr, bytes: number, write: boolean): Expr {
    const { f, cpu } = this;
    const entry = this.tlbSlot(va);
    f.unlikely(this.tlbMisses(entry, va, bytes, write), () => {
      const filled = f.call('ram_fill', cpu, va, x.i32Const(bytes), x.i32Const(write ? 1 : 0));
      f.unlikely(x.eqz(filled), () => this.leave());
    });
    return entry;
  }
  /** Offset from `cpu` of the entry for accesses of a kind, if their page is kept. */
  private recentEntry(key: string): number | undefined {
    if (!this.pagesKept.has(key)) return undefined;
    let at = this.recent.get(key);
    if (at === undefined) {
      const base = baseOf(key);
      const others = [...this.recent.keys()].filter((k) => baseOf(k) === undefined).length;
      const index = base ?? RECENT.BASES + others;
      if (index >= RECENT.ENTRIES) return undefined;
      at = CPU.recent! + index * RECENT.ENTRY_SIZE;
      this.recent.set(key, at);
    }
    return at;
  }
  private leave(): void {
    this.control.leaveAt(this.current);
  }
  private checkAlignment(va: Expr, width: MemWidth): void {
    if (!this.current.insn.row.aligned || width < 128) return;
    this.f.unlikely(x.wrap(x.and(va, x.i64Const(BigInt(width / 8 - 1)))), () => this.leave());
  }
  private loadOperand(n: number): Expr {
    const width = this.width(n);
    const va = this.operandAddress();
    this.checkAlignment(va, width);
    const host = this.f.let(this.host(va, width / 8, this.operand(n).write, accessKey(this.current.insn.mem!)));
    if (this.operand(n).write) this.rmwHost = host;
    return this.f.let(x.load(width === 128 ? 'v128' : LOAD[width as Width], host, 0));
  }
  private storeOperand(n: number, v: Expr): void {
    const width = this.width(n);
    const value = this.f.let(v.type === 'i32' ? i64(v) : v);
    const va = this.operandAddress();
    this.checkAlignment(va, width);
    const host =
      (this.operand(n).read ? this.rmwHost : undefined) ??
      this.host(va, width / 8, true, accessKey(this.current.insn.mem!));
    this.f.store(value.type === 'v128' ? 'v128' : STORE[width as Width], host, 0, value);
  }
  private implicit(seg: SegRef, offset: Expr): Expr {
    const number = seg === 'insn' ? (this.current.insn.mem?.seg ?? this.current.insn.seg) : SEG[seg];
    const at = i64(offset);
    return this.f.let(this.toLinear(number, this.long ? at : this.zext(32, at)));
  }
  load(w: Width, seg: SegRef, offset: Expr): Expr {
    return this.f.let(
      x.load(LOAD[w], this.host(this.implicit(seg, offset), w / 8, false, seg === 'ss' ? STACK_KEY : undefined), 0),
    );
  }
  store(w: Width, seg: SegRef, offset: Expr, v: Expr): void {
    const value = this.f.let(i64(v));
    this.f.store(
      STORE[w],
      this.host(this.implicit(seg, offset), w / 8, true, seg === 'ss' ? STACK_KEY : undefined),
      0,
      value,
    );
  }
  // --- fields and flags ------------------------------------------------------------------------------------
  field(name: string, index = 0): Expr {
    if (name === 'sse_fault' && this.faultsLeft) return x.i64Const(0n);
    const f = FIELD_BY_NAME.get(name)!;
    return this.f.let(x.load(LOAD[(f.stride * 8) as Width], this.cpu, f.offset + index * f.stride));
  }
  setField(name: string, v: Expr, index = 0): void {
    const f = FIELD_BY_NAME.get(name)!;
    this.f.store(STORE[(f.stride * 8) as Width], this.cpu, f.offset + index * f.stride, i64(v));
    if (name === 'mxcsr') {
      this.f.setVariable(this.floatState().quiet, isQuiet(this.cpu));
    }
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
  /** Puts what is known into the locals: on the way out, or where paths come together; `flags`: flags too. */
  settle(flags = true): void {
    for (const [r, lane] of this.lanes) this.settleLane(r, lane);
    if (flags) this.settleFlags();
  }
  private settleFlags(): void {
    const { f } = this;
    const state = this.flagState;
    if (state.kind === 'unknown') return;
    const cc = this.ccVars();
    if (state.kind === 'again') {
      f.if(f.get(state.again), () => this.setCc(state));
      return;
    }
    if (state.kind === 'bits') {
      f.setVariable(cc.op, x.i32Const(0));
      f.setVariable(cc.x, state.bits);
      return;
    }
    this.setCc(state);
  }
  private setCc(state: { op: number; r: Expr; x: Expr; y: Expr }): void {
    const { f } = this;
    const cc = this.ccVars();
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
  /** Are the flags those of a comparison already? Only whole registers are looked at, and no TEST. */
  haveCompared(c: Comparison): boolean {
    const s = this.flagState;
    if (c.test || c.w !== 64 || s.kind !== 'recipe' || s.op !== comparisonOp(c)) return false;
    const [a, b] = this.comparedValues(c);
    return isSameLocal(s.x, a) && isSameLocal(s.y, b);
  }
  private comparedValues(c: Comparison): [Expr, Expr] {
    return [this.reg(c.w, c.x), typeof c.y === 'number' ? this.reg(c.w, c.y) : x.i64Const(c.y)];
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
    const state = this.readFlags();
    if (state.kind === 'bits') return x.and(state.bits, keep);
    if (state.kind === 'unknown' || state.kind === 'again') {
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
    this.flagState = { kind: 'bits', bits: this.f.let(i64(v)) };
  }

  // --- control ---------------------------------------------------------------------------------------------
  if(c: Expr, then: () => void, otherwise?: () => void): void {
    if (c.constant !== undefined) {
      (c.constant === 0n ? otherwise : then)?.();
      return;
    }
    for (const [r, lane] of this.lanes) this.settleLane(r, lane);
    this.lanes.clear();
    const before = this.knowledge;
    const wasLeft = this.left;
    const condition = this.truth(c);
    const versions = [...this.versions];
    let changed = false;
    const arm = (body: (() => void) | undefined, last: boolean) => (): void => {
      this.knowledge = before;
      body?.();
      changed ||= this.flagState !== before.flags;
      for (const [r, lane] of this.lanes) this.settleLane(r, lane);
      // What the other arm will do is not known yet.
      if (changed || (!last && otherwise)) this.settleFlags();
    };
    this.f.if(condition, arm(then, false), arm(otherwise, true));
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
    this.f.unlikely(this.truth(c), () => this.leave());
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
    this.faultsLeft = true;
    return inlineFloat(this.f, this.cpu, name, converted, this.floatState());
  }
  private floatState(): FloatState {
    this.float ??= { quiet: this.f.variable('i32'), leaveIf: (c) => this.f.unlikely(c, () => this.leave()) };
    return this.float;
  }
  call(name: string, ...args: Expr[]): Expr {
    const e = this.helper(name, args);
    if (HELPER_BY_NAME.get(name)!.result !== '') return this.f.let(e);
    this.f.run(e);
    return x.i64Const(0n);
  }
  check(name: string, ...args: Expr[]): void {
    const synced = SYNCED_HELPERS.get(name);
    if (synced) this.before(synced);
    this.f.unlikely(this.helper(name, args), () => this.leave());
    if (synced) this.behind(synced);
  }
  /** Puts what a helper looks at where it looks. */
  private before(s: Synced): void {
    const { f, cpu } = this;
    for (const r of s.reads ?? []) f.store('i64', cpu, CPU.gpr! + r * 8, this.gpr(r));
    if (!s.flags) return;
    this.settleFlags();
    this.ccVars();
    this.storeFlags();
    f.run(f.call('explicit', cpu));
  }
  /** Takes up what a helper has changed. */
  private behind(s: Synced): void {
    const { f, cpu } = this;
    for (const r of s.writes ?? []) {
      this.noteWrite(r);
      f.setVariable(this.gprVar(r), x.load('i64', cpu, CPU.gpr! + r * 8));
      this.known[r] = NOTHING;
    }
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
    f.store('i32', cpu, CPU.shadow!, x.i32Const(0));
  }
}
