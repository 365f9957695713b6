// Wrong files and sizes on the real program: one line that says what and what to do, the right code, nothing else.

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { elfImage } from '../machine/images.ts';
import { plinth } from './process.ts';

const folder = mkdtempSync(join(tmpdir(), 'plinth-bad-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** A file that has a bzImage's magic numbers and sizes, and then ends. */
function cutImage(): Uint8Array {
  const bytes = new Uint8Array(0x1000);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = 4;
  view.setUint32(0x1f4, 0x100000, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint32(0x202, 0x53726448, true);
  view.setUint16(0x206, 0x20f, true);
  bytes[0x211] = 1;
  return bytes;
}
const elf = file('elf', elfImage(64, 0x100000, [{ physical: 0x100000, data: new Uint8Array(16) }]));
const text = file('text', 'not a kernel');
const cut = file('cut', cutImage());
const empty = file('empty', '');

describe('bad input', () => {
  it.each([
    [['--kernel', join(folder, 'none')], 1, 'does not exist'],
    [['--kernel', folder], 1, 'is a folder'],
    [['--kernel', empty], 1, 'is empty'],
    [['--kernel', text], 1, 'neither a Linux image nor ELF nor multiboot'],
    [['--kernel', cut], 1, 'cut off after 4096 bytes'],
    [['--kernel', elf], 1, 'neither a multiboot header nor a PVH entry point'],
    [['--kernel', elf, '--boot', 'pvh'], 1, 'no PVH entry point'],
    [['--kernel', elf, '--initrd', join(folder, 'none')], 1, 'does not exist'],
    [['--kernel', elf, '--initrd', file('big', new Uint8Array(2 ** 25)), '--memory', '16M'], 1, 'larger than'],
    [['--kernel', elf, '--copy', `${join(folder, 'none')}:/x`], 1, 'does not exist'],
    [['--kernel', elf, '--cpu', 'z80'], 2, 'choose one of'],
    [['--memory', '15M'], 2, 'between 16M and 4G'],
    [['--memory', '5G'], 2, 'between 16M and 4G'],
    [['--log', 'everything'], 2, 'choose from decode,int,mmu,io,exec'],
    [['--exec', 'x'.repeat(2000), '--kernel', elf], 2, 'too long'],
  ])('%j', async (args, code, part) => {
    const result = await plinth(['run', ...args], { input: '', env: { PLINTH_DEBUG: '' } });
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toMatch(/^plinth: [^\n]+; [^\n]+\n$/);
    expect(result.stderr).toContain(part);
  });

  it('says that apt is absent, and leaves no half of an image', async () => {
    const cache = join(folder, 'cache');
    const env = { PLINTH_DEBUG: '', PATH: folder, XDG_CACHE_HOME: cache };
    const { code, stderr } = await plinth(['run'], { input: '', env });
    expect(code).toBe(1);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/^plinth: apt is not on this machine, .*; use a Debian-based/);
    const left = existsSync(cache) ? readdirSync(cache, { recursive: true, encoding: 'utf8' }) : [];
    expect(left.filter((name) => /images|vmlinuz|initramfs/.test(name))).toEqual([]);
  });
});
