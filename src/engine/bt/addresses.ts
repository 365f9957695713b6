/**
 * Linear addresses of a region's operands: segments, displacements and indexes of the current instruction, cut to the
 * width of the mode.
 */
import type { MemRef } from '../../isa/insn.ts';
import { CPU, SEG } from '../../isa/layout.ts';
import type { SegRef, Width } from '../../isa/ops.ts';
import * as x from '../../wasm/expr.ts';
import type { RegionInsn } from './cfg.ts';
import { ones, RegionRegisters } from './registers.ts';
import type { RegionExit } from './ways-out.ts';

type Expr = x.Expr;
const i64 = x.extendU;

export abstract class RegionAddresses extends RegionRegisters {
  w: Width = 32;
  asize: 16 | 32 | 64 = 32;
  stack: 16 | 32 | 64 = 32;
  protected current!: RegionInsn;
  /** Variables that hold the bases of FS and GS. */
  protected readonly bases = new Map<number, number>();
  private address: Expr | undefined;

  /** Outside 64-bit mode addresses are cut to 32 bits: distances hold modulo 2^32 there. */
  override zext(w: Width, v: Expr): Expr {
    const known = w === 32 ? this.known.find((k) => k.value && x.isSameLeaf(k.value, v))?.low32 : undefined;
    const cut = known ?? super.zext(w, v);
    return w === 32 && !this.long && v.origin ? x.known(cut, cut.bits, v.origin) : cut;
  }

  /** Leaves the region before the current instruction. @returns the exit, if it is in the table */
  protected abstract leave(): RegionExit | undefined;
  /** Value of an operand. */
  abstract get(n: number): Expr;

  /** Turns to the next instruction. */
  begin(i: RegionInsn): void {
    const { insn } = i;
    this.f.freeTemporaries();
    this.keepKnown();
    this.current = i;
    this.w = insn.w;
    this.asize = insn.asize;
    this.stack = insn.mode.stack;
    this.long = insn.mode.code === 64;
    this.address = undefined;
  }
  override prologue(): void {
    super.prologue();
    for (const [seg, v] of this.bases) this.f.setVariable(v, x.load('i64', this.cpu, CPU.seg_base! + seg * 8));
  }
  /** An address that is worth a local, if it is. */
  protected abstract named(va: Expr): Expr;

  protected segmentBase(seg: number): Expr | undefined {
    if (seg !== SEG.fs && seg !== SEG.gs) return undefined;
    let v = this.bases.get(seg);
    if (v === undefined) {
      v = this.f.variable('i64');
      this.bases.set(seg, v);
    }
    return this.f.get(v);
  }
  protected displacement(m: MemRef): bigint {
    const { insn, at } = this.current;
    const popped = insn.row.popsFirst && m.base === 4 ? BigInt(insn.w / 8) : 0n;
    return m.disp + popped + (m.ripRelative ? BigInt(at + insn.length) : 0n);
  }
  private effective(m: MemRef): Expr {
    let sum: Expr = x.i64Const(this.displacement(m));
    if (m.index !== undefined) {
      const index = x.binary('shl', this.gpr(m.index), x.i64Const(m.scale));
      sum = x.add(index, sum);
    }
    if (m.ripRelative) sum = x.add(this.page(), sum);
    else if (m.base !== undefined) sum = x.add(this.gpr(m.base), sum);
    return this.asize === 32 ? this.zext(32, sum) : sum;
  }
  protected toLinear(seg: number, offset: Expr): Expr {
    const base = this.segmentBase(seg);
    if (!base) return offset;
    const sum = x.add(offset, base);
    return this.long ? sum : this.zext(32, sum);
  }
  protected operandAddress(): Expr {
    const { insn } = this.current;
    const m = insn.mem!;
    if (!this.address) {
      let offset = this.effective(m);
      if (insn.row.bitOffset) offset = x.add(offset, this.bitDisplacement());
      if (!this.long) offset = this.zext(32, offset);
      this.address = this.named(this.toLinear(m.seg, offset));
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
}
