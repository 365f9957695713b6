/** Flat memory for the reference: pages that are there, writable or not, seen by a user program. */
import { EXC } from '../../isa/layout.ts';
import { GuestFault, type ReferenceMemory } from './memory.ts';

const PAGE_SHIFT = 12n;
/** Page-fault error code bits (SDM vol.3 4.7). */
const PF_PRESENT = 1n;
const PF_WRITE = 2n;
const PF_USER = 4n;

export interface FlatRegion {
  /** Linear address of the first byte, a multiple of 4096. */
  readonly start: bigint;
  /** Content; its length is a multiple of 4096. */
  readonly bytes: Uint8Array;
  readonly writable: boolean;
}

export class FlatMemory implements ReferenceMemory {
  private readonly regions: readonly FlatRegion[];

  constructor(regions: readonly FlatRegion[]) {
    this.regions = regions;
  }

  private find(address: bigint): FlatRegion | undefined {
    return this.regions.find((r) => address >= r.start && address < r.start + BigInt(r.bytes.length));
  }

  /** Raises the page fault of the lowest byte that may not be accessed. */
  private check(address: bigint, bytes: number, write: boolean): void {
    const last = address + BigInt(bytes) - 1n;
    for (let at = address; at <= last; at = ((at >> PAGE_SHIFT) + 1n) << PAGE_SHIFT) {
      const region = this.find(at);
      const error = PF_USER | (write ? PF_WRITE : 0n) | (region ? PF_PRESENT : 0n);
      if (!region || (write && !region.writable)) throw new GuestFault(EXC.PF, error, at);
    }
  }

  read(address: bigint, bytes: number): bigint {
    this.check(address, bytes, false);
    let v = 0n;
    for (let i = bytes - 1; i >= 0; i--) v = (v << 8n) | BigInt(this.byteAt(address + BigInt(i)));
    return v;
  }

  private byteAt(address: bigint): number {
    const region = this.find(address)!;
    return region.bytes[Number(address - region.start)]!;
  }

  write(address: bigint, bytes: number, value: bigint): void {
    this.check(address, bytes, true);
    for (let i = 0; i < bytes; i++) {
      const at = address + BigInt(i);
      const region = this.find(at)!;
      region.bytes[Number(at - region.start)] = Number((value >> BigInt(8 * i)) & 0xffn);
    }
  }

  probe(address: bigint, bytes: number): void {
    this.check(address, bytes, true);
  }
}
