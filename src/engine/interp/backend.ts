/**
 * The interpreter's implementation of the vocabulary: values are WebAssembly expressions, operands come from the
 * decoded record, state lives in memory. `HandlerOps` emits the body of one handler, `(cpu, rec) -> ()`.
 */
import { ccOp } from '../../isa/flags.ts';
import { HELPERS, type HelperSpec } from '../../isa/helpers.ts';
import { CPU, CPU_FIELDS, EXC, REC, SEG, TLB } from '../../isa/layout.ts';
import {
  type FaultName,
  FLAG_BIT,
  type Flag,
  type MemWidth,
  type Ops,
  type SegRef,
  type Width,
} from '../../isa/ops.ts';
import { type Operand, sizeBits } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { memoryOperand, type Shape } from '../shape.ts';
import { type Chain, follow } from './chain.ts';
import { type FloatState, hasInlineFloat, inlineFloat, isQuiet } from './float.ts';
import { VectorWasm } from './pure.ts';
import type { Place, RecordFields } from './record.ts';
import { checkSegment } from './segment.ts';
import { MEM_ALIGN_SHIFT, MEM_STACK, STACK_NONE } from './special.ts';

type Expr = x.Expr;
const HELPER_BY_NAME: ReadonlyMap<string, HelperSpec> = new Map(HELPERS.map((h) => [h.name, h]));
const FIELD_BY_NAME = new Map(CPU_FIELDS.map((f) => [f.name, f]));
const LOW32 = 0xffff_ffffn;
const PAGE_MASK = -4096n;
const SEG_NUMBER: Readonly<Record<Exclude<SegRef, 'insn'>, number>> = SEG;

const load64 = (a: Expr, offset: number): Expr => x.load('i64', a, offset);
const load32 = (a: Expr, offset: number): Expr => x.load('i32', a, offset);
const i64 = x.extendU;

/** Record field that tells where an operand is, by its letter. */
function slotOf(o: Operand): number {
  if ('GVPSCD'.includes(o.where)) return REC.A;
  if ('HB'.includes(o.where)) return REC.C;
  if (o.where === 'L') return REC.IMM;
  if (o.where === 'K') return REC.INDEX;
  return REC.B;
}

/** Loads of an integer of a given width as i64, zero-extended, and the stores of its low bits. */
const LOAD: Readonly<Record<Width, x.LoadOp>> = { 8: 'i64_8u', 16: 'i64_16u', 32: 'i64_32u', 64: 'i64' };
const STORE: Readonly<Record<Width, x.StoreOp>> = { 8: 'i64_8', 16: 'i64_16', 32: 'i64_32', 64: 'i64' };

/** Functions of the runtime for accesses that the TLB does not know. */
export type AccessKind = 'mem_read' | 'mem_write' | 'mem_rmw';

export class HandlerOps extends VectorWasm implements Ops<Expr> {
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly stack: 16 | 32 | 64;
  readonly long: boolean;
  /** Set when the row has left: nothing follows. */
  left = false;
  protected readonly shape: Shape;
  protected readonly cpu: Expr;
  protected readonly rec: RecordFields;
  private readonly chain: Chain;
  private readonly mem: Operand | undefined;
  private linearAddress: Expr | undefined;
  private rmwHost: Expr | undefined;
  private floats: (FloatState & { readonly fault: number }) | undefined;
  /** Host address of a memory operand of 256 bits that has been read. */
  private wideHost: Expr | undefined;

  constructor(f: FunctionBuilder, shape: Shape, rec: RecordFields, chain: Chain) {
    super(f);
    this.chain = chain;
    this.shape = shape;
    this.w = shape.w;
    this.asize = shape.asize;
    this.long = shape.env === 'long';
    this.stack = shape.env === 'long' ? 64 : shape.env === 'legacy32' ? 32 : 16;
    this.cpu = f.param(0);
    this.rec = rec;
    this.mem = shape.ea === 'none' ? undefined : memoryOperand(shape.row);
  }

