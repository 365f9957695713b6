/**
 * Order, dominators and loops of a region's graph: what is needed to write it as nested blocks and loops
 * (N. Ramsey, "Beyond Relooper", ICFP 2022). Nodes are numbered in reverse postorder from the entry, 0.
 */
export interface Structure {
  /** Node keys in reverse postorder. */
  readonly order: readonly number[];
  readonly index: ReadonlyMap<number, number>;
  /** Numbers of the nodes that follow each. */
  readonly next: readonly (readonly number[])[];
  /** Immediate dominator by reverse postorder number; the entry's is itself. */
  readonly idom: readonly number[];
  /** Children in the dominator tree, by number. */
  readonly children: readonly (readonly number[])[];
  /** Target of a back edge from a node that it dominates. */
  readonly isLoop: readonly boolean[];
  /** Nodes of the smallest loop that a node is in; Infinity for none. */
  loopSizes(): readonly number[];
  /** More than one forward edge comes in. */
  readonly isMerge: readonly boolean[];
  /** How many edges are so. */
  readonly irreducible: number;
  /** True for an edge that goes back to a node that does not dominate its source: it has to leave the region. */
  isIrreducible(from: number, to: number): boolean;
}

/** `hub`: a node whose edges say nothing about loops, as it stands for many returns. */
export function structure(entry: number, successors: (key: number) => readonly number[], hub?: number): Structure {
  const { order, index, next } = reversePostorder(entry, successors);
  const count = order.length;
  const preds: number[][] = order.map(() => []);
  next.forEach((targets, from) => {
    for (const to of targets) preds[to]!.push(from);
  });
  const idom = dominators(preds);
  const dominates = (a: number, b: number): boolean => {
    let n = b;
    while (n > a) n = idom[n]!;
    return n === a;
  };
  const isLoop: boolean[] = new Array(count).fill(false);
  const forward: number[] = new Array(count).fill(0);
  let irreducible = 0;
  preds.forEach((sources, to) => {
    for (const from of sources) {
      if (to > from) forward[to]!++;
      else if (dominates(to, from)) isLoop[to] = true;
      else irreducible++;
    }
  });
  const children: number[][] = order.map(() => []);
  for (let i = 1; i < count; i++) children[idom[i]!]!.push(i);
  const hubIndex = hub === undefined ? -1 : (index.get(hub) ?? -1);
  let sizes: readonly number[] | undefined;
  return {
    order,
    index,
    next,
    idom,
    children,
    isLoop,
    loopSizes: () => {
      sizes ??= loopSizes(preds, isLoop, dominates, hubIndex);
      return sizes;
    },
    isMerge: forward.map((n) => n > 1),
    irreducible,
    isIrreducible: (from, to) => to <= from && !dominates(to, from),
  };
}

/**
 * The natural loops' nodes: those from which a back edge's source can be reached without passing the head. Edges from
 * `hub` do not count.
 */
function loopSizes(
  preds: readonly (readonly number[])[],
  isLoop: readonly boolean[],
  dominates: (a: number, b: number) => boolean,
  hub: number,
): number[] {
  const sizes: number[] = new Array(preds.length).fill(Number.POSITIVE_INFINITY);
  for (let head = 0; head < preds.length; head++) {
    if (!isLoop[head]) continue;
    for (const from of preds[head]!) {
      if (from === hub || head > from || !dominates(head, from)) continue;
      const body = new Set([head]);
      const work = [from];
      for (let n = work.pop(); n !== undefined; n = work.pop()) {
        if (body.has(n)) continue;
        body.add(n);
        for (const p of preds[n]!) if (p !== hub) work.push(p);
      }
      for (const n of body) sizes[n] = Math.min(sizes[n]!, body.size);
    }
  }
  return sizes;
}

function reversePostorder(
  entry: number,
  successors: (key: number) => readonly number[],
): Pick<Structure, 'order' | 'index' | 'next'> {
  // Nodes by the order in which they are found, then by that in which they are finished.
  const keys = [entry];
  const index = new Map([[entry, 0]]);
  const found: (readonly number[] | undefined)[] = [undefined];
  const left = [0];
  const post: number[] = [];
  const begin = (n: number): void => {
    const next = successors(keys[n]!).map((key) => {
      let to = index.get(key);
      if (to === undefined) {
        to = keys.push(key) - 1;
        index.set(key, to);
        found.push(undefined);
        left.push(0);
      }
      return to;
    });
    found[n] = next;
    left[n] = next.length;
  };
  begin(0);
  for (let path = [0], n = path.at(-1); n !== undefined; n = path.at(-1)) {
    if (left[n] === 0) {
      post.push(n);
      path.pop();
      continue;
    }
    left[n]!--;
    const to = found[n]![left[n]!]!;
    if (found[to] !== undefined) continue;
    begin(to);
    path.push(to);
  }
  const order = post.reverse();
  const place: number[] = new Array(order.length);
  order.forEach((n, i) => {
    place[n] = i;
    index.set(keys[n]!, i);
  });
  return {
    order: order.map((n) => keys[n]!),
    index,
    next: order.map((n) => found[n]!.map((to) => place[to]!)),
  };
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
