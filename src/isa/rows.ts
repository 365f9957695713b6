/** All instruction rows, family by family. The index of a row in this list is its id. */
import { AES_ROWS } from './families/aes.ts';
import { ALU_ROWS } from './families/alu.ts';
import { AVX_CONVERT } from './families/avx-convert.ts';
import { AVX_FLOAT } from './families/avx-float.ts';
import { AVX_INTEGER } from './families/avx-integer.ts';
import { AVX_MASKED } from './families/avx-masked.ts';
import { AVX_MOVES } from './families/avx-moves.ts';
import { AVX_PERMUTE } from './families/avx-permute.ts';
import { BCD_ROWS } from './families/bcd.ts';
import { BITS_ROWS } from './families/bits.ts';
import { BMI_ROWS } from './families/bmi.ts';
import { BRANCH_ROWS } from './families/branch.ts';
import { FLAGOPS_ROWS } from './families/flagops.ts';
import { FMA_ROWS } from './families/fma.ts';
import { FPSTATE } from './families/fpstate.ts';
import { IO_ROWS } from './families/io.ts';
import { MMX_ROWS } from './families/mmx.ts';
import { MOV_ROWS } from './families/mov.ts';
import { MULDIV_ROWS } from './families/muldiv.ts';
import { SHA_ROWS } from './families/sha.ts';
import { SHIFT_ROWS } from './families/shift.ts';
import { SSE_ARITH } from './families/sse-arith.ts';
import { SSE_CONVERT } from './families/sse-convert.ts';
import { SSE_MOVES } from './families/sse-moves.ts';
import { SSE2_INTEGER } from './families/sse2-integer.ts';
import { SSE3_ROWS } from './families/sse3.ts';
import { SSE41_ROWS } from './families/sse41.ts';
import { SSE42_ROWS } from './families/sse42.ts';
import { SSSE3_ROWS } from './families/ssse3.ts';
import { STACK_ROWS } from './families/stack.ts';
import { STRING_ROWS } from './families/string.ts';
import { SYSTEM_ROWS } from './families/system.ts';
import { X87_ROWS } from './families/x87.ts';
import { XSAVE_ROWS } from './families/xsave.ts';
import type { Row } from './row.ts';

export const ROWS: readonly Row[] = [
  ...ALU_ROWS,
  ...MOV_ROWS,
  ...STACK_ROWS,
  ...BRANCH_ROWS,
  ...SHIFT_ROWS,
  ...BITS_ROWS,
  ...MULDIV_ROWS,
  ...FLAGOPS_ROWS,
  ...BCD_ROWS,
  ...STRING_ROWS,
  ...IO_ROWS,
  ...SYSTEM_ROWS,
  ...SSE_MOVES,
  ...SSE2_INTEGER,
  ...SSE_ARITH,
  ...SSE_CONVERT,
  ...FPSTATE,
  ...MMX_ROWS,
  ...X87_ROWS,
  ...XSAVE_ROWS,
  ...SSE3_ROWS,
  ...SSSE3_ROWS,
  ...SSE41_ROWS,
  ...SSE42_ROWS,
  ...BMI_ROWS,
  ...AVX_MOVES,
  ...AVX_INTEGER,
  ...AVX_FLOAT,
  ...AVX_CONVERT,
  ...AVX_PERMUTE,
  ...AVX_MASKED,
  ...FMA_ROWS,
  ...AES_ROWS,
  ...SHA_ROWS,
];
