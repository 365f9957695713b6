/**
 * The decoder's tables: for every map, opcode, prefix class and mode, which row a ModRM byte selects. Made from the
 * rows; `decoder.ts` walks them.
 */
import { checkOperands, type OperandForm, operandForm } from './decode-operands.ts';
import type { Row } from './row.ts';
import { TAKE } from './scan.ts';

/** A row prepared for decoding. */
export interface Form {
  /** Numbers the forms of a table in the order in which they were made. */
  readonly id: number;
  readonly row: Row;
  readonly operands: readonly OperandForm[];
  /** The operands that have something behind the displacement, by number, and those that may not be valid. */
  readonly taking: readonly number[];
  readonly checked: readonly OperandForm[];
  /** LOCK is allowed if there is a memory operand. */
  readonly lockable: boolean;
  /** A ModRM byte follows the opcode. */
  readonly modrm: boolean;
  /** ModRM.mod is ignored and the operand is a register (MOV to and from CRn, DRn; SDM vol.2 MOV). */
  readonly registerOnly: boolean;
  /** 66 selects the row and does not change its operand size. */
  readonly owns66: boolean;
  /** In 64-bit mode the operand size is 64: 0 no, 1 unless 66 is there, 2 always. */
  readonly size64: 0 | 1 | 2;
  /** The row has a VEX prefix and VEX.vvvv names one of its operands; without such an operand vvvv must be 1111b. */
  readonly usesVvvv: boolean;
  /** VEX.W is the operand size. */
  readonly vexSize: boolean;
  /** The index of the memory operand is a vector register. */
  readonly vsib: boolean;
  /** Form to take instead when REX.B is set, for rows with `noRexB`. */
  readonly withRexB: Form | 'none' | undefined;
}

/** What an opcode leads to: one form, or a choice by ModRM; 16 entries `reg * 2 + (mod == 3)`, or one per byte. */
export interface Node {
  readonly only: Form | undefined;
  readonly choices: readonly (Form | undefined)[] | undefined;
}

/** Prefix classes: which of 66, F3, F2 take part in the choice. F3 and F2 go before 66 (SDM vol.2 A.2.1). */
export const PREFIX_NONE = 0;
export const PREFIX_66 = 1;
export const PREFIX_F3 = 2;
export const PREFIX_F2 = 3;

/** Index into the node table: bits 0 long mode, 1-2 prefix class, 3-10 opcode, 11-12 map. */
export const nodeIndex = (map: number, opcode: number, prefix: number, long: boolean): number =>
  (map << 11) | (opcode << 3) | (prefix << 1) | (long ? 1 : 0);
const LEGACY_NODES = 4 << 11;
/** The same for VEX: bits 0-2 as above, 3 W, 4 L, 5-12 opcode, then map 1-3; behind the others. */
export const vexIndex = (map: number, opcode: number, l: number, w: number, prefix: number, long: boolean): number =>
  LEGACY_NODES + (((map - 1) << 13) | (opcode << 5) | (l << 4) | (w << 3) | (prefix << 1) | (long ? 1 : 0));
const NODES = LEGACY_NODES + (3 << 13);

/** Which values of ModRM.mod the operands allow: memory only, register only, or both. */
function modrmShape(row: Row): 'mem' | 'reg' | 'any' {
  for (const op of row.operands) {
    if (op.where === 'M') return 'mem';
    if (op.where === 'C' || op.where === 'D') return 'any';
  }
  return row.operands.some((op) => 'RUNT'.includes(op.where)) ? 'reg' : 'any';
}

function acceptsPrefix(row: Row, prefix: number): boolean {
  switch (row.enc.prefix) {
    case '':
      return true;
    case 'NP':
      return prefix === PREFIX_NONE;
    case 'NFx':
      return prefix === PREFIX_NONE || prefix === PREFIX_66;
    case '66':
      return prefix === PREFIX_66;
    case 'F3':
      return prefix === PREFIX_F3;
    case 'F2':
      return prefix === PREFIX_F2;
  }
}

function acceptsVex(row: Row, l: number, w: number): boolean {
  const { vex } = row.enc;
  if (!vex || (vex.l !== 'any' && vex.l !== l)) return false;
  return vex.w === 'any' || vex.w === 'size' || vex.w === w;
}

function acceptsModrm(row: Row, byte: number): boolean {
  const { modrmByte, digit } = row.enc;
  if (modrmByte !== undefined) return modrmByte === byte;
  if (digit !== undefined && digit !== ((byte >> 3) & 7)) return false;
  const shape = modrmShape(row);
  return shape === 'any' || (shape === 'reg') === byte >= 0xc0;
}

/**
 * Which of two claims on the same bytes goes first (src/isa/row.ts): the exact prefix, then the ModRM byte, then its
 * digit, then its shape, then the row that REX.B can take away.
 */
function specificity(row: Row): number {
  const { prefix, modrmByte, digit } = row.enc;
  return (
    (prefix === '' ? 0 : prefix === 'NP' || prefix === 'NFx' ? 32 : 64) +
    (modrmByte === undefined ? 0 : 16) +
    (digit === undefined ? 0 : 8) +
    (modrmShape(row) === 'any' ? 0 : 4) +
    (row.noRexB ? 1 : 0)
  );
}

