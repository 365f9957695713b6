// The state that a differential case starts from: registers such that memory operands lie where it is interesting,
// flags, floating point, memory. Written straight into the record of the case.
import type { Insn } from '../../src/isa/insn.ts';
import { SEG } from '../../src/isa/layout.ts';
import type { Row } from '../../src/isa/row.ts';
import type { Random } from '../isa/random.ts';
import {
  type Batch,
  CODE,
  CODE_PAGE,
  DATA,
  LDT,
  REQUEST_SIZE,
  REQUEST_VALUES,
  VALUES,
  WINDOW,
  WINDOW_SIZE,
} from './case.ts';
import { initialFx } from './fx.ts';
import { awkward, awkwardExtended, awkwardQuad, awkwardVector } from './values.ts';

/** Where a memory operand points: mostly into the window, sometimes over a page's end or to where it may not. */
export function drawTarget(long: boolean, random: Random): bigint {
  const kind = random.below(24);
  if (kind === 0) return DATA + 0x2000n - BigInt(random.below(40)); // into the read-only page
  if (kind === 1) return random.pick([0n, 0x3000_0000n, DATA - 4n, 0xffff_fffcn]);
  if (kind === 2 && long) return random.pick([0x8000_0001_0000n, 0x6fff_ffff_fffcn, 0x1234_5678_9abc_def0n]);
  if (kind < 6) return DATA + 0x1000n - BigInt(random.below(40));
  const at = WINDOW + 64n + BigInt(random.below(WINDOW_SIZE - 128));
  return random.once(2) ? at & ~15n : at;
}

/** XSAVE and its kin: all of the state, in an area that is aligned to 64 bytes and has its header at 512. */
const WHOLE_STATE = /^x(save|rstor)/;
const HEADER = 512n;
function drawArea(long: boolean, random: Random): bigint {
  if (random.once(8)) return drawTarget(long, random);
  const at = WINDOW + BigInt(random.below(WINDOW_SIZE / 64) * 64);
  return random.once(2) ? at : at - HEADER;
}

/** Registers that instructions use as pointers without naming them: rBX, rSP, rBP, rSI, rDI. */
const POINTERS = [3, 4, 5, 6, 7];
/** In 16-bit cases segments of 64 KiB begin at DATA and CODE_PAGE. */
const offset = (insn: Insn, address: bigint): bigint =>
  insn.mode.code === 16 ? BigInt.asUintN(16, address - DATA) : address;

/** General registers; `quads` and `words` are the same bytes, `at` counts quadwords. */
function drawRegisters(insn: Insn, quads: BigUint64Array, words: Int32Array, at: number, random: Random): void {
  const long = insn.mode.code === 64;
  const bits = long ? 64 : 32;
  for (let i = 0; i < 16; i++) {
    awkwardQuad(words, 2 * (at + i), random);
    if (!long) words[2 * (at + i) + 1] = 0;
  }
  const { row, mem } = insn;
  if (INSPECTS_SELECTOR.test(row.name)) {
    for (let i = 0; i < 16; i++) words[2 * (at + i)] = (words[2 * (at + i)]! & ~0xffff) | drawSelector(random);
  }
  if (row.asize || row.stack) {
    for (const r of POINTERS) quads[at + r] = offset(insn, WINDOW + 64n + BigInt(random.below(16) * 8));
    if (random.once(16)) quads[at + random.pick(POINTERS)] = offset(insn, drawTarget(long, random));
  }
  if (insn.rep !== 'none' || random.once(4)) quads[at + 1] = BigInt(random.pick([0, 1, 2, 3, 7, 12]));
  const bit = row.bitOffset ? insn.operands[1] : undefined;
  if (bit?.kind === 'reg') quads[at + bit.n] = BigInt.asUintN(bits, BigInt(random.below(512) - 256));
  const jump = insn.operands[0];
  if (row.ends && jump?.kind === 'reg' && jump.n !== 4) quads[at + jump.n] = drawJump(insn, random);
  if (!mem) return;
  // A bit offset may lead below an address, where the host's kernel could be.
  const draw = WHOLE_STATE.test(row.name) ? drawArea : drawTarget;
  let to = offset(insn, row.bitOffset ? WINDOW + 128n : draw(long, random)) - mem.disp;
  if (WHOLE_STATE.test(row.name)) for (const r of [0, 2]) if (!random.once(4)) quads[at + r] = BigInt(random.below(8));
  if (mem.index !== undefined) {
    if (random.once(2)) quads[at + mem.index] = BigInt.asUintN(bits, BigInt(random.below(64) - 32));
    to -= quads[at + mem.index]! << BigInt(mem.scale);
  }
  if (mem.seg >= SEG.fs) to -= quads[at + BASES + mem.seg - SEG.fs]!;
  if (mem.base !== undefined) quads[at + mem.base] = BigInt.asUintN(bits, to);
}

