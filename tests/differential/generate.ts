// Makes differential cases from the rows: every row that a user program may execute, all operand sizes, registers and
// memory, a few encodings, awkward values. The same seed gives the same cases.
import { type Decoder, makeDecoder } from '../../src/isa/decoder.ts';
import { effectsOf } from '../../src/isa/effects.ts';
import { encode } from '../../src/isa/encoder.ts';
import type { CodeMode, Insn, MemRef, OperandValue } from '../../src/isa/insn.ts';
import { SEG } from '../../src/isa/layout.ts';
import type { Width } from '../../src/isa/ops.ts';
import { type Operand, type Row, sizeBits } from '../../src/isa/row.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { Random } from '../isa/random.ts';
import { Batch, CODE } from './case.ts';
import { drawTarget, drawValues } from './draw.ts';
import { awkward } from './values.ts';

/**
 * Rows of the system that a user program can execute all the same. Some give what is the machine's or the moment's
 * (`MACHINE_OWN` in known.ts).
 */
const SYSTEM_FOR_USERS = /^(rdtscp?|rdpid|cpuid|xgetbv|rdrand|rdseed|lar|lsl|ver[rw]|rd[fg]sbase|wr[fg]sbase)$/;
/** Linux lets a program write descriptors into its LDT only, and not where it is built without. */
const NEEDS_LDT = /^(lar|lsl|ver[rw])$/;

export interface Generator {
  /** Rows from which cases are made. */
  readonly rows: readonly Row[];
  /** An instruction of a row, or undefined when the shape drawn has no encoding. */
  make(row: Row, random: Random): Template | undefined;
}

/** An instruction for which many states can be drawn. */
interface Template {
  readonly insn: Insn;
  readonly code: Uint8Array;
}

/** What is decided about a case before values are drawn. */
interface Plan {
  readonly row: Row;
  readonly mode: CodeMode;
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly operands: OperandValue[];
  mem: MemRef | undefined;
}

const widthOf = (op: Operand, w: Width, long: boolean): number =>
  sizeBits(op.size, op.size === 'z' && op.where !== 'I' ? (Math.min(w, 32) as Width) : w, long);

const general = (n: number, width: number, high = false): OperandValue => ({
  kind: 'reg',
  cls: 'gpr',
  n,
  width: width as Width,
  high,
});

function drawGeneral(width: number, long: boolean, random: Random): OperandValue {
  if (width === 8 && random.once(4)) return general(random.below(4), 8, true);
  const n = random.below(long ? 16 : 8);
  return general(width === 8 && !long ? n & 3 : n, width);
}

function drawImmediate(op: Operand, w: Width, random: Random): OperandValue {
  const value = random.once(3) ? BigInt(random.below(80)) : awkward(random);
  return { kind: 'imm', value, width: (op.size === 'b' ? 8 : op.size === 'w' ? 16 : w) as Width };
}

/** Distances that stay in the int3 around the instruction. */
function drawDistance(op: Operand, random: Random): OperandValue {
  const value = op.size === 'b' ? 0x20 + random.below(0x50) : 0x20 + random.below(0x700);
  return { kind: 'rel', value: random.once(2) ? value : -value };
}

type RegClassName = 'xmm' | 'mm' | 'st';
const vector = (cls: RegClassName, n: number): OperandValue => ({
  kind: 'reg',
  cls,
  n,
  width: cls === 'xmm' ? 128 : cls === 'mm' ? 64 : 80,
  high: false,
});

