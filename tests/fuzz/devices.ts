// Oracle 5: the property tests of the board's devices, with as many runs of each as asked. The seed of a failure is
// printed by fast-check.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { FuzzOptions, FuzzSummary } from '../../scripts/fuzz.ts';

const root = join(import.meta.dirname, '../..');

export function fuzz(o: FuzzOptions): FuzzSummary {
  // On threads: processes of its own would go on when it is ended in the middle of a test.
  const { status, stdout } = spawnSync(
    join(root, 'node_modules/.bin/vitest'),
    ['run', '--pool=threads', 'tests/devices'],
    {
      cwd: root,
      env: { ...process.env, PLINTH_DEVICE_RUNS: `${o.cases}`, NO_COLOR: '1' },
      encoding: 'utf8',
      timeout: o.limit,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const failed = stdout.split('\n').filter((line) => /FAIL|Counterexample|seed:/.test(line));
  const tests = Number(/Tests\s+(?:\d+ failed \| )?(\d+) passed/.exec(stdout)?.[1] ?? 0);
  const mismatches = status === 0 ? [] : failed.length > 0 ? failed : ['the tests of the devices did not end'];
  return {
    compared: o.cases,
    allowed: 0,
    rows: 0,
    mismatches,
    notes: [`${o.cases} sequences for each device, ${tests} tests`],
  };
}
