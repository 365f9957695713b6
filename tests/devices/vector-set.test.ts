// The set of interrupt vectors.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VectorSet } from '../../src/devices/vector-set.ts';

describe('the vector set', () => {
  it('knows its highest member', () => {
    const operation = fc.tuple(fc.boolean(), fc.nat(255));
    fc.assert(
      fc.property(fc.array(operation), (operations) => {
        const set = new VectorSet();
        const model = new Set<number>();
        for (const [add, vector] of operations) {
          if (add) set.add(vector);
          else set.delete(vector);
          if (add) model.add(vector);
          else model.delete(vector);
          expect(set.highest).toBe(Math.max(-1, ...model));
          expect(set.has(vector)).toBe(add);
        }
      }),
    );
  });
});
