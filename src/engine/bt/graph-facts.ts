/** What is known of a region's graph before it is written: pages worth remembering, loops and what they consist of. */
import type { Block, Cfg } from './cfg.ts';
import { accessKey, type PageUse, STACK_KEY } from './hosts.ts';
import { rowUse } from './rowuse.ts';
import type { Structure } from './structure.ts';
import { SYNCED_HELPERS } from './synced.ts';

/**
 * Loops of so many blocks at the most are worth more code: they stay long, and their accesses stay on a page. Elsewhere
 * looking for the page that was remembered costs more than the TLB.
 */
export const TIGHT_BLOCKS = 3;

/** The pages worth keeping: of accesses in tight loops, but those of `apart`. */
export function pagesKept(cfg: Cfg, s: Structure, apart: ReadonlySet<number>): ReadonlyMap<string, PageUse> {
  const found = new Map<string, PageUse>();
  const sizes = s.loopSizes();
  s.order.forEach((key, n) => {
    const b = cfg.blocks.get(key);
    if (b && sizes[n]! <= TIGHT_BLOCKS && !apart.has(key)) notePages(b, found);
  });
  return found;
}
/** Those of a block's accesses. */
function notePages(b: Block, found: Map<string, PageUse>): void {
  eachAccess(b, (key, read, write) => {
    const old = found.get(key);
    found.set(key, { read: read || (old?.read ?? false), write: write || (old?.write ?? false) });
  });
}
function eachAccess(b: Block, note: (key: string, read: boolean, write: boolean) => void): void {
  for (const { insn } of b.insns) {
    const use = rowUse(insn.row, insn.mode.code === 64).methods;
    const operand =
      insn.mem && insn.row.operands.find((o, i) => insn.operands[i]?.kind === 'mem' && (o.read || o.write));
    if (insn.mem && operand) note(accessKey(insn.mem), !operand.write, operand.write);
    if (use.has('load') || use.has('store')) note(STACK_KEY, use.has('load'), use.has('store'));
  }
}
/** Keys of a block's accesses that no other access of the block has. */
export function accessedOnce(b: Block): ReadonlySet<string> {
  const [once, more] = [new Set<string>(), new Set<string>()];
  eachAccess(b, (key) => {
    (once.has(key) ? more : once).add(key);
  });
  for (const key of more) once.delete(key);
  return once;
}

/** Instructions of a loop that is written several times: its first turn by itself, the others in turns of a loop. */
const MOST_INSNS = 14;
const INSNS_TOGETHER = 16;
const MOST_TOGETHER = 4;

/**
 * Is the block a loop by itself that is worth writing more than once? The first turn finds out what all others begin
 * with: pages, registers, flags.
 */
export function hasTurns(b: Block): boolean {
  if (!isOwnLoop(b) || b.insns.length > MOST_INSNS) return false;
  return b.insns.every(({ insn }) => {
    const { helpers } = rowUse(insn.row, insn.mode.code === 64);
    return insn.row.name !== 'sti' && ![...helpers].some((h) => SYNCED_HELPERS.has(h));
  });
}
/** How many turns of such a loop follow each other before it goes back. */
export const turnsTogether = (b: Block): number =>
  Math.max(1, Math.min(MOST_TOGETHER, Math.floor(INSNS_TOGETHER / b.insns.length)));
export const isOwnLoop = ({ at, end }: Block): boolean =>
  end.kind === 'branch' && (end.target === at || end.next === at);

/** Does a loop access memory by an address that it has loaded? Such accesses change their page often. */
export function gathers(b: Block): boolean {
  const loaded = b.insns.flatMap(({ insn }) => {
    const [to, from] = insn.operands;
    return LOADS.has(insn.row.name) && to?.kind === 'reg' && from?.kind === 'mem' ? [to.n] : [];
  });
  return b.insns.some(({ insn: { mem } }) => loaded.some((r) => mem?.base === r || mem?.index === r));
}
const LOADS = new Set(['mov', 'movsxd', 'movsx', 'movzx']);

/** Part of the instructions that is in loops. */
export function loopShare(cfg: Cfg, s: Structure): number {
  const sizes = s.loopSizes();
  let [all, inLoops] = [0, 0];
  s.order.forEach((key, n) => {
    const count = cfg.blocks.get(key)?.insns.length ?? 0;
    all += count;
    if (Number.isFinite(sizes[n]!)) inLoops += count;
  });
  return inLoops / all;
}
