/**
 * Writes a region as one WebAssembly function: blocks nested by the dominator tree, loops as loops, one exit where
 * registers go back to memory. The function has the type of an interpreter's handler and stands in the place of the
 * entry's record.
 *
 * The local `budget` holds the instructions left. A block owes its length when it begins, and a path pays where others
 * come to it, where it goes round a loop or leaves for a computed rip; leaving in the middle is reckoned up in the table of
 * exits. Loops look at the budget when they go round.
 */
import { CODE_PAGE, CPU, REC, REGION_EXIT, REGION_PAGE } from '../../isa/layout.ts';
import type { Ops } from '../../isa/ops.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder, Label, ModuleBuilder } from '../../wasm/module.ts';
import { HANDLER } from '../interp/chain.ts';
import { isOfNumbers, RegionOps } from './backend.ts';
import { type Block, type Cfg, ENTRY_NODE, pageOf, RETURN_NODE, type RegionInsn } from './cfg.ts';
import { commonComparisons, loopComparison } from './comparisons.ts';
import { accessedOnce, loopShare, pagesKept, TIGHT_BLOCKS } from './graph-facts.ts';
import { guardsOf } from './guards.ts';
import type { Comparison } from './lazy-flags.ts';
import { blocksNeedingFlags } from './liveness.ts';
import { isWayIn, RegionNodes } from './nodes.ts';
import type { Structure } from './structure.ts';
import { TurnWriter } from './turns.ts';
import { EXIT_EVENTS, EXIT_RIP, type RegionExit, WaysOut } from './ways-out.ts';

type Expr = x.Expr;

/** A region as it was written. */
export interface WrittenRegion {
  readonly exits: readonly RegionExit[];
  /** Positions of its entries. */
  readonly entries: readonly number[];
}

/** What a region needs of the code cache. */
export interface RegionLinks {
  /** Address at which the exits will be in memory. */
  readonly exitTable: Expr;
  /** Loops of one block are written as turns where they can be. */
  readonly inTurns: boolean;
  /** The code page of a page of the region, and how often that had been dropped. */
  pages(d: number): { readonly page: number; readonly drops: number };
}

export class RegionWriter {
  private readonly f: FunctionBuilder;
  private readonly ops: RegionOps;
  private readonly cfg: Cfg;
  private readonly links: RegionLinks;
  private readonly nodes: RegionNodes;
  private readonly s: Structure;
  private readonly needFlags: ReadonlySet<number>;
  private readonly labels = new Map<number, Label>();
  private readonly loops = new Map<number, Label>();
  /** Nodes at whose start the flags are those of a comparison of registers, whichever way control came there. */
  private readonly compared: Map<number, Comparison>;
  /** Loops (nodes) whose flags are those of their comparison: variables that say whether it was carried out. */
  private readonly again = new Map<number, number>();
  private exit: Label = 0;
  /** Conditions under which an entry is left at once. */
  private guards: readonly Expr[] = [];
  private readonly budget: number;
  /** Instructions that were begun on the path to here and have not been taken off the budget. */
  private owed = 0;
  private readonly waysOut: WaysOut;
  private readonly returnTo: number;
  /** Variable: bits of the other pages that were found to hold. */
  private readonly verified: number;
  private readonly pageNumbers: readonly number[];
  /** The block being written, the instructions of it that come before the current one, and its node. */
  private block!: Block;
  private done = 0;
  private node = 0;
  private readonly turns: TurnWriter;
  /** The instruction being written stands behind STI: see `endShadow`. */
  private inShadow = false;

