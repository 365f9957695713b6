/**
 * A writer for ACPI Machine Language (ACPI 20): every function returns the encoding of one term, and terms
 * nest by passing one as an argument to another. Only what our tables use.
 */
import { ByteWriter } from '../bytes.ts';

/** The encoding of a term. */
export type Aml = Uint8Array;

const OP = {
  zero: 0x00,
  one: 0x01,
  name: 0x08,
  bytePrefix: 0x0a,
  wordPrefix: 0x0b,
  dwordPrefix: 0x0c,
  stringPrefix: 0x0d,
  qwordPrefix: 0x0e,
  scope: 0x10,
  buffer: 0x11,
  package: 0x12,
  method: 0x14,
  dualNamePrefix: 0x2e,
  multiNamePrefix: 0x2f,
  extPrefix: 0x5b,
  rootChar: 0x5c,
  arg0: 0x68,
  store: 0x70,
  if: 0xa0,
  return: 0xa4,
} as const;
/** Second byte after `OP.extPrefix`. */
const EXT_DEVICE = 0x82;

/** Terms one after the other. */
export function terms(...parts: readonly Aml[]): Aml {
  const w = new ByteWriter();
  for (const part of parts) w.bytes(part);
  return w.finish();
}

/** An integer constant in its shortest form, 0 to 2^64-1. */
export function integer(value: number | bigint): Aml {
  const v = BigInt(value);
  const w = new ByteWriter();
  if (v === 0n) return w.u8(OP.zero).finish();
  if (v === 1n) return w.u8(OP.one).finish();
  if (v <= 0xffn) return w.u8(OP.bytePrefix).u8(Number(v)).finish();
  if (v <= 0xffffn) return w.u8(OP.wordPrefix).u16(Number(v)).finish();
  if (v <= 0xffff_ffffn) return w.u8(OP.dwordPrefix).u32(Number(v)).finish();
  return w.u8(OP.qwordPrefix).u64(v).finish();
}

/** A zero-terminated ASCII string. */
export function string(text: string): Aml {
  return new ByteWriter().u8(OP.stringPrefix).ascii(text).u8(0).finish();
}

/**
 * A name such as `_HID`, `\\_SB` or `\\_SB.PCI0`; segments shorter than four characters are padded with `_`.
 * @throws RangeError when a segment is not a name
 */
export function namePath(path: string): Aml {
  const w = new ByteWriter();
  let rest = path;
  if (rest.startsWith('\\')) {
    w.u8(OP.rootChar);
    rest = rest.slice(1);
  }
  const segments = rest.split('.');
  if (segments.length === 2) w.u8(OP.dualNamePrefix);
  if (segments.length > 2) w.u8(OP.multiNamePrefix).u8(segments.length);
  for (const segment of segments) {
    if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new RangeError(`not an ACPI name: ${path}`);
    w.ascii(segment.padEnd(4, '_'));
  }
  return w.finish();
}

/**
 * PkgLength, which counts itself: one byte up to 63, else a lead byte and one to three more (ACPI 20.2.4).
 *
 *     lead byte: [7:6] number of bytes that follow   [5:0] length, or [3:0] its low nibble when bytes follow
 */
function packageLength(contentLength: number): Uint8Array {
  if (contentLength + 1 < 0x40) return Uint8Array.of(contentLength + 1);
  for (let following = 1; following <= 3; following++) {
    const length = contentLength + 1 + following;
    if (length >= 2 ** (4 + 8 * following)) continue;
    const encoded = [(following << 6) | (length & 0xf)];
    for (let i = 0; i < following; i++) encoded.push((length >> (4 + 8 * i)) & 0xff);
    return Uint8Array.from(encoded);
  }
  throw new RangeError('AML package is over 256 MiB');
}

/** Opcode bytes, the length of the content, the content. */
function packaged(opcode: readonly number[], content: Aml): Aml {
  return new ByteWriter().bytes(opcode).bytes(packageLength(content.length)).bytes(content).finish();
}

/** `Name (path, value)`. */
export function name(path: string, value: Aml): Aml {
  return terms(Uint8Array.of(OP.name), namePath(path), value);
}

/** `Scope (path) { body }`. */
export function scope(path: string, ...body: readonly Aml[]): Aml {
  return packaged([OP.scope], terms(namePath(path), ...body));
}

/** `Device (path) { body }`. */
export function device(path: string, ...body: readonly Aml[]): Aml {
  return packaged([OP.extPrefix, EXT_DEVICE], terms(namePath(path), ...body));
}

/** `Method (path, argumentCount, NotSerialized) { body }`, 0 to 7 arguments. */
export function method(path: string, argumentCount: number, ...body: readonly Aml[]): Aml {
  return packaged([OP.method], terms(namePath(path), Uint8Array.of(argumentCount & 7), ...body));
}

/** `Package () { elements }`, at most 255. */
export function pack(...elements: readonly Aml[]): Aml {
  if (elements.length > 255) throw new RangeError('AML package has over 255 elements');
  return packaged([OP.package], terms(Uint8Array.of(elements.length), ...elements));
}

/** `Buffer () { bytes }`. */
export function buffer(bytes: Uint8Array): Aml {
  return packaged([OP.buffer], terms(integer(bytes.length), bytes));
}

/** `If (predicate) { body }`. */
export function ifTrue(predicate: Aml, ...body: readonly Aml[]): Aml {
  return packaged([OP.if], terms(predicate, ...body));
}

/** `Return (value)`. */
export function returnValue(value: Aml): Aml {
  return terms(Uint8Array.of(OP.return), value);
}

/** `Store (source, target)`. */
export function store(source: Aml, target: Aml): Aml {
  return terms(Uint8Array.of(OP.store), source, target);
}

/** `Arg0` to `Arg6`. */
export function argument(index: number): Aml {
  return Uint8Array.of(OP.arg0 + index);
}

/**
 * `EisaId ("PNP0A03")` as a 32-bit integer (ACPI 19.3.4): three letters of five bits, four hex digits.
 *
 *     byte 0: [7] 0  [6:2] letter 1  [1:0] letter 2 high
 *     byte 1: [7:5] letter 2 low  [4:0] letter 3        bytes 2, 3: product number, big-endian
 * @throws RangeError when `id` does not have that form
 */
export function eisaId(id: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id)) throw new RangeError(`not an EISA id: ${id}`);
  const letter = (i: number): number => id.charCodeAt(i) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  const w = new ByteWriter().u8(OP.dwordPrefix);
  return w
    .u8(vendor >> 8)
    .u8(vendor)
    .u8(product >> 8)
    .u8(product)
    .finish();
}
