/**
 * Wide accesses to devices with byte registers: an ISA bus carries them out as byte accesses at ascending
 * addresses, and little-endian bytes make up the value.
 */
import type { AccessWidth } from './device.ts';

/** Reads `width` bytes from consecutive byte registers, lowest address first. */
export function readBytes(address: number, width: AccessWidth, read: (address: number) => number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value |= (read(address + i) & 0xff) << (8 * i);
  return value >>> 0;
}

/** Writes `value` to `width` consecutive byte registers, lowest address first. */
export function writeBytes(
  address: number,
  width: AccessWidth,
  value: number,
  write: (address: number, byte: number) => void,
): void {
  for (let i = 0; i < width; i++) write(address + i, (value >>> (8 * i)) & 0xff);
}

/** The part of a 32-bit register that an access of `width` bytes at byte `offset` of it reads. */
export function extractLanes(register: number, offset: number, width: AccessWidth): number {
  return ((register >>> (8 * (offset & 3))) & widthMask(width)) >>> 0;
}

/** `register` with the bytes of a write of `width` bytes at byte `offset` put in. Bytes beyond it are dropped. */
export function insertLanes(register: number, offset: number, width: AccessWidth, value: number): number {
  const shift = 8 * (offset & 3);
  const mask = (widthMask(width) << shift) >>> 0;
  return ((register & ~mask) | ((value << shift) & mask)) >>> 0;
}

/** All ones in `width` bytes: what an unclaimed read returns. */
export function widthMask(width: AccessWidth): number {
  return width === 4 ? 0xffffffff : width === 2 ? 0xffff : 0xff;
}
