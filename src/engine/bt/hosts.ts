/**
 * The host's addresses behind linear ones, by the TLB, by those that are known already or by the page that a base register's
 * accesses went to last. An access that misses and cannot be filled leaves the region.
 */
import type { MemRef } from '../../isa/insn.ts';
import { CPU, RECENT, TLB, WIDE_TLB } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { RegionAddresses } from './addresses.ts';
import type { RegisterKnowledge } from './registers.ts';
import { Span } from './spans.ts';

type Expr = x.Expr;
const PAGE_MASK = -4096n;
/** Of the offset of an entry of WIDE_TLB in a linear address that is shifted right by 8. */
const WIDE_MASK = (WIDE_TLB.ENTRIES - 1) * WIDE_TLB.ENTRY_SIZE;

/** Linear addresses of the first and the last byte of an access, or of several; its length, an i32. */
interface Range {
  readonly first: Expr;
  readonly last: Expr;
  readonly bytes: () => Expr;
}
const lastOf = (va: Expr, bytes: number): Expr => (bytes === 1 ? va : x.add(va, x.i64Const(bytes - 1)));

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

/**
 * A host address that an access of the path being written went to; others are found from there if on the same page.
 * Addresses are those of Expr: constants on top of a common value.
 */
interface KnownHost {
  readonly host: Expr;
  readonly plus: number;
  readonly bytes: number;
  readonly write: boolean;
  /** What is known to be on the page with it; undefined where that is only the access itself. */
  readonly span: Span | undefined;
}

/** What is known about registers and memory at a point of the code and holds only on the path to it. */
export interface MemoryKnowledge extends RegisterKnowledge {
  readonly hosts: ReadonlyMap<object, KnownHost>;
}

const NO_HOSTS: MemoryKnowledge['hosts'] = new Map();

