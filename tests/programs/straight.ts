// Random instructions of all rows without control flow, with their memory operands led to where it is interesting.
import { makeDecoder } from '../../src/isa/decoder.ts';
import { effectsOf } from '../../src/isa/effects.ts';
import type { CodeMode, Insn } from '../../src/isa/insn.ts';
import { SEG } from '../../src/isa/layout.ts';
import type { Row } from '../../src/isa/row.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { drawBytes } from '../differential/generate.ts';
import { awkward } from '../differential/values.ts';
import type { Random } from '../isa/random.ts';
import { type Emit, REG } from './emit.ts';
import { ALIAS, LARGE_DATA, PAGE } from './places.ts';

const decoder = makeDecoder(ROWS);

/** Rows that would stop the machine or need more than a memory operand that is in order. */
const UNFIT = /^(mwait|monitor|xrstors?|xsaves?c?|fxrstor\w*|l[defgs]s|lss|ud[012]|enter|leave)$/;
const usable = (row: Row): boolean => row.user !== false && !row.ends && !UNFIT.test(row.name);

export type RowClass = 'plain' | 'sse' | 'avx' | 'x87';
const CLASSES: Readonly<Record<RowClass, readonly Row[]>> = {
  plain: ROWS.filter((r) => usable(r) && r.unit === undefined),
  sse: ROWS.filter((r) => usable(r) && r.unit === 'sse'),
  avx: ROWS.filter((r) => usable(r) && r.unit === 'avx'),
  x87: ROWS.filter((r) => usable(r) && (r.unit === 'x87' || r.unit === 'x87-nowait' || r.unit === 'mmx')),
};
export const ROW_CLASSES = Object.keys(CLASSES) as readonly RowClass[];

const TRIES = 40;
/** Elements that a repeated string instruction may handle. */
const LONGEST_STRING = 40;

export const codeMode = (e: Emit): CodeMode =>
  e.long ? { code: 64, stack: 64 } : { code: e.narrow ? 16 : 32, stack: 32 };

/** Registers written: also by helpers, which effects name only. */
function writes(insn: Insn): number {
  const fixed = insn.row.asize ? (1 << REG.SI) | (1 << REG.DI) | (insn.rep === 'none' ? 0 : 1 << REG.CX) : 0;
  const effects = effectsOf(insn);
  const helpers = effects.helpers.length > 0 && insn.row.unit === undefined ? 0xf : 0;
  return effects.gprWritten | fixed | helpers;
}

function drawInsn(e: Emit, rows: readonly Row[]): { insn: Insn; bytes: Uint8Array } | undefined {
  for (let i = 0; i < TRIES; i++) {
    const bytes = drawBytes(e.random.pick(rows), codeMode(e), e.random);
    const insn = bytes && decoder.decode(bytes, 0, bytes.length, codeMode(e));
    if (!bytes || !insn || 'failure' in insn || !usable(insn.row)) continue;
    // With 16-bit addresses nothing is where it leads to; those have a piece of their own.
    if (e.narrow && insn.asize === 16 && (insn.mem || insn.row.asize)) continue;
    // Pushes and pops move rSP a little, which pieces put right; anything else must leave it alone.
    const free = insn.row.stack === true ? e.reserved & ~(1 << REG.SP) : e.reserved;
    if (writes(insn) & free) continue;
    return { insn, bytes };
  }
  return undefined;
}

/** A linear address for `bytes` of data: mostly in order, sometimes over the end of a page, or not there. */
export function dataAddress(e: Emit, bytes: number): number {
  const { random } = e;
  const { places } = e.o;
  const kind = random.below(64);
  const inPage = (page: number): number => page + random.below(PAGE - bytes);
  if (kind === 0) return places.device + random.below(PAGE / 8 - 8) * 8;
  if (kind === 1) return inPage(random.pick(places.absent));
  if (kind === 2) return inPage(random.pick(places.readonly));
  if (kind === 3) return random.pick(places.absent) - random.below(bytes + 1);
  if (kind === 4) return random.pick(places.readonly) - random.below(bytes + 1);
  if (kind === 5) return e.codeAddress();
  if (kind === 6) return random.pick(places.data) + (random.once(2) ? ALIAS : 0) - random.below(bytes + 1);
  if (kind === 7) return places.stack - random.below(256);
  if (kind === 8 && e.o.environment.large) return inPage(random.pick(places.data)) ^ LARGE_DATA;
  if (kind < 16) return random.pick(places.data.slice(0, 2)) + PAGE - random.below(bytes + 2);
  const at = inPage(random.pick(places.data));
  return random.once(2) ? at & ~31 : at;
}

