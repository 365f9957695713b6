// The kernel of a random program's machine: descriptor tables, and handlers that tell the host what happened (port
// EVENT_PORT), do the TLB invalidation that the host asks for in two cells, and return.
import { ATTR } from '../../src/isa/layout.ts';
import { PAGE } from './places.ts';

export const EVENT_PORT = 0x50;
export const SYSCALL_PORT = 0x51;

/** Layout of the kernel from its base. */
export const AT = {
  GDT: 0,
  TSS: 0x800,
  IDT: PAGE,
  STUBS: 2 * PAGE,
  COMMON: 3 * PAGE,
  SYSCALL: 3 * PAGE + 0x800,
  SYSENTER: 3 * PAGE + 0xa00,
  /** u64 linear address to INVLPG, or 0; u64 value for CR3, or 0. */
  CELLS: 4 * PAGE,
  STACK_TOP: 7 * PAGE,
  IST_TOP: 6 * PAGE,
} as const;
export const KERNEL_PAGES = 7;
export const KERNEL_LONG = 0xffff_8000_0000_0000n;
export const KERNEL_LEGACY = 0xc000_0000n;

/** Selectors; 16 below 0x18 is what SYSRET and SYSEXIT want. */
export const SELECTOR = {
  KERNEL_CODE: 0x08,
  KERNEL_DATA: 0x10,
  USER_CODE32: 0x1b,
  USER_DATA: 0x23,
  USER_CODE64: 0x2b,
  KERNEL_CODE32: 0x30,
  TSS: 0x38,
  ODD_USER_CODE: 0x4b,
  ODD_USER_DATA: 0x53,
  ODD_KERNEL_CODE: 0x58,
  ODD_KERNEL_DATA: 0x60,
  /** 16-bit code, a segment for each group of pages, and behind them data, then data from PAGE on; of the program's level. */
  NARROW: 0x68,
} as const;
/** 16-bit code segments. */
export const NARROW_SEGMENTS = 3;
const GDT_ENTRIES = 15 + NARROW_SEGMENTS;

/** A segment descriptor over 4 GiB (SDM vol.3 figure 3-8). `attr` as in ATTR. */
function descriptor(base: number, attr: number): bigint {
  const low = 0xffffn | (BigInt(base & 0xffffff) << 16n);
  const high = BigInt(attr & 0xf0ff) | 0xf00n;
  return low | (high << 40n) | (BigInt(base >>> 24) << 56n);
}
const DATA_ATTR = ATTR.P | ATTR.S | ATTR.WRITABLE | ATTR.ACCESSED | ATTR.DB | ATTR.G;
const CODE_ATTR = DATA_ATTR | ATTR.CODE;
const USER_ATTR = 3 << ATTR.DPL_SHIFT;
const LONG_ATTR = (CODE_ATTR & ~ATTR.DB) | ATTR.L;

/** [base, attributes] of a selector's segment; the odd ones have the bases given. */
export function segmentOf(selector: number, long: boolean, oddCode: number, oddData: number): [number, number] {
  switch (selector) {
    case SELECTOR.KERNEL_CODE:
      return [0, long ? LONG_ATTR : CODE_ATTR];
    case SELECTOR.KERNEL_DATA:
      return [0, DATA_ATTR];
    case SELECTOR.USER_CODE32:
      return [0, CODE_ATTR | USER_ATTR];
    case SELECTOR.USER_DATA:
      return [0, DATA_ATTR | USER_ATTR];
    case SELECTOR.USER_CODE64:
      return [0, LONG_ATTR | USER_ATTR];
    case SELECTOR.KERNEL_CODE32:
      return [0, CODE_ATTR];
    case SELECTOR.ODD_USER_CODE:
      return [oddCode, CODE_ATTR | USER_ATTR];
    case SELECTOR.ODD_USER_DATA:
      return [oddData, DATA_ATTR | USER_ATTR];
    case SELECTOR.ODD_KERNEL_CODE:
      return [oddCode, CODE_ATTR];
    case SELECTOR.ODD_KERNEL_DATA:
      return [oddData, DATA_ATTR];
    default:
      throw new RangeError(`no selector ${selector}`);
  }
}
export const GDT_LIMIT = GDT_ENTRIES * 8 - 1;

export interface KernelOptions {
  readonly long: boolean;
  readonly oddCode: number;
  readonly oddData: number;
  /** Bases of the segments from SELECTOR.NARROW on; their level. */
  readonly narrow: readonly number[];
  readonly cpl: 0 | 3;
  /** Every handler has a stack of its own kind (long mode). */
  readonly ist: boolean;
}

/** Vectors that push an error code. */
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);

