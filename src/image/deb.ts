// Takes single files out of a Debian package (deb(5)): an ar archive whose member data.tar.* holds the files.

import { once } from 'node:events';
import { Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { Parser, type ReadEntry } from 'tar';
import { type ArMember, readAr } from './ar.ts';
import { ImageError } from './errors.ts';

/** A file out of a package. */
export interface PackagedFile {
  /** Path in the package without a leading `./` or `/`. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Upper bound of one file taken out: above every kernel, below what would hurt the host. */
const maxFileBytes = 512 * 2 ** 20;

const chunkBytes = 256 * 1024;

/** The bytes in pieces, so that decompression yields to the event loop between them. */
async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

async function* xzChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const { default: xz } = await import('xz-decompress');
  yield* new xz.XzReadableStream(ReadableStream.from(chunks(bytes)) as globalThis.ReadableStream<Uint8Array>);
}

/** Decompresses a `data.tar.*` member by its name's suffix. */
function decompress(member: ArMember): AsyncIterable<Uint8Array> {
  switch (member.name) {
    case 'data.tar':
      return chunks(member.bytes);
    case 'data.tar.xz':
      return xzChunks(member.bytes);
    case 'data.tar.gz':
      return Readable.from(chunks(member.bytes)).pipe(createGunzip());
    case 'data.tar.zst':
      return Readable.from(chunks(member.bytes)).pipe(createZstdDecompress());
    default:
      throw new ImageError(
        `the package compresses its files in an unknown way (${member.name})`,
        'report this package',
      );
  }
}

function normalise(path: string): string {
  return path.replace(/^(\.?\/)+/, '');
}

async function readEntry(entry: ReadEntry): Promise<Uint8Array> {
  if (entry.size > maxFileBytes) {
    throw new ImageError(`${entry.path} in the package is larger than any kernel`, 'check the package source');
  }
  return new Uint8Array(await entry.concat());
}

/**
 * Reads a tar stream; ends once `enough`, so that the rest is not decompressed.
 * @param take given each entry; undefined for one that is not wanted, else a promise that reads it
 */
async function readTar(
  tar: AsyncIterable<Uint8Array>,
  take: (entry: ReadEntry, path: string) => Promise<void> | undefined,
  enough: () => boolean,
): Promise<void> {
  const reads: Promise<void>[] = [];
  let failure: unknown;
  const failed = (error: unknown): void => {
    failure ??= error;
  };
  const parser = new Parser({ strict: true });
  parser.on('error', failed);
  parser.on('entry', (entry: ReadEntry) => {
    const read = take(entry, normalise(entry.path));
    if (read === undefined) entry.resume();
    else reads.push(read.catch(failed));
  });
  for await (const chunk of tar) {
    if (!parser.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))) await once(parser, 'drain');
    if (failure !== undefined) throw failure;
    if (enough()) return;
  }
  parser.end();
  await Promise.all(reads);
  if (failure !== undefined) throw failure;
}

const isRegular = (entry: ReadEntry): boolean => entry.type === 'File' || entry.type === 'OldFile';

/** Finds the wanted files in a tar stream. */
async function takeFromTar(
  tar: AsyncIterable<Uint8Array>,
  wanted: readonly ((path: string) => boolean)[],
): Promise<(PackagedFile | undefined)[]> {
  const found: (PackagedFile | undefined)[] = wanted.map(() => undefined);
  const claimed = new Set<number>();
  const take = (entry: ReadEntry, path: string): Promise<void> | undefined => {
    const index = isRegular(entry) ? wanted.findIndex((accepts, i) => !claimed.has(i) && accepts(path)) : -1;
    if (index < 0) return undefined;
    claimed.add(index);
    return readEntry(entry).then((bytes) => {
      found[index] = { path, bytes };
    });
  };
  await readTar(tar, take, () => found.every((file) => file !== undefined));
  return found;
}

/** Decompresses the files of a package. @throws ImageError when the package is damaged */
async function withData<T>(deb: Uint8Array, read: (tar: AsyncIterable<Uint8Array>) => Promise<T>): Promise<T> {
  const data = readAr(deb).find((member) => member.name.startsWith('data.tar'));
  if (data === undefined) throw new ImageError('the package holds no data.tar', 'pull the image again');
  try {
    return await read(decompress(data));
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new ImageError(`the package cannot be unpacked (${why})`, 'pull the image again', { cause: error });
  }
}

/** What is in a package: a file, or a link with what it says. */
export type PackagedEntry =
  | (PackagedFile & { readonly kind: 'file'; readonly mode: number })
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

/**
 * All files and symbolic links of a package whose path (without leading `./`) is accepted. A hard link becomes a
 * symbolic one; folders are those that the paths name.
 * @throws ImageError when the package is damaged
 */
export async function unpackDeb(deb: Uint8Array, accepts: (path: string) => boolean): Promise<PackagedEntry[]> {
  const entries: PackagedEntry[] = [];
  const take = (entry: ReadEntry, path: string): Promise<void> | undefined => {
    if (!accepts(path)) return undefined;
    if (entry.type === 'SymbolicLink' || entry.type === 'Link') {
      const target = entry.linkpath ?? '';
      entries.push({ kind: 'symlink', path, target: entry.type === 'Link' ? `/${normalise(target)}` : target });
    }
    if (!isRegular(entry)) return undefined;
    return readEntry(entry).then((bytes) => {
      entries.push({ kind: 'file', path, bytes, mode: (entry.mode ?? 0o644) & 0o777 });
    });
  };
  await withData(deb, (tar) => readTar(tar, take, () => false));
  return entries;
}

/**
 * Takes from a package the first regular file that each predicate accepts.
 * @param deb the whole package
 * @param wanted predicates on the path (without leading `./`), one for each file
 * @returns the files in the order of `wanted`
 * @throws ImageError when the package is damaged or lacks a wanted file
 */
export async function extractFromDeb(
  deb: Uint8Array,
  wanted: readonly ((path: string) => boolean)[],
): Promise<PackagedFile[]> {
  const found = await withData(deb, (tar) => takeFromTar(tar, wanted));
  return found.map((file) => {
    if (file === undefined) {
      throw new ImageError('the package lacks a file that belongs in it', 'pull the image again');
    }
    return file;
  });
}
