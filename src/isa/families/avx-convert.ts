/** VEX forms of conversions between formats, and F16C (SDM vol.1 14.1, 14.4). */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { scalarSource, setScalar } from './avx-float.ts';
import { AVX, halfOf, halvesOf, hex, setHalves, sized } from './packed-forms.ts';
import { computed, computedAll } from './sse-arith.ts';
import { doubleFrom, integerFrom, singleFrom } from './sse-convert.ts';
import { extended, low, pair } from './sse-operands.ts';

const LENGTHS = [128, 256] as const;
const F16C: RowAttrs = { unit: 'avx', feature: 'f16c' };

/** Between scalars: the other elements from VEX.vvvv. */
const scalars: readonly Row[] = [
  row('vcvtsi2ss', '=Vdq,Hdq,Ey', 'VEX.LIG.F3.0F 2A /r', (s) => setScalar(s, 'ss', singleFrom(s, 2)), AVX),
  row('vcvtsi2sd', '=Vdq,Hdq,Ey', 'VEX.LIG.F2.0F 2A /r', (s) => setScalar(s, 'sd', doubleFrom(s, 2)), AVX),
  row(
    'vcvtss2sd',
    '=Vdq,Hdq,Wd',
    'VEX.LIG.F3.0F.WIG 5A /r',
    (s) => setScalar(s, 'sd', computed(s, 'sse_ss_to_sd', low(s, 2, 32))),
    AVX,
  ),
  row(
    'vcvtsd2ss',
    '=Vdq,Hdq,Wq',
    'VEX.LIG.F2.0F.WIG 5A /r',
    (s) => setScalar(s, 'ss', computed(s, 'sse_sd_to_ss', low(s, 2, 64))),
    AVX,
  ),
  ...(['ss', 'sd'] as const).flatMap((f) =>
    [1n, 0n].map((truncate) => {
      const space = f === 'ss' ? 'F3.0F' : 'F2.0F';
      const name = `vcvt${truncate ? 't' : ''}${f}2si`;
      const enc = `VEX.LIG.${space} ${truncate ? '2C' : '2D'} /r`;
      return row(name, `=Gy,${scalarSource(f)}`, enc, integerFrom(f, truncate), AVX);
    }),
  ),
];

type Step = <V>(s: Ops<V>, v: V) => V;

/** Elements keep their width. `raises` tells whether the step may leave an exception. */
const sameWidth = (name: string, space: string, opcode: number, step: Step): Row[] =>
  LENGTHS.map((bits) => {
    const exec: Row['exec'] = (s) => {
      const calls = halvesOf(bits)
        .map((h) => halfOf(s, 1, h))
        .map((v) => () => step(s, v));
      setHalves(s, computedAll(s, calls));
    };
    return row(name, sized('=Vx,Wx', bits), `VEX.${bits}.${space}.WIG ${hex(opcode)} /r`, exec, AVX);
  });

/** Elements become twice as wide: `step` works on the low half of a vector. */
const widening = (name: string, enc: (bits: number) => string, step: Step, attrs: RowAttrs): Row[] => [
  row(
    name,
    '=Vdq,Wq',
    enc(128),
    (s) => {
      const v = s.let(extended(s, 64, low(s, 1, 64)));
      setHalves(s, computedAll(s, [() => step(s, v)]));
    },
    attrs,
  ),
  row(
    name,
    '=Vqq,Wdq',
    enc(256),
    (s) => {
      const v = s.let(s.get(1));
      const high = s.let(extended(s, 64, s.lane(64, v, 1)));
      setHalves(s, computedAll(s, [() => step(s, v), () => step(s, high)]));
    },
    attrs,
  ),
];

