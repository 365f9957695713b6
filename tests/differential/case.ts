// A differential case: one user-mode instruction and the state it starts from; and what came of it. The binary
// records are those of harness.c.
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

export interface CpuValues {
  /** rax ... r15; in 32-bit cases the low halves of the first eight count. */
  readonly gpr: readonly bigint[];
  readonly rflags: number;
  /** FXSAVE image: x87, MMX, MXCSR, XMM. */
  readonly fx: Uint8Array;
  readonly window: Uint8Array;
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

/** Request: u8 length, code[15], gpr u64[16], rflags u64, fx[512], window[256]. */
export const REQUEST_SIZE = 16 + 128 + 8 + FX_SIZE + WINDOW_SIZE;
/** Result: i32 vector, u32 error, u64 cr2, u64 rip, then gpr, rflags, fx, window as above. */
export const RESULT_SIZE = 24 + 128 + 8 + FX_SIZE + WINDOW_SIZE;

export function writeRequest(bytes: Uint8Array, at: number, c: Omit<Case, 'insn'>): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, REQUEST_SIZE);
  view.setUint8(0, c.code.length);
  bytes.set(c.code, at + 1);
  c.gpr.forEach((v, i) => {
    view.setBigUint64(16 + i * 8, v, true);
  });
  view.setBigUint64(144, BigInt(c.rflags), true);
  bytes.set(c.fx, at + 152);
  bytes.set(c.window, at + 152 + FX_SIZE);
}

/** Reads a result; landing on int3 or on an unmapped page after a jump is turned into the jump itself. */
export function readResult(bytes: Uint8Array, at: number): Result {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, RESULT_SIZE);
  const vector = view.getInt32(0, true);
  const error = view.getUint32(4, true);
  const cr2 = view.getBigUint64(8, true);
  const rip = view.getBigUint64(16, true);
  const fetched = vector === 14 && cr2 === rip && rip !== CODE;
  const breakpoint = vector === 3;
  const jumped = fetched || breakpoint;
  return {
    vector: jumped ? -1 : vector,
    error: jumped ? 0 : error,
    cr2: jumped ? 0n : cr2,
    rip: breakpoint ? rip - 1n : rip,
    gpr: Array.from({ length: 16 }, (_, i) => view.getBigUint64(24 + i * 8, true)),
    rflags: Number(view.getBigUint64(152, true)),
    fx: bytes.slice(at + 160, at + 160 + FX_SIZE),
    window: bytes.slice(at + 160 + FX_SIZE, at + RESULT_SIZE),
  };
}
