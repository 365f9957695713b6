// Kernel images made for tests: ELF files, bzImages and multiboot files with just the fields a loader reads.

import { ByteWriter } from '../../src/machine/bytes.ts';

/** One program header of `elfImage`; `data` is put into the file. */
export interface TestSegment {
  type?: number;
  virtual?: number;
  physical: number;
  data: Uint8Array;
  memorySize?: number;
}

/** An x86 ELF executable. Segment data starts at file offset 1024. */
export function elfImage(bits: 32 | 64, entry: number, segments: readonly TestSegment[]): Uint8Array {
  const wide = bits === 64;
  const w = new ByteWriter().bytes([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]).padTo(16);
  w.u16(2)
    .u16(wide ? 62 : 3)
    .u32(1);
  const word = (v: number): void => void (wide ? w.u64(v) : w.u32(v));
  word(entry);
  word(wide ? 64 : 52);
  word(0);
  w.u32(0)
    .u16(wide ? 64 : 52)
    .u16(wide ? 56 : 32)
    .u16(segments.length)
    .u16(0)
    .u16(0)
    .u16(0);
  let offset = 1024;
  for (const s of segments) {
    w.u32(s.type ?? 1);
    if (wide) w.u32(7);
    word(offset);
    word(s.virtual ?? s.physical);
    word(s.physical);
    word(s.data.length);
    word(s.memorySize ?? s.data.length);
    if (!wide) w.u32(7);
    word(4);
    offset += s.data.length;
  }
  w.padTo(1024);
  for (const s of segments) w.bytes(s.data);
  return w.finish();
}

/** An ELF note with its padding. */
export function elfNote(owner: string, type: number, descriptor: Uint8Array): Uint8Array {
  const w = new ByteWriter()
    .u32(owner.length + 1)
    .u32(descriptor.length)
    .u32(type)
    .ascii(owner)
    .u8(0);
  w.padTo(Math.ceil(w.length / 4) * 4).bytes(descriptor);
  return w.padTo(Math.ceil(w.length / 4) * 4).finish();
}

/** Fields of a bzImage that tests vary. */
export interface BzImageOptions {
  version?: number;
  loadFlags?: number;
  is64Bit?: boolean;
  relocatable?: boolean;
  preferredAddress?: number;
  initSize?: number;
  initrdMax?: number;
  commandLineMax?: number;
  payload?: Uint8Array;
}

/** Where the payload of `bzImage` begins in the protected-mode part. */
export const PAYLOAD_OFFSET = 0x300;
/** Bytes before the protected-mode part of `bzImage`. */
export const SETUP_SIZE = 1024;

/** A bzImage of one setup sector whose protected-mode part is the pattern `i & FFh` and then the payload. */
export function bzImage(options: BzImageOptions = {}): Uint8Array {
  const payload = options.payload ?? Uint8Array.of(0);
  const kernel = new Uint8Array(Math.ceil((PAYLOAD_OFFSET + payload.length) / 16) * 16);
  for (let i = 0; i < PAYLOAD_OFFSET; i++) kernel[i] = i & 0xff;
  kernel.set(payload, PAYLOAD_OFFSET);
  const image = new Uint8Array(SETUP_SIZE + kernel.length);
  image.set(kernel, SETUP_SIZE);
  const v = new DataView(image.buffer);
  v.setUint8(0x1f1, 1);
  v.setUint32(0x1f4, kernel.length / 16, true);
  v.setUint16(0x1fe, 0xaa55, true);
  v.setUint16(0x200, 0x66eb, true);
  v.setUint32(0x202, 0x53726448, true);
  v.setUint16(0x206, options.version ?? 0x20f, true);
  v.setUint8(0x211, options.loadFlags ?? 1);
  v.setUint32(0x22c, options.initrdMax ?? 0x7fffffff, true);
  v.setUint32(0x230, 0x200000, true);
  v.setUint8(0x234, (options.relocatable ?? true) ? 1 : 0);
  v.setUint16(0x236, (options.is64Bit ?? true) ? 1 : 0, true);
  v.setUint32(0x238, options.commandLineMax ?? 2047, true);
  v.setUint32(0x248, PAYLOAD_OFFSET, true);
  v.setUint32(0x24c, payload.length, true);
  v.setBigUint64(0x258, BigInt(options.preferredAddress ?? 0x1000000), true);
  v.setUint32(0x260, options.initSize ?? 0x800000, true);
  return image;
}

/** Payload as the kernel's build makes it: compressed data followed by the unpacked size. */
export function withSize(compressed: Uint8Array, size: number): Uint8Array {
  return new ByteWriter().bytes(compressed).u32(size).finish();
}
