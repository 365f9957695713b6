/**
 * Memory as a region sees it: linear addresses of operands, and the host's addresses behind them by the TLB or by the
 * page that a base register's accesses went to last. An access that misses and cannot be filled leaves the region.
 */
import type { MemRef, OperandValue } from '../../isa/insn.ts';
import { CPU, RECENT, SEG, TLB } from '../../isa/layout.ts';
import type { MemWidth, SegRef, Width } from '../../isa/ops.ts';
import { type Operand, sizeBits } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import type { RegionInsn } from './cfg.ts';
import { ones, RegionRegisters, type RegisterKnowledge } from './registers.ts';

type Expr = x.Expr;
const i64 = x.extendU;
export const LOAD: Readonly<Record<Width, x.LoadOp>> = { 8: 'i64_8u', 16: 'i64_16u', 32: 'i64_32u', 64: 'i64' };
export const STORE: Readonly<Record<Width, x.StoreOp>> = { 8: 'i64_8', 16: 'i64_16', 32: 'i64_32', 64: 'i64' };
const PAGE_MASK = -4096n;

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

/** A host address that an access of the path being written went to; others are found from there if on the same page. */
interface KnownHost {
  readonly host: Expr;
  /** Of the linear address: see Expr. */
  readonly plus: number;
  readonly write: boolean;
}

/** What is known about registers and memory at a point of the code and holds only on the path to it. */
export interface MemoryKnowledge extends RegisterKnowledge {
  readonly hosts: ReadonlyMap<object, KnownHost>;
}

const NO_HOSTS: MemoryKnowledge['hosts'] = new Map();

export abstract class RegionMemory extends RegionRegisters {
  w: Width = 32;
  asize: 16 | 32 | 64 = 32;
  stack: 16 | 32 | 64 = 32;
  /** What is being translated is a loop of few blocks. */
  inTightLoop = false;
  protected current!: RegionInsn;
  protected readonly bases = new Map<number, number>();
  private readonly pagesKept: ReadonlyMap<string, PageUse>;
  private hosts = new Map<object, KnownHost>();
  private readonly recent = new Map<string, number>();
  private tlb: number | undefined;
  private address: Expr | undefined;
  private rmwHost: Expr | undefined;

  /** `pagesKept`: keys (see accessKey) whose page is worth remembering. */
  constructor(f: FunctionBuilder, pagesKept: ReadonlyMap<string, PageUse>) {
    super(f);
    this.pagesKept = pagesKept;
  }

  protected hostKnowledge(): MemoryKnowledge['hosts'] {
    return this.hosts.size > 0 ? new Map(this.hosts) : NO_HOSTS;
  }
  protected returnToHosts(hosts: MemoryKnowledge['hosts']): void {
    this.hosts = new Map(hosts.size > 0 ? hosts : undefined);
  }
  override forget(): void {
    super.forget();
    this.hosts.clear();
  }
  protected override keepKnown(): void {
    super.keepKnown();
    for (const { host } of this.hosts.values()) this.f.keep(host);
  }
  /** Outside 64-bit mode addresses are cut to 32 bits: distances hold modulo 2^32 there. */
  override zext(w: Width, v: Expr): Expr {
    const cut = super.zext(w, v);
    return w === 32 && !this.long && v.origin ? x.known(cut, cut.bits, v.origin) : cut;
  }

