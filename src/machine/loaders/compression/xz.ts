/**
 * The .xz container (The .xz File Format 1.1.0), so far as Linux kernels use it: blocks of LZMA2 with or without
 * the x86 filter. LZMA2 is a package's work, and that package knows no filters. So each block is handed to it as
 * a stream of its own without filter and check, and both are dealt with here.
 */
import { alignUp, ByteWriter, viewOf } from '../../bytes.ts';
import { LoadError } from '../../errors.ts';
import { crc32 } from './crc32.ts';
import { undoX86Filter } from './x86-filter.ts';

const HEADER_MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
const FOOTER_MAGIC = [0x59, 0x5a];
const STREAM_HEADER_SIZE = 12;
const STREAM_FOOTER_SIZE = 12;
const CHECK_NONE = 0;
const CHECK_CRC32 = 1;
const CRC32_SIZE = 4;
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;
/** Block flags: [1:0] filters - 1, [5:2] zero, [6] compressed size follows, [7] uncompressed size follows. */
const BLOCK_FILTERS = 0x03;
const BLOCK_RESERVED = 0x3c;
const BLOCK_HAS_COMPRESSED_SIZE = 0x40;
const BLOCK_HAS_UNCOMPRESSED_SIZE = 0x80;
const MAX_BLOCKS = 4096;

/** One block of the input. */
interface Block {
  /** LZMA2 data without padding. */
  readonly data: Uint8Array;
  readonly dictionary: number;
  readonly filtered: boolean;
  readonly size: number;
  /** CRC-32 of the uncompressed data, when the stream has checks. */
  readonly crc: number | undefined;
}

/** What the index says of a block. */
interface IndexRecord {
  readonly unpadded: number;
  readonly size: number;
}

/**
 * Decompresses one .xz stream and verifies its checks.
 * @param outputSize the exact size of the result in bytes
 * @throws LoadError `unsupported` for other filters or checks, `corrupt` for damaged data
 */
export async function decompressXz(input: Uint8Array, outputSize: number): Promise<Uint8Array> {
  const blocks = readBlocks(input);
  if (blocks.reduce((sum, block) => sum + block.size, 0) !== outputSize) throw damaged();
  const output = new Uint8Array(outputSize);
  let filled = 0;
  for (const block of blocks) {
    const part = output.subarray(filled, filled + block.size);
    await decompressBlock(block, part);
    if (block.filtered) undoX86Filter(part);
    if (block.crc !== undefined && crc32(part) !== block.crc) throw damaged();
    filled += block.size;
  }
  return output;
}

async function decompressBlock(block: Block, output: Uint8Array): Promise<void> {
  const { default: xz } = await import('xz-decompress');
  const stream = new xz.XzReadableStream(new Blob([plainStream(block)]).stream());
  let filled = 0;
  try {
    for (const reader = stream.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (value.length > output.length - filled) throw damaged();
      output.set(value, filled);
      filled += value.length;
    }
  } catch {
    throw damaged();
  }
  if (filled !== output.length) throw damaged();
}

/** A stream of one block with LZMA2 as its only filter and no check. */
function plainStream(block: Block): Uint8Array<ArrayBuffer> {
  const flags = [0, CHECK_NONE];
  const header = withCrc([2, 0, FILTER_LZMA2, 1, block.dictionary, 0, 0, 0]);
  const index = new ByteWriter().u8(0).u8(1);
  writeVli(index, header.length + block.data.length);
  writeVli(index, block.size);
  const indexBytes = withCrc(index.padTo(alignUp(index.length, 4)).finish());
  const backwardSize = indexBytes.length / 4 - 1;
  const footer = new ByteWriter().u32(backwardSize).bytes(flags).finish();
  const w = new ByteWriter().bytes(HEADER_MAGIC).bytes(withCrc(flags)).bytes(header).bytes(block.data);
  w.padTo(alignUp(w.length, 4)).bytes(indexBytes);
  return w.u32(crc32(footer)).bytes(footer).bytes(FOOTER_MAGIC).finish();
}

function withCrc(bytes: ArrayLike<number>): Uint8Array {
  const body = Uint8Array.from(bytes);
  return new ByteWriter().bytes(body).u32(crc32(body)).finish();
}

