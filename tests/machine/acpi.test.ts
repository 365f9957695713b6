// The ACPI tables: links, checksums, the registers they name, and the DSDT read back by an independent reader.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { integer, name, namePath, pack } from '../../src/machine/acpi/aml.ts';
import { buildAcpiTables, type PlacedTable, writeAcpiTables } from '../../src/machine/acpi/tables.ts';
import { createMemoryMap, MIN_RAM, PORT, pciIntxGsi, pciIntxIsaIrq } from '../../src/machine/memory-map.ts';
import { type AmlValue, readAml } from './aml-reader.ts';
import { FakeMemory } from './fake-memory.ts';

const sum = (bytes: Uint8Array): number => bytes.reduce((a, b) => (a + b) & 0xff, 0);
const viewOf = (t: PlacedTable): DataView => new DataView(t.bytes.buffer, t.bytes.byteOffset, t.bytes.length);

function tableOf(cpus: number, signature: string): PlacedTable {
  const found = buildAcpiTables(cpus).find((t) => t.signature === signature);
  if (!found) throw new Error(`no ${signature}`);
  return found;
}

function childrenOf(value: AmlValue | undefined): Map<string, AmlValue> {
  if (typeof value !== 'object' || !('children' in value)) throw new Error('not an object with children');
  return value.children;
}

describe('ACPI tables', () => {
  it.each([1, 2, 255])('are whole, apart from each other and inside their area with %d processors', (cpus) => {
    let end = 0xe0000;
    for (const table of buildAcpiTables(cpus)) {
      expect(table.gpa).toBeGreaterThanOrEqual(end);
      end = table.gpa + table.bytes.length;
      if (table.signature === 'FACS') continue;
      expect(sum(table.bytes), table.signature).toBe(0);
      if (table.signature === 'RSD PTR ') continue;
      expect(viewOf(table).getUint32(4, true)).toBe(table.bytes.length);
    }
    expect(end).toBeLessThanOrEqual(0xf0000);
  });

  it('are found from the RSDP by both root tables', () => {
    const mem = new FakeMemory(createMemoryMap(MIN_RAM));
    const rsdp = writeAcpiTables(mem, 1);
    expect(rsdp % 16).toBe(0);
    expect(String.fromCharCode(...mem.read(rsdp, 8))).toBe('RSD PTR ');
    expect(sum(mem.read(rsdp, 20))).toBe(0);
    const rsdt = mem.u32(rsdp + 16);
    const xsdt = Number(mem.u64(rsdp + 24));
    const signatures = (base: number, entrySize: number): string[] => {
      const count = (mem.u32(base + 4) - 36) / entrySize;
      return Array.from({ length: count }, (_, i) =>
        String.fromCharCode(...mem.read(mem.u32(base + 36 + i * entrySize), 4)),
      );
    };
    expect(signatures(rsdt, 4)).toEqual(['FACP', 'APIC']);
    expect(signatures(xsdt, 8)).toEqual(['FACP', 'APIC']);
  });

  it('refuse a number of processors that has no APIC IDs', () => {
    expect(() => buildAcpiTables(0)).toThrow(RangeError);
    expect(() => buildAcpiTables(256)).toThrow(RangeError);
  });
});

describe('FADT', () => {
  const fadt = viewOf(tableOf(1, 'FACP'));

  it('names the registers of the board in both forms', () => {
    const blocks: [legacy: number, extended: number, port: number, bits: number][] = [
      [56, 148, PORT.pm1aEvent, 32],
      [64, 172, PORT.pm1aControl, 16],
      [76, 208, PORT.pmTimer, 32],
      [80, 220, PORT.gpe0, 32],
    ];
    for (const [legacy, extended, port, bits] of blocks) {
      expect(fadt.getUint32(legacy, true)).toBe(port);
      expect(fadt.getUint8(extended)).toBe(1);
      expect(fadt.getUint8(extended + 1)).toBe(bits);
      expect(fadt.getBigUint64(extended + 4, true)).toBe(BigInt(port));
    }
    expect(fadt.getUint16(46, true)).toBe(9);
  });

  it('resets by writing 6 to port cf9h', () => {
    expect(fadt.getUint32(112, true) & (1 << 10)).not.toBe(0);
    expect(fadt.getBigUint64(120, true)).toBe(0xcf9n);
    expect(fadt.getUint8(128)).toBe(6);
  });

  it('points at FACS and DSDT in both widths', () => {
    for (const [signature, narrow, wide] of [
      ['FACS', 36, 132],
      ['DSDT', 40, 140],
    ] as const) {
      const { gpa } = tableOf(1, signature);
      expect(fadt.getUint32(narrow, true)).toBe(gpa);
      expect(fadt.getBigUint64(wide, true)).toBe(BigInt(gpa));
    }
    expect(tableOf(1, 'FACS').gpa % 64).toBe(0);
  });
});

