/**
 * Puts a kernel into guest memory by the protocol that suits it and says how the first processor starts.
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { writeBiosDataArea } from '../bios-data-area.ts';
import { LoadError } from '../errors.ts';
import type { MemoryMap } from '../memory-map.ts';
import type { BootState } from './boot-state.ts';
import { loadBzImage } from './bzimage.ts';
import { isElf, parseElf } from './elf.ts';
import { loadLinuxElf } from './linux-elf.ts';
import { isBzImage, parseSetupHeader } from './linux-header.ts';
import type { BootMethod, LoadRequest } from './load-request.ts';
import { findMultibootHeader, loadMultiboot } from './multiboot.ts';
import { loadPvh, pvhEntry } from './pvh.ts';
import { extractVmlinux } from './vmlinux-extract.ts';

export { LoadError, type LoadErrorCode, MachineError } from '../errors.ts';
export type { BootState } from './boot-state.ts';
export { BOOT_METHODS, type BootMethod } from './load-request.ts';
export { extractVmlinux } from './vmlinux-extract.ts';

/** What `loadKernel` is given. */
export interface LoadOptions {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  readonly commandLine: string;
  readonly map: MemoryMap;
  /** gpa of the ACPI RSDP, as `writeAcpiTables` returns it. */
  readonly rsdp: number;
  /** Default `auto`. */
  readonly method?: BootMethod | undefined;
}

/**
 * Loads a kernel, its ramdisk and its command line, and writes the BIOS data area.
 *
 * `auto` boots a bzImage as the ELF file inside it where the host can unpack that, else as it is; an ELF file by
 * multiboot where it has that header, else by PVH. `elf` and `pvh` take the ELF file out of a bzImage too.
 * @throws LoadError when the kernel cannot be booted in this machine; guest memory may be partly written
 */
export async function loadKernel(mem: GuestMemory, options: LoadOptions): Promise<BootState> {
  const { initrd, method = 'auto', ...rest } = options;
  const request: LoadRequest = initrd ? { ...rest, initrd } : rest;
  writeBiosDataArea(mem);
  switch (method) {
    case 'bzimage':
      return loadBzImage(mem, request);
    case 'multiboot':
      return loadMultiboot(mem, request);
    case 'pvh':
      return loadPvh(mem, request, await elfOf(request.kernel));
    case 'elf':
      return loadLinuxElf(mem, request, await elfOf(request.kernel), headerOf(request.kernel));
    case 'auto':
      return loadAuto(mem, request);
  }
}

async function loadAuto(mem: GuestMemory, request: LoadRequest): Promise<BootState> {
  const { kernel } = request;
  if (isBzImage(kernel)) return loadLinuxImage(mem, request);
  if (findMultibootHeader(kernel)) return loadMultiboot(mem, request);
  if (!isElf(kernel)) {
    throw new LoadError(
      'not-a-kernel',
      kernel.length === 0
        ? 'the kernel file is empty'
        : 'the kernel file is neither a Linux image nor ELF nor multiboot',
      'give a bzImage such as /boot/vmlinuz, a PVH ELF kernel or a multiboot kernel',
    );
  }
  if (pvhEntry(parseElf(kernel)) !== undefined) return loadPvh(mem, request, kernel);
  throw new LoadError(
    'not-a-kernel',
    'the ELF file has neither a multiboot header nor a PVH entry point',
    'give a bzImage, or boot a Linux vmlinux with method elf',
  );
}

/** The ELF kernel out of a bzImage, or the bzImage itself when it cannot be taken out. */
async function loadLinuxImage(mem: GuestMemory, request: LoadRequest): Promise<BootState> {
  const header = parseSetupHeader(request.kernel);
  const vmlinux = await tryExtract(request.kernel);
  return vmlinux ? loadLinuxElf(mem, request, vmlinux, header) : loadBzImage(mem, request);
}

/** Undefined when the host cannot unpack the kernel; the guest then tries, and reports damage itself. */
async function tryExtract(bzImage: Uint8Array): Promise<Uint8Array | undefined> {
  try {
    const vmlinux = await extractVmlinux(bzImage);
    parseElf(vmlinux);
    return vmlinux;
  } catch (error) {
    if (error instanceof LoadError) return undefined;
    throw error;
  }
}

async function elfOf(kernel: Uint8Array): Promise<Uint8Array> {
  return isBzImage(kernel) ? extractVmlinux(kernel) : kernel;
}

function headerOf(kernel: Uint8Array): ReturnType<typeof parseSetupHeader> | undefined {
  return isBzImage(kernel) ? parseSetupHeader(kernel) : undefined;
}
