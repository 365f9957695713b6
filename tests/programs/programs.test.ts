// Random programs in lockstep with the interpreter, in every forced mode, with two fixed seeds: what new seeds find is
// for `npm run fuzz -- --oracle programs`. PLINTH_PROGRAMS says how many of each; PLINTH_SEED is another second seed.
import { describe, expect, it } from 'vitest';
import { FORCED_MODES, Lockstep } from './lockstep.ts';
import { minimize, parseSpec, specText } from './minimize.ts';
import { drawSpec } from './program.ts';
import { REGRESSIONS } from './regressions.ts';

const PROGRAMS = Number(process.env.PLINTH_PROGRAMS ?? 10);
const FIXED_SEED = 20_000;
const SECOND_SEED = Number(process.env.PLINTH_SEED ?? 30_000);
const TIMEOUT = 600_000;

describe.for(FORCED_MODES)('random programs, $name', (mode) => {
  const lockstep = new Lockstep(mode);

  it.for([FIXED_SEED, SECOND_SEED])('agree with the interpreter, seed %i', { timeout: TIMEOUT }, (seed) => {
    let regions = 0;
    for (let i = 0; i < PROGRAMS; i++) {
      const outcome = lockstep.run(drawSpec(seed + i, mode.far ?? false));
      expect(outcome.wrong, `PLINTH_SEED=${seed + i}`).toBeUndefined();
      regions += outcome.regions;
    }
    if (mode.vcpu.engine === 'bt') expect(regions).toBeGreaterThan(PROGRAMS);
  });

  it('agree where they once did not', { timeout: TIMEOUT }, () => {
    for (const { what, spec } of REGRESSIONS)
      expect([what, lockstep.run(parseSpec(spec)).wrong]).toEqual([what, undefined]);
  });
});

describe('the tools of the random programs', () => {
  it('write a program as text and read it back', () => {
    const spec = drawSpec(1, true);
    expect(parseSpec(specText(spec))).toEqual(spec);
  });
  it('leave out of a program what a mismatch does not need', () => {
    const spec = drawSpec(2, false);
    const wanted = spec.main.at(-1)!.seed;
    const small = minimize(spec, (s) => s.main.some((n) => n.seed === wanted));
    expect(small.main).toHaveLength(1);
    expect(small.functions).toHaveLength(0);
  });
});
