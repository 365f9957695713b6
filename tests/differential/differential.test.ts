// The host CPU against the interpreter and the reference, and the reference against the interpreter, on generated
// user-mode instructions. PLINTH_FUZZ_CASES says how many of each.
import { describe, expect, it } from 'vitest';
import { ROWS } from '../../src/isa/rows.ts';
import { Random, seedOf } from '../isa/random.ts';
import { runtimeHelpers } from '../isa/vector-helpers.ts';
import { compareBatch, compareSingly, inBatches, Tally } from './compare.ts';
import { makeGenerator } from './generate.ts';
import { buildHarness, hostEngine, hostFeatures } from './host.ts';
import { SoftEngine } from './interpreter.ts';
import { allFeatures, referenceEngine } from './reference.ts';

const CASES = Number(process.env.PLINTH_FUZZ_CASES ?? 40_000);
/** The reference is slow. */
const REFERENCE_CASES = Math.ceil(CASES / 10);
const VALUES = 6;

function report(name: string, tally: Tally, rows: number): void {
  const skipped = [...tally.skipped].map(([helper, n]) => `${helper} ${n}`).join(', ') || 'nothing';
  console.log(`${name}: ${tally.compared} cases, ${tally.rows.size} of ${rows} rows; no reference for ${skipped}`);
}

describe.for([64, 32] as const)('host CPU, %d-bit', (bits) => {
  const built = buildHarness(bits);
  if ('missing' in built) console.log(`${bits}-bit host comparison skipped: ${built.missing}`);
  const generator = makeGenerator(ROWS, bits, hostFeatures());

  it.skipIf('missing' in built)('agrees with the interpreter', { timeout: 600_000 }, () => {
    if ('missing' in built) return;
    const tally = new Tally();
    const random = new Random(seedOf(`host CPU against the interpreter, ${bits}-bit`));
    const [host, soft] = [hostEngine(built.path), new SoftEngine()];
    inBatches({ generator, cases: CASES, values: VALUES, random, run: (b) => compareBatch(b, host, [soft], tally) });
    report(`host CPU against the interpreter, ${bits}-bit`, tally, generator.rows.length);
    expect(tally.lines()).toEqual([]);
    expect(tally.compared).toBe(CASES);
  });

  it.skipIf('missing' in built)('agrees with the reference', { timeout: 600_000 }, () => {
    if ('missing' in built) return;
    const tally = new Tally();
    const random = new Random(seedOf(`host CPU against the reference, ${bits}-bit`));
    const [host, reference] = [hostEngine(built.path), referenceEngine()];
    const run = (b: Parameters<typeof compareSingly>[0]): void => compareSingly(b, reference, host, tally);
    inBatches({ generator, cases: REFERENCE_CASES, values: 1, random, run });
    report(`host CPU against the reference, ${bits}-bit`, tally, generator.rows.length);
    expect(tally.lines()).toEqual([]);
    expect(tally.compared).toBeGreaterThan(REFERENCE_CASES / 4);
  });
});

describe.for([64, 32, 16] as const)('reference, %d-bit', (bits) => {
  it('agrees with the interpreter', { timeout: 600_000 }, async () => {
    const tally = new Tally();
    const random = new Random(seedOf(`reference against the interpreter, ${bits}-bit`));
    const generator = makeGenerator(ROWS, bits, allFeatures());
    // With the runtime's helpers, so that what rows do around them is compared too.
    const [reference, soft] = [referenceEngine(await runtimeHelpers()), new SoftEngine()];
    const run = (b: Parameters<typeof compareSingly>[0]): void => compareSingly(b, reference, soft, tally);
    inBatches({ generator, cases: REFERENCE_CASES, values: 1, random, run });
    report(`reference against the interpreter, ${bits}-bit`, tally, generator.rows.length);
    expect(tally.lines()).toEqual([]);
    expect(tally.compared).toBeGreaterThan(REFERENCE_CASES / 4);
  });
});
