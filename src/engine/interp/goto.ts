/** The jump to a rip by known jumps and through the instruction TLB: what handlers and regions have in common. */
import { CODE_PAGE, CPU, ITLB, JUMPS, REC } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { type Chain, enter, HANDLER, handlerOf } from './chain.ts';
import { FIRST_REGION, SPECIAL } from './special.ts';

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

/** Address of the place of a linear address among the records that were jumped to, less JUMPS.OFFSET. */
function jumpSlot(cpu: Expr, linear: Expr): Expr {
  const low = x.wrap(linear);
  const mixed = x.binary('xor', low, x.binary('shr_u', low, x.i32Const(9)));
  const index = x.and(mixed, x.i32Const(JUMPS.ENTRIES - 1));
  return x.add(cpu, x.binary('shl', index, x.i32Const(Math.log2(JUMPS.ENTRY_SIZE))));
}
const linearOf = (cpu: Expr, rip: Expr): Expr =>
  x.and(x.add(rip, load64(cpu, CPU.code_base!)), load64(cpu, CPU.code_mask!));
const inPage = (linear: Expr): Expr => x.and(x.wrap(linear), x.i32Const(0xfff));
/** page_base is set before a record of another page is entered. */
const setPageBase = (f: FunctionBuilder, cpu: Expr, rip: Expr, within: Expr): void =>
  f.store('i64', cpu, CPU.page_base!, x.sub(rip, x.extendU(within)));

/** Where a rip is known by, if it is: `long`: in 64-bit mode, where linear addresses are rips. */
interface KnownRecord {
  readonly linear: Expr;
  /** Whether the rest is so. */
  readonly isKnown: Expr;
  readonly t: Expr;
  /** `resync` for a record that is dropped: it is not its page's any more. */
  readonly handler: Expr;
}
/** All is loaded whether it is the rip's or not: what a place has had is in memory for ever, and there is one branch then. */
function recordAt(f: FunctionBuilder, cpu: Expr, rip: Expr, long: boolean): KnownRecord {
  const linear = long ? rip : f.let(linearOf(cpu, rip));
  const slot = f.let(jumpSlot(cpu, linear));
  const isIt = x.compare('eq', load64(slot, JUMPS.OFFSET + JUMPS.LINEAR), linear);
  const isNow = x.compare('eq', load32(slot, JUMPS.OFFSET + JUMPS.KEY), load32(cpu, CPU.jump_key!));
  const t = f.let(load32(slot, JUMPS.OFFSET + JUMPS.RECORD));
  return { linear, isKnown: x.and(isIt, isNow), t, handler: f.let(handlerOf(t)) };
}
/** Emits `then` for the record at `rip` if the code page has one; it is a known jump from then on. */
export function withEntryAt(f: FunctionBuilder, cpu: Expr, rip: Expr, then: (t: Expr, handler: Expr) => void): void {
  const linear = f.let(linearOf(cpu, rip));
  const entry = f.let(itlbEntry(cpu, linear));
  f.if(x.compare('eq', load64(entry, ITLB.OFFSET + ITLB.TAG), itlbTag(cpu, linear)), () => {
    const [page, within] = [f.let(load32(entry, ITLB.OFFSET + ITLB.PAGE)), f.let(inPage(linear))];
    const slot = f.let(jumpSlot(cpu, linear));
    const record = f.variable('i32');
    f.setVariable(record, load32(slot, JUMPS.OFFSET + JUMPS.RECORD));
    const isIt = isRecordOf(slot, linear, page, f.get(record));
    f.if(x.eqz(isIt), () => f.setVariable(record, codePageEntry(page, within)));
    f.if(f.get(record), () => {
      const t = f.let(f.get(record));
      rememberJump(f, cpu, { slot, linear, frame: load32(entry, ITLB.OFFSET + ITLB.FRAME), t, page });
      setPageBase(f, cpu, rip, within);
      then(t, f.let(handlerOf(t)));
    });
  });
}
/** Whether a slot has the record of the page, from another address space: programs lie where others of their file do. */
function isRecordOf(slot: Expr, linear: Expr, page: Expr, t: Expr): Expr {
  const isThere = x.compare('eq', load64(slot, JUMPS.OFFSET + JUMPS.LINEAR), linear);
  const isPages = x.compare('eq', load32(slot, JUMPS.OFFSET + JUMPS.PAGE), page);
  const isDropped = x.compare('eq', handlerOf(t), x.i32Const(SPECIAL.resync));
  return x.and(x.and(isThere, isPages), x.eqz(isDropped));
}
interface KnownJump {
  readonly slot: Expr;
  readonly linear: Expr;
  /** That field of the page's entry. */
  readonly frame: Expr;
  readonly t: Expr;
  readonly page: Expr;
}
/** Makes record `t` a known jump if its page is global or a user's. */
function rememberJump(f: FunctionBuilder, cpu: Expr, { slot, linear, frame, t, page }: KnownJump): void {
  f.if(f.call('note_jumps', cpu, linear, frame), () => {
    f.store('i64', slot, JUMPS.OFFSET + JUMPS.LINEAR, linear);
    f.store('i32', slot, JUMPS.OFFSET + JUMPS.KEY, load32(cpu, CPU.jump_key!));
    f.store('i32', slot, JUMPS.OFFSET + JUMPS.RECORD, t);
    f.store('i32', slot, JUMPS.OFFSET + JUMPS.PAGE, page);
  });
}

/** Enters the trace at `rip` if that is a known jump; else falls through. */
export function enterKnown(f: FunctionBuilder, chain: Chain, cpu: Expr, rip: Expr): void {
  const { linear, isKnown, t, handler } = recordAt(f, cpu, rip, false);
  f.if(x.and(isKnown, x.compare('ne', handler, x.i32Const(SPECIAL.resync))), () => {
    setPageBase(f, cpu, rip, inPage(linear));
    enter(f, chain, t, handler);
  });
}

/** A jump out of a region. */
export interface RegionJump {
  readonly rip: Expr;
  /** Instructions that are left. */
  readonly budget: Expr;
  readonly long: boolean;
  /** What else there is to be. */
  readonly condition: Expr;
  /** Emits the jump in as many places as the host's branch prediction is to tell apart. */
  places(jump: () => void): void;
}
/** Goes to a rip if a region is known there and the budget is not used up; else falls through, to `goto`, which counts the jump. */
export function gotoKnown(f: FunctionBuilder, cpu: Expr, { rip, budget, long, condition, places }: RegionJump): void {
  const { linear, isKnown, t, handler } = recordAt(f, cpu, rip, long);
  const isRegion = x.compare('ge_u', handler, x.i32Const(FIRST_REGION));
  const goesOn = x.and(x.compare('ge_s', budget, x.i32Const(0)), condition);
  f.if(x.and(x.and(isKnown, isRegion), goesOn), () => {
    setPageBase(f, cpu, rip, inPage(linear));
    f.store('i32', cpu, CPU.budget!, x.add(budget, x.load('i32_16u', t, REC.COUNT)));
    places(() => f.returnCallIndirect(HANDLER, handler, cpu, t));
  });
}
