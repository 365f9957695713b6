/** SSE and SSE2 conversions between floating-point formats and integers (SDM vol.1 5.5.1.6, 5.6.1.6). */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { computed } from './sse-arith.ts';
import { enterMmx, extended, low, setLow } from './sse-operands.ts';

const SSE: RowAttrs = { unit: 'sse', feature: 'sse' };
const SSE2: RowAttrs = { unit: 'sse', feature: 'sse2' };
const ALIGNED: RowAttrs = { ...SSE2, aligned: true };

/** Whether general-register operand `n` has 64 bits. */
const wide = <V>(s: Ops<V>, n: number): boolean => s.width(n) === 64;

/** A 64-bit source as the low half of a vector; the upper half of a register is cleared, so that it raises nothing. */
const lowHalf = <V>(s: Ops<V>, n: number): V => extended(s, 64, low(s, n, 64));

/** Operand `n` as binary64. A doubleword fits, so its conversion needs no helper. */
export function doubleFrom<V>(s: Ops<V>, n: number): V {
  if (wide(s, n)) return computed(s, 'sse_i64_to_sd', s.get(n));
  return s.lane(64, s.vec('f64x2.convert_low_i32x4_s', s.vec('i32x4.splat', s.get(n))), 0);
}
/** Operand `n` as binary32. */
export const singleFrom = <V>(s: Ops<V>, n: number): V =>
  computed(s, wide(s, n) ? 'sse_i64_to_ss' : 'sse_i32_to_ss', s.get(n));

/** CVTSI2SS, CVTSI2SD. */
const fromGeneral: readonly Row[] = [
  row('cvtsi2ss', '+Vdq,Ey', 'F3 0F 2A /r', (s) => setLow(s, 0, 32, singleFrom(s, 1)), SSE),
  row('cvtsi2sd', '+Vdq,Ey', 'F2 0F 2A /r', (s) => setLow(s, 0, 64, doubleFrom(s, 1)), SSE2),
];

/** CVT(T)SS2SI, CVT(T)SD2SI. */
export const integerFrom =
  (format: 'ss' | 'sd', truncate: bigint): Row['exec'] =>
  (s) => {
    const helper = `sse_${format}_to_${wide(s, 0) ? 'i64' : 'i32'}`;
    s.set(0, computed(s, helper, low(s, 1, format === 'ss' ? 32 : 64), s.k(truncate)));
  };
const toGeneral = (name: string, format: 'ss' | 'sd', truncate: bigint): Row =>
  row(
    name,
    `=Gy,${format === 'ss' ? 'Wd' : 'Wq'}`,
    `${format === 'ss' ? 'F3' : 'F2'} 0F ${truncate ? '2C' : '2D'} /r`,
    integerFrom(format, truncate),
    format === 'ss' ? SSE : SSE2,
  );

const formats: readonly Row[] = [
  row('cvtps2pd', '=Vdq,Wq', 'NP 0F 5A /r', (s) => s.set(0, computed(s, 'sse_ps_to_pd', lowHalf(s, 1))), SSE2),
  row('cvtpd2ps', '=Vdq,Wdq', '66 0F 5A /r', (s) => s.set(0, computed(s, 'sse_pd_to_ps', s.get(1))), ALIGNED),
  row('cvtss2sd', '+Vdq,Wd', 'F3 0F 5A /r', (s) => setLow(s, 0, 64, computed(s, 'sse_ss_to_sd', low(s, 1, 32))), SSE2),
  row('cvtsd2ss', '+Vdq,Wq', 'F2 0F 5A /r', (s) => setLow(s, 0, 32, computed(s, 'sse_sd_to_ss', low(s, 1, 64))), SSE2),
];

