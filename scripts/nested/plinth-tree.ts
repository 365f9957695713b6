// The files of Plinth that the outer guest gets: sources, what is built, and the npm packages needed at run time.

import { lstat, readdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExtraFile } from '../../src/image/initramfs.ts';

const root = join(import.meta.dirname, '../..');

/** Folders and files of the repository, by path. */
const SOURCES = ['package.json', 'src', 'examples', 'tests/hv'];
const BUILT = ['build/runtime.wasm', 'build/interpreter.wasm', 'build/interpreter.json'];

/** Dependencies that are not loaded when Plinth runs: the compiler of the runtime, and Node.js itself. */
const NOT_AT_RUN_TIME = new Set(['assemblyscript', 'node']);
/** Parts of packages that no program loads. */
const LITTER = /\/(doc|vendor|musl_x64)\/|\.(md|map|d\.ts)$/;

/** Where the outer guest has the repository. */
export const GUEST_ROOT = '/plinth';
/** Where the outer guest has Node.js. */
export const GUEST_NODE = '/bin/node';

async function below(path: string): Promise<string[]> {
  const full = join(root, path);
  if (!(await lstat(full)).isDirectory()) return [path];
  const items = await readdir(full, { recursive: true, withFileTypes: true });
  return items.filter((i) => i.isFile()).map((i) => join(i.parentPath, i.name).slice(root.length + 1));
}

/** Names of the packages that the named ones need, themselves included, as they are installed. */
async function closure(names: readonly string[], found = new Set<string>()): Promise<Set<string>> {
  for (const name of names) {
    const text = await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8').catch(() => undefined);
    // An optional package for another platform is not there.
    if (text === undefined || found.has(name)) continue;
    found.add(name);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(text);
    await closure([...Object.keys(dependencies), ...Object.keys(optionalDependencies)], found);
  }
  return found;
}

async function packageFiles(): Promise<string[]> {
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const names = await closure(Object.keys(dependencies).filter((name) => !NOT_AT_RUN_TIME.has(name)));
  const files: string[] = [];
  for (const name of names) {
    files.push(...(await below(`node_modules/${name}`)).filter((file) => !LITTER.test(file)));
  }
  return files;
}

/**
 * Plinth and Node.js for the outer guest.
 * @throws Error when the repository is not built or not installed; the message names the file
 */
export async function plinthTree(): Promise<ExtraFile[]> {
  const paths = [...(await Promise.all(SOURCES.map(below))).flat(), ...BUILT, ...(await packageFiles())];
  const files = await Promise.all(
    paths.map(async (path) => ({
      path: `${GUEST_ROOT}/${path}`,
      bytes: new Uint8Array(await readFile(join(root, path))),
      mode: (await lstat(join(root, path))).mode & 0o777,
    })),
  );
  const node = await realpath(join(root, 'node_modules/node/bin/node'));
  return [...files, { path: GUEST_NODE, bytes: new Uint8Array(await readFile(node)), mode: 0o755 }];
}
