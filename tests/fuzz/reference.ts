// Oracle 3: the bigint reference against an engine, on every row of user mode and in 16-bit code too.
import type { FuzzOptions, FuzzSummary } from '../../scripts/fuzz.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { compareSingly, inBatches, Tally } from '../differential/compare.ts';
import { makeGenerator } from '../differential/generate.ts';
import { allFeatures, referenceEngine } from '../differential/reference.ts';
import { Random } from '../isa/random.ts';
import { runtimeHelpers } from '../isa/vector-helpers.ts';
import { makeEngine } from './engines.ts';
import { progress } from './progress.ts';

export async function fuzz(o: FuzzOptions): Promise<FuzzSummary> {
  const tally = new Tally();
  tally.loud = true;
  const report = progress(o);
  const engine = makeEngine(o.engine);
  const reference = referenceEngine(await runtimeHelpers());
  for (const [i, code] of o.bits.entries()) {
    inBatches({
      generator: makeGenerator(ROWS, code, allFeatures()),
      cases: Math.ceil(o.cases / o.bits.length),
      values: o.values,
      random: new Random(o.seed + i),
      run: (batch) => compareSingly(batch, reference, engine, tally),
      progress: () => report(tally.compared, tally.mismatches.size),
    });
  }
  const skipped = [...tally.skipped].map(([helper, n]) => `${helper} ${n}`).join(', ');
  return {
    compared: tally.compared,
    allowed: tally.allowed,
    rows: tally.rows.size,
    mismatches: tally.lines(),
    notes: skipped === '' ? [] : [`no reference for ${skipped}`],
  };
}
