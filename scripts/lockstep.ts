// Random kernel-mode instructions on the soft engine and on /dev/kvm, one at a time, all state compared.
//
//   node scripts/lockstep.ts [--count 100000] [--seed n] [--mode real|protected|pae|long] [--show 10] [--only name]
//
// --record adds which rows agreed, and how often, to docs/fidelity-lockstep.json, from which docs/fidelity.md is made.
// Ends with 1 when something differed that src/hv/lockstep-known.ts does not list.

import { parseArgs } from 'node:util';
import { runLockstep } from '../tests/hv/lockstep-run.ts';
import { recordLockstep } from './fidelity-runs.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 1e9) },
    mode: { type: 'string' },
    show: { type: 'string', default: '20' },
    only: { type: 'string' },
    record: { type: 'boolean', default: false },
  },
});
const report = await runLockstep({
  count: Number(values.count),
  seed: Number(values.seed),
  mode: values.mode,
  only: values.only,
});
for (const line of report.lines(Number(values.show))) console.log(line);
if (values.record) recordLockstep({ ...report, seed: Number(values.seed) });
process.exitCode = report.unexplained > 0 ? 1 : 0;
