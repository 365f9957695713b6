// Random page tables in every paging mode, and control bits to go with them.
import { CR0, CR4, EFER } from '../../src/isa/layout.ts';
import type { Machine } from './machine.ts';
import type { PagingState, Tables } from './reference-walk.ts';

/** xorshift: the same sequence in every run. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed;
  }
  below(n: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % n;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

export const ROOT = 0x10000;
export const TABLE_FRAMES = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
export const MODES = ['32', 'pae', '4level'] as const;
const INDICES = [0, 1, 511];

export function tables(m: Machine): Tables {
  return {
    read: (gpa, size) => (gpa >> 12n < 1024n ? m.read(Number(gpa), size) : BigInt.asUintN(size * 8, m.hostValue)),
    write: (gpa, size, value) => gpa >> 12n < 1024n && m.write(Number(gpa), size, value),
  };
}

/** A table entry: mostly a pointer to another table frame, so that every frame serves at every level. */
export function randomEntry(r: Random, wide: boolean): bigint {
  let e = BigInt(r.pick(TABLE_FRAMES)) << 12n;
  if (r.chance(10)) e = BigInt(r.below(1024)) << 12n;
  if (r.chance(94)) e |= 1n;
  if (r.chance(70)) e |= 2n;
  if (r.chance(70)) e |= 4n;
  if (r.chance(wide ? 10 : 25)) {
    e |= 0x80n;
    if (r.chance(80)) e &= ~0x1fe000n;
    if (r.chance(60)) e &= ~0x3fffe000n;
    if (!wide && r.chance(30)) e |= 0x200000n;
  }
  if (r.chance(20)) e |= 0x100n;
  if (r.chance(30)) e |= BigInt(r.below(4)) << 5n;
  if (wide && r.chance(10)) e |= 1n << 63n;
  if (wide && r.chance(3)) e |= 1n << BigInt(40 + r.below(23));
  return e;
}

function fill(m: Machine, r: Random, wide: boolean): void {
  for (const frame of TABLE_FRAMES) {
    for (let i = 0; i < (wide ? 512 : 1024); i++) {
      m.write((frame << 12) + i * (wide ? 8 : 4), wide ? 8 : 4, randomEntry(r, wide));
    }
  }
}

export function setUp(m: Machine, r: Random): PagingState {
  const mode = r.pick(MODES);
  fill(m, r, mode !== '32');
  const s: PagingState = {
    mode,
    cr3: BigInt(ROOT),
    pse: r.chance(50),
    pge: r.chance(50),
    nxe: r.chance(50),
    wp: r.chance(50),
    smep: r.chance(50),
    smap: r.chance(50),
    ac: r.chance(50),
    physBits: 40n,
    pdptes: [0, 1, 2, 3].map((i) => (i === 2 ? 0n : (BigInt(TABLE_FRAMES[i + 1]!) << 12n) | 1n)),
  };
  if (mode === 'pae') s.pdptes.forEach((p, i) => void m.write(ROOT + i * 8, 8, p));
  m.set('cr0', BigInt(CR0.PE | (s.wp ? CR0.WP : 0)) | BigInt(CR0.PG));
  let cr4 = mode === '32' ? 0 : CR4.PAE;
  if (s.pse) cr4 |= CR4.PSE;
  if (s.pge) cr4 |= CR4.PGE;
  if (s.smep) cr4 |= CR4.SMEP;
  if (s.smap) cr4 |= CR4.SMAP;
  m.set('cr4', BigInt(cr4));
  m.set('cr3', s.cr3);
  m.set('efer', BigInt((s.nxe ? EFER.NXE : 0) | (mode === '4level' ? EFER.LMA | EFER.LME : 0)));
  m.set('eflags', BigInt(2 | (s.ac ? 1 << 18 : 0)));
  m.set('seg_attr', r.chance(50) ? 0xf3n : 0x93n, 2);
  m.call('set_state_done');
  return s;
}

export function address(r: Random, mode: PagingState['mode']): bigint {
  const offset = BigInt(r.below(0xff0));
  if (mode === '32') return (BigInt(r.pick([0, 1, 1023])) << 22n) | (BigInt(r.pick([0, 3, 1023])) << 12n) | offset;
  const low = (BigInt(r.pick(INDICES)) << 21n) | (BigInt(r.pick(INDICES)) << 12n) | offset;
  if (mode === 'pae') return (BigInt(r.below(4)) << 30n) | low;
  return BigInt.asUintN(
    64,
    BigInt.asIntN(48, (BigInt(r.pick(INDICES)) << 39n) | (BigInt(r.pick(INDICES)) << 30n) | low),
  );
}
