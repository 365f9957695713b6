/** Turns a decoded instruction into records: an address-generation record where one is needed, then its own. */
import type { Insn, OperandValue } from '../isa/insn.ts';
import { CPU, REC, SEG } from '../isa/layout.ts';
import type { Operand } from '../isa/row.ts';
import {
  AGEN_ALIGNED,
  AGEN_LOG2_SHIFT,
  AGEN_UNIT_SHIFT,
  AGEN_WRITE,
  SPECIAL,
  STACK_NONE,
  UNITS,
} from './interp/special.ts';
import { memoryOperand, needsAgen } from './shape.ts';

/** Where an instruction lies: offset in its page, and how many instructions of the trace come before it. */
export interface Position {
  readonly offset: number;
  readonly count: number;
}

const FILE: Readonly<Record<string, { base: number; stride: number }>> = {
  gpr: { base: CPU.gpr!, stride: 8 },
  xmm: { base: CPU.ymm!, stride: 32 },
  mm: { base: CPU.fpr!, stride: 16 },
};

/** Value of a record's register field: the offset of the register, or the number of one that rows treat by number. */
function registerField(v: OperandValue): number {
  if (v.kind !== 'reg') return 0;
  const file = FILE[v.cls];
  return file ? file.base + v.n * file.stride + (v.high ? 1 : 0) : v.n;
}
function slot(o: Operand): number {
  if ('GVPSCD'.includes(o.where)) return REC.A;
  if ('HB'.includes(o.where)) return REC.C;
  if (o.where === 'L') return REC.IMM;
  return o.where === 'K' ? REC.INDEX : REC.B;
}

/** Offset of the segment's base as address computation uses it. */
const segmentField = (insn: Insn, seg: number): number => {
  if (insn.mode.code !== 64 || seg >= SEG.fs) return CPU.seg_base! + seg * 8;
  return seg === SEG.ss ? STACK_NONE : CPU.seg_none!;
};

/** Number of records that `writeInsn` will write. */
export const recordsFor = (insn: Insn): number => (needsAgen(insn) ? 2 : 1);

function clear(view: DataView, at: number, handler: number, length: number, p: Position): void {
  for (let i = 0; i < REC.SIZE; i += 8) view.setBigUint64(at + i, 0n, true);
  view.setUint32(at + REC.HANDLER, handler, true);
  view.setUint8(at + REC.LEN, length);
  view.setUint16(at + REC.OFFSET, p.offset, true);
  view.setUint16(at + REC.COUNT, p.count, true);
}

function writeAddress(view: DataView, at: number, insn: Insn, p: Position, withImmediate: boolean): void {
  const m = insn.mem!;
  const base = m.ripRelative ? CPU.page_base! : m.base === undefined ? CPU.zero! : CPU.gpr! + m.base * 8;
  view.setUint16(at + REC.BASE, base, true);
  view.setUint16(at + REC.INDEX, m.index === undefined ? CPU.zero! : CPU.gpr! + m.index * 8, true);
  view.setUint8(at + REC.SCALE, m.scale);
  view.setUint16(at + REC.SEG, segmentField(insn, m.seg), true);
  let disp = m.disp + (m.ripRelative ? BigInt(p.offset + insn.length) : 0n);
  // POP computes its address with the rSP after the pop (SDM vol.2 POP).
  if (insn.row.popsFirst && m.base === 4) disp += BigInt(insn.w / 8);
  if (withImmediate) view.setBigInt64(at + REC.IMM, BigInt.asIntN(64, disp), true);
  else view.setInt32(at + REC.DISP, Number(BigInt.asIntN(32, disp)), true);
}

function agenHandler(insn: Insn): number {
  const bits = insn.row.bitOffset ?? false;
  if (insn.mode.code === 64) {
    if (insn.asize === 64) return bits ? SPECIAL.agenBitLong64 : SPECIAL.agenLong64;
    return bits ? SPECIAL.agenBitLong32 : SPECIAL.agenLong32;
  }
  if (insn.asize === 32) return bits ? SPECIAL.agenBitLegacy32 : SPECIAL.agenLegacy32;
  return bits ? SPECIAL.agenBitLegacy16 : SPECIAL.agenLegacy16;
}

function writeAgen(view: DataView, at: number, insn: Insn, p: Position): void {
  clear(view, at, agenHandler(insn), insn.length, p);
  writeAddress(view, at, insn, p, true);
  const operand = memoryOperand(insn.row)!;
  const value = insn.operands[insn.row.operands.indexOf(operand)]!;
  const bytes = value.kind === 'mem' ? Math.max(1, value.width / 8) : 1;
  const { unit, aligned } = insn.row;
  const checks = (unit ? (UNITS.indexOf(unit) + 1) << AGEN_UNIT_SHIFT : 0) | (aligned ? AGEN_ALIGNED : 0);
  const info = bytes | (operand.write ? AGEN_WRITE : 0) | (Math.log2(insn.w / 8) << AGEN_LOG2_SHIFT) | checks;
  view.setUint16(at + REC.B, info, true);
  const bit = insn.row.bitOffset ? insn.operands[1] : undefined;
  if (bit) view.setUint16(at + REC.A, registerField(bit), true);
}

function writeOperands(view: DataView, at: number, insn: Insn, p: Position): void {
  let immediates = 0;
  insn.row.operands.forEach((o, i) => {
    const v = insn.operands[i]!;
    switch (v.kind) {
      case 'reg':
        if (o.where !== 'fixed') view.setUint16(at + slot(o), registerField(v), true);
        break;
      case 'imm':
        if (o.where === 'fixed') break;
        if (insn.row.enc.vex) view.setUint32(at + REC.IMM, Number(v.value), true);
        else if (immediates++ === 0) view.setBigUint64(at + REC.IMM, BigInt.asUintN(64, v.value), true);
        else view.setUint32(at + REC.DISP, Number(v.value), true);
        break;
      case 'rel':
        view.setInt32(at + REC.DISP, p.offset + insn.length + v.value, true);
        break;
      case 'far':
        view.setBigUint64(at + REC.IMM, v.offset | (BigInt(v.selector) << 32n), true);
        break;
    }
  });
}

/** Writes the records of an instruction from address `at`; returns the address behind them. */
export function writeInsn(view: DataView, at: number, insn: Insn, handler: number, p: Position): number {
  let here = at;
  const agen = needsAgen(insn);
  if (agen) {
    writeAgen(view, here, insn, p);
    here += REC.SIZE;
  }
  clear(view, here, handler, insn.length, p);
  view.setUint16(here + REC.SEG, segmentField(insn, insn.mem?.seg ?? insn.seg), true);
  if (insn.mem && !agen) writeAddress(view, here, insn, p, false);
  if (agen) {
    view.setUint16(here + REC.BASE, CPU.ea!, true);
    view.setUint16(here + REC.INDEX, CPU.zero!, true);
  }
  writeOperands(view, here, insn, p);
  return here + REC.SIZE;
}

/** Writes a record that is no instruction. `disp` is relative to page_base, `a` as the handler defines it. */
export function writeSpecial(
  view: DataView,
  at: number,
  handler: number,
  p: Position,
  extra: { disp?: number; a?: number; length?: number } = {},
): number {
  clear(view, at, handler, extra.length ?? 0, p);
  if (extra.disp !== undefined) view.setInt32(at + REC.DISP, extra.disp, true);
  if (extra.a !== undefined) view.setUint16(at + REC.A, extra.a, true);
  return at + REC.SIZE;
}