  // --- operands --------------------------------------------------------------------------------------------
  private operand(n: number): Operand {
    return this.shape.row.operands[n]!;
  }
  width(n: number): MemWidth {
    return sizeBits(this.operand(n).size, this.w, this.long) as MemWidth;
  }
  isMem(n: number): boolean {
    return this.mem !== undefined && this.operand(n) === this.mem;
  }
  protected field16(offset: number): Expr {
    return this.rec.load('i32_16u', offset);
  }
  /** Place of the register that the record names for operand `o`. */
  private registerAt(o: Operand): Place {
    return this.rec.place(this.cpu, slotOf(o));
  }
  private loadAt(op: x.LoadOp, { at, offset }: Place, plus = 0): Expr {
    return this.f.let(x.load(op, at, offset + plus));
  }
  number(n: number): Expr {
    return i64(this.field16(slotOf(this.operand(n))));
  }
  get(n: number): Expr {
    const o = this.operand(n);
    if (o.where === 'fixed') {
      return o.text === '1' ? x.i64Const(1n) : this.reg(this.width(n) as Width, o.fixed!);
    }
    if (o.where === 'I') return this.immediate(n);
    if (this.isMem(n)) return this.loadOperand(n, o);
    const width = this.width(n);
    if (o.where === 'A') return this.rec.load('i64', REC.IMM);
    if ('VWUHLK'.includes(o.where)) return this.loadAt('v128', this.registerAt(o));
    if (o.where === 'S') {
      const at = x.add(this.cpu, x.binary('shl', this.field16(REC.A), x.i32Const(1)));
      return this.f.let(x.load('i64_16u', at, CPU.seg_sel!));
    }
    return this.loadAt(LOAD[(width || 64) as Width], this.registerAt(o));
  }
  /** ENTER's second immediate follows the first in the record. */
  private immediate(n: number): Expr {
    const second = this.shape.row.operands.findIndex((p) => p.where === 'I') !== n;
    if (second) return this.rec.load('i64_32u', REC.DISP);
    if (this.shape.row.enc.vex) return this.rec.load('i64_32u', REC.IMM);
    return this.rec.load('i64', REC.IMM);
  }
  set(n: number, v: Expr): void {
    const o = this.operand(n);
    const width = this.width(n);
    if (this.isMem(n)) this.storeOperand(o, width, v);
    else if (o.where === 'fixed') this.setReg(width as Width, o.fixed!, v);
    else if (v.type === 'v128') this.storeAt('v128', this.registerAt(o), v);
    else if ('PQN'.includes(o.where)) this.writeMmx(this.registerAt(o), v);
    else this.writeInteger('GERZB'.includes(o.where) ? width : 64, this.registerAt(o), v);
  }
  /** The rule of SDM vol.1 3.4.1.1: 32-bit writes clear the upper half, narrower ones keep it. */
  private writeInteger(width: number, to: Place, v: Expr): void {
    if (width === 32) this.storeAt('i64', to, this.zext(32, v));
    else this.storeAt(STORE[width as Width], to, i64(v));
  }
  private storeAt(op: x.StoreOp, { at, offset }: Place, v: Expr, plus = 0): void {
    this.f.store(op, at, offset + plus, v);
  }
  /** A write to an MMX register sets the sign and exponent above it to ones (SDM vol.1 9.2.1). */
  private writeMmx(to: Place, v: Expr): void {
    this.storeAt('i64', to, i64(v));
    this.storeAt('i32_16', to, x.i32Const(0xffff), 8);
  }
  half(n: number, h: 0 | 1): Expr {
    const o = this.operand(n);
    if (!this.isMem(n)) return this.loadAt('v128', this.registerAt(o), 16 * h);
    if (!this.wideHost) {
      const va = this.operandAddress();
      this.checkAlignment(va, 256);
      this.wideHost = this.host(va, 32, 'mem_read');
    }
    return this.f.let(x.load('v128', this.wideHost, 16 * h));
  }
  setWide(n: number, low: Expr, high: Expr): void {
    const o = this.operand(n);
    const [l, h] = [this.f.let(low), this.f.let(high)];
    let to = this.registerAt(o);
    if (this.isMem(n)) {
      const va = this.operandAddress();
      this.checkAlignment(va, 256);
      to = { at: this.host(va, 32, 'mem_write'), offset: 0 };
    }
    this.storeAt('v128', to, l);
    this.storeAt('v128', to, h, 16);
    if (this.isMem(n)) this.commit(to.at);
  }
  offset(_n: number, index?: Expr): Expr {
    const sum = index ? this.vectorEffective(i64(index)) : this.effective();
    return this.f.let(this.asize === 64 ? sum : x.and(sum, x.i64Const((1n << BigInt(this.asize)) - 1n)));
  }
  reg(w: Width, r: number): Expr {
    return this.f.let(x.load(LOAD[w], this.cpu, CPU.gpr! + r * 8));
  }
  setReg(w: Width, r: number, v: Expr): void {
    if (w === 32) this.f.store('i64', this.cpu, CPU.gpr! + r * 8, this.zext(32, v));
    else this.f.store(STORE[w], this.cpu, CPU.gpr! + r * 8, i64(v));
  }

