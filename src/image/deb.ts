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

/** Finds the wanted files in a tar stream; ends once all are found, so the rest is not decompressed. */
async function takeFromTar(
  tar: AsyncIterable<Uint8Array>,
  wanted: readonly ((path: string) => boolean)[],
): Promise<(PackagedFile | undefined)[]> {
  const found: (PackagedFile | undefined)[] = wanted.map(() => undefined);
  const claimed = new Set<number>();
  const reads: Promise<void>[] = [];
  let failure: unknown;
  const parser = new Parser({ strict: true });
  parser.on('error', (error: unknown) => {
    failure ??= error;
  });
  parser.on('entry', (entry: ReadEntry) => {
    const path = normalise(entry.path);
    const isFile = entry.type === 'File' || entry.type === 'OldFile';
    const index = isFile ? wanted.findIndex((accepts, i) => !claimed.has(i) && accepts(path)) : -1;
    if (index < 0) {
      entry.resume();
      return;
    }
    claimed.add(index);
    const read = readEntry(entry).then(
      (bytes) => {
        found[index] = { path, bytes };
      },
      (error: unknown) => {
        failure ??= error;
      },
    );
    reads.push(read);
  });
  for await (const chunk of tar) {
    if (!parser.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))) await once(parser, 'drain');
    if (failure !== undefined) throw failure;
    if (found.every((file) => file !== undefined)) return found;
  }
  parser.end();
  await Promise.all(reads);
  if (failure !== undefined) throw failure;
  return found;
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
  const data = readAr(deb).find((member) => member.name.startsWith('data.tar'));
  if (data === undefined) throw new ImageError('the package holds no data.tar', 'pull the image again');
  let found: (PackagedFile | undefined)[];
  try {
    found = await takeFromTar(decompress(data), wanted);
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new ImageError(`the package cannot be unpacked (${why})`, 'pull the image again', { cause: error });
  }
  return found.map((file) => {
    if (file === undefined) {
      throw new ImageError('the package lacks a file that belongs in it', 'pull the image again');
    }
    return file;
  });
}
