// The logs of long comparisons: docs/fidelity-runs.json, one entry per oracle, engine and seed, and
// docs/fidelity-programs.json, one per engine and model.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

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
  readonly notes: readonly string[];
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
