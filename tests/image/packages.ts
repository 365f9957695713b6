// Makes small Debian packages and a stand-in for apt for tests.

import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { create } from 'tar';

/** An `ar` archive of members. */
export function makeAr(members: readonly (readonly [name: string, bytes: Uint8Array])[]): Uint8Array {
  const parts: Buffer[] = [Buffer.from('!<arch>\n')];
  for (const [name, bytes] of members) {
    const fields = [name.padEnd(16), '0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)];
    parts.push(Buffer.from(`${fields.join('')}${String(bytes.length).padEnd(10)}\`\n`), Buffer.from(bytes));
    if (bytes.length % 2 === 1) parts.push(Buffer.from('\n'));
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** A symbolic link, where a test's package may have a file. */
export interface Link {
  readonly target: string;
}
export const link = (target: string): Link => ({ target });

/** A tar archive of files, with paths that begin with `./` as dpkg writes them. */
export function makeTar(files: { readonly [path: string]: string | Uint8Array | Link }): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'plinth-tar-'));
  try {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      if (typeof content === 'object' && 'target' in content) symlinkSync(content.target, join(folder, path));
      else writeFileSync(join(folder, path), content);
    }
    const file = join(folder, '.out.tar');
    create({ cwd: folder, file, sync: true, portable: true, filter: (path) => !path.endsWith('.out.tar') }, ['./']);
    return new Uint8Array(readFileSync(file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const compressors = {
  '': (bytes: Uint8Array) => bytes,
  '.gz': (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)),
  '.zst': (bytes: Uint8Array) => new Uint8Array(zstdCompressSync(bytes)),
} as const;

/** A .deb with the given files. */
export function makeDeb(
  files: { readonly [path: string]: string | Uint8Array | Link },
  suffix: keyof typeof compressors = '.gz',
): Uint8Array {
  return makeAr([
    ['debian-binary', Buffer.from('2.0\n')],
    ['control.tar.gz', new Uint8Array(gzipSync(makeTar({ control: 'Package: test\n' })))],
    [`data.tar${suffix}`, compressors[suffix](makeTar(files))],
  ]);
}

/** A package that the stand-in for apt knows. */
export interface FakePackage {
  readonly name: string;
  readonly deb: Uint8Array;
  readonly depends?: string;
  /** What the index says instead of the true checksum. */
  readonly sha256?: string;
}

/**
 * Writes `apt-get` and `apt-cache` scripts that know some packages.
 * @param folder where the scripts and their packages go
 * @param download shell commands that `apt-get download` runs first, such as `exit 100`
 * @returns a PATH that finds them before the system's
 */
export function makeFakeApt(folder: string, packages: readonly FakePackage[], download = ''): string {
  mkdirSync(folder, { recursive: true });
  for (const { name, deb, depends = '', sha256 = createHash('sha256').update(deb).digest('hex') } of packages) {
    writeFileSync(join(folder, `${name}.deb`), deb);
    const fields = { Package: name, Version: '1:2.0-3', Architecture: 'amd64', Depends: depends };
    const index = { ...fields, Description: 'test\n more', Size: deb.length, SHA256: sha256 };
    const stanza = Object.entries(index).map(([field, value]) => `${field}: ${value}\n`);
    writeFileSync(join(folder, `${name}.record`), stanza.join(''));
  }
  // The last argument is the package, with or without "=version".
  const last = 'for last; do :; done; name=$(echo "$last" | sed "s/=.*//")';
  const scripts = {
    'apt-cache': `${last}\ncat "${folder}/$name.record" 2>/dev/null || { echo "E: No packages found" >&2; exit 100; }`,
    'apt-get': `${last}\nif [ "$name" = update ]; then echo "E: Failed to fetch lists  Could not resolve host" >&2; exit 100; fi
${download}\ncp "${folder}/$name.deb" "./$name.2.0.deb" && echo "dlstatus:1:50.5:Retrieving" >&3`,
  };
  for (const [tool, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, tool), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, tool), 0o755);
  }
  return `${folder}:${process.env.PATH}`;
}