  // --- memory ----------------------------------------------------------------------------------------------
  private based(offset: number): Expr {
    return this.rec.value(this.cpu, offset);
  }
  /** base + index << scale + displacement. */
  private effective(): Expr {
    const disp = this.rec.load('i64_32s', REC.DISP);
    const base = x.add(this.based(REC.BASE), disp);
    if (this.shape.ea === 'plain') return base;
    const scale = this.rec.load('i64_8u', REC.SCALE);
    return x.add(base, x.binary('shl', this.based(REC.INDEX), scale));
  }
  /** base + displacement + element of the index vector << scale. */
  private vectorEffective(index: Expr): Expr {
    const base = x.add(this.based(REC.BASE), this.rec.load('i64_32s', REC.DISP));
    return x.add(base, x.binary('shl', index, this.rec.load('i64_8u', REC.SCALE)));
  }
  /** Linear address of the memory operand (long mode, or computed by the record before). */
  private operandAddress(): Expr {
    if (!this.linearAddress) {
      const ea = this.effective();
      this.linearAddress = this.f.let(this.shape.ea === 'full' ? x.add(ea, this.based(REC.SEG)) : ea);
    }
    return this.linearAddress;
  }
  /**
   * Host address of a linear range, as an i32 variable: TLB hit inline, else the runtime. Leaves with the fault
   * when the runtime reports one.
   */
  protected host(va: Expr, bytes: number, kind: AccessKind, seg: SegRef = 'insn'): Expr {
    const { f, cpu } = this;
    const { entry, isHit } = this.lookUp(va, bytes, kind);
    const at = f.temporary('i32');
    f.if(
      isHit,
      () => f.setVariable(at, x.add(x.wrap(va), load32(entry, TLB.ADDEND))),
      () => {
        f.setVariable(at, f.call(kind, cpu, va, this.sizeFor(bytes, seg)));
        this.chain.ahead?.again();
        f.unlikely(x.eqz(f.get(at)), () => this.leaveWithFault());
      },
      1,
    );
    return x.localGet(at, 'i32');
  }
  /** The entry of the data TLB for a linear range, and whether it holds all of it. */
  protected lookUp(va: Expr, bytes: number, kind: AccessKind): { entry: Expr; isHit: Expr } {
    const slot = x.and(x.wrap(x.binary('shr_u', va, x.i64Const(7n))), x.i32Const((TLB.ENTRIES - 1) * TLB.ENTRY_SIZE));
    const entry = this.f.let(x.add(load32(this.cpu, CPU.tlb_ptr!), slot));
    const tag = load64(entry, kind === 'mem_read' ? TLB.TAG_READ : TLB.TAG_WRITE);
    const last = bytes === 1 ? va : x.add(va, x.i64Const(BigInt(bytes - 1)));
    return { entry, isHit: x.compare('eq', tag, x.and(last, x.i64Const(PAGE_MASK))) };
  }
  /** The row's own alignment for #AC as a mark of a size. */
  private alignmentMark(): number {
    const { aligns } = this.shape.row;
    if (aligns === undefined) return 0;
    return (aligns === 'none' ? 1 : this.w === 16 ? 2 : 3) << MEM_ALIGN_SHIFT;
  }
  /**
   * Size of a slow access, with the marks of the stack segment, whose non-canonical addresses are #SS, and of the
   * alignment.
   */
  private sizeFor(n: number, seg: SegRef): Expr {
    const bytes = n | this.alignmentMark();
    if (seg !== 'insn') return x.i32Const(seg === 'ss' ? bytes | MEM_STACK : bytes);
    if (!this.long) return x.i32Const(bytes);
    const stack = x.compare('eq', this.field16(REC.SEG), x.i32Const(STACK_NONE));
    return x.or(x.binary('shl', stack, x.i32Const(Math.log2(MEM_STACK))), x.i32Const(bytes));
  }
  private loadOperand(n: number, o: Operand): Expr {
    const width = this.width(n);
    const va = this.operandAddress();
    this.checkAlignment(va, width);
    const host = this.host(va, width / 8, o.write ? 'mem_rmw' : 'mem_read');
    if (o.write) this.rmwHost = host;
    return this.f.let(x.load(width === 128 ? 'v128' : LOAD[width as Width], host, 0));
  }
  private storeOperand(o: Operand, width: MemWidth, v: Expr): void {
    const value = this.f.let(v.type === 'i32' ? i64(v) : v);
    const va = this.operandAddress();
    this.checkAlignment(va, width);
    const host = (o.read ? this.rmwHost : undefined) ?? this.host(va, width / 8, 'mem_write');
    this.f.store(value.type === 'v128' ? 'v128' : STORE[width as Width], host, 0, value);
    this.commit(host);
  }
  /** A store into the bounce buffer is carried to where it belongs. */
  protected commit(host: Expr): void {
    const { f, cpu } = this;
    f.unlikely(x.compare('eq', host, x.add(cpu, x.i32Const(CPU.bounce!))), () => {
      f.run(f.call('mem_commit', cpu));
      this.chain.ahead?.again();
    });
  }
  private checkAlignment(va: Expr, width: MemWidth): void {
    if (!this.shape.row.aligned || width < 128) return;
    this.f.unlikely(x.wrap(x.and(va, x.i64Const(BigInt(width / 8 - 1)))), () => this.raise('gp', x.i64Const(0n)));
  }
  /** Linear address of an access by segment and offset, checked against the segment outside 64-bit mode. */
  private segmented(seg: SegRef, offset: Expr, bytes: number, write: boolean): Expr {
    const { f, cpu } = this;
    const at = seg === 'insn' ? this.field16(REC.SEG) : x.i32Const(CPU.seg_base! + SEG_NUMBER[seg] * 8);
    if (this.long) {
      if (seg !== 'insn' && seg !== 'fs' && seg !== 'gs') return f.let(offset);
      return f.let(x.add(offset, load64(x.add(cpu, at), 0)));
    }
    const off = f.let(offset);
    const access = { cpu, base: at, offset: off, bytes: x.i32Const(bytes), write: x.i32Const(write ? 1 : 0) };
    checkSegment(f, access, () => this.leaveWithFault());
    return f.let(x.and(x.add(off, load64(x.add(cpu, at), 0)), x.i64Const(LOW32)));
  }
  load(w: Width, seg: SegRef, offset: Expr): Expr {
    const va = this.segmented(seg, i64(offset), w / 8, false);
    return this.f.let(x.load(LOAD[w], this.host(va, w / 8, 'mem_read', seg), 0));
  }
  store(w: Width, seg: SegRef, offset: Expr, v: Expr): void {
    const value = this.f.let(i64(v));
    const host = this.host(this.segmented(seg, i64(offset), w / 8, true), w / 8, 'mem_write', seg);
    this.f.store(STORE[w], host, 0, value);
    this.commit(host);
  }
  linear(seg: SegRef, offset: Expr): Expr {
    const at = seg === 'insn' ? this.field16(REC.SEG) : x.i32Const(CPU.seg_base! + SEG_NUMBER[seg] * 8);
    if (this.long && seg !== 'insn' && seg !== 'fs' && seg !== 'gs') return this.f.let(i64(offset));
    const sum = x.add(i64(offset), load64(x.add(this.cpu, at), 0));
    return this.f.let(this.long ? sum : x.and(sum, x.i64Const(LOW32)));
  }
  probeStore(w: Width | 128, seg: SegRef, offset: Expr): void {
    this.host(this.segmented(seg, i64(offset), w / 8, true), w / 8, 'mem_write', seg);
  }

