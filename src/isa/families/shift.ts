/** Shifts and rotates: ROL ROR RCL RCR SHL SHR SAR SHLD SHRD. */
import type { Ops, Width } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { bitOf, negate, num, signOf } from './common.ts';

/** Result, and the carry and overflow flags, which only count when the count is not 0. */
interface Shifted<V> {
  readonly r: V;
  readonly cf: () => V;
  readonly of: () => V;
}
/** `x` of width `w` moved by `n`, 0-31 (0-63 for 64 bits). */
type Shift = <V>(s: Ops<V>, w: Width, x: V, n: V) => Shifted<V>;

/**
 * OF is defined for a count of 1 only. For other counts it is here what the formula for 1 gives, as CPUs do.
 * `topChanged`: CF after differs from the new sign; `topTwoDiffer`: the two highest bits of the result differ.
 */
const topChanged = <V>(s: Ops<V>, w: Width, r: V, cf: V): V => s.xor(signOf(s, w, r), cf);
const topTwoDiffer = <V>(s: Ops<V>, w: Width, r: V): V => signOf(s, w, s.xor(r, s.shl(r, s.k(1n))));

/** Bit `n` of a value, with `n` known only when run. */
const bitAt = <V>(s: Ops<V>, v: V, n: V): V => s.and(s.shr(v, n), s.k(1n));
const less1 = <V>(s: Ops<V>, n: V): V => s.sub(n, s.k(1n));

const shl: Shift = (s, w, x, n) => {
  const wide = s.let(s.shl(x, n));
  const r = s.let(s.zext(w, wide));
  const cf = s.let(w === 64 ? bitAt(s, x, negate(s, n)) : bitOf(s, wide, w));
  return { r, cf: () => cf, of: () => topChanged(s, w, r, cf) };
};
const shr: Shift = (s, w, x, n) => {
  const r = s.let(s.shr(x, n));
  return { r, cf: () => bitAt(s, x, less1(s, n)), of: () => topTwoDiffer(s, w, r) };
};
const sar: Shift = (s, w, x, n) => {
  const wide = s.let(s.sext(w, x));
  const r = s.let(s.zext(w, s.sar(wide, n)));
  return { r, cf: () => s.and(s.sar(wide, less1(s, n)), s.k(1n)), of: () => s.k(0n) };
};

/** Rotates left by `n` modulo `w`: up to 32 bits in the middle of a doubled value. */
function rotateLeft<V>(s: Ops<V>, w: Width, x: V, n: V): V {
  if (w === 64) return s.rotl(x, n);
  const doubled = s.or(s.shl(x, num(s, w)), x);
  return s.zext(w, s.shr(s.shl(doubled, s.and(n, num(s, w - 1))), num(s, w)));
}
const rol: Shift = (s, w, x, n) => {
  const r = s.let(rotateLeft(s, w, x, n));
  const cf = s.let(s.and(r, s.k(1n)));
  return { r, cf: () => cf, of: () => topChanged(s, w, r, cf) };
};
const ror: Shift = (s, w, x, n) => {
  const r = s.let(rotateLeft(s, w, x, negate(s, n)));
  return { r, cf: () => signOf(s, w, r), of: () => topTwoDiffer(s, w, r) };
};

/** A rotate through carry turns w + 1 bits, CF on top; 8 and 16 bits turn by the count modulo 9 and 17. */
const throughCarryCount = <V>(s: Ops<V>, w: Width, n: V): V => (w <= 16 ? s.let(s.remu(n, num(s, w + 1))) : n);

/** 64 bits turned left through `carry` by `n` in 1-63: bits below `n` come from the carry and from the top. */
function rotate65<V>(s: Ops<V>, x: V, carry: V, n: V): { r: V; cf: V } {
  const back = s.let(s.sub(s.k(64n), n));
  const fromTop = s.shr(s.shr(x, s.k(1n)), back);
  const r = s.or(s.or(s.shl(x, n), s.shl(carry, less1(s, n))), fromTop);
  return { r, cf: bitAt(s, x, back) };
}