/** Elements become half as wide: `step` leaves them in the low half of a vector. */
const narrowing = (name: string, space: string, opcode: number, step: Step): Row[] =>
  LENGTHS.map((bits) => {
    const exec: Row['exec'] = (s) => {
      const calls = halvesOf(bits)
        .map((h) => halfOf(s, 1, h))
        .map((v) => () => step(s, v));
      const [first, second] = computedAll(s, calls);
      s.setWide(0, second === undefined ? first! : pair(s, s.lane(64, first!, 0), s.lane(64, second, 0)), s.vk(0n));
    };
    return row(name, `=Vdq,W${bits === 256 ? 'qq' : 'dq'}`, `VEX.${bits}.${space}.WIG ${hex(opcode)} /r`, exec, AVX);
  });

/** VCVTPS2PH: half as many bits as it reads, of each half of the source. The immediate chooses the rounding. */
function halfPrecision<V>(s: Ops<V>, bits: 128 | 256): V[] {
  const imm = s.let(s.get(2));
  const calls = halvesOf(bits)
    .map((h) => halfOf(s, 1, h))
    .map((v) => () => s.call('sse_ps_to_ph', v, imm));
  return computedAll(s, calls).map((v) => s.let(s.lane(64, v, 0)));
}

/** A store is looked at before the conversion, whose exceptions come after a page fault and without it leave nothing. */
const toHalfPrecision = LENGTHS.flatMap((bits): Row[] => {
  const enc = `VEX.${bits}.66.0F3A.W0 1D /r ib`;
  const toRegister: Row['exec'] = (s) => {
    const [first, second] = halfPrecision(s, bits);
    s.setWide(0, second === undefined ? extended(s, 64, first!) : pair(s, first!, second), s.vk(0n));
  };
  const toMemory: Row['exec'] = (s) => {
    const at = s.let(s.offset(0));
    s.probeStore(bits === 256 ? 128 : 64, 'insn', at);
    halfPrecision(s, bits).forEach((x, i) => {
      s.store(64, 'insn', i === 0 ? at : s.add(at, s.k(8n)), x);
    });
  };
  const source = bits === 256 ? 'Vqq' : 'Vdq';
  return [
    row('vcvtps2ph', `=Udq,${source},Ib`, enc, toRegister, F16C),
    row('vcvtps2ph', `=M${bits === 256 ? 'dq' : 'q'},${source},Ib`, enc, toMemory, F16C),
  ];
});

export const AVX_CONVERT: readonly Row[] = [
  ...scalars,
  ...sameWidth('vcvtdq2ps', '0F', 0x5b, (s, v) => s.call('sse_dq_to_ps', v)),
  ...sameWidth('vcvtps2dq', '66.0F', 0x5b, (s, v) => s.call('sse_ps_to_dq', v, s.k(0n))),
  ...sameWidth('vcvttps2dq', 'F3.0F', 0x5b, (s, v) => s.call('sse_ps_to_dq', v, s.k(1n))),
  ...widening(
    'vcvtps2pd',
    (n) => `VEX.${n}.0F.WIG 5A /r`,
    (s, v) => s.call('sse_ps_to_pd', v),
    AVX,
  ),
  ...widening(
    'vcvtdq2pd',
    (n) => `VEX.${n}.F3.0F.WIG E6 /r`,
    (s, v) => s.vec('f64x2.convert_low_i32x4_s', v),
    AVX,
  ),
  ...narrowing('vcvtpd2ps', '66.0F', 0x5a, (s, v) => s.call('sse_pd_to_ps', v)),
  ...narrowing('vcvtpd2dq', 'F2.0F', 0xe6, (s, v) => s.call('sse_pd_to_dq', v, s.k(0n))),
  ...narrowing('vcvttpd2dq', '66.0F', 0xe6, (s, v) => s.call('sse_pd_to_dq', v, s.k(1n))),
  ...widening(
    'vcvtph2ps',
    (n) => `VEX.${n}.66.0F38.W0 13 /r`,
    (s, v) => s.call('sse_ph_to_ps', v),
    F16C,
  ),
  ...toHalfPrecision,
];
