// What is found out about /dev/kvm, on hosts that have one and on those that do not.
import { describe, expect, it } from 'vitest';
import { examineKvm, examineKvmForChoice, KERNEL_NS_LIMIT } from '../../src/hv/kvm/evidence.ts';
import { chooseEngine } from '../../src/machine/engine-choice.ts';

describe('evidence of /dev/kvm', () => {
  it.each([examineKvm, examineKvmForChoice])('says what is wrong where there is none', (examine) => {
    const { usable, problem } = examine('/dev/no-such-thing');
    expect(usable).toBe(false);
    expect(problem?.message).toContain('/dev/no-such-thing');
    expect(problem?.advice).not.toBe('');
  });
  it('leads to the same engine with all of it and with what the choice needs', () => {
    const [all, few] = [examineKvm(), examineKvmForChoice()];
    expect(few.usable).toBe(all.usable);
    expect(few.systemCalls).toBe(all.systemCalls);
    const engine = (facts: typeof all): string => chooseEngine('auto', () => facts, KERNEL_NS_LIMIT).engine;
    expect(engine(few)).toBe(engine(all));
  });
});
