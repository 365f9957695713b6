/** Flags: CLC STC CMC CLD STD CLI STI LAHF SAHF. */
import { EFLAGS } from '../layout.ts';
import { type Row, row } from '../row.ts';
import { num, readAh, writeAh } from './common.ts';

/** Flags that LAHF and SAHF move: all arithmetic ones but OF. */
const LOW_FLAGS = EFLAGS.ARITH & 0xff;

export const FLAGOPS_ROWS: readonly Row[] = [
  row('clc', '', 'F8', (s) => s.setFlag('cf', () => s.k(0n))),
  row('stc', '', 'F9', (s) => s.setFlag('cf', () => s.k(1n))),
  row('cmc', '', 'F5', (s) => {
    const cf = s.let(s.flag('cf'));
    s.setFlag('cf', () => s.eqz(cf));
  }),
  row('cld', '', 'FC', (s) => s.setField('eflags', s.and(s.field('eflags'), num(s, ~EFLAGS.DF >>> 0)))),
  row('std', '', 'FD', (s) => s.setField('eflags', s.or(s.field('eflags'), num(s, EFLAGS.DF)))),
  row('cli', '', 'FA', (s) => s.check('clear_interrupt_flag'), { ends: true, user: false }),
  row('sti', '', 'FB', (s) => s.check('set_interrupt_flag'), { ends: true, user: false }),
  row('lahf', '', '9F', (s) => writeAh(s, s.or(s.and(s.arith(), num(s, LOW_FLAGS)), num(s, EFLAGS.FIXED)))),
  row('sahf', '', '9E', (s) => {
    const of = s.and(s.arith(), num(s, EFLAGS.OF));
    s.setArith(s.or(of, s.and(readAh(s), num(s, LOW_FLAGS))));
  }),
];
