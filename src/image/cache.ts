// The folder on the host where images live, and how they get into it and out of it whole.
//
//   images/<name>              a symbolic link to the version in use, replaced by rename
//   images/.versions/<name>-…  one built image: vmlinuz, initramfs.cpio, image.json; never changed once linked
//   tmp/<pid>-…                work in progress; nothing reads it, a later pull clears what a killed one left
//   apt-<architecture>/        apt's private lists

import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { ImageError } from './errors.ts';

/** Size and checksum of a file as recorded when it was built. */
export interface FileRecord {
  readonly size: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

/** A distribution package an image was made from. */
export interface PackageSource {
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
  readonly sha256: string;
}

/** What image.json holds. */
export interface Manifest {
  readonly format: 1;
  readonly name: string;
  /** Kernel release, such as `6.1.0-50-cloud-amd64`. */
  readonly release: string;
  readonly packages: readonly PackageSource[];
  readonly files: { readonly vmlinuz: FileRecord; readonly 'initramfs.cpio': FileRecord };
}

/** An image read from the cache, checksums verified. */
export interface Image {
  readonly manifest: Manifest;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
}

const fileNames = ['vmlinuz', 'initramfs.cpio'] as const;

/** Work in progress older than this and without a living owner is litter. */
const litterAgeMs = 15 * 60 * 1000;

/** The cache folder: `$XDG_CACHE_HOME/plinth`, or `~/.cache/plinth` (XDG base directory specification). */
export function cacheDir(): string {
  const xdg = process.env.XDG_CACHE_HOME;
  return join(xdg?.startsWith('/') ? xdg : join(homedir(), '.cache'), 'plinth');
}

/** The stable path of an image's folder, whether it exists or not. */
export function imagePath(name: string, root: string = cacheDir()): string {
  return join(root, 'images', name);
}

export function describeFile(bytes: Uint8Array): FileRecord {
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

function isManifest(value: unknown): value is Manifest {
  const isFile = (file: Partial<FileRecord> | undefined) =>
    Number.isSafeInteger(file?.size) && /^[0-9a-f]{64}$/.test(file?.sha256 ?? '');
  const manifest = value as Partial<Manifest> | null;
  return (
    manifest?.format === 1 &&
    typeof manifest.name === 'string' &&
    typeof manifest.release === 'string' &&
    Array.isArray(manifest.packages) &&
    fileNames.every((name) => isFile(manifest.files?.[name]))
  );
}

const again = (name: string) => `run "plinth image pull ${name}" again`;

/** Reads a manifest; undefined when the image is not in the cache. @throws ImageError when it is damaged. */
export async function readManifest(name: string, root: string = cacheDir()): Promise<Manifest | undefined> {
  let text: string;
  try {
    text = await readFile(join(imagePath(name, root), 'image.json'), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cacheTrouble(error, root);
  }
  try {
    const manifest: unknown = JSON.parse(text);
    if (isManifest(manifest)) return manifest;
  } catch {
    // Not JSON: damaged like any other unexpected content.
  }
  throw new ImageError(`the cached image ${name} is damaged (image.json)`, again(name));
}

/** Reads an image and verifies it; undefined when it is not in the cache. @throws ImageError when it is damaged. */
export async function readImage(name: string, root: string = cacheDir()): Promise<Image | undefined> {
  const manifest = await readManifest(name, root);
  if (manifest === undefined) return undefined;
  const [kernel, initrd] = await Promise.all(
    fileNames.map(async (file) => {
      const bytes = await readFile(join(imagePath(name, root), file)).catch(() => new Uint8Array(0));
      if (describeFile(bytes).sha256 === manifest.files[file].sha256) return bytes;
      throw new ImageError(`the cached image ${name} is damaged (${file} is not what was stored)`, again(name));
    }),
  );
  return { manifest, kernel: kernel as Uint8Array, initrd: initrd as Uint8Array };
}

/**
 * Makes a folder and those above it. (`mkdir` with `recursive` never ends in a file system that answers ENOENT
 * for a parent that exists, as /proc does.)
 */
async function makeFolder(path: string): Promise<void> {
  const make = () =>
    mkdir(path).catch((error: NodeJS.ErrnoException) => (error.code === 'EEXIST' ? undefined : Promise.reject(error)));
  try {
    await make();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await make();
  }
}

/** A name nobody else uses, led by the process that works under it. */
function unique(): string {
  return `${process.pid}-${randomBytes(6).toString('hex')}`;
}

/** A cache that cannot be written or read is the user's to mend. */
export function cacheTrouble(error: unknown, root: string): ImageError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const what = code === 'ENOSPC' ? 'is full' : `cannot be used (${code})`;
  return new ImageError(`the cache folder ${root} ${what}`, 'free space or rights there, or set XDG_CACHE_HOME', {
    cause: error,
  });
}

/** Removes what pulls that were killed have left in tmp/. */
async function clearLitter(root: string): Promise<void> {
  const tmp = join(root, 'tmp');
  for (const entry of await readdir(tmp).catch(() => [])) {
    const pid = Number(/^(\d+)-/.exec(entry)?.[1]);
    const age = Date.now() - (await stat(join(tmp, entry)).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs;
    if (!isAlive(pid) && age > litterAgeMs) await rm(join(tmp, entry), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Runs `work` with a fresh folder under tmp/ and removes it afterwards, whatever happened. */
export async function withWorkDir<T>(root: string, work: (directory: string) => Promise<T>): Promise<T> {
  const directory = join(root, 'tmp', unique());
  try {
    await makeFolder(directory);
    await clearLitter(root);
  } catch (error) {
    throw cacheTrouble(error, root);
  }
  try {
    return await work(directory);
  } catch (error) {
    const { syscall } = error as NodeJS.ErrnoException;
    // A failing system call, other than the start of a program, is about the files of the cache.
    throw syscall !== undefined && !syscall.startsWith('spawn') ? cacheTrouble(error, root) : error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Puts an image into the cache: files are written and flushed in `directory` (on the same file system), then
 * appear under their name by one rename. Older versions are removed.
 */
export async function storeImage(
  manifest: Manifest,
  files: { readonly vmlinuz: Uint8Array; readonly 'initramfs.cpio': Uint8Array },
  directory: string,
  root: string = cacheDir(),
): Promise<void> {
  const { name } = manifest;
  const versions = join(root, 'images/.versions');
  const version = `${name}-${unique()}`;
  try {
    const staging = join(directory, version);
    await mkdir(staging);
    for (const file of fileNames) await writeFile(join(staging, file), files[file], { flush: true });
    await writeFile(join(staging, 'image.json'), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true });
    await mkdir(versions, { recursive: true });
    const old = await readlink(imagePath(name, root)).catch(() => undefined);
    await rename(staging, join(versions, version));
    await symlink(join('.versions', version), join(directory, 'link'));
    await rename(join(directory, 'link'), imagePath(name, root));
    if (old !== undefined) await rm(join(versions, basename(old)), { recursive: true, force: true });
  } catch (error) {
    throw cacheTrouble(error, root);
  }
}

/** Names in the cache, sorted. */
export async function cachedNames(root: string = cacheDir()): Promise<string[]> {
  const names: string[] = [];
  for (const name of await readdir(join(root, 'images')).catch(() => [])) {
    if (!name.startsWith('.') && (await lstat(imagePath(name, root))).isSymbolicLink()) names.push(name);
  }
  return names.sort();
}
