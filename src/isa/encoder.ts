/**
 * The encoder: a row and the shape of an instruction -> bytes. For tests and tools that make instructions from rows;
 * it writes the plainest encoding and tells when a shape has none.
 */
import type { CodeMode, MemRef, OperandValue } from './insn.ts';
import { SEG } from './layout.ts';
import type { Width } from './ops.ts';
import type { Operand, Row } from './row.ts';

/** What `encode` is asked for. `operands` are the row's, in order; fixed ones are not looked at. */
export interface Shape {
  readonly mode: CodeMode;
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly operands: readonly OperandValue[];
  readonly mem?: MemRef | undefined;
  readonly lock?: boolean;
  readonly rep?: 'none' | 'rep' | 'repne';
  /** A REX byte even where none is needed (64-bit mode). */
  readonly rex?: boolean;
}

/** The bytes being put together; parts in the order of SDM vol.2 figure 2-1. */
interface Parts {
  rex: number;
  /** REX is needed for SPL, BPL, SIL, DIL; and AH, CH, DH, BH cannot have one. */
  needsRex: boolean;
  noRex: boolean;
  opcode: number;
  /** VEX.vvvv, not yet inverted. */
  vvvv: number;
  /** SIB.index of a vector register. */
  vectorIndex: number | undefined;
  reg: number;
  rm: number | undefined;
  readonly tail: number[];
}

const REX = { W: 8, R: 4, X: 2, B: 1 };

const little = (v: bigint, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Number((v >> BigInt(8 * i)) & 0xffn));

/** Bytes of an immediate by its size letters and the operand size (SDM vol.2 appendix A.2.2). */
function immediateBytes(size: string, w: Width): number {
  if (size === 'b' || size === 'bs') return 1;
  if (size === 'w') return 2;
  if (size === 'd') return 4;
  if (size === 'q') return 8;
  return size === 'v' ? w / 8 : Math.min(w, 32) / 8;
}

function takeRegister(op: Extract<OperandValue, { kind: 'reg' }>, parts: Parts): number {
  if (op.cls === 'gpr' && op.width === 8) {
    if (op.high) {
      parts.noRex = true;
      return op.n + 4;
    }
    if (op.n >= 4) parts.needsRex = true;
  }
  return op.n;
}

/** Puts one operand into the parts; false when this place cannot hold it. */
function place(row: Operand, op: OperandValue, shape: Shape, parts: Parts): boolean {
  switch (row.where) {
    case 'fixed':
    case 'X':
    case 'Y':
      return true;
    case 'I': {
      const bytes = immediateBytes(row.size, shape.w);
      if (op.kind !== 'imm') return false;
      parts.tail.push(...little(op.value, bytes));
      return true;
    }
    case 'J': {
      const bytes = row.size === 'b' ? 1 : shape.w === 16 ? 2 : 4;
      if (op.kind !== 'rel') return false;
      parts.tail.push(...little(BigInt.asUintN(64, BigInt(op.value)), bytes));
      return true;
    }
    case 'A':
      if (op.kind !== 'far') return false;
      parts.tail.push(...little(op.offset, shape.w === 16 ? 2 : 4), ...little(BigInt(op.selector), 2));
      return true;
    case 'O':
      parts.tail.push(...little(shape.mem?.disp ?? 0n, shape.asize / 8));
      return op.kind === 'mem';
    case 'H':
    case 'B':
      if (op.kind !== 'reg') return false;
      parts.vvvv = op.n;
      return true;
    case 'L':
      if (op.kind !== 'reg') return false;
      parts.tail.push(op.n << 4);
      return true;
    case 'K':
      if (op.kind !== 'reg') return false;
      parts.vectorIndex = op.n;
      return true;
    default:
      return placeModrm(row, op, parts);
  }
}

function placeModrm(row: Operand, op: OperandValue, parts: Parts): boolean {
  if (op.kind === 'mem') return 'EMWQ'.includes(row.where);
  if (op.kind !== 'reg' || row.where === 'M') return false;
  const n = takeRegister(op, parts);
  if ('GVSCDP'.includes(row.where)) {
    parts.reg = n & 7;
    if (n > 7) parts.rex |= REX.R;
  } else if (row.where === 'Z') {
    parts.opcode += n & 7;
    if (n > 7) parts.rex |= REX.B;
  } else {
    parts.rm = n & 7;
    if (n > 7) parts.rex |= REX.B;
  }
  return true;
}

