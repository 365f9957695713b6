/**
 * The ways out of a region. Those in front of an instruction are numbers in a table in memory (REGION_EXIT); all come
 * together at the function's end, where registers go back to the state.
 */
import { CPU, REC, REGION_EXIT } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { HANDLER } from '../interp/chain.ts';
import { gotoKnown } from '../interp/goto.ts';
import type { RegionOps } from './backend.ts';
import { pageOf, type RegionInsn } from './cfg.ts';

/** What becomes a REGION_EXIT, or a REGION_PAGE if all is 0; `page` is the number of the record's page. */
export interface RegionExit {
  /** Changes while the region is written, see Span. */
  handler: number;
  readonly rec: number;
  readonly back: number;
  readonly page: number;
}

/** What a REGION_PAGE is filled with: no page was found there yet. */
const PAGE_PLACE: RegionExit = { handler: 0, rec: 0, back: 0, page: 0 };

/** Sites that are not in the table: to a computed rip, and the same with a look at events. */
export const EXIT_RIP = -1;
export const EXIT_EVENTS = -2;
/** Sites with a jump of their own are this and below. */
const EXIT_OWN = -3;
/** Most of those in a region. */
const MOST_OWN = 3;

export class WaysOut {
  readonly exits: RegionExit[] = [];
  /** Variables: the site, an offset in the table of exits or one of the two above; the computed rip. */
  readonly site: number;
  readonly rip: number;
  private readonly f: FunctionBuilder;
  private readonly ops: RegionOps;
  /** Sites that have a jump of their own, by what they have in common. */
  private readonly own = new Map<string, number>();
  /** By position of an instruction, the numbers of its exits. */
  private readonly numbers = new Map<number, number[]>();

  /** `pages`: how many pages have a place in the table, in front of the exits. */
  constructor(f: FunctionBuilder, ops: RegionOps, pages: number) {
    this.f = f;
    this.ops = ops;
    for (let n = 0; n < pages; n++) this.exits.push(PAGE_PLACE);
    this.site = f.variable('i32');
    this.rip = f.variable('i64');
  }

  /** The exit at a site in the table. */
  exitAt(site: number): RegionExit {
    return this.exits[site / REGION_EXIT.SIZE]!;
  }
  /** The site in front of an instruction, that its handler goes on with; `back` instructions were counted and not done. */
  siteOf({ at, rec, handler }: RegionInsn, back: number): number {
    let known = this.numbers.get(at);
    if (!known) {
      known = [];
      this.numbers.set(at, known);
    }
    for (const number of known) {
      const e = this.exits[number]!;
      if (e.back === back && e.handler === handler) return number * REGION_EXIT.SIZE;
    }
    const number = this.exits.push({ handler, rec, back, page: pageOf(at) }) - 1;
    known.push(number);
    return number * REGION_EXIT.SIZE;
  }

  /**
   * A site to a computed rip with a jump of its own: the host foresees where a jump goes that always goes to the same
   * place, and little else. `key`: the target, or for targets that differ the place of the jump.
   */
  ripSiteOf(key: string): number {
    const known = this.own.get(key);
    if (known !== undefined) return known;
    if (this.own.size === MOST_OWN) return EXIT_RIP;
    const site = EXIT_OWN - this.own.size;
    this.own.set(key, site);
    return site;
  }

  /** Emits the end that all ways out come to. `budget`: the variable; `hasPages`: exits may be in other pages. */
  write(exitTable: x.Expr, budget: number, hasPages: boolean): void {
    const { f } = this;
    const cpu = f.param(0);
    const site = f.get(this.site);
    this.ops.epilogue();
    f.if(x.compare('ge_s', site, x.i32Const(0)), () => {
      const at = f.let(x.add(site, exitTable));
      const back = x.load('i32', at, REGION_EXIT.BACK);
      f.store('i32', cpu, CPU.budget!, x.add(f.get(budget), back));
      if (hasPages) {
        const offset = x.signExtend(32, x.load('i64_32u', at, REGION_EXIT.PAGE));
        f.store('i64', cpu, CPU.page_base!, x.add(this.ops.page(), offset));
      }
      const handler = f.let(x.load('i32', at, REGION_EXIT.HANDLER));
      const next = f.let(x.load('i32', at, REGION_EXIT.REC));
      // Between a region and the instructions behind it nothing else looks at the budget.
      const left = x.sub(x.load('i32', cpu, CPU.budget!), x.load('i32_16u', next, REC.COUNT));
      f.unlikely(x.compare('lt_s', left, x.i32Const(0)), () => f.returnCall('yield_at', cpu, next));
      f.returnCallIndirect(HANDLER, handler, cpu, next);
    });
    f.store('i32', cpu, CPU.budget!, f.get(budget));
    const rip = f.get(this.rip);
    const places = (jump: () => void): void => {
      for (const own of this.own.values()) f.if(x.compare('eq', site, x.i32Const(own)), jump);
      jump();
    };
    const condition = x.compare('ne', site, x.i32Const(EXIT_EVENTS));
    gotoKnown(f, cpu, { rip, budget: f.get(budget), long: this.ops.long, condition, places });
    f.if(x.compare('eq', site, x.i32Const(EXIT_EVENTS)), () => {
      f.store('i64', cpu, CPU.rip!, rip);
      f.returnCall('goto_events', cpu);
    });
    f.returnCall('goto', cpu, rip);
  }
}