  constructor(m: ModuleBuilder, name: string, cfg: Cfg, links: RegionLinks) {
    this.f = m.define(name, HANDLER);
    this.cfg = cfg;
    this.links = links;
    this.nodes = new RegionNodes(cfg, links.inTurns);
    this.s = this.nodes.structure;
    const { f } = this;
    const { turned, sites } = this.nodes;
    const control = {
      leaveAt: (i: RegionInsn): RegionExit | undefined => this.leaveAt(i),
      instructionsLeft: (): Expr => this.instructionsLeft(),
      branch: (): void => this.branchTaken(),
      jump: (rip: Expr): void => this.jump(rip),
      leaveBehindIf: (c: Expr): void => f.unlikely(c, () => this.leaveBehind()),
    };
    this.ops = new RegionOps(this.f, control, pagesKept(cfg, this.s, turned));
    this.ops.inState = turned.size === 0 && loopShare(cfg, this.s) < LOOP_SHARE;
    this.needFlags = blocksNeedingFlags(cfg, sites, (from, to) => this.mayLeave(from, to));
    this.compared = commonComparisons(cfg, this.s, this.needFlags);
    this.budget = f.variable('i32');
    this.pageNumbers = [...new Set([...cfg.blocks.keys()].map(pageOf))].filter((d) => d !== 0);
    this.waysOut = new WaysOut(f, this.ops, this.pageNumbers.length);
    this.turns = new TurnWriter(f, this.ops, {
      budget: this.budget,
      blockCode: (b) => this.blockCode(b),
      takeCompared: () => this.takeCompared(this.node),
      needsFlags: (at) => this.needFlags.has(at),
      settleFor: (at) => this.settleFor(at),
      giveBack: (count) => this.giveBack(count),
      leaveBefore: (i) => void this.leaveBefore(i, 0),
    });
    this.returnTo = f.variable('i64');
    this.verified = f.variable('i32');
  }

  /** An edge on which the region may be left although its target is in it: by goesBack, or as the other page has changed. */
  private mayLeave(from: number, to: number): boolean {
    return this.goesBack(from, to) || pageOf(from) !== pageOf(to);
  }
  /** An edge that leaves the region when the budget is used up, or always. */
  private goesBack(from: number, to: number): boolean {
    return this.s.index.get(to)! <= this.s.index.get(from)!;
  }

  /** Emits the whole function. @returns its exits and the positions of its entries */
  write(): WrittenRegion {
    const { f } = this;
    const [cpu, rec] = [f.param(0), f.param(1)];
    f.block((exit) => {
      this.exit = exit;
      this.guards = guardsOf(this.cfg, cpu).map((g) => f.let(g));
      if (this.nodes.entries.length === 1) this.guard(this.cfg.entry);
      this.tree(0);
      f.unreachable();
    });
    this.waysOut.write(this.links.exitTable, this.budget, this.pageNumbers.length > 0);
    f.prepend(() => {
      this.ops.prologue();
      const left = x.sub(x.load('i32', cpu, CPU.budget!), x.load('i32_16u', rec, REC.COUNT));
      f.setVariable(this.budget, left);
    });
    return { exits: this.waysOut.exits, entries: this.nodes.entries };
  }
  /** Leaves before an entry if the region is not for the state that the vCPU is in. */
  private guard(entry: number): void {
    for (const g of this.guards) this.f.unlikely(g, () => this.leaveBefore(this.firstInsn(entry)!, 0));
  }

