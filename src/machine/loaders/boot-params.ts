/**
 * Linux's boot_params, the "zero page" (Linux Documentation/arch/x86/zero-page.rst).
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { viewOf } from '../bytes.ts';
import { HIGH_MEMORY_BASE, KIB, type MemoryMap } from '../memory-map.ts';
import { BOOT_DATA } from './boot-state.ts';
import { BOOT_FLAG, HEADER, HEADER_MAGIC } from './linux-header.ts';
import type { Range } from './load-request.ts';

const ZERO_PAGE_SIZE = 4096;
/** Offsets of fields outside the setup header. */
const FIELD = { extMemKib: 0x02, acpiRsdp: 0x70, altMemKib: 0x1e0, e820Entries: 0x1e8, e820Table: 0x2d0 } as const;
const E820_ENTRY_SIZE = 20;

/** type_of_loader: FFh, a loader without a number of its own. */
const LOADER_UNDEFINED = 0xff;
/** loadflags: [0] LOADED_HIGH. */
const LOADED_HIGH = 1;
const VIDEO_MODE_NORMAL = 0xffff;

/** What goes into boot_params besides the setup header. */
export interface BootParams {
  /** The setup header as it is in the image, from `HEADER.start`; undefined for an ELF file without one. */
  readonly header: Uint8Array | undefined;
  readonly map: MemoryMap;
  readonly commandLine: number;
  readonly ramdisk: Range;
  readonly rsdp: number;
  /** Where the protected-mode kernel begins. */
  readonly kernelStart: number;
}

/** Writes boot_params at `BOOT_DATA.zeroPage` and returns that. */
export function writeBootParams(mem: GuestMemory, params: BootParams): number {
  const page = new Uint8Array(ZERO_PAGE_SIZE);
  const view = viewOf(page);
  page.set(params.header ?? minimalHeader(), HEADER.start);
  view.setUint16(HEADER.videoMode, VIDEO_MODE_NORMAL, true);
  view.setUint8(HEADER.loaderType, LOADER_UNDEFINED);
  view.setUint8(HEADER.loadFlags, view.getUint8(HEADER.loadFlags) | LOADED_HIGH);
  view.setUint32(HEADER.code32Start, params.kernelStart, true);
  view.setUint32(HEADER.commandLine, params.commandLine, true);
  view.setUint32(HEADER.ramdiskImage, params.ramdisk.base, true);
  view.setUint32(HEADER.ramdiskSize, params.ramdisk.size, true);
  view.setBigUint64(FIELD.acpiRsdp, BigInt(params.rsdp), true);
  writeMemorySizes(view, params.map);
  mem.write(BOOT_DATA.zeroPage, page);
  return BOOT_DATA.zeroPage;
}

/** E820 and, for kernels that do not read it, the two older sizes in KiB above 1 MiB. */
function writeMemorySizes(view: DataView, map: MemoryMap): void {
  const extended = (map.lowRamEnd - HIGH_MEMORY_BASE) / KIB;
  view.setUint16(FIELD.extMemKib, Math.min(extended, 0xfc00), true);
  view.setUint32(FIELD.altMemKib, extended, true);
  view.setUint8(FIELD.e820Entries, map.e820.length);
  map.e820.forEach((entry, i) => {
    const at = FIELD.e820Table + i * E820_ENTRY_SIZE;
    view.setBigUint64(at, BigInt(entry.base), true);
    view.setBigUint64(at + 8, BigInt(entry.size), true);
    view.setUint32(at + 16, entry.type, true);
  });
}

/** A header for a kernel that came as a bare ELF file: the fields the kernel itself looks at. */
function minimalHeader(): Uint8Array {
  const VERSION = 0x20f;
  const header = new Uint8Array(HEADER.initSize + 4 - HEADER.start);
  const view = viewOf(header);
  view.setUint16(HEADER.bootFlag - HEADER.start, BOOT_FLAG, true);
  view.setUint32(HEADER.magic - HEADER.start, HEADER_MAGIC, true);
  view.setUint16(HEADER.version - HEADER.start, VERSION, true);
  return header;
}
