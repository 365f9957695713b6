/** Loops of one block, written as turns: the first one finds out what all others begin with. */
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder, Label } from '../../wasm/module.ts';
import type { RegionOps } from './backend.ts';
import type { Block, RegionInsn } from './cfg.ts';
import { lastComparison } from './comparisons.ts';
import { gathers, turnsTogether } from './graph-facts.ts';
import type { Comparison, Knowledge } from './lazy-flags.ts';
import type { CarriedRegisters } from './registers.ts';

/** A turn of a loop that is being written. */
interface Turn {
  /** Position of the block. */
  readonly at: number;
  /** Instructions to take off the budget at its begin, and how many of them are those of turns behind it. */
  readonly spent: number;
  readonly ahead: number;
  /** Goes on with the next turn. */
  again(): void;
}

/** What the turns of a loop behind its first one begin and end with. */
interface FurtherTurns {
  readonly carried: CarriedRegisters;
  /** What each ends with, if it does; else whether the flags are in their locals. */
  readonly comparison: Comparison | undefined;
  readonly settled: boolean;
  goToFirst(): void;
  /** By page of the loop, where it is changed. */
  readonly pages: readonly Label[];
}

/** What the writer of the region does for its turns. */
export interface TurnRegion {
  /** Variable: instructions that are left. */
  readonly budget: number;
  blockCode(b: Block): void;
  /** Takes up what the flags are where control comes to the block. */
  takeCompared(): void;
  needsFlags(at: number): boolean;
  /** Puts the flags where a position expects them. */
  settleFor(at: number): void;
  /** Adds to the instructions that are left. */
  giveBack(count: number): void;
  /** Lets the interpreter go on at an instruction. */
  leaveBefore(i: RegionInsn): void;
}

export class TurnWriter {
  /** The turn that is being written. */
  turn: Turn | undefined;
  private readonly f: FunctionBuilder;
  private readonly ops: RegionOps;
  private readonly region: TurnRegion;

  constructor(f: FunctionBuilder, ops: RegionOps, region: TurnRegion) {
    this.f = f;
    this.ops = ops;
    this.region = region;
  }

  /**
   * A block that is a loop by itself: its first turn, which finds out what all others begin with, and several that follow
   * each other in a loop. Only there the budget is looked at, and what is carried is where it is expected. A turn that
   * finds an access on another page, or a number that takes a helper, goes back to its begin and is the first again: so
   * the inner loop is without calls.
   */
  write(b: Block): void {
    const { f, ops, region } = this;
    const comparison = lastComparison(b);
    const settled = !comparison && region.needsFlags(b.at);
    f.loop((first) => {
      ops.forget();
      region.takeCompared();
      ops.beginTurns();
      this.turnCode(b, b.insns.length, 0);
      const carried = ops.endFirstTurn(settled);
      /** Variable: the budget when a page was changed last. */
      const changedAt = f.variable('i32');
      const goToFirst = (): void => {
        region.settleFor(b.at);
        f.br(first);
      };
      f.loop((again) => {
        // Behind the block of each page it is changed; the turn begins again then.
        const count = ops.pagesToChange(gathers(b));
        const inside = (pages: readonly Label[]): void => {
          const number = count - pages.length - 1;
          if (number < 0) {
            this.furtherTurns(b, { carried, comparison, settled, goToFirst, pages });
            return;
          }
          f.block((label) => inside([label, ...pages]));
          ops.takeCarried(carried, comparison);
          // A turn whose accesses are on both sides of a page's end would change it for ever.
          const isSameTurn = x.compare('eq', f.get(changedAt), f.get(region.budget));
          f.unlikely(isSameTurn, goToFirst);
          f.setVariable(changedAt, f.get(region.budget));
          ops.changePage(number, goToFirst);
          f.br(again);
        };
        inside([]);
      });
    });
    f.unreachable();
    ops.endTurns();
  }
  /** The turns of a loop behind its first one. */
  private furtherTurns(b: Block, { carried, comparison, settled, goToFirst, pages }: FurtherTurns): void {
    const { f, ops, region } = this;
    const [length, count] = [b.insns.length, turnsTogether(b)];
    f.loop((label) => {
      ops.takeCarried(carried, comparison);
      for (let left = count - 1; left >= 0; left--) {
        ops.beginTurn((page) => {
          region.giveBack((left + 1) * length);
          if (page === undefined) {
            goToFirst();
            return;
          }
          ops.endTurn(carried, settled);
          f.br(pages[page]!);
        });
        this.turnCode(b, left === count - 1 ? count * length : 0, left * length);
      }
      f.unlikely(x.compare('lt_s', f.get(region.budget), x.i32Const(0)), () => region.leaveBefore(b.insns[0]!));
      ops.endTurn(carried, settled);
      f.br(label);
    });
    f.unreachable();
  }
  /** One turn, behind which the next one follows. */
  private turnCode(b: Block, spent: number, ahead: number): void {
    const { f, ops } = this;
    let behind: Knowledge | undefined;
    f.block((next) => {
      const again = (): void => {
        behind = ops.knowledge;
        f.br(next);
      };
      this.turn = { at: b.at, spent, ahead, again };
      this.region.blockCode(b);
    });
    this.turn = undefined;
    ops.knowledge = behind!;
  }
}
