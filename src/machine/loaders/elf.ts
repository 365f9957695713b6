/**
 * ELF executables, 32 and 64 bit, little-endian x86: program headers and notes, every offset checked
 * (System V ABI, chapters 4 and 5).
 */
import type { GuestMemory } from '../../hv/contract.ts';
import { alignUp, viewOf } from '../bytes.ts';
import { LoadError } from '../errors.ts';
import type { MemoryMap } from '../memory-map.ts';
import { checkKernelRange } from './load-request.ts';

const MAGIC = 0x464c457f;
const CLASS_32 = 1;
const CLASS_64 = 2;
const DATA_LITTLE_ENDIAN = 1;
const TYPE_EXEC = 2;
const TYPE_DYN = 3;
const MACHINE_386 = 3;
const MACHINE_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
/** More than any kernel has; a bound for hostile files. */
const MAX_PROGRAM_HEADERS = 256;
const MAX_NOTES = 1024;
const NOTE_HEADER_SIZE = 12;

/** One program header. Addresses and sizes are safe integers or, for `virtual`, any 64-bit value. */
export interface ElfSegment {
  readonly type: number;
  readonly offset: number;
  readonly virtual: bigint;
  readonly physical: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly align: number;
}

/** A parsed executable. */
export interface ElfFile {
  readonly bits: 32 | 64;
  /** As the file has it: physical or virtual. */
  readonly entry: bigint;
  readonly segments: readonly ElfSegment[];
  readonly bytes: Uint8Array;
}

/** True when `bytes` begin like an ELF file. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).getUint32(0, true) === MAGIC;
}

/**
 * Parses an x86 ELF executable.
 * @throws LoadError when it is not one, is cut off, or is for another processor
 */
export function parseElf(bytes: Uint8Array): ElfFile {
  if (!isElf(bytes)) throw new LoadError('not-a-kernel', 'the file is not an ELF executable', 'give a kernel image');
  if (bytes.length < 52) throw truncated('in its header');
  const view = viewOf(bytes);
  const bits = classOf(bytes);
  const type = view.getUint16(16, true);
  const machine = view.getUint16(18, true);
  if (type !== TYPE_EXEC && type !== TYPE_DYN) {
    throw new LoadError(
      'not-a-kernel',
      'the ELF file is not an executable',
      'give a linked kernel, not an object file',
    );
  }
  if (machine !== MACHINE_386 && machine !== MACHINE_X86_64) {
    throw new LoadError('unsupported', `the ELF file is for processor type ${machine}`, 'give an x86 kernel');
  }
  if (bits === 64 && bytes.length < 64) throw truncated('in its header');
  const entry = bits === 64 ? view.getBigUint64(24, true) : BigInt(view.getUint32(24, true));
  return { bits, entry, segments: readSegments(view, bits), bytes };
}

function classOf(bytes: Uint8Array): 32 | 64 {
  const elfClass = bytes[4];
  if (bytes[5] === DATA_LITTLE_ENDIAN && elfClass === CLASS_32) return 32;
  if (bytes[5] === DATA_LITTLE_ENDIAN && elfClass === CLASS_64) return 64;
  throw new LoadError('unsupported', 'the ELF file is not little-endian 32 or 64 bit', 'give an x86 kernel');
}

function readSegments(view: DataView, bits: 32 | 64): ElfSegment[] {
  const start = bits === 64 ? safe(view.getBigUint64(32, true)) : view.getUint32(28, true);
  const entrySize = view.getUint16(bits === 64 ? 54 : 42, true);
  const count = view.getUint16(bits === 64 ? 56 : 44, true);
  if (count === 0 || count > MAX_PROGRAM_HEADERS || entrySize < (bits === 64 ? 56 : 32)) {
    throw new LoadError('not-a-kernel', 'the ELF file has no usable program headers', 'give a linked kernel');
  }
  if (start + count * entrySize > view.byteLength) throw truncated('in its program headers');
  const segments: ElfSegment[] = [];
  for (let i = 0; i < count; i++) {
    const segment =
      bits === 64 ? readSegment64(view, start + i * entrySize) : readSegment32(view, start + i * entrySize);
    if (segment.type === PT_LOAD || segment.type === PT_NOTE) segments.push(checkSegment(segment, view.byteLength));
  }
  return segments;
}

function readSegment64(view: DataView, at: number): ElfSegment {
  return {
    type: view.getUint32(at, true),
    offset: safe(view.getBigUint64(at + 8, true)),
    virtual: view.getBigUint64(at + 16, true),
    physical: safe(view.getBigUint64(at + 24, true)),
    fileSize: safe(view.getBigUint64(at + 32, true)),
    memorySize: safe(view.getBigUint64(at + 40, true)),
    align: safe(view.getBigUint64(at + 48, true)),
  };
}