/** Quadwords from the registers of a case to the bases of FS and GS. */
const BASES = (VALUES.BASES - VALUES.GPR) / 8;
/**
 * Bases of FS and GS: canonical, of 64-bit mode. Instructions that have to do with neither find 0, and memory operands
 * one below the host's libraries that leaves effective addresses canonical: AMD's CPUs ask for that too, not only for
 * a linear address that is (SDM vol.1 3.3.7.1).
 */
function drawBases({ row, mem, mode }: Insn, quads: BigUint64Array, at: number, random: Random): void {
  const reads = /[fg]sbase$/.test(row.name);
  const used = mode.code === 64 && (reads || (mem?.seg ?? 0) >= SEG.fs);
  for (const i of [0, 1]) {
    const drawn = used ? awkward(random) : 0n;
    quads[at + BASES + i] = BigInt.asUintN(64, reads ? BigInt.asIntN(48, drawn) : BigInt.asUintN(46, drawn));
  }
}

const INSPECTS_SELECTOR = /^(lar|lsl|ver[rw])$/;
const TI = 4;
/** Of the LDT, with the entry behind it; null; or beyond any GDT: what else is in the host's GDT is its own affair. */
function drawSelector(random: Random): number {
  const kind = random.below(16);
  if (kind === 0) return random.below(4);
  if (kind === 1) return 0xff00 | random.below(256);
  return random.below(LDT.length + 1) * 8 + TI + random.below(4);
}

/** A target among the int3 around the instruction; in 64-bit mode sometimes one that is not canonical. */
function drawJump(insn: Insn, random: Random): bigint {
  if (insn.mode.code === 64 && random.once(12)) return 0x8000_0000_0000n + BigInt(random.below(16));
  const target = CODE + 0x20n + BigInt(random.below(0x400));
  return insn.mode.code === 16 ? target - CODE_PAGE : target;
}

const MXCSR = [0x1f80, 0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x9f80, 0x1fc0, 0x9fc0, 0x1fbf, 0x0000, 0x1d00, 0x0f80];
const FCW = [0x37f, 0x37f, 0x27f, 0x7f, 0xf7f, 0xb7f, 0x77f, 0x37e, 0x37b, 0x37d, 0x36f, 0x35f, 0x340, 0x341];
const FX = { FCW: 0, TAG: 1, MXCSR: 6, ST: 8, XMM: 40 } as const;
const PLAIN_FX = initialFx();
/** Error summary and busy bits of FSW, exception bits. */
const FSW_ES_B = 0x8080;
const EXCEPTIONS = 0x3f;

/** x87 in use by MMX or x87 rows; now and then with an exception that is pending. */
function drawX87(words: Int32Array, at: number, mmx: boolean, random: Random): void {
  const fcw = random.pick(FCW);
  let fsw = random.below(0x10000) & 0x7f40;
  if (random.once(8)) fsw |= random.below(64);
  if (fsw & ~fcw & EXCEPTIONS) fsw |= FSW_ES_B;
  words[at + FX.FCW] = fcw | (fsw << 16);
  words[at + FX.TAG] = random.once(4) ? random.below(256) : 0xff;
  for (let i = 0; i < 8; i++) {
    const st = at + FX.ST + 4 * i;
    if (mmx) {
      awkwardQuad(words, st, random);
      words[st + 2] = 0xffff;
    } else awkwardExtended(words, st, random);
  }
}