/** ModRM.rm for base and index in 16-bit addressing, or undefined. */
function rm16(mem: MemRef): number | undefined {
  const forms = ['3,6', '3,7', '5,6', '5,7', '6,', '7,', '5,', '3,'];
  if (mem.base === undefined) return 6;
  const at = forms.indexOf(`${mem.base},${mem.index ?? ''}`);
  return at < 0 || mem.scale ? undefined : at;
}

function memory16(mem: MemRef, reg: number): number[] | undefined {
  const rm = rm16(mem);
  if (rm === undefined || mem.ripRelative) return undefined;
  const disp = little(mem.disp, 2);
  if (mem.base === undefined) return [(reg << 3) | 6, ...disp];
  if (mem.disp === 0n && rm !== 6) return [(reg << 3) | rm];
  if (BigInt.asIntN(8, mem.disp) === mem.disp) return [0x40 | (reg << 3) | rm, ...little(mem.disp, 1)];
  return [0x80 | (reg << 3) | rm, ...disp];
}

/** ModRM, SIB and displacement for 32- and 64-bit addressing; undefined when the address has no encoding. */
function memory32(mem: MemRef, reg: number, long: boolean, parts: Parts): number[] | undefined {
  const { base, disp } = mem;
  const index = parts.vectorIndex ?? mem.index;
  if (mem.index === 4 || BigInt.asIntN(32, disp) !== disp) return undefined;
  if ((base ?? 0) > 7) parts.rex |= REX.B;
  if ((index ?? 0) > 7) parts.rex |= REX.X;
  const sib = (b: number): number => (mem.scale << 6) | (((index ?? 4) & 7) << 3) | b;
  if (mem.ripRelative) return long ? [(reg << 3) | 5, ...little(disp, 4)] : undefined;
  if (base === undefined) {
    if (index === undefined && !long) return [(reg << 3) | 5, ...little(disp, 4)];
    return [(reg << 3) | 4, sib(5), ...little(disp, 4)];
  }
  const mod = disp === 0n && (base & 7) !== 5 ? 0 : BigInt.asIntN(8, disp) === disp ? 1 : 2;
  const dispBytes = little(disp, mod === 0 ? 0 : mod === 1 ? 1 : 4);
  if (index === undefined && (base & 7) !== 4) return [(mod << 6) | (reg << 3) | (base & 7), ...dispBytes];
  return [(mod << 6) | (reg << 3) | 4, sib(base & 7), ...dispBytes];
}

/** 66 and REX.W for an operand size; undefined when the row cannot have it in this mode. */
function sizePrefixes(row: Row, shape: Shape): { has66: boolean; rexW: boolean } | undefined {
  const { code } = shape.mode;
  const owns66 = row.enc.prefix === '66';
  if (row.enc.vex) {
    if (shape.w === 16 || (shape.w === 64 && (code !== 64 || row.enc.vex.w !== 'size'))) return undefined;
    return { has66: false, rexW: shape.w === 64 };
  }
  let has66 = false;
  let rexW = false;
  if (code === 64) {
    const usual = row.size64 === undefined ? 32 : 64;
    if (row.size64 === 'f64' && shape.w !== 64) return undefined;
    if (shape.w === 16) has66 = true;
    else if (shape.w !== usual) {
      if (shape.w !== 64) return undefined;
      rexW = true;
    }
  } else {
    if (shape.w === 64 || shape.w === 8) return undefined;
    has66 = shape.w !== code;
  }
  if (has66 && (owns66 || row.enc.prefix === 'NP')) return undefined;
  return { has66: has66 || owns66, rexW };
}

const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const ESCAPES = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]] as const;