function drawOperand(op: Operand, plan: Plan, toMemory: boolean, random: Random): OperandValue | undefined {
  const long = plan.mode.code === 64;
  const xmms = long ? 16 : 8;
  const width = widthOf(op, plan.w, long);
  switch (op.where) {
    case 'E':
    case 'M':
    case 'W':
    case 'Q':
      if (toMemory || op.where === 'M') return { kind: 'mem', width: width as Width };
      if (op.where === 'E') return drawGeneral(width, long, random);
      return op.where === 'W' ? vector('xmm', random.below(xmms)) : vector('mm', random.below(8));
    case 'G':
    case 'R':
    case 'Z':
    case 'B':
      return drawGeneral(width, long, random);
    case 'V':
    case 'U':
    case 'H':
    case 'L':
    case 'K':
      return vector('xmm', random.below(xmms));
    case 'P':
    case 'N':
      return vector('mm', random.below(8));
    case 'T':
      return vector('st', random.below(8));
    case 'S':
      return {
        kind: 'reg',
        cls: 'seg',
        n: random.pick([SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]),
        width: 16,
        high: false,
      };
    case 'C':
      return { kind: 'reg', cls: 'cr', n: random.pick(long ? [0, 2, 3, 4, 8] : [0, 2, 3, 4]), width: 64, high: false };
    case 'D':
      return { kind: 'reg', cls: 'dr', n: random.below(8), width: 64, high: false };
    case 'A':
      return { kind: 'far', selector: random.below(0x10000), offset: BigInt(random.below(0x10000)) };
    case 'I':
      return drawImmediate(op, plan.w, random);
    case 'J':
      return drawDistance(op, random);
    case 'O':
    case 'X':
    case 'Y':
      return { kind: 'mem', width: width as Width };
    case 'fixed':
      return general(op.fixed ?? 0, width === 0 ? 8 : width);
    default:
      return undefined;
  }
}

function drawMem(plan: Plan, random: Random): MemRef {
  const long = plan.mode.code === 64;
  const none = { base: undefined, index: undefined, scale: 0, ripRelative: false, seg: SEG.ds };
  const disp = random.once(3) ? 0n : random.once(2) ? BigInt(random.below(256) - 128) : BigInt(random.u32() >> 8);
  if (plan.row.operands.some((op) => op.where === 'O') || random.once(12)) {
    return { ...none, disp: drawTarget(false, random) };
  }
  // A gather has a SIB byte, whose index is a vector.
  if (plan.row.operands.some((op) => op.where === 'K')) {
    const base = random.below(long ? 16 : 8);
    const seg = base === 4 || base === 5 ? SEG.ss : SEG.ds;
    return { ...none, base, scale: random.below(4), disp, seg };
  }
  if (long && random.once(10)) return { ...none, disp: 0n, ripRelative: true };
  if (plan.asize === 16) return { ...none, base: random.pick([3, 6, 7]), index: undefined, disp: disp & 0x7fn };
  const base = random.below(long ? 16 : 8);
  let index: number | undefined = random.once(2) ? random.below(long ? 16 : 8) : undefined;
  if (index === 4 || index === base) index = undefined;
  const usual = base === 4 || base === 5 ? SEG.ss : SEG.ds;
  const seg = long && random.once(12) ? random.pick([SEG.fs, SEG.gs]) : usual;
  return { base, index, scale: index === undefined ? 0 : random.below(4), disp, ripRelative: false, seg };
}

/** Whether a row has an operand that can be in memory, and whether it must be. */
const memoryOperand = (row: Row): 'never' | 'maybe' | 'always' => {
  if (row.operands.some((op) => op.where === 'M' || op.where === 'O')) return 'always';
  return row.operands.some((op) => 'EWQ'.includes(op.where)) ? 'maybe' : 'never';
};

/** Destination, mask and index of a gather must be three registers, and 16-bit addresses have no index. */
function makeGather(plan: Plan, random: Random): boolean {
  const count = plan.mode.code === 64 ? 16 : 8;
  const first = random.below(count);
  const step = 1 + random.below(3);
  [0, 2, 3].forEach((n, i) => {
    plan.operands[n] = vector('xmm', (first + i * step) % count);
  });
  return plan.asize !== 16;
}

function drawPlan(row: Row, mode: CodeMode, random: Random): Plan | undefined {
  const long = mode.code === 64;
  const widths: readonly Width[] = long ? [16, 32, 64] : [16, 32];
  const toMemory = memoryOperand(row) === 'always' || (memoryOperand(row) === 'maybe' && random.once(2));
  const other = mode.code === 32 ? 16 : 32;
  const asize = random.once(8) && (other === 32 || !toMemory) ? other : mode.code;
  const plan: Plan = { row, mode, w: random.pick(widths), asize, operands: [], mem: undefined };
  for (const op of row.operands) {
    const value = drawOperand(op, plan, toMemory, random);
    if (!value) return undefined;
    plan.operands.push(value);
  }
  if (row.operands.some((op) => op.where === 'K') && !makeGather(plan, random)) return undefined;
  if (toMemory) plan.mem = drawMem(plan, random);
  return plan;
}

