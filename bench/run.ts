// `npm run bench`: runs the programs of bench/guest on the host, in Plinth and in the peers that are present, in
// rounds that take turns, and prints the ratios and whether each bar is met. A complete run also rewrites the
// generated parts of docs/performance.md.

import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { BENCHMARKS, type Bits, CONTESTANTS, type Contestant, contestantName, type ProgramName } from './benchmarks.ts';
import { BenchError, buildGuest, type GuestFiles, guestProgram, prepareNative, root } from './build.ts';
import { APPEND, bootCommand, type Choices, type Command, versionOf } from './contestants.ts';
import { type Options, readOptions } from './options.ts';
import { latestPath, readResults, stringifyResults, writeReport, writeWhole } from './report.ts';
import type { Results, Run } from './samples.ts';
import { start } from './start.ts';
import { asText, barRows, ratioRows, timeRows, wrongChecks } from './table.ts';

/** Programs that one guest runs after another: a set is one start of each contestant in a round. */
interface ProgramSet {
  readonly name: string;
  readonly programs: readonly ProgramName[];
  readonly bits: readonly Bits[];
}
const SETS: readonly ProgramSet[] = [
  { name: 'small', programs: ['kernels', 'system'], bits: [64, 32] },
  { name: 'large', programs: ['dispersed', 'packages'], bits: [64] },
];

interface Job {
  readonly set: ProgramSet;
  readonly contestant: Contestant;
  readonly round: number;
}

const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** The shell's lines that run a set's programs, or nothing when none of it was asked for. */
function commandsOf(set: ProgramSet, options: Options, suffix: string): string[] {
  return set.programs.flatMap((program) => {
    const names = BENCHMARKS.filter((each) => each.program === program && options.only.includes(each.name));
    return names.length === 0
      ? []
      : [`./${program}${suffix} ${options.scale} ${names.map(({ name }) => name).join(' ')}`];
  });
}

function plan(options: Options, contestants: readonly Contestant[]): Job[] {
  const jobs: Job[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    for (const set of SETS) {
      for (const contestant of contestants) {
        const { peer, bits } = contestant;
        if (!set.bits.includes(bits)) continue;
        if (peer === 'v86' && round > options.v86Rounds) continue;
        const idle = commandsOf(set, options, '').length === 0;
        const boots = options.only.includes('boot') && set === SETS[0] && peer !== 'native';
        if (!idle || boots) jobs.push({ set, contestant, round });
      }
    }
  }
  return jobs;
}

/** Builds what jobs need, each thing once. */
class Builder {
  readonly #guests = new Map<string, GuestFiles>();
  readonly #options: Options;
  readonly folder: string;

