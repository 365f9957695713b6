// Statistics for people, and the options around time.
import { InvalidArgumentError } from 'commander';
import { describe, expect, it } from 'vitest';
import { collectTyped, parseSeed } from '../../src/cli/app/options.ts';
import { statLines } from '../../src/cli/app/stat.ts';
import { plinth } from './process.ts';

describe('statLines', () => {
  it('puts a group on a line and leaves out what is nought', () => {
    const stats = {
      instructions: 1234567,
      mips: 12.3456,
      time: { idle: 0.5, translated: 0 },
      exits: { a: 0 },
      gone: undefined,
    };
    expect(statLines(stats)).toEqual(['instructions: 1,234,567', 'mips: 12.35', 'time: idle 50.0 %', 'exits: none']);
  });
});

describe('--seed', () => {
  it('takes 64 bits', () => {
    expect([parseSeed('0'), parseSeed('0xFFFFFFFFFFFFFFFF')]).toEqual([0n, 2n ** 64n - 1n]);
  });
  it.each(['', '-1', '1.5', 'x', '18446744073709551616'])('refuses %j', (text) => {
    expect(() => parseSeed(text)).toThrow(InvalidArgumentError);
  });
});

describe('--type', () => {
  const typed = (text: string) => collectTyped(text).map((t) => [t.atMs, new TextDecoder().decode(t.bytes)]);
  it('takes seconds and text, with the Enter key as a newline', () => {
    expect(typed('1.5:ls -l\\n')).toEqual([[1500, 'ls -l\r']]);
    expect(typed('0:a:b\\t\\x03\\\\n\\q')).toEqual([[0, 'a:b\t\x03\\n\\q']]);
    expect(collectTyped('2:b', collectTyped('1:a')).map((t) => t.atMs)).toEqual([1000, 2000]);
  });
  it.each(['ls', ':ls', '-1:ls', 'x:ls'])('refuses %j', (text) => {
    expect(() => collectTyped(text)).toThrow(InvalidArgumentError);
  });
});

describe('the command line', () => {
  it('lists the items of a trace', async () => {
    const { code, stdout } = await plinth(['run', '--log', 'help']);
    expect({ code, items: stdout.match(/^\w+/gm) }).toEqual({
      code: 0,
      items: ['decode', 'int', 'mmu', 'io', 'exec', 'region', 'wasm'],
    });
  });
  it.each([
    [['--seed', '1'], '--seed was given without --deterministic; give both'],
    [['--deterministic', '--engine', 'kvm'], '--deterministic cannot run on the engine kvm; use --engine bt or interp'],
    [['--stat=xml'], '--stat cannot be "xml"; choose from table, json'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await plinth(['run', ...args], { env: { PLINTH_DEBUG: '' } });
    expect({ code, stderr }).toEqual({ code: 2, stderr: `plinth: ${message}\n` });
  });
});