function readSegment32(view: DataView, at: number): ElfSegment {
  return {
    type: view.getUint32(at, true),
    offset: view.getUint32(at + 4, true),
    virtual: BigInt(view.getUint32(at + 8, true)),
    physical: view.getUint32(at + 12, true),
    fileSize: view.getUint32(at + 16, true),
    memorySize: view.getUint32(at + 20, true),
    align: view.getUint32(at + 28, true),
  };
}

function checkSegment(segment: ElfSegment, fileLength: number): ElfSegment {
  if (segment.offset + segment.fileSize > fileLength) throw truncated('in a segment');
  if (segment.type === PT_LOAD && segment.fileSize > segment.memorySize) {
    throw new LoadError('corrupt', 'an ELF segment is larger in the file than in memory', 'give an intact kernel');
  }
  return segment;
}

/** A 64-bit field as a number; larger values are clamped, so that the checks after it refuse them. */
function safe(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) / 4n ? Number.MAX_SAFE_INTEGER / 4 : Number(value);
}

function truncated(where: string): LoadError {
  return new LoadError('truncated', `the ELF file ends ${where}`, 'copy or download it again');
}

/** Segments that occupy memory. */
export function loadSegments(elf: ElfFile): ElfSegment[] {
  return elf.segments.filter((s) => s.type === PT_LOAD && s.memorySize > 0);
}

/**
 * Copies the loadable segments to their physical addresses and zeroes what the file does not hold.
 * Returns the end of the highest one.
 * @throws LoadError when a segment is not in RAM; then nothing has been written
 */
export function loadElf(mem: GuestMemory, map: MemoryMap, elf: ElfFile): number {
  const segments = loadSegments(elf);
  if (segments.length === 0) throw new LoadError('not-a-kernel', 'the ELF file loads nothing', 'give a linked kernel');
  for (const s of segments) checkKernelRange(map, { base: s.physical, size: s.memorySize });
  let end = 0;
  for (const s of segments) {
    mem.write(s.physical, elf.bytes.subarray(s.offset, s.offset + s.fileSize));
    if (s.memorySize > s.fileSize) mem.fill(s.physical + s.fileSize, s.memorySize - s.fileSize, 0);
    end = Math.max(end, s.physical + s.memorySize);
  }
  return end;
}

/**
 * The physical address of the entry point: the file's value when it lies in a segment as loaded, else taken as
 * virtual and translated.
 * @throws LoadError when it is in no segment
 */
export function physicalEntry(elf: ElfFile): number {
  const segments = loadSegments(elf);
  const { entry } = elf;
  const asPhysical = segments.some((s) => entry >= BigInt(s.physical) && entry < BigInt(s.physical + s.memorySize));
  if (asPhysical) return Number(entry);
  const s = segments.find((x) => entry >= x.virtual && entry < x.virtual + BigInt(x.memorySize));
  if (s) return s.physical + Number(entry - s.virtual);
  throw new LoadError('corrupt', 'the ELF entry point lies in no segment', 'give an intact kernel');
}

/**
 * The contents of the first note with this owner and type, or undefined.
 *
 *     note: name size (4)  descriptor size (4)  type (4)  name, padded to 4  descriptor, padded to 4
 */
export function findNote(elf: ElfFile, owner: string, type: number): Uint8Array | undefined {
  for (const segment of elf.segments) {
    if (segment.type !== PT_NOTE) continue;
    const found = findNoteIn(elf.bytes.subarray(segment.offset, segment.offset + segment.fileSize), owner, type);
    if (found) return found;
  }
  return undefined;
}

function findNoteIn(notes: Uint8Array, owner: string, type: number): Uint8Array | undefined {
  const view = viewOf(notes);
  let at = 0;
  for (let count = 0; count < MAX_NOTES && at + NOTE_HEADER_SIZE <= notes.length; count++) {
    const nameSize = view.getUint32(at, true);
    const size = view.getUint32(at + 4, true);
    const name = at + NOTE_HEADER_SIZE;
    const descriptor = name + alignUp(nameSize, 4);
    if (descriptor + size > notes.length) return undefined;
    const text = String.fromCharCode(...notes.subarray(name, name + Math.min(nameSize, 16)));
    if (view.getUint32(at + 8, true) === type && text === `${owner}\0`)
      return notes.subarray(descriptor, descriptor + size);
    at = descriptor + alignUp(size, 4);
  }
  return undefined;
}
