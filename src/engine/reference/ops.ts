/**
 * The reference meaning of the vocabulary: values are bigints, effects happen at once on a ReferenceState. Slow and
 * obvious; the other engines are compared with it.
 */
import { condition, FLAG_RECIPES, recipeFlag } from '../../isa/flags.ts';
import { HELPERS, type HelperSpec } from '../../isa/helpers.ts';
import type { Insn, OperandValue } from '../../isa/insn.ts';
import { EXC, SEG } from '../../isa/layout.ts';
import {
  type FaultName,
  FLAG_BIT,
  type Flag,
  type MemWidth,
  type Ops,
  type SegRef,
  type Width,
} from '../../isa/ops.ts';
import { vectorOp } from '../../isa/vector-ops.ts';
import { GuestFault, isCanonical, linearAddress, linearUnchecked, type ReferenceMemory } from './memory.ts';
import { ReferencePure } from './pure.ts';
import { flagBits, type ReferenceState } from './state.ts';

/** A runtime helper for the reference; integers come and go as unsigned bigints. */
export type ReferenceHelper = (state: ReferenceState, memory: ReferenceMemory, ...args: bigint[]) => bigint;

/** The row calls a runtime helper that the reference was not given. Not a fault of the guest. */
export class NoReference extends Error {
  readonly helper: string;
  constructor(helper: string) {
    super(`the reference has no helper ${helper}; give it one, or skip the row`);
    this.helper = helper;
  }
}

const SPECS: ReadonlyMap<string, HelperSpec> = new Map(HELPERS.map((h) => [h.name, h]));
const VECTORS: Readonly<Record<FaultName, number>> = {
  de: EXC.DE,
  ud: EXC.UD,
  gp: EXC.GP,
  br: EXC.BR,
  nm: EXC.NM,
  mf: EXC.MF,
  xm: EXC.XM,
};
const TYPE_BITS: Readonly<Record<string, number>> = { i: 32, l: 64, v: 128 };
const cut = (bits: number, v: bigint): bigint => BigInt.asUintN(bits, v);

export class ReferenceOps extends ReferencePure implements Ops<bigint> {
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly stack: 16 | 32 | 64;
  readonly long: boolean;
  /** Where execution goes on, as a linear rip: the next instruction unless the row says otherwise. */
  target: bigint;
  private readonly insn: Insn;
  private readonly state: ReferenceState;
  private readonly memory: ReferenceMemory;
  private readonly helpers: ReadonlyMap<string, ReferenceHelper>;

  constructor(
    insn: Insn,
    state: ReferenceState,
    memory: ReferenceMemory,
    helpers: ReadonlyMap<string, ReferenceHelper>,
  ) {
    super();
    this.w = insn.w;
    this.asize = insn.asize;
    this.stack = insn.mode.stack;
    this.long = insn.mode.code === 64;
    this.insn = insn;
    this.state = state;
    this.memory = memory;
    this.helpers = helpers;
    this.target = this.nextRip();
  }

  // Operands.

  private operand(n: number): OperandValue {
    const op = this.insn.operands[n];
    if (!op) throw new RangeError(`${this.insn.row.name}: no operand ${n}`);
    return op;
  }

  width(n: number): MemWidth {
    const op = this.operand(n);
    switch (op.kind) {
      case 'rel':
      case 'far':
        return this.w;
      case 'mem':
        if (op.width === 0 || op.width === 48) throw new Error(`${this.insn.row.name}: operand ${n} has no width`);
        return op.width;
      default:
        return op.width;
    }
  }

  isMem(n: number): boolean {
    return this.operand(n).kind === 'mem';
  }

  half(n: number, h: 0 | 1): bigint {
    const op = this.operand(n);
    const whole = op.kind === 'reg' ? this.state.get('ymm', op.n) : this.readMemory(n);
    return cut(128, whole >> BigInt(128 * h));
  }

