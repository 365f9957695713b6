/**
 * Handlers that are not instruction rows: address generation, joints between traces, guards. Their table indices
 * are fixed, the rows' handlers follow.
 */

/** Table index of each special handler. Index 0 stays empty: a record of zeros traps instead of running wild. */
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
} as const;
/** First table index of the rows' handlers. */
export const FIRST_HANDLER = 16;

/**
 * Address generation: record field B.
 *   bits 0-7 bytes of the access, bit 8 it is (also) a store, bits 9-10 log2 of the operand's bytes (bit offsets)
 * A is the register of the bit offset; the immediate is added to the displacement.
 */
export const AGEN_WRITE = 1 << 8;
export const AGEN_LOG2_SHIFT = 9;
