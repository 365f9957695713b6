// What a differential case can be run on, and how two results are compared.

import { mnemonic } from '../../src/isa/disasm.ts';
import { GPR_NAMES } from '../../src/isa/layout.ts';
import { FLAG_BIT, FLAGS } from '../../src/isa/ops.ts';
import type { Row } from '../../src/isa/row.ts';
import {
  type Batch,
  type Case,
  RESULT,
  RESULT_SIZE,
  RESULT_VALUES,
  type Result,
  type Results,
  VALUES,
  WINDOW_SIZE,
  YMMH_SIZE,
} from './case.ts';

export interface Engine {
  readonly name: string;
  /** Carries out the instruction of a case. Throws NoReference (or its like) when the engine cannot. */
  run(c: Case): Result;
}

/** An engine that is told of many cases at once and works on their records. All are of one code size. */
export interface BatchEngine {
  readonly name: string;
  /** Results in the order of the cases. The decoded instructions need not be there. */
  runAll(batch: Batch): Results;
}

const DF = 1 << 10;
const ARITH = FLAGS.reduce((bits, f) => bits | (1 << FLAG_BIT[f]), 0);
/** #PF, #GP and #SS push an error code that is compared; of #PF also the address. */
const PF = 14;

const definedByRow = new Map<Row, number>();
/** EFLAGS bits that count after a row. */
function defined(row: Row): number {
  const known = definedByRow.get(row);
  if (known !== undefined) return known;
  let bits = ARITH | DF;
  for (const f of FLAGS) if (row.undef?.split(/[\s,]+/).includes(f)) bits &= ~(1 << FLAG_BIT[f]);
  definedByRow.set(row, bits);
  return bits;
}
/** EFLAGS bits that count after the row of a case. */
export const definedFlags = (c: Case): number => defined(c.insn.row);

/** [word of a result, mask] of what is compared of an FXSAVE image, upper halves of YMM and the window. */
function comparedWords(long: boolean): readonly (readonly [number, number])[] {
  const list: (readonly [number, number])[] = [];
  const values = RESULT_VALUES / 4;
  const run = (from: number, bytes: number): void => {
    for (let i = 0; i < bytes; i += 4) list.push([values + (from + i) / 4, -1]);
  };
  const gpr = VALUES.GPR / 4 + values;
  for (let i = 0; i < (long ? 16 : 8); i++) list.push([gpr + 2 * i, -1], [gpr + 2 * i + 1, long ? -1 : 0]);
  const fx = VALUES.FX;
  run(fx, 4);
  list.push([values + fx / 4 + 1, 0xff]);
  run(fx + 24, 4);
  for (let i = 0; i < 8; i++) {
    run(fx + 32 + 16 * i, 8);
    list.push([values + (fx + 32 + 16 * i) / 4 + 2, 0xffff]);
  }
  run(fx + 160, long ? 256 : 128);
  run(VALUES.YMMH, long ? YMMH_SIZE : YMMH_SIZE / 2);
  run(VALUES.WINDOW, WINDOW_SIZE);
  if (long) run(VALUES.BASES, 16);
  return list.filter(([, mask]) => mask !== 0);
}
const columns = (list: readonly (readonly [number, number])[]): readonly [Int32Array, Int32Array] => [
  Int32Array.from(list, ([at]) => at),
  Int32Array.from(list, ([, mask]) => mask),
];
const WORDS = { 32: columns(comparedWords(false)), 64: columns(comparedWords(true)) };
const FLAGS_WORD = (RESULT_VALUES + VALUES.RFLAGS) / 4;

