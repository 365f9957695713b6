// The processor state at hand-over: descriptors, GDT, identity page tables, and agreement between them.

import { describe, expect, it } from 'vitest';
import {
  BOOT_DATA,
  encodeDescriptor,
  enterLongMode,
  enterProtectedMode,
  flatCode32,
  flatCode64,
  flatData,
} from '../../src/machine/loaders/boot-state.ts';
import { createMemoryMap, MIN_RAM } from '../../src/machine/memory-map.ts';
import { FakeMemory } from './fake-memory.ts';

const newMemory = (): FakeMemory => new FakeMemory(createMemoryMap(MIN_RAM));

/** The frame that a four-level walk of `address` ends at, with the entry's flags. */
function walk(mem: FakeMemory, cr3: number, address: number): { physical: number; flags: number } {
  const index = (shift: number): number => Math.floor(address / 2 ** shift) % 512;
  const next = (table: number, shift: number): bigint => mem.u64(table + index(shift) * 8);
  const pml4e = next(cr3, 39);
  const pdpte = next(Number(pml4e & ~0xfffn), 30);
  const pde = next(Number(pdpte & ~0xfffn), 21);
  for (const entry of [pml4e, pdpte, pde]) expect(entry & 3n).toBe(3n);
  return { physical: Number(pde & ~0x1fffffn) + (address % 0x200000), flags: Number(pde & 0xfffn) };
}

describe('boot state', () => {
  it('encodes descriptors as the manual lays them out', () => {
    expect(encodeDescriptor(flatCode32())).toBe(0x00cf9b000000ffffn);
    expect(encodeDescriptor(flatCode64())).toBe(0x00af9b000000ffffn);
    expect(encodeDescriptor(flatData())).toBe(0x00cf93000000ffffn);
    const odd = { ...flatData(), base: 0x12345678n, limit: 0xabcde, g: 0, db: 0, dpl: 3, avl: 1 };
    expect(encodeDescriptor(odd)).toBe(0x121af3345678bcden);
  });

  it('leaves a GDT that reloads to the same segments', () => {
    for (const enter of [enterProtectedMode, enterLongMode]) {
      const mem = newMemory();
      const sregs = enter(mem);
      for (const segment of [sregs.cs, sregs.ds, sregs.ss, sregs.tr]) {
        expect(segment.selector + 7).toBeLessThanOrEqual(sregs.gdt.limit);
        expect(mem.u64(Number(sregs.gdt.base) + segment.selector)).toBe(encodeDescriptor(segment));
      }
      expect(mem.u64(Number(sregs.gdt.base))).toBe(0n);
    }
  });

  it('starts 32-bit protocols with paging off', () => {
    const sregs = enterProtectedMode(newMemory());
    expect(sregs.cr0).toBe(0x11n);
    expect([sregs.cr3, sregs.cr4, sregs.efer]).toEqual([0n, 0n, 0n]);
    expect([sregs.cs.db, sregs.cs.l, sregs.cs.limit]).toEqual([1, 0, 0xffffffff]);
  });

  it('maps the low 4 GiB onto itself in long mode', () => {
    const mem = newMemory();
    const sregs = enterLongMode(mem);
    expect(sregs.cr0 & 0x80000001n).toBe(0x80000001n);
    expect(sregs.efer).toBe(0x500n);
    expect(sregs.cr4).toBe(0x20n);
    expect([sregs.cs.db, sregs.cs.l]).toEqual([0, 1]);
    for (const address of [0, 0x1000200, 0x3fffffff, 0x40000000, 0xfee00000, 0xffffffff]) {
      expect(walk(mem, Number(sregs.cr3), address)).toEqual({ physical: address, flags: 0x83 });
    }
    expect(Number(sregs.cr3) + 6 * 4096).toBeLessThanOrEqual(BOOT_DATA.commandLine);
  });
});
