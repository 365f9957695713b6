/**
 * Address generation as a record of its own: wherever a segment has a base or limit, the address size is not the
 * native one, or a bit offset moves the address. It leaves the linear address in the field `ea`.
 */
import { CPU, EXC, REC } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder, ModuleBuilder } from '../../wasm/module.ts';
import { type Chain, goOn } from './chain.ts';
import { type RecordFields, recordAt } from './record.ts';
import { checkSegment } from './segment.ts';
import { AGEN_ALIGNED, AGEN_LOG2_SHIFT, AGEN_UNIT_SHIFT, type SPECIAL } from './special.ts';

type Expr = x.Expr;
const field = (rec: Expr, at: number): Expr => x.load('i32_16u', rec, at);

/** What kind of address generation a record is: the mode, the address size, and whether a bit offset is added. */
export interface AgenKind {
  readonly asize: 16 | 32 | 64;
  readonly long: boolean;
  readonly bits: boolean;
}
/** The kinds by their names in SPECIAL. */
export const AGEN_KINDS: ReadonlyMap<keyof typeof SPECIAL, AgenKind> = new Map(
  [false, true].flatMap((bits) => {
    const prefix = bits ? 'agenBit' : 'agen';
    return [
      [`${prefix}Long64`, { asize: 64, long: true, bits }],
      [`${prefix}Long32`, { asize: 32, long: true, bits }],
      [`${prefix}Legacy32`, { asize: 32, long: false, bits }],
      [`${prefix}Legacy16`, { asize: 16, long: false, bits }],
    ] as [keyof typeof SPECIAL, AgenKind][];
  }),
);

/** base + index << scale + displacement + immediate. */
function effective(cpu: Expr, rec: RecordFields): Expr {
  const index = x.binary('shl', rec.value(cpu, REC.INDEX), rec.load('i64_8u', REC.SCALE));
  const disp = x.add(rec.load('i64_32s', REC.DISP), rec.load('i64', REC.IMM));
  return x.add(x.add(rec.value(cpu, REC.BASE), index), disp);
}

/** Bytes that the signed bit offset in register A moves the address by, in steps of the operand (SDM vol.2 BT). */
function bitDisplacement(f: FunctionBuilder, cpu: Expr, rec: RecordFields): Expr {
  const info = rec.load('i32_16u', REC.B);
  const log2 = f.let(x.and(x.binary('shr_u', info, x.i32Const(AGEN_LOG2_SHIFT)), x.i32Const(3)));
  const unused = f.let(x.extendU(x.sub(x.i32Const(64), x.binary('shl', x.i32Const(8), log2))));
  const signed = x.binary('shr_s', x.binary('shl', rec.value(cpu, REC.A), unused), unused);
  const steps = x.binary('shr_s', signed, x.extendU(x.add(log2, x.i32Const(3))));
  return x.binary('shl', steps, x.extendU(log2));
}

/** Works out the linear address of a record into the field `ea`; `refused` is for the segment's fault, which is recorded. */
export function generateAddress(
  f: FunctionBuilder,
  cpu: Expr,
  rec: RecordFields,
  { asize, long, bits }: AgenKind,
  refused: (linear: Expr) => void,
): void {
  const sum = bits ? x.add(effective(cpu, rec), bitDisplacement(f, cpu, rec)) : effective(cpu, rec);
  const offset = f.let(asize === 64 ? sum : x.and(sum, x.i64Const((1n << BigInt(asize)) - 1n)));
  const linear = x.add(offset, rec.value(cpu, REC.SEG));
  if (!long) {
    const info = rec.load('i32_16u', REC.B);
    const write = x.and(x.binary('shr_u', info, x.i32Const(8)), x.i32Const(1));
    const access = { cpu, base: rec.load('i32_16u', REC.SEG), offset, bytes: x.and(info, x.i32Const(0xff)), write };
    checkSegment(f, access, () => refused(linear));
  }
  f.store('i64', cpu, CPU.ea!, long ? linear : x.and(linear, x.i64Const(0xffff_ffffn)));
}

/** Writes the handler of a kind. */
export function writeAgen(f: FunctionBuilder, chain: Chain, kind: AgenKind): void {
  const [cpu, rec] = [f.param(0), f.param(1)];
  generateAddress(f, cpu, recordAt(rec), kind, (linear) => f.returnCall('agen_fault', cpu, rec, x.wrap(linear)));
  goOn(f, chain, rec);
}

/**
 * `agen_fault(cpu, rec, linear)`: a segment refused the access. What the instruction checks before its address comes
 * first: its unit, then the alignment of the operand.
 */
export function defineAgenFault(m: ModuleBuilder): void {
  const f = m.define('agen_fault', { params: ['i32', 'i32', 'i32'], results: [] });
  const [cpu, rec] = [f.param(0), f.param(1)];
  const info = f.let(field(rec, REC.B));
  const unit = f.let(x.and(x.binary('shr_u', info, x.i32Const(AGEN_UNIT_SHIFT)), x.i32Const(7)));
  f.if(unit, () => {
    f.if(f.call('fp_check', cpu, x.sub(unit, x.i32Const(1))), () => f.returnCall('fault', cpu, rec));
  });
  const bytes = f.let(x.and(info, x.i32Const(0xff)));
  const misaligned = x.and(f.param(2), x.sub(bytes, x.i32Const(1)));
  f.if(x.and(info, x.i32Const(AGEN_ALIGNED)), () => {
    f.if(misaligned, () => f.run(f.call('raise', cpu, x.i32Const(EXC.GP), x.i32Const(0)), true));
  });
  f.returnCall('fault', cpu, rec);
}
