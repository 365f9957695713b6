// What the tests with real guests share: images that apt may not be able to give, programs that gcc may not be able
// to build, and runs of the program whose output is checked for what no healthy kernel says.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { loadImage } from '../../src/image/pull.ts';
import { plinth, type Result, root } from '../cli/process.ts';

/** Longest time for one boot in seconds, on a machine that does other things too. */
export const BOOT_SECONDS = 300;

/** True when an image is in the cache or could be fetched; prints why not. */
export async function hasImage(name: string): Promise<boolean> {
  try {
    await loadImage(name);
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'advice' in error)) throw error;
    console.log(`skipped: tests of the image ${name}, because ${error.message}`);
    return false;
  }
}

/** A folder for what is built, removed when the process ends. */
const folder = mkdtempSync(join(tmpdir(), 'plinth-guests-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Builds `source` (a path in this repository) with gcc; undefined when that cannot be done, and prints why. */
export function build(source: string, bits: 32 | 64, ...options: string[]): string | undefined {
  const output = join(folder, `${source.replace(/\W/g, '-')}-${bits}`);
  const args = [`-m${bits}`, '-O2', '-static', '-o', output, join(root, source), ...options];
  const gcc = spawnSync('gcc', args, { encoding: 'utf8' });
  if (gcc.status === 0) return output;
  const why = gcc.error?.message ?? gcc.stderr.trim().split('\n')[0];
  console.log(`skipped: ${source} for ${bits} bits, because gcc cannot build it (${why})`);
  return undefined;
}

/** What a kernel says when something is wrong with the machine it runs on. */
const TROUBLE = /BUG:|WARNING:|Oops|Call Trace|unexpected|soft lockup|rcu.*stall|\[Firmware Bug\]/i;

export interface GuestRun {
  readonly image?: string;
  readonly boot?: string;
  readonly engine?: string;
  readonly append?: string;
  readonly copy?: Readonly<Record<string, string>>;
  readonly exec: string;
}

/** Boots an image, runs a script in it, and gives the result; fails when the kernel complained. */
export async function runGuest(run: GuestRun): Promise<Result> {
  const { image = 'debian', boot = 'auto', engine = 'auto', append = '', copy = {} } = run;
  const result = await plinth(
    [
      ...['run', image, '--memory', '256M', '--boot', boot, '--engine', engine],
      // The kernel's tests of its own ciphers take longer than all the rest of a boot.
      ...['--append', `cryptomgr.notests ${append}`, '--timeout', String(BOOT_SECONDS), '--exec', run.exec],
      ...Object.entries(copy).flatMap(([guest, host]) => ['--copy', `${host}:${guest}`]),
    ],
    { input: '' },
  );
  expect(result.stdout.match(TROUBLE)?.[0]).toBeUndefined();
  return result;
}
