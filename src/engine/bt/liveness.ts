/**
 * Where the arithmetic flags are needed: at a block's start they are dead when the block sets all of them before it
 * reads one or may leave the region. Engines keep flags exact where they leave, so leaving counts as reading.
 */
import type { Ops } from '../../isa/ops.ts';
import type { Row } from '../../isa/row.ts';
import { type Cfg, RETURN_NODE, type RegionInsn, successors } from './cfg.ts';

/** What an instruction does with the six flags. */
interface FlagUse {
  /** It looks at them, or may leave the region before it sets them. */
  readonly reads: boolean;
  /** It sets them all, whatever its operands are. */
  readonly kills: boolean;
}

const READERS = new Set(['flag', 'cond', 'arith', 'setFlag']);
const LEAVERS = new Set(['load', 'store', 'probeStore', 'fault', 'check', 'transfer', 'half', 'setWide']);
const SETTERS = new Set(['flags', 'setArith']);
/** Units whose instructions look for pending exceptions each time. */
const LOOKING_UNITS = new Set(['x87', 'mmx']);

/** A value of the recorder: a constant, or null when only known when run. */
type Known = bigint | null;

/** By row: by operand size, whether there is a memory operand, and count. */
const USES = new WeakMap<Row, Map<number, FlagUse>>();

function flagUse({ insn }: RegionInsn): FlagUse {
  let uses = USES.get(insn.row);
  if (!uses) {
    uses = new Map();
    USES.set(insn.row, uses);
  }
  // A count is what makes shifts set flags or not.
  let count = -1n;
  for (const o of insn.operands) {
    if (o.kind !== 'imm') continue;
    count = o.value & 63n;
    break;
  }
  const key = ((insn.w * 2 + (insn.mem ? 1 : 0)) << 7) + Number(count);
  let use = uses.get(key);
  if (!use) {
    use = record(insn.row, insn, count);
    uses.set(key, use);
  }
  return use;
}
/** The first thing that a block does with the flags. */
function firstUse(insns: readonly RegionInsn[]): FlagUse | undefined {
  for (const i of insns) {
    const use = flagUse(i);
    if (use.reads || use.kills) return use;
  }
  return undefined;
}

/** Runs the row on a recorder. What is under a condition that is not constant is not certain to happen. */
function record(row: Row, insn: RegionInsn['insn'], count: bigint): FlagUse {
  let reads = (insn.mem !== undefined && !row.noAccess && row.name !== 'lea') || LOOKING_UNITS.has(row.unit ?? '');
  let kills = false;
  let depth = 0;
  const arm = (body: (() => void) | undefined, certain: boolean): void => {
    if (!certain) depth++;
    body?.();
    if (!certain) depth--;
  };
  const fold: Readonly<Record<string, (a: Known, b: Known) => Known>> = {
    and: (a, b) => (a !== null && b !== null ? a & b : null),
    zext: (_w, a) => a,
    let: (a) => a,
    k: (a) => a,
  };
  const given: Readonly<Record<string, unknown>> = {
    w: insn.w,
    asize: insn.asize,
    stack: insn.mode.stack,
    long: insn.mode.code === 64,
    vl: 128,
    width: () => insn.w,
    isMem: (n: number) => insn.operands[n]?.kind === 'mem',
    get: (n: number): Known => (insn.operands[n]?.kind === 'imm' && count >= 0n ? count : null),
    if: (c: Known, then: () => void, otherwise?: () => void) => {
      if (c !== 0n) arm(then, c !== null);
      if (c === null || c === 0n) arm(otherwise, c !== null);
    },
    setFlag: (_f: string, v: () => unknown) => {
      if (!kills) reads = true;
      v();
    },
  };
  const recorder = new Proxy(given, {
    get(target, name: string) {
      if (READERS.has(name) || LEAVERS.has(name)) if (!kills) reads = true;
      if (SETTERS.has(name) && depth === 0) kills = true;
      return target[name] ?? fold[name] ?? (() => null);
    },
  });
  row.exec(recorder as unknown as Ops<null>);
  return { reads, kills };
}

/** Keys of the blocks at whose start the flags are needed. `leaves`: an edge that may leave the region though its target is in it. */
export function blocksNeedingFlags(
  cfg: Cfg,
  sites: readonly number[],
  leaves: (from: number, to: number) => boolean,
): ReadonlySet<number> {
  const needed = new Set<number>([RETURN_NODE]);
  const passing: number[] = [];
  for (const b of cfg.blocks.values()) {
    const first = firstUse(b.insns);
    if (first?.reads) needed.add(b.at);
    else if (!first) passing.push(b.at);
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const at of passing) {
      if (needed.has(at)) continue;
      const b = cfg.blocks.get(at)!;
      const to = successors(cfg, b, sites);
      const targets = b.end.kind === 'branch' ? 2 : 1;
      if (to.length < targets || to.some((t) => needed.has(t) || leaves(at, t))) {
        needed.add(at);
        changed = true;
      }
    }
  }
  return needed;
}