/** Base of a segment, as data accesses see it. */
function segmentBase(e: Emit, seg: number): number {
  if (seg === SEG.fs || seg === SEG.gs) return e.o.extraBases[seg - SEG.fs]!;
  if (e.long) return 0;
  return seg === SEG.cs ? e.o.codeBase : e.o.dataBase;
}

/** Loads base and index of the memory operand so that it points at `target`. */
function leadOperand(e: Emit, insn: Insn, target: number): boolean {
  const mem = insn.mem!;
  const offset = BigInt(target - segmentBase(e, mem.seg)) - mem.disp;
  let index = 0n;
  for (const r of [mem.base, mem.index]) if (r !== undefined && (e.reserved >> r) & 1) return false;
  if (mem.index !== undefined && mem.index !== mem.base) {
    index = BigInt(e.random.below(64) - (insn.asize === e.word * 8 ? 32 : 0));
    e.movImm(mem.index, index);
  }
  if (mem.base !== undefined) e.movImm(mem.base, offset - (index << BigInt(mem.scale)));
  return true;
}

/** Registers that a string instruction, XLAT or MASKMOV uses without naming them. */
function leadImplicit(e: Emit, insn: Insn): boolean {
  const used = [REG.SI, REG.DI, ...(insn.row.name.startsWith('xlat') ? [REG.BX] : [])];
  for (const r of used) {
    if ((e.reserved >> r) & 1) return false;
    const base = r === REG.DI ? segmentBase(e, SEG.es) : segmentBase(e, insn.seg);
    if (!e.random.once(6)) e.movImm(r, BigInt(dataAddress(e, 8) - base));
  }
  if (insn.rep === 'none') return true;
  if ((e.reserved >> REG.CX) & 1) return false;
  e.movImm(REG.CX, BigInt(e.random.below(LONGEST_STRING)));
  return true;
}

/** Writes the distance of a RIP-relative operand anew: the four bytes that hold it are found by their value. */
function patchRelative(bytes: Uint8Array, insn: Insn, at: number, target: number): Uint8Array | undefined {
  const old = Number(BigInt.asIntN(32, insn.mem!.disp));
  const out = bytes.slice();
  const v = new DataView(out.buffer);
  for (let i = out.length - 4; i > 0; i--) {
    if (v.getInt32(i, true) !== old) continue;
    v.setInt32(i, target - (at + insn.length), true);
    const again = decoder.decode(out, 0, out.length, insn.mode);
    if (!('failure' in again) && again.mem?.ripRelative) return out;
    return undefined;
  }
  return undefined;
}

/** One random instruction with what it needs in front of it. */
export function randomInsn(e: Emit, cls: RowClass): void {
  const drawn = drawInsn(e, CLASSES[cls]);
  if (!drawn) return;
  const { insn } = drawn;
  let { bytes } = drawn;
  if ((insn.row.asize || /^(xlat|maskmov)/.test(insn.row.name)) && !leadImplicit(e, insn)) return;
  const bit = insn.row.bitOffset ? insn.operands[1] : undefined;
  if (bit?.kind === 'reg') {
    if ((e.reserved >> bit.n) & 1) return;
    e.movImm(bit.n, BigInt(e.random.below(512) - 256));
  }
  if (insn.mem) {
    const target = dataAddress(e, insn.operands.some((o) => o.kind === 'mem' && o.width === 256) ? 32 : 16);
    if (insn.mem.ripRelative) {
      const patched = patchRelative(bytes, insn, e.asm.at, target);
      if (!patched) return;
      bytes = patched;
    } else if (insn.mem.base !== undefined && !e.random.once(12) && !leadOperand(e, insn, target)) return;
  }
  e.asm.raw(bytes);
  e.resume();
}

/** Some registers get values that are awkward. */
export function randomRegisters(e: Emit): void {
  for (let n = e.random.below(4); n >= 0; n--) e.movImm(e.freeRegister(), awkward(e.random), true);
}

/** A vector register gets 16 bytes of the data pages, which hold awkward values. */
export function randomVector(e: Emit): void {
  const at = e.random.pick(e.o.places.data) + e.random.below(PAGE / 16) * 16;
  e.regAt([0x0f, 0x10], e.random.below(8), at, false);
}

export const drawClass = (random: Random): RowClass =>
  random.below(20) < 11 ? 'plain' : random.pick(['sse', 'sse', 'avx', 'x87'] as const);