function assemble(plan: Plan, random: Random): Uint8Array | undefined {
  const { row } = plan;
  const lock = row.lock === true && plan.operands[0]?.kind === 'mem' && random.once(6);
  const rep =
    row.rep === undefined ? 'none' : random.pick(['none', 'rep', row.rep === 'zf' ? 'repne' : 'rep'] as const);
  const shape = { ...plan, lock, rep, rex: random.once(8) && plan.mode.code === 64 };
  const bytes = encode(row, shape);
  if (!bytes || !plan.mem?.ripRelative) return bytes;
  const disp = drawTarget(false, random) - (CODE + BigInt(bytes.length));
  return encode(row, { ...shape, mem: { ...plan.mem, disp } });
}

/** Bytes of a row in a shape drawn at random, in any mode; undefined when that shape has no encoding. */
export function drawBytes(row: Row, mode: CodeMode, random: Random): Uint8Array | undefined {
  const plan = drawPlan(row, mode, random);
  return plan && assemble(plan, random);
}

const isUserRow = (row: Row): boolean => row.user !== false || SYSTEM_FOR_USERS.test(row.name);
/** Whether a host with these features can be asked about a row. */
export const isThere = (row: Row, features: ReadonlySet<string>): boolean =>
  (row.feature === undefined || features.has(row.feature)) && (!NEEDS_LDT.test(row.name) || features.has('ldt'));

/** An instruction of a row, in 32- or 64-bit mode; undefined when none is found. */
function sample(row: Row): Insn | undefined {
  const random = new Random(1);
  for (let i = 0; i < 64; i++) {
    const mode: CodeMode = i & 1 ? { code: 64, stack: 64 } : { code: 32, stack: 32 };
    const bytes = drawBytes(row, mode, random);
    const insn = bytes && everyRow().decode(bytes, 0, bytes.length, mode);
    if (insn && !('failure' in insn) && insn.row === row) return insn;
  }
  return undefined;
}
/** Helpers that a row calls. */
export function helpersOf(row: Row): readonly string[] {
  const insn = sample(row);
  return insn ? effectsOf(insn).helpers : [];
}
/** Why the host CPU cannot be asked about a row, or undefined when it can. */
export function notForHost(row: Row): string | undefined {
  if (isUserRow(row)) return undefined;
  return 'privileged, input and output, a control transfer out of the program, or no instruction at all';
}
let decoderOfAll: Decoder | undefined;
const everyRow = (): Decoder => {
  decoderOfAll ??= makeDecoder(ROWS);
  return decoderOfAll;
};

/** A generator for user programs of a code size, over the rows whose features are in `features`. */
export function makeGenerator(all: readonly Row[], code: 16 | 32 | 64, features: ReadonlySet<string>): Generator {
  const mode: CodeMode = { code, stack: code };
  const there = all.filter((r) => isThere(r, features));
  const decoder = makeDecoder(there);
  const make = (row: Row, random: Random): Template | undefined => {
    const bytes = drawBytes(row, mode, random);
    if (!bytes) return undefined;
    const insn = decoder.decode(bytes, 0, bytes.length, mode);
    if ('failure' in insn || insn.length !== bytes.length) {
      const text = Buffer.from(bytes).toString('hex');
      throw new Error(`${row.name} ${row.enc.text}: ${text} does not decode to what was encoded`);
    }
    if (!isUserRow(insn.row)) return undefined;
    // Without RDFSBASE and its kin the harness cannot set the bases.
    if ((insn.mem?.seg ?? 0) >= SEG.fs && !features.has('fsgsbase')) return undefined;
    return { insn, code: bytes };
  };
  const wanted = there.filter((r) => (code === 64 ? !r.no64 : !r.only64) && isUserRow(r));
  return { rows: wanted, make };
}

/** Tries per row and batch, for rows that have few encodings. */
const TRIES = 4;

/**
 * `count` cases: `values` different states for each instruction drawn, row after row from `first`, so that each row
 * has its share. Engines decode an instruction once for a run of states.
 */
export function makeBatch(generator: Generator, count: number, values: number, random: Random, first: number): Batch {
  const batch = new Batch(count);
  const { rows } = generator;
  let made = 0;
  for (let i = 0; made < count; i++) {
    if (i > count * TRIES + rows.length) throw new Error('the rows give no cases');
    const template = generator.make(rows[(first + i) % rows.length]!, random);
    if (!template) continue;
    for (let k = 0; k < values && made < count; k++) {
      batch.setCode(made, template.code);
      batch.insns[made] = template.insn;
      drawValues(batch, made, random);
      made++;
    }
  }
  return batch;
}
