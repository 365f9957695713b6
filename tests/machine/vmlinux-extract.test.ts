// Unpacking kernels on the host: every format, damaged data, and a real kernel when one is given.

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { LoadError } from '../../src/machine/errors.ts';
import { crc32 } from '../../src/machine/loaders/compression/crc32.ts';
import { decompressLz4Legacy } from '../../src/machine/loaders/compression/lz4.ts';
import { decompressXz } from '../../src/machine/loaders/compression/xz.ts';
import { parseElf } from '../../src/machine/loaders/elf.ts';
import { extractVmlinux, loadKernel } from '../../src/machine/loaders/index.ts';
import { createMemoryMap, MIB } from '../../src/machine/memory-map.ts';
import { FakeMemory } from './fake-memory.ts';
import { bzImage, elfImage, withSize } from './images.ts';

const vmlinux = elfImage(64, 0x1000000, [
  { physical: 0x1000000, data: Uint8Array.from({ length: 5000 }, (_, i) => (i * i) >> 4) },
]);

/** Bytes thick with CALL, JMP and operands near zero: what the x86 filter has rules for. */
const FILTER_ALPHABET = [0xe8, 0xe9, 0, 0xff, 0xe8, 0, 0xff, 1, 0xfe, 0x7f];
const filterFood = Uint8Array.from({ length: 400 }, (_, i) => FILTER_ALPHABET[(i * i * 7 + (i >> 3) * 5) % 10]!);
/** `filterFood` by `xz --check=crc32 --x86 --lzma2=preset=6`. */
const filterFoodXz = Buffer.from(
  '/Td6WFoAAAFpIt42AgEEACEBFgANhjUf4AGPAFVdAHQBm8zuGtwNr3GEakPyqIB1zaXVz419/H5HlUXFb4wwWIdt80sPXZb/DP0e+ezZaejl' +
    't0mjIMB04JZz8/1oiQQYV9wMPk3/S5wJV/33QVF/MGAtOCUAAAAAUwomOQABbZADAAAAp0CMtD4wDYsCAAAAAAFZWg==',
  'base64',
);

/** A legacy LZ4 frame of one block. */
function lz4Frame(...block: number[]): Uint8Array {
  return Uint8Array.of(0x02, 0x21, 0x4c, 0x18, block.length, 0, 0, 0, ...block);
}

/** A legacy LZ4 frame of `data` as literals, in blocks of `blockSize`. */
function lz4Literals(data: Uint8Array, blockSize: number): Uint8Array {
  const out = [0x02, 0x21, 0x4c, 0x18];
  for (let at = 0; at < data.length; at += blockSize) {
    const part = data.subarray(at, at + blockSize);
    const block = [0xf0];
    let rest = part.length - 15;
    for (; rest >= 255; rest -= 255) block.push(255);
    block.push(rest, ...part);
    out.push(block.length & 0xff, (block.length >> 8) & 0xff, block.length >> 16, 0, ...block);
  }
  return Uint8Array.from(out);
}

describe('extractVmlinux', () => {
  it.each([
    ['nothing', vmlinux],
    ['gzip', gzipSync(vmlinux)],
    ['zstd', withSize(zstdCompressSync(vmlinux), vmlinux.length)],
    ['lz4', withSize(lz4Literals(vmlinux, 3000), vmlinux.length)],
  ] as const)('undoes %s', async (_name, payload) => {
    expect(await extractVmlinux(bzImage({ payload: Uint8Array.from(payload) }))).toEqual(vmlinux);
  });

  it.each([
    ['bzip2', Uint8Array.of(0x42, 0x5a, 0x68, 0x39, 0, 0, 0, 0), 'unsupported'],
    ['noise', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 'unsupported'],
    ['a damaged gzip', Uint8Array.from(gzipSync(vmlinux)).fill(0xff, 20, 40), 'corrupt'],
    ['a damaged zstd', withSize(Uint8Array.from(zstdCompressSync(vmlinux)).fill(0xff, 9, 40), 6024), 'corrupt'],
    ['a gzip of text', Uint8Array.from(gzipSync(new Uint8Array(100))), 'corrupt'],
    ['a lying size', withSize(lz4Literals(vmlinux, 3000), 0xffffffff), 'corrupt'],
  ] as const)('refuses %s', async (_name, payload, code) => {
    await expect(extractVmlinux(bzImage({ payload }))).rejects.toMatchObject({ name: 'LoadError', code });
  });
});

