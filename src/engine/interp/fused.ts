/**
 * A comparison and the conditional branch behind it as one handler: it takes the place of the comparison's in its record
 * and reads both records. The branch's record stays what it is, for those who jump to it. The flags are stored as the
 * comparison alone would store them; the branch need not look at them.
 *
 * Any two of the commonest other instructions, a quarter of what is carried out, gained nothing when fused.
 */
import { CONDITION_NAMES, FLAG_RECIPES, type FlagRecipe, recipeCondition } from '../../isa/flags.ts';
import { REC } from '../../isa/layout.ts';
import type { Width } from '../../isa/ops.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import type { Shape } from '../shape.ts';
import { HandlerOps } from './backend.ts';
import { type Chain, goOn } from './chain.ts';
import { type RecordFields, recordAt } from './record.ts';

type Expr = x.Expr;
interface KnownFlags {
  readonly recipe: string;
  readonly w: Width;
  readonly r: Expr;
  readonly x: Expr;
  readonly y: Expr;
}

/** Remembers the flags that it stores. */
class ComparisonOps extends HandlerOps {
  known: KnownFlags | undefined;

  override flags(recipe: string, w: Width, v: { r: Expr; x?: Expr; y?: Expr }): void {
    const local = (e: Expr | undefined): Expr => (e ? this.f.let(x.extendU(e)) : x.i64Const(0n));
    const known = { recipe, w, r: local(v.r), x: local(v.x), y: local(v.y) };
    super.flags(recipe, w, { r: known.r, ...(v.x && { x: known.x }), ...(v.y && { y: known.y }) });
    this.known = known;
  }
}

const RECIPES: ReadonlyMap<string, FlagRecipe> = new Map(FLAG_RECIPES.map((r) => [r.name, r]));

/** Works conditions out from the comparison's operands. */
class BranchOps extends HandlerOps {
  private readonly known: KnownFlags;

  constructor(f: FunctionBuilder, shape: Shape, rec: RecordFields, chain: Chain, known: KnownFlags) {
    super(f, shape, rec, chain);
    this.known = known;
  }
  override cond(cc: number): Expr {
    const { recipe, w, r, x: first, y } = this.known;
    return this.f.let(recipeCondition(this, RECIPES.get(recipe)!, w, r, first, y, cc));
  }
}

const isComparison = ({ row, env, rep }: Shape): boolean =>
  (row.name === 'cmp' || row.name === 'test') && rep === 'none' && env !== 'legacy16';
const JUMPS: ReadonlySet<string> = new Set(CONDITION_NAMES.map((name) => `j${name}`));
/** Conditional near branches, but those that cut rip to 16 bits. */
const isBranch = ({ row, w, env }: Shape): boolean => JUMPS.has(row.name) && w !== 16 && env !== 'legacy16';

/** The pairs to be fused; `once` leaves shapes out whose handler another one has. */
export function fusedPairs(shapes: readonly Shape[], once: (list: Shape[]) => Shape[]): [Shape, Shape][] {
  const pairs: [Shape, Shape][] = [];
  for (const env of ['long', 'legacy32'] as const) {
    const comparisons = once(shapes.filter((s) => s.env === env && isComparison(s)));
    const branches = once(shapes.filter((s) => s.env === env && isBranch(s)));
    for (const first of comparisons) for (const second of branches) pairs.push([first, second]);
  }
  return pairs;
}

/** Writes the handler of the two instructions; the comparison's record is the function's second parameter. */
export function writeFused(f: FunctionBuilder, chain: Chain, comparison: Shape, branch: Shape): void {
  const first = new ComparisonOps(f, comparison, recordAt(f.param(1)), chain);
  comparison.row.exec(first);
  const rec = f.let(x.add(f.param(1), x.i32Const(REC.SIZE)));
  branch.row.exec(new BranchOps(f, branch, recordAt(rec), chain, first.known!));
  goOn(f, { ...chain, ahead: undefined }, rec);
}
