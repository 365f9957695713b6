/**
 * Boots a Linux bzImage as it is: by the 64-bit boot protocol where the kernel has it, else by the 32-bit one
 * (Linux Documentation/arch/x86/boot.rst). The kernel decompresses itself in the guest.
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { alignUp } from '../bytes.ts';
import { HIGH_MEMORY_BASE } from '../memory-map.ts';
import { writeBootParams } from './boot-params.ts';
import { BOOT_DATA, type BootState, bootRegs, enterLongMode, enterProtectedMode } from './boot-state.ts';
import { parseSetupHeader, type SetupHeader } from './linux-header.ts';
import { checkKernelRange, type LoadRequest, placeRamdiskHigh, type Range, writeCommandLine } from './load-request.ts';

/** Distance of the 64-bit entry point from the start of the protected-mode kernel. */
const ENTRY_64_OFFSET = 0x200;

/**
 * Loads `request.kernel`, a bzImage.
 * @throws LoadError
 */
export function loadBzImage(mem: GuestMemory, request: LoadRequest): BootState {
  const header = parseSetupHeader(request.kernel);
  const load = header.relocatable ? header.preferredAddress : HIGH_MEMORY_BASE;
  const needed = memoryNeeded(header, load);
  checkKernelRange(request.map, needed);
  const commandLine = writeCommandLine(mem, request.commandLine, header.commandLineMax);
  const ramdisk = placeRamdiskHigh(mem, request, needed.base + needed.size, header.initrdMax + 1);
  mem.write(load, header.kernel);
  writeBootParams(mem, {
    header: header.raw,
    map: request.map,
    commandLine,
    ramdisk,
    rsdp: request.rsdp,
    kernelStart: load,
  });
  return linuxBootState(mem, header.is64Bit ? load + ENTRY_64_OFFSET : load, header.is64Bit, 'bzimage');
}

/** The state that both Linux protocols start from: boot_params in RSI, flat segments, interrupts off. */
export function linuxBootState(mem: GuestMemory, entry: number, is64Bit: boolean, name: string): BootState {
  return {
    regs: bootRegs({ rip: BigInt(entry), rsi: BigInt(BOOT_DATA.zeroPage) }),
    sregs: is64Bit ? enterLongMode(mem) : enterProtectedMode(mem),
    method: `${name}-${is64Bit ? 64 : 32}`,
  };
}

/**
 * Memory from the load address to the end of what the kernel uses before it reads the memory map. A relocatable
 * kernel runs where it is loaded, rounded up, but never below its preferred address; any other at that address.
 */
function memoryNeeded(header: SetupHeader, load: number): Range {
  const aligned = header.relocatable ? alignUp(load, header.alignment || 1) : load;
  const run = Math.max(aligned, header.preferredAddress);
  const end = Math.max(run + header.initSize, load + header.kernel.length);
  return { base: load, size: end - load };
}
