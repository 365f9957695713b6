// Writes a cpio archive in the "newc" format, the one Linux unpacks its initramfs from
// (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).

/** Something to put in the archive. `mode` holds the permission bits only; the type comes from `kind`. */
export type CpioEntry = { readonly path: string; readonly mode?: number } & (
  | { readonly kind: 'file'; readonly bytes: Uint8Array }
  | { readonly kind: 'directory' }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'character-device'; readonly major: number; readonly minor: number }
);

const fileType = { file: 0o100000, directory: 0o040000, symlink: 0o120000, 'character-device': 0o020000 } as const;
const defaultMode = { file: 0o644, directory: 0o755, symlink: 0o777, 'character-device': 0o600 } as const;

const encoder = new TextEncoder();
const trailerName = 'TRAILER!!!';

interface Header {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly size: number;
  readonly rdevMajor: number;
  readonly rdevMinor: number;
  readonly name: string;
}

// A header is the magic "070701" and 13 fields of 8 hexadecimal digits:
//   ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
// then the name with its NUL, padded to 4 bytes counted from the header's start, then the data, padded to 4.
function header(h: Header): Uint8Array {
  const name = encoder.encode(`${h.name}\0`);
  const fields = [h.ino, h.mode, 0, 0, h.nlink, 0, h.size, 0, 0, h.rdevMajor, h.rdevMinor, name.length, 0];
  const ascii = encoder.encode(`070701${fields.map((value) => value.toString(16).padStart(8, '0')).join('')}`);
  const bytes = new Uint8Array(padded(ascii.length + name.length));
  bytes.set(ascii);
  bytes.set(name, ascii.length);
  return bytes;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function dataOf(entry: CpioEntry): Uint8Array {
  if (entry.kind === 'file') return entry.bytes;
  if (entry.kind === 'symlink') return encoder.encode(entry.target);
  return new Uint8Array(0);
}

/**
 * Builds an archive of the entries in their order; a directory must come before what is in it. Owner is root,
 * times are zero, so equal input gives equal bytes.
 * @throws RangeError for a path that is empty, absolute, or leaves the archive's root
 */
export function buildCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  entries.forEach((entry, index) => {
    if (!/^(?!\.\.?(\/|$))[^/\0]+(\/(?!\.\.?(\/|$))[^/\0]+)*$/.test(entry.path)) {
      throw new RangeError(`cpio: bad path ${JSON.stringify(entry.path)}`);
    }
    const data = dataOf(entry);
    const device = entry.kind === 'character-device' ? entry : { major: 0, minor: 0 };
    parts.push(
      header({
        ino: index + 1,
        mode: fileType[entry.kind] | ((entry.mode ?? defaultMode[entry.kind]) & 0o7777),
        nlink: entry.kind === 'directory' ? 2 : 1,
        size: data.length,
        rdevMajor: device.major,
        rdevMinor: device.minor,
        name: entry.path,
      }),
    );
    parts.push(data, new Uint8Array(padded(data.length) - data.length));
  });
  parts.push(header({ ino: 0, mode: 0, nlink: 1, size: 0, rdevMajor: 0, rdevMinor: 0, name: trailerName }));
  const archive = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}
