/** The jump to a rip through the instruction TLB, as far as it needs no call: what handlers and regions have in common. */
import { CODE_PAGE, CPU, ITLB, JUMPS, REC } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { HANDLER, handlerOf } from './chain.ts';
import { FIRST_REGION, SPECIAL } from './special.ts';

type Expr = x.Expr;
const load32 = (a: Expr, o: number): Expr => x.load('i32', a, o);
const load16 = (a: Expr, o: number): Expr => x.load('i32_16u', a, o);
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

/** Address of the place of a linear address among the records that were jumped to, less JUMPS.OFFSET. */
function jumpSlot(cpu: Expr, linear: Expr): Expr {
  const low = x.wrap(linear);
  const mixed = x.binary('xor', low, x.binary('shr_u', low, x.i32Const(9)));
  const index = x.and(mixed, x.i32Const(JUMPS.ENTRIES - 1));
  return x.add(cpu, x.binary('shl', index, x.i32Const(Math.log2(JUMPS.ENTRY_SIZE))));
}

/** A jump whose page the instruction TLB knows. */
interface Target {
  readonly linear: Expr;
  readonly page: Expr;
  /** Offset in the page. */
  readonly within: Expr;
}
function withPageAt(f: FunctionBuilder, cpu: Expr, rip: Expr, then: (t: Target) => void): void {
  const linear = f.let(x.and(x.add(rip, load64(cpu, CPU.code_base!)), load64(cpu, CPU.code_mask!)));
  const entry = f.let(itlbEntry(cpu, linear));
  f.if(x.compare('eq', load64(entry, ITLB.OFFSET + ITLB.TAG), itlbTag(cpu, linear)), () => {
    const within = f.let(x.and(x.wrap(linear), x.i32Const(0xfff)));
    then({ linear, page: f.let(load32(entry, ITLB.OFFSET + ITLB.PAGE)), within });
  });
}
/** page_base is set before a record of another page is entered. */
const setPageBase = (f: FunctionBuilder, cpu: Expr, rip: Expr, within: Expr): void =>
  f.store('i64', cpu, CPU.page_base!, x.sub(rip, x.extendU(within)));

/**
 * Emits `then` for the record at `rip` and its handler if it was jumped to before, and is still the page's: dropped ones
 * have the handler `resync`.
 */
export function withRecordAt(f: FunctionBuilder, cpu: Expr, rip: Expr, then: (t: Expr, handler: Expr) => void): void {
  withPageAt(f, cpu, rip, ({ linear, page, within }) => {
    const slot = f.let(jumpSlot(cpu, linear));
    f.if(x.compare('eq', load32(slot, JUMPS.OFFSET + JUMPS.PAGE), page), () => {
      const t = f.let(load32(slot, JUMPS.OFFSET + JUMPS.RECORD));
      const handler = f.let(handlerOf(t));
      const isIt = x.compare('eq', load16(t, REC.OFFSET), within);
      f.if(x.and(isIt, x.compare('ne', handler, x.i32Const(SPECIAL.resync))), () => {
        setPageBase(f, cpu, rip, within);
        then(t, handler);
      });
    });
  });
}
/** Emits `then` for the record at `rip` if the code page has one; it is found by withRecordAt from then on. */
export function withEntryAt(f: FunctionBuilder, cpu: Expr, rip: Expr, then: (t: Expr, handler: Expr) => void): void {
  withPageAt(f, cpu, rip, ({ linear, page, within }) => {
    const t = f.let(codePageEntry(page, within));
    f.if(t, () => {
      const slot = f.let(jumpSlot(cpu, linear));
      f.store('i32', slot, JUMPS.OFFSET + JUMPS.PAGE, page);
      f.store('i32', slot, JUMPS.OFFSET + JUMPS.RECORD, t);
      setPageBase(f, cpu, rip, within);
      then(t, f.let(handlerOf(t)));
    });
  });
}

/**
 * Goes to `rip` if a region is known there; else falls through, to `goto`, which counts the jump. A copy in each region
 * gives the host's branch prediction something to tell them apart by.
 */
export function gotoKnown(f: FunctionBuilder, cpu: Expr, rip: Expr): void {
  withRecordAt(f, cpu, rip, (t, handler) => {
    f.if(x.compare('ge_u', handler, x.i32Const(FIRST_REGION)), () => {
      f.store('i32', cpu, CPU.budget!, x.add(load32(cpu, CPU.budget!), x.load('i32_16u', t, REC.COUNT)));
      f.returnCallIndirect(HANDLER, handler, cpu, t);
    });
  });
}
