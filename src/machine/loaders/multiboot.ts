/**
 * Boots a kernel by the Multiboot Specification, version 0.6.96: ELF files and those that state their load
 * addresses in the multiboot header. 32-bit protected mode, paging off, EAX 2BADB002h, EBX the information.
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { alignUp, ByteWriter, viewOf } from '../bytes.ts';
import { LoadError } from '../errors.ts';
import { EBDA_BASE, HIGH_MEMORY_BASE, KIB, PAGE_SIZE } from '../memory-map.ts';
import { BOOT_DATA, type BootState, bootRegs, enterProtectedMode } from './boot-state.ts';
import { isElf, loadElf, parseElf, physicalEntry } from './elf.ts';
import { checkKernelRange, initrdTooLarge, type LoadRequest, type Range, writeCommandLine } from './load-request.ts';

const HEADER_MAGIC = 0x1badb002;
const LOADER_MAGIC = 0x2badb002n;
/** The header must lie in the first 8 KiB, on a 4-byte boundary (3.1). */
const HEADER_SEARCH = 8192;
const HEADER_SIZE = 12;
const ADDRESSES_END = 32;

/** Header flags (3.1.2): [0] modules on pages, [1] memory info, [2] video mode wanted, [16] addresses given. */
const FLAG_ADDRESSES = 1 << 16;
/** Of the flags 0-15, which a loader must refuse when it does not know them, the ones known here. */
const KNOWN_REQUIREMENTS = 0b111;
const REQUIREMENTS = 0xffff;

/** Information flags (3.3): [0] memory sizes, [2] command line, [3] modules, [6] memory map, [9] loader name. */
const INFO_FLAGS = (1 << 0) | (1 << 2) | (1 << 3) | (1 << 6) | (1 << 9);
const INFO = BOOT_DATA.info;
const INFO_SIZE = 128;
const MODULES = INFO + 0x100;
const MEMORY_MAP = INFO + 0x200;
const LOADER_NAME = INFO + 0x800;
const MODULE_NAME = INFO + 0x880;
const MEMORY_MAP_ENTRY = 24;

/** The multiboot header of a file. */
export interface MultibootHeader {
  /** Where it is in the file. */
  readonly offset: number;
  readonly flags: number;
}

