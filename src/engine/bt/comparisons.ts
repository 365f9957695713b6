/** Comparisons in front of branches, and where all ways to a node have the same one: its flags are that comparison's then. */
import type { Block, Cfg } from './cfg.ts';
import type { Comparison } from './lazy-flags.ts';
import { isWayIn } from './nodes.ts';
import type { Structure } from './structure.ts';

/** What all comparisons are, if they are the same one. */
function common(comparisons: readonly (Comparison | undefined)[]): Comparison | undefined {
  const [first] = comparisons;
  const isSame = (c: Comparison | undefined): boolean =>
    c !== undefined && c.test === first?.test && c.w === first.w && c.x === first.x && c.y === first.y;
  return comparisons.every(isSame) ? first : undefined;
}

/** The CMP or TEST of registers right before the block's conditional branch. */
export function lastComparison(b: Block): Comparison | undefined {
  const i = b.end.kind === 'branch' ? b.insns.at(-2)?.insn : undefined;
  if (!i || (i.row.name !== 'cmp' && i.row.name !== 'test') || (i.w !== 32 && i.w !== 64)) return undefined;
  const [a, c] = i.operands;
  if (a?.kind !== 'reg' || a.cls !== 'gpr' || a.width !== i.w || !c) return undefined;
  const other = c.kind === 'reg' && c.cls === 'gpr' && c.width === i.w ? c.n : undefined;
  const y = c.kind === 'imm' ? BigInt.asUintN(i.w, c.value) : other;
  return y === undefined ? undefined : { test: i.row.name === 'test', w: i.w, x: a.n, y };
}

const comparisonBehind = (cfg: Cfg, key: number): Comparison | undefined => {
  const block = cfg.blocks.get(key);
  return block && lastComparison(block);
};
/** The comparison that all ends of loop `n` have before they go back to its head, where flags are needed. */
export function loopComparison(
  cfg: Cfg,
  s: Structure,
  needFlags: ReadonlySet<number>,
  n: number,
): Comparison | undefined {
  if (!needFlags.has(Math.floor(s.order[n]!))) return undefined;
  const ends = s.order.filter((_, from) => from >= n && s.next[from]!.includes(n));
  return common(ends.map((key) => comparisonBehind(cfg, key)));
}
/** For nodes with several ways in: the comparison that is the last thing on all of them. */
export function commonComparisons(cfg: Cfg, s: Structure, needFlags: ReadonlySet<number>): Map<number, Comparison> {
  const { order, next, isLoop, isMerge } = s;
  const before: (Comparison | undefined)[][] = order.map(() => []);
  const found = new Map<number, Comparison>();
  order.forEach((key, n) => {
    // Flags of a node that only leads to a loop are those on the way to it.
    const behind = isWayIn(key) ? common(before[n]!) : comparisonBehind(cfg, key);
    for (const to of next[n]!) before[to]!.push(behind);
  });
  // The entry is come to from outside.
  for (let n = 1; n < order.length; n++) {
    if (!(isLoop[n] || isMerge[n]) || !needFlags.has(Math.floor(order[n]!))) continue;
    const c = common(before[n]!);
    if (c) found.set(n, c);
  }
  return found;
}
