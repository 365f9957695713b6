/**
 * Loads and stores of floating-point state: control and status words, x87 environments (SDM vol.1 8.1), MXCSR and the
 * FXSAVE image (vol.1 10.5). Images are built and taken apart by the runtime in `scratch`; rows move them.
 */
import { CR0, EFLAGS } from '../layout.ts';
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { behind } from './common.ts';

/** Status word: an unmasked exception is pending (ES). The same bit of fpu_trap makes engines look. */
const ES = 0x80n;
const ALL_ONES = 0xffff_ffff_ffff_ffffn;

/** Tells the engines whether an x87 exception is pending, after an instruction that may have changed that. */
export function settle<V>(s: Ops<V>): void {
  const others = s.and(s.field('fpu_trap'), s.k(ALL_ONES ^ ES));
  s.setField('fpu_trap', s.or(others, s.and(s.field('fsw'), s.k(ES))));
}

/** Stores the first `bytes` (even) of scratch. A restart after a fault in the middle stores the same again. */
function storeImage<V>(s: Ops<V>, offset: V, bytes: number): void {
  for (let at = 0; at < bytes; ) {
    const w = bytes - at >= 8 ? 64 : bytes - at >= 4 ? 32 : 16;
    const word = s.field('scratch', at >> 3);
    s.store(w, 'insn', behind(s, offset, at), s.zext(w, s.shr(word, s.k(BigInt((at & 7) * 8)))));
    at += w / 8;
  }
}

/** The `bytes` (even) of an image as quadwords: all are loaded before anything changes. */
function loadImage<V>(s: Ops<V>, offset: V, bytes: number): V[] {
  const words: V[] = [];
  for (let at = 0; at < bytes; at += 8) {
    const left = bytes - at;
    if (left >= 8) {
      words.push(s.let(s.load(64, 'insn', behind(s, offset, at))));
      continue;
    }
    const low = s.let(s.load(left >= 4 ? 32 : 16, 'insn', behind(s, offset, at)));
    const high = (): V => s.load(16, 'insn', behind(s, offset, at + 4));
    words.push(left === 6 ? s.let(s.or(low, s.shl(high(), s.k(32n)))) : low);
  }
  return words;
}

function toScratch<V>(s: Ops<V>, words: readonly V[]): void {
  words.forEach((word, i) => {
    s.setField('scratch', word, i);
  });
}

// x87 environments.

/** `form` of an environment: bit 0 32-bit operand size, bit 1 protected mode (SDM vol.1 8.1.10). */
function environmentForm<V>(s: Ops<V>): V {
  const protectedMode = s.and(s.field('cr0'), s.k(BigInt(CR0.PE)));
  const virtual8086 = s.and(s.shr(s.field('eflags'), s.k(BigInt(Math.log2(EFLAGS.VM)))), s.k(1n));
  const bit = s.and(protectedMode, s.xor(virtual8086, s.k(1n)));
  return s.or(s.k(s.w === 16 ? 0n : 1n), s.shl(bit, s.k(1n)));
}
const environmentBytes = <V>(s: Ops<V>): number => (s.w === 16 ? 14 : 28);
/** Bytes of the eight registers behind the environment. */
const REGISTERS = 80;

const storeEnvironment =
  (image: string, extra: number, after: string): Row['exec'] =>
  (s) => {
    const offset = s.let(s.offset(0));
    const bytes = environmentBytes(s) + extra;
    // CPUs look at both ends first, so that a fault finds nothing stored.
    const unit = s.w === 16 ? 16 : 32;
    s.probeStore(unit, 'insn', offset);
    s.probeStore(unit, 'insn', behind(s, offset, bytes - unit / 8));
    s.call(image, environmentForm(s));
    storeImage(s, offset, bytes);
    s.call(after);
    settle(s);
  };

const loadEnvironment =
  (image: string, extra: number): Row['exec'] =>
  (s) => {
    const words = loadImage(s, s.let(s.offset(0)), environmentBytes(s) + extra);
    toScratch(s, words);
    s.call(image, environmentForm(s));
    settle(s);
  };

// The FXSAVE image.

/** Bits of MXCSR that do not exist: setting one is #GP. */
const MXCSR_RESERVED = 0xffff_0000n;
/** MXCSR is the low half of this quadword of the image. */
const MXCSR_WORD = 3;

/** Bytes of the image that are used: header, ST0-ST7 and XMM0-XMM7, or in 64-bit mode XMM0-XMM15. */
const fxBytes = <V>(s: Ops<V>): number => (s.long ? 416 : 288);
/** `form` of the image: bit 0 64-bit pointers (REX.W), bit 1 sixteen XMM registers. */
const fxForm = <V>(s: Ops<V>): V => s.k((s.w === 64 ? 1n : 0n) | (s.long ? 2n : 0n));