/** Letters of operands in vector registers. */
const usesVectors = (row: Row): boolean => row.operands.some((op) => 'VWUHLKPQN'.includes(op.where));

function drawFx(row: Row, batch: Batch, at: number, random: Random): void {
  const { words, bytes } = batch;
  bytes.set(PLAIN_FX, at * 4);
  if (row.unit === undefined && !usesVectors(row) && !WHOLE_STATE.test(row.name)) return;
  if (row.unit !== 'x87' && row.unit !== 'x87-nowait') {
    for (let i = 0; i < 16; i++) awkwardVector(words, at + FX.XMM + 4 * i, random);
    const upper = at + (VALUES.YMMH - VALUES.FX) / 4;
    for (let i = 0; i < 16; i++) awkwardVector(words, upper + 4 * i, random);
    words[at + FX.MXCSR] = random.pick(MXCSR);
  }
  if (row.unit !== 'sse' && row.unit !== 'avx') drawX87(words, at, row.unit === 'mmx', random);
}

function drawWindow(insn: Insn, batch: Batch, at: number, random: Random): void {
  const { words } = batch;
  const vectors = (insn.row.unit === 'sse' || insn.row.unit === 'avx') && random.once(2);
  const extended = insn.row.unit === 'x87' && random.once(2);
  // A header that is sound, and components in their initial form, need zeros.
  if (WHOLE_STATE.test(insn.row.name) && random.once(2)) {
    for (let i = at; i < at + WINDOW_SIZE / 4; i++) words[i] = random.once(8) ? random.below(8) : 0;
    return;
  }
  if (INSPECTS_SELECTOR.test(insn.row.name)) {
    for (let i = at; i < at + WINDOW_SIZE / 4; i++) words[i] = drawSelector(random) | (drawSelector(random) << 16);
    return;
  }
  for (let i = at; i < at + WINDOW_SIZE / 4; i += 4) {
    if (vectors) awkwardVector(words, i, random);
    else if (extended) awkwardExtended(words, i, random);
    else for (const k of [i, i + 2]) awkwardQuad(words, k, random);
  }
  if (!insn.row.ends) return;
  for (let i = 0; i < WINDOW_SIZE / 8; i++) batch.quads[at / 2 + i] = drawJump(insn, random);
}

/** Elements of the index vector of a gather: mostly small, so that they stay in the data pages. */
function drawIndex(insn: Insn, words: Int32Array, at: number, random: Random): void {
  const k = insn.row.operands.findIndex((op) => op.where === 'K');
  const index = insn.operands[k];
  if (index?.kind !== 'reg') return;
  const wide = /gatherq/.test(insn.row.name);
  const upper = at + (VALUES.YMMH - VALUES.FX) / 4;
  for (const half of [at + FX.XMM + 4 * index.n, upper + 4 * index.n]) {
    for (let i = 0; i < 4; i++) {
      const small = random.once(40) ? random.u32() | 0 : random.below(24) - 12;
      words[half + i] = wide && i & 1 ? words[half + i - 1]! >> 31 : small;
    }
  }
}

const RFLAGS_FIXED = 0x202;
const DF = 0x400;
const AC = 0x40000;
function drawFlags(random: Random): number {
  return RFLAGS_FIXED | (random.below(0x1000) & 0x8d5) | (random.once(4) ? DF : 0) | (random.once(16) ? AC : 0);
}

/** Draws the values of case `i` of a batch for its instruction. */
export function drawValues(batch: Batch, i: number, random: Random): void {
  const insn = batch.insns[i]!;
  const at = i * REQUEST_SIZE + REQUEST_VALUES;
  drawBases(insn, batch.quads, (at + VALUES.GPR) / 8, random);
  drawRegisters(insn, batch.quads, batch.words, (at + VALUES.GPR) / 8, random);
  batch.words[(at + VALUES.RFLAGS) / 4] = drawFlags(random);
  drawFx(insn.row, batch, (at + VALUES.FX) / 4, random);
  drawIndex(insn, batch.words, (at + VALUES.FX) / 4, random);
  drawWindow(insn, batch, (at + VALUES.WINDOW) / 4, random);
}
