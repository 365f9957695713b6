/** SSE2 instructions on packed integers in xmm registers (SDM vol.1 5.6.3): the 66 0F forms of the MMX opcodes. */
import { type Row, type RowAttrs, row } from '../row.ts';
import {
  BYTE_SHIFTS,
  PACKED,
  type PackedOp,
  SHIFTS,
  type ShiftOp,
  shuffleDwords,
  shuffleWords,
  withWordAt,
  wordAt,
} from './sse-integer-ops.ts';

const SSE2: RowAttrs = { unit: 'sse', feature: 'sse2' };
const ALIGNED: RowAttrs = { ...SSE2, aligned: true };
const hex = (n: number): string => n.toString(16).toUpperCase().padStart(2, '0');

/** Opcodes behind 0F of the two-operand operations; `mmx` is the feature that brought the mm form, none if there is none. */
export const PACKED_OPCODES: readonly (readonly [keyof typeof PACKED, number, string | undefined])[] = [
  ['punpcklbw', 0x60, 'mmx'],
  ['punpcklwd', 0x61, 'mmx'],
  ['punpckldq', 0x62, 'mmx'],
  ['packsswb', 0x63, 'mmx'],
  ['pcmpgtb', 0x64, 'mmx'],
  ['pcmpgtw', 0x65, 'mmx'],
  ['pcmpgtd', 0x66, 'mmx'],
  ['packuswb', 0x67, 'mmx'],
  ['punpckhbw', 0x68, 'mmx'],
  ['punpckhwd', 0x69, 'mmx'],
  ['punpckhdq', 0x6a, 'mmx'],
  ['packssdw', 0x6b, 'mmx'],
  ['punpcklqdq', 0x6c, undefined],
  ['punpckhqdq', 0x6d, undefined],
  ['pcmpeqb', 0x74, 'mmx'],
  ['pcmpeqw', 0x75, 'mmx'],
  ['pcmpeqd', 0x76, 'mmx'],
  ['paddq', 0xd4, 'sse2'],
  ['pmullw', 0xd5, 'mmx'],
  ['psubusb', 0xd8, 'mmx'],
  ['psubusw', 0xd9, 'mmx'],
  ['pminub', 0xda, 'sse'],
  ['pand', 0xdb, 'mmx'],
  ['paddusb', 0xdc, 'mmx'],
  ['paddusw', 0xdd, 'mmx'],
  ['pmaxub', 0xde, 'sse'],
  ['pandn', 0xdf, 'mmx'],
  ['pavgb', 0xe0, 'sse'],
  ['pavgw', 0xe3, 'sse'],
  ['pmulhuw', 0xe4, 'sse'],
  ['pmulhw', 0xe5, 'mmx'],
  ['psubsb', 0xe8, 'mmx'],
  ['psubsw', 0xe9, 'mmx'],
  ['pminsw', 0xea, 'sse'],
  ['por', 0xeb, 'mmx'],
  ['paddsb', 0xec, 'mmx'],
  ['paddsw', 0xed, 'mmx'],
  ['pmaxsw', 0xee, 'sse'],
  ['pxor', 0xef, 'mmx'],
  ['pmuludq', 0xf4, 'sse2'],
  ['pmaddwd', 0xf5, 'mmx'],
  ['psadbw', 0xf6, 'sse'],
  ['psubb', 0xf8, 'mmx'],
  ['psubw', 0xf9, 'mmx'],
  ['psubd', 0xfa, 'mmx'],
  ['psubq', 0xfb, 'sse2'],
  ['paddb', 0xfc, 'mmx'],
  ['paddw', 0xfd, 'mmx'],
  ['paddd', 0xfe, 'mmx'],
];

/** Shifts: opcode with the count in a register or memory, then opcode and ModRM.reg with an immediate count. */
export const SHIFT_OPCODES: readonly (readonly [keyof typeof SHIFTS, number, number, number])[] = [
  ['psrlw', 0xd1, 0x71, 2],
  ['psrld', 0xd2, 0x72, 2],
  ['psrlq', 0xd3, 0x73, 2],
  ['psraw', 0xe1, 0x71, 4],
  ['psrad', 0xe2, 0x72, 4],
  ['psllw', 0xf1, 0x71, 6],
  ['pslld', 0xf2, 0x72, 6],
  ['psllq', 0xf3, 0x73, 6],
];

const packed = PACKED_OPCODES.map(([name, opcode]): Row => {
  const f: PackedOp = PACKED[name];
  return row(name, '+Vdq,Wdq', `66 0F ${hex(opcode)} /r`, (s) => s.set(0, f.of(s, s.get(0), s.get(1))), ALIGNED);
});

const shifts = SHIFT_OPCODES.flatMap(([name, opcode, group, digit]): Row[] => {
  const f: ShiftOp = SHIFTS[name];
  // A count in memory is a 128-bit access of which the low half counts.
  return [
    row(
      name,
      '+Vdq,Wdq',
      `66 0F ${hex(opcode)} /r`,
      (s) => s.set(0, f.of(s, s.get(0), s.lane(64, s.get(1), 0))),
      ALIGNED,
    ),
    row(name, '+Udq,Ib', `66 0F ${hex(group)} /${digit} ib`, (s) => s.set(0, f.of(s, s.get(0), s.get(1))), SSE2),
  ];
});

const byteShift = (name: keyof typeof BYTE_SHIFTS, digit: number): Row => {
  const f: ShiftOp = BYTE_SHIFTS[name];
  return row(name, '+Udq,Ib', `66 0F 73 /${digit} ib`, (s) => s.set(0, f.of(s, s.get(0), s.get(1))), SSE2);
};

export const SSE2_INTEGER: readonly Row[] = [
  ...packed,
  ...shifts,
  byteShift('psrldq', 3),
  byteShift('pslldq', 7),
  row('pshufd', '=Vdq,Wdq,Ib', '66 0F 70 /r ib', (s) => s.set(0, shuffleDwords(s, s.get(1), s.get(2))), ALIGNED),
  row('pshuflw', '=Vdq,Wdq,Ib', 'F2 0F 70 /r ib', (s) => s.set(0, shuffleWords(s, s.get(1), s.get(2), 0)), ALIGNED),
  row('pshufhw', '=Vdq,Wdq,Ib', 'F3 0F 70 /r ib', (s) => s.set(0, shuffleWords(s, s.get(1), s.get(2), 1)), ALIGNED),
  row('pextrw', '=Gd,Udq,Ib', '66 0F C5 /r ib', (s) => s.set(0, wordAt(s, s.get(1), s.get(2))), SSE2),
  // The word comes from the low half of a general register, or from two bytes of memory.
  row('pinsrw', '+Vdq,Rd,Ib', '66 0F C4 /r ib', (s) => s.set(0, withWordAt(s, s.get(0), s.get(2), s.get(1))), SSE2),
  row('pinsrw', '+Vdq,Mw,Ib', '66 0F C4 /r ib', (s) => s.set(0, withWordAt(s, s.get(0), s.get(2), s.get(1))), SSE2),
];
