/**
 * A vCPU's state for the reference engine: the same bytes at the same offsets as in WebAssembly memory
 * (src/isa/layout.ts), read and written as bigints by field name.
 */

import { ccRecipe, recipeFlag } from '../../isa/flags.ts';
import { CPU_FIELDS, CPU_SIZE, EFLAGS, type Field } from '../../isa/layout.ts';
import { FLAG_BIT, FLAGS, type Flag, type PureOps, type Width } from '../../isa/ops.ts';

const BY_NAME: ReadonlyMap<string, Field> = new Map(CPU_FIELDS.map((f) => [f.name, f]));
/** Bytes that count in a field of each type: f80 has 6 bytes of padding. */
const VALUE_BYTES = { u8: 1, u16: 2, u32: 4, u64: 8, v256: 32, f80: 10 } as const;

export class ReferenceState {
  readonly bytes: Uint8Array;

  /** `bytes`: CPU_SIZE bytes that the state lives in; new zeros with EFLAGS bit 1 set when absent. */
  constructor(bytes?: Uint8Array) {
    if (bytes && bytes.length !== CPU_SIZE) throw new RangeError(`a vCPU's state has ${CPU_SIZE} bytes`);
    this.bytes = bytes ?? new Uint8Array(CPU_SIZE);
    if (!bytes) this.set('eflags', BigInt(EFLAGS.FIXED));
  }

  private place(name: string, index: number): { at: number; size: number } {
    const f = BY_NAME.get(name);
    if (!f || index < 0 || index >= f.count) throw new RangeError(`no vCPU field ${name}[${index}]`);
    return { at: f.offset + index * f.stride, size: VALUE_BYTES[f.type] };
  }

  /** Value of a field, zero-extended: f80 as 80 bits, v256 as 256. Throws RangeError for a field that does not exist. */
  get(name: string, index = 0): bigint {
    const { at, size } = this.place(name, index);
    let v = 0n;
    for (let i = size - 1; i >= 0; i--) v = (v << 8n) | BigInt(this.bytes[at + i]!);
    return v;
  }

  /** Sets a field to the low bits of `v`. */
  set(name: string, v: bigint, index = 0): void {
    const { at, size } = this.place(name, index);
    let rest = v;
    for (let i = 0; i < size; i++, rest >>= 8n) this.bytes[at + i] = Number(rest & 0xffn);
  }

  copy(): ReferenceState {
    return new ReferenceState(this.bytes.slice());
  }

  /** Takes over every field of another state. */
  restore(other: ReferenceState): void {
    this.bytes.set(other.bytes);
  }

  /** The six arithmetic flags as EFLAGS bits, whether lazy or explicit. */
  arith(s: PureOps<bigint>): bigint {
    const lazy = ccRecipe(Number(this.get('cc_op')));
    if (!lazy) return this.get('cc_x') & BigInt(EFLAGS.ARITH);
    const [r, x, y] = [this.get('cc_r'), this.get('cc_x'), this.get('cc_y')];
    return flagBits((f) => recipeFlag(s, f, lazy.recipe, lazy.w, r, x, y));
  }

  /** Makes the arithmetic flags explicit: those of `bits`. */
  setArith(bits: bigint): void {
    this.set('cc_op', 0n);
    this.set('cc_x', bits & BigInt(EFLAGS.ARITH));
  }

  /** General register `r` (0-15) cut to `w` bits. */
  reg(w: Width, r: number): bigint {
    return BigInt.asUintN(w, this.get('gpr', r));
  }

  /** Writes a general register: 32 bits zero the upper half, 8 and 16 keep the rest (SDM vol.1 3.4.1.1). */
  setReg(w: Width, r: number, v: bigint): void {
    const value = BigInt.asUintN(w, v);
    const keep = w < 32 ? (this.get('gpr', r) >> BigInt(w)) << BigInt(w) : 0n;
    this.set('gpr', keep | value, r);
  }
}

/** EFLAGS bits from a function that gives each arithmetic flag as 0 or 1. */
export function flagBits(value: (f: Flag) => bigint): bigint {
  return FLAGS.reduce((bits, f) => bits | ((value(f) & 1n) << BigInt(FLAG_BIT[f])), 0n);
}
