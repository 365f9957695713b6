/** SSE4.2: string comparison and CRC32 (SDM vol.1 5.11). PCMPGTQ is with SSE4.1. */
import type { Ops } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { num } from './common.ts';
import { hex } from './packed-forms.ts';
import { maskOfBits } from './sse41-ops.ts';

/** Elements are words if bit 0 of the immediate is set, else bytes. */
const elementCount = <V>(s: Ops<V>, imm: V): V => s.shr(s.k(16n), s.and(imm, s.k(1n)));

/** Magnitude of the explicit length in rAX or rDX, at most the number of elements. */
function explicitLength<V>(s: Ops<V>, r: number, imm: V): V {
  const w = s.w === 64 ? 64 : 32;
  const n = s.let(s.sext(w, s.reg(w, r)));
  const magnitude = s.let(s.select(s.lts(n, s.k(0n)), s.sub(s.k(0n), n), n));
  const most = s.let(elementCount(s, imm));
  return s.select(s.ltu(magnitude, most), magnitude, most);
}

/** Length -1 stands for one that ends at a zero element. */
const IMPLICIT = 0xffff_ffffn;

/** Found elements (IntRes2) in bits 0-15, EFLAGS bits 0-11 in bits 16-27. */
function comparison<V>(s: Ops<V>, explicit: boolean): { found: V; flags: V; imm: V } {
  const imm = s.let(s.get(2));
  const b = s.get(1);
  const lengths = explicit ? [explicitLength(s, 0, imm), explicitLength(s, 2, imm)] : [s.k(IMPLICIT), s.k(IMPLICIT)];
  const r = s.let(s.call('sse_compare_strings', s.get(0), b, lengths[0]!, lengths[1]!, imm));
  return { found: s.let(s.zext(16, r)), flags: s.shr(r, s.k(16n)), imm };
}

/** PCMPESTRI, PCMPISTRI: the first or, with bit 6 of the immediate, the last element found, to ECX; none: their number. */
function index<V>(s: Ops<V>, explicit: boolean): void {
  const { found, flags, imm } = comparison(s, explicit);
  const chosen = s.select(s.and(imm, s.k(0x40n)), s.sub(s.k(63n), s.clz(found)), s.ctz(found));
  s.setReg(32, 1, s.select(found, chosen, elementCount(s, imm)));
  s.setArith(flags);
}

/** PCMPESTRM, PCMPISTRM: the elements found as bits or, with bit 6 of the immediate, as elements of ones, to XMM0. */
function foundMask<V>(s: Ops<V>, explicit: boolean): { v: V; flags: V } {
  const { found, flags, imm } = comparison(s, explicit);
  const bits = s.withLane(32, s.vk(0n), 0, found);
  const elements = s.select(s.and(imm, s.k(1n)), maskOfBits(s, 16, found), maskOfBits(s, 8, found));
  return { v: s.let(s.select(s.and(imm, s.k(0x40n)), elements, bits)), flags };
}

interface StringForm {
  readonly name: string;
  readonly opcode: number;
  /** `wide`: the VEX form, which clears the upper half of YMM0 (a mask) or changes no vector. */
  exec(wide: boolean): Row['exec'];
}

const mask =
  (explicit: boolean) =>
  (wide: boolean): Row['exec'] =>
  (s) => {
    const { v, flags } = foundMask(s, explicit);
    s.setXmm(0, v);
    if (wide) s.setHigh(0, s.vk(0n));
    s.setArith(flags);
  };
const toIndex = (explicit: boolean) => (): Row['exec'] => (s) => index(s, explicit);

export const STRING_FORMS: readonly StringForm[] = [
  { name: 'pcmpestrm', opcode: 0x60, exec: mask(true) },
  { name: 'pcmpestri', opcode: 0x61, exec: toIndex(true) },
  { name: 'pcmpistrm', opcode: 0x62, exec: mask(false) },
  { name: 'pcmpistri', opcode: 0x63, exec: toIndex(false) },
];

const crc32 =
  (bytes: (w: number) => number): Row['exec'] =>
  (s) =>
    s.set(0, s.call('sse_crc32', s.zext(32, s.get(0)), s.get(1), num(s, bytes(s.w))));

export const SSE42_ROWS: readonly Row[] = [
  // The memory operand may lie anywhere (SDM vol.2 4.1).
  ...STRING_FORMS.map(({ name, opcode, exec }) =>
    row(name, 'Vdq,Wdq,Ib', `66 0F 3A ${hex(opcode)} /r ib`, exec(false), { unit: 'sse', feature: 'sse4_2' }),
  ),
  row(
    'crc32',
    '+Gy,Eb',
    'F2 0F 38 F0 /r',
    crc32(() => 1),
    { feature: 'sse4_2' },
  ),
  row(
    'crc32',
    '+Gy,Ev',
    'F2 0F 38 F1 /r',
    crc32((w) => w / 8),
    { feature: 'sse4_2' },
  ),
];
