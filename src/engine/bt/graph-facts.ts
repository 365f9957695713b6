/** What is known of a region's graph before it is written: pages worth remembering, comparisons that ways have in common. */
import type { Block, Cfg } from './cfg.ts';
import type { Comparison } from './lazy-flags.ts';
import { accessKey, type PageUse, STACK_KEY } from './memory.ts';
import { rowUse } from './rowuse.ts';
import type { Structure } from './structure.ts';

/**
 * Loops of so many blocks at the most are worth more code: they stay long, and their accesses stay on a page. Elsewhere
 * looking for the page that was remembered costs more than the TLB.
 */
export const TIGHT_BLOCKS = 3;

/** The pages worth keeping: of accesses in tight loops. */
export function pagesKept(cfg: Cfg, s: Structure): ReadonlyMap<string, PageUse> {
  const found = new Map<string, PageUse>();
  const sizes = s.loopSizes();
  s.order.forEach((key, n) => {
    if (sizes[n]! > TIGHT_BLOCKS) return;
    for (const { insn } of cfg.blocks.get(key)?.insns ?? []) {
      const note = (k: string, read: boolean, write: boolean): void => {
        const old = found.get(k);
        found.set(k, { read: read || (old?.read ?? false), write: write || (old?.write ?? false) });
      };
      const use = rowUse(insn.row, insn.mode.code === 64).methods;
      const operand =
        insn.mem && insn.row.operands.find((o, i) => insn.operands[i]?.kind === 'mem' && (o.read || o.write));
      if (insn.mem && operand) note(accessKey(insn.mem), !operand.write, operand.write);
      if (use.has('load') || use.has('store')) note(STACK_KEY, use.has('load'), use.has('store'));
    }
  });
  return found;
}

/** What all comparisons are, if they are the same one. */
export function common(comparisons: readonly (Comparison | undefined)[]): Comparison | undefined {
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
