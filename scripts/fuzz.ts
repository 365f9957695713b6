// Long comparisons with the oracles, for as long as asked:
//
//   npm run fuzz -- --oracle host --cases 1000000 --seed 1 --bits 64
//   npm run fuzz -- --oracle reference|iced|mmu|devices|streams|programs ...
//
// Prints progress and a summary; exits with 1 when something disagreed. --record adds the summary to
// docs/fidelity-runs.json, from which docs/fidelity.md is made. --jobs splits the cases over processes.
import { spawn } from 'node:child_process';
import { appendRun, currentCode, type Run } from './fidelity-runs.ts';
import { parseOptions } from './options.ts';

const ORACLES = ['host', 'reference', 'iced', 'mmu', 'streams', 'devices', 'programs'] as const;
export type Oracle = (typeof ORACLES)[number];

export interface FuzzOptions {
  readonly cases: number;
  readonly seed: number;
  readonly bits: readonly (16 | 32 | 64)[];
  /** States per instruction. */
  readonly values: number;
  /** Milliseconds of processor time after which the run ends whatever is left. */
  readonly limit: number;
  readonly engine: string;
  /** Only rows whose name matches; the host oracle knows it. */
  readonly only?: RegExp | undefined;
}

/** What a run of one oracle came to. */
export interface FuzzSummary {
  readonly compared: number;
  readonly allowed: number;
  readonly rows: number;
  readonly mismatches: readonly string[];
  readonly notes: readonly string[];
}

interface JobSummary extends FuzzSummary {
  /** Seconds of processor time, the oracle's own process not counted. */
  readonly processor: number;
}

const usage = `usage: npm run fuzz -- --oracle ${ORACLES.join('|')} [--cases N] [--seed S] [--bits 64,32,16]
  [--values states per instruction] [--minutes of processor time a job] [--engine interpreter|translator] [--jobs N] [--record]
  [--only pattern of names, for the host]`;

function fail(message: string): never {
  console.error(`fuzz: ${message}\n${usage}`);
  process.exit(2);
}

function number(text: string | undefined, name: string, otherwise: number): number {
  if (text === undefined) return otherwise;
  const n = Number(text.replaceAll('_', ''));
  if (!Number.isFinite(n) || n < 0) fail(`--${name} is a number, not ${text}`);
  return n;
}

async function runHere(oracle: Oracle, o: FuzzOptions): Promise<JobSummary> {
  const summary = await (await load(oracle))(o);
  const { user, system } = process.cpuUsage();
  return { ...summary, processor: (user + system) / 1e6 };
}

async function load(oracle: Oracle): Promise<(o: FuzzOptions) => FuzzSummary | Promise<FuzzSummary>> {
  const path = `../tests/fuzz/${oracle}.ts`;
  const module: { fuzz(o: FuzzOptions): FuzzSummary } = await import(path);
  return module.fuzz;
}

function parse(): { oracle: Oracle; options: FuzzOptions; jobs: number; record: boolean; quiet: boolean } {
  const values = parseOptions('fuzz', usage, {
    oracle: { type: 'string', default: 'host' },
    cases: { type: 'string' },
    seed: { type: 'string' },
    bits: { type: 'string' },
    values: { type: 'string' },
    minutes: { type: 'string' },
    engine: { type: 'string', default: 'interpreter' },
    jobs: { type: 'string' },
    record: { type: 'boolean', default: false },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  const oracle = ORACLES.find((o) => o === values.oracle);
  if (!oracle) fail(`no oracle ${values.oracle}`);
  const bits = (values.bits ?? (oracle === 'host' ? '64,32' : '64,32,16')).split(',').map(Number);
  if (bits.some((b) => ![16, 32, 64].includes(b))) fail('--bits takes 16, 32 and 64');
  return {
    oracle,
    jobs: number(values.jobs, 'jobs', 1),
    record: values.record,
    quiet: values.json,
    options: {
      cases: number(values.cases, 'cases', 1_000_000),
      seed: number(values.seed, 'seed', Date.now() & 0x7fff_ffff),
      bits: bits as (16 | 32 | 64)[],
      values: number(values.values, 'values', 16),
      limit: number(values.minutes, 'minutes', 24 * 60) * 60_000,
      engine: values.engine,
      only: values.only === undefined ? undefined : new RegExp(values.only),
    },
  };
}

/** Runs a part of the cases in a process of its own. */
function runJob(oracle: Oracle, o: FuzzOptions, job: number, jobs: number): Promise<JobSummary> {
  const args = [import.meta.filename, '--json', '--oracle', oracle, '--seed', `${o.seed + job * 7919}`];
  args.push('--cases', `${Math.ceil(o.cases / jobs)}`, '--bits', o.bits.join(','), '--values', `${o.values}`);
  args.push('--minutes', `${o.limit / 60_000}`, '--engine', o.engine);
  if (o.only) args.push('--only', o.only.source);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(out.trim().split('\n').at(-1)!));
      else reject(new Error(`job ${job} (seed ${o.seed + job * 7919}) ended with ${code}`));
    });
  });
}

/** Mismatches of the same instruction are shown once. */
function merge(parts: readonly JobSummary[]): JobSummary {
  const byKey = new Map(parts.flatMap((p) => p.mismatches.map((m) => [m.replace(/ \(\d+\):.*/s, ''), m] as const)));
  return {
    compared: parts.reduce((n, p) => n + p.compared, 0),
    allowed: parts.reduce((n, p) => n + p.allowed, 0),
    rows: Math.max(...parts.map((p) => p.rows)),
    mismatches: [...byKey.values()],
    notes: [...new Set(parts.flatMap((p) => p.notes))],
    processor: parts.reduce((n, p) => n + p.processor, 0),
  };
}

const { oracle, options, jobs, record, quiet } = parse();
const started = performance.now();
const commit = record ? currentCode() : undefined;
if (quiet) {
  console.log(JSON.stringify(await runHere(oracle, options)));
} else {
  console.log(`oracle ${oracle}, engine ${options.engine}: ${options.cases} cases, seed ${options.seed}, jobs ${jobs}`);
  const summary =
    jobs > 1
      ? merge(await Promise.all(Array.from({ length: jobs }, (_, i) => runJob(oracle, options, i, jobs))))
      : await runHere(oracle, options);
  const seconds = (performance.now() - started) / 1000;
  for (const line of summary.mismatches.slice(0, 200)) console.log(line);
  for (const note of summary.notes) console.log(note);
  const rate = Math.round(summary.compared / seconds);
  console.log(
    `${summary.compared} compared in ${seconds.toFixed(1)} s (${rate}/s, ${summary.processor.toFixed(0)} s of processor time), ${summary.rows} rows, ` +
      `${summary.allowed} allowed differences, ${summary.mismatches.length} kinds of mismatches`,
  );
  const run: Run = {
    oracle,
    engine: options.engine,
    seed: options.seed,
    jobs,
    bits: options.bits,
    compared: summary.compared,
    allowed: summary.allowed,
    rows: summary.rows,
    mismatches: summary.mismatches.length,
    seconds: Math.round(seconds),
    processor: Math.round(summary.processor),
    date: new Date().toISOString().slice(0, 10),
    ...(commit === undefined ? {} : { commit }),
    notes: summary.notes,
  };
  if (record && options.only) fail('--record takes all rows');
  if (record) appendRun(run);
  process.exitCode = summary.mismatches.length > 0 ? 1 : 0;
}
