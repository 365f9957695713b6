/**
 * The shape of a decoded instruction: everything about it that the interpreter's code depends on, as opposed
 * to what its record holds. One handler exists per shape; shapes with the same code share one function.
 */
import type { Insn } from '../isa/insn.ts';
import type { Width } from '../isa/ops.ts';
import type { Operand, Row } from '../isa/row.ts';

/** Where the engine runs: 64-bit mode, or 16/32-bit code with a 32- or 16-bit stack pointer. */
export type Env = 'long' | 'legacy32' | 'legacy16';
export const ENVS: readonly Env[] = ['long', 'legacy32', 'legacy16'];
/** Memory operand: none, base + displacement, or base + index + displacement + segment base. */
export type EaForm = 'none' | 'plain' | 'full';
export const EA_FORMS: readonly EaForm[] = ['none', 'plain', 'full'];
export type Rep = Insn['rep'];
const REPS: readonly Rep[] = ['none', 'rep', 'repne'];
const WIDTHS: readonly Width[] = [8, 16, 32, 64];
const ASIZES = [16, 32, 64] as const;

export interface Shape {
  readonly row: Row;
  readonly rowId: number;
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly env: Env;
  readonly ea: EaForm;
  readonly rep: Rep;
}

/**
 * Key of a shape, a small integer:
 *   bits 0-1 log2(w/8), 2-3 asize, 4-5 env, 6-7 ea, 8-9 rep, 10.. row id
 */
export function shapeKey(s: Shape): number {
  return (
    (s.rowId << 10) |
    (REPS.indexOf(s.rep) << 8) |
    (EA_FORMS.indexOf(s.ea) << 6) |
    (ENVS.indexOf(s.env) << 4) |
    (ASIZES.indexOf(s.asize) << 2) |
    WIDTHS.indexOf(s.w)
  );
}

/** The operand that ModRM.rm (or an absolute offset) may put in memory, or undefined. */
export function memoryOperand(row: Row): Operand | undefined {
  return row.operands.find((o) => 'EMWQO'.includes(o.where) && o.where !== 'fixed');
}

const OFFSET_USERS = new WeakMap<Row, boolean>();

/**
 * True for rows that work on the operand's offset and do their own accesses by segment (LEA, LGDT, far pointers,
 * FXSAVE): found by running the row on a recorder that takes every path.
 */
export function usesOffset(row: Row): boolean {
  const known = OFFSET_USERS.get(row);
  if (known !== undefined) return known;
  let used = false;
  const recorder: unknown = new Proxy(
    { w: 32, asize: 32, stack: 32, long: false },
    {
      get(target, name) {
        if (name in target) return target[name as 'w'];
        if (name === 'if') return (_c: unknown, then: () => void, otherwise?: () => void) => [then(), otherwise?.()];
        if (name === 'isMem') return () => true;
        if (name === 'width') return () => 32;
        if (name === 'setFlag') return (_f: unknown, v: () => unknown) => v();
        if (name === 'offset') used = true;
        return () => null;
      },
    },
  );
  row.exec(recorder as never);
  OFFSET_USERS.set(row, used);
  return used;
}

export const envOf = (mode: Insn['mode']): Env =>
  mode.code === 64 ? 'long' : mode.stack === 32 ? 'legacy32' : 'legacy16';

/** The shape of an instruction; rows are numbered by their place in the row list. */
export function shapeOf(insn: Insn, rowId: number): Shape {
  const env = envOf(insn.mode);
  const row = insn.row;
  let ea: EaForm = 'none';
  if (insn.mem) {
    if (usesOffset(row)) ea = 'full';
    else ea = isPlain(insn) ? 'plain' : 'full';
  }
  const asize = row.asize || usesOffset(row) ? insn.asize : env === 'long' ? 64 : 32;
  return { row, rowId, w: insn.w, asize, env, ea, rep: row.rep ? insn.rep : 'none' };
}

/** Base and displacement are all there is to the address, or nothing asks for it. */
function isPlain(insn: Insn): boolean {
  const m = insn.mem;
  return needsAgen(insn) || (insn.row.noAccess ?? false) || (m?.index === undefined && (m?.seg ?? 0) < 4);
}

/** The address is computed (and checked against its segment) by a record of its own. */
export function needsAgen(insn: Insn): boolean {
  const m = insn.mem;
  if (!m || usesOffset(insn.row) || insn.row.noAccess) return false;
  if (insn.mode.code !== 64 || insn.asize !== 64) return true;
  return (insn.row.bitOffset ?? false) || BigInt.asIntN(32, m.disp) !== m.disp;
}

/** Every shape that decoding can give for a row. */
export function shapesOf(row: Row, rowId: number): Shape[] {
  const out: Shape[] = [];
  const mem = memoryOperand(row);
  const mayBeRegister = mem === undefined || 'EWQ'.includes(mem.where);
  for (const env of ENVS) {
    if ((env === 'long' && row.no64) || (env !== 'long' && row.only64)) continue;
    const eas: EaForm[] = mayBeRegister && !(mem && usesOffset(row)) ? ['none'] : [];
    if (mem)
      eas.push(
        ...(usesOffset(row)
          ? (['full'] as const)
          : env === 'long'
            ? (['plain', 'full'] as const)
            : (['plain'] as const)),
      );
    const asizes: (16 | 32 | 64)[] =
      row.asize || usesOffset(row) ? (env === 'long' ? [64, 32] : [32, 16]) : [env === 'long' ? 64 : 32];
    for (const w of [16, 32, 64] as const) {
      if (w === 64 && env !== 'long') continue;
      // VEX has no operand-size prefix: 32 bits, or 64 where VEX.W says so.
      if (row.enc.vex && (w === 16 || (w === 64 && row.enc.vex.w !== 'size'))) continue;
      for (const asize of asizes)
        for (const ea of eas)
          for (const rep of row.rep ? REPS : (['none'] as const)) out.push({ row, rowId, w, asize, env, ea, rep });
    }
  }
  return out;
}

/** True for rows after which the trace goes on when the branch is not taken. */
export const isConditionalBranch = (row: Row): boolean =>
  row.operands[0]?.where === 'J' && row.name !== 'jmp' && row.name !== 'call';
