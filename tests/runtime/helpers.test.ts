import { describe, expect, it } from 'vitest';
import { HELPERS } from '../../src/isa/helpers.ts';
import { runtimeBytes } from './machine.ts';

/** Reads just enough of a Wasm module to give each exported function's type in the letters of helpers.ts. */
function exportedTypes(bytes: Uint8Array): Map<string, string> {
  let at = 8;
  const leb = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const b = bytes[at++]!;
      value |= (b & 0x7f) << shift;
      if (b < 0x80) return value;
    }
  };
  const letters = (): string =>
    Array.from({ length: leb() }, () => ({ 127: 'i', 126: 'l', 123: 'v' })[bytes[at++]!] ?? '?').join('');
  const name = (): string => {
    const n = leb();
    at += n;
    return Buffer.from(bytes.subarray(at - n, at)).toString();
  };
  const types: string[] = [];
  const functions: number[] = [];
  const exported = new Map<string, string>();
  while (at < bytes.length) {
    const section = bytes[at++]!;
    const size = leb();
    const end = at + size;
    if (section === 1) {
      for (let n = leb(); n > 0; n--) {
        at++;
        types.push(`(${letters()}):${letters()}`);
      }
    } else if (section === 2) {
      for (let n = leb(); n > 0; n--) {
        name();
        name();
        const kind = bytes[at++]!;
        if (kind === 0) functions.push(leb());
        else if (kind === 2) {
          if (leb() & 1) leb();
          leb();
        } else throw new Error(`import kind ${kind} is not expected`);
      }
    } else if (section === 3) {
      for (let n = leb(); n > 0; n--) functions.push(leb());
    } else if (section === 7) {
      for (let n = leb(); n > 0; n--) {
        const label = name();
        const kind = bytes[at++]!;
        const index = leb();
        if (kind === 0) exported.set(label, types[functions[index]!]!);
      }
    }
    at = end;
  }
  return exported;
}

/** Helpers that the engine provides itself. */
const ENGINE = new Set(['hw_random']);

describe('the runtime', () => {
  const exported = exportedTypes(runtimeBytes);
  it.each(HELPERS.filter((h) => !ENGINE.has(h.name)).map((h) => [h.name, `(i${h.params}):${h.result}`]))(
    'exports %s as rows call it',
    (name, type) => expect(exported.get(name)).toBe(type),
  );

  it('keeps no data of its own in memory', () => {
    let at = 8;
    const sections: number[] = [];
    while (at < runtimeBytes.length) {
      sections.push(runtimeBytes[at++]!);
      let size = 0;
      for (let shift = 0; ; shift += 7) {
        const b = runtimeBytes[at++]!;
        size |= (b & 0x7f) << shift;
        if (b < 0x80) break;
      }
      at += size;
    }
    expect(sections).not.toContain(11);
  });
});
