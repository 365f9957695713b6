// Pulling an image with a stand-in for apt: what gets into the cache, and that nothing half-written ever does.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseRecord } from '../../src/image/apt.ts';
import { cacheDir, imagePath, readImage } from '../../src/image/cache.ts';
import { findSource, kernelPackageOf, loadImage, pullImage } from '../../src/image/pull.ts';
import { type FakePackage, makeDeb, makeFakeApt } from './packages.ts';

const kernelName = 'linux-image-6.1.0-50-cloud-amd64';
const packages: readonly FakePackage[] = [
  {
    name: 'linux-image-cloud-amd64',
    deb: makeDeb({ readme: 'meta' }),
    depends: `libc6, ${kernelName} (= 1:2.0-3), other`,
  },
  { name: kernelName, deb: makeDeb({ 'boot/vmlinuz-6.1.0-50-cloud-amd64': 'the kernel', 'boot/config-6': 'c' }) },
  { name: 'busybox-static', deb: makeDeb({ 'bin/busybox': 'the shell', 'usr/share/doc/busybox': 'd' }, '.zst') },
];

let folder = '';
let root = '';
const path = process.env.PATH;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plinth-pull-'));
  root = join(folder, 'cache');
});
afterEach(() => {
  process.env.PATH = path;
  rmSync(folder, { recursive: true, force: true });
});

const useApt = (known: readonly FakePackage[], download = '') => {
  process.env.PATH = makeFakeApt(join(folder, 'apt'), known, download);
};

/** Everything in the cache that could be taken for an image, and work left over. */
const listed = (name: string) => (existsSync(join(root, name)) ? readdirSync(join(root, name)) : []);

describe('pull', () => {
  it('makes an image of the packages and records what it is made of', async () => {
    useApt(packages);
    const steps: string[] = [];
    const manifest = await pullImage('debian', { root, onProgress: (step, done) => steps.push(`${step} ${done}`) });
    expect(manifest).toMatchObject({ format: 1, name: 'debian', release: '6.1.0-50-cloud-amd64' });
    expect(manifest.packages.map((source) => source.package)).toEqual([kernelName, 'busybox-static']);
    expect(steps).toEqual(
      expect.arrayContaining([`${kernelName} 1:2.0-3 0.505`, `${kernelName} 1:2.0-3 1`, 'unpack 1']),
    );
    const image = await readImage('debian', root);
    expect(Buffer.from(image?.kernel ?? []).toString()).toBe('the kernel');
    expect(Buffer.from(image?.initrd ?? []).includes('the shell')).toBe(true);
    expect(listed('tmp')).toEqual([]);
    expect(readFileSync(join(imagePath('debian', root), 'vmlinuz'), 'utf8')).toBe('the kernel');
  });

  it('replaces an older version and keeps one', async () => {
    useApt(packages);
    await pullImage('debian', { root });
    const old = listed('images/.versions');
    await pullImage('debian', { root });
    expect(listed('images/.versions')).toHaveLength(1);
    expect(listed('images/.versions')).not.toEqual(old);
    expect(await readImage('debian', root)).toBeDefined();
  });

  it('is done once by load', async () => {
    useApt(packages);
    const first = await loadImage('debian', { root });
    process.env.PATH = '/nonexistent';
    expect((await loadImage('debian', { root })).manifest).toEqual(first.manifest);
  });
});

