/**
 * The modules of regions that are alive: each has places in the table of handlers, one behind the other. New ones go
 * round and round through the table, and the oldest ones give way.
 */
import { FIRST_REGION } from '../interp/special.ts';
import type { Entry } from './planner.ts';

/** A region that is in its places. */
export interface Installed {
  readonly entry: Entry;
  /** Its entries. */
  readonly places: readonly Entry[];
  /** By block, the records of its instructions. */
  readonly blocks: readonly Uint32Array[];
}

export interface LiveModule {
  /** Its functions' places in the table: the first, and how many. */
  readonly first: number;
  readonly count: number;
  regions: Installed[];
}

export interface LiveModulesOptions {
  readonly table: WebAssembly.Table;
  /** What is in a place that is not in use. */
  readonly empty: unknown;
  readonly maxLiveModules: number;
  /** Places for regions: at least as many as a module has functions. */
  readonly tableSlots: number;
  /** A module is about to go: nobody may come to its places any more. */
  readonly onEvict: (m: LiveModule) => void;
}

export class LiveModules {
  private readonly o: LiveModulesOptions;
  /** The oldest first. */
  private modules: LiveModule[] = [];
  private next = FIRST_REGION;

  constructor(options: LiveModulesOptions) {
    this.o = options;
  }

  /** Makes room for a module with so many functions. @throws RangeError when the table has less */
  add(count: number): LiveModule {
    const { maxLiveModules, tableSlots } = this.o;
    if (count > tableSlots) throw new RangeError('the table of handlers is too small');
    while (this.modules.length >= maxLiveModules) this.evict();
    if (this.next + count > FIRST_REGION + tableSlots) {
      // What is between here and the end is of the round before.
      while (this.oldestFirst >= this.next) this.evict();
      this.next = FIRST_REGION;
    }
    while (this.isInTheWay(count)) this.evict();
    const live: LiveModule = { first: this.next, count, regions: [] };
    this.next += count;
    this.modules.push(live);
    return live;
  }
  private get oldestFirst(): number {
    return this.modules[0]?.first ?? -1;
  }
  private isInTheWay(count: number): boolean {
    const [oldest] = this.modules;
    return oldest !== undefined && oldest.first < this.next + count && oldest.first + oldest.count > this.next;
  }
  private evict(): void {
    const oldest = this.modules.shift()!;
    this.o.onEvict(oldest);
    this.emptySlots(oldest);
  }
  private emptySlots({ first, count }: LiveModule): void {
    for (let i = first; i < first + count; i++) this.o.table.set(i, this.o.empty);
  }
  /** Forgets all of them. */
  clear(): void {
    for (const m of this.modules) this.emptySlots(m);
    this.modules = [];
    this.next = FIRST_REGION;
  }
  /** Takes the regions that have a record out of their modules. */
  takeRegionsWith(rec: number): Installed[] {
    const taken: Installed[] = [];
    for (const m of this.modules) {
      const [has, others] = [true, false].map((is) =>
        m.regions.filter(({ blocks }) => blocks.some((recs) => recs.includes(rec)) === is),
      );
      taken.push(...has!);
      m.regions = others!;
    }
    return taken;
  }
}
