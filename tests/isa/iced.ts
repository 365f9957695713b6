// Compares the decoder and the disassembler with iced-x86, on random bytes around every row, in every mode.
import {
  DecoderOptions,
  EncodingKind,
  Formatter,
  FormatterSyntax,
  Decoder as Iced,
  Instruction,
  MemorySizeOptions,
  Mnemonic,
} from 'iced-x86';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { disassemble, mnemonic } from '../../src/isa/disasm.ts';
import type { CodeMode, Insn } from '../../src/isa/insn.ts';
import type { Row } from '../../src/isa/row.ts';
import { ROWS } from '../../src/isa/rows.ts';
import type { Random } from './random.ts';

const MODES: readonly CodeMode[] = [
  { code: 16, stack: 16 },
  { code: 32, stack: 32 },
  { code: 64, stack: 64 },
];
const RIP = 0x1000n;
export const decoder = makeDecoder(ROWS);

/** Names of our instructions, those on mm registers and strings apart: they share names with SSE. */
const OURS = new Set(
  ROWS.flatMap((r) =>
    r.name.split('/').map((name) =>
      variant(
        name,
        r.operands.some((op) => 'PQN'.includes(op.where)),
        r.rep,
      ),
    ),
  ),
);
function variant(name: string, mmx: boolean, string: unknown): string {
  return `${name}${mmx ? ' mm' : ''}${string ? ' string' : ''}`;
}
const icedVariant = ({ name, text }: Theirs): string =>
  variant(
    name,
    /\bmm[0-7]\b/.test(text),
    /\[[er]?[sd]i\], |, \w+ ptr (\w+:)?\[[er]?[sd]i\]$/.test(text) && name === 'movsd',
  );

const formatter = new Formatter(FormatterSyntax.Intel);
formatter.hexPrefix = '0x';
formatter.hexSuffix = '';
formatter.uppercaseHex = false;
formatter.smallHexNumbersInDecimal = false;
formatter.addLeadingZeroToHexNumbers = false;
formatter.spaceAfterOperandSeparator = true;
formatter.memorySizeOptions = MemorySizeOptions.Always;
formatter.showBranchSize = false;
formatter.branchLeadingZeros = false;
formatter.usePseudoOps = false;

interface Theirs {
  readonly length: number;
  readonly name: string;
  readonly text: string;
}
const instruction = new Instruction();
const OUR_ENCODINGS: ReadonlySet<EncodingKind> = new Set([EncodingKind.Legacy, EncodingKind.VEX]);
function theirs(bytes: Uint8Array, mode: CodeMode): Theirs | undefined {
  const iced = new Iced(mode.code, bytes, DecoderOptions.None);
  iced.ip = RIP;
  iced.decodeOut(instruction);
  iced.free();
  // EVEX and its like are no encodings of the CPUs here.
  if (instruction.isInvalid || !OUR_ENCODINGS.has(instruction.encoding)) return undefined;
  const name = Mnemonic[instruction.mnemonic]!.toLowerCase();
  return { length: instruction.length, name, text: formatter.format(instruction) };
}

const PREFIXES = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x48, 0x41, 0x44, 0x42];
const MANDATORY: Readonly<Record<string, number>> = { 66: 0x66, F3: 0xf3, F2: 0xf2 };
const ESCAPE = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

const VEX_PP: Readonly<Record<string, number>> = { 66: 1, F3: 2, F2: 3 };

/** A VEX prefix in two or three bytes that is likely the row's: its fields mostly, registers at random. */
function vexBytes(row: Row, random: Random): number[] {
  const { map, prefix, vex } = row.enc;
  const bit = (wanted: 0 | 1 | 'any' | 'size'): number =>
    typeof wanted === 'number' && !random.once(8) ? wanted : random.below(2);
  const pp = random.once(20) ? random.below(4) : (VEX_PP[prefix] ?? 0);
  const usesVvvv = row.operands.some((op) => op.where === 'H' || op.where === 'B');
  const vvvv = usesVvvv || random.once(8) ? random.below(16) : 15;
  const low = (vvvv << 3) | (bit(vex!.l) << 2) | pp;
  const w = bit(vex!.w);
  // R and X inverted must be set outside 64-bit mode, where they are mod of another instruction.
  const rx = random.once(2) ? 0xc0 : random.below(4) << 6;
  if (map === 1 && w === 0 && random.once(2)) return [0xc5, (rx & 0x80) | low];
  return [0xc4, rx | (random.below(2) << 5) | (random.once(30) ? random.below(32) : map), (w << 7) | low];
}

