/**
 * The MADT: local APICs, the I/O APIC and how ISA interrupts reach it (ACPI 5.2.12).
 */
import { ByteWriter } from '../bytes.ts';
import { IO_APIC_BASE, IO_APIC_ID, IRQ, LOCAL_APIC_BASE, PIT_GSI } from '../memory-map.ts';
import { buildTable } from './table.ts';

const MADT_REVISION = 4;
/** Multiple APIC flags: [0] the machine also has two 8259s. */
const PCAT_COMPAT = 1;

const ENTRY = { localApic: 0, ioApic: 1, interruptOverride: 2, localApicNmi: 4 } as const;
const LOCAL_APIC_ENABLED = 1;
/** MPS INTI flags: [3:2] trigger, 3 level; [1:0] polarity, 1 active high; 0 as the bus has it. */
const INTI_BUS_DEFAULT = 0;
const INTI_LEVEL_ACTIVE_HIGH = 0b1101;
const BUS_ISA = 0;
const ALL_PROCESSORS = 0xff;
const LINT1 = 1;

/** Most processors that local APIC entries can name: APIC IDs 0-254. */
export const MAX_CPUS = 255;

/** The MADT for `cpus` processors whose APIC IDs and UIDs are 0 to `cpus - 1`. */
export function buildMadt(cpus: number): Uint8Array {
  const w = new ByteWriter().u32(LOCAL_APIC_BASE).u32(PCAT_COMPAT);
  for (let id = 0; id < cpus; id++) {
    w.u8(ENTRY.localApic).u8(8).u8(id).u8(id).u32(LOCAL_APIC_ENABLED);
  }
  w.u8(ENTRY.ioApic).u8(12).u8(IO_APIC_ID).u8(0).u32(IO_APIC_BASE).u32(0);
  writeOverride(w, IRQ.pit, PIT_GSI, INTI_BUS_DEFAULT);
  writeOverride(w, IRQ.sci, IRQ.sci, INTI_LEVEL_ACTIVE_HIGH);
  w.u8(ENTRY.localApicNmi).u8(6).u8(ALL_PROCESSORS).u16(INTI_BUS_DEFAULT).u8(LINT1);
  return buildTable('APIC', MADT_REVISION, w.finish());
}

function writeOverride(w: ByteWriter, irq: number, gsi: number, flags: number): void {
  w.u8(ENTRY.interruptOverride).u8(10).u8(BUS_ISA).u8(irq).u32(gsi).u16(flags);
}
