/**
 * The shape of a decoded instruction: everything about it that the interpreter's code depends on, as opposed
 * to what its record holds. One handler exists per shape; shapes with the same code share one function.
 */
import { repeatOf } from '../isa/decoder.ts';
import type { CodeMode, Insn } from '../isa/insn.ts';
import { SEG } from '../isa/layout.ts';
import type { Width } from '../isa/ops.ts';
import type { Operand, Row } from '../isa/row.ts';
import type { Scan } from '../isa/scan.ts';

/** Where the engine runs: 64-bit mode, or 16/32-bit code with a 32- or 16-bit stack pointer. */
export type Env = 'long' | 'legacy32' | 'legacy16';
export const ENVS: readonly Env[] = ['long', 'legacy32', 'legacy16'];
/** Memory operand: none, base + displacement, or base + index + displacement + segment base. */
export type EaForm = 'none' | 'plain' | 'full';
export const EA_FORMS: readonly EaForm[] = ['none', 'plain', 'full'];
export type Rep = Insn['rep'];
const REPS: readonly Rep[] = ['none', 'rep', 'repne'];

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
  return packKey(s.rowId, REPS.indexOf(s.rep), EA_FORMS.indexOf(s.ea), ENVS.indexOf(s.env), s.asize, s.w);
}
/** The same of numbers: `rep`, `ea` and `env` by their places in the lists above. */
function packKey(rowId: number, rep: number, ea: number, env: number, asize: number, w: number): number {
  return (rowId << 10) | (rep << 8) | (ea << 6) | (env << 4) | (log2(asize >> 4) << 2) | log2(w >> 3);
}
const log2 = (powerOfTwo: number): number => 31 - Math.clz32(powerOfTwo);

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
  if (memoryOperand(row) === undefined) return false;
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

const envOf = (mode: CodeMode): Env => (mode.code === 64 ? 'long' : mode.stack === 32 ? 'legacy32' : 'legacy16');
/** Place in ENVS of where code of a mode runs. */
export const envIndexOf = (mode: CodeMode): number => ENVS.indexOf(envOf(mode));

const [EA_NONE, EA_PLAIN, EA_FULL] = [EA_FORMS.indexOf('none'), EA_FORMS.indexOf('plain'), EA_FORMS.indexOf('full')];

/** What a row's instructions have in common as to their shapes. Rows have many layouts, objects of this class one. */
export class RowShapes {
  readonly row: Row;
  private readonly rowId: number;
  private readonly usesOffset: boolean;
  private readonly usesAsize: boolean;
  private readonly repeats: boolean;
  private readonly noAccess: boolean;
  readonly bitOffset: boolean;

  /** @param rowId rows are numbered by their place in the row list */
  constructor(row: Row, rowId: number) {
    this.row = row;
    this.rowId = rowId;
    this.usesOffset = usesOffset(row);
    this.usesAsize = row.asize === true || this.usesOffset;
    this.repeats = row.rep !== undefined;
    this.noAccess = row.noAccess ?? false;
    this.bitOffset = row.bitOffset ?? false;
  }

  /** Key of the shape of a scanned instruction, whose mode has this place in ENVS. */
  keyOf(s: Scan, env: number): number {
    const ea = !s.hasMem ? EA_NONE : !this.usesOffset && this.isPlain(s) ? EA_PLAIN : EA_FULL;
    const asize = this.usesAsize ? s.asize : s.long ? 64 : 32;
    const rep = this.repeats ? REPS.indexOf(repeatOf(this.row, s.repeat)) : 0;
    return packKey(this.rowId, rep, ea, env, asize, s.w);
  }

  /** Base and displacement are all there is to the address, or nothing asks for it. */
  private isPlain(s: Scan): boolean {
    return (s.index < 0 && s.seg < SEG.fs) || this.noAccess || this.needsAgen(s);
  }

  /** The address is computed (and checked against its segment) by a record of its own. */
  needsAgen(s: Scan): boolean {
    if (!s.hasMem || this.usesOffset || this.noAccess) return false;
    return s.asize !== 64 || this.bitOffset || (s.absolute && (s.dispHigh !== 0 || s.disp < 0));
  }
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

/** A shape as lists name it: `mov 8B /r 64 plain`, then what is out of the ordinary. */
export function shapeName({ row, w, asize, env, ea, rep }: Shape): string {
  const native = { long: 64, legacy32: 32, legacy16: 16 }[env];
  const parts: (string | number)[] = [row.name, row.enc.text, w];
  if (ea !== 'none') parts.push(ea);
  if (env !== 'long') parts.push(env);
  if (asize !== native) parts.push(`address ${asize}`);
  if (rep !== 'none') parts.push(rep);
  return parts.join(' ');
}
