/** The jump to a rip through the instruction TLB, as far as it needs no call: what handlers and regions have in common. */
import { CODE_PAGE, CPU, ITLB, REC } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { HANDLER } from './chain.ts';
import { FIRST_REGION } from './special.ts';

type Expr = x.Expr;
const load32 = (a: Expr, o: number): Expr => x.load('i32', a, o);
const load64 = (a: Expr, o: number): Expr => x.load('i64', a, o);

/** Address of the entry for a linear address, less ITLB.OFFSET. */
export const itlbEntry = (cpu: Expr, linear: Expr): Expr => {
  const index = x.and(
    x.wrap(x.binary('shr_u', linear, x.i64Const(8n))),
    x.i32Const((ITLB.ENTRIES - 1) * ITLB.ENTRY_SIZE),
  );
  return x.add(cpu, index);
};
export const itlbTag = (cpu: Expr, linear: Expr): Expr =>
  x.or(x.and(linear, x.i64Const(-4096n)), x.load('i64_32u', cpu, CPU.itlb_ctx!));
export const codePageEntry = (page: Expr, within: Expr): Expr =>
  load32(x.add(page, x.binary('shl', within, x.i32Const(2))), CODE_PAGE.ENTRY);

/** Emits `then` for the record at `rip` if instruction TLB and code page know it; page_base is set before. */
export function withRecordAt(f: FunctionBuilder, cpu: Expr, rip: Expr, then: (t: Expr) => void): void {
  const linear = f.let(x.and(x.add(rip, load64(cpu, CPU.code_base!)), load64(cpu, CPU.code_mask!)));
  const entry = f.let(itlbEntry(cpu, linear));
  f.if(x.compare('eq', load64(entry, ITLB.OFFSET + ITLB.TAG), itlbTag(cpu, linear)), () => {
    const within = f.let(x.and(x.wrap(linear), x.i32Const(0xfff)));
    const t = f.let(codePageEntry(load32(entry, ITLB.OFFSET + ITLB.PAGE), within));
    f.if(t, () => {
      f.store('i64', cpu, CPU.page_base!, x.sub(rip, x.extendU(within)));
      then(t);
    });
  });
}

/**
 * Goes to `rip` if a region is known there; else falls through, to `goto`, which counts the jump. A copy in each region
 * gives the host's branch prediction something to tell them apart by.
 */
export function gotoKnown(f: FunctionBuilder, cpu: Expr, rip: Expr): void {
  withRecordAt(f, cpu, rip, (t) => {
    const handler = f.let(x.load('i32_16u', t, REC.HANDLER));
    f.if(x.compare('ge_u', handler, x.i32Const(FIRST_REGION)), () => {
      f.store('i32', cpu, CPU.budget!, x.add(load32(cpu, CPU.budget!), x.load('i32_16u', t, REC.COUNT)));
      f.returnCallIndirect(HANDLER, handler, cpu, t);
    });
  });
}
