/** AES-NI and PCLMULQDQ with their VEX forms; those of 256 bits are VAES and VPCLMULQDQ (SDM vol.1 12.13, 14.3). */
import type { Ops } from '../ops.ts';
import type { Row } from '../row.ts';
import { legacyRow, type PackedForm, vexRow } from './packed-forms.ts';

/** One round: state and key. */
const round = (name: string, opcode: number, helper: string): PackedForm => ({
  name,
  space: '66.0F38',
  opcode,
  feature: 'aes',
  sources: 2,
  of: (s, a, b) => s.call(helper, a, b),
});
const ROUNDS: readonly PackedForm[] = [
  round('aesenc', 0xdc, 'aes_enc'),
  round('aesenclast', 0xdd, 'aes_enclast'),
  round('aesdec', 0xde, 'aes_dec'),
  round('aesdeclast', 0xdf, 'aes_declast'),
];

/** For round keys; there are no 256-bit forms. */
const KEYS: readonly PackedForm[] = [
  {
    name: 'aesimc',
    space: '66.0F38',
    opcode: 0xdb,
    feature: 'aes',
    sources: 1,
    of: (s, a) => s.call('aes_imc', a),
  },
  {
    name: 'aeskeygenassist',
    space: '66.0F3A',
    opcode: 0xdf,
    feature: 'aes',
    sources: 1,
    imm: true,
    of: (s, a, _b, imm) => s.call('aes_keygen', a, imm),
  },
];

/** Bit 0 of the immediate chooses the quadword of the first source, bit 4 that of the second. */
function multiply<V>(s: Ops<V>, a: V, b: V, imm: V): V {
  const chosen = (v: V, bit: bigint): V => {
    const x = s.let(v);
    return s.select(s.and(imm, s.k(bit)), s.lane(64, x, 1), s.lane(64, x, 0));
  };
  return s.call('clmul', chosen(a, 1n), chosen(b, 16n));
}
const PCLMULQDQ: PackedForm = {
  name: 'pclmulqdq',
  space: '66.0F3A',
  opcode: 0x44,
  feature: 'pclmulqdq',
  sources: 2,
  imm: true,
  of: multiply,
};

export const AES_ROWS: readonly Row[] = [
  ...[...ROUNDS, ...KEYS, PCLMULQDQ].flatMap((f) => [legacyRow(f), vexRow(f, 128, f.feature, '.WIG')]),
  ...ROUNDS.map((f) => vexRow(f, 256, 'vaes', '.WIG')),
  vexRow(PCLMULQDQ, 256, 'vpclmulqdq', '.WIG'),
];