  // --- structure -------------------------------------------------------------------------------------------
  /** A node with all that it dominates; as a loop if a back edge comes to it. */
  private tree(n: number): void {
    const merges = this.s.children[n]!.filter((c) => this.s.isMerge[c]);
    if (!this.s.isLoop[n] || this.nodes.turned.has(this.s.order[n]!)) {
      if (this.s.isMerge[n]) this.takeCompared(n);
      this.within(n, merges);
      return;
    }
    const comparison =
      this.compared.has(n) || this.ops.inState ? undefined : loopComparison(this.cfg, this.s, this.needFlags, n);
    const again = comparison && this.f.variable('i32');
    if (again !== undefined) {
      this.f.setVariable(again, x.i32Const(0));
      this.again.set(n, again);
    }
    this.f.loop((label) => {
      this.loops.set(n, label);
      this.ops.forget();
      this.takeCompared(n);
      if (again !== undefined) this.ops.compared(comparison!, again);
      this.within(n, merges);
    });
    this.f.unreachable();
  }
  private takeCompared(n: number): void {
    const c = this.compared.get(n);
    if (c) this.ops.compared(c);
  }
  /** The node's own code inside blocks whose ends are its merge children, the last in order outermost. */
  private within(n: number, merges: readonly number[]): void {
    if (merges.length === 0) {
      this.nodeCode(n);
      return;
    }
    const outer = merges.at(-1)!;
    this.f.block((label) => {
      this.labels.set(outer, label);
      this.within(n, merges.slice(0, -1));
    });
    this.ops.forget();
    this.owed = 0;
    this.tree(outer);
  }
  private nodeCode(n: number): void {
    this.node = n;
    const key = this.s.order[n]!;
    if (key === RETURN_NODE) this.returnCode();
    else if (key === ENTRY_NODE) this.entryCode();
    else if (isWayIn(key)) this.goToNode(Math.floor(key));
    else if (this.nodes.turned.has(key)) this.turns.write(this.cfg.blocks.get(key)!);
    else this.blockCode(this.cfg.blocks.get(key)!);
  }
  /** The record that the interpreter came by tells the entry. */
  private entryCode(): void {
    const { f } = this;
    const [main, ...others] = this.nodes.entries;
    for (const at of others) {
      const isHere = x.compare('eq', f.param(1), x.i32Const(this.firstInsn(at)!.rec));
      f.if(isHere, () => {
        this.guard(at);
        this.goTo(at);
      });
    }
    this.guard(main!);
    this.goTo(main!);
  }
  /** Goes from the current node to a position: inside the region if it is a block there. */
  private goTo(target: number): void {
    const { turn } = this.turns;
    if (turn?.at === target) {
      turn.again();
      return;
    }
    if (turn) this.giveBack(turn.ahead);
    this.enterPage(target);
    this.goToNode(this.nodes.wayTo(target, this.s.order[this.node]));
  }
  private goToNode(target: number): void {
    const to = this.s.index.get(target);
    if (to === undefined || this.s.isIrreducible(this.node, to)) {
      if (target === RETURN_NODE) this.leaveToRip(this.f.get(this.returnTo), this.waysOut.ripSiteOf('return'));
      else this.leaveToRip(this.ops.ripOf(Math.floor(target)), this.waysOut.ripSiteOf(`to ${Math.floor(target)}`));
      return;
    }
    if (to <= this.node) {
      this.goBack(to, target);
      return;
    }
    const label = this.labels.get(to);
    if (this.s.isMerge[to] && label !== undefined) {
      this.settleFor(target);
      this.payBudget();
      this.f.br(label);
    } else this.inline(to);
  }
  /** Before control comes to another page: is it there, and what it was? */
  private enterPage(target: number): void {
    const { f } = this;
    if (target === RETURN_NODE || !this.cfg.blocks.has(target)) return;
    const d = pageOf(target);
    if (d === 0 || this.currentPage() === d) return;
    const number = this.pageNumbers.indexOf(d);
    const bit = x.i32Const(1 << number);
    const { page, drops } = this.links.pages(d);
    f.if(x.eqz(x.and(f.get(this.verified), bit)), () => {
      const [cpu, base] = [f.param(0), f.let(this.ops.fetchAddress(d * 4096))];
      const place = f.let(x.add(this.links.exitTable, x.i32Const(number * REGION_EXIT.SIZE)));
      const isNow = x.compare('eq', x.load('i64', place, REGION_PAGE.KEY), x.load('i64', cpu, CPU.jump_key!));
      const isThere = x.and(isNow, x.compare('eq', x.load('i64', place, REGION_PAGE.LINEAR), base));
      const isSame = x.compare('eq', x.load('i32', x.i32Const(page), CODE_PAGE.DROPS), x.i32Const(drops));
      f.unlikely(x.eqz(x.and(isThere, isSame)), () => {
        const holds = f.call('page_holds', cpu, base, x.i32Const(page), x.i32Const(drops), place);
        f.unlikely(x.eqz(holds), () => this.leaveToRip(this.ops.ripOf(target)));
      });
      f.setVariable(this.verified, x.or(f.get(this.verified), bit));
    });
  }
  /** Number of the page that the current node is in; undefined where it may be any. */
  private currentPage(): number | undefined {
    const key = this.s.order[this.node]!;
    if (key === RETURN_NODE) return undefined;
    return key === ENTRY_NODE ? 0 : pageOf(key);
  }
  /** A loop goes round, unless the budget is used up. */
  private goBack(to: number, target: number): void {
    const { f } = this;
    const { owed } = this;
    this.payBudget();
    this.owed = 0;
    if (target !== RETURN_NODE) {
      const first = this.firstInsn(target);
      if (first) f.unlikely(x.compare('lt_s', f.get(this.budget), x.i32Const(0)), () => this.leaveBefore(first, 0));
    }
    const again = this.again.get(to);
    if (again === undefined) this.settleFor(target);
    else {
      this.ops.settle(false);
      f.setVariable(again, x.i32Const(1));
    }
    f.br(this.loops.get(to)!);
    this.owed = owed;
  }
  private settleFor(target: number): void {
    const isCompared = this.compared.has(this.s.index.get(target)!);
    this.ops.settle(!isCompared && this.needFlags.has(Math.floor(target)));
  }
  private firstInsn(target: number): RegionInsn | undefined {
    const b = this.cfg.blocks.get(Math.floor(target))!;
    return b.insns[0] ?? (b.end.kind === 'interpret' ? b.end.insn : undefined);
  }
  /** Writes a node in place, as its only way in is from here; then turns back to the current one. */
  private inline(to: number): void {
    const saved = [this.node, this.block, this.done, this.owed, this.ops.knowledge] as const;
    // A loop's head is come to from its end too.
    if (this.s.isLoop[to]) {
      const c = loopComparison(this.cfg, this.s, this.needFlags, to);
      if (c && this.ops.haveCompared(c)) this.compared.set(to, c);
      this.settleFor(this.s.order[to]!);
      this.payBudget();
      this.owed = 0;
    }
    this.tree(to);
    [this.node, this.block, this.done, this.owed, this.ops.knowledge] = saved;
    // What is known is in temporaries that the other node's code has used since.
    this.ops.keepKnown();
  }

