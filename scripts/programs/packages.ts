// The distribution's packages that the comparison runs, with all they depend on, unpacked into one folder that host and
// guest use as their root. Fetched and verified as images are (src/image), kept in the cache folder under programs/.

import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Apt, type OnProgress, type PackageRecord } from '../../src/image/apt.ts';
import { cacheDir, withWorkDir } from '../../src/image/cache.ts';
import { type PackagedEntry, unpackDeb } from '../../src/image/deb.ts';

const PYTHON = 'python3.11';
const WANTED = [
  'dash',
  'coreutils',
  'diffutils',
  'openssl',
  'gzip',
  'xz-utils',
  `${PYTHON}-minimal`,
  `lib${PYTHON}-stdlib`,
  `lib${PYTHON}-testsuite`,
];

/** What packages depend on for being installed, or to hold data that no program here reads. */
const LEFT_OUT = new Set(['dpkg', 'debianutils', 'debconf', 'install-info', 'media-types', 'net-tools', PYTHON]);

/** Of the packages' files those that programs use; of Python's tests, those that are run. */
function accepts(path: string): boolean {
  if (/^usr\/(share|include|games)\//.test(path) || path.includes('/gconv/')) return false;
  const test = /^usr\/lib\/python3\.\d+\/test\/(.*)/.exec(path)?.[1];
  if (test === undefined) return true;
  return /^(test_(float|math|cmath|struct|decimal|fractions|long)\.py|[^/]*testcases\.txt|decimaltestdata\/|__|ann_module|support\/|libregrtest\/|regrtest|test_(grammar|contextlib)|floating_points|ieee754|[^/]*_tests\.py)/.test(
    test,
  );
}

/** Names of the packages that a dependency field asks for; of alternatives the first. */
export function dependencies({ depends, preDepends }: Pick<PackageRecord, 'depends' | 'preDepends'>): string[] {
  const clauses = `${preDepends},${depends}`.split(',').map((c) => c.split('|')[0]!.trim());
  return clauses.map((c) => c.replace(/[\s(:].*/s, '')).filter((name) => name !== '');
}

/** The packages and all they depend on. */
async function closure(apt: Apt): Promise<PackageRecord[]> {
  const records = new Map<string, PackageRecord>();
  const open = [...WANTED];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (records.has(name) || LEFT_OUT.has(name)) continue;
    const record = await apt.show(name);
    records.set(name, record);
    open.push(...dependencies(record));
  }
  return [...records.values()].sort((a, b) => (a.package < b.package ? -1 : 1));
}

async function layOut(entries: readonly PackagedEntry[], root: string): Promise<void> {
  for (const entry of entries) {
    const path = join(root, entry.path);
    await mkdir(dirname(path), { recursive: true });
    if (entry.kind === 'file') await writeFile(path, entry.bytes, { mode: entry.mode });
    else await symlink(entry.target, path);
  }
}

export interface Programs {
  /** The folder on the host that is the root of the programs. */
  readonly root: string;
  /** Package and version, one line each. */
  readonly packages: readonly string[];
}

const INDEX = 'packages.json';

async function readCached(folder: string): Promise<Programs | undefined> {
  try {
    const packages: string[] = JSON.parse(await readFile(join(folder, INDEX), 'utf8'));
    return { root: join(folder, 'root'), packages };
  } catch {
    return undefined;
  }
}

/**
 * The unpacked packages, from the cache if they are there and `fresh` is not set.
 * @param prepare makes in a new root what is not in packages; runs once
 * @throws ImageError when apt is missing or offline, or a package is damaged
 */
export async function unpackedPrograms(
  onProgress: OnProgress,
  fresh: boolean,
  prepare: (root: string) => void,
): Promise<Programs> {
  const cache = cacheDir();
  const folder = join(cache, 'programs');
  const cached = fresh ? undefined : await readCached(folder);
  if (cached) return cached;
  return withWorkDir(cache, async (directory) => {
    const staging = join(directory, 'programs');
    const root = join(staging, 'root');
    await mkdir(join(root, 'tmp'), { recursive: true });
    const apt = new Apt({ architecture: 'amd64', stateDir: join(cache, 'apt-amd64'), onProgress });
    const packages: string[] = [];
    for (const { package: name } of await closure(apt)) {
      const { record, deb } = await apt.fetch(name, directory);
      packages.push(`${record.package} ${record.version}`);
      await layOut(await unpackDeb(deb, accepts), root);
    }
    prepare(root);
    await writeFile(join(staging, INDEX), JSON.stringify(packages, null, 1));
    await rm(folder, { recursive: true, force: true });
    await rename(staging, folder);
    return { root: join(folder, 'root'), packages };
  });
}