/** Turns `carry : x` left by `n`, 0 to `w`. */
function rotateCarryLeft<V>(s: Ops<V>, w: Width, x: V, n: V): { r: V; cf: V } {
  const carry = s.let(s.flag('cf'));
  if (w === 64) {
    const turned = rotate65(s, x, carry, n);
    return { r: s.let(s.select(n, turned.r, x)), cf: s.let(s.select(n, turned.cf, carry)) };
  }
  const whole = s.let(s.or(s.shl(carry, num(s, w)), x));
  const turned = s.let(s.or(s.shl(whole, n), s.shr(whole, s.sub(num(s, w + 1), n))));
  return { r: s.let(s.zext(w, turned)), cf: s.let(bitOf(s, turned, w)) };
}
const rcl: Shift = (s, w, x, n) => {
  const { r, cf } = rotateCarryLeft(s, w, x, throughCarryCount(s, w, n));
  return { r, cf: () => cf, of: () => topChanged(s, w, r, cf) };
};
/** Below 64 bits, turning w + 1 bits right by `m` is turning them left by w + 1 - m; `m` = 0 stays 0. */
const rcr: Shift = (s, w, x, n) => {
  const turn = (): { r: typeof x; cf: typeof x } => {
    if (w === 64) return rotateCarryRight64(s, x, n);
    const m = throughCarryCount(s, w, n);
    return rotateCarryLeft(s, w, x, s.let(s.select(m, s.sub(num(s, w + 1), m), s.k(0n))));
  };
  const { r, cf } = turn();
  return { r, cf: () => cf, of: () => topTwoDiffer(s, w, r) };
};

/** 64 bits right through carry by `n`, 0-63. */
function rotateCarryRight64<V>(s: Ops<V>, x: V, n: V): { r: V; cf: V } {
  const carry = s.let(s.flag('cf'));
  const back = s.let(s.sub(s.k(64n), n));
  const turned = s.or(s.or(s.shr(x, n), s.shl(carry, back)), s.shl(s.shl(x, s.k(1n)), back));
  return {
    r: s.let(s.select(n, turned, x)),
    cf: s.let(s.select(n, bitAt(s, x, less1(s, n)), carry)),
  };
}

/** The operations in the order of ModRM.reg; 6 is an alias of 4. `rotate`: only CF and OF change. */
const GROUP2: readonly { name: string; shift: Shift; rotate: boolean }[] = [
  { name: 'rol', shift: rol, rotate: true },
  { name: 'ror', shift: ror, rotate: true },
  { name: 'rcl', shift: rcl, rotate: true },
  { name: 'rcr', shift: rcr, rotate: true },
  { name: 'shl', shift: shl, rotate: false },
  { name: 'shr', shift: shr, rotate: false },
  { name: 'sal', shift: shl, rotate: false },
  { name: 'sar', shift: sar, rotate: false },
];

/** Sets the flags of a shift or rotate by a count that is not 0. */
function shiftFlags<V>(s: Ops<V>, w: Width, v: Shifted<V>, rotate: boolean): void {
  if (rotate) {
    s.setFlag('cf', v.cf);
    s.setFlag('of', v.of);
  } else s.flags('carry', w, { r: v.r, x: v.cf(), y: v.of() });
}

/** The count that the CPU uses: 5 bits, or 6 for 64-bit operands (SDM vol.2 SAL/SAR/SHL/SHR). */
const masked = <V>(s: Ops<V>, w: Width, n: V): V => s.let(s.and(n, s.k(w === 64 ? 63n : 31n)));

const byOne =
  (shift: Shift, rotate: boolean, size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = size === 'b' ? 8 : s.w;
    const v = shift(s, w, s.let(s.get(0)), s.k(1n));
    s.set(0, v.r);
    shiftFlags(s, w, v, rotate);
  };