describe('LZ4 legacy frames', () => {
  it('copies matches, also onto themselves', () => {
    // "ab", then 8 bytes from 2 back, then "cd", then 4 bytes from 6 back, then the end: no literals.
    const frame = lz4Frame(0x24, 0x61, 0x62, 2, 0, 0x20, 0x63, 0x64, 6, 0, 0x00);
    expect(new TextDecoder().decode(decompressLz4Legacy(frame, 16))).toBe('abababababcdabab');
  });

  it('reads lengths that go on', () => {
    // 15 + 0 literals; a match of 4 + 15 + 255 + 1 from 1 back.
    const frame = lz4Frame(0xff, 0, ...Array.from({ length: 15 }, (_, i) => i), 1, 0, 255, 1, 0x00);
    const out = decompressLz4Legacy(frame, 15 + 275);
    expect([...out.subarray(0, 15)]).toEqual(Array.from({ length: 15 }, (_, i) => i));
    expect(out.subarray(15).every((b) => b === 14)).toBe(true);
  });

  it('copies from every distance, as many bytes as are asked for', () => {
    for (let offset = 1; offset <= 35; offset++) {
      for (const length of [4, 5, 8, 15, 16, 17, 18, 19, 20, 31, 32, 33, 48, 70]) {
        const literals = Array.from({ length: offset }, (_, i) => (i * 37 + length) & 0xff);
        const more = (n: number): number[] => (n < 15 ? [] : [n - 15]);
        const token = (Math.min(offset, 15) << 4) | Math.min(length - 4, 15);
        const frame = lz4Frame(token, ...more(offset), ...literals, offset, 0, ...more(length - 4), 0x10, 0xee);
        const expected = [...literals];
        for (let i = 0; i < length; i++) expected.push(expected[expected.length - offset]!);
        expected.push(0xee);
        const out = decompressLz4Legacy(frame, expected.length);
        expect([...out], `${length} bytes from ${offset} back`).toEqual(expected);
      }
    }
  });

  it.each([
    ['a match before the start', lz4Frame(0x10, 0x61, 2, 0, 0), 5],
    ['a match of offset 0', lz4Frame(0x10, 0x61, 0, 0, 0), 5],
    ['more than the stated size', lz4Frame(0x20, 0x61, 0x62), 1],
    ['less than the stated size', lz4Frame(0x20, 0x61, 0x62), 3],
    ['literals beyond the block', lz4Frame(0x40, 0x61), 4],
    ['a length that never ends', lz4Frame(0xf0, 255, 255), 4],
    ['a match cut off', lz4Frame(0x10, 0x61, 1), 5],
    ['a block beyond the file', lz4Frame(0x10, 0x61).subarray(0, 9), 1],
  ] as const)('refuses %s', (_name, frame, size) => {
    expect(() => decompressLz4Legacy(frame, size)).toThrow(LoadError);
  });
});

describe('xz', () => {
  it('computes the CRC-32 of the standard', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  });

  it('undoes the x86 filter', async () => {
    expect(await decompressXz(filterFoodXz, filterFood.length)).toEqual(filterFood);
  });

  it('refuses damage anywhere', async () => {
    for (let at = 0; at < filterFoodXz.length; at++) {
      const bad = filterFoodXz.slice();
      bad[at]! ^= 0x10;
      const outcome = await decompressXz(bad, filterFood.length).then(
        (out) => (Buffer.compare(out, filterFood) === 0 ? 'same' : 'wrong'),
        (error: unknown) => (error instanceof LoadError ? 'refused' : String(error)),
      );
      // Padding and what repeats the header elsewhere is not looked at; wrong output must not get out.
      expect(['refused', 'same'], `byte ${at}`).toContain(outcome);
    }
    await expect(decompressXz(filterFoodXz, 399)).rejects.toThrow(LoadError);
    await expect(decompressXz(filterFoodXz.subarray(0, 100), 400)).rejects.toThrow(LoadError);
  });
});

const hasXz = spawnSync('xz', ['--version']).error === undefined;
if (!hasXz) console.log('skipped: xz streams made on the spot, because the xz command is not installed');

describe.skipIf(!hasXz)('xz streams made on the spot', () => {
  it.each([
    ['the x86 filter', ['--x86', '--lzma2=preset=0']],
    ['no filter', ['--lzma2=preset=0']],
    ['several blocks', ['--x86', '--lzma2=preset=0', '--block-size=20000']],
  ])('with %s', async (_name, options) => {
    let seed = 7;
    for (let length = 0; length < 100_000; length = length * 4 + 3) {
      const data = Uint8Array.from({ length }, () => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        return (seed >>> 8) % 3 === 0 ? seed >>> 24 : FILTER_ALPHABET[(seed >>> 8) % 10]!;
      });
      const packed = execFileSync('xz', ['--check=crc32', ...options, '-c'], { input: data });
      expect(Buffer.compare(await decompressXz(packed, length), data)).toBe(0);
    }
  });
});

const kernelPath = process.env.PLINTH_TEST_KERNEL;
if (!kernelPath) console.log('skipped: loading a real kernel, because PLINTH_TEST_KERNEL does not name a bzImage');

describe.skipIf(!kernelPath)('a real kernel', () => {
  it('is unpacked and loaded, by every method it knows', async () => {
    const kernel = readFileSync(kernelPath!);
    const unpacked = await extractVmlinux(kernel);
    const { bits } = parseElf(unpacked);
    const map = createMemoryMap(256 * MIB);
    for (const [method, expected] of [
      ['auto', `linux-elf-${bits}`],
      ['elf', `linux-elf-${bits}`],
      ['bzimage', `bzimage-${bits}`],
    ] as const) {
      const mem = new FakeMemory(map);
      const state = await loadKernel(mem, { kernel, commandLine: '', map, rsdp: 0xe0000, method });
      expect(state.method).toBe(expected);
      expect(mem.read(Number(state.regs.rip), 16).some((b) => b !== 0)).toBe(true);
    }
  });
});
