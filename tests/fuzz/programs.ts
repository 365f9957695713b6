// Random programs in lockstep with the interpreter, as long as asked, mode after mode. --engine names one forced mode
// (see FORCED_MODES); else it is all of them in turn. Seed and mode repeat a program.
import type { FuzzOptions, FuzzSummary } from '../../scripts/fuzz.ts';
import { FORCED_MODES, Lockstep, type Outcome } from '../programs/lockstep.ts';
import { minimize, specText } from '../programs/minimize.ts';
import { drawSpec } from '../programs/program.ts';
import { progress } from './progress.ts';

/** Mismatches that are reduced and told of. */
const MOST_MISMATCHES = 8;

function reduced(lockstep: Lockstep, seed: number, outcome: Outcome): string {
  const far = lockstep.mode.far ?? false;
  const small = minimize(drawSpec(seed, far), (s) => lockstep.run(s).wrong !== undefined);
  return `${lockstep.run(small).wrong ?? outcome.wrong}\n  ${lockstep.mode.name}: ${specText(small)}`;
}

export function fuzz(o: FuzzOptions): FuzzSummary {
  const chosen = FORCED_MODES.filter((m) => m.name === o.engine);
  const all = (chosen.length > 0 ? chosen : FORCED_MODES).map((m) => new Lockstep(m));
  const mismatches: string[] = [];
  const tell = progress(o);
  let [compared, steps, states, regions] = [0, 0, 0, 0];
  while (compared < o.cases && mismatches.length < MOST_MISMATCHES) {
    const seed = o.seed + Math.floor(compared / all.length);
    const lockstep = all[compared % all.length]!;
    const outcome = lockstep.run(drawSpec(seed, lockstep.mode.far ?? false));
    compared++;
    steps += outcome.steps;
    states += outcome.compared;
    regions += outcome.regions;
    if (outcome.wrong !== undefined) {
      mismatches.push(`${lockstep.mode.name} (1): ${reduced(lockstep, seed, outcome)}`);
      console.error(mismatches.at(-1));
    }
    if (!tell(compared, mismatches.length)) break;
  }
  const notes = [
    `programs: ${compared} in ${all.length} forced modes, ${steps} instructions, ${states} states, ${regions} regions`,
  ];
  return { compared, allowed: 0, rows: 0, mismatches, notes };
}
