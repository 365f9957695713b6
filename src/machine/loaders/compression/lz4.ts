/**
 * LZ4 legacy frames, as `lz4 -l` writes them for Linux kernels (lz4_Frame_format.md "Legacy frame"). Own code, because
 * no maintained package reads this frame in a browser.
 */
import { alignUp, viewOf } from '../../bytes.ts';
import { LoadError } from '../../errors.ts';
import { COPY_SLACK, makeDecodeBlock } from './lz4-block.ts';

const MAGIC = 0x184c2102;
const WASM_PAGE = 0x10000;

/**
 * Decompresses a legacy frame.
 * @param outputSize the exact size of the result in bytes
 * @throws LoadError when the data is damaged or the size is not met
 */
export function decompressLz4Legacy(input: Uint8Array, outputSize: number): Uint8Array {
  const view = viewOf(input);
  // One memory: room for any block, of which only as much is used as the largest needs, and the output behind it.
  const output = alignUp(input.length + COPY_SLACK, WASM_PAGE);
  const limit = output + outputSize;
  const pages = alignUp(limit + COPY_SLACK, WASM_PAGE) / WASM_PAGE;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const bytes = new Uint8Array(memory.buffer);
  const decodeBlock = makeDecodeBlock(memory, pages);
  let filled = output;
  for (const { from, to } of blocks(view)) {
    if (filled === limit) break;
    bytes.set(input.subarray(from, to));
    filled = decodeBlock(0, to - from, filled, limit);
    if (filled === 0) throw damaged();
  }
  if (filled !== limit) throw damaged();
  return bytes.subarray(output, limit);
}

/** The blocks of a frame: what stands between a size and the next. @throws LoadError when one has no bytes or too few */
function* blocks(view: DataView): Generator<{ from: number; to: number }> {
  for (let at = 0; at + 4 <= view.byteLength; ) {
    const word = view.getUint32(at, true);
    at += 4;
    if (word === MAGIC) continue;
    if (word === 0 || word > view.byteLength - at) throw damaged();
    yield { from: at, to: at + word };
    at += word;
  }
}

function damaged(): LoadError {
  return new LoadError('corrupt', 'the compressed kernel is damaged (LZ4)', 'copy or download it again');
}