/** With a count of 0 no flag changes, but the destination is written. */
const byCount =
  (shift: Shift, rotate: boolean, size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = size === 'b' ? 8 : s.w;
    const n = masked(s, w, s.get(1));
    const v = shift(s, w, s.let(s.get(0)), n);
    s.set(0, v.r);
    s.if(n, () => shiftFlags(s, w, v, rotate));
  };

function group2(digit: number): Row[] {
  const { name, shift, rotate } = GROUP2[digit]!;
  const one = rotate ? {} : { undef: 'af' };
  const many = { undef: rotate ? 'of' : 'af of' };
  return [
    row(name, '+Eb, 1', `D0 /${digit}`, byOne(shift, rotate, 'b'), one),
    row(name, '+Ev, 1', `D1 /${digit}`, byOne(shift, rotate, 'v'), one),
    row(name, '+Eb, CL', `D2 /${digit}`, byCount(shift, rotate, 'b'), many),
    row(name, '+Ev, CL', `D3 /${digit}`, byCount(shift, rotate, 'v'), many),
    row(name, '+Eb, Ib', `C0 /${digit}`, byCount(shift, rotate, 'b'), many),
    row(name, '+Ev, Ib', `C1 /${digit}`, byCount(shift, rotate, 'v'), many),
  ];
}

/** A double shift: `x` moved by `n`, the places that become free filled from `y`. */
type DoubleShift = <V>(s: Ops<V>, w: Width, x: V, y: V, n: V) => Shifted<V>;

/**
 * 16 bits may be moved by more than 16: undefined, and CPUs differ. Here the places behind those of `y` are filled
 * from `y` again and CF is 0, as AMD's CPUs do.
 */
const twice = <V>(s: Ops<V>, y: V): V => s.or(s.shl(y, s.k(16n)), y);

const shld: DoubleShift = (s, w, x, y, n) => {
  const result = (): typeof x => {
    if (w === 64) return s.or(s.shl(x, n), s.shr(s.shr(y, s.k(1n)), s.sub(s.k(63n), n)));
    const whole = s.or(s.shl(x, s.k(32n)), w === 16 ? twice(s, y) : y);
    return s.zext(w, s.shr(s.shl(whole, n), s.k(32n)));
  };
  const r = s.let(result());
  const cf = s.let(bitAt(s, x, s.sub(num(s, w), n)));
  return { r, cf: () => cf, of: () => topChanged(s, w, r, cf) };
};
const shrd: DoubleShift = (s, w, x, y, n) => {
  const result = (): typeof x => {
    if (w === 64) return s.or(s.shr(x, n), s.shl(s.shl(y, s.k(1n)), s.sub(s.k(63n), n)));
    return s.zext(w, s.shr(s.or(s.shl(w === 16 ? twice(s, y) : y, num(s, w)), x), n));
  };
  const r = s.let(result());
  return { r, cf: () => bitAt(s, x, less1(s, n)), of: () => topTwoDiffer(s, w, r) };
};

const double =
  (shift: DoubleShift): Row['exec'] =>
  (s) => {
    const n = masked(s, s.w, s.get(2));
    const v = shift(s, s.w, s.let(s.get(0)), s.let(s.get(1)), n);
    s.set(0, v.r);
    s.if(n, () => shiftFlags(s, s.w, v, false));
  };

const DOUBLE: readonly Row[] = [
  row('shld', '+Ev, Gv, Ib', '0F A4 /r', double(shld), { undef: 'af of' }),
  row('shld', '+Ev, Gv, CL', '0F A5 /r', double(shld), { undef: 'af of' }),
  row('shrd', '+Ev, Gv, Ib', '0F AC /r', double(shrd), { undef: 'af of' }),
  row('shrd', '+Ev, Gv, CL', '0F AD /r', double(shrd), { undef: 'af of' }),
];

export const SHIFT_ROWS: readonly Row[] = [...GROUP2.flatMap((_, i) => group2(i)), ...DOUBLE];
