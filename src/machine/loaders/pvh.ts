/**
 * Boots an ELF kernel through its PVH entry point: 32-bit protected mode, paging off, EBX pointing to
 * hvm_start_info (Xen docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h).
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { ByteWriter, viewOf } from '../bytes.ts';
import { LoadError } from '../errors.ts';
import { BOOT_DATA, type BootState, bootRegs, enterProtectedMode } from './boot-state.ts';
import { type ElfFile, findNote, loadElf, parseElf } from './elf.ts';
import { type LoadRequest, placeRamdiskHigh, type Range, writeCommandLine } from './load-request.ts';

/** XEN_ELFNOTE_PHYS32_ENTRY: the entry point as a 32-bit physical address, in 4 or 8 bytes. */
const NOTE_OWNER = 'Xen';
const NOTE_PHYS32_ENTRY = 18;

const START_INFO_MAGIC = 0x336ec578;
const START_INFO_VERSION = 1;
const START_INFO = BOOT_DATA.info;
const MODULE_LIST = START_INFO + 0x40;
const MEMORY_MAP = START_INFO + 0x80;

/** The ramdisk must be within what a 32-bit kernel maps directly. */
const RAMDISK_MAX_32 = 0x38000000;
const RAMDISK_MAX_64 = 0x80000000;
const COMMAND_LINE_MAX = 2047;

/** gpa of the PVH entry point, or undefined when the file has none. */
export function pvhEntry(elf: ElfFile): number | undefined {
  const note = findNote(elf, NOTE_OWNER, NOTE_PHYS32_ENTRY);
  return note && note.length >= 4 ? viewOf(note).getUint32(0, true) : undefined;
}

/**
 * Loads `kernel`, an ELF file with a PVH entry point.
 * @throws LoadError
 */
export function loadPvh(mem: GuestMemory, request: LoadRequest, kernel: Uint8Array): BootState {
  const elf = parseElf(kernel);
  const entry = pvhEntry(elf);
  if (entry === undefined) {
    throw new LoadError('not-a-kernel', 'the ELF file has no PVH entry point', 'use another boot method');
  }
  const end = loadElf(mem, request.map, elf);
  const commandLine = writeCommandLine(mem, request.commandLine, COMMAND_LINE_MAX);
  const ramdisk = placeRamdiskHigh(mem, request, end, elf.bits === 64 ? RAMDISK_MAX_64 : RAMDISK_MAX_32);
  writeStartInfo(mem, request, commandLine, ramdisk);
  return {
    regs: bootRegs({ rip: BigInt(entry), rbx: BigInt(START_INFO) }),
    sregs: enterProtectedMode(mem),
    method: 'pvh',
  };
}

/**
 *     start info: magic, version, flags, modules (4 each), module list, command line, RSDP, memory map (8 each),
 *                 memory map entries, reserved (4 each)
 *     module: address, size, command line, reserved (8 each)      memory map: base, size (8 each), type, reserved
 */
function writeStartInfo(mem: GuestMemory, request: LoadRequest, commandLine: number, ramdisk: Range): void {
  const { map, rsdp } = request;
  const modules = ramdisk.size > 0 ? 1 : 0;
  const info = new ByteWriter().u32(START_INFO_MAGIC).u32(START_INFO_VERSION).u32(0).u32(modules);
  info
    .u64(modules ? MODULE_LIST : 0)
    .u64(commandLine)
    .u64(rsdp)
    .u64(MEMORY_MAP)
    .u32(map.e820.length)
    .u32(0);
  mem.write(START_INFO, info.finish());
  if (modules) {
    mem.write(MODULE_LIST, new ByteWriter().u64(ramdisk.base).u64(ramdisk.size).u64(0).u64(0).finish());
  }
  const ranges = new ByteWriter();
  for (const { base, size, type } of map.e820) ranges.u64(base).u64(size).u32(type).u32(0);
  mem.write(MEMORY_MAP, ranges.finish());
}