/** Bytes that are likely the row's: some prefixes, its opcode, a ModRM byte that fits, then anything. */
function bytesFor(row: Row, random: Random): Uint8Array {
  const { enc } = row;
  const head: number[] = [];
  while (random.once(enc.vex ? 8 : 3)) head.push(random.pick(PREFIXES));
  const mandatory = MANDATORY[enc.prefix];
  if (enc.vex) head.push(...vexBytes(row, random));
  else {
    if (mandatory !== undefined && !random.once(20)) head.push(mandatory);
    if (random.once(4)) head.push(0x40 | random.below(16));
    head.push(...ESCAPE[enc.map]!);
  }
  head.push(enc.opcode + (enc.plusR ? random.below(8) : 0));
  const modrm = random.below(256);
  if (enc.modrmByte !== undefined) head.push(enc.modrmByte);
  else if (enc.digit !== undefined) head.push((modrm & 0xc7) | (enc.digit << 3));
  const bytes = Uint8Array.from({ length: 24 }, () => (random.once(3) ? 0xff * random.below(2) : random.below(256)));
  bytes.set(head);
  return bytes;
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');

export interface Mismatch {
  readonly key: string;
  readonly text: string;
}

function compare(bytes: Uint8Array, mode: CodeMode): Mismatch | undefined {
  const ours = decoder.decode(bytes, 0, bytes.length, mode);
  const other = theirs(bytes, mode);
  const about = (n: number): string => `${mode.code}-bit ${hex(bytes.subarray(0, n))}`;
  if ('failure' in ours) {
    if (!other || !OURS.has(icedVariant(other))) return undefined;
    return { key: `refused ${other.name}`, text: `${about(other.length)}: ${ours.failure}, iced: ${other.text}` };
  }
  const name = mnemonic(ours);
  if (!other) {
    if (LENIENT.test(name)) return undefined;
    return { key: `accepted ${name}`, text: `${about(ours.length)}: ${disassemble(ours, RIP)}, iced: invalid` };
  }
  if (ours.length !== other.length) {
    return { key: `length ${name}`, text: `${about(15)}: ${ours.length}, iced ${other.length} ${other.text}` };
  }
  if (comparable(ours) && normalize(disassemble(ours, RIP)) !== normalize(other.text)) {
    return { key: `text ${name}`, text: `${about(ours.length)}: ${disassemble(ours, RIP)}, iced: ${other.text}` };
  }
  return undefined;
}

/** The manual's newer editions say NP for these; a prefix in front of them means nothing else. */
const LENIENT = /^(monitor|mwait|xgetbv|xsetbv)$/;
/** Prefixes that iced prints although they do nothing here. */
const IDLE_PREFIX =
  /^(bnd|xacquire|xrelease|hint-taken|hint-not-taken|notrack|data16|data32|data64|addr16|addr32|es|cs|ss|ds|fs|gs|repe?|repne) /;
/** Other names for the same: [iced's, ours]. */
const SYNONYMS: readonly (readonly [RegExp, string])[] = [
  [/^ret far/, 'retf'],
  [/^nop .*/, 'nop'],
  [/^(lock )?sal /, '$1shl '],
  [/^xchg (ax, ax|eax, eax|rax, rax)$/, 'nop'],
  [/^prefetch(w|wt1|_\w+) /, 'prefetch '],
  [/^(cldemote|prefetchit\d|rdssp[dq]) .*/, 'nop'],
  [/^xchg r8[wd]?, [re]?ax$/, 'pause'], // F3 41 90: CPUs exchange, iced pauses
  [/^movsxd (\w+), .*/, 'movsxd $1'],
  [/^vmgexit/, 'vmmcall'],
  [/^(v?pcmpestr[im])64/, '$1'],
  [/^wbnoinvd/, 'wbinvd'],
  [/^(call|jmp) far (0x\w+), (0x\w+)$/, '$1 far $3:$2'],
  [/^(v?maskmovdqu|maskmovq) (\w+, \w+).*/, '$1 $2'],
  [/^(push|pop)a$/, '$1aw'],
  [/^xlat .*/, 'xlatb'],
  [/^movq (r\w+, xmm|xmm\d+, r|.*(?<!xmm)word ptr.*)/, 'movd $1'],
  [
    /^((?:lock )?cmpxchg8b|(?:lock )?cmpxchg16b|fxsave|fxrstor|fxsave64|fxrstor64|xsave\w*|xrstor\w*|invpcid|fldenv|fnstenv|fnsave|frstor|lgdt|lidt|sgdt|sidt) \w+ ptr /,
    '$1 ',
  ],
];
/** Instructions whose operands are not written by iced as the rows have them: implied ones, and the width of LAR's. */
function comparable(insn: Insn): boolean {
  const { row } = insn;
  const implied = row.unit === 'x87' || row.unit === 'x87-nowait' || row.operands.some((op) => 'XY'.includes(op.where));
  return !implied && !/^(lar|lsl|invpcid|fxsave|fxrstor|xsave|xrstor)/.test(row.name);
}
/** What is compared of a text: without prefixes that do nothing and with one name where two are usual. */
function normalize(text: string): string {
  let rest = text.replace(/\bbound .*|^(xacquire|xrelease) /, (x) => (x.startsWith('bound') ? 'bound' : ''));
  for (let m = IDLE_PREFIX.exec(rest); m; m = IDLE_PREFIX.exec(rest)) rest = rest.slice(m[0].length);
  for (const [theirs, ours] of SYNONYMS) rest = rest.replace(theirs, ours);
  // A vector of indices without a base: iced writes the scale 1.
  rest = rest.replace(/\[([xy]mm\d+)\*1\b/, '[$1');
  return rest.startsWith('lea ') ? rest.replace(/[c-gs]s:/, '') : rest;
}

/** One comparison: of bytes of a row mostly, else of any bytes. */
export function compareOnce(random: Random): Mismatch | undefined {
  const bytes = random.once(10)
    ? Uint8Array.from({ length: 24 }, () => random.below(256))
    : bytesFor(random.pick(ROWS), random);
  return compare(bytes, random.pick(MODES));
}
