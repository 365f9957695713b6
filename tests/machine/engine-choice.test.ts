// Which engine is chosen from what is known of /dev/kvm.
import { describe, expect, it } from 'vitest';
import { chooseEngine, EngineError } from '../../src/machine/engine-choice.ts';

const LIMIT = 20;
const never = (): never => {
  throw new Error('/dev/kvm was looked at');
};
const problem = { message: 'opening /dev/kvm failed with EACCES', advice: 'add yourself to the group kvm' };

describe('chooseEngine', () => {
  it.each(['interp', 'bt'] as const)('takes %s without a look at /dev/kvm', (engine) => {
    expect(chooseEngine(engine, never, LIMIT).engine).toBe(engine);
  });
  it('takes a fast /dev/kvm', () => {
    expect(chooseEngine('auto', () => ({ usable: true, kernelNs: 0.4 }), LIMIT)).toEqual({
      engine: 'kvm',
      reason: '/dev/kvm takes 0.40 ns for an instruction of guest kernel code',
    });
  });
  it('translates where kernel code is emulated, and says so', () => {
    expect(chooseEngine('auto', () => ({ usable: true, kernelNs: 812.3 }), LIMIT)).toEqual({
      engine: 'bt',
      reason: '/dev/kvm takes 812 ns for an instruction of guest kernel code',
    });
  });
  it('translates where guests cannot make system calls', () => {
    expect(chooseEngine('auto', () => ({ usable: true, kernelNs: 0.4, systemCalls: false }), LIMIT)).toEqual({
      engine: 'bt',
      reason: '/dev/kvm leaves a guest at level 3 on SYSCALL',
    });
  });
  it('does not fail for lack of /dev/kvm', () => {
    expect(chooseEngine('auto', () => ({ usable: false, problem }), LIMIT)).toEqual({
      engine: 'bt',
      reason: 'no usable /dev/kvm: opening /dev/kvm failed with EACCES',
    });
  });
  it('fails when /dev/kvm was asked for and cannot be used', () => {
    const choose = (): unknown => chooseEngine('kvm', () => ({ usable: false, problem }), LIMIT);
    expect(choose).toThrow(EngineError);
    expect(choose).toThrow('opening /dev/kvm failed with EACCES');
  });
  it('uses a slow /dev/kvm when asked to', () => {
    expect(chooseEngine('kvm', () => ({ usable: true, kernelNs: 900 }), LIMIT).reason).toContain('900 ns');
  });
});
