/**
 * What the letters of a row's operands mean to the decoder: where the register's number comes from, what stands behind
 * the displacement, what is not valid, and the operand as an object. Operands that are registers or memory are shared
 * objects.
 */
import type { MemRef, OperandValue, RegClass } from './insn.ts';
import type { MemWidth, Width } from './ops.ts';
import { type Operand, type Row, sizeBits } from './row.ts';
import { type Scan, SOURCE, TAKE } from './scan.ts';

/** An operand prepared for decoding. */
export interface OperandForm {
  readonly operand: Operand;
  /** One of SOURCE; NONE for an operand that is never a register that the bytes choose. */
  readonly source: number;
  /** Registers that `source` chooses from. */
  readonly cls: RegClass;
  /** `mem`: always in memory; `either`: there if ModRM names memory. */
  readonly place: 'mem' | 'either' | 'other';
  /** One of TAKE. */
  readonly take: number;
  /** Not valid (#UD) with these bytes; absent for an operand that always is. */
  readonly isInvalid: ((s: Scan) => boolean) | undefined;
  /** Width in bits of a general register or a memory operand by `widthIndex`. */
  readonly widths: readonly number[];
  /** The operand of what was scanned. */
  value(s: Scan, i: number): OperandValue;
}

/** Index into `widths`: by operand size (16, 32, 64), and those in 64-bit mode behind the others. */
export const widthIndex = (s: Scan): number => (s.w >> 5) + (s.long ? 3 : 0);

/**
 * Registers and memory of size z are at most 32 bits wide; immediates of size z are extended to the operand size.
 */
function widthsOf(op: Operand): readonly number[] {
  const at = (w: Width, long: boolean): number =>
    sizeBits(op.size, op.size === 'z' && op.where !== 'I' && w === 64 ? 32 : w, long);
  return [16, 32, 64, 16, 32, 64].map((w, i) => at(w as Width, i >= 3));
}

/** Without REX, numbers 4-7 of 8-bit registers are AH, CH, DH, BH (SDM vol.2 table 3-1). */
export const isHighByte = (width: number, n: number, rex: number): boolean => width === 8 && rex === 0 && n >= 4;

// Operands that recur are made once.

type RegOperand = Extract<OperandValue, { kind: 'reg' }>;
const registers = (cls: RegClass, width: MemWidth, count: number, high = false): readonly RegOperand[] =>
  Array.from({ length: count }, (_, n) => ({ kind: 'reg', cls, n, width, high }) as const);
const GPR: Readonly<Record<number, readonly RegOperand[]>> = Object.fromEntries(
  ([8, 16, 32, 64] as const).map((width) => [width, registers('gpr', width, 16)]),
);
const HIGH = registers('gpr', 8, 4, true);
const YMM = registers('xmm', 256, 16);
/** Registers of the other classes, by number. */
const OTHERS: Readonly<Record<Exclude<RegClass, 'gpr'>, readonly RegOperand[]>> = {
  seg: registers('seg', 16, 6),
  cr: registers('cr', 64, 16),
  dr: registers('dr', 64, 8),
  xmm: registers('xmm', 128, 16),
  mm: registers('mm', 64, 8),
  st: registers('st', 80, 8),
};
type MemOperand = Extract<OperandValue, { kind: 'mem' }>;
const MEMORY: Readonly<Record<number, MemOperand>> = Object.fromEntries(
  ([0, 8, 16, 32, 48, 64, 80, 128, 256] as const).map((width) => [width, { kind: 'mem', width } as const]),
);

/** Where each letter's register comes from, and of which file it is; the others are never registers by bytes. */
const REGISTERS: Readonly<Partial<Record<Operand['where'], { source: number; cls: RegClass }>>> = {
  G: { source: SOURCE.REG, cls: 'gpr' },
  E: { source: SOURCE.RM, cls: 'gpr' },
  R: { source: SOURCE.RM, cls: 'gpr' },
  B: { source: SOURCE.VVVV, cls: 'gpr' },
  Z: { source: SOURCE.OPCODE, cls: 'gpr' },
  S: { source: SOURCE.REG_LOW, cls: 'seg' },
  C: { source: SOURCE.REG, cls: 'cr' },
  D: { source: SOURCE.REG, cls: 'dr' },
  V: { source: SOURCE.REG, cls: 'xmm' },
  U: { source: SOURCE.RM, cls: 'xmm' },
  W: { source: SOURCE.RM, cls: 'xmm' },
  H: { source: SOURCE.VVVV, cls: 'xmm' },
  L: { source: SOURCE.BYTE, cls: 'xmm' },
  K: { source: SOURCE.INDEX, cls: 'xmm' },
  P: { source: SOURCE.REG_LOW, cls: 'mm' },
  Q: { source: SOURCE.RM_LOW, cls: 'mm' },
  N: { source: SOURCE.RM_LOW, cls: 'mm' },
  T: { source: SOURCE.RM_LOW, cls: 'st' },
};
const NO_REGISTERS = { source: SOURCE.NONE, cls: 'gpr' } as const;

/** By size, what an immediate has in the bytes. */
const IMMEDIATES: Readonly<Record<string, number>> = {
  b: TAKE.U8,
  bs: TAKE.S8,
  w: TAKE.U16,
  d: TAKE.U32,
  q: TAKE.U64,
  z: TAKE.Z,
  v: TAKE.V,
};

