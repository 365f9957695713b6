/**
 * The control-flow graph of a region: basic blocks of instructions reached from one entry by direct branches and
 * calls, over several pages. Positions are byte offsets from the start of the entry's page, negative in front of it.
 */
import type { Insn } from '../../isa/insn.ts';
import type { Row } from '../../isa/row.ts';
import { isConditionalBranch, usesOffset } from '../shape.ts';
import { rowUse } from './rowuse.ts';
import { SYNCED_HELPERS } from './synced.ts';

/** An instruction with the record that interprets it. */
export interface RegionInsn {
  readonly insn: Insn;
  readonly at: number;
  /** Address of its first record and the handler that is its own (not a region's). */
  readonly rec: number;
  readonly handler: number;
  /** COUNT of that record. */
  readonly count: number;
  /** Its accesses look up nothing but their own page. */
  readonly alone: boolean;
}

/** How a block ends. Targets are positions; a target that is no block of the region is left through a join. */
export type BlockEnd =
  | { readonly kind: 'fall'; readonly next: number }
  /** Conditional branch: taken, else on to `next`. */
  | { readonly kind: 'branch'; readonly target: number; readonly next: number }
  | { readonly kind: 'jump'; readonly target: number }
  | { readonly kind: 'call'; readonly target: number; readonly next: number }
  | { readonly kind: 'return' }
  /** Indirect jump, indirect call. */
  | { readonly kind: 'dynamic' }
  /** The instruction at `next` is the interpreter's. */
  | { readonly kind: 'interpret'; readonly insn: RegionInsn };

export interface Block {
  readonly at: number;
  readonly insns: readonly RegionInsn[];
  readonly end: BlockEnd;
}

export interface Cfg {
  readonly entry: number;
  /** Positions that control comes back to after it has left the graph: they may be entries too. */
  readonly resumes: readonly number[];
  readonly blocks: ReadonlyMap<number, Block>;
}

/** Number of the page that a position is in, counted from the entry's. */
export const pageOf = (at: number): number => Math.floor(at / 4096);

/** Most instructions and blocks of a region. */
export interface RegionLimits {
  readonly maxInsns: number;
  readonly maxBlocks: number;
}
export const REGION_LIMITS: RegionLimits = { maxInsns: 300, maxBlocks: 80 };

/**
 * Vocabulary that only the interpreter carries out. Of a probe, which finds out whether all stores of an instruction will go
 * well, a region believes that of locked accesses alone: theirs are where the probe was, so that none misses behind another.
 */
const isInterpreted = (row: Row, method: string): boolean =>
  method === 'transfer' || (method === 'probeStore' && !row.lock);
const isTranslatableHelper = (name: string): boolean =>
  /^(sse|x87|aes|sha1|sha256)_|^clmul$/.test(name) || SYNCED_HELPERS.has(name);
/** Units whose instructions are translated. */
const UNITS: readonly Row['unit'][] = [undefined, 'x87', 'mmx', 'sse', 'avx'];
/** An operand that is a vector of indexes: its accesses are one for each element. */
const isGather = (row: Row): boolean => row.operands.some((o) => o.where === 'K');

const ROWS = { long: new WeakMap<Row, boolean>(), legacy: new WeakMap<Row, boolean>() };
const isLong = (insn: Insn): boolean => insn.mode.code === 64;

/** Can the translator state this instruction, or is it left to the interpreter? `methods`: its vocabulary. */
export function isTranslatable(insn: Insn, methods: { has(name: string): boolean }): boolean {
  const rows = ROWS[isLong(insn) ? 'long' : 'legacy'];
  let known = rows.get(insn.row);
  if (known === undefined) {
    known = isTranslatableRow(insn.row, isLong(insn), methods);
    rows.set(insn.row, known);
  }
  return known && isTranslatableForm(insn);
}
function isTranslatableForm(insn: Insn): boolean {
  const { row } = insn;
  if (insn.rep !== 'none' || insn.mode.code === 16 || insn.asize === 16 || insn.mode.stack === 16) return false;
  if (insn.mode.code === 32 && usesOffset(row) && row.name !== 'lea') return false;
  // With a 16-bit operand a near branch cuts rip.
  return insn.w !== 16 || !isBranch(row);
}
const isBranch = (row: Row): boolean => {
  const { branches, jumps } = rowUse(row, true);
  return branches || jumps;
};

