/** What a row asks of its engine, found by running it on a recorder that takes every path. */
import type { Row } from '../../isa/row.ts';

export interface RowUse {
  /** Vocabulary methods used. */
  readonly methods: ReadonlySet<string>;
  /** Helpers called by `call`, `check` and `transfer`. */
  readonly helpers: ReadonlySet<string>;
}

const USES = new WeakMap<Row, RowUse>();
/** Methods that give control back to the row by calling a function it passes. */
const CALLBACKS: Readonly<Record<string, (...args: never[]) => unknown>> = {
  if: (_c: unknown, then: () => void, otherwise?: () => void) => [then(), otherwise?.()],
  setFlag: (_f: unknown, v: () => unknown) => v(),
};

export function rowUse(row: Row): RowUse {
  const known = USES.get(row);
  if (known) return known;
  const methods = new Set<string>();
  const helpers = new Set<string>();
  for (const inMemory of [true, false]) {
    const given: Record<string, unknown> = { w: 32, asize: 32, stack: 32, long: false, vl: 128 };
    const recorder: unknown = new Proxy(given, {
      get(target, name: string) {
        if (name in target) return target[name];
        methods.add(name);
        const callback = CALLBACKS[name];
        if (callback) return callback;
        if (name === 'isMem') return () => inMemory;
        if (name === 'width') return () => 32;
        return (first: unknown) => {
          if (name === 'call' || name === 'check' || name === 'transfer') helpers.add(String(first));
          return null;
        };
      },
    });
    row.exec(recorder as never);
  }
  const use = { methods, helpers };
  USES.set(row, use);
  return use;
}