/** Whether result `i` is the same in both; quick, and strict about what `differences` would forgive. */
export function agree(batch: Batch, i: number, want: Results, got: Results): boolean {
  const at = (i * RESULT_SIZE) / 4;
  const [a, b] = [want.words, got.words];
  const vector = a[at]!;
  if (vector !== b[at] || a[at + RESULT.RIP / 4] !== b[at + RESULT.RIP / 4]) return false;
  if (a[at + RESULT.RIP / 4 + 1] !== b[at + RESULT.RIP / 4 + 1]) return false;
  if (vector >= 0 && a[at + 1] !== b[at + 1]) return false;
  const cr2 = at + RESULT.CR2 / 4;
  if (vector === PF && (a[cr2] !== b[cr2] || a[cr2 + 1] !== b[cr2 + 1])) return false;
  const insn = batch.insns[i]!;
  const flags = vector >= 0 ? ARITH | DF : defined(insn.row);
  if ((a[at + FLAGS_WORD]! ^ b[at + FLAGS_WORD]!) & flags) return false;
  const [words, masks] = WORDS[insn.mode.code === 64 ? 64 : 32];
  let wrong = 0;
  for (let k = 0; k < words.length; k++) {
    const word = at + words[k]!;
    wrong |= (a[word]! ^ b[word]!) & masks[k]!;
  }
  return wrong === 0;
}

/** [first byte, bytes, name] of the parts of an FXSAVE image that are compared (SDM vol.1 10.5.1). */
function fxParts(long: boolean): readonly (readonly [number, number, string])[] {
  const st = Array.from({ length: 8 }, (_, i) => [32 + 16 * i, 10, `st(${i})`] as const);
  const xmm = Array.from({ length: long ? 16 : 8 }, (_, i) => [160 + 16 * i, 16, `xmm${i}`] as const);
  return [[0, 2, 'fcw'], [2, 2, 'fsw'], [4, 1, 'ftw'], [24, 4, 'mxcsr'], ...st, ...xmm];
}
const FX_PARTS = { 32: fxParts(false), 64: fxParts(true) };

const hex = (v: bigint | number): string => `0x${v.toString(16)}`;
const bytesText = (b: Uint8Array): string => Buffer.from(b).toString('hex');
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Differences between what is expected and what an engine gave, as texts; empty when they agree. */
export function differences(c: Case, want: Result, got: Result): string[] {
  const list: string[] = [];
  const note = (what: string, a: bigint | number, b: bigint | number): void => {
    if (a !== b) list.push(`${what} ${hex(a)} expected, got ${hex(b)}`);
  };
  note('vector', want.vector, got.vector);
  if (want.vector !== got.vector) return list;
  note('rip', want.rip, got.rip);
  if (want.vector >= 0) note('error', want.error, got.error);
  if (want.vector === PF) note('cr2', want.cr2, got.cr2);
  const long = c.insn.mode.code === 64;
  for (let i = 0; i < (long ? 16 : 8); i++) {
    note(GPR_NAMES[i]!, BigInt.asUintN(long ? 64 : 32, want.gpr[i]!), BigInt.asUintN(long ? 64 : 32, got.gpr[i]!));
  }
  // A fault leaves the flags alone, so that none is undefined then.
  const flags = want.vector >= 0 ? ARITH | DF : definedFlags(c);
  note('flags', want.rflags & flags, got.rflags & flags);
  for (const [at, size, name] of FX_PARTS[long ? 64 : 32]) {
    const [a, b] = [want.fx.subarray(at, at + size), got.fx.subarray(at, at + size)];
    if (!same(a, b)) list.push(`${name} ${bytesText(a)} expected, got ${bytesText(b)} (lowest byte first)`);
  }
  for (let i = 0; i < (long ? 16 : 8); i++) {
    const [a, b] = [want.ymmh.subarray(16 * i, 16 * i + 16), got.ymmh.subarray(16 * i, 16 * i + 16)];
    if (!same(a, b)) list.push(`upper half of ymm${i} ${bytesText(a)} expected, got ${bytesText(b)}`);
  }
  if (long) for (const i of [0, 1]) note(i ? 'gs base' : 'fs base', want.bases[i]!, got.bases[i]!);
  for (let i = 0; i < want.window.length; i++) note(`window[${i}]`, want.window[i]!, got.window[i]!);
  return list;
}

/** A key by which mismatches are grouped: mnemonic, encoding, operand size. */
export const caseKey = (c: Case): string => `${mnemonic(c.insn)} ${c.insn.row.enc.text} w${c.insn.w}`;