function isTranslatableRow(row: Row, long: boolean, methods: { has(name: string): boolean }): boolean {
  const use = rowUse(row, long);
  const ends = row.ends && !isBranch(row);
  if (ends && (use.helpers.size === 0 || [...use.helpers].some((h) => !SYNCED_HELPERS.has(h)))) return false;
  if (!UNITS.includes(row.unit) || isGather(row)) return false;
  for (const m of use.methods) if (isInterpreted(row, m) || !methods.has(m)) return false;
  for (const h of use.helpers) if (!isTranslatableHelper(h)) return false;
  return true;
}

/** Where the graph's code comes from. */
export interface CodeSource {
  /** The instruction at a position with its record; undefined when it cannot be decoded there. */
  insnAt(at: number): RegionInsn | undefined;
  /** Was the position jumped to often enough? Branches that were never or seldom taken are left out. */
  wasReached(at: number): boolean;
  /** Is what begins there better left to the region that it has? */
  isApart(at: number): boolean;
  readonly canTranslate: (insn: Insn) => boolean;
}

/** What a graph is made of: instructions by position, and the positions at which blocks begin. */
export interface Reached {
  readonly entry: number;
  readonly insns: ReadonlyMap<number, RegionInsn>;
  readonly leaders: ReadonlySet<number>;
}

/** The graph of what is reached from `entry`, nearest code first. */
export function buildCfg(entry: number, code: CodeSource, limits: RegionLimits = REGION_LIMITS): Cfg {
  return cfgOf(reach(entry, code, limits), code.canTranslate);
}

/** Follows the code from `entry`. */
export function reach(entry: number, code: CodeSource, limits: RegionLimits = REGION_LIMITS): Reached {
  // Instruction starts are collected on the way; blocks begin at the entry and at all targets.
  const known = new Map<number, RegionInsn>();
  const leaders = new Set<number>([entry]);
  const work = [entry];
  const lead = (at: number, certain: boolean): void => {
    if (leaders.has(at) || leaders.size >= limits.maxBlocks || !(certain || code.wasReached(at))) return;
    if (code.isApart(at)) return;
    leaders.add(at);
    work.push(at);
  };
  while (work.length > 0) {
    let at = work.shift()!;
    const page = pageOf(at);
    while (!known.has(at) && known.size < limits.maxInsns) {
      // A page is entered by a jump to a block's start only.
      if (pageOf(at) !== page) {
        lead(at, true);
        break;
      }
      const i = code.insnAt(at);
      if (!i) break;
      known.set(at, i);
      const next = at + i.insn.length;
      if (!code.canTranslate(i.insn)) {
        if (comesBehind(i.insn) && pageOf(next) === 0) lead(next, true);
        break;
      }
      const end = controlOf(i, next);
      if (end) {
        if ('target' in end) lead(end.target, false);
        if ('next' in end && end.kind !== 'fall') lead(end.next, end.kind === 'branch');
        if (end.kind === 'dynamic' && comesBehind(i.insn)) lead(next, false);
        break;
      }
      at = next;
    }
  }
  return { entry, insns: known, leaders };
}

/** Does control come to what is behind an instruction, sooner or later: behind a call, or one that is the interpreter's? */
function comesBehind(insn: Insn): boolean {
  const { transfers, jumps, branches } = rowUse(insn.row, isLong(insn));
  return insn.row.name === 'call' || !(transfers || jumps || branches);
}

/** The blocks of what was reached. */
export function cfgOf({ entry, insns, leaders }: Reached, canTranslate: CodeSource['canTranslate']): Cfg {
  const blocks = new Map<number, Block>();
  for (const at of leaders) {
    const block = makeBlock(at, insns, leaders, canTranslate);
    if (block) blocks.set(at, block);
  }
  return { entry, blocks, resumes: resumesOf(entry, blocks) };
}

