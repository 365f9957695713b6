// Runs x87 instructions on the host CPU and in the helpers from the same FRSTOR image and compares the FNSAVE images.

import { expect } from 'vitest';
import type { Exports } from './build.ts';
import { extended, Random } from './operands.ts';
import { decidesUnderflow, ordinalOf, UNDERFLOW } from './ordinal.ts';
import type { Case, Op } from './x87-ops.ts';

// Record in and out: 108-byte image, 4 unused, 16-byte memory operand, u32 op, u32 eflags.
const RECORD = 136;
const MEMORY = 112;
const OP = 128;
const EFLAGS = 132;
/** EFLAGS that the instructions read or write: CF, PF, ZF. */
const FLAGS = 0x45;

/** Significand, sign and exponent. */
interface Register {
  sig: bigint;
  se: number;
}

/** The C program for a list of instructions. */
export function hostProgram(ops: readonly Op[]): string {
  return `
#include <stdint.h>
#include <stdio.h>
struct record { uint8_t image[112]; uint8_t memory[16]; uint32_t op, eflags; };
#define OP(n, code) static void op##n(struct record *r) { \\
  uint64_t flags = r->eflags | 2; uint8_t env[32]; \\
  __asm__ volatile("pushq %[f]; popfq; frstor %[s]; " code "; pushfq; popq %[f]; fnsave %[s]" \\
    : [f] "+r"(flags), [s] "+m"(*(struct { uint8_t b[112]; } *)r->image), \\
      [m] "+m"(*(uint64_t *)r->memory), [e] "+m"(*(struct { uint8_t b[32]; } *)env) : : "memory", "cc"); \\
  r->eflags = flags & ${FLAGS}; }
${ops.map((op, n) => `OP(${n}, "${op.asm}")`).join('\n')}
static void (*const table[])(struct record *) = { ${ops.map((_, n) => `op${n}`).join(', ')} };
int main(void) {
  struct record r;
  while (fread(&r, sizeof r, 1, stdin) == 1) {
    table[r.op](&r);
    fwrite(&r, sizeof r, 1, stdout);
  }
  return 0;
}
`;
}

export interface Options {
  readonly perOp: number;
  readonly seed: number;
  /** The control word of a case. */
  readonly fcw: (random: Random) => number;
  /** Chance in 16 that registers are empty. */
  readonly empties: number;
  readonly registers?: (random: Random, op: Op) => Register[];
}

/** Eight registers in stack order; neighbours are often related so that results cancel. */
function randomRegisters(random: Random): Register[] {
  const registers = Array.from({ length: 8 }, () => extended(random));
  const relation = random.below(6);
  const [a, b] = registers as [Register, Register];
  if (relation === 0) registers[1] = { sig: a.sig ^ BigInt(random.below(3)), se: a.se };
  if (relation === 1) registers[1] = { sig: a.sig, se: a.se ^ 0x8000 };
  if (relation === 2) registers[1] = { sig: b.sig, se: ((a.se & 0x7fff) + random.below(5)) & 0x7fff };
  return registers;
}

function writeCase(to: Buffer, op: Op, index: number, random: Random, options: Options): void {
  const fcw = options.fcw(random);
  // Flags that are set already must be masked, or the next instruction would fault.
  const sticky = random.below(64) & fcw & random.below(64);
  const top = random.below(8);
  const conditions = (random.below(8) << 8) | (random.below(2) << 14) | (random.below(8) ? 0 : sticky & 1 ? 0x40 : 0);
  to.writeUInt32LE(fcw, 0);
  to.writeUInt32LE(sticky | conditions | (top << 11), 4);
  let tags = 0;
  const allTags = random.below(16) < options.empties;
  for (let r = 0; r < 8; r++) if (allTags ? random.below(3) === 0 : r === ((top + 7) & 7)) tags |= 3 << (r * 2);
  to.writeUInt32LE(tags, 8);
  const registers = (options.registers ?? randomRegisters)(random, op);
  // FYL2XP1 is undefined at -1 and below.
  const [x] = registers;
  if (op.range === 'logp1' && x && x.se >= 0xbfff && x.se < 0xffff) x.se &= 0x7fff;
  for (const [i, { sig, se }] of registers.entries()) {
    to.writeBigUInt64LE(sig, 28 + i * 10);
    to.writeUInt16LE(se, 36 + i * 10);
  }
  const memory = op.memory?.(random) ?? { low: 0n, high: 0 };
  to.writeBigUInt64LE(memory.low, MEMORY);
  to.writeUInt16LE(memory.high, MEMORY + 8);
  to.writeUInt32LE(index, OP);
  to.writeUInt32LE(random.below(256) & FLAGS, EFLAGS);
}

/** Where the helpers' image and vCPU state are in their memory. */
const IMAGE = 1024;
const CPU = 4096;

function runOurs(x: Exports, memory: Uint8Array, op: Op, input: Buffer): Buffer {
  memory.set(input.subarray(0, 108), IMAGE);
  x.x87_frstor!(CPU, IMAGE, 3);
  const given: Case = {
    low: input.readBigUInt64LE(MEMORY),
    high: input.readUInt16LE(MEMORY + 8),
    eflags: input.readUInt32LE(EFLAGS),
  };
  const after = { ...given, ...op.run(x, CPU, given) };
  const output = Buffer.from(input);
  x.x87_fnsave!(CPU, IMAGE, 3);
  output.set(memory.subarray(IMAGE, IMAGE + 108));
  output.writeBigUInt64LE(BigInt.asUintN(64, after.low), MEMORY);
  output.writeUInt16LE(after.high, MEMORY + 8);
  output.writeUInt32LE(after.eflags, EFLAGS);
  return output;
}

