/** Loads and stores of some elements: VMASKMOV, VPMASKMOV, and the gathers of AVX2 (SDM vol.2 VMASKMOV, VGATHER). */
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { behind, bitOf } from './common.ts';
import { AVX, AVX2, halfOf, halvesOf, hex, setHalves, sized } from './packed-forms.ts';

const LENGTHS = [128, 256] as const;
const shapeOf = (w: 32 | 64): string => `i${w}x${128 / w}`;

/** Bit i: the sign of element i of operand `n`. */
function signBits<V>(s: Ops<V>, n: number, bits: 128 | 256, w: 32 | 64): V {
  const parts = halvesOf(bits).map((h) => s.vec(`${shapeOf(w)}.bitmask`, halfOf(s, n, h)));
  return s.let(parts.length === 1 ? parts[0]! : s.or(parts[0]!, s.shl(parts[1]!, s.k(BigInt(128 / w)))));
}

/** Loads elements into scratch, as nothing may be written before the last of them: element i where bit i is set. */
function loadElements<V>(s: Ops<V>, count: number, w: 32 | 64, mask: V, offsetOf: (i: number) => V): V[] {
  return Array.from({ length: count }, (_, i) => {
    s.if(bitOf(s, mask, i), () => s.setField('scratch', s.load(w, 'insn', offsetOf(i)), i));
    return s.let(s.field('scratch', i));
  });
}

/** Halves of a vector from its elements. */
function joined<V>(s: Ops<V>, elements: readonly V[], bits: 128 | 256, w: 32 | 64): V[] {
  const each = 128 / w;
  return halvesOf(bits).map((h) => {
    let v = s.vk(0n);
    for (let i = 0; i < each && each * h + i < elements.length; i++) v = s.withLane(w, v, i, elements[each * h + i]!);
    return s.let(v);
  });
}

/** Elements whose mask is clear become 0 and are not accessed. */
const maskedLoad =
  (bits: 128 | 256, w: 32 | 64): Row['exec'] =>
  (s) => {
    const mask = signBits(s, 1, bits, w);
    const at = s.let(s.offset(2));
    const count = bits / w;
    const loaded = loadElements(s, count, w, mask, (i) => behind(s, at, (i * w) / 8));
    const kept = loaded.map((x, i) => s.select(bitOf(s, mask, i), x, s.k(0n)));
    setHalves(s, joined(s, kept, bits, w));
  };

/** All elements are checked before the first is stored. */
const maskedStore =
  (bits: 128 | 256, w: 32 | 64): Row['exec'] =>
  (s) => {
    const mask = signBits(s, 1, bits, w);
    const at = s.let(s.offset(0));
    const offsets = Array.from({ length: bits / w }, (_, i) => s.let(behind(s, at, (i * w) / 8)));
    const values = halvesOf(bits).map((h) => halfOf(s, 2, h));
    offsets.forEach((offset, i) => {
      s.if(bitOf(s, mask, i), () => s.probeStore(w, 'insn', offset));
    });
    offsets.forEach((offset, i) => {
      const each = 128 / w;
      const x = (): ReturnType<typeof s.lane> => s.lane(w, values[Math.floor(i / each)]!, i % each);
      s.if(bitOf(s, mask, i), () => s.store(w, 'insn', offset, x()));
    });
  };

const masked = (name: string, load: number, store: number, w: 32 | 64, vexW: string, attrs: RowAttrs): Row[] =>
  LENGTHS.flatMap((bits) => {
    // Exceptions of type 6: no #AC whatever the mask.
    const all: RowAttrs = { ...attrs, aligns: 'none' };
    return [
      row(name, sized('=Vx,Hx,Mx', bits), `VEX.${bits}.66.0F38.${vexW} ${hex(load)} /r`, maskedLoad(bits, w), all),
      row(name, sized('=Mx,Hx,Vx', bits), `VEX.${bits}.66.0F38.${vexW} ${hex(store)} /r`, maskedStore(bits, w), all),
    ];
  });

/**
 * Gathers: element i from base + index i << scale where the sign of mask element i is set, else kept; the mask becomes
 * zeros. As many elements as both vectors have. A fault leaves destination and mask as they were, where a CPU keeps
 * the elements it has finished; done anew, the instruction comes to the same.
 */
const gather =
  (index: 32 | 64, w: 32 | 64, bits: 128 | 256): Row['exec'] =>
  (s) => {
    const indexBits = index === 32 && w === 64 ? 128 : bits;
    const dataBits = index === 64 && w === 32 ? 128 : bits;
    const count = Math.min(indexBits / index, dataBits / w);
    const mask = signBits(s, 2, dataBits, w);
    const indices = halvesOf(indexBits).map((h) => halfOf(s, 3, h));
    const at = (i: number) => {
      const each = 128 / index;
      return s.offset(1, s.sext(index, s.lane(index, indices[Math.floor(i / each)]!, i % each)));
    };
    const loaded = loadElements(s, count, w, mask, at);
    const old = halvesOf(dataBits).map((h) => halfOf(s, 0, h));
    const each = 128 / w;
    const kept = loaded.map((x, i) => s.select(bitOf(s, mask, i), x, s.lane(w, old[Math.floor(i / each)]!, i % each)));
    // With two doublewords of data (four-byte elements, two indices) the upper half of the register becomes 0.
    setHalves(s, joined(s, kept, dataBits, w));
    s.setWide(2, s.vk(0n), s.vk(0n));
  };

const GATHERS = [
  ['vpgatherdd', 0x90, 32, 32],
  ['vpgatherdq', 0x90, 32, 64],
  ['vpgatherqd', 0x91, 64, 32],
  ['vpgatherqq', 0x91, 64, 64],
  ['vgatherdps', 0x92, 32, 32],
  ['vgatherdpd', 0x92, 32, 64],
  ['vgatherqps', 0x93, 64, 32],
  ['vgatherqpd', 0x93, 64, 64],
] as const;

const gathers = GATHERS.flatMap(([name, opcode, index, w]) =>
  LENGTHS.map((bits) => {
    const letters = (n: 128 | 256): string => (n === 256 ? 'qq' : 'dq');
    const data = letters(index === 64 && w === 32 ? 128 : bits);
    const indices = letters(index === 32 && w === 64 ? 128 : bits);
    const operands = `+V${data},M${w === 32 ? 'd' : 'q'},+H${data},K${indices}`;
    const enc = `VEX.${bits}.66.0F38.${w === 32 ? 'W0' : 'W1'} ${hex(opcode)} /r`;
    return row(name, operands, enc, gather(index, w, bits), { ...AVX2, aligns: 'none' });
  }),
);

export const AVX_MASKED: readonly Row[] = [
  ...masked('vmaskmovps', 0x2c, 0x2e, 32, 'W0', AVX),
  ...masked('vmaskmovpd', 0x2d, 0x2f, 64, 'W0', AVX),
  ...masked('vpmaskmovd', 0x8c, 0x8e, 32, 'W0', AVX2),
  ...masked('vpmaskmovq', 0x8c, 0x8e, 64, 'W1', AVX2),
  ...gathers,
];
