// Starts one contestant once, reads what its programs say, and ends it.

import { type ChildProcess, spawn } from 'node:child_process';
import type { Command } from './contestants.ts';
import { Reader, type Sample } from './samples.ts';
import { stampOf } from './stamp.ts';

export interface Outcome {
  readonly samples: Sample[];
  readonly failure?: string;
}

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
 * Runs a command until it says `@end` or ends itself. A guest's boot is a sample of its own, named `boot`.
 * @param native the command is the program itself: its processor time is what it says
 * @param seconds after which it is ended and counts as failed
 */
export function start(command: Command, options: { native: boolean; seconds: number; cwd?: string }): Promise<Outcome> {
  const { native, seconds, cwd } = options;
  const reader = new Reader();
  const began = performance.now() / 1000;
  const child = spawn(command.program, command.args, { stdio: ['ignore', 'pipe', 'pipe'], ...(cwd && { cwd }) });
  let failure: string | undefined;
  let ended = false;
  const end = (): void => {
    ended = true;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => {
    failure = `no end after ${seconds} s`;
    end();
  }, seconds * 1000);
  const last = follow(child, (text) => {
    if (!text.includes('@')) return;
    const at = stampOf(child.pid!);
    if (text.endsWith('@init') && !reader.samples.some(({ name }) => name === 'boot')) {
      const wall = at.wall - began;
      reader.samples.push({ name: 'boot', check: 'init', operations: 1, own: wall, wall, cpu: at.cpu });
    } else if (text.endsWith('@end')) end();
    else reader.line(text, at, native);
  });
  return new Promise((resolve) => {
    const finish = (why?: string): void => {
      clearTimeout(timer);
      const reason = failure ?? why;
      resolve({ samples: reader.samples, ...(reason !== undefined && { failure: `${reason}: ${last()}` }) });
    };
    child.on('error', (error) => finish(error.message));
    child.on('close', (code, signal) => {
      finish(ended || (native && code === 0) ? undefined : `ended by itself with ${signal ?? code}`);
    });
  });
}
