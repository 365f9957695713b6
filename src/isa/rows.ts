/** All instruction rows, family by family. The index of a row in this list is its id. */
import type { Row } from './row.ts';

export const ROWS: readonly Row[] = [];
