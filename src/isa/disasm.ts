/**
 * The disassembler: Insn -> text in Intel syntax, as `add rax, qword ptr [rbx+rcx*4+0x10]`. Mnemonics and operands
 * are the row's own.
 */
import type { Insn, MemRef, OperandValue } from './insn.ts';
import { GPR_NAMES, SEG, SEGMENTS } from './layout.ts';

const LOW8 = 'al cl dl bl spl bpl sil dil'.split(' ');
const HIGH8 = ['ah', 'ch', 'dh', 'bh'];
const WIDTH_NAMES: Readonly<Record<number, string>> = {
  8: 'byte ptr ',
  16: 'word ptr ',
  32: 'dword ptr ',
  48: 'fword ptr ',
  64: 'qword ptr ',
  80: 'tbyte ptr ',
  128: 'xmmword ptr ',
  256: 'ymmword ptr ',
};

/** Name of general register `n` (0-15) at a width of 8, 16, 32 or 64 bits; `high` for AH, CH, DH, BH (n = 0-3). */
export function gprName(n: number, width: number, high = false): string {
  if (high) return HIGH8[n] ?? '?';
  if (n >= 8) return `r${n}${{ 8: 'b', 16: 'w', 32: 'd' }[width] ?? ''}`;
  if (width === 8) return LOW8[n]!;
  const name = GPR_NAMES[n]!;
  return width === 64 ? name : width === 32 ? `e${name.slice(1)}` : name.slice(1);
}

const hex = (v: bigint): string => `0x${v.toString(16)}`;

function registerName(op: Extract<OperandValue, { kind: 'reg' }>): string {
  switch (op.cls) {
    case 'gpr':
      return gprName(op.n, op.width, op.high);
    case 'seg':
      return SEGMENTS[op.n]!;
    case 'st':
      return `st(${op.n})`;
    case 'xmm':
      return `${op.width === 256 ? 'ymm' : 'xmm'}${op.n}`;
    default:
      return `${op.cls}${op.n}`;
  }
}

/** The parts of an address without its segment. A displacement alone is cut to the address size. */
function address(mem: MemRef, asize: number, nextRip: bigint | undefined, vectorIndex?: string): string {
  if (mem.ripRelative && nextRip !== undefined) return hex(BigInt.asUintN(asize, nextRip + mem.disp));
  const parts: string[] = [];
  if (mem.ripRelative) parts.push(asize === 64 ? 'rip' : 'eip');
  if (mem.base !== undefined) parts.push(gprName(mem.base, asize));
  if (vectorIndex !== undefined) parts.push(vectorIndex + (mem.scale ? `*${1 << mem.scale}` : ''));
  if (mem.index !== undefined) {
    // Without a base the factor is always printed: [rax*1] and [rax] are encoded differently.
    const factor = mem.scale || mem.base === undefined ? `*${1 << mem.scale}` : '';
    parts.push(gprName(mem.index, asize) + factor);
  }
  if (parts.length === 0) return hex(BigInt.asUintN(asize, mem.disp));
  const sum = parts.join('+');
  if (mem.disp === 0n) return sum;
  return mem.disp < 0n ? `${sum}-${hex(-mem.disp)}` : `${sum}+${hex(mem.disp)}`;
}

const defaultSegment = (mem: MemRef): number => (mem.base === 4 || mem.base === 5 ? SEG.ss : SEG.ds);
const segmentPrefix = (seg: number, usual: number): string => (seg === usual ? '' : `${SEGMENTS[seg]}:`);

function memory(insn: Insn, i: number, width: number, nextRip: bigint | undefined): string {
  const size = WIDTH_NAMES[width] ?? '';
  const where = insn.row.operands[i]!.where;
  if (where === 'Y') return `${size}es:[${gprName(7, insn.asize)}]`;
  if (where === 'X') return `${size}${segmentPrefix(insn.seg, SEG.ds)}[${gprName(6, insn.asize)}]`;
  const mem = insn.mem!;
  const index = insn.operands[insn.row.operands.findIndex((op) => op.where === 'K')];
  const name = index?.kind === 'reg' ? registerName(index) : undefined;
  return `${size}${segmentPrefix(mem.seg, defaultSegment(mem))}[${address(mem, insn.asize, nextRip, name)}]`;
}

function operand(insn: Insn, i: number, nextRip: bigint | undefined): string {
  const op = insn.operands[i]!;
  switch (op.kind) {
    case 'reg':
      return registerName(op);
    case 'mem':
      return memory(insn, i, op.width, nextRip);
    case 'imm':
      return hex(op.value);
    case 'far':
      return `${hex(BigInt(op.selector))}:${hex(op.offset)}`;
    case 'rel':
      if (nextRip !== undefined) return hex(BigInt.asUintN(insn.w, nextRip + BigInt(op.value)));
      return `$${insn.length + op.value < 0 ? '-' : '+'}${hex(BigInt(Math.abs(insn.length + op.value)))}`;
  }
}

/** The mnemonic: the row's name, or the one of three that the operand or address size chooses (src/isa/row.ts). */
export function mnemonic(insn: Insn): string {
  const names = insn.row.name.split('/');
  if (names.length !== 3) return insn.row.name;
  const size = insn.row.asize && !insn.row.rep ? insn.asize : insn.w;
  return names[size === 64 ? 2 : size === 32 ? 1 : 0]!;
}

/**
 * Text of an instruction. With `rip`, the address of its first byte, relative targets and RIP-relative addresses are
 * printed as absolute ones; without, as `$+0x5` and `[rip+0x10]`.
 */
export function disassemble(insn: Insn, rip?: bigint): string {
  const nextRip = rip === undefined ? undefined : rip + BigInt(insn.length);
  const lock = insn.lock ? 'lock ' : '';
  const rep = insn.rep === 'none' ? '' : insn.row.rep === 'zf' && insn.rep === 'rep' ? 'repe ' : `${insn.rep} `;
  const operands = insn.operands
    .flatMap((_, i) => (insn.row.operands[i]!.where === 'K' ? [] : [operand(insn, i, nextRip)]))
    .join(', ');
  const far = insn.row.operands[0]?.size === 'p' ? ' far' : '';
  return `${lock}${rep}${mnemonic(insn)}${far}${operands === '' ? '' : ` ${operands}`}`;
}