/** A record as text, one item for each thing that can differ. */
function describeRecord(record: Buffer): string[] {
  const hex = (n: bigint | number) => n.toString(16);
  const items = [
    `fcw=${hex(record.readUInt32LE(0))}`,
    `fsw=${hex(record.readUInt32LE(4))}`,
    `ftw=${hex(record.readUInt32LE(8))}`,
  ];
  for (let i = 0; i < 8; i++) {
    items.push(`st${i}=${hex(record.readUInt16LE(36 + i * 10))}:${hex(record.readBigUInt64LE(28 + i * 10))}`);
  }
  const high = record.readUInt16LE(MEMORY + 8);
  items.push(`m=${hex(high)}:${hex(record.readBigUInt64LE(MEMORY))}`, `eflags=${hex(record.readUInt32LE(EFLAGS))}`);
  return items;
}

/** A register as an integer whose steps are units in the last place. */
const ordinal = (item: string): bigint => {
  const [se = '', sig = ''] = item.slice(item.indexOf('=') + 1).split(':');
  return ordinalOf(Number.parseInt(se, 16), BigInt(`0x${sig}`));
};
/** Value of another item. */
const numberOf = (item: string): number => Number.parseInt(item.slice(item.indexOf('=') + 1), 16);

/** Of FSW: C1; where TOP is (SDM vol.1 figure 8-4). */
const C1 = 0x200;
const TOP_SHIFT = 11;
/** Of FCW: underflow is masked. */
const UM = 0x10;

/** What one unit in the last place may decide of an image besides a register's value. */
interface Leeway {
  /** Bits of FSW, and of FTW. */
  fsw: number;
  ftw: number;
}

/** Whether two registers are the same result; adds to `leeway` what else depends on the last place. */
function sameWithin(
  ulps: number,
  mine: string,
  theirs: string,
  masked: boolean,
  physical: number,
  leeway: Leeway,
): boolean {
  const [a, b] = [ordinal(mine), ordinal(theirs)];
  const distance = a - b;
  const near = distance <= BigInt(ulps) && -distance <= BigInt(ulps);
  const edge = decidesUnderflow(a, b);
  if (edge) leeway.fsw |= UNDERFLOW;
  if (edge || (near && distance !== 0n)) leeway.ftw |= 3 << (2 * physical);
  return near || (edge && !masked);
}

/** What of a record differs; transcendental results may be `ulps` apart. */
function differences(mine: readonly string[], theirs: readonly string[], op: Op): string[] {
  const ulps = op.ulps ?? 0;
  const leeway: Leeway = { fsw: (op.ignoredStatus ?? 0) | (ulps > 0 ? C1 : 0), ftw: 0 };
  const [top, masked] = [numberOf(theirs[1]!) >> TOP_SHIFT, (numberOf(theirs[0]!) & UM) !== 0];
  const same = mine.map((item, i) => {
    const other = theirs[i]!;
    // Results are in the first two.
    const st = ulps > 0 ? /^st([01])=/.exec(item)?.[1] : undefined;
    if (st === undefined) return item === other;
    return sameWithin(ulps, item, other, masked, (top + Number(st)) & 7, leeway);
  });
  for (const [i, mask] of [
    [1, leeway.fsw],
    [2, leeway.ftw],
  ] as const) {
    same[i] = (numberOf(mine[i]!) & ~mask) === (numberOf(theirs[i]!) & ~mask);
  }
  return mine.filter((_, i) => !same[i]).map((item) => `${item} (host ${theirs[mine.indexOf(item)]})`);
}

/** Compares all instructions of a list, `perOp` cases each. */
export function compareWithHost(
  ops: readonly Op[],
  runtime: { memory: WebAssembly.Memory; exports: Exports },
  host: (input: Buffer) => Buffer,
  options: Options,
): void {
  const random = new Random(options.seed);
  const count = ops.length * options.perOp;
  const input = Buffer.alloc(count * RECORD);
  for (let n = 0; n < count; n++) {
    const index = n % ops.length;
    writeCase(input.subarray(n * RECORD, (n + 1) * RECORD), ops[index]!, index, random, options);
  }
  const output = host(input);
  expect(output.length).toBe(input.length);
  const memory = new Uint8Array(runtime.memory.buffer);
  const wrong: string[] = [];
  const byOp = new Map<string, number>();
  for (let n = 0; n < count; n++) {
    const op = ops[n % ops.length]!;
    const given = input.subarray(n * RECORD, (n + 1) * RECORD);
    const mine = describeRecord(runOurs(runtime.exports, memory, op, given));
    const theirs = describeRecord(output.subarray(n * RECORD, (n + 1) * RECORD));
    const found = differences(mine, theirs, op);
    if (found.length === 0) continue;
    byOp.set(op.asm, (byOp.get(op.asm) ?? 0) + 1);
    if (byOp.get(op.asm)! <= 2) wrong.push(`${op.asm}: ${found.join(' ')} FROM ${describeRecord(given).join(' ')}`);
  }
  const summary = [...byOp].map(([asm, times]) => `${asm}: ${times}`).join(', ');
  expect(wrong.slice(0, 40), `of ${count}: ${summary}`).toEqual([]);
}
