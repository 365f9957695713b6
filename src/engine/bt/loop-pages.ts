/**
 * Pages that operands of loops written as turns keep in variables: the first turn finds them by the TLB, the next ones
 * compare where they are in them, and change them or go back to the first turn where that is outside.
 */
import type { MemRef } from '../../isa/insn.ts';
import * as x from '../../wasm/expr.ts';
import { RegionHosts } from './hosts.ts';

type Expr = x.Expr;
const i64 = x.extendU;

const formOf = (m: MemRef, write: boolean): string =>
  `${m.seg} ${m.ripRelative ? 'rip' : m.base} ${m.index} ${m.index === undefined ? 0 : m.scale} ${write}`;
/** A constant of the type of another expression. */
const integerOf = (e: Expr, n: number): Expr => (e.type === 'i64' ? x.i64Const(BigInt(n)) : x.i32Const(n));

/**
 * The page that operands of one form went to last in a loop of one block. Of an address a part changes in the loop, the
 * rest does not: `delta` is the variable that, added to the former, gives the offset in the page, `host` the one that gives
 * the host address. So neither waits for the other. Outside 64-bit mode `delta` is i32, as addresses wrap at 4 GiB there.
 */
interface LoopPage {
  readonly number: number;
  readonly operand: MemRef;
  readonly bytes: number;
  readonly write: boolean;
  readonly delta: number;
  readonly host: number;
}
/** What the loop being written is known to do; the set of registers that it writes once its first turn is there. */
interface LoopPages {
  readonly pages: Map<string, LoopPage>;
  /** Variable: the linear address of an access that is not on its page, on the way to where that is changed. */
  missed: number | undefined;
  /** Are pages changed by themselves? Else what is not on its page goes to the first turn's code. */
  change: boolean;
  readonly versions: readonly number[];
  written: ReadonlySet<number> | undefined;
}

export abstract class RegionLoopPages extends RegionHosts {
  /** In loops that keep pages in variables. */
  private loopPages: LoopPages | undefined;
  /** What has been written of the current turn of a loop changes more than registers and flags: see restart. */
  protected irreversible = true;

