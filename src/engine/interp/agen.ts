/**
 * Address generation as a record of its own: wherever a segment has a base or limit, the address size is not the
 * native one, or a bit offset moves the address. It leaves the linear address in the field `ea`.
 */
import { CPU, EXC, REC } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder, ModuleBuilder } from '../../wasm/module.ts';
import { HANDLER } from './backend.ts';
import { checkSegment } from './segment.ts';
import { AGEN_ALIGNED, AGEN_LOG2_SHIFT, AGEN_UNIT_SHIFT } from './special.ts';

type Expr = x.Expr;
const field = (rec: Expr, at: number): Expr => x.load('i32_16u', rec, at);
const state = (cpu: Expr, offset: Expr): Expr => x.load('i64', x.add(cpu, offset), 0);

/** base + index << scale + displacement + immediate. */
function effective(cpu: Expr, rec: Expr): Expr {
  const index = x.binary('shl', state(cpu, field(rec, REC.INDEX)), x.load('i64_8u', rec, REC.SCALE));
  const disp = x.add(x.load('i64_32s', rec, REC.DISP), x.load('i64', rec, REC.IMM));
  return x.add(x.add(state(cpu, field(rec, REC.BASE)), index), disp);
}

/** Bytes that the signed bit offset in register A moves the address by, in steps of the operand (SDM vol.2 BT). */
function bitDisplacement(f: FunctionBuilder, cpu: Expr, rec: Expr): Expr {
  const log2 = f.let(x.and(x.binary('shr_u', field(rec, REC.B), x.i32Const(AGEN_LOG2_SHIFT)), x.i32Const(3)));
  const unused = f.let(x.extendU(x.sub(x.i32Const(64), x.binary('shl', x.i32Const(8), log2))));
  const raw = state(cpu, field(rec, REC.A));
  const signed = x.binary('shr_s', x.binary('shl', raw, unused), unused);
  const steps = x.binary('shr_s', signed, x.extendU(x.add(log2, x.i32Const(3))));
  return x.binary('shl', steps, x.extendU(log2));
}

function define(m: ModuleBuilder, name: string, asize: 16 | 32 | 64, long: boolean, bits: boolean): void {
  const f = m.define(name, HANDLER);
  const [cpu, rec] = [f.param(0), f.param(1)];
  const sum = bits ? x.add(effective(cpu, rec), bitDisplacement(f, cpu, rec)) : effective(cpu, rec);
  const offset = f.let(asize === 64 ? sum : x.and(sum, x.i64Const((1n << BigInt(asize)) - 1n)));
  const seg = f.let(field(rec, REC.SEG));
  const linear = x.add(offset, state(cpu, seg));
  if (!long) {
    const bytes = x.and(field(rec, REC.B), x.i32Const(0xff));
    const write = x.and(x.binary('shr_u', field(rec, REC.B), x.i32Const(8)), x.i32Const(1));
    checkSegment(f, { cpu, base: seg, offset, bytes, write }, () =>
      f.returnCall('agen_fault', cpu, rec, x.wrap(linear)),
    );
  }
  f.store('i64', cpu, CPU.ea!, long ? linear : x.and(linear, x.i64Const(0xffff_ffffn)));
  const next = f.let(x.add(rec, x.i32Const(REC.SIZE)));
  f.returnCallIndirect(HANDLER, x.load('i32', next, REC.HANDLER), cpu, next);
}

/**
 * `agen_fault(cpu, rec, linear)`: a segment refused the access. What the instruction checks before its address comes
 * first: its unit, then the alignment of the operand.
 */
function defineFault(m: ModuleBuilder): void {
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

/** Defines the eight address-generation handlers under their names in SPECIAL. */
export function defineAgen(m: ModuleBuilder): void {
  defineFault(m);
  for (const bits of [false, true]) {
    const prefix = bits ? 'agenBit' : 'agen';
    define(m, `${prefix}Long64`, 64, true, bits);
    define(m, `${prefix}Long32`, 32, true, bits);
    define(m, `${prefix}Legacy32`, 32, false, bits);
    define(m, `${prefix}Legacy16`, 16, false, bits);
  }
}
