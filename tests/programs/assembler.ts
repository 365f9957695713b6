// Bytes with labels: where the pieces of a random program are put. Positions are linear addresses below 2^32; code
// lies in groups of pages, and whoever writes behind the end of a group has asked for too much.

/** Pages that follow each other in linear memory. */
export interface CodeGroup {
  readonly at: number;
  readonly bytes: number;
}

export class Label {
  /** Linear address, once known. */
  at: number | undefined;
}

interface Fixup {
  readonly at: number;
  readonly size: 1 | 4 | 8;
  readonly label: Label;
  /** Linear address from which the value counts: the next instruction for branches, the base of CS for pointers. */
  readonly from: number;
}

/** Thrown when the groups are full. */
export class CodeFull extends Error {}

export class Assembler {
  /** Linear address of the next byte. */
  at: number;
  private readonly groups: readonly CodeGroup[];
  private readonly image = new Map<number, number>();
  private fixups: Fixup[] = [];
  private group = 0;

  constructor(groups: readonly CodeGroup[], start: number) {
    this.groups = groups;
    this.at = start;
  }

  private get end(): number {
    const g = this.groups[this.group]!;
    return g.at + g.bytes;
  }
  /** Bytes left in the current group. */
  get room(): number {
    return this.end - this.at;
  }
  /** All bytes written, by linear address. */
  get written(): ReadonlyMap<number, number> {
    return this.image;
  }

  bytes(...list: readonly number[]): void {
    if (this.at + list.length > this.end) throw new CodeFull();
    for (const b of list) this.image.set(this.at++, b & 0xff);
  }
  raw(bytes: Uint8Array): void {
    this.bytes(...bytes);
  }
  u32(v: number): void {
    this.bytes(v, v >>> 8, v >>> 16, v >>> 24);
  }
  u64(v: bigint): void {
    for (let i = 0n; i < 64n; i += 8n) this.bytes(Number((v >> i) & 0xffn));
  }

  /** Takes over what another assembler wrote. */
  merge(other: Assembler): void {
    for (const [at, b] of other.image) this.image.set(at, b);
  }

  /** Puts a label here, or makes one. */
  here(label = new Label()): Label {
    label.at = this.at;
    return label;
  }
  /** The place of a signed distance to `label` from behind it; `behind` more bytes of the instruction follow. */
  rel(label: Label, size: 1 | 4, behind = 0): void {
    this.fixups.push({ at: this.at, size, label, from: this.at + size + behind });
    this.bytes(...new Array<number>(size).fill(0));
  }
  /** The place of a label's offset from `base`. */
  pointer(label: Label, size: 4 | 8, base: number): void {
    this.fixups.push({ at: this.at, size, label, from: base });
    this.bytes(...new Array<number>(size).fill(0));
  }

  /** Goes on at a place further on, in the same group or a later one; false when there is none. */
  moveTo(place: number): boolean {
    for (let g = this.group; g < this.groups.length; g++) {
      const { at, bytes } = this.groups[g]!;
      if (place < at || place >= at + bytes) continue;
      if (g === this.group && place < this.at) return false;
      this.group = g;
      this.at = place;
      return true;
    }
    return false;
  }
  /** The start of the next group, if there is one. */
  get nextGroup(): number | undefined {
    return this.groups[this.group + 1]?.at;
  }

  /** Writes all distances and pointers. Labels that were never put anywhere lead to `otherwise`. */
  resolve(otherwise: Label): void {
    for (const { at, size, label, from } of this.fixups) {
      // Where the code became full before a short branch's target, `otherwise` may be too far: it leads on.
      const value = (label.at ?? (size === 1 ? from : otherwise.at!)) - from;
      if (size === 1 && (value < -128 || value > 127)) throw new RangeError(`a branch over ${value} bytes`);
      const wide = BigInt.asUintN(64, BigInt(value));
      for (let i = 0; i < size; i++) this.image.set(at + i, Number((wide >> BigInt(8 * i)) & 0xffn));
    }
    this.fixups = [];
  }
}
