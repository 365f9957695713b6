// A differential case: one user-mode instruction and the state it starts from; and what came of it. Many of them lie
// in one buffer as the binary records of harness.c, so that engines exchange them without objects in between.
import type { Insn } from '../../src/isa/insn.ts';

/** Addresses and sizes that harness.c uses too. The instruction lies at CODE. */
export const CODE_PAGE = 0x1000_0000n;
export const CODE = CODE_PAGE + 0x800n;
/** Two read-write pages, zero outside the window, then a read-only page of zeros; nothing around them. */
export const DATA = 0x2000_0000n;
export const DATA_SIZE = 0x2000;
export const PAGE = 0x1000;
/** The part of the data pages that a case fills and compares: it lies across the page boundary. */
export const WINDOW = DATA + 0xf80n;
export const WINDOW_SIZE = 256;
export const FX_SIZE = 512;
/** Upper halves of YMM0-15. */
export const YMMH_SIZE = 256;
/**
 * Descriptors of the LDT, as they lie in memory: data that can be written, or not, that expands down, of 16 bits and of
 * pages; code that can be read, or not, conforming or absent; limits in bytes and in pages; one that is empty. Linux takes
 * only those of DPL 3 that have been accessed, and conforming code only if it is not present.
 */
export const LDT: readonly bigint[] = [
  0x0041_f312_3400_5678n,
  0x00cf_f300_0000_ffffn,
  0x00c0_f100_1000_0000n,
  0x0041_f700_0000_0fffn,
  0x0080_f500_0000_0001n,
  0x00df_fb00_0000_ffffn,
  0x0050_f900_0000_1234n,
  0x004a_ff00_0000_4321n & ~(0x80n << 40n),
  0x00c1_7300_0000_0000n,
  0x0000_7b00_0000_0fffn,
  0x0010_f300_0000_0000n,
  0n,
  0x008f_f900_0000_0000n,
];

/** Vector of an instruction that does not end. */
export const STUCK = 254;

export interface CpuValues {
  /** rax ... r15; in 32-bit cases the low halves of the first eight count. */
  readonly gpr: readonly bigint[];
  readonly rflags: number;
  /** FXSAVE image: x87, MMX, MXCSR, XMM. */
  readonly fx: Uint8Array;
  /** Upper halves of YMM0-15. */
  readonly ymmh: Uint8Array;
  readonly window: Uint8Array;
  /** Bases of FS and GS in 64-bit mode. */
  readonly bases: readonly bigint[];
}

export interface Case extends CpuValues {
  readonly insn: Insn;
  readonly code: Uint8Array;
}

export interface Result extends CpuValues {
  /** Exception vector, or -1. Taken branches are no exceptions: `rip` tells where they went. */
  readonly vector: number;
  readonly error: number;
  readonly cr2: bigint;
  readonly rip: bigint;
}

/*
 * The values of a case and of a result: +0 gpr u64[16], +128 rflags u64, +136 FXSAVE image 512, +648 ymmh 256,
 * +904 window 256, +1160 bases of FS and GS u64[2]. A request has in front of them u8 length, code[15]; a result i32 vector (-1: none), u32 error,
 * u64 cr2, u64 rip.
 */
export const VALUES = { GPR: 0, RFLAGS: 128, FX: 136, YMMH: 648, WINDOW: 904, BASES: 1160, SIZE: 1176 } as const;
export const REQUEST_VALUES = 16;
export const RESULT_VALUES = 24;
export const REQUEST_SIZE = REQUEST_VALUES + VALUES.SIZE;
export const RESULT_SIZE = RESULT_VALUES + VALUES.SIZE;
export const RESULT = { VECTOR: 0, ERROR: 4, CR2: 8, RIP: 16 } as const;

/** A buffer of records of one size, seen as bytes, words and quadwords. */
export class Records {
  readonly size: number;
  readonly count: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Int32Array<ArrayBuffer>;
  readonly quads: BigUint64Array<ArrayBuffer>;