/** Where control comes back to, of the entry's page: pages are asked for on the way from it to others. */
function resumesOf(entry: number, blocks: ReadonlyMap<number, Block>): number[] {
  const found = new Set<number>();
  for (const { insns, end } of blocks.values()) {
    const last = end.kind === 'interpret' ? end.insn : insns.at(-1);
    if (!last || !comesBehind(last.insn)) continue;
    const isLeft =
      end.kind === 'interpret' || end.kind === 'dynamic' || (end.kind === 'call' && !blocks.has(end.target));
    const next = last.at + last.insn.length;
    if (isLeft && next !== entry && pageOf(next) === 0 && blocks.get(next)?.insns.length) found.add(next);
  }
  return [...found].sort((a, b) => a - b);
}

/** How control leaves after an instruction; undefined when it goes on to the next. */
function controlOf(i: RegionInsn, next: number): BlockEnd | undefined {
  const { row } = i.insn;
  const use = rowUse(row, isLong(i.insn));
  if (use.jumps) return row.name === 'ret' ? { kind: 'return' } : { kind: 'dynamic' };
  if (!use.branches) return undefined;
  const rel = i.insn.operands.find((o) => o.kind === 'rel');
  const target = next + (rel?.kind === 'rel' ? rel.value : 0);
  if (isConditionalBranch(row)) return { kind: 'branch', target, next };
  return row.name === 'call' ? { kind: 'call', target, next } : { kind: 'jump', target };
}

function makeBlock(
  start: number,
  known: ReadonlyMap<number, RegionInsn>,
  leaders: ReadonlySet<number>,
  canTranslate: (insn: Insn) => boolean,
): Block | undefined {
  const insns: RegionInsn[] = [];
  for (let at = start; ; ) {
    const i = known.get(at);
    if (!i) return insns.length > 0 ? { at: start, insns, end: { kind: 'fall', next: at } } : undefined;
    // A page is entered at a block's start only.
    if (pageOf(at) !== pageOf(start)) return { at: start, insns, end: { kind: 'fall', next: at } };
    if (!canTranslate(i.insn)) return { at: start, insns, end: { kind: 'interpret', insn: i } };
    insns.push(i);
    const next = at + i.insn.length;
    const end = controlOf(i, next);
    if (end) return { at: start, insns, end };
    if (leaders.has(next)) return { at: start, insns, end: { kind: 'fall', next } };
    at = next;
  }
}

/** Blocks that a block may go to inside the region. Returns go to every return site (`sites`). */
export function successors(cfg: Cfg, { end }: Block, sites: readonly number[]): number[] {
  const found: number[] = [];
  if (end.kind === 'return') {
    if (sites.length > 0) found.push(RETURN_NODE);
    return found;
  }
  if ((end.kind === 'branch' || end.kind === 'jump' || end.kind === 'call') && cfg.blocks.has(end.target)) {
    found.push(end.target);
  }
  if ((end.kind === 'branch' || end.kind === 'fall') && cfg.blocks.has(end.next)) found.push(end.next);
  return found;
}
/** The virtual block in which an entry is chosen, where there are several. */
export const ENTRY_NODE = Number.MIN_SAFE_INTEGER + 1;
/** The virtual block in which a popped return address is compared with the region's return sites. */
export const RETURN_NODE = Number.MIN_SAFE_INTEGER;

/** Return sites of calls whose target is in the region and from which a `return` can come. */
export function returnSites(cfg: Cfg): number[] {
  const sites = new Set<number>();
  let returns = false;
  for (const { end } of cfg.blocks.values()) {
    if (end.kind === 'return') returns = true;
    else if (end.kind === 'call' && cfg.blocks.has(end.target) && cfg.blocks.has(end.next)) sites.add(end.next);
  }
  return returns ? [...sites] : [];
}
