// The outer guest's root file system: Debian's libraries, busybox and modules, Node.js, Plinth, and the inner
// guest's image in Plinth's cache, all in one initramfs.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { imagePath } from '../../src/image/cache.ts';
import { buildCpio } from '../../src/image/cpio.ts';
import { addFiles, type ExtraFile } from '../../src/image/initramfs.ts';
import { loadImage, type OnProgress } from '../../src/image/pull.ts';
import { MODULES, type OuterParts } from './packages.ts';
import { plinthTree } from './plinth-tree.ts';

/** The image that the inner machine boots. */
const INNER_IMAGE = 'debian';
/** Plinth's cache folder in the outer guest, below XDG_CACHE_HOME of init.sh. */
const GUEST_IMAGES = 'cache/plinth/images';
/** What QEMU takes as a file of its own. */
const KERNEL = '/boot/vmlinuz';

async function innerImage(onProgress: OnProgress): Promise<ExtraFile[]> {
  await loadImage(INNER_IMAGE, { onProgress });
  const folder = imagePath(INNER_IMAGE);
  return Promise.all(
    (await readdir(folder)).map(async (name) => ({
      path: `/${GUEST_IMAGES}/.versions/${INNER_IMAGE}/${name}`,
      bytes: new Uint8Array(await readFile(join(folder, name))),
    })),
  );
}

/** What QEMU is started with. */
export interface OuterGuest {
  readonly kernel: Uint8Array;
  readonly initramfs: Uint8Array;
}

/**
 * Puts the outer guest together from packages and the repository as it is now.
 * @throws ImageError when the inner image cannot be had; Error when the repository is not built
 */
export async function buildOuterGuest(parts: OuterParts, onProgress: OnProgress): Promise<OuterGuest> {
  const text = (path: string, content: string, mode = 0o644): ExtraFile => ({
    path,
    bytes: new TextEncoder().encode(content),
    mode,
  });
  const packaged = [...parts.files]
    .filter(([path]) => path !== KERNEL)
    .map(([path, bytes]) => ({ path, bytes, mode: 0o755 }));
  const base = buildCpio([
    { kind: 'directory', path: 'dev' },
    // Before init.sh can mount devtmpfs (devices.txt: 5:1 console, 1:3 null).
    { kind: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'character-device', path: 'dev/null', mode: 0o666, major: 1, minor: 3 },
    { kind: 'directory', path: 'bin' },
    { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
    ...['cache', 'cache/plinth', GUEST_IMAGES].map((path) => ({ kind: 'directory' as const, path })),
    { kind: 'symlink', path: `${GUEST_IMAGES}/${INNER_IMAGE}`, target: `.versions/${INNER_IMAGE}` },
  ]);
  const files = [
    ...packaged,
    text('/modules/order', MODULES.join(' ')),
    text('/init', await readFile(join(import.meta.dirname, 'init.sh'), 'utf8'), 0o755),
    ...(await plinthTree()),
    ...(await innerImage(onProgress)),
  ];
  return { kernel: parts.files.get(KERNEL)!, initramfs: addFiles(base, files) };
}
