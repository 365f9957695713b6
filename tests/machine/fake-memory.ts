// Guest memory for loader tests: sparse pages behind the RAM slots of a memory map.

import type { GuestMemory } from '../../src/hv/contract.ts';
import type { MemoryMap } from '../../src/machine/memory-map.ts';

const PAGE = 4096;

/** RAM that allocates pages when they are written and throws `RangeError` outside the map's slots. */
export class FakeMemory implements GuestMemory {
  readonly size: number;
  readonly #map: MemoryMap;
  readonly #pages = new Map<number, Uint8Array>();

  constructor(map: MemoryMap) {
    this.#map = map;
    this.size = map.ramSize;
  }

  read(gpa: number, length: number): Uint8Array {
    this.#check(gpa, length);
    const out = new Uint8Array(length);
    this.#pieces(gpa, length, (page, offset, at, count) => {
      const from = this.#pages.get(page);
      if (from) out.set(from.subarray(offset, offset + count), at);
    });
    return out;
  }

  write(gpa: number, bytes: Uint8Array): void {
    this.#check(gpa, bytes.length);
    this.#pieces(gpa, bytes.length, (page, offset, at, count) => {
      this.#page(page).set(bytes.subarray(at, at + count), offset);
    });
  }

  fill(gpa: number, length: number, value: number): void {
    this.#check(gpa, length);
    this.#pieces(gpa, length, (page, offset, _at, count) => {
      this.#page(page).fill(value, offset, offset + count);
    });
  }

  u16(gpa: number): number {
    return this.#view(gpa, 2).getUint16(0, true);
  }

  u32(gpa: number): number {
    return this.#view(gpa, 4).getUint32(0, true);
  }

  u64(gpa: number): bigint {
    return this.#view(gpa, 8).getBigUint64(0, true);
  }

  /** The zero-terminated string at `gpa`, at most 4096 characters. */
  string(gpa: number): string {
    let text = '';
    for (let i = 0; i < 4096; i++) {
      const byte = this.read(gpa + i, 1)[0]!;
      if (byte === 0) break;
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #view(gpa: number, length: number): DataView {
    return new DataView(this.read(gpa, length).buffer);
  }

  #page(page: number): Uint8Array {
    let bytes = this.#pages.get(page);
    if (!bytes) {
      bytes = new Uint8Array(PAGE);
      this.#pages.set(page, bytes);
    }
    return bytes;
  }

  #check(gpa: number, length: number): void {
    const inside = this.#map.slots.some((s) => gpa >= s.gpa && gpa + length <= s.gpa + s.size);
    if (!inside) throw new RangeError(`gpa ${gpa.toString(16)}+${length} is not RAM`);
  }

  #pieces(gpa: number, length: number, visit: (page: number, offset: number, at: number, count: number) => void): void {
    for (let at = 0; at < length; ) {
      const offset = (gpa + at) % PAGE;
      const count = Math.min(PAGE - offset, length - at);
      visit(Math.floor((gpa + at) / PAGE), offset, at, count);
      at += count;
    }
  }
}