/** The kernel's pages, to be mapped at `base`. */
export function kernelImage(base: bigint, o: KernelOptions): Uint8Array {
  const image = new Uint8Array(KERNEL_PAGES * PAGE);
  const v = new DataView(image.buffer);
  for (const selector of Object.values(SELECTOR)) {
    if (selector === SELECTOR.TSS || selector === SELECTOR.NARROW) continue;
    const [segBase, attr] = segmentOf(selector, o.long, o.oddCode, o.oddData);
    v.setBigUint64(selector & ~7, descriptor(segBase, attr), true);
  }
  o.narrow.forEach((narrowBase, i) => {
    const attr = (i < NARROW_SEGMENTS ? CODE_ATTR : DATA_ATTR) & ~ATTR.DB;
    v.setBigUint64(SELECTOR.NARROW + i * 8, descriptor(narrowBase, attr | (o.cpl << ATTR.DPL_SHIFT)), true);
  });
  const top = base + BigInt(AT.STACK_TOP);
  if (o.long) {
    v.setBigUint64(AT.TSS + 4, top, true);
    v.setBigUint64(AT.TSS + 0x24, base + BigInt(AT.IST_TOP), true);
  } else {
    v.setUint32(AT.TSS + 4, Number(top), true);
    v.setUint32(AT.TSS + 8, SELECTOR.KERNEL_DATA, true);
  }
  v.setUint16(AT.TSS + 0x66, 0x68, true);
  for (let vector = 0; vector < 256; vector++) {
    gate(v, vector, base + BigInt(AT.STUBS + vector * 16), o);
    image.set(stub(vector), AT.STUBS + vector * 16);
  }
  image.set(o.long ? common64(base) : common32(Number(base)), AT.COMMON);
  image.set(o.long ? [0xe6, SYSCALL_PORT, 0x48, 0x0f, 0x07] : [0xe6, SYSCALL_PORT, 0x0f, 0x07], AT.SYSCALL);
  image.set([0xe6, SYSCALL_PORT, 0x0f, 0x35], AT.SYSENTER);
  return image;
}

function gate(v: DataView, vector: number, target: bigint, o: KernelOptions): void {
  const type = 0xee00n | (o.long && o.ist ? 1n : 0n);
  const low =
    (target & 0xffffn) | (BigInt(SELECTOR.KERNEL_CODE) << 16n) | (type << 32n) | (((target >> 16n) & 0xffffn) << 48n);
  v.setBigUint64(AT.IDT + vector * (o.long ? 16 : 8), low, true);
  if (o.long) v.setBigUint64(AT.IDT + vector * 16 + 8, target >> 32n, true);
}

/** push 0 where there is no error code; push vector; jmp common. */
function stub(vector: number): number[] {
  const bytes = [...(WITH_ERROR.has(vector) ? [] : [0x6a, 0]), 0x6a, vector, 0xe9];
  const from = AT.STUBS + vector * 16 + bytes.length + 4;
  const d = AT.COMMON - from;
  return [...bytes, d & 0xff, (d >> 8) & 0xff, (d >> 16) & 0xff, (d >> 24) & 0xff];
}

const little = (x: bigint, n: number): number[] =>
  Array.from({ length: n }, (_, i) => Number((x >> BigInt(8 * i)) & 0xffn));

/** What every handler does; the frame is rdx rcx rax vector error rip cs rflags rsp ss. GS is swapped as kernels do. */
function common64(base: bigint): number[] {
  const swap = [0xf6, 0x44, 0x24, 0x30, 3, 0x74, 3, 0x0f, 0x01, 0xf8]; // test byte [rsp+0x30], 3; jz +3; swapgs
  return [
    ...[0x50, 0x51, 0x52], // push rax, rcx, rdx
    ...swap,
    ...[0xe6, EVENT_PORT],
    ...[0x48, 0xb8, ...little(base + BigInt(AT.CELLS), 8)], // mov rax, cells
    ...[0x48, 0x8b, 0x08], // mov rcx, [rax]
    ...[0x48, 0x85, 0xc9, 0x74, 3, 0x0f, 0x01, 0x39], // test rcx, rcx; jz; invlpg [rcx]
    ...[0x48, 0x8b, 0x48, 8], // mov rcx, [rax+8]
    ...[0x48, 0x85, 0xc9, 0x74, 3, 0x0f, 0x22, 0xd9], // test rcx, rcx; jz; mov cr3, rcx
    ...swap,
    ...[0x5a, 0x59, 0x58], // pop rdx, rcx, rax
    ...[0x48, 0x83, 0xc4, 16, 0x48, 0xcf], // add rsp, 16; iretq
  ];
}

/** The same in legacy mode, where DS is the program's: the cells are read through CS. */
function common32(base: number): number[] {
  const cell = (at: number): number[] => little(BigInt(base + AT.CELLS + at), 4);
  return [
    ...[0x50, 0x51, 0x52],
    ...[0xe6, EVENT_PORT],
    ...[0x2e, 0xa1, ...cell(0)], // mov eax, cs:[cell]
    ...[0x85, 0xc0, 0x74, 4, 0x2e, 0x0f, 0x01, 0x38], // test eax, eax; jz; invlpg cs:[eax]
    ...[0x2e, 0xa1, ...cell(8)],
    ...[0x85, 0xc0, 0x74, 3, 0x0f, 0x22, 0xd8], // test eax, eax; jz; mov cr3, eax
    ...[0x5a, 0x59, 0x58],
    ...[0x83, 0xc4, 8, 0xcf], // add esp, 8; iretd
  ];
}
