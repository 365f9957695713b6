/**
 * All ACPI tables of the machine: built, placed in the ACPI area and linked to each other.
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { alignUp, ByteWriter } from '../bytes.ts';
import { ACPI_TABLES_BASE, ACPI_TABLES_SIZE } from '../memory-map.ts';
import { buildDsdt } from './dsdt.ts';
import { buildFacs, buildFadt } from './fadt.ts';
import { buildMadt, MAX_CPUS } from './madt.ts';
import { buildTable, checksumByte, writeOemId } from './table.ts';

/** A table and its guest-physical address. */
export interface PlacedTable {
  readonly signature: string;
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

const RSDP_SIZE = 36;
/** Bytes covered by the first checksum, the whole RSDP of ACPI 1.0. */
const RSDP_V1_SIZE = 20;
const RSDP_CHECKSUM_OFFSET = 8;
const RSDP_EXTENDED_CHECKSUM_OFFSET = 32;
const RSDP_REVISION = 2;
/** The FACS must be on a 64-byte boundary (ACPI 5.2.10); the others gain from it too. */
const TABLE_ALIGNMENT = 64;

/**
 * The tables of a machine with `cpus` processors (1-255), the RSDP first, at `ACPI_TABLES_BASE`.
 * @throws RangeError when `cpus` is out of range
 */
export function buildAcpiTables(cpus: number): PlacedTable[] {
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) throw new RangeError(`${cpus} processors`);
  let next = ACPI_TABLES_BASE + RSDP_SIZE;
  const placed: PlacedTable[] = [];
  const place = (signature: string, bytes: Uint8Array): number => {
    const gpa = alignUp(next, TABLE_ALIGNMENT);
    next = gpa + bytes.length;
    placed.push({ signature, gpa, bytes });
    return gpa;
  };
  const facs = place('FACS', buildFacs());
  const dsdt = place('DSDT', buildDsdt(cpus));
  const listed = [place('FACP', buildFadt(facs, dsdt)), place('APIC', buildMadt(cpus))];
  const rsdt = place('RSDT', buildRootTable('RSDT', listed));
  const xsdt = place('XSDT', buildRootTable('XSDT', listed));
  if (next > ACPI_TABLES_BASE + ACPI_TABLES_SIZE) throw new RangeError('ACPI tables do not fit their area');
  return [{ signature: 'RSD PTR ', gpa: ACPI_TABLES_BASE, bytes: buildRsdp(rsdt, xsdt) }, ...placed];
}

/** Writes the tables into guest memory. Returns the gpa of the RSDP. */
export function writeAcpiTables(mem: GuestMemory, cpus: number): number {
  for (const table of buildAcpiTables(cpus)) mem.write(table.gpa, table.bytes);
  return ACPI_TABLES_BASE;
}

/** RSDT with 32-bit or XSDT with 64-bit pointers (ACPI 5.2.7, 5.2.8). */
function buildRootTable(signature: 'RSDT' | 'XSDT', tables: readonly number[]): Uint8Array {
  const w = new ByteWriter();
  for (const gpa of tables) {
    if (signature === 'RSDT') w.u32(gpa);
    else w.u64(gpa);
  }
  return buildTable(signature, 1, w.finish());
}

/**
 * The RSDP (ACPI 5.2.5.3).
 *
 *     0 "RSD PTR " (8)   8 checksum   9 OEM id (6)   15 revision   16 RSDT (4)
 *    20 length (4)   24 XSDT (8)   32 extended checksum   33 reserved (3)
 */
function buildRsdp(rsdt: number, xsdt: number): Uint8Array {
  const w = new ByteWriter().ascii('RSD PTR ').u8(0);
  writeOemId(w);
  const rsdp = w.u8(RSDP_REVISION).u32(rsdt).u32(RSDP_SIZE).u64(xsdt).padTo(RSDP_SIZE).finish();
  rsdp[RSDP_CHECKSUM_OFFSET] = checksumByte(rsdp.subarray(0, RSDP_V1_SIZE));
  rsdp[RSDP_EXTENDED_CHECKSUM_OFFSET] = checksumByte(rsdp);
  return rsdp;
}
