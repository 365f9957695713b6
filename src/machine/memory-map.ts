/**
 * The PC's address map: where guest-physical RAM, the holes in it, the interrupt controllers and the
 * fixed I/O ports and interrupt lines are. Everything that names one of them takes it from here.
 *
 *     0x0000_0000  RAM, conventional memory           (the last KiB is the EBDA)
 *     0x000a_0000  hole: VGA window
 *     0x000c_0000  RAM behind option ROMs, ACPI tables and BIOS
 *     0x0010_0000  RAM, up to 3 GiB
 *     0xc000_0000  hole: PCI memory, I/O APIC, local APIC, firmware ROM
 *   0x1_0000_0000  RAM that did not fit below 3 GiB
 */
import { MachineError } from './errors.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const PAGE_SIZE = 4096;

/** End of conventional memory, start of the VGA hole. */
export const VGA_HOLE_BASE = 0xa0000;
/** Start of the option ROM area, RAM again. */
export const OPTION_ROM_BASE = 0xc0000;
/** Extended BIOS data area: the last KiB of conventional memory. */
export const EBDA_BASE = 0x9fc00;
/** ACPI tables; the RSDP is first, on a 16-byte boundary where the legacy scan finds it (ACPI 5.2.5.1). */
export const ACPI_TABLES_BASE = 0xe0000;
export const ACPI_TABLES_SIZE = 0x10000;
/** The BIOS's own 64 KiB below 1 MiB. */
export const BIOS_BASE = 0xf0000;
/** Start of extended memory. */
export const HIGH_MEMORY_BASE = MIB;

/** Start of the PCI hole: RAM below 4 GiB ends here at the latest. */
export const PCI_HOLE_BASE = 3 * GIB;
/** Memory window of the PCI host bridge, `[base, base + size)`; fixed devices lie above it. */
export const PCI_MMIO_BASE = PCI_HOLE_BASE;
export const PCI_MMIO_SIZE = 0xfec00000 - PCI_MMIO_BASE;
/** RAM that does not fit below the PCI hole starts here. */
export const RAM_ABOVE_4G_BASE = 4 * GIB;

export const IO_APIC_BASE = 0xfec00000;
export const IO_APIC_ID = 0;
/** Global system interrupts of the I/O APIC: pins 0-23. */
export const IO_APIC_PINS = 24;
export const LOCAL_APIC_BASE = 0xfee00000;

/** Fixed I/O ports. */
export const PORT = {
  pic1: 0x20,
  pit: 0x40,
  i8042Data: 0x60,
  systemControlB: 0x61,
  i8042Command: 0x64,
  rtc: 0x70,
  systemControlA: 0x92,
  pic2: 0xa0,
  /** Bytes written here go to the debug console. */
  debugConsole: 0xe9,
  /** A byte written here ends the machine with exit code `(value << 1) | 1`. */
  debugExit: 0xf4,
  com2: 0x2f8,
  com1: 0x3f8,
  elcr: 0x4d0,
  /** PM1a event block: status and enable, 2 bytes each (ACPI 4.8.3.1). */
  pm1aEvent: 0x600,
  /** PM1a control block, 2 bytes (ACPI 4.8.3.2). */
  pm1aControl: 0x604,
  /** Power management timer, 4 bytes, 3.579545 MHz, 24 bits wide (ACPI 4.8.3.3). */
  pmTimer: 0x608,
  /** General-purpose event block 0: 2 bytes of status, 2 of enable (ACPI 4.8.4.1). */
  gpe0: 0x620,
  pciConfigAddress: 0xcf8,
  /** Reset control register: writing 6 resets. Lies inside the byte lanes of `pciConfigAddress`. */
  resetControl: 0xcf9,
  pciConfigData: 0xcfc,
} as const;

/** Lengths in bytes of the ACPI register blocks named in `PORT`. */
export const PM1A_EVENT_LENGTH = 4;
export const PM1A_CONTROL_LENGTH = 2;
export const PM_TIMER_LENGTH = 4;
export const GPE0_LENGTH = 4;
/** Value that resets the machine when written to `PORT.resetControl`. */
export const RESET_VALUE = 6;
/** SLP_TYP written to PM1a control to enter S5 (soft off): what the DSDT's \_S5 says. */
export const SLEEP_TYPE_S5 = 5;

/** ISA interrupt lines. On the I/O APIC each is the global system interrupt of its number, but the PIT is GSI 2. */
export const IRQ = { pit: 0, keyboard: 1, cascade: 2, com2: 3, com1: 4, rtc: 8, sci: 9, mouse: 12 } as const;
/** Global system interrupt of the PIT. */
export const PIT_GSI = 2;

/** First global system interrupt used by PCI INTx. */
export const PCI_INTX_GSI_BASE = 16;

/**
 * Global system interrupt of a PCI function's INTx: devices are spread over pins 16-23.
 * @param device device number, 0-31
 * @param pin 0 for INTA to 3 for INTD
 */
export function pciIntxGsi(device: number, pin: number): number {
  return PCI_INTX_GSI_BASE + ((device + pin) & 7);
}