  // --- fields and flags ------------------------------------------------------------------------------------
  field(name: string, index = 0): Expr {
    if (name === 'sse_fault' && this.floats) return this.f.get(this.floats.fault);
    const f = FIELD_BY_NAME.get(name);
    if (!f) throw new Error(`no vCPU field ${name}`);
    const op = LOAD[(f.stride * 8) as Width];
    return this.f.let(x.load(op, this.cpu, f.offset + index * f.stride));
  }
  setField(name: string, v: Expr, index = 0): void {
    const f = FIELD_BY_NAME.get(name);
    if (!f) throw new Error(`no vCPU field ${name}`);
    this.f.store(STORE[(f.stride * 8) as Width], this.cpu, f.offset + index * f.stride, i64(v));
  }
  flag(flag: Flag): Expr {
    return this.f.let(this.f.call(`flag_${flag}`, this.cpu));
  }
  cond(cc: number): Expr {
    const even = this.f.call(`cond_${cc & ~1}`, this.cpu);
    return this.f.let(cc & 1 ? x.eqz(even) : even);
  }
  flags(recipe: string, w: Width, v: { r: Expr; x?: Expr; y?: Expr }): void {
    this.f.store('i64', this.cpu, CPU.cc_r!, i64(v.r));
    if (v.x) this.f.store('i64', this.cpu, CPU.cc_x!, i64(v.x));
    if (v.y) this.f.store('i64', this.cpu, CPU.cc_y!, i64(v.y));
    this.f.store('i32', this.cpu, CPU.cc_op!, x.i32Const(ccOp(recipe, w)));
  }
  setFlag(flag: Flag, v: () => Expr): void {
    const value = this.f.let(i64(v()));
    const bit = BigInt(FLAG_BIT[flag]);
    this.f.run(this.f.call('explicit', this.cpu));
    const kept = x.and(load64(this.cpu, CPU.cc_x!), x.i64Const(~(1n << bit)));
    this.f.store('i64', this.cpu, CPU.cc_x!, x.or(kept, x.binary('shl', value, x.i64Const(bit))));
  }
  arith(): Expr {
    this.f.run(this.f.call('explicit', this.cpu));
    return this.f.let(load64(this.cpu, CPU.cc_x!));
  }
  setArith(v: Expr): void {
    this.f.store('i64', this.cpu, CPU.cc_x!, i64(v));
    this.f.store('i32', this.cpu, CPU.cc_op!, x.i32Const(0));
  }

