/** A decoded instruction: a row with its operands resolved. What the decoder gives to engines and disassembler. */
import type { MemWidth, Width } from './ops.ts';
import type { Row } from './row.ts';

/** Code and stack size by which bytes are decoded. `stack` is 64 exactly when `code` is 64. */
export interface CodeMode {
  readonly code: 16 | 32 | 64;
  readonly stack: 16 | 32 | 64;
}

/** The memory operand of an instruction. */
export interface MemRef {
  /** Register number 0-15, or undefined for none. */
  readonly base: number | undefined;
  readonly index: number | undefined;
  /** Shift of the index, 0-3. */
  readonly scale: number;
  /** Displacement, sign-extended (moffs: zero-extended). Without the instruction's own address when `ripRelative`. */
  readonly disp: bigint;
  /** Relative to the rip of the next instruction. */
  readonly ripRelative: boolean;
  /** Segment number (SEG): the override or the default. */
  readonly seg: number;
}

export type RegClass = 'gpr' | 'seg' | 'cr' | 'dr' | 'xmm' | 'mm' | 'st';

export type OperandValue =
  /** `high`: AH, CH, DH, BH (n is then 0-3). */
  | {
      readonly kind: 'reg';
      readonly cls: RegClass;
      readonly n: number;
      readonly width: MemWidth;
      readonly high: boolean;
    }
  | { readonly kind: 'mem'; readonly width: MemWidth | 0 | 48 }
  | { readonly kind: 'imm'; readonly value: bigint; readonly width: Width }
  /** Signed distance from the next instruction. */
  | { readonly kind: 'rel'; readonly value: number }
  | { readonly kind: 'far'; readonly selector: number; readonly offset: bigint };

export interface Insn {
  readonly row: Row;
  /** Bytes, 1-15. */
  readonly length: number;
  /** Operand size. */
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly mode: CodeMode;
  readonly operands: readonly OperandValue[];
  readonly mem: MemRef | undefined;
  /** ModRM byte, for forms that look at it (0 when there is none). */
  readonly modrm: number;
  readonly opcode: number;
  readonly lock: boolean;
  /** F3 / F2 in front of a row with `rep`. For `plain` rows F2 repeats like F3. */
  readonly rep: 'none' | 'rep' | 'repne';
  /** Segment of accesses by `insn` (SegRef): that of `mem` when there is one, else the override, or ds. */
  readonly seg: number;
}

/** Why bytes are not an instruction: #UD, #GP for more than 15 bytes, or more bytes are needed to tell. */
export type DecodeFailure = { readonly failure: 'ud' | 'too-long' | 'truncated' };
