/** Loads and stores of floating-point state: MXCSR and the FXSAVE image (SDM vol.1 10.5). */
import type { Ops } from '../ops.ts';
import { type Row, row } from '../row.ts';

/** Bits of MXCSR that do not exist: setting one is #GP. */
const MXCSR_RESERVED = 0xffff_0000n;
/** MXCSR is the low half of this quadword of the image. */
const MXCSR_WORD = 3;

/** Bytes of the image that are written: header, ST0-ST7 and XMM0-XMM7, or in 64-bit mode XMM0-XMM15. */
const imageWords = <V>(s: Ops<V>): number => (s.long ? 416 : 288) / 8;
/** `form` of the image: bit 0 64-bit pointers (REX.W), bit 1 sixteen XMM registers. */
const imageForm = <V>(s: Ops<V>): V => s.k((s.w === 64 ? 1n : 0n) | (s.long ? 2n : 0n));

/** Start of the image, which must be aligned to 16 bytes. */
function imageOffset<V>(s: Ops<V>): V {
  const offset = s.let(s.offset(0));
  s.fault(s.and(s.linear('insn', offset), s.k(15n)), 'gp', s.k(0n));
  return offset;
}
const wordAt = <V>(s: Ops<V>, offset: V, i: number): V => s.zext(s.asize, s.add(offset, s.k(BigInt(8 * i))));

/** A fault in the middle leaves a part of the image stored; the same is stored when the instruction is restarted. */
function fxsave<V>(s: Ops<V>): void {
  const offset = imageOffset(s);
  s.call('fxsave_image', imageForm(s));
  for (let i = 0; i < imageWords(s); i++) s.store(64, 'insn', wordAt(s, offset, i), s.field('scratch', i));
}

function fxrstor<V>(s: Ops<V>): void {
  const offset = imageOffset(s);
  const words: V[] = [];
  for (let i = 0; i < imageWords(s); i++) words.push(s.let(s.load(64, 'insn', wordAt(s, offset, i))));
  s.fault(s.and(words[MXCSR_WORD]!, s.k(MXCSR_RESERVED)), 'gp', s.k(0n));
  words.forEach((word, i) => {
    s.setField('scratch', word, i);
  });
  s.call('fxrstor_image', imageForm(s));
}

function ldmxcsr<V>(s: Ops<V>): void {
  const v = s.let(s.get(0));
  s.fault(s.and(v, s.k(MXCSR_RESERVED)), 'gp', s.k(0n));
  s.setField('mxcsr', v);
}

export const FPSTATE: readonly Row[] = [
  row('ldmxcsr', 'Md', 'NP 0F AE /2', ldmxcsr, { unit: 'sse', feature: 'sse' }),
  row('stmxcsr', '=Md', 'NP 0F AE /3', (s) => s.set(0, s.field('mxcsr')), { unit: 'sse', feature: 'sse' }),
  row('fxsave', 'M', 'NP 0F AE /0', fxsave, { unit: 'x87-nowait', feature: 'fxsr' }),
  row('fxrstor', 'M', 'NP 0F AE /1', fxrstor, { unit: 'x87-nowait', feature: 'fxsr' }),
];