/** To and from packed doublewords in xmm registers. */
const doublewords: readonly Row[] = [
  row('cvtdq2ps', '=Vdq,Wdq', 'NP 0F 5B /r', (s) => s.set(0, computed(s, 'sse_dq_to_ps', s.get(1))), ALIGNED),
  row('cvtps2dq', '=Vdq,Wdq', '66 0F 5B /r', (s) => s.set(0, computed(s, 'sse_ps_to_dq', s.get(1), s.k(0n))), ALIGNED),
  row('cvttps2dq', '=Vdq,Wdq', 'F3 0F 5B /r', (s) => s.set(0, computed(s, 'sse_ps_to_dq', s.get(1), s.k(1n))), ALIGNED),
  row('cvtdq2pd', '=Vdq,Wq', 'F3 0F E6 /r', (s) => s.set(0, s.vec('f64x2.convert_low_i32x4_s', lowHalf(s, 1))), SSE2),
  row('cvtpd2dq', '=Vdq,Wdq', 'F2 0F E6 /r', (s) => s.set(0, computed(s, 'sse_pd_to_dq', s.get(1), s.k(0n))), ALIGNED),
  row('cvttpd2dq', '=Vdq,Wdq', '66 0F E6 /r', (s) => s.set(0, computed(s, 'sse_pd_to_dq', s.get(1), s.k(1n))), ALIGNED),
];

/** To mm registers: from two binary32 or two binary64 elements. */
const toMmx = (name: string, from: 'ps' | 'pd', truncate: bigint): Row =>
  row(
    name,
    `=Pq,${from === 'ps' ? 'Wq' : 'Wdq'}`,
    `${from === 'ps' ? 'NP' : '66'} 0F ${truncate ? '2C' : '2D'} /r`,
    (s) => {
      const v = from === 'ps' ? lowHalf(s, 1) : s.get(1);
      const r = s.let(s.lane(64, computed(s, `sse_${from}_to_dq`, v, s.k(truncate)), 0));
      enterMmx(s);
      s.set(0, r);
    },
    from === 'ps' ? { unit: 'mmx', feature: 'sse' } : { unit: 'mmx', feature: 'sse2', aligned: true },
  );

/**
 * From mm registers, or from memory: then the x87 is left alone. The manual says so of CVTPI2PD only, but CPUs do the
 * same for CVTPI2PS.
 */
const toSingles = <V>(s: Ops<V>): V => s.lane(64, computed(s, 'sse_dq_to_ps', extended(s, 64, s.get(1))), 0);
const toDoubles = <V>(s: Ops<V>): V => s.vec('f64x2.convert_low_i32x4_s', extended(s, 64, s.get(1)));
const fromMmx: readonly Row[] = [
  row(
    'cvtpi2ps',
    '+Vdq,Nq',
    'NP 0F 2A /r',
    (s) => {
      const r = s.let(toSingles(s));
      enterMmx(s);
      setLow(s, 0, 64, r);
    },
    { unit: 'mmx', feature: 'sse' },
  ),
  row('cvtpi2ps', '+Vdq,Mq', 'NP 0F 2A /r', (s) => setLow(s, 0, 64, toSingles(s)), SSE),
  row(
    'cvtpi2pd',
    '=Vdq,Nq',
    '66 0F 2A /r',
    (s) => {
      const r = s.let(toDoubles(s));
      enterMmx(s);
      s.set(0, r);
    },
    { unit: 'mmx', feature: 'sse2' },
  ),
  row('cvtpi2pd', '=Vdq,Mq', '66 0F 2A /r', (s) => s.set(0, toDoubles(s)), SSE2),
];

export const SSE_CONVERT: readonly Row[] = [
  ...fromGeneral,
  toGeneral('cvttss2si', 'ss', 1n),
  toGeneral('cvtss2si', 'ss', 0n),
  toGeneral('cvttsd2si', 'sd', 1n),
  toGeneral('cvtsd2si', 'sd', 0n),
  ...formats,
  ...doublewords,
  toMmx('cvttps2pi', 'ps', 1n),
  toMmx('cvtps2pi', 'ps', 0n),
  toMmx('cvttpd2pi', 'pd', 1n),
  toMmx('cvtpd2pi', 'pd', 0n),
  ...fromMmx,
];
