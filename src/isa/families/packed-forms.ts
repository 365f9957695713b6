/**
 * Operations on whole vectors that have a legacy form and VEX forms: what they compute on 128 bits is stated once, and
 * the rows of both come from it. A 256-bit form is the 128-bit meaning applied to both halves (SDM vol.1 14.1).
 */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';

export type Half = 0 | 1;

export interface PackedForm {
  readonly name: string;
  /** `66.0F38`: mandatory prefix (or nothing, without the dot) and opcode map, as VEX names them. */
  readonly space: string;
  readonly opcode: number;
  /** Feature of the legacy form. */
  readonly feature: string;
  /** Feature of the 256-bit form; none when there is no such form. */
  readonly wide?: 'avx' | 'avx2';
  /** Sources: 1 (`a` is the ModRM.rm operand) or 2 (`a` is the destination, or VEX.vvvv; `b` the ModRM.rm operand). */
  readonly sources: 1 | 2;
  readonly imm?: boolean;
  /**
   * The result of half `h` from the same halves of the sources. `imm` is the immediate, for forms without one 0. For
   * one source `b` is the source again.
   */
  of<V>(s: Ops<V>, a: V, b: V, imm: V, h: Half): V;
}

export const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');

/** `66.0F38` as the legacy notation has it: `66 0F 38`, with NP where there is no prefix. */
function legacySpace(space: string): string {
  const [map, prefix = 'NP'] = space.split('.').reverse();
  return `${prefix} ${map!.replace(/^0F(..)$/, '0F $1')}`;
}

/** The SSE form of an operation: its memory operand must be aligned. */
export function legacyRow(form: PackedForm, attrs: RowAttrs = {}): Row {
  const { name, space, opcode, feature, sources, imm } = form;
  const ib = imm ? ',Ib' : '';
  const exec: Row['exec'] = (s) => {
    const n = imm ? s.let(s.get(2)) : s.k(0n);
    const b = s.get(1);
    s.set(0, form.of(s, sources === 2 ? s.get(0) : b, b, n, 0));
  };
  const operands = `${sources === 2 ? '+' : '='}Vdq,Wdq${ib}`;
  const enc = `${legacySpace(space)} ${hex(opcode)} /r${imm ? ' ib' : ''}`;
  return row(name, operands, enc, exec, { unit: 'sse', feature, aligned: true, ...attrs });
}

/** Half `h` of operand `n`; of a 128-bit operand the whole for half 0. */
export const halfOf = <V>(s: Ops<V>, n: number, h: Half): V => (s.width(n) === 256 ? s.half(n, h) : s.get(n));

/** Writes both halves of operand 0, or 128 bits and zeros above them. */
export function setHalves<V>(s: Ops<V>, halves: readonly V[]): void {
  s.setWide(0, halves[0]!, halves[1] ?? s.vk(0n));
}

/** Which halves a form with this vector length works on. */
export const halvesOf = (bits: 128 | 256): readonly Half[] => (bits === 256 ? [0, 1] : [0]);

/** Operand text with `x` for the vector length. */
export const sized = (operands: string, bits: 128 | 256): string =>
  operands.replaceAll('x', bits === 256 ? 'qq' : 'dq');

export const AVX: RowAttrs = { unit: 'avx', feature: 'avx' };
export const AVX2: RowAttrs = { unit: 'avx', feature: 'avx2' };

/** The VEX rows of an operation: 128 bits, and 256 if it is there. */
export function vexRows(form: PackedForm, w: '.WIG' | '.W0' | '.W1' = '.WIG'): Row[] {
  const lengths: readonly (128 | 256)[] = form.wide === undefined ? [128] : [128, 256];
  return lengths.map((bits) => vexRow(form, bits, bits === 256 ? form.wide! : 'avx', w));
}

/** One VEX row of an operation, for a feature. */
export function vexRow(form: PackedForm, bits: 128 | 256, feature: string, w: string): Row {
  const { name, space, opcode, sources, imm } = form;
  const exec: Row['exec'] = (s) => {
    const n = imm ? s.let(s.get(sources + 1)) : s.k(0n);
    const halves = halvesOf(bits).map((h) => {
      const a = halfOf(s, 1, h);
      return s.let(form.of(s, a, sources === 2 ? halfOf(s, 2, h) : a, n, h));
    });
    setHalves(s, halves);
  };
  const operands = sized(`=Vx,${sources === 2 ? 'Hx,' : ''}Wx${imm ? ',Ib' : ''}`, bits);
  const enc = `VEX.${bits}.${space}${w} ${hex(opcode)} /r${imm ? ' ib' : ''}`;
  return row(`v${name}`, operands, enc, exec, { unit: 'avx', feature });
}
