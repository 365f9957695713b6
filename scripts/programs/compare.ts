// Splits the output of the jobs and compares host and guest byte for byte.

import { RULES } from './jobs.ts';

export interface JobOutput {
  /** As the shell gave it; undefined when the job did not come to its end. */
  readonly status: number | undefined;
  readonly bytes: Buffer;
}

const BEGIN = /^@@ begin (\S+)$/;
const EXIT = /^@@ exit (\d+)$/;

/** The output of each job. What stands outside of the marks, such as a kernel's message, is `rest`. */
export function splitJobs(stdout: Buffer): { jobs: Map<string, JobOutput>; rest: string } {
  const jobs = new Map<string, JobOutput>();
  const rest: string[] = [];
  let name: string | undefined;
  let lines: string[] = [];
  // latin1 keeps every byte.
  for (const line of stdout.toString('latin1').split('\n')) {
    const begin = BEGIN.exec(line)?.[1];
    const status = EXIT.exec(line)?.[1];
    if (begin !== undefined) {
      name = begin;
      lines = [];
      jobs.set(name, { status: undefined, bytes: Buffer.alloc(0) });
    } else if (name !== undefined) {
      if (status === undefined) lines.push(line);
      const bytes = Buffer.from(lines.join('\n'), 'latin1');
      jobs.set(name, { status: status === undefined ? undefined : Number(status), bytes });
      if (status !== undefined) name = undefined;
    } else if (line !== '') rest.push(line);
  }
  return { jobs, rest: rest.join('\n') };
}

/** The lines that are compared, and how many were left out. */
export function comparedLines(bytes: Buffer): { lines: string[]; left: number } {
  const all = bytes.toString('latin1').split('\n');
  const lines = all.filter((line) => !RULES.some((rule) => rule.pattern.test(line)));
  return { lines, left: all.length - lines.length };
}

export interface Comparison {
  readonly job: string;
  readonly same: boolean;
  /** The guest came to the end of the job. */
  readonly ended: boolean;
  readonly lines: number;
  readonly bytes: number;
  readonly leftOut: number;
  /** First lines that differ. */
  readonly differences: readonly string[];
}

const SHOWN = 6;

/** Compares a job of the guest with the host's. */
export function compareJob(job: string, host: JobOutput, guest: JobOutput | undefined): Comparison {
  const a = comparedLines(host.bytes);
  const b = comparedLines(guest?.bytes ?? Buffer.alloc(0));
  const differences: string[] = [];
  if (host.status !== guest?.status)
    differences.push(`exit ${host.status} on the host, ${guest?.status ?? 'none'} in the guest`);
  for (let i = 0; i < Math.max(a.lines.length, b.lines.length) && differences.length < SHOWN; i++) {
    if (a.lines[i] !== b.lines[i])
      differences.push(`line ${i + 1}: ${a.lines[i] ?? '(none)'} <> ${b.lines[i] ?? '(none)'}`);
  }
  const bytes = a.lines.join('\n').length;
  const ended = guest?.status !== undefined;
  return { job, same: differences.length === 0, ended, lines: a.lines.length, bytes, leftOut: a.left, differences };
}
