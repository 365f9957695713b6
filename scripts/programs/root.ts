// Runs shell scripts on the host inside the programs' root: chroot, in a mount namespace of its own for /dev and /proc.
// Without root's rights a user namespace takes their place.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Mounts what programs expect in the root ($1) and runs the rest of the arguments in it. */
const ENTER = `
set -e
root=$1; shift
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
exec chroot "$root" "$@"
`;

export interface HostResult {
  readonly status: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** Seconds on the wall. */
  readonly seconds: number;
}

/** Runs a command of the root. */
export function runInRoot(root: string, command: readonly string[]): HostResult {
  for (const folder of ['tmp', 'dev', 'proc']) mkdirSync(join(root, folder), { recursive: true });
  const map = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const started = performance.now();
  const args = [...map, '--mount', '--pid', '--fork', 'sh', '-c', ENTER, 'enter', root, ...command];
  const r = spawnSync('unshare', args, {
    maxBuffer: 2 ** 28,
    env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  if (r.error) throw r.error;
  const seconds = (performance.now() - started) / 1000;
  return { status: r.status, stdout: r.stdout, stderr: r.stderr.toString(), seconds };
}

/** Writes the files of a folder of the root. */
export function writeInRoot(root: string, folder: string, files: ReadonlyMap<string, string>): void {
  mkdirSync(join(root, folder), { recursive: true });
  for (const [name, text] of files) writeFileSync(join(root, folder, name), text);
}
