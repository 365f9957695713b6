/** The SHA extensions (SDM vol.1 5.22), which have no VEX forms. */
import type { Ops } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { legacyRow, type PackedForm } from './packed-forms.ts';

const form = (name: string, opcode: number, of: PackedForm['of'], imm = false): PackedForm => ({
  name,
  space: imm ? '0F3A' : '0F38',
  opcode,
  feature: 'sha',
  sources: 2,
  imm,
  of,
});

/** SHA1MSG1: each word with the one two behind it. */
function sha1Message<V>(s: Ops<V>, a: V, b: V): V {
  const x = s.let(a);
  return s.vec('v128.xor', x, s.shuffle(b, x, [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]));
}

export const SHA_ROWS: readonly Row[] = [
  ...[
    form('sha1nexte', 0xc8, (s, a, b) => s.call('sha1_next', a, b)),
    form('sha1msg1', 0xc9, (s, a, b) => sha1Message(s, a, b)),
    form('sha1msg2', 0xca, (s, a, b) => s.call('sha1_message', a, b)),
    form('sha256msg1', 0xcc, (s, a, b) => s.call('sha256_message1', a, b)),
    form('sha256msg2', 0xcd, (s, a, b) => s.call('sha256_message2', a, b)),
    form('sha1rnds4', 0xcc, (s, a, b, imm) => s.call('sha1_rounds', a, b, imm), true),
  ].map((f) => legacyRow(f)),
  // The words are in XMM0.
  row(
    'sha256rnds2',
    '+Vdq,Wdq',
    'NP 0F 38 CB /r',
    (s) => {
      const b = s.get(1);
      s.set(0, s.call('sha256_rounds', s.get(0), b, s.xmm(0)));
    },
    { unit: 'sse', feature: 'sha', aligned: true },
  ),
];
