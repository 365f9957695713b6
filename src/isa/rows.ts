/** All instruction rows, family by family. The index of a row in this list is its id. */
import { ALU_ROWS } from './families/alu.ts';
import { BRANCH_ROWS } from './families/branch.ts';
import { MOV_ROWS } from './families/mov.ts';
import { SSE_MOVES } from './families/sse-moves.ts';
import { SSE2_INTEGER } from './families/sse2-integer.ts';
import { STACK_ROWS } from './families/stack.ts';
import type { Row } from './row.ts';

export const ROWS: readonly Row[] = [
  ...ALU_ROWS,
  ...MOV_ROWS,
  ...STACK_ROWS,
  ...BRANCH_ROWS,
  ...SSE_MOVES,
  ...SSE2_INTEGER,
];