function takeOf(op: Operand): number {
  switch (op.where) {
    case 'I': {
      const take = IMMEDIATES[op.size];
      if (take !== undefined) return take;
      throw new Error(`operand ${op.text}: an immediate has no size '${op.size}'; use b bs w d q z or v`);
    }
    case 'J':
      return op.size === 'b' ? TAKE.REL8 : TAKE.REL;
    case 'A':
      return TAKE.FAR;
    case 'O':
      return TAKE.OFFSET;
    case 'L':
      return TAKE.REGISTER;
    default:
      return TAKE.NOTHING;
  }
}

/** CR0, CR2, CR3, CR4 and CR8 exist; the others are #UD (SDM vol.2 MOV to/from control registers). */
const EXISTING_CR = 0b1_0001_1101;
/** CS cannot be loaded by MOV; there are six. */
const isInvalidSegment = (n: number, write: boolean): boolean => n > 5 || (write && n === 1);

/** A gather needs a SIB byte, and its destination, mask and index must be three registers (SDM vol.2 VGATHER). */
function isInvalidGather(s: Scan): boolean {
  const index = s.vectorIndex;
  return index < 0 || s.asize === 16 || index === s.reg || index === s.vvvv || s.reg === s.vvvv;
}

function invalidityOf(op: Operand): ((s: Scan) => boolean) | undefined {
  switch (op.where) {
    case 'S':
      return (s) => isInvalidSegment((s.modrm >> 3) & 7, op.write);
    case 'C':
      return (s) => (EXISTING_CR & (1 << s.reg)) === 0;
    case 'D':
      return (s) => s.reg > 7;
    case 'K':
      return isInvalidGather;
    default:
      return undefined;
  }
}

const u64 = (low: number, high: number): bigint => {
  const below = BigInt(low >>> 0);
  return high === 0 ? below : (BigInt(high >>> 0) << 32n) | below;
};

/** The memory operand of what was scanned. */
export const memRefOf = (s: Scan): MemRef => ({
  base: s.base < 0 ? undefined : s.base,
  index: s.index < 0 ? undefined : s.index,
  scale: s.scale,
  disp: s.absolute ? u64(s.disp, s.dispHigh) : BigInt(s.disp),
  ripRelative: s.ripRelative,
  seg: s.seg,
});

function general(s: Scan, width: number, n: number): RegOperand {
  return isHighByte(width, n, s.rex) ? HIGH[n - 4]! : GPR[width]![n]!;
}

type Value = OperandForm['value'];

function valueReader(op: Operand, widths: readonly number[]): Value {
  const { source, cls } = REGISTERS[op.where] ?? NO_REGISTERS;
  const width = (s: Scan): number => widths[widthIndex(s)]!;
  switch (op.where) {
    case 'I': {
      const fixed = { b: 8, w: 16, d: 32, q: 64 }[op.size] as Width | undefined;
      return (s, i) => ({ kind: 'imm', value: u64(s.low[i]!, s.high[i]!), width: fixed ?? s.w });
    }
    case 'J':
      return (s, i) => ({ kind: 'rel', value: s.low[i]! });
    case 'A':
      return (s, i) => ({ kind: 'far', offset: u64(s.low[i]!, 0), selector: s.high[i]! });
    case 'M':
    case 'O':
    case 'X':
    case 'Y':
      return (s) => MEMORY[width(s)]!;
    case 'fixed':
      if (op.text === '1') return () => ({ kind: 'imm', value: 1n, width: 8 });
      return (s) => GPR[width(s)]![op.fixed!]!;
    case 'E':
      return (s, i) => (s.hasMem ? MEMORY[width(s)]! : general(s, width(s), s.register(source, i)));
    default:
      if (cls === 'gpr') return (s, i) => general(s, width(s), s.register(source, i));
      return otherValue(op, source, cls, width);
  }
}

function otherValue(op: Operand, source: number, cls: Exclude<RegClass, 'gpr'>, width: (s: Scan) => number): Value {
  const file = cls === 'xmm' && op.size === 'qq' ? YMM : OTHERS[cls];
  if (op.where === 'W' || op.where === 'Q') {
    return (s, i) => (s.hasMem ? MEMORY[width(s)]! : file[s.register(source, i)]!);
  }
  return (s, i) => file[s.register(source, i)]!;
}

const placeOf = ({ where }: Operand): OperandForm['place'] => {
  if ('MOXY'.includes(where)) return 'mem';
  return 'EWQ'.includes(where) ? 'either' : 'other';
};

/** @throws Error when a row's notation makes no sense */
export function checkOperands(row: Row): void {
  for (const op of row.operands) {
    takeOf(op);
    if (!row.enc.vex && 'BHLK'.includes(op.where)) {
      throw new Error(`row ${row.name}: operand ${op.text} needs a VEX prefix, which ${row.enc.text} does not have`);
    }
  }
}

/** Prepares an operand of a row that was checked. */
export function operandForm(operand: Operand): OperandForm {
  const widths = widthsOf(operand);
  const { source, cls } = REGISTERS[operand.where] ?? NO_REGISTERS;
  return {
    operand,
    source,
    cls,
    place: placeOf(operand),
    take: takeOf(operand),
    isInvalid: invalidityOf(operand),
    widths,
    value: valueReader(operand, widths),
  };
}
