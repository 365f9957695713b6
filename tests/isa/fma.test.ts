// The quick way of fused multiply-add against softfloat: MXCSR.PE set and masked allows it, PE clear does not.
import { beforeAll, describe, expect, it } from 'vitest';
import type { ReferenceHelper } from '../../src/engine/reference/ops.ts';
import { ReferenceState } from '../../src/engine/reference/state.ts';
import { Random, seedOf } from './random.ts';
import { runtimeHelpers } from './vector-helpers.ts';

let helpers: ReadonlyMap<string, ReferenceHelper>;
beforeAll(async () => {
  helpers = await runtimeHelpers();
});

const state = new ReferenceState();
function fma(name: string, mxcsr: bigint, ...args: bigint[]): bigint {
  state.set('mxcsr', mxcsr);
  return helpers.get(name)!(state, undefined as never, ...args);
}
const PE_CLEAR = 0x1f80n;
const PE_SET = 0x1fa0n;

const view = new DataView(new ArrayBuffer(8));
const bits64 = (x: number): bigint => {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
};
const bits32 = (x: number): bigint => {
  view.setFloat32(0, x);
  return BigInt(view.getUint32(0));
};

/** A number with few or many significant bits and an exponent of at most `range`, so that sums cancel often. */
function number(random: Random, digits: number, range: number): number {
  const significand = Number(random.u64() >> BigInt(64 - 1 - random.below(digits)));
  return (random.once(2) ? -1 : 1) * (1 + significand / 2 ** digits) * 2 ** (random.below(2 * range) - range);
}

describe.for([
  ['sse_fma_sd', 52, bits64],
  ['sse_fma_ss', 23, bits32],
] as const)('%s', ([name, digits, bits]) => {
  it('gives softfloat’s results the quick way too', () => {
    const random = new Random(seedOf(`${name} the quick way`));
    const wrong: string[] = [];
    for (let i = 0; i < 4000; i++) {
      const range = random.pick([2, 20, 60, 100]);
      const [a, b] = [number(random, digits, range), number(random, digits, range)];
      // Addends near the product, where most digits cancel, and anywhere.
      const c = random.once(2) ? -a * b * (1 + (random.below(5) - 2) * 2 ** -digits) : number(random, digits, range);
      const args = [bits(a), bits(b), bits(c), BigInt(random.below(4))];
      const [want, got] = [fma(name, PE_CLEAR, ...args), fma(name, PE_SET, ...args)];
      if (want !== got) wrong.push(`${a} * ${b} + ${c}: ${want.toString(16)} expected, got ${got.toString(16)}`);
    }
    expect(wrong).toEqual([]);
  });
});