  setWide(n: number, low: bigint, high: bigint): void {
    const op = this.operand(n);
    const v = (high << 128n) | cut(128, low);
    if (op.kind === 'reg') this.state.set('ymm', v, op.n);
    else this.set(n, v);
  }

  offset(n: number, vectorIndex?: bigint): bigint {
    const where = this.insn.row.operands[n]?.where;
    if (where === 'X') return this.reg(this.asize, 6);
    if (where === 'Y') return this.reg(this.asize, 7);
    const mem = this.insn.mem;
    if (!mem) throw new Error(`${this.insn.row.name}: operand ${n} is not in memory`);
    let at = mem.disp + (mem.ripRelative ? this.nextRip() : 0n);
    if (mem.base !== undefined) at += this.state.get('gpr', mem.base);
    if (mem.base === 4 && this.insn.row.popsFirst) at += BigInt(this.w / 8);
    if (mem.index !== undefined) at += this.state.get('gpr', mem.index) << BigInt(mem.scale);
    if (vectorIndex !== undefined) at += vectorIndex << BigInt(mem.scale);
    if (this.insn.row.bitOffset) at += this.bitOffset();
    return cut(this.asize, at);
  }

  /** Bytes that the signed bit number in operand 1 lies away from the operand's address, in steps of its width. */
  private bitOffset(): bigint {
    if (this.operand(1).kind !== 'reg') return 0n;
    return (BigInt.asIntN(this.w, this.get(1)) / BigInt(this.w) - this.roundDown()) * BigInt(this.w / 8);
  }

  /** 1 when the signed bit number is negative and not a multiple of the width: division truncates, addresses floor. */
  private roundDown(): bigint {
    const bit = BigInt.asIntN(this.w, this.get(1));
    return bit < 0n && bit % BigInt(this.w) !== 0n ? 1n : 0n;
  }

  private segmentOf(n: number): number {
    const where = this.insn.row.operands[n]?.where;
    if (where === 'Y') return SEG.es;
    return where === 'X' ? this.insn.seg : this.insn.mem!.seg;
  }

  private address(n: number, write: boolean): bigint {
    const bytes = this.width(n) / 8;
    const seg = this.segmentOf(n);
    const offset = this.offset(n);
    // Alignment is checked before the segment and the canonical form, as CPUs do.
    const misaligned = linearUnchecked(this.state, this.insn.mode, seg, offset) & BigInt(bytes - 1);
    if (this.insn.row.aligned && bytes >= 16 && misaligned) throw new GuestFault(EXC.GP);
    return linearAddress(this.state, this.insn.mode, seg, offset, bytes, write);
  }

  /** Reads a memory operand; one that is also written is read with the intent to write, so its #PF has W set. */
  private readMemory(n: number): bigint {
    const bytes = this.width(n) / 8;
    const { read, write } = this.insn.row.operands[n]!;
    const at = this.address(n, read && write);
    if (read && write) this.memory.probe(at, bytes);
    return this.memory.read(at, bytes);
  }

  get(n: number): bigint {
    const op = this.operand(n);
    switch (op.kind) {
      case 'imm':
        return op.value;
      case 'mem':
        return this.readMemory(n);
      case 'reg':
        return this.readRegister(op);
      case 'far':
        return op.offset | (BigInt(op.selector) << 32n);
      default:
        throw new Error(`${this.insn.row.name}: operand ${n} is a ${op.kind}, which has no value`);
    }
  }

  set(n: number, v: bigint): void {
    const op = this.operand(n);
    if (op.kind === 'mem') this.memory.write(this.address(n, true), this.width(n) / 8, cut(this.width(n), v));
    else if (op.kind === 'reg') this.writeRegister(op, v);
    else throw new Error(`${this.insn.row.name}: operand ${n} is a ${op.kind}, which cannot be written`);
  }

  number(n: number): bigint {
    const op = this.operand(n);
    if (op.kind !== 'reg') throw new Error(`${this.insn.row.name}: operand ${n} is no register`);
    return BigInt(op.n);
  }

