/** The stack: PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE. `push` and `pop` are also what calls and returns do. */
import { SEG } from '../layout.ts';
import type { Ops, Width } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { num } from './common.ts';

/** rSP moved by `bytes`, wrapped at the stack size. */
export const stackAt = <V>(s: Ops<V>, bytes: number): V =>
  s.zext(s.stack, s.add(s.reg(s.stack, 4), s.k(BigInt.asUintN(64, BigInt(bytes)))));

/** Writes rSP at the stack size: SP keeps the upper bits of ESP. */
export const setStackPointer = <V>(s: Ops<V>, v: V): void => s.setReg(s.stack, 4, v);

/** Pushes `w` bits. The store comes before rSP changes. */
export function push<V>(s: Ops<V>, w: Width, v: V): void {
  const sp = s.let(stackAt(s, -w / 8));
  s.store(w, 'ss', sp, v);
  setStackPointer(s, sp);
}

/** Pops `w` bits and lets `use` have the value when everything is read but rSP has not changed yet. */
export function pop<V>(s: Ops<V>, w: Width, use: (v: V) => void = () => {}): V {
  const v = s.let(s.load(w, 'ss', s.reg(s.stack, 4)));
  use(v);
  setStackPointer(s, stackAt(s, w / 8));
  return v;
}

const D64 = { size64: 'd64', stack: true } as const;

/** The value is read before rSP moves: PUSH rSP pushes the old one. */
const pushOperand: Row['exec'] = (s) => push(s, s.w, s.let(s.get(0)));

/** Into memory: the store comes before rSP. Into a register: rSP first, because POP rSP keeps the popped value. */
const popOperand: Row['exec'] = (s) => {
  if (s.isMem(0)) pop(s, s.w, (v) => s.set(0, v));
  else s.set(0, pop(s, s.w));
};

const OPERAND: readonly Row[] = [
  row('push', 'Zv', '50+r', pushOperand, D64),
  row('push', 'Iz', '68', pushOperand, D64),
  row('push', 'Ibs', '6A', pushOperand, D64),
  row('push', 'Ev', 'FF /6', pushOperand, D64),
  row('pop', '=Zv', '58+r', popOperand, D64),
  row('pop', '=Ev', '8F /0', popOperand, { ...D64, popsFirst: true }),
];

/** [name, segment, PUSH opcode, POP opcode]; CS cannot be popped. */
const SEGMENT_FORMS: readonly (readonly [number, string, string | undefined])[] = [
  [SEG.es, '06', '07'],
  [SEG.cs, '0E', undefined],
  [SEG.ss, '16', '17'],
  [SEG.ds, '1E', '1F'],
  [SEG.fs, '0F A0', '0F A1'],
  [SEG.gs, '0F A8', '0F A9'],
];
const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

const SEGMENT: readonly Row[] = SEGMENT_FORMS.flatMap(([seg, pushed, popped]) => {
  const no64 = seg < SEG.fs;
  const name = SEGMENT_NAMES[seg]!;
  const rows = [
    row(`push ${name}`, '', pushed, (s) => push(s, s.w, s.field('seg_sel', seg)), { ...D64, no64, user: false }),
  ];
  if (popped === undefined) return rows;
  const exec: Row['exec'] = (s) => {
    pop(s, s.w, (v) => s.check('load_segment', num(s, seg), s.zext(16, v)));
  };
  return [...rows, row(`pop ${name}`, '', popped, exec, { ...D64, no64, user: false, ends: seg === SEG.ss })];
});

/** PUSHF: RF and VM are not pushed. Outside 64-bit mode it may be virtual-8086 mode, where IOPL decides. */
const pushFlags: Row['exec'] = (s) => {
  if (s.long) push(s, s.w, s.let(s.and(s.or(s.field('eflags'), s.arith()), s.k(0xfffcffffn))));
  else s.check('push_flags', num(s, s.w));
};

const pusha: Row['exec'] = (s) => {
  const bytes = s.w / 8;
  for (let i = 0; i < 8; i++) s.store(s.w, 'ss', stackAt(s, -bytes * (i + 1)), s.reg(s.w, i));
  setStackPointer(s, stackAt(s, -bytes * 8));
};

const popa: Row['exec'] = (s) => {
  const bytes = s.w / 8;
  const order = [7, 6, 5, 3, 2, 1, 0]; // rSP, between rBP and rBX, is skipped
  const values = order.map((r) => s.let(s.load(s.w, 'ss', stackAt(s, bytes * (7 - r)))));
  setStackPointer(s, stackAt(s, bytes * 8));
  order.forEach((r, i) => {
    s.setReg(s.w, r, values[i]!);
  });
};

/** ENTER (SDM vol.2): nesting level 0 here, higher levels in the runtime. */
const enter: Row['exec'] = (s) => {
  const size = s.let(s.get(0));
  const level = s.let(s.and(s.get(1), s.k(31n)));
  s.if(
    s.eqz(level),
    () => {
      const frame = s.let(stackAt(s, -s.w / 8));
      const end = s.let(s.zext(s.stack, s.sub(frame, size)));
      s.probeStore(s.w, 'ss', end);
      s.store(s.w, 'ss', frame, s.reg(s.w, 5));
      s.setReg(s.w, 5, s.zext(s.w, frame));
      setStackPointer(s, end);
    },
    () => s.check('enter_frame', num(s, s.w), level, size),
  );
};

const leave: Row['exec'] = (s) => {
  const frame = s.let(s.reg(s.stack, 5));
  const v = s.let(s.load(s.w, 'ss', frame));
  setStackPointer(s, s.zext(s.stack, s.add(frame, num(s, s.w / 8))));
  s.setReg(s.w, 5, v);
};

export const STACK_ROWS: readonly Row[] = [
  ...OPERAND,
  ...SEGMENT,
  row('pushaw/pushad/pushad', '', '60', pusha, { no64: true, stack: true }),
  row('popaw/popad/popad', '', '61', popa, { no64: true, stack: true }),
  row('pushf/pushfd/pushfq', '', '9C', pushFlags, { ...D64, user: false }),
  row('popf/popfd/popfq', '', '9D', (s) => s.check('pop_flags', num(s, s.w)), { ...D64, ends: true, user: false }),
  row('enter', 'Iw, Ib', 'C8', enter, D64),
  row('leave', '', 'C9', leave, D64),
];
