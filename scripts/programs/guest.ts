// Runs the jobs in the guest: the programs' root goes behind the image's initial RAM disk, and the image's /init changes
// into it.

import { spawn } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildCpio, type CpioEntry } from '../../src/image/cpio.ts';
import { loadImage } from '../../src/image/pull.ts';

const PLINTH = join(import.meta.dirname, '../../src/cli/main.ts');
/** Where the guest has the root. */
const ROOT = 'root/programs';
/** Folders of the root that the guest mounts something on, or fills itself. */
const OWN = new Set(['tmp', 'dev', 'proc']);
const MEMORY = '1G';

function* entries(root: string, path: string): Generator<CpioEntry> {
  yield { kind: 'directory', path: `${ROOT}${path}` };
  for (const name of readdirSync(root + path).sort()) {
    const below = `${path}/${name}`;
    const stat = lstatSync(root + below);
    if (path === '' && OWN.has(name)) yield { kind: 'directory', path: `${ROOT}${below}` };
    else if (stat.isDirectory()) yield* entries(root, below);
    else if (stat.isSymbolicLink()) {
      yield { kind: 'symlink', path: `${ROOT}${below}`, target: readlinkSync(root + below) };
    } else if (stat.isFile()) {
      yield { kind: 'file', path: `${ROOT}${below}`, bytes: readFileSync(root + below), mode: stat.mode & 0o777 };
    }
  }
}

export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
}

/** Writes kernel and RAM disk into `folder`. @throws ImageError when the image cannot be had */
export async function guestFiles(root: string, folder: string): Promise<GuestFiles> {
  const { kernel, initrd } = await loadImage();
  const added = buildCpio([{ kind: 'directory', path: 'root' }, ...entries(root, '')]);
  const padding = Buffer.alloc(-initrd.length & 3);
  const files = { kernel: join(folder, 'vmlinuz'), initrd: join(folder, 'initrd') };
  writeFileSync(files.kernel, kernel);
  writeFileSync(files.initrd, Buffer.concat([initrd, padding, added]));
  return files;
}

export interface GuestRun {
  readonly engine: string;
  readonly model: string;
  /** Names of the jobs. */
  readonly jobs: readonly string[];
  /** Seconds. */
  readonly timeout: number;
  /** Told of each job that has come to its end. */
  readonly onJob: (name: string) => void;
}

export interface GuestResult {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  readonly seconds: number;
}

const inGuest = (jobs: readonly string[]): string =>
  [
    'stty -opost </dev/console',
    `for d in dev proc; do mount -o bind /$d /${ROOT}/$d; done`,
    `chroot /${ROOT} /bin/sh /jobs/run ${jobs.join(' ')}`,
  ].join('\n');

/** Boots the guest and runs the jobs in it. */
export function runInGuest(files: GuestFiles, run: GuestRun): Promise<GuestResult> {
  const args = [PLINTH, 'run', '--kernel', files.kernel, '--initrd', files.initrd, '--memory', MEMORY];
  args.push('--engine', run.engine, '--cpu', run.model, '--timeout', `${run.timeout}`);
  args.push('--append', 'quiet loglevel=0 cryptomgr.notests', '--exec', inGuest(run.jobs));
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    let stderr = '';
    let name = '';
    const follow = (line: string): void => {
      name = /^@@ begin (\S+)/.exec(line)?.[1] ?? name;
      if (line.startsWith('@@ exit')) run.onJob(name);
    };
    let line = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out.push(chunk);
      const lines = (line + chunk.toString('latin1')).split('\n');
      line = lines.pop()!;
      for (const l of lines) follow(l);
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout: Buffer.concat(out), stderr, seconds: (performance.now() - started) / 1000 });
    });
  });
}