describe('MADT', () => {
  it('lists processors, the I/O APIC, the overrides and the NMI line', () => {
    const { bytes } = tableOf(2, 'APIC');
    const entries: number[][] = [];
    for (let at = 44; at < bytes.length; at += bytes[at + 1]!)
      entries.push([...bytes.subarray(at, at + bytes[at + 1]!)]);
    expect(entries).toEqual([
      [0, 8, 0, 0, 1, 0, 0, 0],
      [0, 8, 1, 1, 1, 0, 0, 0],
      [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
      [2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
      [2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
      [4, 6, 0xff, 0, 0, 1],
    ]);
  });
});

describe('DSDT', () => {
  const root = readAml(tableOf(3, 'DSDT').bytes.subarray(36));
  const board = childrenOf(root.get('\\_SB_'));

  it('has soft off and one device per processor', () => {
    expect(root.get('\\_S5_')).toEqual([5n, 5n, 0n, 0n]);
    const cpus = [...board].filter(
      ([, v]) => typeof v === 'object' && 'children' in v && v.children.get('_HID') === 'ACPI0007',
    );
    expect(cpus.map(([, v]) => childrenOf(v).get('_UID'))).toEqual([0n, 1n, 2n]);
  });

  it('routes every PCI pin in both interrupt modes', () => {
    const bridge = childrenOf(board.get('PCI0'));
    for (const [table, route] of [
      ['APRT', pciIntxGsi],
      ['PPRT', pciIntxIsaIrq],
    ] as const) {
      const entries = bridge.get(table) as AmlValue[];
      expect(entries.length).toBe(128);
      expect(entries[4 * 5 + 2]).toEqual([0x5ffffn, 2n, 0n, BigInt(route(5, 2))]);
    }
    expect(childrenOf(bridge.get('_PRT')).size).toBe(2);
  });

  it('describes the ISA devices with their ports and interrupts', () => {
    const crs = childrenOf(board.get('COM1')).get('_CRS') as Uint8Array;
    expect([...crs]).toEqual([0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8, 0x23, 0x10, 0, 1, 0x79, 0]);
    // EISAID("PNP0501") as a little-endian dword.
    expect(childrenOf(board.get('COM1')).get('_HID')).toBe(0x0105d041n);
    for (const device of ['RTC_', 'KBD_', 'MOU_', 'PIT_', 'PIC_']) expect(board.has(device), device).toBe(true);
  });
});

describe('AML writer', () => {
  it('uses the shortest integers and the right package length at every size', () => {
    for (const value of [
      0n,
      1n,
      2n,
      0xffn,
      0x100n,
      0xffffn,
      0x10000n,
      0xffff_ffffn,
      0x1_0000_0000n,
      (1n << 64n) - 1n,
    ]) {
      expect(readAml(name('VAL_', integer(value))).get('VAL_')).toBe(value);
    }
    for (const count of [0, 1, 10, 29, 30, 31, 100, 255]) {
      const elements = Array.from({ length: count }, (_, i) => integer(i + 2));
      expect(readAml(name('PKG_', pack(...elements))).get('PKG_')).toEqual(elements.map((_, i) => BigInt(i + 2)));
    }
  });

  it('writes paths of one, two and three segments', () => {
    expect([...namePath('\\_SB')]).toEqual([0x5c, 0x5f, 0x53, 0x42, 0x5f]);
    expect([...namePath('A.B')]).toEqual([0x2e, 0x41, 0x5f, 0x5f, 0x5f, 0x42, 0x5f, 0x5f, 0x5f]);
    expect([...namePath('A.B.C')].slice(0, 2)).toEqual([0x2f, 3]);
    expect(() => namePath('lower')).toThrow(RangeError);
  });
});

const iasl = spawnSync('iasl', ['-v']).error === undefined;
if (!iasl)
  console.log('skipped: the iasl check of the ACPI tables, because iasl (package acpica-tools) is not installed');

describe.skipIf(!iasl)('iasl', () => {
  it('disassembles every table and compiles the result without error or warning', () => {
    const dir = mkdtempSync(join(tmpdir(), 'plinth-acpi-'));
    try {
      for (const signature of ['DSDT', 'FACP', 'APIC', 'FACS', 'RSDT', 'XSDT']) {
        writeFileSync(join(dir, `${signature}.dat`), tableOf(2, signature).bytes);
        execFileSync('iasl', ['-d', `${signature}.dat`], { cwd: dir, stdio: 'pipe' });
        const out = execFileSync('iasl', ['-p', 'out', `${signature}.dsl`], { cwd: dir, stdio: 'pipe' }).toString();
        expect(out, signature).toContain('0 Errors, 0 Warnings');
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
