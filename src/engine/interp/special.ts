/**
 * Handlers that are not instruction rows: address generation, joints between traces, guards. Their table indices
 * are fixed, the rows' handlers follow.
 */

import { CPU } from '../../isa/layout.ts';

/** Places in the table of handlers: the interpreter's, and from FIRST_REGION on those of regions. */
export const FIRST_REGION = 10240;
export const TABLE_SIZE = 26624;
/** Handler of all places that are not in use, 0 among them: a record of zeros traps instead of running wild. */
export const EMPTY = 'empty';

/** Table index of each special handler, from 1 on. */
export const SPECIAL = {
  /** The code page was changed: look the instruction up anew. */
  resync: 1,
  /** Goes to the record or rip that follows a trace; retires nothing. */
  join: 2,
  /** The instruction crosses into the next page: checks that its bytes there are still the same. */
  guard: 3,
  /** After one instruction that was run alone. */
  alone: 4,
  /** The decoder found no instruction: raises the exception whose vector is in A. */
  invalid: 5,
  /** Address generation: 64-bit mode with 64- and 32-bit addresses, then protected and real mode. */
  agenLong64: 6,
  agenLong32: 7,
  agenLegacy32: 8,
  agenLegacy16: 9,
  /** The same with the bit offset of BT, BTS, BTR, BTC added. */
  agenBitLong64: 10,
  agenBitLong32: 11,
  agenBitLegacy32: 12,
  agenBitLegacy16: 13,
  /** A region was left as what it looks up at once is on two pages: counts that, and goes on with the record. */
  crossed: 14,
} as const;
/** First table index of the rows' handlers. */
export const FIRST_HANDLER = 16;

/**
 * Address generation: record field B.
 *   bits 0-7 bytes of the access, bit 8 it is (also) a store, bits 9-10 log2 of the operand's bytes (bit offsets),
 *   bits 11-13 unit that the instruction uses: 1 + index in UNITS, or 0; bit 14 the access must be aligned
 * A is the register of the bit offset; the immediate is added to the displacement.
 */
export const AGEN_WRITE = 1 << 8;
export const AGEN_LOG2_SHIFT = 9;
export const AGEN_UNIT_SHIFT = 11;
export const AGEN_ALIGNED = 1 << 14;
/** Units in the order of the numbers that `fp_check` takes. */
export const UNITS = ['x87', 'x87-nowait', 'mmx', 'sse', 'avx'] as const;
/** Segment field of 64-bit accesses through SS: no base, but a non-canonical address is #SS. */
export const STACK_NONE = CPU.seg_none! + 8;
/** Added to the size given to mem_read, mem_write and mem_rmw for accesses through SS. */
export const MEM_STACK = 0x100;
/** Added to the size: 1 + log2 of the alignment that #AC asks for, if it is not that of the size. */
export const MEM_ALIGN_SHIFT = 9;
