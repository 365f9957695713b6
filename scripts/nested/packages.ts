// What the outer guest takes from the distribution's packages: its kernel, KVM's modules, busybox and the libraries
// of Node.js. Fetched and verified as images are (src/image), kept in the cache folder under nested/.

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Apt, type OnProgress } from '../../src/image/apt.ts';
import { cacheDir, withWorkDir } from '../../src/image/cache.ts';
import { extractFromDeb } from '../../src/image/deb.ts';
import { kernelPackageOf } from '../../src/image/pull.ts';

/** The metapackage of the kernel that has KVM as modules. */
const KERNEL = 'linux-image-amd64';

/** KVM's modules in the order in which they are loaded: each needs those before it. */
export const MODULES = ['irqbypass', 'ccp', 'kvm', 'kvm-amd'] as const;

interface Part {
  readonly package: string;
  readonly accepts: (path: string) => boolean;
  /** Where the outer guest has it. */
  readonly path: string;
}

const library = (from: string, name: string, path = `/lib/x86_64-linux-gnu/${name}`): Part => ({
  package: from,
  // libstdc++.so.6 is a link to a file with the full version.
  accepts: (p) => {
    const file = /^(?:usr\/)?lib\/x86_64-linux-gnu\/([^/]+)$/.exec(p)?.[1];
    return file === name || file?.startsWith(`${name}.`) === true;
  },
  path,
});

const PARTS: readonly Part[] = [
  { package: KERNEL, accepts: (p) => /^boot\/vmlinuz-/.test(p), path: '/boot/vmlinuz' },
  ...MODULES.map((name) => ({
    package: KERNEL,
    accepts: (p: string) => p.endsWith(`/${name}.ko`),
    path: `/modules/${name}.ko`,
  })),
  { package: 'busybox-static', accepts: (p) => /^(usr\/)?bin\/busybox$/.test(p), path: '/bin/busybox' },
  library('libc6', 'ld-linux-x86-64.so.2', '/lib64/ld-linux-x86-64.so.2'),
  ...['libc.so.6', 'libm.so.6', 'libdl.so.2', 'libpthread.so.0'].map((name) => library('libc6', name)),
  library('libstdc++6', 'libstdc++.so.6'),
  library('libgcc-s1', 'libgcc_s.so.1'),
];

/** The parts: which package versions, and the files by their path in the outer guest. */
export interface OuterParts {
  readonly packages: readonly string[];
  readonly files: ReadonlyMap<string, Uint8Array>;
}

const INDEX = 'packages.json';

async function readParts(folder: string): Promise<OuterParts | undefined> {
  try {
    const packages: string[] = JSON.parse(await readFile(join(folder, INDEX), 'utf8'));
    const files = await Promise.all(
      PARTS.map(async ({ path }) => [path, new Uint8Array(await readFile(join(folder, path)))] as const),
    );
    return { packages, files: new Map(files) };
  } catch {
    return undefined;
  }
}

/** Fetches all packages into `directory` and lays their files out in `folder`. */
async function fetchParts(root: string, directory: string, folder: string, onProgress: OnProgress): Promise<void> {
  const apt = new Apt({ architecture: 'amd64', stateDir: join(root, 'apt-amd64'), onProgress });
  const packages: string[] = [];
  for (const name of new Set(PARTS.map((part) => part.package))) {
    const wanted = name === KERNEL ? kernelPackageOf(await apt.show(name)) : name;
    const { record, deb } = await apt.fetch(wanted, directory);
    packages.push(`${record.package} ${record.version}`);
    onProgress(`unpack ${record.package}`, 0);
    const parts = PARTS.filter((part) => part.package === name);
    const found = await extractFromDeb(
      deb,
      parts.map((part) => part.accepts),
    );
    for (const [i, part] of parts.entries()) {
      const file = join(folder, part.path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, found[i]!.bytes);
    }
    onProgress(`unpack ${record.package}`, 1);
  }
  await writeFile(join(folder, INDEX), JSON.stringify(packages));
}

/**
 * The parts from the cache; fetched when they are not there, or when `fresh`.
 * @throws ImageError when apt is missing or offline, or a package is not as expected
 */
export async function outerParts(onProgress: OnProgress, fresh: boolean): Promise<OuterParts> {
  const root = cacheDir();
  const folder = join(root, 'nested');
  const cached = fresh ? undefined : await readParts(folder);
  if (cached) return cached;
  return withWorkDir(root, async (directory) => {
    const staging = join(directory, 'nested');
    await mkdir(staging);
    await fetchParts(root, directory, staging, onProgress);
    const parts = await readParts(staging);
    if (!parts) throw new Error(`${staging} lacks a file that was just written`);
    await rm(folder, { recursive: true, force: true });
    await rename(staging, folder);
    return parts;
  });
}
