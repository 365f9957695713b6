// Page tables of a random program's machine: 4 levels in long mode, 2 in legacy protected mode; two roots, which map
// the same places to the same or to other frames. Read and edited by the host and by the program itself.
import type { Frames } from './machine.ts';
import { PAGE } from './places.ts';

/** Page table entry bits (SDM vol.3 table 4-20). */
export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const G = 0x100n;
export const NX = 1n << 63n;
const FRAME = 0xf_ffff_f000n;
/** Accessed and dirty: what the walk sets in leaves. */
export const AD = 0x60n;

export class PageTables {
  readonly root: number;
  private readonly long: boolean;
  private readonly m: Frames;
  /** Leaf tables by the first linear address that they cover. */
  private readonly leaves = new Map<number, number>();

  constructor(m: Frames, long: boolean) {
    this.m = m;
    this.long = long;
    this.root = m.frames(1);
  }

  private get shifts(): readonly bigint[] {
    return this.long ? [39n, 30n, 21n] : [22n];
  }
  private get entrySize(): number {
    return this.long ? 8 : 4;
  }
  /** Bytes of linear memory under one leaf table. */
  private get leafSpan(): number {
    return this.long ? 2 << 20 : 4 << 20;
  }
  private get(at: number): bigint {
    const { view, ram } = this.m;
    return this.long ? view.getBigUint64(ram + at, true) : BigInt(view.getUint32(ram + at, true));
  }
  private put(at: number, v: bigint): void {
    const { view, ram } = this.m;
    if (this.long) view.setBigUint64(ram + at, v, true);
    else view.setUint32(ram + at, Number(v & 0xffff_ffffn), true);
  }
  private index(linear: bigint, shift: bigint): number {
    return Number((linear >> shift) & BigInt(PAGE / this.entrySize - 1)) * this.entrySize;
  }

  /** Guest-physical address of the leaf entry; 0 when there is no leaf table, unless `make`. */
  private entryAt(linear: bigint, make: boolean): number {
    let table = this.root;
    for (const shift of this.shifts) {
      const at = table + this.index(linear, shift);
      if (!(this.get(at) & P)) {
        if (!make) return 0;
        this.put(at, BigInt(this.m.frames(1)) | P | RW | US | 0x20n);
      }
      table = Number(this.get(at) & FRAME);
    }
    if (make && linear < 0x8000_0000n) this.leaves.set(Math.floor(Number(linear) / this.leafSpan), table);
    return table + this.index(linear, 12n);
  }

  /** The leaf entry that maps a linear address. */
  entry(linear: bigint): bigint {
    const at = this.entryAt(linear, false);
    return at === 0 ? 0n : this.get(at);
  }
  setEntry(linear: bigint, value: bigint): void {
    this.put(this.entryAt(linear, true), value);
  }
  map(linear: number | bigint, gpa: number, bits: bigint): void {
    this.setEntry(BigInt(linear), BigInt(gpa) | (this.long ? bits : bits & ~NX));
  }
  /** Guest-physical address of a byte, whatever the rights are; undefined where nothing is mapped. */
  translate(linear: bigint): number | undefined {
    const e = this.entry(linear);
    return e & P ? Number(e & FRAME) + Number(linear & 0xfffn) : undefined;
  }

  /** Maps the leaf tables of the lower half at `window`, for the supervisor. Tables in order of what they cover. */
  showTables(window: number): void {
    const list = [...this.leaves].sort(([a], [b]) => a - b);
    list.forEach(([, table], i) => {
      this.map(window + i * PAGE, table, P | RW | AD);
    });
  }
}
