// An interrupt that comes between two slices does not come between STI and the instruction behind it: else the wake-up
// that `sti; hlt` waits for is taken before the HLT, which then sleeps for ever.
import { expect, it } from 'vitest';
import { EFLAGS } from '../../src/isa/layout.ts';
import { Program } from '../exceptions/program.ts';

it.for(['interp', 'bt'] as const)('the shadow of STI outlasts a slice, %s', (engine) => {
  let vector: number | undefined = 0x30;
  const acknowledge = (): number | undefined => {
    const given = vector;
    vector = undefined;
    return given;
  };
  // sti; inc eax; inc ecx
  const p = new Program('fb ffc0 ffc1 f4', {
    cpl: 0,
    rflags: 2,
    registers: { rax: 0n, rcx: 0n },
    guest: { vcpu: { engine, hotThreshold: 1 }, host: { acknowledge } },
  });
  const { vcpu } = p.guest;
  vcpu.run(0);
  expect(p.guest.get32('eflags') & EFLAGS.IF).toBe(EFLAGS.IF);
  vcpu.setInterruptPending(true);
  const event = p.run();
  expect([event.vector, p.reg('rax'), p.reg('rcx')]).toEqual([0x30, 1n, 0n]);
});
