// The logs of long comparisons: docs/fidelity-runs.json, one entry per oracle, engine and seed,
// docs/fidelity-programs.json, one per engine and model, and docs/fidelity-lockstep.json, one number per row.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Row } from '../src/isa/row.ts';

export interface Run {
  readonly oracle: string;
  readonly engine: string;
  readonly seed: number;
  readonly jobs: number;
  readonly bits: readonly number[];
  readonly compared: number;
  /** Differences that the manuals allow. */
  readonly allowed: number;
  readonly rows: number;
  /** Kinds of mismatches. */
  readonly mismatches: number;
  readonly seconds: number;
  /** Seconds of processor time; older entries do not have it. */
  readonly processor?: number;
  /** Year, month, day. */
  readonly date: string;
  /** Of the code that ran, as `currentCode` gives it; older entries do not have it. */
  readonly commit?: string;
  readonly notes: readonly string[];
}

/** The commit of the work tree, with `+` behind it when sources, tests or scripts differ from it. */
export function currentCode(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: join(import.meta.dirname, '..'), encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--untracked-files=no', '--', 'src', 'tests', 'scripts') !== '';
  return git('rev-parse', '--short=7', 'HEAD') + (changed ? '+' : '');
}

const PATH = join(import.meta.dirname, '../docs/fidelity-runs.json');

export function readRuns(): Run[] {
  return existsSync(PATH) ? (JSON.parse(readFileSync(PATH, 'utf8')) as Run[]) : [];
}

/** Adds a run; an earlier one of the same kind and seed gives way. */
export function appendRun(run: Run): void {
  const key = (r: Run): string => `${r.oracle} ${r.engine} ${r.seed} ${r.bits.join()}`;
  const runs = [...readRuns().filter((r) => key(r) !== key(run)), run];
  writeFileSync(PATH, `${JSON.stringify(runs, null, 2)}\n`);
}

/** The distribution's programs in the guest of one engine and CPU model, compared with the host. */
export interface ProgramRun {
  readonly engine: string;
  readonly model: string;
  readonly seconds: number;
  readonly date: string;
  readonly jobs: readonly {
    readonly job: string;
    readonly same: boolean;
    readonly lines: number;
    readonly bytes: number;
    /** Lines that state times, or the machine. */
    readonly leftOut: number;
    /** Of the code that ran, as `currentCode` gives it; older entries do not have it. */
    readonly commit?: string;
  }[];
}

export interface ProgramLog {
  /** Name and version. */
  readonly packages: readonly string[];
  readonly runs: readonly ProgramRun[];
}

const PROGRAMS = join(import.meta.dirname, '../docs/fidelity-programs.json');

export function readPrograms(): ProgramLog {
  return existsSync(PROGRAMS) ? (JSON.parse(readFileSync(PROGRAMS, 'utf8')) as ProgramLog) : { packages: [], runs: [] };
}

/** Adds a run; earlier results of the same jobs, engine and model give way. */
export function recordPrograms(run: ProgramRun, packages: readonly string[]): void {
  const { runs } = readPrograms();
  const isSame = (r: ProgramRun): boolean => r.engine === run.engine && r.model === run.model;
  const kept = runs.find(isSame)?.jobs.filter((j) => !run.jobs.some((n) => n.job === j.job)) ?? [];
  const next = [...runs.filter((r) => !isSame(r)), { ...run, jobs: [...kept, ...run.jobs] }];
  writeFileSync(PROGRAMS, `${JSON.stringify({ packages, runs: next }, null, 2)}\n`);
}

/** Name and encoding of a row. */
export const rowKey = (row: Row): string => `${row.name} ${row.enc.text}`;

/** What random kernel-mode code came to on the soft engine and KVM, over all runs recorded. */
export interface LockstepLog {
  readonly compared: number;
  readonly unexplained: number;
  readonly seeds: readonly number[];
  /** By row: how often both came to the same without a fault, and with one. */
  readonly rows: Readonly<Record<string, readonly [through: number, faulted: number]>>;
}

const LOCKSTEP = join(import.meta.dirname, '../docs/fidelity-lockstep.json');

export function readLockstep(): LockstepLog {
  const none: LockstepLog = { compared: 0, unexplained: 0, seeds: [], rows: {} };
  return existsSync(LOCKSTEP) ? (JSON.parse(readFileSync(LOCKSTEP, 'utf8')) as LockstepLog) : none;
}

interface LockstepRun {
  readonly compared: number;
  readonly unexplained: number;
  readonly seed: number;
  readonly rows: ReadonlyMap<Row, { readonly through: number; readonly faulted: number }>;
}

/** Adds a run to the log; a seed counts once. */
export function recordLockstep(run: LockstepRun): void {
  const log = readLockstep();
  if (log.seeds.includes(run.seed)) throw new Error(`seed ${run.seed} is recorded already: give another --seed`);
  const rows = new Map(Object.entries(log.rows));
  for (const [row, { through, faulted }] of run.rows) {
    const [t, f] = rows.get(rowKey(row)) ?? [0, 0];
    rows.set(rowKey(row), [t + through, f + faulted]);
  }
  const lines = [...rows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, n]) => `    ${JSON.stringify(key)}: [${n.join(', ')}]`);
  const head = {
    compared: log.compared + run.compared,
    unexplained: log.unexplained + run.unexplained,
    seeds: [...log.seeds, run.seed],
  };
  const text = JSON.stringify(head, null, 2).replace(/\n\}$/, `,\n  "rows": {\n${lines.join(',\n')}\n  }\n}\n`);
  writeFileSync(LOCKSTEP, text);
}
