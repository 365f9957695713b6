/**
 * The FADT, which says where the fixed power-management registers are (ACPI 5.2.9), and the FACS (5.2.10).
 */
import { ByteWriter } from '../bytes.ts';
import {
  GPE0_LENGTH,
  IRQ,
  PM_TIMER_LENGTH,
  PM1A_CONTROL_LENGTH,
  PM1A_EVENT_LENGTH,
  PORT,
  RESET_VALUE,
} from '../memory-map.ts';
import { buildTable } from './table.ts';

const FADT_REVISION = 4;
const FADT_SIZE = 244;
const FACS_SIZE = 64;
const FACS_VERSION = 2;

/** Preferred_PM_Profile: 4 enterprise server. */
const PROFILE_SERVER = 4;
/** P_LVL2_LAT, P_LVL3_LAT: values above 100 and 1000 µs mean that the states are absent. */
const NO_C2 = 0x0fff;
const NO_C3 = 0x0fff;
/** CMOS index of the century byte. */
const CMOS_CENTURY = 0x32;

/** IAPC_BOOT_ARCH (ACPI 5.2.9.3): [0] legacy devices, [1] 8042 present, [2] VGA not present. */
const BOOT_ARCH_LEGACY_DEVICES = 1 << 0;
const BOOT_ARCH_8042 = 1 << 1;
const BOOT_ARCH_NO_VGA = 1 << 2;

/**
 * Flags (ACPI table 5-35): [0] WBINVD works, [2] C1 on all processors, [5] no fixed sleep button,
 * [10] reset register present. Power button (bit 4) zero: it is a fixed feature. Timer extension (bit 8)
 * zero: the timer has 24 bits.
 */
const FLAG_WBINVD = 1 << 0;
const FLAG_PROC_C1 = 1 << 2;
const FLAG_NO_SLEEP_BUTTON = 1 << 5;
const FLAG_RESET_REGISTER = 1 << 10;

const GAS_SYSTEM_IO = 1;

/** The FADT. There is no SMI command port, so the machine is always in ACPI mode. Addresses are gpa below 4 GiB. */
export function buildFadt(facs: number, dsdt: number): Uint8Array {
  const w = new ByteWriter();
  // Offsets in the comments count from the start of the table.
  w.u32(facs).u32(dsdt).u8(0).u8(PROFILE_SERVER).u16(IRQ.sci); // 36-47
  w.u32(0).u8(0).u8(0).u8(0).u8(0); // 48 SMI_CMD, ACPI_ENABLE, ACPI_DISABLE, S4BIOS_REQ, PSTATE_CNT
  w.u32(PORT.pm1aEvent).u32(0).u32(PORT.pm1aControl).u32(0).u32(0); // 56 PM1a/b event, PM1a/b control, PM2
  w.u32(PORT.pmTimer).u32(PORT.gpe0).u32(0); // 76 PM timer, GPE0, GPE1
  w.u8(PM1A_EVENT_LENGTH).u8(PM1A_CONTROL_LENGTH).u8(0).u8(PM_TIMER_LENGTH); // 88
  w.u8(GPE0_LENGTH).u8(0).u8(0).u8(0); // 92 GPE0 length, GPE1 length and base, CST_CNT
  w.u16(NO_C2).u16(NO_C3).u16(0).u16(0).u8(0).u8(0); // 96 latencies, flush size and stride, duty cycle
  w.u8(0).u8(0).u8(CMOS_CENTURY); // 106 day alarm, month alarm, century
  w.u16(BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_8042 | BOOT_ARCH_NO_VGA).u8(0); // 109
  w.u32(FLAG_WBINVD | FLAG_PROC_C1 | FLAG_NO_SLEEP_BUTTON | FLAG_RESET_REGISTER); // 112
  writeIoAddress(w, PORT.resetControl, 1);
  w.u8(RESET_VALUE).u16(0).u8(0); // 128 reset value, ARM boot flags, minor version
  w.u64(facs).u64(dsdt); // 132
  writeIoAddress(w, PORT.pm1aEvent, PM1A_EVENT_LENGTH);
  writeIoAddress(w, 0, 0);
  writeIoAddress(w, PORT.pm1aControl, PM1A_CONTROL_LENGTH);
  writeIoAddress(w, 0, 0);
  writeIoAddress(w, 0, 0);
  writeIoAddress(w, PORT.pmTimer, PM_TIMER_LENGTH);
  writeIoAddress(w, PORT.gpe0, GPE0_LENGTH);
  writeIoAddress(w, 0, 0);
  const table = buildTable('FACP', FADT_REVISION, w.finish());
  if (table.length !== FADT_SIZE) throw new Error(`FADT has ${table.length} bytes, not ${FADT_SIZE}`);
  return table;
}

/**
 * Generic address structure (ACPI 5.2.3.2) of a register of `length` bytes at a port; all zero when absent.
 *
 *     0 address space   1 bit width   2 bit offset   3 access size (1 byte, 2 word, 3 dword)   4 address (8)
 */
function writeIoAddress(w: ByteWriter, port: number, length: number): void {
  if (length === 0) {
    w.u32(0).u64(0);
    return;
  }
  // The event and GPE blocks are two registers of half the length, and are accessed so.
  const isPair = port === PORT.pm1aEvent || port === PORT.gpe0;
  const accessBytes = isPair ? length / 2 : length;
  const accessSize = Math.log2(accessBytes) + 1;
  w.u8(GAS_SYSTEM_IO)
    .u8(length * 8)
    .u8(0)
    .u8(accessSize)
    .u64(port);
}

/** The FACS: no header checksum, all fields zero, because there is no sleep state to wake from. */
export function buildFacs(): Uint8Array {
  const w = new ByteWriter().ascii('FACS').u32(FACS_SIZE);
  // 8 hardware signature, 12 waking vector, 16 global lock, 20 flags, 24 X waking vector, 32 version
  return w.padTo(32).u8(FACS_VERSION).padTo(FACS_SIZE).finish();
}