  constructor(size: number, count: number) {
    this.size = size;
    this.count = count;
    this.bytes = new Uint8Array(size * count);
    this.words = new Int32Array(this.bytes.buffer);
    this.quads = new BigUint64Array(this.bytes.buffer);
  }

  /** The values at a byte offset; arrays are views. */
  protected values(at: number): CpuValues {
    const { bytes, quads } = this;
    const part = (from: number, n: number): Uint8Array => bytes.subarray(at + from, at + from + n);
    return {
      gpr: Array.from(quads.subarray(at / 8, at / 8 + 16)),
      rflags: Number(quads[(at + VALUES.RFLAGS) / 8]),
      fx: part(VALUES.FX, FX_SIZE),
      ymmh: part(VALUES.YMMH, YMMH_SIZE),
      window: part(VALUES.WINDOW, WINDOW_SIZE),
      bases: Array.from(quads.subarray((at + VALUES.BASES) / 8, (at + VALUES.BASES) / 8 + 2)),
    };
  }
}

/** Requests with the instruction of each. */
export class Batch extends Records {
  readonly insns: Insn[] = [];

  constructor(count: number) {
    super(REQUEST_SIZE, count);
  }
  /** Bytes of the instruction of case `i`. */
  code(i: number): Uint8Array {
    const at = i * REQUEST_SIZE;
    return this.bytes.subarray(at + 1, at + 1 + this.bytes[at]!);
  }
  setCode(i: number, code: Uint8Array): void {
    const at = i * REQUEST_SIZE;
    this.bytes.fill(0, at, at + REQUEST_VALUES);
    this.bytes[at] = code.length;
    this.bytes.set(code, at + 1);
  }
  case(i: number): Case {
    return { insn: this.insns[i]!, code: this.code(i), ...this.values(i * REQUEST_SIZE + REQUEST_VALUES) };
  }
}

/** A batch of cases that exist as objects. An instruction that none decodes may be run too. */
export function batchOf(cases: readonly (Omit<Case, 'insn'> & { readonly insn?: Insn })[]): Batch {
  const batch = new Batch(cases.length);
  cases.forEach((c, i) => {
    const at = i * REQUEST_SIZE + REQUEST_VALUES;
    batch.setCode(i, c.code);
    batch.quads.set(c.gpr, (at + VALUES.GPR) / 8);
    batch.quads[(at + VALUES.RFLAGS) / 8] = BigInt(c.rflags);
    batch.bytes.set(c.fx, at + VALUES.FX);
    batch.bytes.set(c.ymmh, at + VALUES.YMMH);
    batch.bytes.set(c.window, at + VALUES.WINDOW);
    batch.quads.set(c.bases, (at + VALUES.BASES) / 8);
    if (c.insn) batch.insns[i] = c.insn;
  });
  return batch;
}

export class Results extends Records {
  constructor(count: number) {
    super(RESULT_SIZE, count);
  }

  /** Turns landing on int3, or on a page that cannot be fetched from, into the jump that it is. `base` is that of CS. */
  normalize(base = 0n): void {
    const { words, quads, count } = this;
    for (let i = 0; i < count; i++) {
      const at = (i * RESULT_SIZE) / 4;
      const quad = at / 2;
      const vector = words[at]!;
      if (vector === 3) quads[quad + RESULT.RIP / 8]! -= 1n;
      else if (vector !== 14 || !this.fetchFault(quad, base)) continue;
      words[at] = -1;
      words[at + RESULT.ERROR / 4] = 0;
      quads[quad + RESULT.CR2 / 8] = 0n;
    }
  }
  private fetchFault(quad: number, base: bigint): boolean {
    const cr2 = this.quads[quad + RESULT.CR2 / 8]!;
    return cr2 === this.quads[quad + RESULT.RIP / 8]! + base && cr2 !== CODE;
  }

  at(i: number): Result {
    const at = i * RESULT_SIZE;
    return {
      vector: this.words[at / 4]!,
      error: this.words[at / 4 + 1]! >>> 0,
      cr2: this.quads[(at + RESULT.CR2) / 8]!,
      rip: this.quads[(at + RESULT.RIP) / 8]!,
      ...this.values(at + RESULT_VALUES),
    };
  }
}