  /** @param folder where programs and initramfs go; made here */
  constructor(options: Options, folder: string) {
    this.#options = options;
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  async command({ set, contestant }: Job, choices: Choices): Promise<Command> {
    const { peer, bits } = contestant;
    if (peer === 'native') {
      for (const program of set.programs) await prepareNative(this.folder, program, bits);
      return { program: 'sh', args: ['-c', commandsOf(set, this.#options, `${bits}`).join(' && ')] };
    }
    const key = `${set.name}${bits}`;
    let guest = this.#guests.get(key);
    if (!guest) {
      const files = await Promise.all(set.programs.map((program) => guestProgram(this.folder, program, bits)));
      guest = await buildGuest(this.folder, set.name, bits, files.flat(), commandsOf(set, this.#options, ''));
      this.#guests.set(key, guest);
    }
    return bootCommand(contestant, guest, choices);
  }
}

async function runJob(job: Job, builder: Builder, choices: Choices): Promise<Run> {
  const { set, contestant, round } = job;
  const native = contestant.peer === 'native';
  const command = await builder.command(job, choices);
  const { samples, failure } = await start(command, { native, boot: set === SETS[0], cwd: builder.folder });
  return {
    contestant: contestantName(contestant),
    round,
    set: set.name,
    load: loadavg()[0]!,
    samples,
    ...(failure !== undefined && { failure }),
  };
}

function print(results: Results, options: Options): void {
  console.log(`\nTime of one operation${options.clock === 'cpu' ? ', processor time' : ''}\n`);
  console.log(asText(timeRows(results, options.clock)));
  console.log('\nRatios of time (and of processor time)\n');
  console.log(asText(ratioRows(results)));
  const bars = barRows(results, options.clock).filter((row) => options.kept || row.at(-1) !== 'not measured');
  console.log('\nBars\n');
  console.log(asText(bars));
  for (const { contestant, round, failure } of results.runs) {
    if (failure !== undefined) console.log(`FAILED ${contestant}, round ${round}: ${failure}`);
  }
  for (const line of wrongChecks(results)) console.log(`WRONG ${line}`);
}

function present(options: Options): { contestants: Contestant[]; versions: Record<string, string> } {
  const contestants: Contestant[] = [];
  const versions: Record<string, string> = {};
  for (const contestant of CONTESTANTS) {
    if (!options.contestants.includes(contestantName(contestant))) continue;
    const version = versionOf(contestant);
    if (version === undefined) note(`${contestant.peer} is not here and is left out`);
    else {
      contestants.push(contestant);
      versions[contestant.peer] = version;
    }
  }
  return { contestants, versions };
}

function settingsOf({ scale, rounds, clock, choices }: Options): Results['settings'] {
  return { scale, rounds, clock, append: APPEND, engine: choices.engine, qemuCpu: choices.qemuCpu };
}

/** Versions of a run that goes on: where one has changed since, both are told. */
function bothVersions(old: Results['versions'], now: Results['versions']): Results['versions'] {
  const both = Object.entries(now).map(([peer, version]) => {
    const known = old[peer];
    return [peer, known === undefined || known.endsWith(version) ? (known ?? version) : `${known}, later ${version}`];
  });
  return Object.fromEntries(both);
}

/** What an earlier run with the same words left, without what failed. @throws BenchError when the words differ */
function resumed(path: string, options: Options, versions: Results['versions']): Results {
  const results = readResults(path);
  if (JSON.stringify(results.settings) !== JSON.stringify(settingsOf(options))) {
    throw new BenchError(`${path} was made with other words; give the same, or leave out --resume`);
  }
  const runs = results.runs.filter((run) => run.failure === undefined);
  return { ...results, versions: bothVersions(results.versions, versions), runs };
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options.report) {
    writeReport(readResults(latestPath));
    return;
  }
  const { contestants, versions } = present(options);
  if (contestants.length === 0) throw new BenchError('nobody is left to measure; install gcc and qemu-system-x86');
  const path = options.json ?? join(root, 'build/bench/results.json');
  const old = options.resume && existsSync(path) ? resumed(path, options, versions) : undefined;
  let results: Results = old ?? {
    format: 1,
    date: new Date().toISOString().slice(0, 10),
    host: `${cpus()[0]?.model.trim() ?? 'unknown'}, ${cpus().length} processors`,
    versions,
    settings: settingsOf(options),
    runs: [],
  };
  // A folder of its own, because two runs at a time would otherwise build into each other's files.
  const builder = new Builder(options, options.keep ?? mkdtempSync(join(tmpdir(), 'plinth-bench-')));
  if (options.keep === undefined) process.on('exit', () => rmSync(builder.folder, { recursive: true, force: true }));
  const jobs = plan(options, contestants);
  for (const [at, job] of jobs.entries()) {
    const name = contestantName(job.contestant);
    const isJob = (run: Run): boolean => run.contestant === name && run.round === job.round && run.set === job.set.name;
    if (results.runs.some(isJob)) continue;
    const began = performance.now();
    const run = await runJob(job, builder, options.choices);
    results = { ...results, runs: [...results.runs, run] };
    writeWhole(path, stringifyResults(results));
    const took = ((performance.now() - began) / 1000).toFixed(0);
    note(`${at + 1}/${jobs.length} round ${job.round} ${name} ${job.set.name}: ${run.failure ?? `${took} s`}`);
  }
  print(results, options);
  if (results.runs.some((run) => run.failure) || wrongChecks(results).length > 0) process.exitCode = 1;
  else if (options.kept) {
    writeWhole(latestPath, stringifyResults(results));
    // Of what was written: its numbers are rounded, and a later --report must give the same.
    writeReport(readResults(latestPath));
    note('rewritten: bench/results/latest.json, docs/performance.md, docs/performance.svg');
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof BenchError) && !(error instanceof Error && 'advice' in error)) throw error;
  console.error(`bench: ${error.message}${'advice' in error ? `; ${error.advice}` : ''}`);
  process.exitCode = 1;
}
