// Builds what the contestants run: the programs of bench/guest, and the initramfs with them inside.

import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { imagePath } from '../src/image/cache.ts';
import { addFiles, type ExtraFile } from '../src/image/initramfs.ts';
import { loadImage } from '../src/image/pull.ts';
import type { Bits, ProgramName } from './benchmarks.ts';
import { dispersedSource } from './dispersed.ts';
import { folderFiles, programsFolder } from './packages.ts';

export const root = join(import.meta.dirname, '..');
/** A mistake of the user or of the machine: one line with its cause, and what to do. */
export class BenchError extends Error {}

function gcc(sources: readonly string[], output: string, bits: Bits): void {
  // SSE2 in 32 bits too: the floating-point loop is about doubles, not about the 80-bit stack.
  const width = bits === 32 ? ['-m32', '-msse2', '-mfpmath=sse'] : ['-m64'];
  const result = spawnSync('gcc', ['-O2', '-static', ...width, '-o', output, ...sources], { encoding: 'utf8' });
  if (result.status === 0) return;
  const why = result.error?.message ?? result.stderr.trim().split('\n')[0];
  throw new BenchError(`gcc cannot build ${sources[0]} for ${bits} bits (${why}); install gcc and gcc-multilib`);
}

/** Builds a program of bench/guest in a folder and gives its path. @throws BenchError with what gcc said */
function buildProgram(folder: string, program: ProgramName, bits: Bits): string {
  const output = join(folder, `${program}${bits}`);
  const sources = [join(root, 'bench/guest', `${program}.c`)];
  if (program === 'dispersed') {
    const blocks = join(folder, 'blocks.S');
    writeFileSync(blocks, dispersedSource());
    sources.push(blocks);
  }
  gcc(sources, output, bits);
  return output;
}

/** Process 1 of a guest that measures: says that it is there, makes ready, runs the programs. */
const initScript = (commands: readonly string[]): string => `#!/bin/sh
echo @init
export PATH=/bin:/usr/bin HOME=/root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
cd /bench
${commands.join('\n')}
echo @end
exec /bin/busybox poweroff -f
`;

/** What a guest boots from. */
export interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
}

const KERNELS = { 64: 'debian', 32: 'debian-686' } as const;

/**
 * Writes the initramfs of a set of programs into a folder.
 * @param commands the shell's lines that run them, in the folder /bench
 * @throws ImageError when the kernel's image cannot be had
 */
export async function buildGuest(
  folder: string,
  name: string,
  bits: Bits,
  files: readonly ExtraFile[],
  commands: readonly string[],
): Promise<GuestFiles> {
  const image = KERNELS[bits];
  const { initrd } = await loadImage(image);
  const init: ExtraFile = { path: '/init', bytes: new TextEncoder().encode(initScript(commands)), mode: 0o755 };
  const path = join(folder, `${name}${bits}.cpio`);
  writeFileSync(path, addFiles(initrd, [init, ...files]));
  return { kernel: join(imagePath(image), 'vmlinuz'), initrd: path };
}

/** Puts what a program needs to run on the host into a folder: itself, and for `packages` the folder `programs`. */
export async function prepareNative(folder: string, program: ProgramName, bits: Bits): Promise<void> {
  buildProgram(folder, program, bits);
  if (program !== 'packages') return;
  const link = join(folder, 'programs');
  rmSync(link, { force: true });
  symlinkSync(await programsFolder(), link);
}

/** The same as files of the guest, below /bench. */
export async function guestProgram(folder: string, program: ProgramName, bits: Bits): Promise<ExtraFile[]> {
  const file = { path: `/bench/${program}`, bytes: readFileSync(buildProgram(folder, program, bits)), mode: 0o755 };
  return program === 'packages' ? [file, ...folderFiles(await programsFolder(), '/bench/programs')] : [file];
}