/** Legacy prefixes. `segment` is an override to write, or undefined. */
function prefixes(row: Row, shape: Shape, has66: boolean, segment: number | undefined): number[] | undefined {
  const list: number[] = [];
  if (shape.lock) list.push(0xf0);
  if (segment !== undefined) list.push(SEGMENT_PREFIX[segment]!);
  const usual = shape.mode.code;
  if (shape.asize !== usual) {
    if (shape.asize === 64 || (usual === 64 && shape.asize === 16)) return undefined;
    list.push(0x67);
  }
  if (has66) list.push(0x66);
  if (shape.rep === 'rep') list.push(0xf3);
  if (shape.rep === 'repne') list.push(0xf2);
  if (row.enc.vex) return list;
  if (row.enc.prefix === 'F3') list.push(0xf3);
  if (row.enc.prefix === 'F2') list.push(0xf2);
  return list;
}

function segmentOverride(shape: Shape): number | undefined {
  const { mem } = shape;
  if (!mem) return undefined;
  return mem.seg === (mem.base === 4 || mem.base === 5 ? SEG.ss : SEG.ds) ? undefined : mem.seg;
}

/** ModRM byte and what belongs to it; empty when the row has none. */
function modrmBytes(row: Row, shape: Shape, parts: Parts): number[] | undefined {
  if (!row.enc.modrm) return [];
  if (row.enc.modrmByte !== undefined) return [row.enc.modrmByte];
  const reg = row.enc.digit ?? parts.reg;
  if (parts.rm !== undefined) return [0xc0 | (reg << 3) | parts.rm];
  if (!shape.mem) return undefined;
  if (shape.asize === 16) return memory16(shape.mem, reg);
  return memory32(shape.mem, reg, shape.mode.code === 64, parts);
}

const VEX_PP: Readonly<Record<string, number>> = { 66: 1, F3: 2, F2: 3 };

/** The VEX prefix (SDM vol.2 figure 2-9), the short one where it can be; fields that do not matter are 0. */
function vexBytes(row: Row, parts: Parts): number[] {
  const { vex, map, prefix } = row.enc;
  const w = vex!.w === 1 || parts.rex & REX.W ? 1 : 0;
  const last = ((~parts.vvvv & 15) << 3) | ((vex!.l === 1 ? 1 : 0) << 2) | (VEX_PP[prefix] ?? 0);
  const r = parts.rex & REX.R ? 0 : 0x80;
  if (map === 1 && w === 0 && (parts.rex & (REX.X | REX.B)) === 0) return [0xc5, r | last];
  const xb = (parts.rex & REX.X ? 0 : 0x40) | (parts.rex & REX.B ? 0 : 0x20);
  return [0xc4, r | xb | map, (w << 7) | last];
}

/**
 * Bytes of an instruction, or undefined when the row has no encoding of this shape in this mode (wrong operand size,
 * a high-byte register next to a REX prefix, an address that 16-bit addressing cannot express, more than 15 bytes).
 */
export function encode(row: Row, shape: Shape): Uint8Array | undefined {
  const long = shape.mode.code === 64;
  if (long ? row.no64 : row.only64) return undefined;
  const sizes = sizePrefixes(row, shape);
  if (!sizes) return undefined;
  const parts: Parts = {
    rex: sizes.rexW ? REX.W : 0,
    needsRex: shape.rex ?? false,
    noRex: false,
    opcode: row.enc.opcode,
    vvvv: 0,
    vectorIndex: undefined,
    reg: 0,
    rm: undefined,
    tail: [],
  };
  for (const [i, operand] of row.operands.entries()) {
    const value = shape.operands[i];
    if (!value || !place(operand, value, shape, parts)) return undefined;
  }
  const modrm = modrmBytes(row, shape, parts);
  const head = prefixes(row, shape, sizes.has66, segmentOverride(shape));
  if (!modrm || !head) return undefined;
  if (row.enc.vex) {
    if (parts.rex !== 0 && !long) return undefined;
    const bytes = [...head, ...vexBytes(row, parts), parts.opcode, ...modrm, ...parts.tail];
    return bytes.length <= 15 ? Uint8Array.from(bytes) : undefined;
  }
  const rex = parts.rex !== 0 || parts.needsRex ? [0x40 | parts.rex] : [];
  if (rex.length > 0 && (!long || parts.noRex)) return undefined;
  const bytes = [...head, ...rex, ...ESCAPES[row.enc.map], parts.opcode, ...modrm, ...parts.tail];
  return bytes.length <= 15 ? Uint8Array.from(bytes) : undefined;
}
