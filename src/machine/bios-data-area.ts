/**
 * The words of the BIOS data area that operating systems read even when no BIOS ran: without them a kernel
 * guesses where conventional memory ends.
 */
import type { GuestMemory } from '../hv/contract.ts';
import { EBDA_BASE, KIB, PORT } from './memory-map.ts';

/** I/O port of the first serial port, 16 bits. */
const BDA_COM1_PORT = 0x400;
/** Real-mode segment of the extended BIOS data area, 16 bits. */
const BDA_EBDA_SEGMENT = 0x40e;
/** Size of conventional memory in KiB, 16 bits. */
const BDA_BASE_MEMORY_KIB = 0x413;

/** Writes the BIOS data area and the first byte of the EBDA, which is its size in KiB. */
export function writeBiosDataArea(mem: GuestMemory): void {
  writeWord(mem, BDA_COM1_PORT, PORT.com1);
  writeWord(mem, BDA_EBDA_SEGMENT, EBDA_BASE >> 4);
  writeWord(mem, BDA_BASE_MEMORY_KIB, EBDA_BASE / KIB);
  mem.write(EBDA_BASE, Uint8Array.of(1));
}

function writeWord(mem: GuestMemory, gpa: number, value: number): void {
  mem.write(gpa, Uint8Array.of(value & 0xff, value >> 8));
}