function readBlocks(input: Uint8Array): Block[] {
  const end = input.length - STREAM_FOOTER_SIZE;
  if (end < STREAM_HEADER_SIZE || HEADER_MAGIC.some((byte, i) => input[i] !== byte)) throw damaged();
  if (FOOTER_MAGIC.some((byte, i) => input[end + 10 + i] !== byte)) throw damaged();
  const check = input[7]! & 0xf;
  if (check !== CHECK_NONE && check !== CHECK_CRC32) throw unsupported(`integrity check ${check}`);
  const indexStart = end - (viewOf(input).getUint32(end + 4, true) + 1) * 4;
  if (indexStart < STREAM_HEADER_SIZE) throw damaged();
  const blocks: Block[] = [];
  let at = STREAM_HEADER_SIZE;
  for (const record of readIndex(input.subarray(indexStart, end))) {
    const blockEnd = at + alignUp(record.unpadded, 4);
    if (blockEnd > indexStart) throw damaged();
    blocks.push(readBlock(input.subarray(at, blockEnd), record, check));
    at = blockEnd;
  }
  return blocks;
}

/** The index: 00h, number of records, per record the unpadded size of a block and its uncompressed size. */
function readIndex(bytes: Uint8Array): IndexRecord[] {
  const reader = new VliReader(bytes, 1);
  const count = reader.next();
  if (bytes[0] !== 0 || count > MAX_BLOCKS) throw damaged();
  return Array.from({ length: count }, () => ({ unpadded: reader.next(), size: reader.next() }));
}

/**
 * A block: header size / 4 - 1, flags, sizes if flagged, filters, padding, CRC; then data, padded to 4; then the
 * check. The unpadded size counts all but the padding of the data.
 */
function readBlock(bytes: Uint8Array, record: IndexRecord, check: number): Block {
  const headerSize = ((bytes[0] ?? 0) + 1) * 4;
  const checkSize = check === CHECK_CRC32 ? CRC32_SIZE : 0;
  if (bytes[0] === 0 || headerSize + checkSize > record.unpadded) throw damaged();
  const view = viewOf(bytes);
  const headerCrc = view.getUint32(headerSize - CRC32_SIZE, true);
  if (crc32(bytes.subarray(0, headerSize - CRC32_SIZE)) !== headerCrc) throw damaged();
  return {
    data: bytes.subarray(headerSize, record.unpadded - checkSize),
    size: record.size,
    crc: checkSize > 0 ? view.getUint32(bytes.length - checkSize, true) : undefined,
    ...readFilters(bytes.subarray(0, headerSize - CRC32_SIZE)),
  };
}

function readFilters(header: Uint8Array): { filtered: boolean; dictionary: number } {
  const flags = header[1] ?? 0;
  if (flags & BLOCK_RESERVED) throw unsupported('block flags');
  const reader = new VliReader(header, 2);
  if (flags & BLOCK_HAS_COMPRESSED_SIZE) reader.next();
  if (flags & BLOCK_HAS_UNCOMPRESSED_SIZE) reader.next();
  let filtered = false;
  for (let i = 0; i < (flags & BLOCK_FILTERS); i++) {
    const id = reader.next();
    // A second x86 filter or one that starts at another position is legal and never seen.
    if (id !== FILTER_X86 || filtered || reader.next() !== 0) throw unsupported(`filter ${id}`);
    filtered = true;
  }
  if (reader.next() !== FILTER_LZMA2 || reader.next() !== 1) throw unsupported('compression');
  return { filtered, dictionary: reader.next() };
}

/** Variable-length integers: seven bits a byte, low bits first, bit 7 set when more follow. */
class VliReader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  /** The next integer, up to 2^49; larger ones are refused, for no kernel needs them. */
  next(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 42; scale *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw damaged();
      value += (byte & 0x7f) * scale;
      if ((byte & 0x80) === 0) return value;
    }
    throw damaged();
  }
}

function writeVli(w: ByteWriter, value: number): void {
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) w.u8((rest % 128) | 0x80);
  w.u8(rest);
}

function unsupported(what: string): LoadError {
  return new LoadError('unsupported', `the compressed kernel uses an unknown xz ${what}`, 'boot the bzImage itself');
}

function damaged(): LoadError {
  return new LoadError('corrupt', 'the compressed kernel is damaged (xz)', 'copy or download it again');
}
