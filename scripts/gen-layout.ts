/** Writes src/runtime/gen/layout.ts: the constants of src/isa/layout.ts as AssemblyScript. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as layout from '../src/isa/layout.ts';

const lines = ['// Written by scripts/gen-layout.ts from src/isa/layout.ts. Do not edit.', ''];
const constant = (name: string, value: number): void => {
  lines.push(`export const ${name}: u32 = ${value >>> 0};`);
};
for (const f of layout.CPU_FIELDS) constant(`CPU_${f.name.toUpperCase()}`, f.offset);
constant('CPU_SIZE', layout.CPU_SIZE);
const groups = [
  'SEG',
  'TLB',
  'ITLB',
  'JUMPS',
  'STLB',
  'WIDE_TLB',
  'RECENT',
  'TLB_LOG',
  'TLB_LARGE',
  'TLB_WRITTEN',
  'JUMP_PAGES',
  'ATTR',
  'P2M',
  'CODE_PAGE',
  'REC',
  'REGION_PAGE',
  'EXIT',
  'EXIT_MODE',
  'EFLAGS',
  'EXC',
  'CR0',
  'CR4',
  'EFER',
] as const;
const values = { ...layout };
for (const g of groups) for (const [k, v] of Object.entries(values[g])) constant(`${g}_${k.toUpperCase()}`, v);
for (const [k, v] of Object.entries(layout)) if (typeof v === 'number' && k !== 'CPU_SIZE') constant(k, v);

const out = new URL('../src/runtime/gen/layout.ts', import.meta.url).pathname;
const text = `${lines.join('\n')}\n`;
mkdirSync(dirname(out), { recursive: true });
let old = '';
try {
  old = readFileSync(out, 'utf8');
} catch {
  // First run: there is no old file to compare with.
}
if (old !== text) writeFileSync(out, text);
