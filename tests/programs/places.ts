// Where a random program and the small kernel around it lie in linear memory. The far arrangement puts groups of
// pages 4 MiB apart, so that all of them want the same few entries of the direct-mapped TLBs.
import { CODE_PAGE, DATA } from '../differential/case.ts';
import type { CodeGroup } from './assembler.ts';

export const PAGE = 4096;
const FAR = 4 << 20;

/** What a page is for; how it is mapped follows from it. */
export type PageUse = 'code' | 'data' | 'readonly' | 'absent' | 'device' | 'stack';
export interface UserPage {
  readonly at: number;
  readonly use: PageUse;
}

export interface Places {
  readonly code: readonly CodeGroup[];
  readonly pages: readonly UserPage[];
  /** Data addresses by use: first bytes of pages. */
  readonly data: readonly number[];
  readonly readonly: readonly number[];
  readonly absent: readonly number[];
  readonly device: number;
  /** Counters and pointers of the program. */
  readonly cells: number;
  /** Where rSP begins: in the middle of two pages. */
  readonly stack: number;
  /** Window in which the supervisor sees the tables that map the pages above. */
  readonly tables: number;
}

const GROUPS: readonly (readonly PageUse[])[] = [
  ['code', 'code', 'code'],
  ['code', 'code'],
  ['code'],
  ['data', 'data', 'readonly'],
  ['data', 'absent', 'data', 'readonly', 'absent'],
  ['device'],
  ['stack', 'stack'],
  ['data'],
];

/** Where the page of cells holds both values of CR3. */
export const CR3_CELLS = 0xf80;
/** All pages are there a second time, this much higher. */
export const ALIAS = 0x0800_0000;
/**
 * Where a large page shows guest-physical memory from 0 on. Near pages of a program with one lie in frames so that
 * LARGE_CODE and LARGE_DATA lead from a linear address to the large page's and back by exclusive or.
 */
export const LARGE = 0x3000_0000;
const CODE_GPA = 0x4_0000;
const DATA_GPA = 0x8_0000;
export const LARGE_CODE = (LARGE + CODE_GPA) ^ Number(CODE_PAGE);
export const LARGE_DATA = (LARGE + DATA_GPA) ^ Number(DATA);
/** Base of the 16-bit segment over a group of code pages, and of the one over the first data pages. */
export const narrowBase = (places: Places, group: number): number => places.code[group]!.at - 0x1230;
export const narrowDataBase = (places: Places): number => places.data[0]! - 0x8008;
/** The frame, as a guest-physical address, of a near page that the large page shows too. */
export const largeFrame = ({ at, use }: UserPage): number => (at ^ (use === 'code' ? LARGE_CODE : LARGE_DATA)) - LARGE;

function place(far: boolean): Places {
  const pages: UserPage[] = [];
  const code: CodeGroup[] = [];
  const starts = GROUPS.map((uses, i) => {
    const base = uses[0] === 'code' ? Number(CODE_PAGE) : Number(DATA);
    const first = uses[0] === 'code' ? 0 : 3;
    const at = base + (i - first) * (far ? FAR : 16 * PAGE);
    uses.forEach((use, k) => {
      pages.push({ at: at + k * PAGE, use });
    });
    if (uses[0] === 'code') code.push({ at, bytes: uses.length * PAGE });
    return at;
  });
  const of = (use: PageUse): number[] => pages.filter((p) => p.use === use).map((p) => p.at);
  const cells = starts.at(-1)!;
  return {
    code,
    pages,
    data: of('data').filter((at) => at !== cells),
    readonly: of('readonly'),
    absent: of('absent'),
    device: of('device')[0]!,
    cells,
    stack: of('stack')[0]! + PAGE + 0x800,
    tables: 0x7000_0000,
  };
}

export const NEAR_PLACES = place(false);
export const FAR_PLACES = place(true);
