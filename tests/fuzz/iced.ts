// Oracle 2: iced-x86 against the decoder and the disassembler.
import type { FuzzOptions, FuzzSummary } from '../../scripts/fuzz.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { compareOnce } from '../isa/iced.ts';
import { Random } from '../isa/random.ts';
import { progress } from './progress.ts';

const LOOK = 1024;

export function fuzz(o: FuzzOptions): FuzzSummary {
  const report = progress(o);
  const random = new Random(o.seed);
  const mismatches = new Map<string, { count: number; first: string }>();
  let compared = 0;
  while (compared < o.cases) {
    const m = compareOnce(random);
    compared++;
    const seen = m && mismatches.get(m.key);
    if (seen) seen.count++;
    else if (m) {
      mismatches.set(m.key, { count: 1, first: m.text });
      console.error(`${m.key}: ${m.text}`);
    }
    if (compared % LOOK === 0 && !report(compared, mismatches.size)) break;
  }
  const lines = [...mismatches].map(([key, { count, first }]) => `${key} (${count}): ${first}`).sort();
  return { compared, allowed: 0, rows: ROWS.length, mismatches: lines, notes: [] };
}
