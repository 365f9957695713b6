/**
 * What the arithmetic flags are after each kind of instruction, as named recipes over (r, x, y): r is the
 * result, zero-extended from the width; x and y are whatever the recipe says. An engine may keep (recipe, r, x, y)
 * and work a flag out only when it is read; cc_op = 1 + recipe * 4 + log2(width / 8), and 0 means that x holds
 * EFLAGS bits. ZF, SF and PF follow from r in every recipe (SDM vol.1 3.4.3.1).
 */
import type { Flag, PureOps, Width } from './ops.ts';

export interface FlagRecipe {
  readonly name: string;
  /** What x and y stand for. */
  readonly about: string;
  /** How many of them mean something: 0, 1 (x) or 2. */
  readonly uses: 0 | 1 | 2;
  cf<V>(s: PureOps<V>, w: Width, r: V, x: V, y: V): V;
  af<V>(s: PureOps<V>, w: Width, r: V, x: V, y: V): V;
  of<V>(s: PureOps<V>, w: Width, r: V, x: V, y: V): V;
  /** The result, where x and y tell it: cut it to the width. */
  result?<V>(s: PureOps<V>, x: V, y: V): V;
  /** Even conditions that are simpler than their flags, by number / 2; undefined: work it out from the flags. */
  cond?<V>(s: PureOps<V>, w: Width, r: V, x: V, y: V, pair: number): V | undefined;
}

const bit = <V>(s: PureOps<V>, v: V, n: number): V => s.and(s.shr(v, s.k(BigInt(n))), s.k(1n));
const sign = <V>(s: PureOps<V>, w: Width, v: V): V => bit(s, v, w - 1);
const zero = <V>(s: PureOps<V>): V => s.k(0n);
const not = <V>(s: PureOps<V>, v: V): V => s.xor(v, s.k(0xffff_ffff_ffff_ffffn));
/** Is the signed product of two numbers of width `w` more than `r`, its low half? */
const overflowOfProduct = <V>(s: PureOps<V>, w: Width, r: V, x: V, y: V): V => {
  if (w === 64) return s.eqz(s.eq(s.mulhs(x, y), s.sar(r, s.k(63n))));
  const product = s.mul(s.sext(w, x), s.sext(w, y));
  return s.eqz(s.eq(product, s.sext(w, product)));
};
const nibble = <V>(s: PureOps<V>, r: V, x: V, y: V): V => bit(s, s.xor(s.xor(x, y), r), 4);

export const FLAG_RECIPES: readonly FlagRecipe[] = [
  {
    name: 'add',
    uses: 2,
    about: 'r = x + y',
    result: (s, x, y) => s.add(x, y),
    cf: (s, _w, r, x) => s.ltu(r, x),
    af: (s, _w, r, x, y) => nibble(s, r, x, y),
    of: (s, w, r, x, y) => sign(s, w, s.and(s.xor(x, r), s.xor(y, r))),
  },
  {
    name: 'sub',
    uses: 2,
    about: 'r = x - y',
    result: (s, x, y) => s.sub(x, y),
    cf: (s, _w, _r, x, y) => s.ltu(x, y),
    af: (s, _w, r, x, y) => nibble(s, r, x, y),
    of: (s, w, r, x, y) => sign(s, w, s.and(s.xor(x, y), s.xor(x, r))),
    cond: (s, w, _r, x, y, pair) => {
      if (pair === 1) return s.ltu(x, y);
      if (pair === 2) return s.eq(x, y);
      if (pair === 3) return s.eqz(s.ltu(y, x));
      if (pair === 6) return s.lts(s.sext(w, x), s.sext(w, y));
      if (pair === 7) return s.eqz(s.lts(s.sext(w, y), s.sext(w, x)));
      return undefined;
    },
  },
  {
    name: 'adc',
    uses: 2,
    about: 'r = x + y + CF',
    cf: (s, w, r, x, y) => sign(s, w, s.or(s.and(x, y), s.and(s.or(x, y), not(s, r)))),
    af: (s, _w, r, x, y) => nibble(s, r, x, y),
    of: (s, w, r, x, y) => sign(s, w, s.and(s.xor(x, r), s.xor(y, r))),
  },
  {
    name: 'sbb',
    uses: 2,
    about: 'r = x - y - CF',
    cf: (s, w, r, x, y) => sign(s, w, s.or(s.and(not(s, x), y), s.and(s.or(not(s, x), y), r))),
    af: (s, _w, r, x, y) => nibble(s, r, x, y),
    of: (s, w, r, x, y) => sign(s, w, s.and(s.xor(x, y), s.xor(x, r))),
  },
  {
    name: 'logic',
    uses: 0,
    about: 'CF, OF and AF are 0',
    cf: zero,
    af: zero,
    of: zero,
    cond: (s, w, r, _x, _y, pair) => {
      if (pair === 3) return s.eqz(r);
      if (pair === 6) return s.lts(s.sext(w, r), s.k(0n));
      if (pair === 7) return s.lts(s.sext(w, r), s.k(1n));
      return undefined;
    },
  },
  {
    name: 'inc',
    uses: 1,
    about: 'r = operand + 1; x = CF before',
    cf: (_s, _w, _r, x) => x,
    af: (s, _w, r) => s.eqz(s.and(r, s.k(15n))),
    of: (s, w, r) => s.eq(r, s.k(1n << BigInt(w - 1))),
  },
  {
    name: 'dec',
    uses: 1,
    about: 'r = operand - 1; x = CF before',
    cf: (_s, _w, _r, x) => x,
    af: (s, _w, r) => s.eq(s.and(r, s.k(15n)), s.k(15n)),
    of: (s, w, r) => s.eq(r, s.k((1n << BigInt(w - 1)) - 1n)),
  },
  {
    name: 'carry',
    uses: 2,
    about: 'x = CF, y = OF; AF is 0 (shifts, MUL)',
    cf: (_s, _w, _r, x) => x,
    af: zero,
    of: (_s, _w, _r, _x, y) => y,
  },
  {
    name: 'imul',
    uses: 2,
    about: 'r = low half of x times y, signed; CF and OF: the product is more than that; AF is 0',
    cf: overflowOfProduct,
    af: zero,
    of: overflowOfProduct,
  },
];

