// What a differential case can be run on, and how two results are compared.

import { mnemonic } from '../../src/isa/disasm.ts';
import { GPR_NAMES } from '../../src/isa/layout.ts';
import { FLAG_BIT, FLAGS } from '../../src/isa/ops.ts';
import type { Case, Result } from './case.ts';

export interface Engine {
  readonly name: string;
  /** Carries out the instruction of a case. Throws NoReference (or its like) when the engine cannot. */
  run(c: Case): Result;
}

/** An engine that is told of many cases at once, because each call is dear. */
export interface BatchEngine {
  readonly name: string;
  /** Results in the order of the cases; only bytes and values are looked at. */
  runAll(cases: readonly Omit<Case, 'insn'>[]): Result[];
}

const DF = 1 << 10;
const ARITH = FLAGS.reduce((bits, f) => bits | (1 << FLAG_BIT[f]), 0);
/** #PF, #GP and #SS push an error code that is compared; of #PF also the address. */
const PF = 14;

/** EFLAGS bits that count after the row of a case. */
export function definedFlags(c: Case): number {
  let bits = ARITH | DF;
  for (const f of FLAGS) if (c.insn.row.undef?.split(/[\s,]+/).includes(f)) bits &= ~(1 << FLAG_BIT[f]);
  return bits;
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
  for (let i = 0; i < want.window.length; i++) note(`window[${i}]`, want.window[i]!, got.window[i]!);
  return list;
}

/** A key by which mismatches are grouped: mnemonic, encoding, operand size. */
export const caseKey = (c: Case): string => `${mnemonic(c.insn)} ${c.insn.row.enc.text} w${c.insn.w}`;
