// The archive formats: ar, .deb and cpio, and the initramfs made with them.

import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { readAr } from '../../src/image/ar.ts';
import { buildCpio } from '../../src/image/cpio.ts';
import { extractFromDeb, unpackDeb } from '../../src/image/deb.ts';
import { addFiles, buildInitramfs, execWord } from '../../src/image/initramfs.ts';
import { link, makeAr, makeDeb } from './packages.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

interface Entry {
  readonly path: string;
  readonly mode: number;
  readonly ino: number;
  readonly rdev: string;
  readonly bytes: Uint8Array;
}

/** Reads newc archives that follow one another, as Linux does. */
function readCpio(archive: Uint8Array): Entry[] {
  const entries: Entry[] = [];
  let at = 0;
  while (at < archive.length) {
    const ascii = textOf(archive.subarray(at, at + 110));
    expect(ascii.slice(0, 6)).toBe('070701');
    const field = (index: number) => Number.parseInt(ascii.slice(6 + index * 8, 14 + index * 8), 16);
    const path = textOf(archive.subarray(at + 110, at + 110 + field(11) - 1));
    const start = (at + 110 + field(11) + 3) & ~3;
    const bytes = archive.subarray(start, start + field(6));
    if (path !== 'TRAILER!!!') {
      entries.push({ path, mode: field(1), ino: field(0), rdev: `${field(9)}:${field(10)}`, bytes });
    }
    at = (start + field(6) + 3) & ~3;
  }
  expect(at).toBe(archive.length);
  return entries;
}

describe('ar', () => {
  const archive = makeAr([
    ['one', bytesOf('odd')],
    ['two/', bytesOf('even')],
    ['empty', new Uint8Array(0)],
  ]);

  it('lists members', () => {
    const members = readAr(archive).map(({ name, bytes }) => [name, textOf(bytes)]);
    expect(members).toEqual([
      ['one', 'odd'],
      ['two', 'even'],
      ['empty', ''],
    ]);
  });

  it('refuses what is none, and every truncation inside a member', () => {
    expect(() => readAr(bytesOf('PK\x03\x04 something'))).toThrow('(no ar signature); ');
    expect(() => readAr(archive.subarray(0, 60))).toThrow('(truncated member header); ');
    expect(() => readAr(archive.subarray(0, 70))).toThrow('(truncated member); ');
    const bad = archive.slice();
    bad[8 + 48] = 0x2d;
    expect(() => readAr(bad)).toThrow('(bad member header); ');
  });
});

describe('.deb', () => {
  const files = { 'boot/config-1': 'c', 'boot/vmlinuz-1': 'kernel', 'lib/z': 'z'.repeat(100_000) };

  it.each(['', '.gz', '.zst'] as const)('gives files out of data.tar%s', async (suffix) => {
    const found = await extractFromDeb(makeDeb(files, suffix), [
      (path) => path.startsWith('lib/'),
      (path) => path === 'boot/vmlinuz-1',
    ]);
    expect(found.map(({ path, bytes }) => [path, bytes.length])).toEqual([
      ['lib/z', 100_000],
      ['boot/vmlinuz-1', 6],
    ]);
    expect(textOf(found[1]?.bytes)).toBe('kernel');
  });

  it('gives all that is accepted, links too', async () => {
    const deb = makeDeb({ 'usr/bin/a': 'A', 'usr/bin/b': link('a'), 'usr/share/doc': 'no', 'etc/c': 'C' });
    const found = await unpackDeb(deb, (path) => !path.startsWith('usr/share/'));
    const said = found.map((e) => (e.kind === 'file' ? [e.path, textOf(e.bytes), e.mode & 0o444] : [e.path, e.target]));
    expect(said.sort()).toEqual([
      ['etc/c', 'C', 0o444],
      ['usr/bin/a', 'A', 0o444],
      ['usr/bin/b', 'a'],
    ]);
    await expect(unpackDeb(makeAr([['data.tar', bytesOf('x'.repeat(1024))]]), () => true)).rejects.toThrow(/; /);
  });

  // The tar of one file "hello" holding "xz works\n", compressed with `xz -9 --check=crc64`.
  const xzTar =
    '/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Af/AE1dABcLyYcSAqi7Qh1rzIStJluLu7Kz++eOLKP3pVuURUrA0WZrbCV3LjN706CiHB/TEOhjFcbzK0/e/ixcoqH7a8hR3tcCbSPlkXgBTnMAAAAAAHasQqqQQ4KFAAFpgBAAAABCbVENscRn+wIAAAAABFla';

  it('gives files out of data.tar.xz', async () => {
    const deb = makeAr([['data.tar.xz', Buffer.from(xzTar, 'base64')]]);
    const [file] = await extractFromDeb(deb, [(path) => path === 'hello']);
    expect(textOf(file?.bytes)).toBe('xz works\n');
  });

  it('refuses damage with advice', async () => {
    const wanted = [(path: string) => path === 'hello'];
    const xz = Buffer.from(xzTar, 'base64');
    await expect(extractFromDeb(makeAr([['data.tar.xz', xz.subarray(0, 100)]]), wanted)).rejects.toThrow(
      /package .*; /,
    );
    const flipped = Buffer.from(xz);
    flipped[60] = (flipped[60] ?? 0) ^ 0xff;
    await expect(extractFromDeb(makeAr([['data.tar.xz', flipped]]), wanted)).rejects.toThrow(/package .*; /);
    await expect(extractFromDeb(makeAr([['data.tar', bytesOf('x'.repeat(1024))]]), wanted)).rejects.toThrow(/; /);
    await expect(extractFromDeb(makeAr([['data.tar.lz', xz]]), wanted)).rejects.toThrow('unknown way (data.tar.lz); ');
    await expect(extractFromDeb(makeAr([['other', xz]]), wanted)).rejects.toThrow('no data.tar; ');
    await expect(extractFromDeb(makeDeb({ a: 'b' }), wanted)).rejects.toThrow('lacks a file that belongs in it; ');
  });
});