/** ZF, SF and PF of a result, the same for every recipe. */
export const RESULT_FLAGS = {
  zf: <V>(s: PureOps<V>, _w: Width, r: V): V => s.eqz(r),
  sf: <V>(s: PureOps<V>, w: Width, r: V): V => sign(s, w, r),
  pf: <V>(s: PureOps<V>, _w: Width, r: V): V => s.eqz(s.and(s.popcnt(s.and(r, s.k(0xffn))), s.k(1n))),
};

const WIDTHS: readonly Width[] = [8, 16, 32, 64];

/** cc_op of a recipe at a width; 0 is reserved for explicit bits. Throws for an unknown name. */
export function ccOp(recipe: string, w: Width): number {
  const i = FLAG_RECIPES.findIndex((r) => r.name === recipe);
  if (i < 0) throw new Error(`no flag recipe ${recipe}`);
  return 1 + i * 4 + WIDTHS.indexOf(w);
}

/** Recipe and width of a cc_op, or undefined for 0 and values out of range. */
export function ccRecipe(op: number): { recipe: FlagRecipe; w: Width } | undefined {
  const recipe = FLAG_RECIPES[(op - 1) >> 2];
  return op > 0 && recipe ? { recipe, w: WIDTHS[(op - 1) & 3]! } : undefined;
}
/** Number of cc_op values, 0 included. */
export const CC_OPS = 1 + FLAG_RECIPES.length * 4;

/** Value of one flag by a recipe. */
export function recipeFlag<V>(s: PureOps<V>, f: Flag, rec: FlagRecipe, w: Width, r: V, x: V, y: V): V {
  if (f === 'zf' || f === 'sf' || f === 'pf') return RESULT_FLAGS[f](s, w, r);
  return rec[f](s, w, r, x, y);
}

/** The sixteen conditions over flags (SDM vol.1 appendix B); odd ones are the negation of the even one before. */
export function condition<V>(s: PureOps<V>, flag: (f: Flag) => V, cc: number): V {
  const even = (): V => {
    switch (cc >> 1) {
      case 0:
        return flag('of');
      case 1:
        return flag('cf');
      case 2:
        return flag('zf');
      case 3:
        return s.or(flag('cf'), flag('zf'));
      case 4:
        return flag('sf');
      case 5:
        return flag('pf');
      case 6:
        return s.xor(flag('sf'), flag('of'));
      default:
        return s.or(flag('zf'), s.xor(flag('sf'), flag('of')));
    }
  };
  return cc & 1 ? s.eqz(even()) : even();
}

/** A condition by a recipe: `condition` with the recipe's own shortcuts. */
export function recipeCondition<V>(s: PureOps<V>, rec: FlagRecipe, w: Width, r: V, x: V, y: V, cc: number): V {
  const even = rec.cond?.(s, w, r, x, y, cc >> 1);
  if (even === undefined) return condition(s, (f) => recipeFlag(s, f, rec, w, r, x, y), cc);
  return cc & 1 ? s.eqz(even) : even;
}

/** Names of the conditions in mnemonics (jo, jno, ...). */
export const CONDITION_NAMES = 'o no b ae e ne be a s ns p np l ge le g'.split(' ');