  // --- control ---------------------------------------------------------------------------------------------
  if(c: Expr, then: () => void, otherwise?: () => void): void {
    const before = this.left;
    this.f.if(this.truth(c), then, otherwise);
    this.left = before;
  }
  protected leaveWithFault(): void {
    this.f.returnCall('fault', this.cpu, this.rec.address);
  }
  protected raise(name: FaultName, error: Expr | undefined): void {
    const vector = { de: EXC.DE, ud: EXC.UD, gp: EXC.GP, br: EXC.BR, nm: EXC.NM, mf: EXC.MF, xm: EXC.XM }[name];
    this.f.run(this.f.call('raise', this.cpu, x.i32Const(vector), error ? x.wrap(error) : x.i32Const(0)), true);
    this.leaveWithFault();
  }
  fault(c: Expr, name: FaultName, error?: Expr): void {
    this.f.unlikely(this.truth(c), () => this.raise(name, error));
  }
  nextRip(): Expr {
    const within = x.add(this.field16(REC.OFFSET), this.rec.load('i32_8u', REC.LEN));
    return this.f.let(this.cutRip(x.add(load64(this.cpu, CPU.page_base!), i64(within)), this.long ? 64 : 32));
  }
  thisRip(): Expr {
    const at = x.add(load64(this.cpu, CPU.page_base!), i64(this.field16(REC.OFFSET)));
    return this.f.let(this.cutRip(at, this.long ? 64 : 32));
  }
  protected cutRip(rip: Expr, w: Width): Expr {
    return w === 64 ? rip : x.and(rip, x.i64Const((1n << BigInt(w)) - 1n));
  }
  private branchTarget(): Expr {
    const target = x.add(load64(this.cpu, CPU.page_base!), this.rec.load('i64_32s', REC.DISP));
    return this.cutRip(target, this.long && this.w !== 16 ? 64 : this.w);
  }
  /** The relative target lies beyond the limit of CS. */
  private beyondLimit(): Expr {
    return x.compare('gt_u', this.branchTarget(), x.load('i64_32u', this.cpu, CPU.seg_limit! + SEG.cs * 4));
  }
  checkBranch(c?: Expr): void {
    if (this.long) return;
    const beyond = this.beyondLimit();
    this.f.unlikely(c ? x.and(this.truth(c), beyond) : beyond, () => this.raise('gp', x.i64Const(0n)));
  }
  branch(c?: Expr): void {
    if (c) this.f.if(this.truth(c), () => this.takeBranch());
    else {
      this.takeBranch();
      this.left = true;
    }
  }
  protected takeBranch(): void {
    const { f, cpu } = this;
    const rec = this.rec.address;
    this.checkBranch();
    const link = f.let(load32(rec, REC.LINK));
    f.if(link, () => follow(f, this.chain, rec, link, 1));
    const target = f.let(this.branchTarget());
    // Into another page; a branch that was cut to 16 bits is looked at by branch_slow.
    f.if(x.compare('ge_u', this.rec.load('i32', REC.DISP), x.i32Const(4096)), () => this.chain.jump(rec, target));
    f.returnCall('branch_slow', cpu, rec, target);
  }
  jump(rip: Expr): void {
    this.chain.jump(this.rec.address, this.cutRip(i64(rip), this.w));
    this.left = true;
  }

