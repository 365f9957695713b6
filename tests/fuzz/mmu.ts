// Oracle 4: the reference walker against the MMU, over random tables and TLB histories. A case is a step of a history.
import type { FuzzOptions, FuzzSummary } from '../../scripts/fuzz.ts';
import { tlbHistory } from '../runtime/tlb-history.ts';
import { progress } from './progress.ts';

export function fuzz(o: FuzzOptions): FuzzSummary {
  const report = progress(o);
  const mismatches: string[] = [];
  let compared = 0;
  for (let seed = o.seed | 1; compared < o.cases && mismatches.length < 20; seed += 2) {
    const { steps, wrong } = tlbHistory(seed);
    compared += steps;
    if (wrong) mismatches.push(wrong);
    if (!report(compared, mismatches.length)) break;
  }
  return { compared, allowed: 0, rows: 0, mismatches, notes: ['a case is a step of a TLB history'] };
}
