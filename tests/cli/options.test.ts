// Values of options, the console's keys, and the words a kernel gets by default.

import { describe, expect, it } from 'vitest';
import { EscapeFilter } from '../../src/cli/app/escape.ts';
import { defaultCommandLine, looksLikeLinux } from '../../src/cli/app/kernel.ts';
import {
  collectCopy,
  formatSize,
  logHelp,
  parseLog,
  parseLogRange,
  parseMemory,
  parseTimeout,
} from '../../src/cli/app/options.ts';

describe('--memory', () => {
  it.each([
    ['512M', 2 ** 29],
    ['16m', 2 ** 24],
    ['4G', 2 ** 32],
    ['1.5G', 1.5 * 2 ** 30],
    ['65536K', 2 ** 26],
    ['33554432', 2 ** 25],
    ['64MiB', 2 ** 26],
  ])('reads %s', (text, bytes) => expect(parseMemory(text)).toBe(bytes));

  it.each(['', 'M', '512X', '-512M', '1e9', '0x1000000', '512 M M', 'NaN'])('refuses %j as no size', (text) => {
    expect(() => parseMemory(text)).toThrow('give a size such as 512M or 2G, between 16M and 4G');
  });

  it.each(['15M', '0', '1', '4097M', '99999999999G'])('refuses %s as out of limits, and says both', (text) => {
    expect(() => parseMemory(text)).toThrow('between 16M and 4G');
  });

  it('refuses part of a page', () => expect(() => parseMemory('16777217')).toThrow('multiple of 4K'));

  it('writes sizes in the unit that keeps them whole', () => {
    expect([2 ** 32, 2 ** 29, 1.5 * 2 ** 30, 4096, 100].map(formatSize)).toEqual(['4G', '512M', '1536M', '4K', '100']);
  });
});

describe('--timeout and --log', () => {
  it('reads seconds and fractions', () => expect([parseTimeout('60'), parseTimeout('0.5')]).toEqual([60, 0.5]));
  it.each(['0', '-1', '', 'x', 'Infinity', '1e10'])('refuses a time of %j', (text) => {
    expect(() => parseTimeout(text)).toThrow('seconds above 0');
  });
  it('takes help alone', () => {
    expect(parseLog('help')).toEqual(['help']);
    expect(() => parseLog('int,help')).toThrow('decode,');
    expect(logHelp.match(/^\w+ +\S.*$/gm)?.length).toBe(7);
  });
  it('reads items once each', () => expect(parseLog('int, mmu,int')).toEqual(['int', 'mmu']));
  it('refuses an unknown item', () => expect(() => parseLog('int,foo')).toThrow('decode,int,mmu,io,exec,region,wasm'));
});

describe('--log-range and --copy', () => {
  it('reads two addresses, or the rest of a page', () => {
    expect(parseLogRange('ffffffff81000000-0xffffffff81000fff')).toEqual([0xffffffff81000000n, 0xffffffff81000fffn]);
    expect(parseLogRange('0x7c10')).toEqual([0x7c10n, 0x7fffn]);
  });
  it.each(['', 'x', '2-1', '1-', '12345678123456789'])('refuses %j', (text) => {
    expect(() => parseLogRange(text)).toThrow('give ');
  });
  it('collects files, with colons in the host path', () => {
    const first = collectCopy('./a:/root/a');
    expect(collectCopy('c:d:/e', first)).toEqual([
      { host: './a', guest: '/root/a' },
      { host: 'c:d', guest: '/e' },
    ]);
  });
  it.each(['a', ':/a', 'a:b', 'a:/', 'a:/b/', 'a://b'])('refuses %j', (text) => {
    expect(() => collectCopy(text)).toThrow('absolute path in the guest');
  });
});

describe('keys of the console', () => {
  const feed = (...pieces: string[]) => {
    const filter = new EscapeFilter();
    return pieces
      .flatMap((piece) => filter.feed(new TextEncoder().encode(piece)))
      .map((part) => (typeof part === 'string' ? { action: part } : new TextDecoder().decode(part)));
  };

  it('passes what it does not know', () => expect(feed('ls\r\x03\x1b[A')).toEqual(['ls\r\x03\x1b[A']));
  it('keeps the order of bytes and actions', () => {
    expect(feed('ab\x01hcd\x01X')).toEqual(['ab', { action: 'help' }, 'cd', { action: 'quit' }]);
  });
  it('sends Ctrl-A for two of them', () => expect(feed('a\x01\x01b').join('')).toBe('a\x01b'));
  it('takes three as one sent and one begun', () => {
    expect(feed('\x01\x01\x01', 'x')).toEqual(['\x01', { action: 'quit' }]);
  });
  it('remembers a Ctrl-A at the end of a piece', () =>
    expect(feed('a\x01', 's', 'b')).toEqual(['a', { action: 'stats' }, 'b']));
  it('has a key that changes engine', () => expect(feed('a\x01Eb')).toEqual(['a', { action: 'engine' }, 'b']));
  it('reports another key and swallows it', () => expect(feed('\x01zq')).toEqual([{ action: 'unknown' }, 'q']));
});

describe('command line of a kernel', () => {
  const bzImage = new Uint8Array(0x300);
  bzImage.set([0x48, 0x64, 0x72, 0x53], 0x202);
  const elf = new Uint8Array(0x3000);
  elf.set([0x7f, 0x45, 0x4c, 0x46]);
  const multiboot = elf.slice();
  multiboot.set([0x02, 0xb0, 0xad, 0x1b], 0x1000);
  const late = elf.slice();
  late.set([0x02, 0xb0, 0xad, 0x1b], 0x2000);

  it('tells Linux from other kernels', () => {
    expect([bzImage, elf, late].map(looksLikeLinux)).toEqual([true, true, true]);
    expect([multiboot, new Uint8Array(0), new Uint8Array(0x204), elf.slice(0, 3)].map(looksLikeLinux)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  const tail = 'mitigations=off cryptomgr.notests';

  it('gives Linux a console, an end to panics and no work that this CPU makes needless', () => {
    expect(defaultCommandLine(bzImage)).toBe(`console=ttyS0 panic=-1 ${tail}`);
    expect(defaultCommandLine(bzImage, 'quiet')).toBe(`console=ttyS0 panic=-1 ${tail} quiet`);
  });

  it('leaves the choice to the user', () => {
    expect(defaultCommandLine(bzImage, 'console=hvc0 panic=5 x')).toBe(`${tail} console=hvc0 panic=5 x`);
    expect(defaultCommandLine(bzImage, 'panic=5 earlyconsole=1')).toBe(`console=ttyS0 ${tail} panic=5 earlyconsole=1`);
    const own = 'mitigations=auto cryptomgr.notests=0';
    expect(defaultCommandLine(bzImage, own)).toBe(`console=ttyS0 panic=-1 ${own}`);
  });

  it('passes the words of other kernels as they are', () => {
    expect(defaultCommandLine(multiboot)).toBe('');
    expect(defaultCommandLine(multiboot, ' smap  x ')).toBe(' smap  x ');
  });
});