describe('a pull that fails says why and leaves the cache as it was', () => {
  const fails = async (message: RegExp) => {
    await expect(pullImage('debian', { root })).rejects.toThrow(message);
    expect(listed('images')).toEqual([]);
    expect(listed('tmp')).toEqual([]);
  };

  it('apt absent', async () => {
    process.env.PATH = '/nonexistent';
    await fails(/^apt is not on this machine, .*; use a Debian-based system, or .* --kernel and --initrd$/);
  });

  it('offline without lists', async () => {
    useApt([]);
    await fails(
      /^apt could not fetch package lists \(Failed to fetch lists Could not resolve host\); check the network/,
    );
  });

  it('offline with lists', async () => {
    useApt(packages, 'echo "E: Failed to fetch http://x/y.deb  Temporary failure" >&2; exit 100');
    await fails(/^apt could not fetch .*; check the network/);
  });

  it('a wrong checksum', async () => {
    useApt(packages.map((item) => (item.name === kernelName ? { ...item, sha256: '0'.repeat(64) } : item)));
    await fails(/has SHA-256 [0-9a-f]{16}…, not 0000000000000000… as apt's index says; try again/);
  });

  it('a package without a kernel', async () => {
    useApt(packages.map((item) => (item.name === kernelName ? { ...item, deb: makeDeb({ a: 'b' }) } : item)));
    await fails(/^linux-image-6\.1\.0-50-cloud-amd64: the package lacks a file that belongs in it; /);
  });

  it('a cache that is no folder', async () => {
    useApt(packages);
    writeFileSync(root, '');
    await expect(pullImage('debian', { root })).rejects.toThrow(/cannot be used \(ENOTDIR\); .*XDG_CACHE_HOME/);
  });

  it('an abort while apt runs', async () => {
    useApt(packages, 'touch ../../../started; exec sleep 60');
    const abort = new AbortController();
    const pull = pullImage('debian', { root, signal: abort.signal });
    pull.catch(() => {});
    while (!existsSync(join(folder, 'started'))) await new Promise((resolve) => setTimeout(resolve, 5));
    abort.abort();
    await expect(pull).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
    expect(listed('images')).toEqual([]);
    expect(listed('tmp')).toEqual([]);
  });
});

describe('the cache', () => {
  it('uses nothing that a killed pull left, and clears it later', async () => {
    useApt(packages, 'touch ../../../started; exec sleep 60');
    const module = new URL('../../src/image/pull.ts', import.meta.url).href;
    const code = `const { pullImage } = await import(${JSON.stringify(module)}); await pullImage('debian', { root: ${JSON.stringify(root)} });`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', code], { stdio: 'ignore', detached: true });
    while (!existsSync(join(folder, 'started'))) await new Promise((resolve) => setTimeout(resolve, 5));
    process.kill(-(child.pid as number), 'SIGKILL');
    await once(child, 'exit');
    expect(await readImage('debian', root)).toBeUndefined();
    const [left = ''] = listed('tmp');
    expect(left).toMatch(new RegExp(`^${child.pid}-`));
    useApt(packages);
    await pullImage('debian', { root });
    expect(listed('tmp')).toEqual([left]);
    utimesSync(join(root, 'tmp', left), new Date(0), new Date(0));
    await pullImage('debian', { root });
    expect(listed('tmp')).toEqual([]);
  });

  it.each([
    ['vmlinuz', 'the kerneL'],
    ['initramfs.cpio', ''],
    ['image.json', '{ "format": 1'],
    ['image.json', '{ "format": 2 }'],
    ['image.json', 'null'],
  ])('notices that %s was changed', async (file, content) => {
    useApt(packages);
    await pullImage('debian', { root });
    writeFileSync(join(imagePath('debian', root), file), content);
    await expect(loadImage('debian', { root })).rejects.toThrow(
      /^the cached image debian is damaged .*; run "plinth image pull debian" again$/,
    );
    await pullImage('debian', { root });
    expect(await readImage('debian', root)).toBeDefined();
  });

  it('follows XDG_CACHE_HOME when it is absolute', () => {
    const before = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = '/somewhere';
    expect(cacheDir()).toBe('/somewhere/plinth');
    process.env.XDG_CACHE_HOME = 'relative';
    expect(cacheDir()).toMatch(/^\/.*\.cache\/plinth$/);
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
  });
});

describe("apt's records", () => {
  const sha256 = 'ab'.repeat(32);
  const stanza = `Package: p\nVersion: 1\nArchitecture: amd64\nDepends: a,\n b (= 2)\nSize: 7\nSHA256: ${sha256}\n`;

  it('are read up to the first empty line', () => {
    expect(parseRecord(`${stanza}\nPackage: q\nVersion: 2\n`)).toEqual({
      package: 'p',
      version: '1',
      architecture: 'amd64',
      depends: 'a,\nb (= 2)',
      preDepends: '',
      size: 7,
      sha256,
    });
  });

  it.each(['', 'Package: p\n', stanza.replace(/SHA256.*/, ''), stanza.replace('Size: 7', 'Size: -7')])(
    'are refused when they cannot verify a package: %j',
    (text) => expect(parseRecord(text)).toBeUndefined(),
  );

  it('name the kernel behind a metapackage', () => {
    const record = { package: 'm', version: '1', architecture: 'amd64', size: 1, sha256, preDepends: '' };
    expect(kernelPackageOf({ ...record, depends: 'x (>= 1), linux-image-6.1.0-50-686 (= 6.1.176-1)' })).toBe(
      'linux-image-6.1.0-50-686=6.1.176-1',
    );
    expect(kernelPackageOf({ ...record, depends: 'linux-image-6.1.0-50-amd64' })).toBe('linux-image-6.1.0-50-amd64');
    expect(() => kernelPackageOf({ ...record, depends: 'linux-base' })).toThrow('names no kernel package; ');
  });

  it('are asked for images of the catalog only', () =>
    expect(() => findSource('../x')).toThrow('choose one of debian,'));
});
