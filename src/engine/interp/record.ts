/** Where an instruction's operands come from: the record that is there at run time, or one whose content is known. */
import { CPU } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';

type Expr = x.Expr;

/** A place in the vCPU's state. */
export interface Place {
  readonly at: Expr;
  readonly offset: number;
}

export interface RecordFields {
  readonly address: Expr;
  /** A field by its offset in the record (REC). */
  load(op: x.LoadOp, offset: number): Expr;
  /** The place that a u16 field names. */
  place(cpu: Expr, offset: number): Place;
  /** The i64 at the place that a u16 field names. */
  value(cpu: Expr, offset: number): Expr;
}

/** The record at an address that is known when the guest runs. */
export function recordAt(address: Expr): RecordFields {
  const load = (op: x.LoadOp, offset: number): Expr => x.load(op, address, offset);
  const place = (cpu: Expr, offset: number): Place => ({ at: x.add(cpu, load('i32_16u', offset)), offset: 0 });
  return { address, load, place, value: (cpu, offset) => x.load('i64', place(cpu, offset).at, 0) };
}

const READ: Readonly<Record<Exclude<x.LoadOp, 'v128' | 'f64'>, (view: DataView, at: number) => Expr>> = {
  i32: (v, at) => x.i32Const(v.getInt32(at, true)),
  i64: (v, at) => x.i64Const(v.getBigInt64(at, true)),
  i32_8u: (v, at) => x.i32Const(v.getUint8(at)),
  i32_16u: (v, at) => x.i32Const(v.getUint16(at, true)),
  i64_8u: (v, at) => x.i64Const(BigInt(v.getUint8(at))),
  i64_16u: (v, at) => x.i64Const(BigInt(v.getUint16(at, true))),
  i64_32s: (v, at) => x.i64Const(BigInt(v.getInt32(at, true))),
  i64_32u: (v, at) => x.i64Const(BigInt(v.getUint32(at, true))),
};

/** A record at a known address, with `content` as its bytes: its fields are constants, its registers known places. */
export function knownRecord(address: number, content: DataView): RecordFields {
  const place = (cpu: Expr, offset: number): Place => ({ at: cpu, offset: content.getUint16(offset, true) });
  return {
    address: x.i32Const(address),
    load: (op, offset) => READ[op as Exclude<x.LoadOp, 'v128' | 'f64'>](content, offset),
    place,
    value: (cpu, offset) => {
      const field = place(cpu, offset).offset;
      return field === CPU.zero ? x.i64Const(0n) : x.load('i64', cpu, field);
    },
  };
}
