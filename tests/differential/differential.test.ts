// The host CPU against the reference, on generated user-mode instructions. PLINTH_FUZZ_CASES says how many.
import { describe, expect, it } from 'vitest';
import { NoReference } from '../../src/engine/reference/ops.ts';
import { disassemble } from '../../src/isa/disasm.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { Random, seedOf } from '../isa/random.ts';
import type { Case, Result } from './case.ts';
import { caseKey, differences, type Engine } from './engine.ts';
import { makeCases, makeGenerator } from './generate.ts';
import { buildHarness, hostEngine, hostFeatures } from './host.ts';
import { knownDifference } from './known.ts';
import { referenceEngine } from './reference.ts';

const CASES = Number(process.env.PLINTH_FUZZ_CASES ?? 8_000);
const BATCH = 8_000;

interface Tally {
  compared: number;
  readonly skipped: Map<string, number>;
  readonly mismatches: Map<string, { count: number; first: string }>;
}

function report(c: Case, list: readonly string[]): string {
  const code = Buffer.from(c.code).toString('hex');
  const gpr = c.gpr.map((v) => v.toString(16)).join(' ');
  return `${code} ${disassemble(c.insn)}: ${list.slice(0, 4).join('; ')} | rflags ${c.rflags.toString(16)} gpr ${gpr}`;
}

function compare(c: Case, want: Result, engine: Engine, tally: Tally): void {
  let got: Result;
  try {
    got = engine.run(c);
  } catch (e) {
    if (!(e instanceof NoReference)) throw new Error(report(c, [String(e)]), { cause: e });
    tally.skipped.set(e.helper, (tally.skipped.get(e.helper) ?? 0) + 1);
    return;
  }
  tally.compared++;
  const list = differences(c, want, got);
  if (list.length === 0 || knownDifference(c, want, got)) return;
  const key = caseKey(c);
  const seen = tally.mismatches.get(key);
  if (seen) seen.count++;
  else tally.mismatches.set(key, { count: 1, first: report(c, list) });
}

function compareAll(bits: 32 | 64, path: string): Tally {
  const random = new Random(seedOf(`host CPU against the reference, ${bits}-bit`));
  const generator = makeGenerator(ROWS, bits, hostFeatures());
  const host = hostEngine(path);
  const reference = referenceEngine();
  const tally: Tally = { compared: 0, skipped: new Map(), mismatches: new Map() };
  for (let left = CASES; left > 0; left -= BATCH) {
    const cases = makeCases(generator, Math.min(left, BATCH), random);
    const results = host.runAll(cases);
    cases.forEach((c, i) => {
      compare(c, results[i]!, reference, tally);
    });
  }
  const skipped = [...tally.skipped].map(([helper, n]) => `${helper} ${n}`).join(', ');
  console.log(
    `${bits}-bit: ${tally.compared} cases of ${generator.rows.length} rows compared; no reference for ${skipped}`,
  );
  return tally;
}

describe.for([64, 32] as const)('host CPU against the reference, %d-bit', (bits) => {
  const built = buildHarness(bits);
  if ('missing' in built) console.log(`${bits}-bit host comparison skipped: ${built.missing}`);
  it.skipIf('missing' in built)('agrees', { timeout: 600_000 }, () => {
    if ('missing' in built) return;
    const { mismatches, compared } = compareAll(bits, built.path);
    expect([...mismatches].map(([key, { count, first }]) => `${key} (${count}): ${first}`).sort()).toEqual([]);
    expect(compared).toBeGreaterThan(CASES / 4);
  });
});
