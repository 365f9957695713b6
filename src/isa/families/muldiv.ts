/** MUL IMUL DIV IDIV. Operands of up to 32 bits are worked on in 64 bits, 64-bit ones as pairs. */
import type { Ops, Width } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { complement, negate, num, readAh, signOf } from './common.ts';

const widthOf = <V>(s: Ops<V>, size: 'b' | 'v'): Width => (size === 'b' ? 8 : s.w);

/** Product of two values of width `w`: low and high half. */
function product<V>(s: Ops<V>, w: Width, a: V, b: V, signed: boolean): { lo: V; hi: V } {
  if (w === 64) return { lo: s.let(s.mul(a, b)), hi: s.let(signed ? s.mulhs(a, b) : s.mulhu(a, b)) };
  const p = s.let(signed ? s.mul(s.sext(w, a), s.sext(w, b)) : s.mul(a, b));
  return { lo: s.let(s.zext(w, p)), hi: s.let(s.zext(w, s.shr(p, num(s, w)))) };
}

/** rAX times the operand to rDX:rAX, or AL times the operand to AX. */
const mulAccumulator =
  (size: 'b' | 'v', signed: boolean): Row['exec'] =>
  (s) => {
    const w = widthOf(s, size);
    const x = s.let(s.reg(w, 0));
    const y = s.let(s.get(0));
    const { lo, hi } = product(s, w, x, y, signed);
    if (w === 8) s.setReg(16, 0, s.or(s.shl(hi, s.k(8n)), lo));
    else {
      s.setReg(w, 0, lo);
      s.setReg(w, 2, hi);
    }
    if (signed) s.flags('imul', w, { r: lo, x, y });
    else {
      const big = s.let(s.eqz(s.eqz(hi)));
      s.flags('carry', w, { r: lo, x: big, y: big });
    }
  };

/** IMUL with two or three operands: the low half of `a` times `b` to operand 0. */
const mulRegister =
  (a: number, b: number): Row['exec'] =>
  (s) => {
    const x = s.let(s.get(a));
    const y = s.let(s.get(b));
    const r = s.let(s.zext(s.w, s.mul(x, y)));
    s.set(0, r);
    s.flags('imul', s.w, { r, x, y });
  };

/** The dividend rDX:rAX (AH:AL for bytes) as two halves of width `w`. */
const dividend = <V>(s: Ops<V>, w: Width): { hi: V; lo: V } => ({
  hi: s.let(w === 8 ? readAh(s) : s.reg(w, 2)),
  lo: s.let(s.reg(w, 0)),
});

/** Quotient to rAX and remainder to rDX (AL and AH for bytes). Both are of width `w`. */
function setQuotient<V>(s: Ops<V>, w: Width, q: V, r: V): void {
  if (w === 8) s.setReg(16, 0, s.or(s.shl(r, s.k(8n)), q));
  else {
    s.setReg(w, 0, q);
    s.setReg(w, 2, r);
  }
}

/** The quotient fits exactly if the high half is below the divisor, which covers a divisor of 0. */
const div =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = widthOf(s, size);
    const { hi, lo } = dividend(s, w);
    const d = s.let(s.get(0));
    s.fault(s.eqz(s.ltu(hi, d)), 'de');
    if (w === 64) {
      const q = s.let(s.udiv128(hi, lo, d));
      setQuotient(s, w, q, s.let(s.sub(lo, s.mul(q, d))));
    } else {
      const n = s.let(s.or(s.shl(hi, num(s, w)), lo));
      const q = s.let(s.divu(n, d));
      setQuotient(s, w, q, s.let(s.sub(n, s.mul(q, d))));
    }
  };

/** Magnitudes of dividend and divisor divided as unsigned numbers. #DE when the quotient does not even fit so. */
function divideMagnitudes<V>(s: Ops<V>, w: Width, hi: V, lo: V, d: V): { q: V; r: V } {
  const minus = signOf(s, w, hi);
  if (w === 64) {
    const n0 = s.let(s.select(minus, negate(s, lo), lo));
    const n1 = s.let(s.select(minus, s.add(complement(s, hi), s.eqz(lo)), hi));
    s.fault(s.eqz(s.ltu(n1, d)), 'de');
    const q = s.let(s.udiv128(n1, n0, d));
    return { q, r: s.let(s.sub(n0, s.mul(q, d))) };
  }
  s.fault(s.eqz(d), 'de');
  const whole = s.let(s.or(s.shl(s.sext(w, hi), num(s, w)), lo));
  const n = s.let(s.select(minus, negate(s, whole), whole));
  const q = s.let(s.divu(n, d));
  return { q, r: s.let(s.sub(n, s.mul(q, d))) };
}

/** Rounds towards 0; the remainder has the dividend's sign. #DE when the quotient is not in -2^(w-1) ... 2^(w-1)-1. */
const idiv =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = widthOf(s, size);
    const { hi, lo } = dividend(s, w);
    const divisor = s.let(s.sext(w, s.get(0)));
    const minusN = s.let(signOf(s, w, hi));
    const minusD = s.let(signOf(s, 64, divisor));
    const d = s.let(s.select(minusD, negate(s, divisor), divisor));
    const { q, r } = divideMagnitudes(s, w, hi, lo, d);
    const minusQ = s.let(s.xor(minusN, minusD));
    s.fault(s.ltu(s.add(s.k((1n << BigInt(w - 1)) - 1n), minusQ), q), 'de');
    const quotient = s.let(s.zext(w, s.select(minusQ, negate(s, q), q)));
    const remainder = s.let(s.zext(w, s.select(minusN, negate(s, r), r)));
    setQuotient(s, w, quotient, remainder);
  };

const MUL = { undef: 'sf zf af pf' } as const;
const DIV = { undef: 'cf pf af zf sf of' } as const;

export const MULDIV_ROWS: readonly Row[] = [
  row('mul', 'Eb', 'F6 /4', mulAccumulator('b', false), MUL),
  row('mul', 'Ev', 'F7 /4', mulAccumulator('v', false), MUL),
  row('imul', 'Eb', 'F6 /5', mulAccumulator('b', true), MUL),
  row('imul', 'Ev', 'F7 /5', mulAccumulator('v', true), MUL),
  row('imul', '+Gv, Ev', '0F AF /r', mulRegister(0, 1), MUL),
  row('imul', '=Gv, Ev, Iz', '69 /r', mulRegister(1, 2), MUL),
  row('imul', '=Gv, Ev, Ibs', '6B /r', mulRegister(1, 2), MUL),
  row('div', 'Eb', 'F6 /6', div('b'), DIV),
  row('div', 'Ev', 'F7 /6', div('v'), DIV),
  row('idiv', 'Eb', 'F6 /7', idiv('b'), DIV),
  row('idiv', 'Ev', 'F7 /7', idiv('v'), DIV),
];