/** Start of the image, which must be aligned to 16 bytes. */
function fxOffset<V>(s: Ops<V>): V {
  const offset = s.let(s.offset(0));
  s.fault(s.and(s.linear('insn', offset), s.k(15n)), 'gp', s.k(0n));
  return offset;
}

function fxsave<V>(s: Ops<V>): void {
  const offset = fxOffset(s);
  s.call('fxsave_image', fxForm(s));
  storeImage(s, offset, fxBytes(s));
}

function fxrstor<V>(s: Ops<V>): void {
  const words = loadImage(s, fxOffset(s), fxBytes(s));
  s.fault(s.and(words[MXCSR_WORD]!, s.k(MXCSR_RESERVED)), 'gp', s.k(0n));
  toScratch(s, words);
  s.call('fxrstor_image', fxForm(s));
  settle(s);
}

export function ldmxcsr<V>(s: Ops<V>): void {
  const v = s.let(s.get(0));
  s.fault(s.and(v, s.k(MXCSR_RESERVED)), 'gp', s.k(0n));
  s.setField('mxcsr', v);
}

// Control.

/** FWAIT looks at CR0.MP and TS, not at EM (SDM vol.3 table 2-2). */
function fwait<V>(s: Ops<V>): void {
  const cr0 = s.let(s.field('cr0'));
  const monitored = s.k(BigInt(CR0.MP | CR0.TS));
  s.fault(s.eq(s.and(cr0, monitored), monitored), 'nm');
  const pending = s.let(s.and(s.field('fsw'), s.k(ES)));
  s.fault(s.and(s.select(pending, cr0, s.k(0n)), s.k(BigInt(CR0.NE))), 'mf');
  // Otherwise a pending exception goes out on FERR#.
  s.if(pending, () => s.setField('ferr', s.k(1n)));
}

const control =
  (helper: string): Row['exec'] =>
  (s) => {
    s.call(helper);
    settle(s);
  };
function fldcw<V>(s: Ops<V>): void {
  s.call('x87_fldcw', s.get(0));
  settle(s);
}

const WAITING: RowAttrs = { unit: 'x87' };
const NOWAIT: RowAttrs = { unit: 'x87-nowait' };
const SSE: RowAttrs = { unit: 'sse', feature: 'sse' };
const FXSR: RowAttrs = { unit: 'x87-nowait', feature: 'fxsr' };

export const FPSTATE: readonly Row[] = [
  row('fwait', '', '9B', fwait),
  row('fninit', '', 'DB E3', control('x87_fninit'), NOWAIT),
  row('fnclex', '', 'DB E2', control('x87_fnclex'), NOWAIT),
  // Instructions of the 8087 and 80287 that do nothing since the 80387 (SDM vol.3 23.18.6).
  row('fneni', '', 'DB E0', () => {}, NOWAIT),
  row('fndisi', '', 'DB E1', () => {}, NOWAIT),
  row('fnsetpm', '', 'DB E4', () => {}, NOWAIT),
  row('fldcw', 'Mw', 'D9 /5', fldcw, WAITING),
  row('fnstcw', '=Mw', 'D9 /7', (s) => s.set(0, s.field('fcw')), NOWAIT),
  row('fnstsw', '=Mw', 'DD /7', (s) => s.set(0, s.call('x87_status')), NOWAIT),
  row('fnstsw', '=AX', 'DF E0', (s) => s.set(0, s.call('x87_status')), NOWAIT),
  row('fldenv', 'M', 'D9 /4', loadEnvironment('fldenv_image', 0), { ...WAITING, aligns: 'operand' }),
  row('fnstenv', 'M', 'D9 /6', storeEnvironment('fnstenv_image', 0, 'x87_fnstenv_commit'), {
    ...NOWAIT,
    aligns: 'operand',
  }),
  row('frstor', 'M', 'DD /4', loadEnvironment('frstor_image', REGISTERS), { ...WAITING, aligns: 'operand' }),
  row('fnsave', 'M', 'DD /6', storeEnvironment('fnsave_image', REGISTERS, 'x87_fninit'), {
    ...NOWAIT,
    aligns: 'operand',
  }),
  row('ldmxcsr', 'Md', 'NP 0F AE /2', ldmxcsr, SSE),
  row('stmxcsr', '=Md', 'NP 0F AE /3', (s) => s.set(0, s.field('mxcsr')), SSE),
  row('fxsave', 'M', 'NP 0F AE /0', fxsave, FXSR),
  row('fxrstor', 'M', 'NP 0F AE /1', fxrstor, FXSR),
];