  // --- blocks ----------------------------------------------------------------------------------------------
  private blockCode(b: Block): void {
    const { ops } = this;
    this.block = b;
    ops.inTightLoop = this.s.loopSizes()[this.node]! <= TIGHT_BLOCKS && !this.nodes.turned.has(b.at);
    ops.inNumbers = isOfNumbers(b.insns);
    ops.accessedOnce = ops.inTightLoop ? accessedOnce(b) : NOTHING_KEPT;
    const { turn } = this.turns;
    if (turn) this.giveBack(-turn.spent);
    else this.owed += b.insns.length;
    if (this.instructions(b)) this.blockEnd(b);
  }
  /** A block's instructions. @returns whether control gets behind them */
  private instructions(b: Block): boolean {
    const { ops } = this;
    this.inShadow = false;
    for (let n = 0; n < b.insns.length; n++) {
      this.block = b;
      this.done = n;
      const i = b.insns[n]!;
      ops.begin(i);
      const isSti = i.insn.row.name === 'sti';
      // The shadow of STI lasts to the end of the next instruction, which is not the region's.
      if (isSti && n === b.insns.length - 1) {
        this.leaveAt(i);
        return false;
      }
      this.checkUnit(i);
      i.insn.row.exec(ops as unknown as Ops<Expr>);
      this.endShadow();
      this.inShadow = isSti;
    }
    this.done = b.insns.length;
    return true;
  }
  private endShadow(): void {
    if (this.inShadow) this.ops.endShadow();
    this.inShadow = false;
  }
  /** Takes off the budget what is owed on this path, which goes on elsewhere. */
  private payBudget(): void {
    this.giveBack(-this.owed);
  }
  /** Instructions that are left behind the current one. */
  private instructionsLeft(): Expr {
    const ahead = this.block.insns.length - this.done - 1;
    return x.sub(this.f.get(this.budget), x.i32Const(this.owed - ahead));
  }
  /** Adds to the instructions that are left. */
  private giveBack(count: number): void {
    const { f } = this;
    if (count !== 0) f.setVariable(this.budget, x.add(f.get(this.budget), x.i32Const(count)));
  }
  private blockEnd(b: Block): void {
    switch (b.end.kind) {
      case 'fall':
      case 'branch':
        this.goTo(b.end.next);
        break;
      case 'interpret':
        this.leaveBefore(b.end.insn, 0);
        break;
      // Jumps, calls and returns have gone already, through `branch` and `jump`.
    }
  }
  /** x87 and MMX look at the pending exceptions each time; SSE's availability cannot change inside a region. */
  private checkUnit(i: RegionInsn): void {
    const { unit } = i.insn.row;
    if (unit !== 'x87' && unit !== 'mmx') return;
    this.f.unlikely(x.load('i32', this.f.param(0), CPU.fpu_trap!), () => this.leaveAt(i));
  }
  private branchTaken(): void {
    const { end } = this.block;
    if (end.kind !== 'branch' && end.kind !== 'jump' && end.kind !== 'call') throw new Error('a branch in mid-block');
    const { inShadow } = this;
    this.endShadow();
    this.goTo(end.target);
    // Where the branch is not taken the shadow has not ended yet.
    this.inShadow = inShadow;
  }
  private jump(rip: Expr): void {
    const { f } = this;
    this.endShadow();
    if (this.block.end.kind === 'return' && this.nodes.sites.length > 0) {
      f.setVariable(this.returnTo, rip);
      this.goTo(RETURN_NODE);
      return;
    }
    this.leaveToRip(rip, this.waysOut.ripSiteOf(`from ${this.block.at}`));
  }
  /** The popped address is compared with the region's return sites before the region gives up. */
  private returnCode(): void {
    const { f } = this;
    const within = f.let(x.sub(f.get(this.returnTo), this.ops.page()));
    const at = (site: number): Expr => x.i64Const(site);
    this.payBudget();
    this.owed = 0;
    const find = (sites: readonly number[]): void => {
      if (sites.length <= 3) {
        for (const site of sites) f.if(x.compare('eq', within, at(site)), () => this.goTo(site));
        return;
      }
      const middle = sites.length >> 1;
      const upper = x.compare('ge_s', within, at(sites[middle]!));
      f.if(
        upper,
        () => find(sites.slice(middle)),
        () => find(sites.slice(0, middle)),
      );
    };
    f.if(x.compare('ge_s', f.get(this.budget), x.i32Const(0)), () => find([...this.nodes.sites].sort((a, b) => a - b)));
    this.leaveToRip(f.get(this.returnTo), this.waysOut.ripSiteOf('return'));
  }

