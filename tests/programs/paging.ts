// Page tables of a random program's machine: 4 levels in long mode, 2 levels or PAE in legacy protected mode; two
// roots, which map the same places to the same or to other frames. Read and edited by the host and by the program
// itself.
import type { Frames } from './machine.ts';
import { LARGE, PAGE } from './places.ts';

/** Page table entry bits (SDM vol.3 table 4-20). */
export const P = 1n;
export const RW = 2n;
export const US = 4n;
const PS = 0x80n;
export const G = 0x100n;
export const NX = 1n << 63n;
const FRAME = 0xf_ffff_f000n;
/** Accessed and dirty: what the walk sets in leaves. */
export const AD = 0x60n;
const ACCESSED = 0x20n;

export type PagingKind = 'long' | 'pae' | 'two-level';
/** Shifts of the levels above the leaf tables. */
const SHIFTS: Readonly<Record<PagingKind, readonly bigint[]>> = {
  long: [39n, 30n, 21n],
  pae: [30n, 21n],
  'two-level': [22n],
};
/** Bytes of an entry, and of linear memory under one leaf table. */
export const entrySizeOf = (kind: PagingKind): 4 | 8 => (kind === 'two-level' ? 4 : 8);
export const leafSpanOf = (kind: PagingKind): number => (kind === 'two-level' ? 4 << 20 : 2 << 20);

/** Page of the supervisor's window that shows the directory with the large page. */
const DIRECTORY_SLOT = 63;

/** Where the entry of the large page is, counted from the window's start. */
export function largeEntryInWindow(kind: PagingKind): number {
  const entries = PAGE / entrySizeOf(kind);
  return DIRECTORY_SLOT * PAGE + (Math.floor(LARGE / leafSpanOf(kind)) % entries) * entrySizeOf(kind);
}

export class PageTables {
  readonly root: number;
  private readonly kind: PagingKind;
  private readonly m: Frames;
  /** Leaf tables by the first linear address that they cover. */
  private readonly leaves = new Map<number, number>();

  constructor(m: Frames, kind: PagingKind) {
    this.m = m;
    this.kind = kind;
    this.root = m.frames(1);
  }

  private get(at: number): bigint {
    const { view, ram } = this.m;
    if (entrySizeOf(this.kind) === 8) return view.getBigUint64(ram + at, true);
    return BigInt(view.getUint32(ram + at, true));
  }
  private put(at: number, v: bigint): void {
    const { view, ram } = this.m;
    if (entrySizeOf(this.kind) === 8) view.setBigUint64(ram + at, v, true);
    else view.setUint32(ram + at, Number(v & 0xffff_ffffn), true);
  }
  private index(linear: bigint, shift: bigint): number {
    const size = entrySizeOf(this.kind);
    return Number((linear >> shift) & BigInt(PAGE / size - 1)) * size;
  }
  /** Guest-physical address of the directory entry over a linear address; tables above it are made. */
  private directoryEntry(linear: bigint): number {
    const shifts = SHIFTS[this.kind];
    let table = this.root;
    for (const shift of shifts.slice(0, -1)) {
      const at = table + this.index(linear, shift);
      // A PDPTE of PAE paging has no rights: its bits are reserved (SDM vol.3 table 4-8).
      const bits = this.kind === 'pae' ? P : P | RW | US | 0x20n;
      if (!(this.get(at) & P)) this.put(at, BigInt(this.m.frames(1)) | bits);
      table = Number(this.get(at) & FRAME);
    }
    return table + this.index(linear, shifts.at(-1)!);
  }
  private isLarge(linear: bigint): boolean {
    return linear >= BigInt(LARGE) && linear < BigInt(LARGE + leafSpanOf(this.kind)) && this.hasLarge;
  }
  private hasLarge = false;

  /** Guest-physical address of the leaf entry; 0 when there is no leaf table, unless `make`. */
  private entryAt(linear: bigint, make: boolean): number {
    let table = this.root;
    if (this.isLarge(linear)) return this.directoryEntry(linear);
    for (const shift of SHIFTS[this.kind]) {
      const at = table + this.index(linear, shift);
      if (!(this.get(at) & P)) {
        if (!make) return 0;
        this.put(this.directoryEntry(linear), BigInt(this.m.frames(1)) | P | RW | US | 0x20n);
      }
      table = Number(this.get(at) & FRAME);
    }
    if (make) this.note(linear, table);
    return table + this.index(linear, 12n);
  }
  private note(linear: bigint, table: number): void {
    const span = leafSpanOf(this.kind);
    if (linear < 0x8000_0000n) this.leaves.set(Math.floor(Number(linear) / span), table);
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
    const large = this.isLarge(BigInt(linear)) ? PS : 0n;
    this.setEntry(BigInt(linear), BigInt(gpa) | large | (entrySizeOf(this.kind) === 8 ? bits : bits & ~NX));
  }
  /** Maps guest-physical memory from 0 on by one large page at LARGE. */
  mapLarge(bits: bigint): void {
    this.hasLarge = true;
    this.map(LARGE, 0, bits);
  }
  /** Guest-physical address of a byte, whatever the rights are; undefined where nothing is mapped. */
  translate(linear: bigint): number | undefined {
    const e = this.entry(linear);
    if (!(e & P)) return undefined;
    if (this.isLarge(linear)) return Number(linear) - LARGE;
    return Number(e & FRAME) + Number(linear & 0xfffn);
  }
  /** Takes the leaf table that another root has over a linear address. */
  share(other: PageTables, linear: bigint): void {
    const table = other.entryAt(linear, true) & ~(PAGE - 1);
    this.put(this.directoryEntry(linear), BigInt(table) | P | RW | US | 0x20n);
    this.note(linear, table);
  }
  /**
   * Guest-physical addresses of the leaf entries that have been accessed in another machine's tables, which lie where
   * these do, and are the same but for that.
   */
  accessedIn(other: PageTables): number[] {
    const size = entrySizeOf(this.kind);
    return [...this.leaves.values()].flatMap((table) =>
      Array.from({ length: PAGE / size }, (_, i) => table + i * size).filter((at) => {
        const [mine, theirs] = [this.get(at), other.get(at)];
        return mine & P && mine !== theirs && (mine | ACCESSED) === theirs;
      }),
    );
  }
  setAccessed(at: number, accessed: boolean): void {
    this.put(at, accessed ? this.get(at) | ACCESSED : this.get(at) & ~ACCESSED);
  }
  /** The four PDPTEs of PAE paging, as a load of CR3 takes them. */
  get pdptes(): bigint[] {
    return [0, 1, 2, 3].map((i) => (this.kind === 'pae' ? this.get(this.root + i * 8) : 0n));
  }

  /**
   * Maps the leaf tables of the lower half at `window`, for the supervisor, in order of what they cover; the directory
   * with the large page comes last.
   */
  showTables(window: number): void {
    const list = [...this.leaves].sort(([a], [b]) => a - b);
    list.forEach(([, table], i) => {
      this.map(window + i * PAGE, table, P | RW | AD);
    });
    if (!this.hasLarge) return;
    const directory = this.directoryEntry(BigInt(LARGE)) & ~(PAGE - 1);
    this.map(window + DIRECTORY_SLOT * PAGE, directory, P | RW | AD);
  }
}