  // --- helpers ---------------------------------------------------------------------------------------------
  /** Scalar SSE arithmetic in line; its fault is then in a local, which `field` gives. */
  private float(name: string, args: readonly Expr[]): Expr {
    this.floats ??= { quiet: this.f.variable('i32'), fault: this.f.variable('i32') };
    this.f.setVariable(this.floats.quiet, isQuiet(this.cpu));
    return inlineFloat(this.f, this.cpu, name, args, this.floats);
  }
  private helper(name: string, args: readonly Expr[]): Expr {
    const spec = HELPER_BY_NAME.get(name);
    if (!spec) throw new Error(`no helper ${name} in src/isa/helpers.ts`);
    if (args.length !== spec.params.length) throw new Error(`helper ${name} takes ${spec.params.length} arguments`);
    const converted = args.map((a, i) => {
      const p = spec.params[i];
      return p === 'i' ? x.wrap(a) : p === 'l' ? i64(a) : a;
    });
    if (hasInlineFloat(name)) return this.float(name, converted);
    const named = converted.map((a) => this.f.let(a));
    if (spec.flags) this.f.run(this.f.call('explicit', this.cpu));
    return this.f.call(name, this.cpu, ...named);
  }
  call(name: string, ...args: Expr[]): Expr {
    const e = this.helper(name, args);
    const hasResult = HELPER_BY_NAME.get(name)!.result !== '';
    const value = hasResult ? this.f.let(e) : x.i64Const(0n);
    if (!hasResult) this.f.run(e);
    this.chain.ahead?.again();
    return value;
  }
  check(name: string, ...args: Expr[]): void {
    this.f.unlikely(this.helper(name, args), () => this.leaveWithFault());
    this.chain.ahead?.again();
  }
  transfer(name: string, ...args: Expr[]): void {
    this.check(name, ...args);
    this.f.returnCall('transferred', this.cpu, this.rec.address);
    this.left = true;
  }

  // --- vector registers ------------------------------------------------------------------------------------
  xmm(r: number): Expr {
    return this.f.let(x.load('v128', this.cpu, CPU.ymm! + r * 32));
  }
  setXmm(r: number, v: Expr): void {
    this.f.store('v128', this.cpu, CPU.ymm! + r * 32, v);
  }
  setHigh(r: number, v: Expr): void {
    this.f.store('v128', this.cpu, CPU.ymm! + r * 32 + 16, v);
  }
}