export abstract class RegionHosts extends RegionAddresses {
  /** What is being translated is a loop of few blocks. */
  inTightLoop = false;
  /** Keys that only one access of the block being written has. */
  accessedOnce: ReadonlySet<string> = new Set();
  /** What is being written is carried out under a condition. */
  protected conditional = false;
  private readonly pagesKept: ReadonlyMap<string, PageUse>;
  private hosts = new Map<object, KnownHost>();
  private readonly recent = new Map<string, number>();
  private tlb: number | undefined;

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
    this.forgetHosts();
  }
  override keepKnown(): void {
    super.keepKnown();
    for (const { host } of this.hosts.values()) this.f.keep(host);
  }
  /** No host address is known any more. */
  protected forgetHosts(): void {
    this.hosts.clear();
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
  }
  protected tlbBase(): Expr {
    this.tlb ??= this.f.variable('i32');
    return this.f.get(this.tlb);
  }

  /**
   * Host address of a linear range in RAM: from that of another access off the same value if both are on one page, else
   * by the TLB.
   */
  protected host(va: Expr, bytes: number, write: boolean, key?: string): Expr {
    const { origin } = va;
    if (!origin || this.current.alone) return this.lookUp(va, bytes, write, key);
    const near = this.nearHost(origin, bytes, write);
    if (near?.isOnPage) return this.f.let(x.add(near.host, x.i32Const(near.distance)));
    if (near) return this.hostFrom(near.host, near.distance, va, bytes, write);
    const span = this.conditional || this.isKept(bytes, key) ? undefined : new Span(this.f, bytes);
    const host = this.f.let(span ? this.lookUpSpan(va, span, write) : this.lookUp(va, bytes, write, key));
    this.hosts.set(origin.of, { host, plus: origin.plus, bytes, write, span });
    return host;
  }
  /** A known host address less than a page from a linear address, and how far from it; whether that is on its page. */
  private nearHost(
    { of, plus }: NonNullable<Expr['origin']>,
    bytes: number,
    write: boolean,
  ): { host: Expr; distance: number; isOnPage: boolean } | undefined {
    const known = this.hosts.get(of);
    if (!known || (write && !known.write)) return undefined;
    const { host, span } = known;
    const distance = this.long ? plus - known.plus : (plus - known.plus) | 0;
    // What is carried out under a condition is not looked up with what always is.
    const isOnPage = span
      ? span.has(distance, bytes) || (!this.conditional && span.takes(distance, bytes))
      : distance === 0 && bytes <= known.bytes;
    return Math.abs(distance) < 4096 ? { host, distance, isOnPage } : undefined;
  }
  private hostFrom(known: Expr, distance: number, va: Expr, bytes: number, write: boolean): Expr {
    const { f, cpu } = this;
    const host = f.temporary('i32');
    f.setVariable(host, x.add(known, x.i32Const(distance)));
    const within = x.add(x.and(known, x.i32Const(0xfff)), x.i32Const(distance));
    this.putWritten();
    f.unlikely(x.compare('gt_u', within, x.i32Const(4096 - bytes)), () => {
      if (this.inState) {
        this.leave();
        return;
      }
      const found = f.let(f.call('ram_address', cpu, va, x.i32Const(bytes), x.i32Const(write ? 1 : 0)));
      f.unlikely(x.eqz(found), () => this.leave());
      // Of what was loaded V8 knows that it has 32 bits, of a result it does not, and would extend it on both paths.
      f.store('i32', cpu, CPU.scratch!, found);
      f.setVariable(host, x.load('i32', cpu, CPU.scratch!));
    });
    return x.localGet(host, 'i32');
  }
  /** An address that is worth a local: where it is near a known one it is needed only when that is on another page. */
  protected named(va: Expr): Expr {
    return va.origin && this.hosts.has(va.origin.of) ? va : this.f.let(va);
  }
  /**
   * Host address of a linear range in RAM. The TLB's entry is looked up here. Where an access is likely to be to the same
   * page again (`key`), that page's tags and addend are kept in RECENT, and an aligned access looks there first.
   */
  private lookUp(va: Expr, bytes: number, write: boolean, key?: string): Expr {
    const { f, cpu } = this;
    this.putWritten();
    const recent = this.isKept(bytes, key) ? this.recentEntry(key!) : undefined;
    if (recent === undefined) return x.add(x.wrap(va), this.tlbAddend(va, bytes, write));
    const aligned = x.and(va, x.i64Const(PAGE_MASK | BigInt(bytes - 1)));
    const tag = f.let(x.load('i64', cpu, recent + (write ? TLB.TAG_WRITE : TLB.TAG_READ)));
    const use = this.pagesKept.get(key!)!;
    f.unlikely(x.compare('ne', tag, aligned), () => {
      f.store('i64', cpu, CPU.scratch!, tag);
      const entry = this.tlbEntry(va, bytes, write);
      // Both tags of an entry are of the page that its addend belongs to, or none.
      for (const t of [...(use.read ? [TLB.TAG_READ] : []), ...(use.write ? [TLB.TAG_WRITE] : [])]) {
        f.store('i64', cpu, recent + t, x.load('i64', entry, t));
      }
      f.store('i32', cpu, recent + TLB.ADDEND, x.load('i32', entry, TLB.ADDEND));
    });
    return x.add(x.wrap(va), x.load('i32', cpu, recent + TLB.ADDEND));
  }
  /** Is the page of an access remembered? An alignment that is no power of two says nothing about crossing a page. */
  private isKept(bytes: number, key: string | undefined): boolean {
    return (
      key !== undefined &&
      this.inTightLoop &&
      (bytes & (bytes - 1)) === 0 &&
      this.accessedOnce.has(key) &&
      this.recentEntry(key) !== undefined
    );
  }
  /** Host address of an access whose span is looked up in the TLB. */
  private lookUpSpan(va: Expr, span: Span, write: boolean): Expr {
    const { f } = this;
    this.putWritten();
    const first = f.plusLate(va, span.first);
    const last = f.plusLate(first, span.length);
    const bytes = (): Expr => x.add(x.wrap(x.sub(last, first)), x.i32Const(1));
    return x.add(
      x.wrap(va),
      this.addendOf({ first, last, bytes }, write, () => span.leavesAt(this.leave())),
    );
  }
  /** By the TLB, what a range's host address is above it. `leave` leaves if it has none; `atOnce`: without filling it. */
  protected tlbAddend(
    va: Expr,
    bytes: number,
    write: boolean,
    leave: () => void = () => this.leave(),
    atOnce = false,
  ): Expr {
    return this.addendOf({ first: va, last: lastOf(va, bytes), bytes: () => x.i32Const(bytes) }, write, leave, atOnce);
  }
  /**
   * The same for any range. Where there are loops, a page that the data TLB does not have is looked for in WIDE_TLB: in loops
   * that go all over memory the host then has several accesses under way. The runtime fills both on a miss. Where there are few
   * loops the region is left at once: all that would be a fifth of what V8 spends on it.
   */
  private addendOf(range: Range, write: boolean, leave: () => void, atOnce = false): Expr {
    const { f, cpu } = this;
    if (this.inState) return x.load('i32', this.entryOf(range.first, range.last, write, leave), TLB.ADDEND);
    const addend = f.temporary('i32');
    const hit = this.tagOf(range.first, write);
    f.setVariable(addend, x.load('i32', hit.entry, TLB.ADDEND));
    const page = (): Expr => x.and(range.last, x.i64Const(PAGE_MASK));
    f.unlikely(x.compare('ne', hit.tag, page()), () => {
      this.noteMiss(hit.tag, range.first);
      const at = f.let(x.add(cpu, x.and(x.wrap(x.binary('shr_u', range.first, x.i64Const(8))), x.i32Const(WIDE_MASK))));
      const tag = x.load('i64', at, WIDE_TLB.OFFSET + WIDE_TLB.TAG);
      const held = write ? tag : x.and(tag, x.i64Const(~BigInt(WIDE_TLB.NO_STORES)));
      f.setVariable(addend, x.load('i32', at, WIDE_TLB.OFFSET + WIDE_TLB.ADDEND));
      f.unlikely(x.compare('ne', held, x.or(page(), x.load('i64', cpu, CPU.wide_key!))), () => {
        if (atOnce) {
          leave();
          return;
        }
        const found = f.let(f.call('ram_address', cpu, range.first, range.bytes(), x.i32Const(write ? 1 : 0)));
        f.unlikely(x.eqz(found), leave);
        f.setVariable(addend, x.sub(found, x.wrap(range.first)));
      });
    });
    return x.localGet(addend, 'i32');
  }
  /** The TLB entry that a range hits; leaves if there is none. */
  private tlbEntry(va: Expr, bytes: number, write: boolean): Expr {
    return this.entryOf(va, lastOf(va, bytes), write, () => {
      const filled = this.f.call('ram_fill', this.cpu, va, x.i32Const(bytes), x.i32Const(write ? 1 : 0));
      this.f.unlikely(x.eqz(filled), () => this.leave());
    });
  }
  /** The TLB entry of a range, from its first byte to the last; `miss` emits what is done if it is not there. */
  private entryOf(first: Expr, last: Expr, write: boolean, miss: () => void): Expr {
    const { entry, tag } = this.tagOf(first, write);
    this.f.unlikely(x.compare('ne', tag, x.and(last, x.i64Const(PAGE_MASK))), () => {
      this.noteMiss(tag, first);
      miss();
    });
    return entry;
  }
  /** The TLB's entry for an address, and its tag. */
  private tagOf(va: Expr, write: boolean): { entry: Expr; tag: Expr } {
    const { f } = this;
    const slot = x.and(x.binary('shr_u', x.wrap(va), x.i32Const(7)), x.i32Const((TLB.ENTRIES - 1) * TLB.ENTRY_SIZE));
    const entry = f.let(x.add(this.tlbBase(), slot));
    return { entry, tag: f.let(x.load('i64', entry, write ? TLB.TAG_WRITE : TLB.TAG_READ)) };
  }
  /**
   * V8 makes two loads of a tag that is only compared, one of them for the trap. A second use prevents that. It tells the
   * handler `crossed` whether the first byte's page is there.
   */
  private noteMiss(tag: Expr, first: Expr): void {
    this.f.store('i64', this.cpu, CPU.scratch!, x.binary('xor', tag, first));
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
}
