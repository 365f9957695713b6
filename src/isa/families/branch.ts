/** Control transfer: JMP CALL RET Jcc LOOP JrCXZ, far transfers, INT INTO IRET. */
import { CONDITION_NAMES } from '../flags.ts';
import { SEG } from '../layout.ts';
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { behind, num } from './common.ts';
import { pop, push, setStackPointer, stackAt } from './stack.ts';

const NEAR = { size64: 'f64', ends: true } as const;
const NEAR_STACK = { ...NEAR, stack: true } as const;
const FAR = { ends: true, user: false } as const;

/**
 * #GP(0) unless the target is canonical, or in legacy modes within the limit of CS: before anything is pushed or
 * popped (SDM vol.2 CALL, JMP, RET).
 */
function checkTarget<V>(s: Ops<V>, target: V): void {
  const rip = s.let(s.zext(s.w, target));
  if (!s.long) s.fault(s.ltu(s.field('seg_limit', SEG.cs), rip), 'gp', s.k(0n));
  else if (s.w === 64) s.fault(s.eqz(s.eq(s.sar(s.shl(rip, s.k(16n)), s.k(16n)), rip)), 'gp', s.k(0n));
}

const callRelative: Row['exec'] = (s) => {
  s.checkBranch();
  push(s, s.w, s.zext(s.w, s.nextRip()));
  s.branch();
};
const callIndirect: Row['exec'] = (s) => {
  const target = s.let(s.get(0));
  checkTarget(s, target);
  push(s, s.w, s.zext(s.w, s.nextRip()));
  s.jump(target);
};
const jumpIndirect: Row['exec'] = (s) => {
  const target = s.let(s.get(0));
  checkTarget(s, target);
  s.jump(target);
};
const ret: Row['exec'] = (s) => s.jump(pop(s, s.w, (target) => checkTarget(s, target)));
const retImmediate: Row['exec'] = (s) => {
  const target = s.let(s.load(s.w, 'ss', s.reg(s.stack, 4)));
  checkTarget(s, target);
  setStackPointer(s, s.zext(s.stack, s.add(stackAt(s, s.w / 8), s.get(0))));
  s.jump(target);
};

const NEAR_ROWS: readonly Row[] = [
  row('call', 'Jz', 'E8', callRelative, NEAR_STACK),
  row('call', 'Ev', 'FF /2', callIndirect, NEAR_STACK),
  row('jmp', 'Jz', 'E9', (s) => s.branch(), NEAR),
  row('jmp', 'Jb', 'EB', (s) => s.branch(), NEAR),
  row('jmp', 'Ev', 'FF /4', jumpIndirect, NEAR),
  row('ret', '', 'C3', ret, NEAR_STACK),
  row('ret', 'Iw', 'C2', retImmediate, NEAR_STACK),
  ...CONDITION_NAMES.flatMap((name, cc) => {
    const digit = cc.toString(16).toUpperCase();
    const exec: Row['exec'] = (s) => s.branch(s.cond(cc));
    return [row(`j${name}`, 'Jb', `7${digit}`, exec, NEAR), row(`j${name}`, 'Jz', `0F 8${digit}`, exec, NEAR)];
  }),
];

/** LOOP counts rCX at the address size and goes on while it is not 0 and ZF is `zf`, if given. */
const loop =
  (zf?: 0 | 1): Row['exec'] =>
  (s) => {
    const left = s.let(s.zext(s.asize, s.sub(s.reg(s.asize, 1), s.k(1n))));
    const more = s.eqz(s.eqz(left));
    const again = zf === undefined ? more : s.and(more, zf ? s.flag('zf') : s.eqz(s.flag('zf')));
    const taken = s.let(again);
    s.checkBranch(taken);
    s.setReg(s.asize, 1, left);
    s.branch(taken);
  };

const COUNT_ROWS: readonly Row[] = [
  row('loopne', 'Jb', 'E0', loop(0), { ...NEAR, asize: true }),
  row('loope', 'Jb', 'E1', loop(1), { ...NEAR, asize: true }),
  row('loop', 'Jb', 'E2', loop(), { ...NEAR, asize: true }),
  row('jcxz/jecxz/jrcxz', 'Jb', 'E3', (s) => s.branch(s.eqz(s.reg(s.asize, 1))), { ...NEAR, asize: true }),
];

/** Far pointer in memory: the offset at the operand size, then the selector. */
export function loadFarPointer<V>(s: Ops<V>, operand: number): { offset: V; selector: V } {
  const at = s.let(s.offset(operand));
  const offset = s.let(s.load(s.w, 'insn', at));
  return { offset, selector: s.let(s.load(16, 'insn', behind(s, at, s.w / 8))) };
}

const farIndirect =
  (helper: 'far_jump' | 'far_call'): Row['exec'] =>
  (s) => {
    const { offset, selector } = loadFarPointer(s, 0);
    s.transfer(helper, selector, offset, num(s, s.w), s.nextRip());
  };
const farImmediate =
  (helper: 'far_jump' | 'far_call'): Row['exec'] =>
  (s) => {
    const target = s.let(s.get(0));
    s.transfer(helper, s.shr(target, s.k(32n)), s.zext(32, target), num(s, s.w), s.nextRip());
  };

const FAR_STACK: RowAttrs = { ...FAR, stack: true };
const FAR_ROWS: readonly Row[] = [
  row('call', 'Ap', '9A', farImmediate('far_call'), { ...FAR_STACK, no64: true }),
  row('jmp', 'Ap', 'EA', farImmediate('far_jump'), { ...FAR, no64: true }),
  row('call', 'Mp', 'FF /3', farIndirect('far_call'), FAR_STACK),
  row('jmp', 'Mp', 'FF /5', farIndirect('far_jump'), FAR),
  row('retf', '', 'CB', (s) => s.transfer('far_return', num(s, s.w), s.k(0n)), FAR_STACK),
  row('retf', 'Iw', 'CA', (s) => s.transfer('far_return', num(s, s.w), s.get(0)), FAR_STACK),
  row('iret/iretd/iretq', '', 'CF', (s) => s.transfer('interrupt_return', num(s, s.w), s.nextRip()), FAR_STACK),
];

const interrupt = <V>(s: Ops<V>, vector: V, kind: number): void =>
  s.transfer('software_interrupt', vector, num(s, kind), s.nextRip());

const INTERRUPT_ROWS: readonly Row[] = [
  row('int', 'Ib', 'CD', (s) => interrupt(s, s.get(0), 0), FAR),
  row('int3', '', 'CC', (s) => interrupt(s, s.k(3n), 1), FAR),
  row('into', '', 'CE', (s) => s.if(s.flag('of'), () => interrupt(s, s.k(4n), 1)), { ...FAR, no64: true }),
  row('int1', '', 'F1', (s) => interrupt(s, s.k(1n), 2), FAR),
];

export const BRANCH_ROWS: readonly Row[] = [...NEAR_ROWS, ...COUNT_ROWS, ...FAR_ROWS, ...INTERRUPT_ROWS];
