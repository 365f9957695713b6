// The log of long comparisons: docs/fidelity-runs.json, one entry per oracle, engine and seed.
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
