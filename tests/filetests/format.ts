/*
 * The form of the files in this folder. A case is a paragraph:
 *
 *     64: 48 01 c8                          mode (16, 32, 64) and the instruction's bytes
 *     in: rax=7fffffffffffffff rcx=1        state before; what is not named is as `initialValues` has it
 *     asm: add rax, rcx                     its text (written by PLINTH_BLESS=1)
 *     out: rax=8000000000000000 flags=...   what has changed afterwards (written by PLINTH_BLESS=1)
 *
 * Numbers are hexadecimal. `flags=` lists the arithmetic flags and df that are set; after the instruction those that
 * the manual leaves undefined are not listed. Before it, `ac` asks for alignment checks. `[20001000]=0102` is memory, lowest byte first. `st0`, `mm0`, `xmm0`
 * and `ymmh0`, the upper half of YMM0, are numbers, as are `fsbase` and `gsbase` in 64-bit mode. A fault is `fault=14 error=6 cr2=20002000`; `rip` is named when it is not that of the next instruction.
 * Lines that begin with # are comments.
 */
import type { CodeMode } from '../../src/isa/insn.ts';
import { EFLAGS, GPR_NAMES } from '../../src/isa/layout.ts';
import { FLAG_BIT, FLAGS } from '../../src/isa/ops.ts';
import {
  type Case,
  CODE,
  CODE_PAGE,
  type CpuValues,
  type Result,
  WINDOW,
  WINDOW_SIZE,
  YMMH_SIZE,
} from '../differential/case.ts';
import { definedFlags } from '../differential/engine.ts';
import { initialFx } from '../differential/fx.ts';

export interface FileCase {
  /** Comment lines and the two lines that bless leaves alone. */
  readonly head: readonly string[];
  readonly line: number;
  readonly mode: CodeMode;
  readonly code: Uint8Array;
  readonly values: CpuValues;
  readonly asm: string;
  readonly out: string;
}

/** Named parts of an FXSAVE image: [name, first byte, bytes]. */
const FX_PARTS: readonly (readonly [string, number, number])[] = [
  ['fcw', 0, 2],
  ['fsw', 2, 2],
  ['ftw', 4, 1],
  ['mxcsr', 24, 4],
  ...Array.from({ length: 8 }, (_, i) => [`st${i}`, 32 + 16 * i, 10] as const),
  ...Array.from({ length: 8 }, (_, i) => [`mm${i}`, 32 + 16 * i, 8] as const),
  ...Array.from({ length: 16 }, (_, i) => [`xmm${i}`, 160 + 16 * i, 16] as const),
];
const BASES = ['fsbase', 'gsbase'];
const DF = EFLAGS.DF;
const RFLAGS = EFLAGS.FIXED | EFLAGS.IF;

const number = (bytes: Uint8Array, at: number, size: number): bigint => {
  let v = 0n;
  for (let i = size - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[at + i]!);
  return v;
};

function parseFlags(text: string): number {
  let bits = RFLAGS;
  for (const name of text.split(',').filter((x) => x !== '')) {
    if (name === 'df') bits |= DF;
    else if (name === 'ac') bits |= EFLAGS.AC;
    else if ((FLAGS as readonly string[]).includes(name)) bits |= 1 << FLAG_BIT[name as keyof typeof FLAG_BIT];
    else throw new Error(`no flag ${name}`);
  }
  return bits;
}

/** Registers are 0, memory is 0, flags are clear, the x87 and MXCSR are as after FNINIT and reset. */
function parseValues(text: string): CpuValues {
  const gpr: bigint[] = new Array(16).fill(0n);
  const fx = initialFx();
  const window = new Uint8Array(WINDOW_SIZE);
  const ymmh = new Uint8Array(YMMH_SIZE);
  const bases = [0n, 0n];
  let rflags = RFLAGS;
  for (const word of text.split(/\s+/).filter((x) => x !== '')) {
    const [name = '', value = ''] = word.split('=');
    const part = FX_PARTS.find(([n]) => n === name);
    const upper = /^ymmh(\d+)$/.exec(name)?.[1];
    const address = /^\[([0-9a-f]+)\]$/.exec(name)?.[1];
    if (name === 'flags') rflags = parseFlags(value);
    else if (GPR_NAMES.includes(name)) gpr[GPR_NAMES.indexOf(name)] = BigInt(`0x${value}`);
    else if (BASES.includes(name)) bases[BASES.indexOf(name)] = BigInt(`0x${value}`);
    else if (part) {
      for (let i = 0, v = BigInt(`0x${value}`); i < part[2]; i++, v >>= 8n) fx[part[1] + i] = Number(v & 0xffn);
      if (name.startsWith('mm')) fx.fill(0xff, part[1] + 8, part[1] + 10);
    } else if (upper) ymmh.set(Buffer.from(value.padStart(32, '0'), 'hex').reverse(), 16 * Number(upper));
    else if (address) window.set(Buffer.from(value, 'hex'), Number(BigInt(`0x${address}`) - WINDOW));
    else throw new Error(`no state ${name}`);
  }
  return { gpr, rflags, fx, ymmh, window, bases };
}

