/** BMI1, BMI2 and ADX on general registers (SDM vol.1 5.1.16, 5.1.17). TZCNT is with the other counts in bits.ts. */
import type { Ops, Width } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { bitOf, complement, num, protectedOnly } from './common.ts';

const widthOf = <V>(s: Ops<V>): Width => s.width(0) as Width;

/** Outside 64-bit mode VEX instructions are only in protected mode, whose absence AVX rows find by their unit. */
const vex =
  (exec: Row['exec']): Row['exec'] =>
  (s) => {
    if (!s.long) protectedOnly(s);
    exec(s);
  };

/** SF and ZF by the result, CF as given, OF clear. */
function resultFlags<V>(s: Ops<V>, w: Width, r: V, cf: V): void {
  s.flags('carry', w, { r, x: cf, y: s.k(0n) });
}

function andn<V>(s: Ops<V>): void {
  const r = s.let(s.zext(widthOf(s), s.and(complement(s, s.get(1)), s.get(2))));
  s.set(0, r);
  s.flags('logic', widthOf(s), { r });
}

/** The lowest `n` bits set, for `n` 0-255. */
const ones = <V>(s: Ops<V>, n: V): V =>
  s.select(s.ltu(n, s.k(64n)), s.sub(s.shl(s.k(1n), n), s.k(1n)), s.k(0xffff_ffff_ffff_ffffn));

/** BEXTR: bits from bit `start` (0-7 of the control) on, as many as bits 8-15 say. */
function bextr<V>(s: Ops<V>): void {
  const control = s.let(s.get(2));
  const start = s.let(s.zext(8, control));
  const count = s.let(s.zext(8, s.shr(control, s.k(8n))));
  const x = s.select(s.ltu(start, s.k(64n)), s.shr(s.get(1), start), s.k(0n));
  const r = s.let(s.and(x, ones(s, count)));
  s.set(0, r);
  resultFlags(s, widthOf(s), r, s.k(0n));
}

/** BLSI, BLSMSK, BLSR: of the lowest bit that is set. CF tells of a zero source, or for BLSI of another. */
const lowestBit =
  (change: <V>(s: Ops<V>, x: V) => V, carryIfZero: boolean): Row['exec'] =>
  (s) => {
    const x = s.let(s.get(1));
    const r = s.let(s.zext(widthOf(s), change(s, x)));
    s.set(0, r);
    resultFlags(s, widthOf(s), r, carryIfZero ? s.eqz(x) : s.eqz(s.eqz(x)));
  };
const below = <V>(s: Ops<V>, x: V): V => s.sub(x, s.k(1n));

/** BZHI: CF tells that the bit number, 0-255, is not below the width. */
function bzhi<V>(s: Ops<V>): void {
  const w = widthOf(s);
  const n = s.let(s.zext(8, s.get(2)));
  const r = s.let(s.and(s.get(1), ones(s, n)));
  s.set(0, r);
  resultFlags(s, w, r, s.ltu(num(s, w - 1), n));
}

/** MULX: the low half first, so that the high half stays when both go to one register. */
function mulx<V>(s: Ops<V>): void {
  const w = widthOf(s);
  const a = s.let(s.reg(w, 2));
  const b = s.let(s.get(2));
  const low = s.let(s.mul(a, b));
  const high = s.let(w === 64 ? s.mulhu(a, b) : s.shr(low, s.k(32n)));
  s.set(1, s.zext(w, low));
  s.set(0, high);
}

const shiftX =
  (shift: <V>(s: Ops<V>, w: Width, x: V, n: V) => V): Row['exec'] =>
  (s) => {
    const w = widthOf(s);
    const n = s.let(s.and(s.get(2), num(s, w - 1)));
    s.set(0, s.zext(w, shift(s, w, s.get(1), n)));
  };

