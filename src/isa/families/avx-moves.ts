/** VEX forms of moves, without arithmetic; VZEROUPPER and VZEROALL (SDM vol.1 14.1). */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { ldmxcsr } from './fpstate.ts';
import { AVX, AVX2, halfOf, halvesOf, hex, setHalves, sized } from './packed-forms.ts';
import { maskmovdqu } from './sse-moves.ts';
import { extended, low, pair } from './sse-operands.ts';

const LENGTHS = [128, 256] as const;
const ALIGNED: RowAttrs = { ...AVX, aligned: true };

/** Operand 1 to operand 0, whole; to an XMM register with zeros above it. */
const copy =
  (bits: 128 | 256): Row['exec'] =>
  (s) => {
    if (bits === 128 && s.isMem(0)) s.set(0, s.get(1));
    else
      setHalves(
        s,
        halvesOf(bits).map((h) => halfOf(s, 1, h)),
      );
  };

/** A load and a store of whole vectors: their opcodes. */
const whole = (name: string, space: string, load: number, store: number, attrs: RowAttrs): Row[] =>
  LENGTHS.flatMap((bits) => [
    row(name, sized('=Vx,Wx', bits), `VEX.${bits}.${space}.WIG ${hex(load)} /r`, copy(bits), attrs),
    row(name, sized('=Wx,Vx', bits), `VEX.${bits}.${space}.WIG ${hex(store)} /r`, copy(bits), attrs),
  ]);

/** A store with a non-temporal hint, which has no meaning here. */
const nonTemporal = (name: string, space: string, opcode: number): Row[] =>
  LENGTHS.map((bits) =>
    row(name, sized('=Mx,Vx', bits), `VEX.${bits}.${space}.WIG ${hex(opcode)} /r`, copy(bits), ALIGNED),
  );

/** Writes an XMM register, zeros above. */
const setXmm = <V>(s: Ops<V>, v: V): void => s.setWide(0, v, s.vk(0n));

const scalar = (name: string, size: 'd' | 'q', space: string): Row[] => {
  const w = size === 'd' ? 32 : 64;
  const merge: Row['exec'] = (s) => setXmm(s, s.withLane(w, s.get(1), 0, s.lane(w, s.get(2), 0)));
  const enc = (opcode: number): string => `VEX.LIG.${space}.WIG ${hex(opcode)} /r`;
  return [
    row(name, `=Vdq,M${size}`, enc(0x10), (s) => setXmm(s, extended(s, w, s.get(1))), AVX),
    row(name, '=Vdq,Hdq,Udq', enc(0x10), merge, AVX),
    row(name, `=M${size},Vdq`, enc(0x11), (s) => s.set(0, s.lane(w, s.get(1), 0)), AVX),
    row(name, '=Udq,Hdq,Vdq', enc(0x11), merge, AVX),
  ];
};

/** One half from memory, the other from VEX.vvvv; and the store of a half. */
const half = (name: string, lane: 0 | 1, space: string, opcode: number): Row[] => [
  row(
    name,
    '=Vdq,Hdq,Mq',
    `VEX.128.${space}.WIG ${hex(opcode)} /r`,
    (s) => {
      const x = s.get(2);
      setXmm(s, s.withLane(64, s.get(1), lane, x));
    },
    AVX,
  ),
  row(name, '=Mq,Vdq', `VEX.128.${space}.WIG ${hex(opcode + 1)} /r`, (s) => s.set(0, s.lane(64, s.get(1), lane)), AVX),
];

const halves: readonly Row[] = [
  ...half('vmovlps', 0, '0F', 0x12),
  ...half('vmovlpd', 0, '66.0F', 0x12),
  ...half('vmovhps', 1, '0F', 0x16),
  ...half('vmovhpd', 1, '66.0F', 0x16),
  row(
    'vmovhlps',
    '=Vdq,Hdq,Udq',
    'VEX.128.0F.WIG 12 /r',
    (s) => setXmm(s, s.withLane(64, s.get(1), 0, s.lane(64, s.get(2), 1))),
    AVX,
  ),
  row(
    'vmovlhps',
    '=Vdq,Hdq,Udq',
    'VEX.128.0F.WIG 16 /r',
    (s) => setXmm(s, s.withLane(64, s.get(1), 1, s.lane(64, s.get(2), 0))),
    AVX,
  ),
];

const signs = (name: string, space: string, shape: string, elements: number): Row[] =>
  LENGTHS.map((bits) =>
    row(
      name,
      sized('=Gd,Ux', bits),
      `VEX.${bits}.${space}.WIG 50 /r`,
      (s) => {
        const parts = halvesOf(bits).map((h) => s.vec(`${shape}.bitmask`, halfOf(s, 1, h)));
        s.set(0, parts.length === 1 ? parts[0]! : s.or(parts[0]!, s.shl(parts[1]!, s.k(BigInt(elements)))));
      },
      AVX,
    ),
  );

