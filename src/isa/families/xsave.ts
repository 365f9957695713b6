/** XSAVE and its relatives (SDM vol.1 chapter 13): the runtime moves the area; rows check where it lies. */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { behind, num } from './common.ts';

/** `kind` as the runtime numbers the instructions. */
const PLAIN = 0;
const OPTIMIZED = 1;
const COMPACTED = 2;
const SUPERVISOR = 3;

/** Component 2 of XCR0: the upper halves of the YMM registers, behind the legacy region and the header. */
const AVX_COMPONENT = 4n;
const LAST_WITHOUT_AVX = 575;
const LAST_OF_8 = 703;
const LAST_OF_16 = 831;

/** Whether AVX state is asked for, as EDX:EAX and XCR0 say. */
const wantsAvx = <V>(s: Ops<V>): V => s.and(s.and(s.field('xcr0'), s.reg(32, 0)), s.k(AVX_COMPONENT));

/** Offset of the area, aligned to 64 bytes, and of its last byte. */
function area<V>(s: Ops<V>, kind: number): { first: V; last: V } {
  s.check('xsave_check', num(s, kind === SUPERVISOR ? 1 : 0));
  const first = s.let(s.offset(0));
  s.fault(s.and(s.linear('insn', first), s.k(63n)), 'gp', s.k(0n));
  const end = behind(s, first, s.long ? LAST_OF_16 : LAST_OF_8);
  return { first, last: s.let(s.select(wantsAvx(s), end, behind(s, first, LAST_WITHOUT_AVX))) };
}

const form = <V>(s: Ops<V>, kind: number): V => num(s, (s.w === 64 ? 1 : 0) | (s.long ? 2 : 0) | (kind << 2));

const save =
  (kind: number): Row['exec'] =>
  (s) => {
    const { first, last } = area(s, kind);
    // The area lies in two pages at most: with both ends checked nothing is stored before a fault.
    s.probeStore(8, 'insn', first);
    s.probeStore(8, 'insn', last);
    s.check('xsave_area', s.linear('insn', first), form(s, kind));
  };

const restore =
  (kind: number): Row['exec'] =>
  (s) => {
    const { first, last } = area(s, kind);
    s.load(8, 'insn', first);
    s.load(8, 'insn', last);
    s.check('xrstor_area', s.linear('insn', first), form(s, kind));
  };

const attrs = (feature: string, user = true): RowAttrs => ({ feature, user });

export const XSAVE_ROWS: readonly Row[] = [
  row('xsave/xsave/xsave64', '=M', 'NP 0F AE /4', save(PLAIN), attrs('xsave')),
  row('xrstor/xrstor/xrstor64', 'M', 'NP 0F AE /5', restore(PLAIN), attrs('xsave')),
  row('xsaveopt/xsaveopt/xsaveopt64', '=M', 'NP 0F AE /6', save(OPTIMIZED), attrs('xsaveopt')),
  row('xsavec/xsavec/xsavec64', '=M', 'NP 0F C7 /4', save(COMPACTED), attrs('xsavec')),
  row('xsaves/xsaves/xsaves64', '=M', 'NP 0F C7 /5', save(SUPERVISOR), attrs('xsaves', false)),
  row('xrstors/xrstors/xrstors64', 'M', 'NP 0F C7 /3', restore(SUPERVISOR), attrs('xsaves', false)),
];