describe('cpio', () => {
  it('writes every kind with its type, mode and data', () => {
    const archive = buildCpio([
      { kind: 'directory', path: 'd' },
      { kind: 'file', path: 'd/f', mode: 0o4755, bytes: bytesOf('12345') },
      { kind: 'symlink', path: 'd/l', target: 'f' },
      { kind: 'character-device', path: 'd/c', major: 5, minor: 1 },
    ]);
    expect(readCpio(archive).map((e) => [e.path, e.mode.toString(8), e.ino, e.rdev, textOf(e.bytes)])).toEqual([
      ['d', '40755', 1, '0:0', ''],
      ['d/f', '104755', 2, '0:0', '12345'],
      ['d/l', '120777', 3, '0:0', 'f'],
      ['d/c', '20600', 4, '5:1', ''],
    ]);
  });

  const hasCpio = spawnSync('cpio', ['--version']).status === 0;
  it.skipIf(!hasCpio)('is read by the cpio tool', () => {
    const archive = buildCpio([
      { kind: 'directory', path: 'd' },
      { kind: 'file', path: 'd/abc', bytes: bytesOf('x') },
    ]);
    const result = spawnSync('cpio', ['-t', '--quiet'], { input: archive, encoding: 'utf8' });
    expect(result).toMatchObject({ status: 0, stdout: 'd\nd/abc\n' });
  });

  it.each(['', '/abs', '../up', 'a/../b', 'a//b', 'a/', '.', 'a\0b'])('refuses the path %j', (path) => {
    expect(() => buildCpio([{ kind: 'directory', path }])).toThrow(RangeError);
  });
});

describe('initramfs', () => {
  const busybox = bytesOf('\x7fELF');

  it('holds busybox, a console and an executable /init', () => {
    const entries = new Map(readCpio(buildInitramfs({ busybox })).map((entry) => [entry.path, entry]));
    expect(entries.get('bin/busybox')).toMatchObject({ mode: 0o100755, bytes: busybox });
    expect(entries.get('init')?.mode).toBe(0o100755);
    expect(entries.get('dev/console')).toMatchObject({ mode: 0o020600, rdev: '5:1' });
    expect(textOf(entries.get('bin/sh')?.bytes)).toBe('busybox');
  });

  it('is the same for the same input', () => {
    expect(buildInitramfs({ busybox })).toEqual(buildInitramfs({ busybox }));
  });

  it("has an /init that the host's shell can parse", () => {
    const init = readCpio(buildInitramfs({ busybox })).find((entry) => entry.path === 'init');
    expect(spawnSync('sh', ['-n'], { input: init?.bytes, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });

  it('takes extra files and makes their folders', () => {
    const files = [
      { path: '/opt/a/tool', bytes: bytesOf('t'), mode: 0o755 },
      { path: '/root/data', bytes: bytesOf('d') },
    ];
    const paths = readCpio(buildInitramfs({ busybox, files })).map((entry) => entry.path);
    expect(paths.slice(-4)).toEqual(['opt', 'opt/a', 'opt/a/tool', 'root/data']);
    const added = readCpio(addFiles(buildInitramfs({ busybox }), files)).slice(-5);
    expect(added.map((entry) => entry.path)).toEqual(['opt', 'opt/a', 'opt/a/tool', 'root', 'root/data']);
  });

  it.each(['relative', '/init', '/bin/busybox/x', '/bin'])('refuses %s as an extra file', (path) => {
    expect(() => buildInitramfs({ busybox, files: [{ path, bytes: busybox }] })).toThrow(RangeError);
  });

  it('packs a script into one word of the command line', () => {
    expect(execWord('echo "ä b"\n')).toBe(`plinth.exec=${Buffer.from('echo "ä b"\n').toString('base64')}`);
  });
});
