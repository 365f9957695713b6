// Oracle 1: the host CPU against an engine, on generated user-mode instructions.
import type { FuzzOptions, FuzzSummary } from '../../scripts/fuzz.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { compareBatch, inBatches, Tally } from '../differential/compare.ts';
import { makeGenerator } from '../differential/generate.ts';
import { buildHarness, hostEngine, hostFeatures } from '../differential/host.ts';
import { Random } from '../isa/random.ts';
import { makeEngine } from './engines.ts';
import { progress } from './progress.ts';

export function fuzz(o: FuzzOptions): FuzzSummary {
  const tally = new Tally();
  tally.loud = true;
  const report = progress(o);
  const engine = makeEngine(o.engine);
  const rows = ROWS.filter((r) => o.only?.test(r.name) ?? true);
  const bits = o.bits.filter((b) => b !== 16) as (32 | 64)[];
  for (const [i, code] of bits.entries()) {
    const built = buildHarness(code);
    if ('missing' in built) throw new Error(built.missing);
    const generator = makeGenerator(rows, code, hostFeatures());
    const host = hostEngine(built.path, 600_000);
    inBatches({
      generator,
      cases: Math.ceil(o.cases / bits.length),
      values: o.values,
      random: new Random(o.seed + i),
      run: (batch) => compareBatch(batch, host, [engine], tally),
      progress: () => report(tally.compared, tally.mismatches.size),
    });
  }
  return {
    compared: tally.compared,
    allowed: tally.allowed,
    rows: tally.rows.size,
    mismatches: tally.lines(),
    notes: tally.unrepeated > 0 ? [`${tally.unrepeated} results of the host CPU did not repeat`] : [],
  };
}
