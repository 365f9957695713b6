/**
 * The header that all ACPI tables but RSDP and FACS share, and their checksum (ACPI 5.2.6).
 */
import { ByteWriter } from '../bytes.ts';

/** Bytes of a table header. */
export const TABLE_HEADER_SIZE = 36;
const CHECKSUM_OFFSET = 9;

const OEM_ID = 'PLINTH';
const OEM_TABLE_ID = 'PLINTHPC';
const OEM_REVISION = 1;
const CREATOR_ID = 'PLNT';
const CREATOR_REVISION = 1;

/** Writes the six characters that stand for the maker in RSDP and headers. */
export function writeOemId(w: ByteWriter): void {
  w.ascii(OEM_ID);
}

/**
 * A complete table: header, body, checksum.
 *
 *     0  signature (4)    4  length (4)      8  revision (1)    9  checksum (1)
 *    10  OEM id (6)      16  OEM table (8)  24  OEM revision (4)
 *    28  creator (4)     32  creator revision (4)
 * @param signature four characters
 */
export function buildTable(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const w = new ByteWriter();
  w.ascii(signature)
    .u32(TABLE_HEADER_SIZE + body.length)
    .u8(revision)
    .u8(0);
  writeOemId(w);
  w.ascii(OEM_TABLE_ID).u32(OEM_REVISION).ascii(CREATOR_ID).u32(CREATOR_REVISION).bytes(body);
  const table = w.finish();
  table[CHECKSUM_OFFSET] = checksumByte(table);
  return table;
}

/** The byte that makes the sum of `bytes` and itself zero modulo 256, where its own place holds zero. */
export function checksumByte(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return -sum & 0xff;
}
