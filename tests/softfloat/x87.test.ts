// The x87 helpers against the host CPU: whole FNSAVE images after each instruction, over rounding modes, precision
// controls, masks and empty registers.

import { describe, it } from 'vitest';
import { compileHost, hostUnavailable, loadRuntime } from './build.ts';
import { extended, type Random } from './operands.ts';
import { compareWithHost, hostProgram } from './x87-host.ts';
import { basicOps, type Op, transcendentalOps } from './x87-ops.ts';

const runtime = await loadRuntime('x87/index.ts');
const unavailable = hostUnavailable();
if (unavailable) console.log(`skipped: x87 against the host, because ${unavailable}`);

const rounding = (random: Random): number => random.below(4) << 10;
const precision = (random: Random): number => [0, 0x200, 0x300, 0x300][random.below(4)]!;

describe.skipIf(unavailable)('x87 instructions leave what the host CPU leaves', () => {
  const host = unavailable ? () => Buffer.alloc(0) : compileHost(hostProgram(basicOps));
  const compare = (options: Parameters<typeof compareWithHost>[3]) => compareWithHost(basicOps, runtime, host, options);

  it('masked, extended precision, to nearest', () => compare({ perOp: 300, seed: 1, empties: 0, fcw: () => 0x37f }));
  it('masked, all rounding modes and precisions', () =>
    compare({ perOp: 300, seed: 2, empties: 0, fcw: (r) => 0x7f | rounding(r) | precision(r) }));
  it('masked, with empty registers', () =>
    compare({ perOp: 200, seed: 3, empties: 16, fcw: (r) => 0x7f | rounding(r) | precision(r) }));
  it('unmasked', () =>
    compare({ perOp: 300, seed: 4, empties: 4, fcw: (r) => 0x40 | r.below(64) | rounding(r) | precision(r) }));
});

/** Registers whose ST(0) lies where the instruction is defined, or (one in eight) anywhere. */
function rangedRegisters(random: Random, op: Op): { sig: bigint; se: number }[] {
  const registers = Array.from({ length: 8 }, () => extended(random));
  if (op.range === undefined || random.below(8) === 0) return registers;
  const sig = random.u64() | (1n << 63n);
  const sign = random.below(2) << 15;
  const near = 16383 - random.below(random.below(4) ? 5 : 80);
  if (op.range === 'exp') registers[0] = { sig, se: sign | (near - 1) };
  if (op.range === 'log')
    registers[0] = { sig, se: random.below(2) ? 16383 + random.below(3) - 1 : 1 + random.below(32766) };
  if (op.range === 'logp1') registers[0] = { sig, se: sign | (near - 2) };
  if (op.range === 'trig') registers[0] = { sig, se: sign | (random.below(2) ? near + 2 : 16383 + random.below(63)) };
  return registers;
}

describe.skipIf(unavailable)('transcendental instructions are within one unit of the last place of the host', () => {
  const host = unavailable ? () => Buffer.alloc(0) : compileHost(hostProgram(transcendentalOps));
  const compare = (options: Parameters<typeof compareWithHost>[3]) =>
    compareWithHost(transcendentalOps, runtime, host, options);

  it('in range', () =>
    compare({ perOp: 2000, seed: 5, empties: 0, fcw: (r) => 0x37f | rounding(r), registers: rangedRegisters }));
  it('any operands', () =>
    compare({ perOp: 1000, seed: 6, empties: 0, fcw: (r) => 0x7f | rounding(r) | precision(r) }));
  it('with empty registers and unmasked exceptions', () =>
    compare({ perOp: 500, seed: 7, empties: 8, fcw: (r) => 0x340 | r.below(64) | rounding(r) }));
});
