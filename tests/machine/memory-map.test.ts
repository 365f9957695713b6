// The address map: slots, E820 and the sizes it refuses.

import { describe, expect, it } from 'vitest';
import { writeBiosDataArea } from '../../src/machine/bios-data-area.ts';
import { MachineError } from '../../src/machine/errors.ts';
import {
  createMemoryMap,
  E820_TYPE,
  GIB,
  isUsableRam,
  MAX_RAM,
  type MemoryMap,
  MIB,
  MIN_RAM,
  pciIntxGsi,
  pciIntxIsaIrq,
} from '../../src/machine/memory-map.ts';
import { FakeMemory } from './fake-memory.ts';

/** What must hold for every map. */
function expectSound(map: MemoryMap): void {
  let end = 0;
  for (const e of map.e820) {
    expect(e.base).toBeGreaterThanOrEqual(end);
    expect(e.size).toBeGreaterThan(0);
    end = e.base + e.size;
    if (e.type !== E820_TYPE.ram) continue;
    expect(map.slots.some((s) => e.base >= s.gpa && end <= s.gpa + s.size)).toBe(true);
  }
  let slabEnd = 0;
  for (const s of map.slots) {
    expect((s.gpa % 4096) | (s.size % 4096)).toBe(0);
    expect(s.slabOffset).toBeGreaterThanOrEqual(slabEnd);
    slabEnd = s.slabOffset + s.size;
  }
  expect(slabEnd).toBe(map.ramSize);
}

describe('createMemoryMap', () => {
  it.each([MIN_RAM, 64 * MIB, 512 * MIB, 3 * GIB, 3 * GIB + 4096, MAX_RAM])('is sound for %d bytes', (size) => {
    expectSound(createMemoryMap(size));
  });

  it('keeps gpa and slab offset equal below 3 GiB', () => {
    const map = createMemoryMap(512 * MIB);
    expect(map.slots).toEqual([
      { gpa: 0, size: 0xa0000, slabOffset: 0 },
      { gpa: 0xc0000, size: 512 * MIB - 0xc0000, slabOffset: 0xc0000 },
    ]);
    expect(map.highRamEnd).toBe(4 * GIB);
  });

  it('moves RAM over 3 GiB above 4 GiB', () => {
    const map = createMemoryMap(4 * GIB);
    expect(map.lowRamEnd).toBe(3 * GIB);
    expect(map.slots.at(-1)).toEqual({ gpa: 4 * GIB, size: GIB, slabOffset: 3 * GIB });
    expect(map.e820.at(-1)).toEqual({ base: 4 * GIB, size: GIB, type: E820_TYPE.ram });
    expect(map.highRamEnd).toBe(5 * GIB);
  });

  it.each([
    [0, 'memory of 0 bytes is under the minimum; give at least 4M'],
    [MIB, 'memory of 1M is under the minimum; give at least 4M'],
    [5 * GIB, 'memory of 5G is over the maximum; give at most 4G'],
    [8 * MIB + 1, 'memory of 8388609 bytes is not a whole number of pages; give a multiple of 4 KiB'],
  ])('refuses %d bytes in one line', (size, message) => {
    expect(() => createMemoryMap(size)).toThrow(MachineError);
    expect(() => createMemoryMap(size)).toThrow(message);
  });

  it('keeps EBDA, ACPI tables and the PCI hole from the guest', () => {
    const map = createMemoryMap(64 * MIB);
    expect(isUsableRam(map, 0, 0x9fc00)).toBe(true);
    expect(isUsableRam(map, 0x9f000, 0x1000)).toBe(false);
    expect(isUsableRam(map, 0xe0000, 16)).toBe(false);
    expect(isUsableRam(map, 64 * MIB - 1, 2)).toBe(false);
  });
});

describe('fixed tables of the board', () => {
  it('routes INTx to pins the I/O APIC has, and neighbours apart', () => {
    for (let device = 0; device < 32; device++) {
      for (let pin = 0; pin < 4; pin++) {
        expect(pciIntxGsi(device, pin)).toBeGreaterThanOrEqual(16);
        expect(pciIntxGsi(device, pin)).toBeLessThan(24);
        expect([10, 11]).toContain(pciIntxIsaIrq(device, pin));
      }
      expect(pciIntxGsi(device, 0)).not.toBe(pciIntxGsi(device + 1, 0));
    }
  });

  it('says in the BIOS data area where conventional memory ends', () => {
    const mem = new FakeMemory(createMemoryMap(MIN_RAM));
    writeBiosDataArea(mem);
    expect(mem.u16(0x40e) * 16).toBe(0x9fc00);
    expect(mem.u16(0x413)).toBe(639);
    expect(mem.u16(0x400)).toBe(0x3f8);
  });
});
