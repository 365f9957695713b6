/**
 * The nodes of a region: its blocks, the places where an entry or a return site is chosen, and the ways into loops of one
 * block. Which places of return become entries is decided here, as it changes the graph's structure.
 */
import { type Cfg, ENTRY_NODE, RETURN_NODE, returnSites, successors } from './cfg.ts';
import { hasTurns, isOwnLoop } from './graph-facts.ts';
import { type Structure, structure } from './structure.ts';

/** Most entries of a region. */
const MAX_ENTRIES = 12;

/** Added to the position of a block that is a loop by itself: the node through which others come to it. */
const WAY_IN = 0.5;
export const isWayIn = (key: number): boolean => !Number.isInteger(key);

export class RegionNodes {
  /** Positions of the entries; the first is the graph's own. */
  readonly entries: readonly number[];
  readonly structure: Structure;
  /** Where returns may go inside the region. */
  readonly sites: readonly number[];
  /** Blocks that are written as turns. */
  readonly turned: ReadonlySet<number>;
  private readonly cfg: Cfg;
  /**
   * Blocks that are loops by themselves. Others come to them through a node of its own: a loop around them that begins
   * with them has another head then.
   */
  private readonly ownLoops: ReadonlySet<number>;
  /** Successors by key, where the entries do not matter. */
  private readonly following = new Map<number, readonly number[]>();

  /** `inTurns`: loops of one block are written as turns where they can be. */
  constructor(cfg: Cfg, inTurns: boolean) {
    this.cfg = cfg;
    this.sites = returnSites(cfg);
    const blocks = [...cfg.blocks.values()];
    this.ownLoops = new Set(blocks.filter(isOwnLoop).map((b) => b.at));
    this.turned = new Set(inTurns ? blocks.filter(hasTurns).map((b) => b.at) : []);
    [this.entries, this.structure] = this.chooseEntries();
  }

  /** The node that control comes to when it goes to a position from a node. */
  wayTo(target: number, from?: number): number {
    return this.ownLoops.has(target) && from !== target ? target + WAY_IN : target;
  }
  /** Takes as entries, besides the graph's own, those places of return that do not make two ways into a loop. */
  private chooseEntries(): [readonly number[], Structure] {
    const { entry, resumes } = this.cfg;
    const everyone = [entry, ...resumes.slice(0, MAX_ENTRIES - 1)];
    // If all together make no such loop, no choice of them does.
    const all = this.structureOf(everyone);
    if (all.irreducible === 0 || everyone.length === 1) return [everyone, all];
    let entries: readonly number[] = [entry];
    let best = this.structureOf(entries);
    for (const at of resumes) {
      if (entries.length === MAX_ENTRIES) break;
      const more = [...entries, at];
      const tried = this.structureOf(more);
      if (tried.irreducible <= best.irreducible) [entries, best] = [more, tried];
    }
    return [entries, best];
  }
  private structureOf(entries: readonly number[]): Structure {
    const root = entries.length > 1 ? ENTRY_NODE : this.wayTo(entries[0]!);
    const next = (key: number): readonly number[] =>
      key === ENTRY_NODE ? entries.map((at) => this.wayTo(at)) : this.successorsOf(key);
    return structure(root, next, RETURN_NODE);
  }
  private successorsOf(key: number): readonly number[] {
    let known = this.following.get(key);
    if (!known) {
      known = this.targetsOf(key);
      this.following.set(key, known);
    }
    return known;
  }
  private targetsOf(key: number): readonly number[] {
    if (isWayIn(key)) return [Math.floor(key)];
    const to = key === RETURN_NODE ? this.sites : successors(this.cfg, this.cfg.blocks.get(key)!, this.sites);
    const ways = to.map((target) => this.wayTo(target, key));
    // A loop written as turns is left from several places.
    return this.turned.has(key) ? [...ways, ...ways.filter((k) => k !== key)] : ways;
  }
}
