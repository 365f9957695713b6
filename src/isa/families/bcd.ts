/** Decimal adjustments of packed and unpacked digits: DAA DAS AAA AAS AAM AAD. None exists in 64-bit mode. */
import type { Ops } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { readAh } from './common.ts';

/** The low digit of `al` is above 9, or AF tells that it overflowed. */
const digitOverflow = <V>(s: Ops<V>, al: V): V => s.let(s.or(s.ltu(s.k(9n), s.and(al, s.k(15n))), s.flag('af')));

/** ZF, SF and PF of a byte, with CF and AF. */
function byteFlags<V>(s: Ops<V>, r: V, cf: V, af: V): void {
  s.flags('carry', 8, { r, x: cf, y: s.k(0n) });
  s.setFlag('af', () => af);
}

/** DAA (`add`) and DAS: 6 for the low digit, 60h for the high one. */
const decimal =
  (op: 'add' | 'sub'): Row['exec'] =>
  (s) => {
    const al = s.let(s.reg(8, 0));
    const low = digitOverflow(s, al);
    const high = s.let(s.or(s.ltu(s.k(0x99n), al), s.flag('cf')));
    const change = s.or(s.mul(low, s.k(6n)), s.mul(high, s.k(0x60n)));
    const r = s.let(s.zext(8, s[op](al, change)));
    // DAS also reports the borrow of its first step (SDM vol.2 DAS).
    const cf = s.let(op === 'add' ? high : s.or(high, s.and(low, s.ltu(al, s.k(6n)))));
    s.setReg(8, 0, r);
    byteFlags(s, r, cf, low);
  };

/** AAA (`add`) and AAS: an overflow of the low digit moves one into or out of AH. */
const ascii =
  (op: 'add' | 'sub'): Row['exec'] =>
  (s) => {
    const ax = s.let(s.reg(16, 0));
    const over = digitOverflow(s, s.reg(8, 0));
    const changed = s[op](ax, s.mul(over, s.k(0x106n)));
    const r = s.let(s.and(changed, s.k(0xff0fn)));
    s.setReg(16, 0, r);
    byteFlags(s, s.zext(8, r), over, over);
  };

const aam: Row['exec'] = (s) => {
  const base = s.let(s.get(0));
  s.fault(s.eqz(base), 'de');
  const al = s.let(s.reg(8, 0));
  const lo = s.let(s.remu(al, base));
  s.setReg(16, 0, s.or(s.shl(s.divu(al, base), s.k(8n)), lo));
  s.flags('logic', 8, { r: lo });
};

const aad: Row['exec'] = (s) => {
  const r = s.let(s.zext(8, s.add(s.reg(8, 0), s.mul(readAh(s), s.get(0)))));
  s.setReg(16, 0, r);
  s.flags('logic', 8, { r });
};

export const BCD_ROWS: readonly Row[] = [
  row('daa', '', '27', decimal('add'), { no64: true, undef: 'of' }),
  row('das', '', '2F', decimal('sub'), { no64: true, undef: 'of' }),
  row('aaa', '', '37', ascii('add'), { no64: true, undef: 'of sf zf pf' }),
  row('aas', '', '3F', ascii('sub'), { no64: true, undef: 'of sf zf pf' }),
  row('aam', 'Ib', 'D4', aam, { no64: true, undef: 'of af cf' }),
  row('aad', 'Ib', 'D5', aad, { no64: true, undef: 'of af cf' }),
];
