// Random kernel-mode instructions on both engines: scripts/lockstep.ts in small. PLINTH_FUZZ_CASES says how many.
import { expect, it } from 'vitest';
import { openKvm } from './engines.ts';
import { runLockstep } from './lockstep-run.ts';

const kvm = openKvm();
if (typeof kvm === 'string') console.log(`lockstep skipped: ${kvm}`);
else kvm.close();
/** The same each time: new ones are for scripts/lockstep.ts, which is run long enough to meet rare differences. */
const SEED = Number(process.env.PLINTH_SEED ?? 1);
const COUNT = Math.ceil(Number(process.env.PLINTH_FUZZ_CASES ?? 40_000) / 20);

it.skipIf(typeof kvm === 'string')('the engines agree on random kernel-mode code', { timeout: 300_000 }, async () => {
  const report = await runLockstep({ count: COUNT, seed: SEED });
  for (const line of report.lines(20)) console.log(line);
  expect(report.compared).toBeGreaterThanOrEqual(COUNT);
  expect(report.unexplained).toBe(0);
});