  // --- leaving ---------------------------------------------------------------------------------------------
  private leaveAt(i: RegionInsn): RegionExit | undefined {
    const unspent = this.block.insns.length - this.done + (this.turns.turn?.ahead ?? 0);
    if (!this.inShadow) return this.leaveBefore(i, unspent);
    // Whoever goes on there is to see the shadow, also when the budget is used up.
    this.giveBack(unspent);
    this.leaveToRip(this.ops.ripOf(i.at), EXIT_EVENTS);
    return undefined;
  }
  /** Lets the interpreter go on at an instruction; `unspent` instructions of the block were not carried out. */
  private leaveBefore(i: RegionInsn, unspent: number): RegionExit {
    const site = this.waysOut.siteOf(i, unspent + i.count - this.owed);
    this.leave(site);
    return this.waysOut.exitAt(site);
  }
  private leaveToRip(rip: Expr, site = EXIT_RIP): void {
    this.payBudget();
    this.f.setVariable(this.waysOut.rip, rip);
    this.leave(site);
  }
  /** Behind the current instruction, looking for events. */
  private leaveBehind(): void {
    const { block, done } = this;
    const unspent = block.insns.length - done - 1;
    const { insn, at } = block.insns[done]!;
    if (this.inShadow) this.ops.endShadow();
    this.giveBack(unspent);
    this.leaveToRip(this.ops.ripOf(at + insn.length), EXIT_EVENTS);
  }
  private leave(site: number): void {
    this.ops.settleToLeave();
    this.f.setVariable(this.waysOut.site, x.i32Const(site));
    this.f.br(this.exit);
  }
}

const NOTHING_KEPT: ReadonlySet<string> = new Set();

/** Regions that are less than this part in loops have their registers in the state. */
const LOOP_SHARE = 0.75;