  private readRegister(op: Extract<OperandValue, { kind: 'reg' }>): bigint {
    switch (op.cls) {
      case 'gpr':
        if (op.high) return (this.state.get('gpr', op.n) >> 8n) & 0xffn;
        return this.reg(op.width as Width, op.n);
      case 'seg':
        return this.state.get('seg_sel', op.n);
      case 'xmm':
        return this.xmm(op.n);
      case 'mm':
        return cut(64, this.state.get('fpr', op.n));
      default:
        throw new Error(`${this.insn.row.name}: ${op.cls} registers are read by helpers only`);
    }
  }

  private writeRegister(op: Extract<OperandValue, { kind: 'reg' }>, v: bigint): void {
    switch (op.cls) {
      case 'gpr':
        if (op.high) {
          this.state.set('gpr', (this.state.get('gpr', op.n) & ~0xff00n) | (cut(8, v) << 8n), op.n);
        } else this.setReg(op.width as Width, op.n, v);
        break;
      case 'xmm':
        this.setXmm(op.n, v);
        break;
      case 'mm': // the exponent becomes all ones (SDM vol.1 9.6.2)
        this.state.set('fpr', (0xffffn << 64n) | cut(64, v), op.n);
        break;
      default:
        throw new Error(`${this.insn.row.name}: ${op.cls} registers are written by helpers only`);
    }
  }

  // Registers, memory, fields.

  reg(w: Width, r: number): bigint {
    return this.state.reg(w, r);
  }
  setReg(w: Width, r: number, v: bigint): void {
    this.state.setReg(w, r, v);
  }

  private segmentNumber(seg: SegRef): number {
    return seg === 'insn' ? this.insn.seg : SEG[seg];
  }
  private checked(w: Width | 128, seg: SegRef, offset: bigint, write: boolean): bigint {
    return linearAddress(this.state, this.insn.mode, this.segmentNumber(seg), offset, w / 8, write);
  }
  linear(seg: SegRef, offset: bigint): bigint {
    return linearUnchecked(this.state, this.insn.mode, this.segmentNumber(seg), offset);
  }
  load(w: Width, seg: SegRef, offset: bigint): bigint {
    return this.memory.read(this.checked(w, seg, offset, false), w / 8);
  }
  store(w: Width, seg: SegRef, offset: bigint, v: bigint): void {
    this.memory.write(this.checked(w, seg, offset, true), w / 8, cut(w, v));
  }
  probeStore(w: Width | 128, seg: SegRef, offset: bigint): void {
    this.memory.probe(this.checked(w, seg, offset, true), w / 8);
  }

  field(name: string, index = 0): bigint {
    return this.state.get(name, index);
  }
  setField(name: string, v: bigint, index = 0): void {
    this.state.set(name, v, index);
  }

  // Flags.

  flag(f: Flag): bigint {
    return (this.arith() >> BigInt(FLAG_BIT[f])) & 1n;
  }
  cond(cc: number): bigint {
    return condition(this, (f) => this.flag(f), cc);
  }
  flags(recipe: string, w: Width, v: { r: bigint; x?: bigint; y?: bigint }): void {
    const rec = FLAG_RECIPES.find((r) => r.name === recipe);
    if (!rec) throw new Error(`no flag recipe ${recipe}`);
    const { r, x = 0n, y = 0n } = v;
    this.setArith(flagBits((f) => recipeFlag(this, f, rec, w, r, x, y)));
  }
  setFlag(f: Flag, v: () => bigint): void {
    const bit = BigInt(FLAG_BIT[f]);
    this.setArith((this.arith() & ~(1n << bit)) | ((v() & 1n) << bit));
  }
  arith(): bigint {
    return this.state.arith(this);
  }
  setArith(v: bigint): void {
    this.state.setArith(v);
  }

  // Control.

