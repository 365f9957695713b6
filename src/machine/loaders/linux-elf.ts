/**
 * Boots an uncompressed Linux kernel (vmlinux) at its linked physical address, past the decompressor, with the
 * same boot_params that the bzImage would have passed on.
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { writeBootParams } from './boot-params.ts';
import type { BootState } from './boot-state.ts';
import { linuxBootState } from './bzimage.ts';
import { loadElf, loadSegments, parseElf, physicalEntry } from './elf.ts';
import type { SetupHeader } from './linux-header.ts';
import { type LoadRequest, placeRamdiskHigh, writeCommandLine } from './load-request.ts';

/** Limits of kernels since 2.6.24 and 2.6.13, for a file without a setup header. */
const COMMAND_LINE_MAX = 2047;
const INITRD_MAX_64 = 0x7fffffff;
const INITRD_MAX_32 = 0x37ffffff;

/**
 * Loads a vmlinux.
 * @param vmlinux the ELF file
 * @param header setup header of the bzImage it came out of, if it did
 * @throws LoadError
 */
export function loadLinuxElf(
  mem: GuestMemory,
  request: LoadRequest,
  vmlinux: Uint8Array,
  header?: SetupHeader,
): BootState {
  const elf = parseElf(vmlinux);
  const is64Bit = elf.bits === 64;
  const entry = physicalEntry(elf);
  const end = loadElf(mem, request.map, elf);
  const commandLine = writeCommandLine(mem, request.commandLine, header?.commandLineMax ?? COMMAND_LINE_MAX);
  const initrdMax = header?.initrdMax ?? (is64Bit ? INITRD_MAX_64 : INITRD_MAX_32);
  const ramdisk = placeRamdiskHigh(mem, request, end, initrdMax + 1);
  writeBootParams(mem, {
    header: header?.raw,
    map: request.map,
    commandLine,
    ramdisk,
    rsdp: request.rsdp,
    kernelStart: Math.min(...loadSegments(elf).map((s) => s.physical)),
  });
  return linuxBootState(mem, entry, is64Bit, 'linux-elf');
}
