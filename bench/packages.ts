// Python and gzip of the distribution with the libraries they need, laid out in one folder that host and guest run
// them from: ld.so, python3, gzip, lib/*.so, lib/python3.x. Fetched and verified as images are, kept in the cache.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Apt } from '../src/image/apt.ts';
import { cacheDir, withWorkDir } from '../src/image/cache.ts';
import { type PackagedEntry, unpackDeb } from '../src/image/deb.ts';
import { ImageError } from '../src/image/errors.ts';
import type { ExtraFile } from '../src/image/initramfs.ts';

/** Libraries and programs: the package that has each file. Python's own two are named after its version. */
const PACKAGES = ['libc6', 'libexpat1', 'zlib1g', 'gzip'];
const LIBRARIES = /^(?:libc|libm|libexpat|libz)\.so\.\d+$/;
/** The version of Python that the distribution has, such as `python3.11`. */
async function pythonOf(apt: Apt): Promise<string> {
  const { depends, preDepends } = await apt.show('python3-minimal');
  const name = /(python3\.\d+)-minimal/.exec(`${preDepends},${depends}`)?.[1];
  if (name === undefined) throw new ImageError('python3-minimal names no Python', 'check the sources in /etc/apt');
  return name;
}

/** Where a file of a package goes in the folder; undefined for what is not needed. */
function placeOf(path: string, python: string): string | undefined {
  const name = basename(path);
  if (name === 'ld-linux-x86-64.so.2' && path.includes('/x86_64-linux-gnu/')) return 'ld.so';
  if (LIBRARIES.test(name) && path.includes('/x86_64-linux-gnu/')) return `lib/${name}`;
  if (path.endsWith('bin/gzip')) return 'gzip';
  if (path.endsWith(`bin/${python}`)) return 'python3';
  const module = path.split(`/lib/${python}/`)[1];
  return module?.endsWith('.py') ? `lib/${python}/${module}` : undefined;
}

/** Writes the wanted files; a link to a library becomes the library under the link's name. */
function layOut(entries: readonly PackagedEntry[], python: string, folder: string): void {
  for (const entry of entries) {
    const place = placeOf(entry.path, python);
    if (place === undefined) continue;
    const target = entry.kind === 'file' ? entry : entries.find((other) => isTarget(other, entry));
    if (target?.kind !== 'file') continue;
    mkdirSync(dirname(join(folder, place)), { recursive: true });
    writeFileSync(join(folder, place), target.bytes, { mode: target.mode });
  }
}

function isTarget(other: PackagedEntry, link: PackagedEntry & { kind: 'symlink' }): boolean {
  return other.kind === 'file' && basename(other.path) === basename(link.target);
}

/** What installing the packages does: the modules are compiled, and found without looking at their dates. */
function compileModules(folder: string, python: string): void {
  mkdirSync(join(folder, 'lib', python, 'lib-dynload'));
  writeFileSync(join(folder, 'lib', python, 'lib-dynload', 'empty'), '');
  const words = ['--library-path', 'lib', './python3', '-m', 'compileall', '-q'];
  const result = spawnSync('./ld.so', [...words, '--invalidation-mode', 'unchecked-hash', `lib/${python}`], {
    cwd: folder,
    encoding: 'utf8',
    env: { PYTHONHOME: folder },
  });
  if (result.status === 0) return;
  const why = result.error?.message ?? result.stderr.trim().split('\n').at(-1);
  throw new ImageError(`the distribution's Python cannot run here (${why})`, 'leave out --only python,gzip');
}

/** The folder with the programs, made when it is not there. @throws ImageError when a package cannot be had */
export async function programsFolder(): Promise<string> {
  const cache = cacheDir();
  const folder = join(cache, 'bench', 'programs');
  if (existsSync(folder)) return folder;
  await withWorkDir(cache, async (directory) => {
    const staging = join(directory, 'programs');
    const apt = new Apt({ architecture: 'amd64', stateDir: join(cache, 'apt-amd64') });
    const python = await pythonOf(apt);
    for (const name of [...PACKAGES, `${python}-minimal`, `lib${python}-minimal`]) {
      const { deb } = await apt.fetch(name, directory);
      layOut(await unpackDeb(deb, (path) => /bin\/|\/lib\/python3|\.so\./.test(path)), python, staging);
    }
    compileModules(staging, python);
    mkdirSync(dirname(folder), { recursive: true });
    rmSync(folder, { recursive: true, force: true });
    renameSync(staging, folder);
  });
  return folder;
}

/** All files of a folder, as files of the guest below `place`. */
export function folderFiles(folder: string, place: string): ExtraFile[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const [from, to] = [join(folder, entry.name), `${place}/${entry.name}`];
    if (entry.isDirectory()) return folderFiles(from, to);
    return [{ path: to, bytes: readFileSync(from), mode: statSync(from).mode & 0o777 }];
  });
}
