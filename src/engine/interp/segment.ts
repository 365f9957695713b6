/** The segment check of 16- and 32-bit code, with the common case in line: writable data, base anything, limit 4 GiB. */
import { ATTR, CPU } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';

type Expr = x.Expr;
/** Offsets from here on may run over the end of 4 GiB with an operand of up to 64 bytes. */
const NEAR_THE_END = -64;

/**
 * Calls `refused` if the segment whose base is in the field at `base` (an offset into the state) does not allow
 * `bytes` at `offset`; the fault is recorded then.
 */
export function checkSegment(
  f: FunctionBuilder,
  access: { cpu: Expr; base: Expr; offset: Expr; bytes: Expr; write: Expr },
  refused: () => void,
): void {
  const { cpu, bytes, write } = access;
  const offset = f.let(x.wrap(access.offset));
  const number = f.let(x.binary('shr_u', x.sub(access.base, x.i32Const(CPU.seg_base!)), x.i32Const(3)));
  const at = f.let(x.add(cpu, x.binary('shl', number, x.i32Const(2))));
  const kind = x.and(
    x.load('i32', at, CPU.seg_attr!),
    x.i32Const(ATTR.NULL | ATTR.CODE | ATTR.S | ATTR.WRITABLE | ATTR.EXPAND_DOWN),
  );
  const isOpen = x.and(
    x.and(
      x.compare('eq', x.load('i32', at, CPU.seg_limit!), x.i32Const(-1)),
      x.compare('eq', kind, x.i32Const(ATTR.S | ATTR.WRITABLE)),
    ),
    x.compare('lt_u', offset, x.i32Const(NEAR_THE_END)),
  );
  f.unlikely(x.eqz(isOpen), () => f.if(f.call('seg_check', cpu, number, offset, bytes, write), refused));
}
