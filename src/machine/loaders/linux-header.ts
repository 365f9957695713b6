/**
 * The setup header of a Linux bzImage (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
 */
import { viewOf } from '../bytes.ts';
import { LoadError } from '../errors.ts';

/** Offsets of header fields, the same in the file and in boot_params. */
export const HEADER = {
  start: 0x1f1,
  setupSectors: 0x1f1,
  sysSize: 0x1f4,
  videoMode: 0x1fa,
  bootFlag: 0x1fe,
  jump: 0x200,
  magic: 0x202,
  version: 0x206,
  loaderType: 0x210,
  loadFlags: 0x211,
  code32Start: 0x214,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  commandLine: 0x228,
  initrdMax: 0x22c,
  kernelAlignment: 0x230,
  relocatable: 0x234,
  xloadFlags: 0x236,
  commandLineSize: 0x238,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  preferredAddress: 0x258,
  initSize: 0x260,
  /** The header may not reach beyond this in boot_params. */
  limit: 0x290,
} as const;

export const BOOT_FLAG = 0xaa55;
/** "HdrS". */
export const HEADER_MAGIC = 0x53726448;
const JUMP_SHORT = 0xeb;
const SECTOR = 512;
const DEFAULT_SETUP_SECTORS = 4;
/** loadflags: [0] the protected-mode part goes to 1 MiB. */
const LOADED_HIGH = 1 << 0;
/** xloadflags: [0] there is a 64-bit entry point 200h after the 32-bit one. */
const XLF_KERNEL_64 = 1 << 0;
const MIN_VERSION = 0x202;

/** What a loader needs of the setup header, defaults filled in for old protocol versions. */
export interface SetupHeader {
  /** Protocol version, major in the high byte: 0x20f is 2.15. */
  readonly version: number;
  /** The header's own bytes, from `HEADER.start`. */
  readonly raw: Uint8Array;
  /** Protected-mode part of the image. */
  readonly kernel: Uint8Array;
  readonly is64Bit: boolean;
  readonly relocatable: boolean;
  readonly alignment: number;
  /** Where the kernel likes to run; 1 MiB for versions before 2.10. */
  readonly preferredAddress: number;
  /** Bytes from the run address that the kernel needs before it reads the memory map. */
  readonly initSize: number;
  /** Highest gpa the last byte of the ramdisk may have. */
  readonly initrdMax: number;
  /** Longest command line in bytes without terminator. */
  readonly commandLineMax: number;
  /** The compressed kernel within `kernel`; empty before version 2.08. */
  readonly payload: Uint8Array;
}

/** True when `bytes` carry the magic of a Linux boot image. */
export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < HEADER.version) return false;
  const view = viewOf(bytes);
  return view.getUint16(HEADER.bootFlag, true) === BOOT_FLAG && view.getUint32(HEADER.magic, true) === HEADER_MAGIC;
}

/**
 * Parses and checks the setup header.
 * @throws LoadError when the file is not a bzImage, is cut off, or is too old
 */
export function parseSetupHeader(bytes: Uint8Array): SetupHeader {
  if (!isBzImage(bytes)) {
    throw new LoadError('not-a-kernel', 'the file has no Linux boot header', 'give a bzImage, such as /boot/vmlinuz');
  }
  if (bytes.length < 2 * SECTOR) throw truncated(bytes.length);
  const view = viewOf(bytes);
  const version = view.getUint16(HEADER.version, true);
  checkLoadable(version, view.getUint8(HEADER.loadFlags));
  const setupSize = ((view.getUint8(HEADER.setupSectors) || DEFAULT_SETUP_SECTORS) + 1) * SECTOR;
  // The size is in paragraphs of 16 bytes, so the last one may be partly beyond the file.
  const kernelSize = view.getUint32(HEADER.sysSize, true) * 16;
  if (kernelSize === 0 || setupSize + kernelSize > bytes.length + 15) throw truncated(bytes.length);
  const kernel = bytes.subarray(setupSize, Math.min(bytes.length, setupSize + kernelSize));
  // The jump over the header tells where it ends.
  const headerEnd =
    view.getUint8(HEADER.jump) === JUMP_SHORT ? HEADER.magic + view.getUint8(HEADER.jump + 1) : HEADER.limit;
  const since = (v: number, offset: number, fallback: number): number =>
    version >= v ? view.getUint32(offset, true) : fallback;
  return {
    version,
    raw: bytes.slice(HEADER.start, Math.min(headerEnd, HEADER.limit)),
    kernel,
    is64Bit: version >= 0x20c && (view.getUint16(HEADER.xloadFlags, true) & XLF_KERNEL_64) !== 0,
    relocatable: version >= 0x205 && view.getUint8(HEADER.relocatable) !== 0,
    alignment: since(0x205, HEADER.kernelAlignment, 0x100000),
    preferredAddress: version >= 0x20a ? Number(view.getBigUint64(HEADER.preferredAddress, true)) : 0x100000,
    initSize: since(0x20a, HEADER.initSize, kernel.length),
    initrdMax: since(0x203, HEADER.initrdMax, 0x37ffffff),
    commandLineMax: since(0x206, HEADER.commandLineSize, 255),
    payload: payloadOf(view, version, kernel),
  };
}

function checkLoadable(version: number, loadFlags: number): void {
  if (version < MIN_VERSION) {
    const name = `${version >> 8}.${(version & 0xff).toString().padStart(2, '0')}`;
    throw new LoadError('unsupported', `the kernel has boot protocol ${name}`, 'give a kernel of Linux 2.4 or later');
  }
  if ((loadFlags & LOADED_HIGH) === 0) {
    throw new LoadError('unsupported', 'the kernel is a zImage, loaded below 1 MiB', 'give a bzImage');
  }
}

function payloadOf(view: DataView, version: number, kernel: Uint8Array): Uint8Array {
  if (version < 0x208) return new Uint8Array(0);
  const offset = view.getUint32(HEADER.payloadOffset, true);
  const length = view.getUint32(HEADER.payloadLength, true);
  return offset + length <= kernel.length ? kernel.subarray(offset, offset + length) : new Uint8Array(0);
}

function truncated(length: number): LoadError {
  return new LoadError('truncated', `the kernel image is cut off after ${length} bytes`, 'copy or download it again');
}
