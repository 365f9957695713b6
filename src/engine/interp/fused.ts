/**
 * A comparison and the conditional branch behind it as one handler: it takes the place of the comparison's in its record
 * and reads both records. The branch's record stays what it is, for those who jump to it. The flags are stored as the
 * comparison alone would store them; the branch need not look at them.
 */
import { CONDITION_NAMES, FLAG_RECIPES, type FlagRecipe, recipeCondition } from '../../isa/flags.ts';
import { REC } from '../../isa/layout.ts';
import type { Width } from '../../isa/ops.ts';
import type { Row } from '../../isa/row.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import type { Env, Shape } from '../shape.ts';
import { HandlerOps } from './backend.ts';
import { type RecordFields, recordAt } from './record.ts';

type Expr = x.Expr;
/** The modes in whose code comparisons and branches are fused. */
export const FUSED_ENVS: readonly Env[] = ['long', 'legacy32'];
/** Conditions, and handlers for each comparison. */
export const CONDITIONS = CONDITION_NAMES.length;

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

  constructor(f: FunctionBuilder, shape: Shape, rec: RecordFields, known: KnownFlags) {
    super(f, shape, rec);
    this.known = known;
  }
  override cond(cc: number): Expr {
    const { recipe, w, r, x: first, y } = this.known;
    return this.f.let(recipeCondition(this, RECIPES.get(recipe)!, w, r, first, y, cc));
  }
}

export const isFusible = ({ row, env, rep }: Shape): boolean =>
  (row.name === 'cmp' || row.name === 'test') && rep === 'none' && FUSED_ENVS.includes(env);

/** Number of a conditional branch's condition; undefined for other shapes, and for branches that cut rip to 16 bits. */
export function conditionOf({ row, w, env }: Shape): number | undefined {
  if (w === 16 || !FUSED_ENVS.includes(env) || row.operands[0]?.where !== 'J') return undefined;
  const cc = CONDITION_NAMES.findIndex((name) => row.name === `j${name}`);
  return cc < 0 ? undefined : cc;
}

/** The near branches of the conditions, by their number. */
export function branchShapes(rows: readonly Row[], env: Env): Shape[] {
  return CONDITION_NAMES.map((name) => {
    const rowId = rows.findIndex((row) => row.name === `j${name}`);
    return { row: rows[rowId]!, rowId, w: 32, asize: env === 'long' ? 64 : 32, env, ea: 'none', rep: 'none' };
  });
}

/** Writes the body of a fused handler up to where the branch is not taken. @returns the branch's record */
export function writeFused(f: FunctionBuilder, comparison: Shape, branch: Shape): Expr {
  const rec = f.param(1);
  const first = new ComparisonOps(f, comparison, recordAt(rec));
  comparison.row.exec(first);
  const second = f.let(x.add(rec, x.i32Const(REC.SIZE)));
  branch.row.exec(new BranchOps(f, branch, recordAt(second), first.known!));
  return second;
}