  /** Leaves the region before the current instruction. */
  protected abstract leave(): void;
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
    this.rmwHost = undefined;
  }
  override prologue(): void {
    const { f, cpu } = this;
    super.prologue();
    if (this.tlb !== undefined) f.setVariable(this.tlb, x.load('i32', cpu, CPU.tlb_ptr!));
    for (const [key, at] of this.recent) {
      const use = this.pagesKept.get(key)!;
      if (use.read) f.store('i64', cpu, at + TLB.TAG_READ, x.i64Const(RECENT.NO_PAGE));
      if (use.write) f.store('i64', cpu, at + TLB.TAG_WRITE, x.i64Const(RECENT.NO_PAGE));
    }
    for (const [seg, v] of this.bases) f.setVariable(v, x.load('i64', cpu, CPU.seg_base! + seg * 8));
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
  protected tlbBase(): Expr {
    this.tlb ??= this.f.variable('i32');
    return this.f.get(this.tlb);
  }
  // --- addresses and memory --------------------------------------------------------------------------------
  protected segmentBase(seg: number): Expr | undefined {
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
      const index = x.binary('shl', this.gpr(m.index), x.i64Const(m.scale));
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
  /**
   * Host address of a linear range in RAM: from that of another access off the same value if both are on one page, else
   * by the TLB.
   */
  private host(va: Expr, bytes: number, write: boolean, key?: string): Expr {
    const { origin } = va;
    if (!origin) return this.lookUp(va, bytes, write, key);
    const near = this.nearHost(origin, write);
    if (near) return this.hostFrom(near.host, near.distance, va, bytes, write);
    const host = this.f.let(this.lookUp(va, bytes, write, key));
    this.hosts.set(origin.of, { host, plus: origin.plus, write });
    return host;
  }
  /** A known host address less than a page from a linear address, and how far from it. */
  private nearHost(
    { of, plus }: NonNullable<Expr['origin']>,
    write: boolean,
  ): { host: Expr; distance: number } | undefined {
    const known = this.hosts.get(of);
    if (!known || (write && !known.write)) return undefined;
    const distance = this.long ? plus - known.plus : (plus - known.plus) | 0;
    return Math.abs(distance) < 4096 ? { host: known.host, distance } : undefined;
  }
  private hostFrom(known: Expr, distance: number, va: Expr, bytes: number, write: boolean): Expr {
    const { f, cpu } = this;
    const host = f.temporary('i32');
    f.setVariable(host, x.add(known, x.i32Const(distance)));
    const within = x.add(x.and(known, x.i32Const(0xfff)), x.i32Const(distance));
    f.unlikely(x.compare('gt_u', within, x.i32Const(4096 - bytes)), () => {
      f.setVariable(host, f.call('ram_address', cpu, va, x.i32Const(bytes), x.i32Const(write ? 1 : 0)));
      f.unlikely(x.eqz(f.get(host)), () => this.leave());
    });
    return x.localGet(host, 'i32');
  }
  /** An address that is worth a local: where it is near a known one it is needed only when that is on another page. */
  private named(va: Expr): Expr {
    return va.origin && this.hosts.has(va.origin.of) ? va : this.f.let(va);
  }
  /**
   * Host address of a linear range in RAM. The TLB's entry is looked up here; on a miss the runtime fills it, or the
   * region is left. Where an access is likely to be to the same page again (`key`), that page's tags and addend are kept
   * in RECENT, and an aligned access looks there first.
   */
  private lookUp(va: Expr, bytes: number, write: boolean, key?: string): Expr {
    const { f } = this;
    // An alignment that is no power of two says nothing about crossing a page.
    const isKept = this.inTightLoop && key !== undefined && (bytes & (bytes - 1)) === 0;
    const recent = isKept ? this.recentEntry(key) : undefined;
    if (recent === undefined) return x.add(x.wrap(va), x.load('i32', this.tlbEntry(va, bytes, write), TLB.ADDEND));
    const { cpu } = this;
    const aligned = x.and(va, x.i64Const(PAGE_MASK | BigInt(bytes - 1)));
    const tag = x.load('i64', cpu, recent + (write ? TLB.TAG_WRITE : TLB.TAG_READ));
    const use = this.pagesKept.get(key!)!;
    f.unlikely(x.compare('ne', tag, aligned), () => {
      const entry = this.tlbEntry(va, bytes, write);
      // Both tags of an entry are of the page that its addend belongs to, or none.
      for (const t of [...(use.read ? [TLB.TAG_READ] : []), ...(use.write ? [TLB.TAG_WRITE] : [])]) {
        f.store('i64', cpu, recent + t, x.load('i64', entry, t));
      }
      f.store('i32', cpu, recent + TLB.ADDEND, x.load('i32', entry, TLB.ADDEND));
    });
    return x.add(x.wrap(va), x.load('i32', cpu, recent + TLB.ADDEND));
  }
  /** The TLB entry that a range hits. */
  private tlbEntry(va: Expr, bytes: number, write: boolean): Expr {
    const { f, cpu } = this;
    const slot = x.and(x.binary('shr_u', x.wrap(va), x.i32Const(7)), x.i32Const((TLB.ENTRIES - 1) * TLB.ENTRY_SIZE));
    const entry = f.let(x.add(this.tlbBase(), slot));
    const tag = x.load('i64', entry, write ? TLB.TAG_WRITE : TLB.TAG_READ);
    const last = bytes === 1 ? va : x.add(va, x.i64Const(bytes - 1));
    f.unlikely(x.compare('ne', tag, x.and(last, x.i64Const(PAGE_MASK))), () => {
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
  private checkAlignment(va: Expr, width: MemWidth): void {
    if (!this.current.insn.row.aligned || width < 128) return;
    this.f.unlikely(x.wrap(x.and(va, x.i64Const(width / 8 - 1))), () => this.leave());
  }
  protected loadOperand(n: number): Expr {
    const width = this.width(n);
    const va = this.operandAddress();
    this.checkAlignment(va, width);
    const host = this.f.let(this.host(va, width / 8, this.operand(n).write, accessKey(this.current.insn.mem!)));
    if (this.operand(n).write) this.rmwHost = host;
    return this.f.let(x.load(width === 128 ? 'v128' : LOAD[width as Width], host, 0));
  }
  protected storeOperand(n: number, v: Expr): void {
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
    return this.named(this.toLinear(number, this.long ? at : this.zext(32, at)));
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
}