const general: readonly Row[] = [
  row('vmovd/vmovd/vmovq', '=Vdq,Ey', 'VEX.128.66.0F 6E /r', (s) => setXmm(s, extended(s, 64, s.get(1))), AVX),
  row(
    'vmovd/vmovd/vmovq',
    '=Ey,Vdq',
    'VEX.128.66.0F 7E /r',
    (s) => s.set(0, s.lane(s.width(0) === 64 ? 64 : 32, s.get(1), 0)),
    AVX,
  ),
  row('vmovq', '=Vdq,Wq', 'VEX.128.F3.0F.WIG 7E /r', (s) => setXmm(s, extended(s, 64, low(s, 1, 64))), AVX),
  row('vmovq', '=Mq,Vdq', 'VEX.128.66.0F.WIG D6 /r', (s) => s.set(0, s.lane(64, s.get(1), 0)), AVX),
  row('vmovq', '=Udq,Vdq', 'VEX.128.66.0F.WIG D6 /r', (s) => setXmm(s, extended(s, 64, s.lane(64, s.get(1), 0))), AVX),
  ...signs('vmovmskps', '0F', 'i32x4', 4),
  ...signs('vmovmskpd', '66.0F', 'i64x2', 2),
  row('vmaskmovdqu', 'Vdq,Udq', 'VEX.128.66.0F.WIG F7 /r', maskmovdqu, { ...AVX, asize: true }),
  row('vldmxcsr', 'Md', 'VEX.LZ.0F.WIG AE /2', ldmxcsr, AVX),
  row('vstmxcsr', '=Md', 'VEX.LZ.0F.WIG AE /3', (s) => s.set(0, s.field('mxcsr')), AVX),
];

const others: readonly Row[] = [
  row(
    'vmovddup',
    '=Vdq,Wq',
    'VEX.128.F2.0F.WIG 12 /r',
    (s) => {
      const x = s.let(low(s, 1, 64));
      setXmm(s, pair(s, x, x));
    },
    AVX,
  ),
  row(
    'vmovddup',
    '=Vqq,Wqq',
    'VEX.256.F2.0F.WIG 12 /r',
    (s) =>
      setHalves(
        s,
        ([0, 1] as const).map((h) => s.vec('i64x2.splat', s.lane(64, halfOf(s, 1, h), 0))),
      ),
    AVX,
  ),
  ...LENGTHS.flatMap((bits) => [
    row('vlddqu', sized('=Vx,Mx', bits), `VEX.${bits}.F2.0F.WIG F0 /r`, copy(bits), AVX),
    row('vmovntdqa', sized('=Vx,Mx', bits), `VEX.${bits}.66.0F38.WIG 2A /r`, copy(bits), {
      ...(bits === 256 ? AVX2 : AVX),
      aligned: true,
    }),
  ]),
];

/** Sixteen registers in 64-bit mode, else eight: low halves kept or cleared, upper halves cleared. */
const zero =
  (all: boolean): Row['exec'] =>
  (s) => {
    const count = s.long ? 16 : 8;
    for (let r = 0; r < count; r++) {
      if (all) s.setXmm(r, s.vk(0n));
      s.setHigh(r, s.vk(0n));
    }
  };

export const AVX_MOVES: readonly Row[] = [
  ...whole('vmovups', '0F', 0x10, 0x11, AVX),
  ...whole('vmovupd', '66.0F', 0x10, 0x11, AVX),
  ...whole('vmovaps', '0F', 0x28, 0x29, ALIGNED),
  ...whole('vmovapd', '66.0F', 0x28, 0x29, ALIGNED),
  ...whole('vmovdqa', '66.0F', 0x6f, 0x7f, ALIGNED),
  ...whole('vmovdqu', 'F3.0F', 0x6f, 0x7f, AVX),
  ...nonTemporal('vmovntps', '0F', 0x2b),
  ...nonTemporal('vmovntpd', '66.0F', 0x2b),
  ...nonTemporal('vmovntdq', '66.0F', 0xe7),
  ...scalar('vmovss', 'd', 'F3.0F'),
  ...scalar('vmovsd', 'q', 'F2.0F'),
  ...halves,
  ...general,
  ...others,
  row('vzeroupper', '', 'VEX.128.0F.WIG 77', zero(false), AVX),
  row('vzeroall', '', 'VEX.256.0F.WIG 77', zero(true), AVX),
];
