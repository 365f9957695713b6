// Makes a program that shows a mismatch small: pieces are left out, or replaced by what is inside them, as long as the
// mismatch stays.
import type { Node } from './emit.ts';
import type { Spec } from './program.ts';

/** Programs tried at the most. */
const TRIES = 300;

/** All trees that come from leaving out one piece, or its hull. Big pieces come first. */
function* smaller(nodes: readonly Node[]): Generator<readonly Node[]> {
  for (let i = 0; i < nodes.length; i++) yield [...nodes.slice(0, i), ...nodes.slice(i + 1)];
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[i]!;
    if (node.children.length === 0) continue;
    if (node.kind !== 'function') yield [...nodes.slice(0, i), ...node.children, ...nodes.slice(i + 1)];
    for (const children of smaller(node.children)) {
      yield [...nodes.slice(0, i), { ...node, children }, ...nodes.slice(i + 1)];
    }
  }
}
/** Halves of the main pieces, for a quick start. */
function* halves(nodes: readonly Node[]): Generator<readonly Node[]> {
  for (let size = nodes.length >> 1; size > 1; size >>= 1) {
    for (let at = 0; at < nodes.length; at += size) yield [...nodes.slice(0, at), ...nodes.slice(at + size)];
  }
}

function* candidates(spec: Spec): Generator<Spec> {
  for (const main of halves(spec.main)) yield { ...spec, main };
  for (const main of smaller(spec.main)) yield { ...spec, main };
  for (const functions of smaller(spec.functions)) yield { ...spec, functions };
}

/** The smallest program found for which `fails` is still true; that is given the program itself to begin with. */
export function minimize(spec: Spec, fails: (s: Spec) => boolean): Spec {
  let best = spec;
  for (let tries = 0; ; ) {
    let better: Spec | undefined;
    for (const candidate of candidates(best)) {
      if (tries++ >= TRIES) return best;
      if (!fails(candidate)) continue;
      better = candidate;
      break;
    }
    if (!better) return best;
    best = better;
  }
}

/** A tree as text: kinds with their seeds, what is inside in brackets. It can be read back with `parseSpec`. */
function textOf(nodes: readonly Node[]): string {
  return nodes
    .map((n) => `${n.kind}:${n.seed.toString(36)}${n.children.length > 0 ? `(${textOf(n.children)})` : ''}`)
    .join(' ');
}
export const specText = (s: Spec): string =>
  `${s.seed} ${s.far ? 'far' : 'near'} | ${textOf(s.main)} | ${textOf(s.functions)}`;

/** Reads what `specText` wrote. @throws SyntaxError */
export function parseSpec(text: string): Spec {
  const [head, main, functions] = text.split('|').map((part) => part.trim());
  const [seed, far] = (head ?? '').split(' ');
  return {
    seed: Number(seed),
    far: far === 'far',
    main: parseNodes(main ?? ''),
    functions: parseNodes(functions ?? ''),
  };
}
function parseNodes(text: string): Node[] {
  const tokens = text.match(/[a-zA-Z]+:[0-9a-z]+|[()]/g) ?? [];
  let at = 0;
  const list = (): Node[] => {
    const nodes: Node[] = [];
    while (at < tokens.length && tokens[at] !== ')') {
      const [kind, seed] = tokens[at++]!.split(':');
      if (kind === undefined || seed === undefined) throw new SyntaxError(`no piece in ${text}`);
      let children: Node[] = [];
      if (tokens[at] === '(') {
        at++;
        children = list();
        at++;
      }
      nodes.push({ kind, seed: Number.parseInt(seed, 36), children });
    }
    return nodes;
  };
  return list();
}
