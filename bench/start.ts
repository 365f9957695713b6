// Starts one contestant once, reads what its programs say, and ends it.

import { type ChildProcess, spawn } from 'node:child_process';
import type { Command } from './contestants.ts';
import { Reader, type Sample } from './samples.ts';
import { stampOf } from './stamp.ts';

export interface Outcome {
  readonly samples: Sample[];
  readonly failure?: string;
}

export interface StartOptions {
  /** The command is the program itself: its processor time is what it says. */
  readonly native: boolean;
  /** Whether the time to the first line of /init is a sample. */
  readonly boot: boolean;
  readonly cwd?: string;
}

/** Longest processor time of a run, and longest time between two lines: an hour, for machines with much else to do. */
const BUSY_SECONDS = 300;
const SILENT_SECONDS = 3600;

/** The child of the moment ends with this process, also when that is told to end. */
let current: ChildProcess | undefined;
process.on('exit', () => current?.kill('SIGKILL'));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130));

/** What is kept of the output, to say what a failed run printed last. */
const TAIL = 2000;

function follow(child: ChildProcess, onLine: (text: string) => void): () => string {
  let rest = '';
  let tail = '';
  const take = (chunk: string, lines: boolean): void => {
    tail = (tail + chunk).slice(-TAIL);
    if (!lines) return;
    const split = (rest + chunk).split('\n');
    rest = split.pop()!;
    for (const line of split) onLine(line.trim());
  };
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => take(chunk, true));
  child.stderr!.setEncoding('utf8').on('data', (chunk: string) => take(chunk, false));
  return () => tail.trim().split(/\r?\n/).slice(-2).join(' | ');
}

/**
 * Runs a command until it says `@end` or ends itself. A guest's boot can be a sample of its own, named `boot`.
 * A run that is busy or silent for too long is ended and counts as failed.
 */
export function start(command: Command, options: StartOptions): Promise<Outcome> {
  const { native, boot, cwd } = options;
  const reader = new Reader();
  const began = performance.now() / 1000;
  const child = spawn(command.program, command.args, { stdio: ['ignore', 'pipe', 'pipe'], ...(cwd && { cwd }) });
  current = child;
  let failure: string | undefined;
  let ended = false;
  const end = (): void => {
    ended = true;
    child.kill('SIGKILL');
  };
  let heard = began;
  const timer = setInterval(() => {
    const { wall, cpu } = stampOf(child.pid!);
    if (cpu > BUSY_SECONDS) failure = `no end after ${BUSY_SECONDS} s of processor time`;
    else if (wall - heard > SILENT_SECONDS) failure = `silent for ${SILENT_SECONDS} s`;
    if (failure !== undefined) end();
  }, 2000);
  const last = follow(child, (text) => {
    if (!text.includes('@')) return;
    const at = stampOf(child.pid!);
    heard = at.wall;
    if (text.endsWith('@init')) {
      if (!boot) return;
      const wall = at.wall - began;
      reader.samples.push({ name: 'boot', check: 'init', operations: 1, own: wall, wall, cpu: at.cpu });
    } else if (text.endsWith('@end')) end();
    else reader.line(text, at, native);
  });
  return new Promise((resolve) => {
    const finish = (why?: string): void => {
      clearInterval(timer);
      const reason = failure ?? why;
      resolve({ samples: reader.samples, ...(reason !== undefined && { failure: `${reason}: ${last()}` }) });
    };
    child.on('error', (error) => finish(error.message));
    child.on('close', (code, signal) => {
      finish(ended || (native && code === 0) ? undefined : `ended by itself with ${signal ?? code}`);
    });
  });
}
