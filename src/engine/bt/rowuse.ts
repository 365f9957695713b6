/** What a row asks of its engine, found by running it on a recorder that takes every path. */
import type { Row } from '../../isa/row.ts';

export interface RowUse {
  /** Vocabulary methods used. */
  readonly methods: ReadonlySet<string>;
  /** Helpers called by `call`, `check` and `transfer`. */
  readonly helpers: ReadonlySet<string>;
  /** Of the methods: how control leaves. */
  readonly branches: boolean;
  readonly jumps: boolean;
  readonly transfers: boolean;
}

const USES = { long: new WeakMap<Row, RowUse>(), legacy: new WeakMap<Row, RowUse>() };
/** Methods that give control back to the row by calling a function it passes. */
const CALLBACKS: Readonly<Record<string, (...args: never[]) => unknown>> = {
  if: (_c: unknown, then: () => void, otherwise?: () => void) => [then(), otherwise?.()],
  setFlag: (_f: unknown, v: () => unknown) => v(),
};

/** What a row asks in 64-bit mode (`long`) or outside it. */
export function rowUse(row: Row, long: boolean): RowUse {
  const uses = USES[long ? 'long' : 'legacy'];
  const known = uses.get(row);
  if (known) return known;
  const methods = new Set<string>();
  const helpers = new Set<string>();
  for (const w of [16, 32, 64] as const) {
    if (w === 64 && !long) continue;
    for (const inMemory of [true, false]) {
      const given = { w, asize: long ? 64 : 32, stack: long ? 64 : 32, long, vl: 128 };
      row.exec(recorder(given, inMemory, methods, helpers) as never);
    }
  }
  const [branches, jumps, transfers] = ['branch', 'jump', 'transfer'].map((m) => methods.has(m)) as [
    boolean,
    boolean,
    boolean,
  ];
  const use = { methods, helpers, branches, jumps, transfers };
  uses.set(row, use);
  return use;
}

/** An implementation of the vocabulary that notes what is asked. */
function recorder(
  given: Readonly<Record<string, unknown>>,
  inMemory: boolean,
  methods: Set<string>,
  helpers: Set<string>,
): unknown {
  return new Proxy(given, {
    get(target, name: string) {
      if (name in target) return target[name];
      methods.add(name);
      const callback = CALLBACKS[name];
      if (callback) return callback;
      if (name === 'isMem') return () => inMemory;
      if (name === 'width') return () => given.w;
      return (first: unknown) => {
        if (name === 'call' || name === 'check' || name === 'transfer') helpers.add(String(first));
        return null;
      };
    },
  });
}
