/**
 * What a loader is asked to do, and the steps that several boot protocols share: command line and ramdisk.
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { alignDown } from '../bytes.ts';
import { LoadError } from '../errors.ts';
import { describeSize, HIGH_MEMORY_BASE, isUsableRam, type MemoryMap, PAGE_SIZE } from '../memory-map.ts';
import { BOOT_DATA } from './boot-state.ts';

/** How to boot: `auto` looks at the file. */
export const BOOT_METHODS = ['auto', 'bzimage', 'elf', 'pvh', 'multiboot'] as const;
export type BootMethod = (typeof BOOT_METHODS)[number];

/** A kernel and what goes with it. */
export interface LoadRequest {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  /** Characters above U+007F are passed as UTF-8. */
  readonly commandLine: string;
  readonly map: MemoryMap;
  /** gpa of the ACPI RSDP. */
  readonly rsdp: number;
  readonly method?: BootMethod;
}

/** A range of guest-physical memory `[base, base + size)`. */
export interface Range {
  readonly base: number;
  readonly size: number;
}

/**
 * Writes the command line with its terminator at `BOOT_DATA.commandLine`.
 * @param limit longest length the kernel takes, in bytes without terminator
 * @throws LoadError when it is longer
 */
export function writeCommandLine(mem: GuestMemory, commandLine: string, limit: number): number {
  const bytes = new TextEncoder().encode(commandLine);
  const most = Math.min(limit, BOOT_DATA.commandLineMax);
  if (bytes.length > most) {
    throw new LoadError(
      'command-line-too-long',
      `the kernel command line has ${bytes.length} bytes, this kernel takes ${most}`,
      'shorten what is appended',
    );
  }
  const terminated = new Uint8Array(bytes.length + 1);
  terminated.set(bytes);
  mem.write(BOOT_DATA.commandLine, terminated);
  return BOOT_DATA.commandLine;
}

/**
 * Places the ramdisk as high as possible in RAM below 4 GiB, on a page boundary. Returns an empty range when
 * there is none.
 * @param above end of the memory that the kernel needs for itself, exclusive
 * @param limit the ramdisk must end at or below this gpa
 * @throws LoadError when it does not fit
 */
export function placeRamdiskHigh(mem: GuestMemory, request: LoadRequest, above: number, limit: number): Range {
  const { initrd, map } = request;
  if (!initrd || initrd.length === 0) return { base: 0, size: 0 };
  const base = alignDown(Math.min(limit, map.lowRamEnd) - initrd.length, PAGE_SIZE);
  if (base < above) throw initrdTooLarge(initrd.length, map, above - base);
  mem.write(base, initrd);
  return { base, size: initrd.length };
}

/** The error for a ramdisk that is `missing` bytes too large. */
export function initrdTooLarge(size: number, map: MemoryMap, missing: number): LoadError {
  return new LoadError(
    'initrd-too-large',
    `the initrd of ${describeSize(size)} does not fit beside the kernel in ${describeSize(map.ramSize)} of memory`,
    `give at least ${suggestSize(map.ramSize + missing)} of memory or a smaller initrd`,
  );
}

/**
 * Checks that a part of the kernel lies in RAM that is the kernel's to use and off the loader's own data.
 * @throws LoadError when it does not
 */
export function checkKernelRange(map: MemoryMap, range: Range): void {
  if (range.size === 0) return;
  if (range.base < BOOT_DATA.end) {
    throw new LoadError(
      'unsupported',
      `the kernel wants to be at ${hex(range.base)}, where boot data lies`,
      `link it at ${hex(HIGH_MEMORY_BASE)} or above`,
    );
  }
  if (isUsableRam(map, range.base, range.size)) return;
  const end = range.base + range.size;
  if (range.base >= HIGH_MEMORY_BASE && end > map.lowRamEnd) throw memoryTooSmall(map, end);
  throw new LoadError(
    'unsupported',
    `the kernel wants to be at ${hex(range.base)}-${hex(end)}, which is not RAM on a PC`,
    `link it at ${hex(HIGH_MEMORY_BASE)} or above`,
  );
}

/** The error for a kernel that needs RAM up to gpa `end`. */
export function memoryTooSmall(map: MemoryMap, end: number): LoadError {
  return new LoadError(
    'memory-too-small',
    `the kernel needs memory up to ${describeSize(end)} and the machine has ${describeSize(map.ramSize)}`,
    end <= 0xc0000000 ? `give at least ${suggestSize(end)} of memory` : 'use a kernel that is linked below 3 GiB',
  );
}

/** A round size that is at least `bytes`. */
function suggestSize(bytes: number): string {
  const step = 16 * 1024 * 1024;
  return describeSize(Math.ceil(bytes / step) * step);
}

/** A gpa for people. */
export function hex(gpa: number): string {
  return `0x${gpa.toString(16)}`;
}
