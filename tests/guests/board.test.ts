// A test kernel on the whole machine: multiboot, the debug ports, every way to end, the A20 gate, real mode.

import { describe, expect, it } from 'vitest';
import { plinth } from '../cli/process.ts';
import { build } from './guest.ts';

const link = ['-nostdlib', '-Wl,-n,-Ttext=0x200000,--build-id=none,--no-warn-rwx-segments'];
const kernel = build('tests/guests/kernels/board.S', 32, ...link);

const run = (letter: string, ...options: string[]) =>
  plinth(['run', '--kernel', kernel!, '--append', letter, '--memory', '32M', '--timeout', '20', ...options], {
    input: '',
  });

describe.skipIf(!kernel)('a multiboot kernel', () => {
  it.each([
    ['debug exit', 'e', 67, 'test kernel: e\n!'],
    ['A20 gate', 'a', 67, 'test kernel: a\ngate works\n!'],
    ['real mode', 'r', 67, 'test kernel: r\nin real mode\n'],
    ['ACPI power-off', 'p', 0, 'test kernel: p\n'],
    ['keyboard controller reset', 'k', 3, 'test kernel: k\n'],
    ['reset control register', 'c', 3, 'test kernel: c\n'],
    ['system control port reset', 's', 3, 'test kernel: s\n'],
    ['triple fault', 't', 3, 'test kernel: t\n'],
  ])('%s', async (_name, letter, code, stdout) => {
    expect(await run(letter)).toMatchObject({ code, stdout });
  });

  it.each([
    ['halted', 'h'],
    ['in a loop', 'l'],
  ])('is stopped at the time limit while %s', async (_name, letter) => {
    const { code, stderr } = await run(letter, '--timeout', '1');
    expect({ code, stderr }).toEqual({ code: 124, stderr: '[plinth] stopped after 1 s, the time limit\n' });
  });

  it('traces what it executes, within a range of addresses', async () => {
    const { stderr } = await run('e', '--log', 'exec', '--log-range', '20000c-200010');
    expect(stderr).toMatch(/^\[plinth\] 000000000020000c {2}mov esp, 0x[0-9a-f]+\n$/);
  });
  it('traces faults', async () => {
    const { stderr } = await run('t', '--log', 'int');
    // The double and the triple fault come of delivering this one: 26 is the IDT's entry 3.
    expect(stderr).toMatch(/int software 3 at 0010:\w+ cpl 0\n.*int exception 13 error 001a at /);
  });
  it('traces ports', async () => {
    const { stderr } = await run('e', '--log', 'io');
    expect(stderr).toMatch(/io \S+ f4 21\n/);
  });
  it('traces what the TLB did not know', async () => {
    const { stderr } = await run('e', '--log', 'mmu');
    expect(stderr).toMatch(/mmu fetch at 0000000000200\w+: 000200\w+\n/);
  });
});
