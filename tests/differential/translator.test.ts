// The host CPU against the translator, which translates each instruction at its first execution: the first values of
// an instruction are the interpreter's, the others the region's. PLINTH_FUZZ_CASES says how many.
import { describe, expect, it } from 'vitest';
import { ROWS } from '../../src/isa/rows.ts';
import { makeEngine } from '../fuzz/engines.ts';
import { Random, seedOf } from '../isa/random.ts';
import { compareBatch, inBatches, Tally } from './compare.ts';
import { makeGenerator } from './generate.ts';
import { buildHarness, hostEngine, hostFeatures } from './host.ts';

const CASES = Math.ceil(Number(process.env.PLINTH_FUZZ_CASES ?? 40_000) / 4);
const VALUES = 12;

describe.for([64, 32] as const)('host CPU, %d-bit', (bits) => {
  const built = buildHarness(bits);
  if ('missing' in built) console.log(`${bits}-bit host comparison skipped: ${built.missing}`);

  it.skipIf('missing' in built)('agrees with the translator', { timeout: 600_000 }, () => {
    if ('missing' in built) return;
    const generator = makeGenerator(ROWS, bits, hostFeatures());
    const tally = new Tally();
    const random = new Random(seedOf(`host CPU against the translator, ${bits}-bit`));
    const [host, soft] = [hostEngine(built.path), makeEngine('translator')];
    inBatches({ generator, cases: CASES, values: VALUES, random, run: (b) => compareBatch(b, host, [soft], tally) });
    console.log(`host CPU against the translator, ${bits}-bit: ${tally.compared} cases, ${soft.regions} regions`);
    expect(tally.lines()).toEqual([]);
    expect(soft.regions).toBeGreaterThan(CASES / VALUES / 10);
  });
});