/**
 * 8259 line of a PCI function's INTx, level-triggered, for a guest that runs without the I/O APIC.
 * @param device device number, 0-31
 * @param pin 0 for INTA to 3 for INTD
 */
export function pciIntxIsaIrq(device: number, pin: number): number {
  return ((device + pin) & 1) === 0 ? 10 : 11;
}

/** Least and most RAM a machine can have, in bytes. */
export const MIN_RAM = 4 * MIB;
export const MAX_RAM = 4 * GIB;

/** E820 address range types (ACPI 15, table 15-374). */
export const E820_TYPE = { ram: 1, reserved: 2, acpi: 3, nvs: 4 } as const;

/** One E820 range: `[base, base + size)`. */
export interface E820Entry {
  readonly base: number;
  readonly size: number;
  readonly type: number;
}

/** A range of RAM as the guest sees it and the place in the VM's slab that backs it. Multiples of 4 KiB. */
export interface RamSlot {
  readonly gpa: number;
  readonly size: number;
  readonly slabOffset: number;
}

/** Where the RAM of one machine is. */
export interface MemoryMap {
  /** Bytes of RAM, the size of the slab. */
  readonly ramSize: number;
  /** End of RAM below the PCI hole (exclusive). */
  readonly lowRamEnd: number;
  /** End of RAM above 4 GiB (exclusive); equals `RAM_ABOVE_4G_BASE` when there is none. */
  readonly highRamEnd: number;
  /** In ascending order, not overlapping. Slab bytes behind the VGA hole are not mapped. */
  readonly slots: readonly RamSlot[];
  /** What firmware tells the guest about memory, in ascending order. */
  readonly e820: readonly E820Entry[];
}

/**
 * The map of a machine with `ramSize` bytes of RAM.
 * @throws MachineError when the size is outside `[MIN_RAM, MAX_RAM]` or not a multiple of 4 KiB
 */
export function createMemoryMap(ramSize: number): MemoryMap {
  if (!Number.isInteger(ramSize) || ramSize < MIN_RAM) {
    throw new MachineError(
      `memory of ${describeSize(ramSize)} is under the minimum`,
      `give at least ${describeSize(MIN_RAM)}`,
    );
  }
  if (ramSize > MAX_RAM) {
    throw new MachineError(
      `memory of ${describeSize(ramSize)} is over the maximum`,
      `give at most ${describeSize(MAX_RAM)}`,
    );
  }
  if (ramSize % PAGE_SIZE !== 0) {
    throw new MachineError(`memory of ${ramSize} bytes is not a whole number of pages`, 'give a multiple of 4 KiB');
  }
  const lowRamEnd = Math.min(ramSize, PCI_HOLE_BASE);
  const highSize = ramSize - lowRamEnd;
  const slots: RamSlot[] = [
    { gpa: 0, size: VGA_HOLE_BASE, slabOffset: 0 },
    { gpa: OPTION_ROM_BASE, size: lowRamEnd - OPTION_ROM_BASE, slabOffset: OPTION_ROM_BASE },
  ];
  if (highSize > 0) slots.push({ gpa: RAM_ABOVE_4G_BASE, size: highSize, slabOffset: PCI_HOLE_BASE });
  return {
    ramSize,
    lowRamEnd,
    highRamEnd: RAM_ABOVE_4G_BASE + highSize,
    slots,
    e820: e820Of(lowRamEnd, highSize),
  };
}

function e820Of(lowRamEnd: number, highSize: number): E820Entry[] {
  const entries: E820Entry[] = [
    { base: 0, size: EBDA_BASE, type: E820_TYPE.ram },
    { base: EBDA_BASE, size: VGA_HOLE_BASE - EBDA_BASE, type: E820_TYPE.reserved },
    // Reserved and not "ACPI reclaimable", because the FACS among the tables must stay where it is.
    { base: ACPI_TABLES_BASE, size: HIGH_MEMORY_BASE - ACPI_TABLES_BASE, type: E820_TYPE.reserved },
    { base: HIGH_MEMORY_BASE, size: lowRamEnd - HIGH_MEMORY_BASE, type: E820_TYPE.ram },
    { base: IO_APIC_BASE, size: RAM_ABOVE_4G_BASE - IO_APIC_BASE, type: E820_TYPE.reserved },
  ];
  if (highSize > 0) entries.push({ base: RAM_ABOVE_4G_BASE, size: highSize, type: E820_TYPE.ram });
  return entries;
}

/** True when `[base, base + size)` is RAM that E820 gives to the guest. */
export function isUsableRam(map: MemoryMap, base: number, size: number): boolean {
  return map.e820.some((e) => e.type === E820_TYPE.ram && base >= e.base && base + size <= e.base + e.size);
}

/** A size in bytes as people write it: `512M`, `4G`, `1234 bytes`. */
export function describeSize(bytes: number): string {
  if (bytes >= GIB && bytes % GIB === 0) return `${bytes / GIB}G`;
  if (bytes >= MIB) return `${Number((bytes / MIB).toFixed(1))}M`;
  if (bytes >= KIB) return `${Number((bytes / KIB).toFixed(1))}K`;
  return `${bytes} bytes`;
}