/** Cases of a file. Throws with the line when one is not in the form above. */
export function parseFile(text: string): FileCase[] {
  const cases: FileCase[] = [];
  let line = 1;
  for (const paragraph of text.split(/\n\n+/)) {
    const lines = paragraph.split('\n').filter((x) => x !== '');
    const at = line;
    line += paragraph.split('\n').length + 1;
    const code = /^(16|32|64): ((?:[0-9a-f]{2} ?)+)$/m.exec(paragraph);
    if (!code) {
      if (lines.every((x) => x.startsWith('#'))) continue;
      throw new Error(`line ${at}: no bytes`);
    }
    const size = Number(code[1]) as 16 | 32 | 64;
    const rest = (name: string): string => new RegExp(`^${name}:(.*)$`, 'm').exec(paragraph)?.[1]?.trim() ?? '';
    cases.push({
      head: lines.filter((x) => !/^(asm|out):/.test(x)),
      line: at,
      mode: { code: size, stack: size },
      code: Uint8Array.from(code[2]!.trim().split(' '), (x) => Number.parseInt(x, 16)),
      values: parseValues(rest('in')),
      asm: rest('asm'),
      out: rest('out'),
    });
  }
  return cases;
}

/** Comment paragraphs in front of the first case, as they are. */
export function fileHead(text: string): string {
  const first = text.split(/\n\n+/).findIndex((p) => /^(16|32|64): /m.test(p));
  return text.split(/\n\n+/).slice(0, first).join('\n\n');
}

function flagNames(bits: number): string {
  return [...FLAGS.filter((f) => bits & (1 << FLAG_BIT[f])), ...(bits & DF ? ['df'] : [])].join(',');
}

const SYSTEM_FREE = FLAGS.reduce((bits, f) => bits | (1 << FLAG_BIT[f]), DF);

/** What changed in the parts of the FXSAVE image. ST registers and not MM registers, unless the row is MMX. */
function fxChanges(c: Case, r: Result): string[] {
  const mmx = c.insn.row.unit === 'mmx';
  const list: string[] = [];
  for (const [name, at, size] of FX_PARTS) {
    if (name.startsWith(mmx ? 'st' : 'mm')) continue;
    if (c.insn.mode.code !== 64 && /^xmm([89]|1\d)$/.test(name)) continue;
    const after = number(r.fx, at, size);
    if (number(c.fx, at, size) !== after) list.push(`${name}=${after.toString(16)}`);
  }
  for (let i = 0; i < (c.insn.mode.code === 64 ? 16 : 8); i++) {
    const after = number(r.ymmh, 16 * i, 16);
    if (number(c.ymmh, 16 * i, 16) !== after) list.push(`ymmh${i}=${after.toString(16)}`);
  }
  return list;
}

/** Runs of changed bytes of the window. */
function memoryChanges(c: Case, r: Result): string[] {
  const list: string[] = [];
  for (let i = 0; i < WINDOW_SIZE; i++) {
    if (c.window[i] === r.window[i]) continue;
    let end = i + 1;
    while (end < WINDOW_SIZE && c.window[end] !== r.window[end]) end++;
    const bytes = Buffer.from(r.window.subarray(i, end)).toString('hex');
    list.push(`[${(WINDOW + BigInt(i)).toString(16)}]=${bytes}`);
    i = end;
  }
  return list;
}

/** The `out` line of a result: what differs from the state before. */
export function describeResult(c: Case, r: Result): string {
  const { code } = c.insn.mode;
  const start = code === 16 ? CODE - CODE_PAGE : CODE;
  const words: string[] = [];
  if (r.vector >= 0) {
    words.push(`fault=${r.vector}`, `error=${r.error.toString(16)}`);
    if (r.vector === 14) words.push(`cr2=${r.cr2.toString(16)}`);
  } else if (r.rip !== start + BigInt(c.code.length)) words.push(`rip=${r.rip.toString(16)}`);
  for (let i = 0; i < (code === 64 ? 16 : 8); i++) {
    const after = BigInt.asUintN(code === 64 ? 64 : 32, r.gpr[i]!);
    if (after !== c.gpr[i]) words.push(`${GPR_NAMES[i]}=${after.toString(16)}`);
  }
  BASES.forEach((name, i) => {
    if (code === 64 && r.bases[i] !== c.bases[i]) words.push(`${name}=${r.bases[i]!.toString(16)}`);
  });
  const defined = r.vector >= 0 ? SYSTEM_FREE : definedFlags(c);
  if ((c.rflags ^ r.rflags) & defined) words.push(`flags=${flagNames(r.rflags & defined)}`);
  return [...words, ...fxChanges(c, r), ...memoryChanges(c, r)].join(' ') || 'nothing';
}
