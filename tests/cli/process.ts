// Starts the program as a user does and collects what it says.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export const root = join(import.meta.dirname, '../..');
export const launcher = join(root, 'src/cli/main.ts');

/** The Node.js that is not the pinned one, if this machine has one. */
export const systemNode = (process.env.PATH ?? '')
  .split(delimiter)
  .filter((folder) => folder !== '' && !folder.includes('node_modules'))
  .map((folder) => join(folder, 'node'))
  .find((file) => existsSync(file));

export interface Result {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly node?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Called with everything on stdout so far. */
  readonly onOutput?: (text: string, child: ChildProcess) => void;
}

/** Runs a script with arguments until it ends. Input stays open unless it is given. */
export function start(script: string, args: readonly string[], options: StartOptions = {}): Promise<Result> {
  const child = spawn(options.node ?? process.execPath, [script, ...args], {
    cwd: root,
    env: { ...process.env, ...options.env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
    options.onOutput?.(stdout, child);
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  child.stdin.on('error', () => {});
  if (options.input !== undefined) child.stdin.end(options.input);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Runs `plinth` with arguments. */
export function plinth(args: readonly string[], options?: StartOptions): Promise<Result> {
  return start(launcher, args, options);
}