function formOf(row: Row, id: number, withRexB: Form | 'none' | undefined): Form {
  const operands = row.operands.map(operandForm);
  const has = (...where: string[]): boolean => row.operands.some((op) => where.includes(op.where));
  return {
    id,
    row,
    operands,
    taking: operands.flatMap((op, i) => (op.take === TAKE.NOTHING ? [] : [i])),
    checked: operands.filter((op) => op.isInvalid !== undefined),
    lockable: row.lock === true && operands[0] !== undefined && operands[0].place !== 'other',
    modrm: row.enc.modrm,
    registerOnly: has('C', 'D'),
    owns66: row.enc.prefix === '66',
    usesVvvv: has('H', 'B'),
    vexSize: row.enc.vex?.w === 'size',
    vsib: has('K'),
    size64: row.size64 === 'f64' ? 2 : row.size64 === 'd64' ? 1 : 0,
    withRexB,
  };
}

/**
 * The table. Nodes are made when they are asked for first: a guest meets a fraction of the instruction set, and whoever
 * starts one waits for the table.
 */
export class FormTable {
  private readonly nodes: (Node | null | undefined)[] = new Array(NODES).fill(undefined);
  /** Rows by the part of the index that is map and opcode: that of prefix class none, no L, no W, not long. */
  private readonly rows: (Row[] | undefined)[] = new Array(NODES).fill(undefined);
  private readonly forms = new Map<Row, Form>();
  private readonly found = new Set<string>();
  private made = 0;

  /** @throws Error when a row's notation makes no sense */
  constructor(rows: readonly Row[]) {
    for (const row of rows) {
      checkOperands(row);
      const { map, opcode, plusR, vex } = row.enc;
      for (let r = 0; r < (plusR ? 8 : 1); r++) {
        const at = vex ? vexIndex(map, opcode + r, 0, 0, 0, false) : nodeIndex(map, opcode + r, 0, false);
        const list = this.rows[at];
        if (list) list.push(row);
        else this.rows[at] = [row];
      }
    }
  }

  /** What `nodeIndex` or `vexIndex` leads to. */
  node(index: number): Node | undefined {
    return (this.nodes[index] === undefined ? this.make(index) : this.nodes[index]) ?? undefined;
  }

  /** Encodings that two rows claim with equal right, as text; must be empty for a sound set of rows. */
  conflicts(): readonly string[] {
    for (let index = 0; index < NODES; index++) this.node(index);
    return [...this.found];
  }

  private make(index: number): Node | null {
    const isVex = index >= LEGACY_NODES;
    const variant = (index - (isVex ? LEGACY_NODES : 0)) & (isVex ? 31 : 7);
    const long = (variant & 1) !== 0;
    const prefix = (variant >> 1) & 3;
    const fits = this.rows[index - variant]?.filter(
      (r) =>
        acceptsPrefix(r, prefix) &&
        !(long ? r.no64 : r.only64) &&
        (!isVex || acceptsVex(r, variant >> 4, (variant >> 3) & 1)),
    );
    fits?.sort((a, b) => specificity(b) - specificity(a));
    const node = (fits && this.nodeOf(fits)) ?? null;
    this.nodes[index] = node;
    return node;
  }

  private nodeOf(list: readonly Row[]): Node | undefined {
    const [first] = list;
    if (first === undefined) return undefined;
    if (list.some((r) => !r.enc.modrm)) return { only: this.choose(list), choices: undefined };
    if (list.length === 1 && first.enc.digit === undefined && modrmShape(first) === 'any' && !isByte(first)) {
      return { only: this.form(first), choices: undefined };
    }
    const size = list.some(isByte) ? 256 : 16;
    const byteOf = (i: number): number => (size === 256 ? i : ((i >> 1) << 3) | (i & 1 ? 0xc0 : 0));
    const pick = (i: number): Form | undefined => this.choose(list.filter((r) => acceptsModrm(r, byteOf(i))));
    return { only: undefined, choices: Array.from({ length: size }, (_, i) => pick(i)) };
  }

  /** The most specific row of a list that is in that order. */
  private choose(list: readonly Row[]): Form | undefined {
    const [first, second] = list;
    if (!first) return undefined;
    if (second && specificity(first) === specificity(second)) {
      this.found.add(`${first.name} ${first.enc.text} and ${second.name} ${second.enc.text}`);
    }
    if (!first.noRexB) return this.form(first);
    const other = list.find((r) => !r.noRexB);
    return this.form(first, other ? this.form(other) : 'none');
  }

  private form(row: Row, withRexB?: Form | 'none'): Form {
    const known = this.forms.get(row);
    if (known && known.withRexB === withRexB) return known;
    const form = formOf(row, this.made++, withRexB);
    this.forms.set(row, form);
    return form;
  }
}

const isByte = (row: Row): boolean => row.enc.modrmByte !== undefined;
