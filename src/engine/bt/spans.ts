/**
 * What is looked up in the TLB together: accesses that are constants on top of the same value, in blocks that follow each
 * other. The first one asks for the page of all of them; they need no look of their own then.
 */

/** An access of a block, as it was found when the block was rehearsed. */
export interface Access {
  /** What its address is a constant on top of, if anything, and the constant. */
  readonly of: object | undefined;
  readonly plus: number;
  readonly bytes: number;
  readonly write: boolean;
  /** It may not be carried out although the instructions before it are. */
  readonly conditional: boolean;
  /** It looks up nothing but its own page. */
  readonly alone: boolean;
}

/** The accesses of a block, and those of the blocks that only it leads to. */
export interface AccessTree {
  readonly block: number;
  readonly accesses: readonly Access[];
  readonly next: readonly AccessTree[];
}

/** Bytes that are looked up together, from an access's address on. */
export interface Span {
  readonly low: number;
  readonly high: number;
}

/** What is further apart is looked up by itself: it would be on two pages too often. */
const SPAN_BYTES = 256;

/** By block of a tree, for each of its accesses what to look up with it. `wraps`: addresses are of 32 bits. */
export function spansOf(tree: AccessTree, wraps: boolean): Map<number, Span[]> {
  const found = new Map<number, Span[]>();
  const visit = (t: AccessTree): void => {
    found.set(
      t.block,
      t.accesses.map((_, n) => spanOf(t, n, wraps)),
    );
    t.next.forEach(visit);
  };
  visit(tree);
  return found;
}

function spanOf(tree: AccessTree, n: number, wraps: boolean): Span {
  const { of, plus, bytes, write, conditional, alone } = tree.accesses[n]!;
  let [low, high] = [0, bytes];
  /** Behind a load this ends at the first store: a page may be there for loads only. */
  const extend = (accesses: readonly Access[], next: readonly AccessTree[]): void => {
    for (const other of accesses) {
      if (other.of !== of || other.conditional || other.alone) continue;
      if (other.write && !write) return;
      const from = wraps ? (other.plus - plus) | 0 : other.plus - plus;
      const [l, h] = [Math.min(low, from), Math.max(high, from + other.bytes)];
      if (h - l <= SPAN_BYTES) [low, high] = [l, h];
    }
    for (const t of next) extend(t.accesses, t.next);
  };
  if (of && !conditional && !alone) extend(tree.accesses.slice(n + 1), tree.next);
  return { low, high };
}
