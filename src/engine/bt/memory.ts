/** Operands in memory, as rows load and store them. */
import type { OperandValue } from '../../isa/insn.ts';
import { SEG } from '../../isa/layout.ts';
import type { MemWidth, SegRef, Width } from '../../isa/ops.ts';
import { type Operand, sizeBits } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import type { RegionInsn } from './cfg.ts';
import { accessKey, STACK_KEY } from './hosts.ts';
import { RegionLoopPages } from './loop-pages.ts';
import { isReinterpretation } from './registers.ts';

type Expr = x.Expr;
const i64 = x.extendU;
export const LOAD: Readonly<Record<Width, x.LoadOp>> = { 8: 'i64_8u', 16: 'i64_16u', 32: 'i64_32u', 64: 'i64' };
export const STORE: Readonly<Record<Width, x.StoreOp>> = { 8: 'i64_8', 16: 'i64_16', 32: 'i64_32', 64: 'i64' };

export abstract class RegionMemory extends RegionLoopPages {
  /** In blocks of binary64 arithmetic: the current instruction takes its operand in memory as a number. */
  protected takesNumbers = false;
  private rmwHost: Expr | undefined;
  /** Host address of the current instruction's 256 bits of memory. */
  private wideHost: Expr | undefined;

  override begin(i: RegionInsn): void {
    super.begin(i);
    this.rmwHost = undefined;
    this.wideHost = undefined;
  }
  private operand(n: number): Operand {
    return this.current.insn.row.operands[n]!;
  }
  protected value(n: number): OperandValue {
    return this.current.insn.operands[n]!;
  }
  width(n: number): MemWidth {
    return sizeBits(this.operand(n).size, this.w, this.long) as MemWidth;
  }

  private checkAlignment(va: Expr, width: MemWidth): void {
    this.f.unlikely(x.wrap(x.and(va, x.i64Const(width / 8 - 1))), () => this.leave());
  }
  private operandHost(width: MemWidth, write: boolean): Expr {
    const { row, mem } = this.current.insn;
    if (row.aligned && width >= 128) this.checkAlignment(this.operandAddress(), width);
    const kept = this.loopHost(width / 8, write);
    return this.f.let(kept ?? this.host(this.operandAddress(), width / 8, write, accessKey(mem!)));
  }
  protected loadOperand(n: number): Expr {
    const width = this.width(n);
    const host = this.operandHost(width, this.operand(n).write);
    if (this.operand(n).write) this.rmwHost = host;
    if (width === 64 && this.takesNumbers) return this.loadNumber(host);
    return this.f.let(x.load(width === 128 ? 'v128' : LOAD[width as Width], host, 0));
  }
  /** The bits of a binary64 number that will be calculated with, and its upper half to be looked at. */
  private loadNumber(host: Expr): Expr {
    const number = this.f.let(x.load('f64', host, 0));
    const high = this.f.let(x.load('i32', host, 4));
    return x.withHigh(x.inst('i64', [0xbd], number), high);
  }
  /** Half of an operand of 256 bits in memory. */
  protected loadHalf(h: 0 | 1): Expr {
    this.wideHost ??= this.operandHost(256, false);
    return this.f.let(x.load('v128', this.wideHost, 16 * h));
  }
  protected storeHalves(low: Expr, high: Expr): void {
    const { f } = this;
    const [l, h] = [f.let(low), f.let(high)];
    const host = this.operandHost(256, true);
    this.irreversible = true;
    f.store('v128', host, 0, l);
    f.store('v128', host, 16, h);
  }
  protected storeOperand(n: number, v: Expr): void {
    const width = this.width(n);
    const value = this.f.let(v.type === 'i32' ? i64(v) : v);
    const host = (this.operand(n).read ? this.rmwHost : undefined) ?? this.operandHost(width, true);
    this.irreversible = true;
    if (width === 64 && isReinterpretation(value)) this.f.store('f64', host, 0, value.args[0]!);
    else this.f.store(value.type === 'v128' ? 'v128' : STORE[width as Width], host, 0, value);
  }
  private implicit(seg: SegRef, offset: Expr): Expr {
    const number = seg === 'insn' ? (this.current.insn.mem?.seg ?? this.current.insn.seg) : SEG[seg];
    const at = i64(offset);
    return this.named(this.toLinear(number, this.long ? at : this.zext(32, at)));
  }
  load(w: Width, seg: SegRef, offset: Expr): Expr {
    return this.f.let(
      x.load(LOAD[w], this.host(this.implicit(seg, offset), w / 8, false, seg === 'ss' ? STACK_KEY : undefined), 0),
    );
  }
  store(w: Width, seg: SegRef, offset: Expr, v: Expr): void {
    const value = this.f.let(i64(v));
    const host = this.host(this.implicit(seg, offset), w / 8, true, seg === 'ss' ? STACK_KEY : undefined);
    this.irreversible = true;
    this.f.store(STORE[w], host, 0, value);
  }
  /** For locked accesses: see isInterpreted in cfg.ts. */
  probeStore(w: Width | 128, seg: SegRef, offset: Expr): void {
    this.host(this.implicit(seg, offset), w / 8, true);
  }
}
