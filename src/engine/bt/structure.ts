/**
 * Order, dominators and loops of a region's graph: what is needed to write it as nested blocks and loops
 * (N. Ramsey, "Beyond Relooper", ICFP 2022). Nodes are numbered in reverse postorder from the entry, 0.
 */
export interface Structure {
  /** Node keys in reverse postorder. */
  readonly order: readonly number[];
  readonly index: ReadonlyMap<number, number>;
  /** Immediate dominator by reverse postorder number; the entry's is itself. */
  readonly idom: readonly number[];
  /** Children in the dominator tree, by number. */
  readonly children: readonly (readonly number[])[];
  /** Target of a back edge from a node that it dominates. */
  readonly isLoop: readonly boolean[];
  /** Nodes of the smallest loop that a node is in; Infinity for none. */
  readonly loopSize: readonly number[];
  /** More than one forward edge comes in. */
  readonly isMerge: readonly boolean[];
  /** How many edges are so. */
  readonly irreducible: number;
  /** True for an edge that goes back to a node that does not dominate its source: it has to leave the region. */
  isIrreducible(from: number, to: number): boolean;
}

/** `hub`: a node whose edges say nothing about loops, as it stands for many returns. */
export function structure(entry: number, successors: (key: number) => readonly number[], hub?: number): Structure {
  const order = reversePostorder(entry, successors);
  const index = new Map(order.map((k, i) => [k, i]));
  const preds: number[][] = order.map(() => []);
  const edges: [number, number][] = [];
  order.forEach((k, from) => {
    for (const s of successors(k)) {
      const to = index.get(s)!;
      preds[to]!.push(from);
      edges.push([from, to]);
    }
  });
  const idom = dominators(preds);
  const dominates = (a: number, b: number): boolean => {
    let n = b;
    while (n > a) n = idom[n]!;
    return n === a;
  };
  const isLoop = order.map(() => false);
  const forward = order.map(() => 0);
  let irreducible = 0;
  for (const [from, to] of edges) {
    if (to > from) forward[to] = forward[to]! + 1;
    else if (dominates(to, from)) isLoop[to] = true;
    else irreducible++;
  }
  const hubIndex = hub === undefined ? -1 : (index.get(hub) ?? -1);
  const direct = edges.filter(([from]) => from !== hubIndex);
  const loopSize = loopSizes(direct, dominates, order.length);
  const children: number[][] = order.map(() => []);
  for (let i = 1; i < order.length; i++) children[idom[i]!]!.push(i);
  return {
    order,
    index,
    idom,
    children,
    isLoop,
    loopSize,
    isMerge: forward.map((n) => n > 1),
    irreducible,
    isIrreducible: (from, to) => to <= from && !dominates(to, from),
  };
}

/** The natural loops' nodes: those from which a back edge's source can be reached without passing the head. */
function loopSizes(
  edges: readonly (readonly [number, number])[],
  dominates: (a: number, b: number) => boolean,
  count: number,
): number[] {
  const preds: number[][] = Array.from({ length: count }, () => []);
  for (const [from, to] of edges) preds[to]!.push(from);
  const sizes: number[] = new Array(count).fill(Number.POSITIVE_INFINITY);
  for (const [from, head] of edges) {
    if (head > from || !dominates(head, from)) continue;
    const body = new Set([head]);
    const work = [from];
    for (let n = work.pop(); n !== undefined; n = work.pop()) {
      if (body.has(n)) continue;
      body.add(n);
      work.push(...preds[n]!);
    }
    for (const n of body) sizes[n] = Math.min(sizes[n]!, body.size);
  }
  return sizes;
}

function reversePostorder(entry: number, successors: (key: number) => readonly number[]): number[] {
  const seen = new Set<number>([entry]);
  const post: number[] = [];
  const stack: { key: number; rest: number[] }[] = [{ key: entry, rest: [...successors(entry)] }];
  while (stack.length > 0) {
    const top = stack.at(-1)!;
    const next = top.rest.pop();
    if (next === undefined) {
      post.push(top.key);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      stack.push({ key: next, rest: [...successors(next)] });
    }
  }
  return post.reverse();
}

/** Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm". */
function dominators(preds: readonly (readonly number[])[]): number[] {
  const idom: number[] = preds.map(() => -1);
  idom[0] = 0;
  const intersect = (a: number, b: number): number => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (x > y) x = idom[x]!;
      while (y > x) y = idom[y]!;
    }
    return x;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (let n = 1; n < preds.length; n++) {
      let best = -1;
      for (const p of preds[n]!) if (idom[p] !== -1) best = best === -1 ? p : intersect(best, p);
      if (best !== idom[n]) {
        idom[n] = best;
        changed = true;
      }
    }
  }
  return idom;
}