/** Finds the header by magic and checksum; undefined when there is none. */
export function findMultibootHeader(bytes: Uint8Array): MultibootHeader | undefined {
  const view = viewOf(bytes);
  const end = Math.min(bytes.length, HEADER_SEARCH) - HEADER_SIZE;
  for (let offset = 0; offset <= end; offset += 4) {
    if (view.getUint32(offset, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(offset + 4, true);
    if (((HEADER_MAGIC + flags + view.getUint32(offset + 8, true)) & 0xffff_ffff) === 0) return { offset, flags };
  }
  return undefined;
}

/**
 * Loads `request.kernel`, a file with a multiboot header; the initrd becomes module 0.
 * @throws LoadError
 */
export function loadMultiboot(mem: GuestMemory, request: LoadRequest): BootState {
  const header = findMultibootHeader(request.kernel);
  if (!header) {
    throw new LoadError('not-a-kernel', 'the file has no multiboot header', 'use another boot method');
  }
  if ((header.flags & REQUIREMENTS & ~KNOWN_REQUIREMENTS) !== 0) {
    const flags = (header.flags >>> 0).toString(16);
    throw new LoadError(
      'unsupported',
      `the kernel requires unknown multiboot features (flags ${flags}h)`,
      'give another',
    );
  }
  const { entry, end } =
    header.flags & FLAG_ADDRESSES ? loadByAddresses(mem, request, header) : loadAsElf(mem, request);
  const commandLine = writeCommandLine(mem, request.commandLine, BOOT_DATA.commandLineMax);
  writeInfo(mem, request, commandLine, placeModule(mem, request, end));
  return {
    regs: bootRegs({ rip: BigInt(entry), rax: LOADER_MAGIC, rbx: BigInt(INFO) }),
    sregs: enterProtectedMode(mem),
    method: 'multiboot',
  };
}

function loadAsElf(mem: GuestMemory, request: LoadRequest): { entry: number; end: number } {
  if (!isElf(request.kernel)) {
    throw new LoadError('not-a-kernel', 'the multiboot kernel is no ELF file and states no addresses', 'give another');
  }
  const elf = parseElf(request.kernel);
  const entry = physicalEntry(elf);
  return { entry, end: loadElf(mem, request.map, elf) };
}

/**
 * Loads by the address fields of the header (3.1.3).
 *
 *     12 header_addr   16 load_addr   20 load_end_addr, 0 for all of the file   24 bss_end_addr, 0 for none
 *     28 entry_addr
 */
function loadByAddresses(
  mem: GuestMemory,
  request: LoadRequest,
  header: MultibootHeader,
): { entry: number; end: number } {
  const { kernel, map } = request;
  if (header.offset + ADDRESSES_END > kernel.length) throw truncated();
  const field = (at: number): number => viewOf(kernel).getUint32(header.offset + at, true);
  const load = field(16);
  const fileStart = header.offset - (field(12) - load);
  if (fileStart < 0 || fileStart > header.offset) {
    throw new LoadError('corrupt', 'the multiboot load addresses contradict the file', 'give an intact kernel');
  }
  const loadEnd = field(20) || load + kernel.length - fileStart;
  const size = loadEnd - load;
  if (size < 0 || fileStart + size > kernel.length) throw truncated();
  const end = Math.max(loadEnd, field(24));
  checkKernelRange(map, { base: load, size: end - load });
  mem.write(load, kernel.subarray(fileStart, fileStart + size));
  if (end > loadEnd) mem.fill(loadEnd, end - loadEnd, 0);
  return { entry: field(28), end };
}

/** The module goes right behind the kernel, on a page boundary: small kernels map little memory at first. */
function placeModule(mem: GuestMemory, request: LoadRequest, kernelEnd: number): Range {
  const { initrd, map } = request;
  if (!initrd || initrd.length === 0) return { base: 0, size: 0 };
  const base = alignUp(Math.max(kernelEnd, HIGH_MEMORY_BASE), PAGE_SIZE);
  const missing = base + initrd.length - map.lowRamEnd;
  if (missing > 0) throw initrdTooLarge(initrd.length, map, missing);
  mem.write(base, initrd);
  return { base, size: initrd.length };
}

/**
 *     0 flags   4 mem_lower   8 mem_upper (KiB)   12 boot device   16 command line   20 modules   24 module list
 *    28 symbols (16)   44 memory map length   48 memory map   52 drives (8)   60 config   64 loader name
 */
function writeInfo(mem: GuestMemory, request: LoadRequest, commandLine: number, module: Range): void {
  const { map } = request;
  const modules = module.size > 0 ? 1 : 0;
  const info = new ByteWriter().u32(INFO_FLAGS);
  info.u32(EBDA_BASE / KIB).u32((map.lowRamEnd - HIGH_MEMORY_BASE) / KIB);
  info.u32(0).u32(commandLine);
  info
    .u32(modules)
    .u32(modules ? MODULES : 0)
    .padTo(44);
  info
    .u32(map.e820.length * MEMORY_MAP_ENTRY)
    .u32(MEMORY_MAP)
    .padTo(64);
  mem.write(INFO, info.u32(LOADER_NAME).padTo(INFO_SIZE).finish());
  if (modules) {
    const end = module.base + module.size;
    mem.write(MODULES, new ByteWriter().u32(module.base).u32(end).u32(MODULE_NAME).u32(0).finish());
  }
  const ranges = new ByteWriter();
  // The size of an entry does not count the size field itself (3.3).
  for (const { base, size, type } of map.e820)
    ranges
      .u32(MEMORY_MAP_ENTRY - 4)
      .u64(base)
      .u64(size)
      .u32(type);
  mem.write(MEMORY_MAP, ranges.finish());
  mem.write(LOADER_NAME, new ByteWriter().ascii('Plinth').u8(0).finish());
  mem.write(MODULE_NAME, new ByteWriter().ascii('initrd').u8(0).finish());
}

function truncated(): LoadError {
  return new LoadError('truncated', 'the multiboot kernel is cut off', 'copy or download it again');
}