function rorx<V>(s: Ops<V>): void {
  const w = widthOf(s);
  const n = s.let(s.and(s.get(2), num(s, w - 1)));
  const x = s.let(s.get(1));
  const left = s.and(s.sub(num(s, w), n), num(s, w - 1));
  s.set(0, s.zext(w, s.or(s.shr(x, n), s.shl(x, left))));
}

const bitMove =
  (helper: 'bmi_pdep' | 'bmi_pext'): Row['exec'] =>
  (s) =>
    s.set(0, s.call(helper, s.get(1), s.get(2)));

/** ADCX, ADOX: an addition that reads and writes one flag only. */
const addWith =
  (flag: 'cf' | 'of'): Row['exec'] =>
  (s) => {
    const w = widthOf(s);
    const b = s.let(s.get(1));
    const a = s.let(s.get(0));
    const carry = s.let(s.flag(flag));
    const r = s.let(s.zext(w, s.add(s.add(a, b), carry)));
    s.set(0, r);
    // The carry out is that of bit w - 1: set in both, or in one and no longer in the sum.
    const top = s.or(s.and(a, b), s.and(s.or(a, b), complement(s, r)));
    s.setFlag(flag, () => bitOf(s, top, w - 1));
  };

const BMI1: RowAttrs = { feature: 'bmi1' };
const BMI2: RowAttrs = { feature: 'bmi2' };
const ADX: RowAttrs = { feature: 'adx' };

export const BMI_ROWS: readonly Row[] = [
  row('andn', '=Gy,By,Ey', 'VEX.LZ.0F38 F2 /r', vex(andn), { ...BMI1, undef: 'af pf' }),
  row('bextr', '=Gy,Ey,By', 'VEX.LZ.0F38 F7 /r', vex(bextr), { ...BMI1, undef: 'af sf pf' }),
  row('blsr', '=By,Ey', 'VEX.LZ.0F38 F3 /1', vex(lowestBit((s, x) => s.and(x, below(s, x)), true)), {
    ...BMI1,
    undef: 'af pf',
  }),
  row('blsmsk', '=By,Ey', 'VEX.LZ.0F38 F3 /2', vex(lowestBit((s, x) => s.xor(x, below(s, x)), true)), {
    ...BMI1,
    undef: 'af pf',
  }),
  row('blsi', '=By,Ey', 'VEX.LZ.0F38 F3 /3', vex(lowestBit((s, x) => s.and(x, s.sub(s.k(0n), x)), false)), {
    ...BMI1,
    undef: 'af pf',
  }),
  row('bzhi', '=Gy,Ey,By', 'VEX.LZ.0F38 F5 /r', vex(bzhi), { ...BMI2, undef: 'af pf' }),
  row('pext', '=Gy,By,Ey', 'VEX.LZ.F3.0F38 F5 /r', vex(bitMove('bmi_pext')), BMI2),
  row('pdep', '=Gy,By,Ey', 'VEX.LZ.F2.0F38 F5 /r', vex(bitMove('bmi_pdep')), BMI2),
  row('mulx', '=Gy,=By,Ey', 'VEX.LZ.F2.0F38 F6 /r', vex(mulx), BMI2),
  row('rorx', '=Gy,Ey,Ib', 'VEX.LZ.F2.0F3A F0 /r ib', vex(rorx), BMI2),
  row('shlx', '=Gy,Ey,By', 'VEX.LZ.66.0F38 F7 /r', vex(shiftX((s, _w, x, n) => s.shl(x, n))), BMI2),
  row('sarx', '=Gy,Ey,By', 'VEX.LZ.F3.0F38 F7 /r', vex(shiftX((s, w, x, n) => s.sar(s.sext(w, x), n))), BMI2),
  row('shrx', '=Gy,Ey,By', 'VEX.LZ.F2.0F38 F7 /r', vex(shiftX((s, _w, x, n) => s.shr(x, n))), BMI2),
  row('adcx', '+Gy,Ey', '66 0F 38 F6 /r', addWith('cf'), ADX),
  row('adox', '+Gy,Ey', 'F3 0F 38 F6 /r', addWith('of'), ADX),
];