  /** The first turn of a loop of one block follows. */
  protected openPages(): void {
    this.forgetHosts();
    this.loopPages = {
      pages: new Map(),
      missed: undefined,
      change: false,
      versions: [...this.versions],
      written: undefined,
    };
  }
  /** How many pages of the loop its turns may change; only before its further turns are written. */
  pagesToChange(gathers: boolean): number {
    this.loopPages!.change = gathers;
    return gathers ? this.loopPages!.pages.size : 0;
  }
  /** Changes page `number` of the loop to that of the address that was not on it; `otherwise`: the TLB does not have it. */
  changePage(number: number, otherwise: () => void): void {
    const { f } = this;
    const { pages, missed, written } = this.loopPages!;
    const p = [...pages.values()][number]!;
    const { rest } = this.splitAddress(p.operand, written!);
    const page = this.pageTo(p, f.get(missed!), p.bytes, p.write, otherwise);
    f.setVariable(p.delta, x.sub(rest, page));
    this.hostFromDelta(p);
  }
  /** Behind pageTo: from the host address of the page's start to what is added to the part that changes. */
  private hostFromDelta({ host, delta }: LoopPage): void {
    const { f } = this;
    f.setVariable(host, x.add(f.get(host), x.wrap(f.get(delta))));
  }
  /** The first turn ends. */
  protected carryPages(): void {
    const { f } = this;
    const { pages, versions } = this.loopPages!;
    const written = new Set(versions.flatMap((v, r) => (v === this.versions[r] ? [] : [r])));
    this.loopPages!.written = written;
    this.irreversible = true;
    for (const p of pages.values()) {
      const { operand, delta } = p;
      const { rest } = this.splitAddress(operand, written);
      // Written as a sum: behind a difference V8 does not see that the sum with an index is one LEA.
      const page = f.get(delta);
      f.setVariable(delta, x.add(x.add(rest, integerOf(page, 1)), x.binary('xor', page, integerOf(page, -1))));
      this.hostFromDelta(p);
    }
  }
  protected closePages(): void {
    this.loopPages = undefined;
    this.irreversible = true;
  }
  /** At the begin of a turn that can be gone back to. @returns the general-purpose registers that it writes */
  protected markPages(): ReadonlySet<number> {
    this.forgetHosts();
    this.irreversible = false;
    return this.loopPages!.written!;
  }
  /**
   * Goes to the first turn's code from the begin of the current turn, or to where a page of the loop is changed and from
   * there to the turn again: possible until something irreversible is done.
   */
  protected abstract restart(page?: number): void;
  /** The linear address of an operand in two parts: of the registers that are written and the displacement, and the rest. */
  private splitAddress(m: MemRef, written: ReadonlySet<number>): { moving: Expr; rest: Expr } {
    const cut = (e: Expr): Expr => (this.long ? e : x.wrap(e));
    const parts: { is: boolean; e: Expr }[] = [];
    if (m.index !== undefined) {
      const index = cut(this.gpr(m.index));
      parts.push({ is: written.has(m.index), e: x.binary('shl', index, integerOf(index, m.scale)) });
    }
    if (m.ripRelative) parts.push({ is: false, e: cut(this.page()) });
    else if (m.base !== undefined) parts.push({ is: written.has(m.base), e: cut(this.gpr(m.base)) });
    const segment = this.segmentBase(m.seg);
    if (segment) parts.push({ is: false, e: cut(segment) });
    const sum = (start: Expr, is: boolean): Expr =>
      parts.filter((p) => p.is === is).reduce((all, p) => x.add(p.e, all), start);
    const disp = cut(x.i64Const(this.displacement(m)));
    return { moving: sum(disp, true), rest: sum(cut(x.i64Const(0n)), false) };
  }
  /** Host address of the operand by the page of an earlier turn; undefined where such pages are not kept. */
  protected loopHost(bytes: number, write: boolean): Expr | undefined {
    const { f, loopPages } = this;
    const { insn } = this.current;
    const m = insn.mem!;
    if (!loopPages || insn.row.bitOffset || this.asize !== (this.long ? 64 : 32)) return undefined;
    const { pages, written } = loopPages;
    const form = formOf(m, write);
    const known = pages.get(form);
    if (!written) return known || this.conditional ? undefined : this.keepPage(pages, form, m, bytes, write);
    if (!known) return undefined;
    const { moving, rest } = this.splitAddress(m, written);
    const within = x.add(f.get(known.delta), moving);
    f.unlikely(x.compare('gt_u', within, integerOf(moving, 4096 - bytes)), () => {
      if (!this.irreversible && !loopPages.change) {
        this.restart();
        return;
      }
      const at = f.let(x.add(moving, rest));
      if (!this.irreversible) {
        f.setVariable(loopPages.missed!, at);
        this.restart(known.number);
        return;
      }
      const page = this.pageTo(known, at, bytes, write);
      f.setVariable(known.delta, x.sub(rest, page));
      this.hostFromDelta(known);
    });
    return x.add(f.get(known.host), x.wrap(moving));
  }
  /** Sets the host address of a page by the TLB. @returns its linear address */
  private pageTo({ host }: { host: number }, at: Expr, bytes: number, write: boolean, otherwise?: () => void): Expr {
    const { f } = this;
    const addend = this.tlbAddend(i64(at), bytes, write, otherwise, otherwise !== undefined);
    const page = f.let(x.and(at, integerOf(at, -4096)));
    f.setVariable(host, x.add(x.wrap(page), addend));
    return page;
  }
  /** An access of the first turn: its page is found by the TLB. Until the turn ends `delta` is its linear address. */
  private keepPage(pages: Map<string, LoopPage>, form: string, operand: MemRef, bytes: number, write: boolean): Expr {
    const { f } = this;
    const va = this.operandAddress();
    const at = this.long ? va : f.let(x.wrap(va));
    const [delta, host] = [f.variable(at.type), f.variable('i32')];
    this.loopPages!.missed ??= f.variable(at.type);
    const kept = { number: pages.size, operand, bytes, write, delta, host };
    const page = this.pageTo(kept, at, bytes, write);
    f.setVariable(kept.delta, page);
    pages.set(form, kept);
    return x.add(x.wrap(x.sub(at, page)), f.get(kept.host));
  }
}
