// Random instructions made from the rows' encodings: any prefix, any ModRM, operands of any value, kept where the
// decoder finds an instruction in them.
import type { Decoder } from '../../src/isa/decoder.ts';
import type { CodeMode } from '../../src/isa/insn.ts';
import type { Row } from '../../src/isa/row.ts';
import type { Random } from '../isa/random.ts';

/**
 * Results that are the host's own, or that depend on time; SYSRET and SYSEXIT, which hosts without nested
 * virtualization take for calls of their own.
 */
const UNREPEATABLE =
  /^(rdtscp?|rdpmc|rdrand|rdseed|rdpid|cpuid|xgetbv|xsetbv|monitor|mwait|vmcall|vmmcall|sysret.*|sysexit.*|rdmsr|wrmsr|hlt)$/;
/** Units that the kernel's own instruction emulator mostly lacks: drawn seldom. */
const SELDOM = 12;

const MAPS: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const MANDATORY: Readonly<Record<string, readonly number[]>> = { '66': [0x66], F3: [0xf3], F2: [0xf2] };
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const MAX = 15;

export interface CodeSource {
  /** Bytes of one instruction. */
  next(random: Random): Uint8Array;
  readonly rows: readonly Row[];
}

export function makeCodeSource(rows: readonly Row[], decoder: Decoder, mode: CodeMode, only?: string): CodeSource {
  const long = mode.code === 64;
  const usable = rows.filter(
    (r) =>
      !UNREPEATABLE.test(r.name) &&
      (only === undefined || new RegExp(only).test(r.name)) &&
      !(long ? r.no64 : r.only64) &&
      !('vex' in r.enc && r.enc.vex),
  );
  const plain = usable.filter((r) => r.unit === undefined);
  const units = usable.filter((r) => r.unit !== undefined);
  const draw = (random: Random): Row => {
    if (plain.length === 0 || (units.length > 0 && random.once(SELDOM))) return random.pick(units);
    return random.pick(plain);
  };
  const next = (random: Random): Uint8Array => {
    for (;;) {
      const bytes = drawBytes(draw(random), long, random);
      const insn = decoder.decode(bytes, 0, MAX, mode);
      if ('failure' in insn || UNREPEATABLE.test(insn.row.name)) continue;
      return bytes.subarray(0, insn.length);
    }
  };
  return { next, rows: usable };
}

function drawBytes(row: Row, long: boolean, random: Random): Uint8Array {
  const out: number[] = [];
  if (random.once(4)) out.push(0x66);
  if (random.once(12)) out.push(0x67);
  if (random.once(10)) out.push(random.pick(SEGMENT_PREFIXES));
  if (row.lock && random.once(6)) out.push(0xf0);
  if (row.rep && random.once(3)) out.push(random.pick([0xf2, 0xf3]));
  out.push(...(MANDATORY[row.enc.prefix] ?? []));
  if (long && random.once(2)) out.push(0x40 + random.below(16));
  out.push(...MAPS[row.enc.map]!, row.enc.opcode + (row.enc.plusR ? random.below(8) : 0));
  if (row.enc.modrm) out.push(drawModrm(row, random));
  const displacement = random.once(3) ? [random.below(256), random.below(16), 0, 0] : [];
  out.push(...displacement);
  while (out.length < MAX) out.push(random.once(6) ? 0xff : random.once(4) ? 0 : random.below(256));
  return Uint8Array.from(out.slice(0, MAX));
}

function drawModrm(row: Row, random: Random): number {
  if (row.enc.modrmByte !== undefined) return row.enc.modrmByte;
  const reg = row.enc.digit ?? random.below(8);
  const mod = random.once(3) ? 3 : random.once(2) ? 0 : random.pick([1, 1, 2]);
  return (mod << 6) | (reg << 3) | random.below(8);
}
