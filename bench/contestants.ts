// How each contestant is started: a command whose standard output is the guest's serial console.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Apt } from '../src/image/apt.ts';
import { cacheDir, withWorkDir } from '../src/image/cache.ts';
import { extractFromDeb } from '../src/image/deb.ts';
import type { Contestant } from './benchmarks.ts';
import { type GuestFiles, root } from './build.ts';

/** Megabytes of every guest. */
const MEMORY = 512;

/** The same kernel command line for everyone: what Plinth gives by default, and no messages of the boot. */
export const APPEND = 'console=ttyS0 panic=-1 mitigations=off cryptomgr.notests quiet';

export interface Choices {
  /** QEMU's -cpu. */
  readonly qemuCpu: string;
  /** Plinth's --engine. */
  readonly engine: string;
  /** Plinth's entry, to measure another work tree. */
  readonly plinth: string;
}
export const DEFAULT_CHOICES: Choices = { qemuCpu: 'qemu64', engine: 'bt', plinth: join(root, 'src/cli/main.ts') };

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** The distribution's SeaBIOS, which v86 starts; fetched once into the cache. @throws ImageError when it cannot be */
export async function seabios(): Promise<string> {
  const folder = join(cacheDir(), 'bench');
  const path = join(folder, 'seabios.bin');
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  await withWorkDir(cacheDir(), async (directory) => {
    const apt = new Apt({ architecture: 'amd64', stateDir: join(cacheDir(), 'apt-amd64') });
    const { deb } = await apt.fetch('seabios', directory);
    const [file] = await extractFromDeb(deb, [(name) => name === 'usr/share/seabios/bios-256k.bin']);
    writeFileSync(path, file!.bytes);
  });
  return path;
}

function firstLine(program: string, args: readonly string[]): string | undefined {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim().split('\n')[0] : undefined;
}

/** What version of a contestant is here; undefined when it is not. */
export function versionOf({ peer }: Contestant): string | undefined {
  switch (peer) {
    case 'native':
      return firstLine('gcc', ['--version']);
    case 'plinth': {
      const commit = firstLine('git', ['-C', root, 'describe', '--always', '--dirty', '--abbrev=10']);
      return `Plinth ${commit ?? ''}, Node.js ${process.version}`;
    }
    case 'qemu':
      return firstLine('qemu-system-x86_64', ['--version'])?.replace('emulator version ', '');
    case 'v86': {
      const manifest = join(root, 'node_modules/v86/package.json');
      if (!existsSync(manifest)) return undefined;
      return `v86 ${JSON.parse(readFileSync(manifest, 'utf8')).version}, Node.js ${process.version}`;
    }
  }
}

/** The command that boots a guest. @throws RangeError for native, which boots nothing */
export async function bootCommand(contestant: Contestant, guest: GuestFiles, choices: Choices): Promise<Command> {
  const linux = ['--kernel', guest.kernel, '--initrd', guest.initrd, '--append', APPEND];
  switch (contestant.peer) {
    case 'plinth':
      return {
        program: process.execPath,
        args: [choices.plinth, 'run', '--engine', choices.engine, '--memory', `${MEMORY}M`, ...linux],
      };
    case 'qemu':
      return {
        program: 'qemu-system-x86_64',
        args: [
          ...['-accel', 'tcg', '-cpu', choices.qemuCpu, '-m', `${MEMORY}`, '-nographic', '-no-reboot'],
          ...linux.map((word, at) => (at % 2 === 0 ? word.slice(1) : word)),
        ],
      };
    case 'v86':
      return {
        program: process.execPath,
        args: [join(root, 'bench/v86.ts'), await seabios(), guest.kernel, guest.initrd, `${MEMORY}`, APPEND],
      };
    case 'native':
      throw new RangeError('native boots nothing');
  }
}
