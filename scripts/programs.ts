// Runs programs of the distribution on the host and in the guest and compares what they say, byte for byte:
//
//   npm run programs
//   npm run programs -- --engine bt --cpu v1,v3 --only numbers,test-math
//
// Prints a table; exits with 1 when something differs, or does not end. --record keeps the table in docs/fidelity-programs.json, from
// which docs/fidelity.md is made. --fresh fetches the packages again.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { currentCode, type ProgramRun, recordPrograms } from './fidelity-runs.ts';
import { parseOptions } from './options.ts';
import { type Comparison, compareJob, type JobOutput, splitJobs } from './programs/compare.ts';
import { type GuestFiles, guestFiles, runInGuest } from './programs/guest.ts';
import { JOBS, jobFiles, RULES } from './programs/jobs.ts';
import { unpackedPrograms } from './programs/packages.ts';
import { type HostResult, runInRoot, writeInRoot } from './programs/root.ts';

const MODELS = ['v1', 'v2', 'v3', 'max'];
const ENGINES = ['bt', 'interp'];

function fail(message: string): never {
  console.error(`programs: ${message}`);
  process.exit(2);
}

function choose(text: string, allowed: readonly string[], option: string): string[] {
  const chosen = text.split(',');
  const wrong = chosen.find((c) => !allowed.includes(c));
  if (wrong !== undefined) fail(`--${option} has no ${wrong}; there are ${allowed.join(', ')}`);
  return chosen;
}

const usage = `usage: npm run programs -- [--engine ${ENGINES.join(',')}] [--cpu ${MODELS.join(',')}] [--only ${JOBS.map((j) => j.name).join(',')}]
  [--timeout seconds of a guest] [--record: for docs/fidelity.md] [--fresh: unpack the packages again] [--keep folder for the outputs]`;
const values = parseOptions('programs', usage, {
  engine: { type: 'string', default: ENGINES.join(',') },
  cpu: { type: 'string', default: 'v1,v2,v3' },
  only: { type: 'string', default: JOBS.map((j) => j.name).join(',') },
  timeout: { type: 'string', default: '3600' },
  record: { type: 'boolean', default: false },
  fresh: { type: 'boolean', default: false },
  keep: { type: 'string' },
});
const engines = choose(values.engine, ENGINES, 'engine');
const models = choose(values.cpu, MODELS, 'cpu');
const jobs = choose(
  values.only,
  JOBS.map((j) => j.name),
  'only',
);
const timeout = Number(values.timeout);
if (!(timeout > 0)) fail(`--timeout is seconds, not ${values.timeout}`);

function inRoot(root: string, command: readonly string[], what: string): HostResult {
  const result = runInRoot(root, command);
  if (result.status !== 0) fail(`${what} ended with ${result.status}: ${result.stderr.trim().split('\n').at(-1)}`);
  return result;
}

function prepare(root: string): void {
  writeInRoot(root, 'jobs', jobFiles('v1'));
  writeInRoot(
    root,
    'etc',
    new Map([
      ['passwd', 'root:x:0:0:root:/tmp:/bin/sh\n'],
      ['group', 'root:x:0:\n'],
    ]),
  );
  console.log('making keys, compiling Python modules');
  inRoot(root, ['/bin/sh', '/jobs/prepare'], 'the preparation');
}

function keep(name: string, bytes: Buffer): void {
  if (values.keep !== undefined) writeFileSync(join(values.keep, name), bytes);
}

function show(c: Comparison, where: string): void {
  const verdict = c.same ? 'same' : c.ended ? 'DIFFERENT' : 'NO END';
  console.log(
    `${where.padEnd(12)} ${c.job.padEnd(14)} ${verdict.padEnd(10)} ${c.lines} lines, ${c.bytes} bytes, ${c.leftOut} left out`,
  );
  for (const line of c.differences) console.log(`    ${line}`);
}

async function compareIn(
  files: GuestFiles,
  engine: string,
  model: string,
  host: ReadonlyMap<string, JobOutput>,
): Promise<ProgramRun> {
  const code = values.record ? { commit: currentCode() } : {};
  const guest = await runInGuest(files, {
    engine,
    model,
    jobs,
    timeout,
    onJob: (name) => console.error(`${engine} ${model}: ${name} done`),
  });
  keep(`${engine}-${model}.out`, guest.stdout);
  const { jobs: outputs, rest } = splitJobs(guest.stdout);
  const comparisons = jobs.map((job) => compareJob(job, host.get(job)!, outputs.get(job)));
  for (const c of comparisons) show(c, `${engine} ${model}`);
  if (rest !== '') console.log(`  besides: ${rest.slice(0, 500)}`);
  if (comparisons.some((c) => !c.same)) process.exitCode = 1;
  if (guest.code !== 0) console.log(`  plinth ended with ${guest.code}: ${guest.stderr.trim().split('\n').at(-1)}`);
  return {
    engine,
    model,
    seconds: Math.round(guest.seconds),
    jobs: comparisons
      .filter((c) => c.ended)
      .map(({ job, same, lines, bytes, leftOut }) => ({ job, same, lines, bytes, leftOut, ...code })),
    date: new Date().toISOString().slice(0, 10),
  };
}

let last = '';
const fetching = (step: string): void => {
  if (step !== last) console.error(`fetching ${step}`);
  last = step;
};
const programs = await unpackedPrograms(fetching, values.fresh, prepare);
const folder = mkdtempSync(join(tmpdir(), 'plinth-programs-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
console.log(`${programs.packages.length} packages: ${programs.packages.join(', ')}`);
console.log('lines that are left out:');
for (const { pattern, about } of RULES) console.log(`  ${pattern.source}  (${about})`);

for (const model of models) {
  writeInRoot(programs.root, 'jobs', jobFiles(model));
  const native = inRoot(programs.root, ['/bin/sh', '/jobs/run', ...jobs], 'the host');
  keep(`host-${model}.out`, native.stdout);
  const host = splitJobs(native.stdout).jobs;
  for (const [name, job] of host) if (job.status !== 0) fail(`${name} ended with ${job.status} on the host`);
  console.log(`host ${model}: ${native.seconds.toFixed(1)} s`);
  const files = await guestFiles(programs.root, folder);
  for (const engine of engines) {
    const run = await compareIn(files, engine, model, host);
    console.log(`${engine} ${model}: ${run.seconds} s`);
    if (values.record) recordPrograms(run, programs.packages);
  }
}
