// Reads the members of a Unix `ar` archive, the outer format of a Debian package (deb(5), ar(5)).

import { ImageError } from './errors.ts';

/** One member; `bytes` is a view into the archive. */
export interface ArMember {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const magic = '!<arch>\n';

// A member header, 60 bytes of ASCII, each field padded with spaces on the right:
//   0..15 name   16..27 mtime   28..33 uid   34..39 gid   40..47 mode (octal)   48..57 size (decimal)   58..59 "`\n"
const headerLength = 60;
const nameField = [0, 16] as const;
const sizeField = [48, 58] as const;
const endField = [58, 60] as const;

function text(bytes: Uint8Array, at: number, [from, to]: readonly [number, number]): string {
  return String.fromCharCode(...bytes.subarray(at + from, at + to));
}

function damaged(what: string): ImageError {
  return new ImageError(`the package is not an intact ar archive (${what})`, 'pull the image again');
}

/**
 * Lists the members of an archive in their order. Members start at even offsets.
 * @throws ImageError when the archive is truncated or is none
 */
export function readAr(bytes: Uint8Array): ArMember[] {
  if (text(bytes, 0, [0, magic.length]) !== magic) throw damaged('no ar signature');
  const members: ArMember[] = [];
  let at = magic.length;
  while (at < bytes.length) {
    if (at + headerLength > bytes.length) throw damaged('truncated member header');
    const size = text(bytes, at, sizeField).trimEnd();
    if (text(bytes, at, endField) !== '`\n' || !/^\d+$/.test(size)) throw damaged('bad member header');
    const start = at + headerLength;
    const end = start + Number(size);
    if (end > bytes.length) throw damaged('truncated member');
    // GNU ar ends a name with a slash, dpkg does not.
    const name = text(bytes, at, nameField).trimEnd().replace(/\/$/, '');
    members.push({ name, bytes: bytes.subarray(start, end) });
    at = end + (end % 2);
  }
  return members;
}