  if(c: bigint, then: () => void, otherwise?: () => void): void {
    if (c !== 0n) then();
    else otherwise?.();
  }
  fault(c: bigint, name: FaultName, error = 0n): void {
    if (c !== 0n) throw new GuestFault(VECTORS[name], error);
  }
  nextRip(): bigint {
    const next = this.state.get('rip') + BigInt(this.insn.length);
    return cut(this.long ? 64 : 32, next);
  }
  thisRip(): bigint {
    return this.state.get('rip');
  }
  private relativeTarget(): bigint {
    const rel = this.insn.operands.find((op) => op.kind === 'rel');
    if (rel?.kind !== 'rel') throw new Error(`${this.insn.row.name}: branch without a relative operand`);
    return this.nextRip() + BigInt(rel.value);
  }
  /** A target as rip; throws when it may not be one. */
  private checkedTarget(rip: bigint): bigint {
    const target = cut(this.w, rip);
    if (this.long ? !isCanonical(target) : target > this.state.get('seg_limit', SEG.cs)) throw new GuestFault(EXC.GP);
    return target;
  }
  checkBranch(c = 1n): void {
    if (c !== 0n) this.checkedTarget(this.relativeTarget());
  }
  branch(c = 1n): void {
    if (c !== 0n) this.jump(this.relativeTarget());
  }
  jump(rip: bigint): void {
    this.target = this.checkedTarget(rip);
  }

  // Helpers.

  call(name: string, ...args: bigint[]): bigint {
    const spec = SPECS.get(name);
    if (!spec) throw new Error(`${this.insn.row.name}: no helper ${name} in src/isa/helpers.ts`);
    if (args.length !== spec.params.length)
      throw new Error(`${name}: ${spec.params.length} arguments, not ${args.length}`);
    const helper = this.helpers.get(name);
    if (!helper) throw new NoReference(name);
    const values = args.map((v, i) => cut(TYPE_BITS[spec.params[i]!]!, v));
    return cut(TYPE_BITS[spec.result] ?? 64, helper(this.state, this.memory, ...values));
  }
  check(name: string, ...args: bigint[]): void {
    if (this.call(name, ...args) === 0n) return;
    const { state } = this;
    throw new GuestFault(Number(state.get('exc_vector')), state.get('exc_error'), state.get('exc_cr2'));
  }
  transfer(name: string, ...args: bigint[]): void {
    this.check(name, ...args);
    this.target = this.state.get('rip');
  }

  // Vectors.

  vec(op: string, ...args: bigint[]): bigint {
    const { params, ref, result } = vectorOp(op);
    if (args.length !== params.length) throw new Error(`${op}: ${params.length} arguments, not ${args.length}`);
    return cut(TYPE_BITS[result]!, ref(...args.map((v, i) => cut(TYPE_BITS[params[i]!]!, v))));
  }
  vk(n: bigint): bigint {
    return cut(128, n);
  }
  lane(w: Width, v: bigint, i: number): bigint {
    return cut(w, v >> BigInt(i * w));
  }
  withLane(w: Width, v: bigint, i: number, x: bigint): bigint {
    const at = BigInt(i * w);
    return (v & ~(((1n << BigInt(w)) - 1n) << at)) | (cut(w, x) << at);
  }
  shuffle(a: bigint, b: bigint, bytes: readonly number[]): bigint {
    const both = (b << 128n) | a;
    return bytes.reduce((v, from, i) => v | (cut(8, both >> BigInt(from * 8)) << BigInt(i * 8)), 0n);
  }
  xmm(r: number): bigint {
    return cut(128, this.state.get('ymm', r));
  }
  setXmm(r: number, v: bigint): void {
    this.state.set('ymm', ((this.state.get('ymm', r) >> 128n) << 128n) | cut(128, v), r);
  }
  setHigh(r: number, v: bigint): void {
    this.state.set('ymm', (cut(128, v) << 128n) | this.xmm(r), r);
  }
}
