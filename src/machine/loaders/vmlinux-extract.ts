/**
 * Takes the uncompressed kernel out of a bzImage on the host, which is many times faster than letting the guest
 * decompress it. The bzImage holds the compressed vmlinux and, for most formats, its size in the last four bytes.
 */
import { decompress as decompressZstd } from 'fzstd';
import { viewOf } from '../bytes.ts';
import { LoadError } from '../errors.ts';
import { describeSize, MIB } from '../memory-map.ts';
import { decompressLz4Legacy } from './compression/lz4.ts';
import { decompressXz } from './compression/xz.ts';
import { isElf } from './elf.ts';
import { parseSetupHeader } from './linux-header.ts';

/** No kernel is larger; a bound for hostile size fields. */
const MAX_KERNEL_SIZE = 512 * MIB;
const SIZE_FIELD = 4;

interface Format {
  readonly name: string;
  readonly magic: readonly number[];
  /** Undefined when the host cannot unpack it. `size` is the size the image states. */
  readonly unpack?: (data: Uint8Array, size: number) => Uint8Array | Promise<Uint8Array>;
  /** True when the stated size is part of the format and not appended to it. */
  readonly sizeWithin?: boolean;
}

const FORMATS: readonly Format[] = [
  { name: 'gzip', magic: [0x1f, 0x8b], unpack: gunzip, sizeWithin: true },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], unpack: decompressXz },
  { name: 'lz4', magic: [0x02, 0x21, 0x4c, 0x18], unpack: decompressLz4Legacy },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], unpack: unzstd },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68] },
  { name: 'lzma', magic: [0x5d, 0x00, 0x00] },
  { name: 'lzo', magic: [0x89, 0x4c, 0x5a, 0x4f] },
];

/**
 * The ELF kernel in a bzImage. What follows the ELF file, such as relocations, is kept.
 * @throws LoadError `unsupported` when the host has no decompressor for it or the image holds no payload (then
 *   boot the bzImage itself), `corrupt` when it is damaged, and as `parseSetupHeader`
 */
export async function extractVmlinux(bzImage: Uint8Array): Promise<Uint8Array> {
  const { payload } = parseSetupHeader(bzImage);
  const vmlinux = isElf(payload) ? payload : await unpack(payload);
  if (!isElf(vmlinux)) throw corrupt('unknown');
  return vmlinux;
}

async function unpack(payload: Uint8Array): Promise<Uint8Array> {
  const format = FORMATS.find((f) => f.magic.every((byte, i) => payload[i] === byte));
  if (!format?.unpack || payload.length < SIZE_FIELD) {
    throw new LoadError(
      'unsupported',
      `the host cannot unpack this kernel (${format?.name ?? 'unknown compression'})`,
      'boot the bzImage itself',
    );
  }
  const dataEnd = payload.length - SIZE_FIELD;
  const size = viewOf(payload).getUint32(dataEnd, true);
  if (size > MAX_KERNEL_SIZE) {
    throw new LoadError('corrupt', `the kernel claims to unpack to ${describeSize(size)}`, 'copy or download it again');
  }
  const unpacked = await format.unpack(format.sizeWithin ? payload : payload.subarray(0, dataEnd), size);
  if (unpacked.length !== size) throw corrupt(format.name);
  return unpacked;
}

async function gunzip(data: Uint8Array, size: number): Promise<Uint8Array> {
  const output = new Uint8Array(size);
  let filled = 0;
  try {
    const stream = new Blob([data.slice()]).stream().pipeThrough(new DecompressionStream('gzip'));
    for (const reader = stream.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (value.length > size - filled) throw corrupt('gzip');
      output.set(value, filled);
      filled += value.length;
    }
  } catch {
    throw corrupt('gzip');
  }
  return output.subarray(0, filled);
}

function unzstd(data: Uint8Array, size: number): Uint8Array {
  try {
    return decompressZstd(data, new Uint8Array(size));
  } catch {
    throw corrupt('zstd');
  }
}

function corrupt(format: string): LoadError {
  return new LoadError('corrupt', `the compressed kernel is damaged (${format})`, 'copy or download it again');
}
