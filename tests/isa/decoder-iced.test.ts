// The decoder and the disassembler against iced-x86: a sample.
import { describe, expect, it } from 'vitest';
import { compareOnce, decoder } from './iced.ts';
import { Random, seedOf } from './random.ts';

const CASES = Number(process.env.PLINTH_FUZZ_CASES ?? 20_000);

describe('decoder against iced-x86', () => {
  it('claims no bytes twice', () => {
    expect(decoder.conflicts).toEqual([]);
  });
  it('agrees on validity, length and text', () => {
    const random = new Random(seedOf('decoder against iced-x86'));
    const mismatches = new Map<string, { count: number; first: string }>();
    for (let i = 0; i < CASES; i++) {
      const m = compareOnce(random);
      if (!m) continue;
      const seen = mismatches.get(m.key);
      if (seen) seen.count++;
      else mismatches.set(m.key, { count: 1, first: m.text });
    }
    const report = [...mismatches].map(([key, { count, first }]) => `${key} (${count}): ${first}`).sort();
    expect(report).toEqual([]);
  });
});
