/**
 * LZ4 legacy frames, as `lz4 -l` writes them for Linux kernels (lz4_Frame_format.md "Legacy frame",
 * lz4_Block_format.md). Own code, because no maintained package reads this frame in a browser.
 */
import { viewOf } from '../../bytes.ts';
import { LoadError } from '../../errors.ts';

const MAGIC = 0x184c2102;
const MIN_MATCH = 4;
/** A length nibble of 15 goes on in the next bytes. */
const LENGTH_CONTINUES = 15;
/** Shorter copies are quicker byte by byte than through a call. */
const SHORT_COPY = 32;

/**
 * Decompresses a legacy frame.
 * @param outputSize the exact size of the result in bytes
 * @throws LoadError when the data is damaged or the size is not met
 */
export function decompressLz4Legacy(input: Uint8Array, outputSize: number): Uint8Array {
  const view = viewOf(input);
  const output = new Uint8Array(outputSize);
  let at = 0;
  let filled = 0;
  while (at + 4 <= input.length && filled < outputSize) {
    const word = view.getUint32(at, true);
    at += 4;
    if (word === MAGIC) continue;
    if (word === 0 || word > input.length - at) throw damaged();
    filled = decodeBlock(input, at, at + word, output, filled);
    at += word;
  }
  if (filled !== outputSize) throw damaged();
  return output;
}

/**
 * Decodes one block into `output` from `start` on; matches may reach back to `start` only. Returns the new end.
 *
 *     sequence: token ([7:4] literals, [3:0] match length - 4), literals, offset (2), more match length
 */
function decodeBlock(input: Uint8Array, from: number, end: number, output: Uint8Array, start: number): number {
  let at = from;
  let out = start;
  while (at < end) {
    const token = input[at++]!;
    let literals = token >> 4;
    if (literals === LENGTH_CONTINUES) {
      for (let more = 255; more === 255; literals += more) {
        if (at >= end) throw damaged();
        more = input[at++]!;
      }
    }
    if (literals > end - at || literals > output.length - out) throw damaged();
    copyLiterals(input, at, literals, output, out);
    at += literals;
    out += literals;
    if (at === end) return out;
    if (end - at < 2) throw damaged();
    const offset = input[at]! | (input[at + 1]! << 8);
    at += 2;
    let length = (token & 0xf) + MIN_MATCH;
    if (length === LENGTH_CONTINUES + MIN_MATCH) {
      for (let more = 255; more === 255; length += more) {
        if (at >= end) throw damaged();
        more = input[at++]!;
      }
    }
    if (offset === 0 || offset > out - start || length > output.length - out) throw damaged();
    copyMatch(output, out, offset, length);
    out += length;
  }
  return out;
}

function copyLiterals(input: Uint8Array, at: number, count: number, output: Uint8Array, out: number): void {
  if (count > SHORT_COPY) {
    output.set(input.subarray(at, at + count), out);
    return;
  }
  for (let i = 0; i < count; i++) output[out + i] = input[at + i]!;
}

/** Copies `length` bytes from `offset` back; where source and target overlap, the copied bytes repeat. */
function copyMatch(output: Uint8Array, out: number, offset: number, length: number): void {
  if (length > SHORT_COPY && offset >= length) {
    output.copyWithin(out, out - offset, out - offset + length);
    return;
  }
  for (let i = 0; i < length; i++) output[out + i] = output[out + i - offset]!;
}

function damaged(): LoadError {
  return new LoadError('corrupt', 'the compressed kernel is damaged (LZ4)', 'copy or download it again');
}
