/**
 * The decoder's tables: for every map, opcode, prefix class and mode, which row a ModRM byte selects. Made once
 * from the rows; `decoder.ts` walks them.
 */
import type { Row } from './row.ts';

/** A row prepared for decoding. `R` is the type of the operand readers, which belong to the decoder. */
export interface Form<R> {
  readonly row: Row;
  readonly readers: readonly R[];
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
  /** Row to take instead when REX.B is set, for rows with `noRexB`. */
  readonly withRexB: Form<R> | 'none' | undefined;
}

/** What an opcode leads to: one form, or a choice by ModRM; 16 entries `reg * 2 + (mod == 3)`, or one per byte. */
export interface Node<R> {
  readonly only: Form<R> | undefined;
  readonly choices: readonly (Form<R> | undefined)[] | undefined;
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

export interface FormTable<R> {
  readonly nodes: readonly (Node<R> | undefined)[];
  /** Encodings that two rows claim with equal right, as text; must be empty for a sound set of rows. */
  readonly conflicts: readonly string[];
}

/** Builds the table. `reader` makes the operand reader of a row's operand `i`. */
export function makeForms<R>(rows: readonly Row[], reader: (row: Row, i: number) => R): FormTable<R> {
  const byOpcode = new Map<string, Row[]>();
  for (const row of rows) {
    for (let r = 0; r < (row.enc.plusR ? 8 : 1); r++) {
      const key = `${row.enc.vex ? 'vex' : ''} ${row.enc.map} ${row.enc.opcode + r}`;
      const list = byOpcode.get(key);
      if (list) list.push(row);
      else byOpcode.set(key, [row]);
    }
  }
  const forms = new Map<Row, Form<R>>();
  const conflicts = new Set<string>();
  const prepare = (row: Row, withRexB?: Form<R> | 'none'): Form<R> => {
    const made = forms.get(row);
    if (made && made.withRexB === withRexB) return made;
    const form: Form<R> = {
      row,
      readers: row.operands.map((_, i) => reader(row, i)),
      modrm: row.enc.modrm,
      registerOnly: row.operands.some((op) => op.where === 'C' || op.where === 'D'),
      owns66: row.enc.prefix === '66',
      usesVvvv: row.operands.some((op) => op.where === 'H' || op.where === 'B'),
      vexSize: row.enc.vex?.w === 'size',
      vsib: row.operands.some((op) => op.where === 'K'),
      size64: row.size64 === 'f64' ? 2 : row.size64 === 'd64' ? 1 : 0,
      withRexB,
    };
    forms.set(row, form);
    return form;
  };
  const choose = (list: readonly Row[]): Form<R> | undefined => {
    const [first, second] = list;
    if (!first) return undefined;
    if (second && specificity(first) === specificity(second)) {
      conflicts.add(`${first.name} ${first.enc.text} and ${second.name} ${second.enc.text}`);
    }
    if (!first.noRexB) return prepare(first);
    const other = list.find((r) => !r.noRexB);
    return prepare(first, other ? prepare(other) : 'none');
  };
  const node = (list: readonly Row[]): Node<R> | undefined => {
    if (list.length === 0) return undefined;
    if (list.some((r) => !r.enc.modrm)) return { only: choose(list), choices: undefined };
    const [first] = list;
    if (list.length === 1 && first!.enc.digit === undefined && modrmShape(first!) === 'any' && !isByte(first!)) {
      return { only: prepare(first!), choices: undefined };
    }
    const size = list.some(isByte) ? 256 : 16;
    const byteOf = (i: number): number => (size === 256 ? i : ((i >> 1) << 3) | (i & 1 ? 0xc0 : 0));
    const pick = (i: number): Form<R> | undefined => choose(list.filter((r) => acceptsModrm(r, byteOf(i))));
    return { only: undefined, choices: Array.from({ length: size }, (_, i) => pick(i)) };
  };
  const nodes: (Node<R> | undefined)[] = new Array(NODES).fill(undefined);
  for (const [key, list] of byOpcode) {
    list.sort((a, b) => specificity(b) - specificity(a));
    const map = list[0]!.enc.map;
    const opcode = Number(key.split(' ')[2]);
    const isVex = list[0]!.enc.vex !== undefined;
    for (let i = 0; i < (isVex ? 32 : 8); i++) {
      const long = (i & 1) !== 0;
      const prefix = (i >> 1) & 3;
      const [w, l] = [(i >> 3) & 1, i >> 4];
      const fits = list.filter(
        (r) => acceptsPrefix(r, prefix) && !(long ? r.no64 : r.only64) && (!isVex || acceptsVex(r, l, w)),
      );
      nodes[isVex ? vexIndex(map, opcode, l, w, prefix, long) : nodeIndex(map, opcode, prefix, long)] = node(fits);
    }
  }
  return { nodes, conflicts: [...conflicts] };
}

const isByte = (row: Row): boolean => row.enc.modrmByte !== undefined;
