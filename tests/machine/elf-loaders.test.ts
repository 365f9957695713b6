// ELF parsing, PVH and multiboot.

import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/machine/bytes.ts';
import { findNote, parseElf } from '../../src/machine/loaders/elf.ts';
import { LoadError, type LoadOptions, loadKernel } from '../../src/machine/loaders/index.ts';
import { findMultibootHeader } from '../../src/machine/loaders/multiboot.ts';
import { createMemoryMap, MIB } from '../../src/machine/memory-map.ts';
import { FakeMemory } from './fake-memory.ts';
import { elfImage, elfNote } from './images.ts';

const RSDP = 0xe0000;
const code = Uint8Array.from({ length: 100 }, (_, i) => 0x90 + (i % 5));
const initrd = Uint8Array.from({ length: 5000 }, (_, i) => i * 3);
const PHYS32_ENTRY = 18;

async function load(options: Partial<LoadOptions> & { kernel: Uint8Array }) {
  const map = createMemoryMap(32 * MIB);
  const mem = new FakeMemory(map);
  const state = await loadKernel(mem, { commandLine: 'a=b c', map, rsdp: RSDP, ...options });
  return { mem, state, map };
}

const refusalOf = (options: Parameters<typeof load>[0]): Promise<string> =>
  load(options).then(
    () => 'loaded',
    (error: unknown) => (error instanceof LoadError ? error.code : String(error)),
  );

/** A kernel at 1 MiB with these notes. */
function withNotes(bits: 32 | 64, notes: Uint8Array): Uint8Array {
  return elfImage(bits, 0x100000, [
    { physical: 0x100000, data: code },
    { type: 4, physical: 0x100000, data: notes },
  ]);
}

describe('ELF', () => {
  it('finds a note behind others, by owner and type', () => {
    const notes = new ByteWriter()
      .bytes(elfNote('GNU', PHYS32_ENTRY, Uint8Array.of(1, 2, 3, 4)))
      .bytes(elfNote('Xen', 6, Uint8Array.of(5)))
      .bytes(elfNote('Xen', PHYS32_ENTRY, Uint8Array.of(9, 8, 7, 6)))
      .finish();
    const elf = parseElf(withNotes(64, notes));
    expect([...findNote(elf, 'Xen', PHYS32_ENTRY)!]).toEqual([9, 8, 7, 6]);
    expect(findNote(elf, 'Xen', 99)).toBeUndefined();
  });

  it('survives notes whose sizes lie', () => {
    for (const sizes of [
      [0xffffffff, 4],
      [4, 0xffffffff],
      [0x7ffffffd, 0x7ffffffd],
    ] as const) {
      const notes = new ByteWriter().u32(sizes[0]).u32(sizes[1]).u32(PHYS32_ENTRY).ascii('Xen').padTo(64).finish();
      expect(findNote(parseElf(withNotes(32, notes)), 'Xen', PHYS32_ENTRY)).toBeUndefined();
    }
  });

  it.each([32, 64] as const)('refuses damaged files, %d bit', (bits) => {
    const good = elfImage(bits, 0x100000, [{ physical: 0x100000, data: code }]);
    const codeOf = (bytes: Uint8Array): string => {
      try {
        parseElf(bytes);
      } catch (error) {
        if (error instanceof LoadError) return error.code;
      }
      return 'parsed';
    };
    const edited = (offset: number, value: number): Uint8Array => {
      const copy = good.slice();
      copy[offset] = value;
      return copy;
    };
    expect(codeOf(good)).toBe('parsed');
    expect(codeOf(good.subarray(0, 40))).toBe('truncated');
    expect(codeOf(good.subarray(0, 70))).toBe('truncated');
    expect(codeOf(good.subarray(0, 1100))).toBe('truncated');
    expect(codeOf(edited(4, 9))).toBe('unsupported');
    expect(codeOf(edited(5, 2))).toBe('unsupported');
    expect(codeOf(edited(16, 1))).toBe('not-a-kernel');
    expect(codeOf(edited(18, 183))).toBe('unsupported');
    expect(codeOf(edited(bits === 64 ? 56 : 44, 0))).toBe('not-a-kernel');
    expect(codeOf(edited(bits === 64 ? 39 : 31, 0xff))).toBe('truncated');
  });

  it('does not load over boot data or holes, and writes nothing then', async () => {
    const map = createMemoryMap(32 * MIB);
    const mem = new FakeMemory(map);
    const kernel = elfImage(32, 0x100000, [
      { physical: 0x100000, data: code },
      { physical: 0x8000, data: code },
    ]);
    await expect(loadKernel(mem, { kernel, commandLine: '', map, rsdp: RSDP, method: 'elf' })).rejects.toThrow(
      'where boot data lies',
    );
    expect(mem.read(0x100000, 100).every((b) => b === 0)).toBe(true);
    for (const physical of [0x9fff0, 0xa0000, 0xf0000]) {
      const bad = elfImage(32, physical, [{ physical, data: code }]);
      expect(await refusalOf({ kernel: bad, method: 'elf' })).toBe('unsupported');
    }
  });

  it('refuses an entry point outside the kernel', async () => {
    const kernel = elfImage(64, 0x200000, [{ physical: 0x100000, data: code }]);
    expect(await refusalOf({ kernel, method: 'elf' })).toBe('corrupt');
  });
});

describe('PVH', () => {
  const note = elfNote('Xen', PHYS32_ENTRY, Uint8Array.of(0x20, 0, 0x10, 0, 0, 0, 0, 0));

  it('enters in 32-bit protected mode with start info in EBX', async () => {
    const { mem, state, map } = await load({ kernel: withNotes(64, note), initrd });
    expect(state.method).toBe('pvh');
    expect(state.regs.rip).toBe(0x100020n);
    expect(state.sregs.cr0).toBe(0x11n);
    expect(state.sregs.cs.l).toBe(0);
    const info = Number(state.regs.rbx);
    expect(mem.u32(info)).toBe(0x336ec578);
    expect([mem.u32(info + 4), mem.u32(info + 8), mem.u32(info + 12)]).toEqual([1, 0, 1]);
    expect(mem.string(Number(mem.u64(info + 24)))).toBe('a=b c');
    expect(mem.u64(info + 32)).toBe(BigInt(RSDP));
    const module = Number(mem.u64(info + 16));
    expect(mem.read(Number(mem.u64(module)), Number(mem.u64(module + 8)))).toEqual(initrd);
    const ranges = Number(mem.u64(info + 40));
    expect(mem.u32(info + 48)).toBe(map.e820.length);
    map.e820.forEach((e, i) => {
      expect(mem.u64(ranges + i * 24)).toBe(BigInt(e.base));
      expect(mem.u64(ranges + i * 24 + 8)).toBe(BigInt(e.size));
      expect(mem.u32(ranges + i * 24 + 16)).toBe(e.type);
    });
  });

  it('has no module without an initrd', async () => {
    const { mem, state } = await load({ kernel: withNotes(32, note) });
    const info = Number(state.regs.rbx);
    expect([mem.u32(info + 12), mem.u64(info + 16)]).toEqual([0, 0n]);
  });

  it('is refused for an ELF file without the note', async () => {
    const kernel = elfImage(64, 0x100000, [{ physical: 0x100000, data: code }]);
    expect(await refusalOf({ kernel, method: 'pvh' })).toBe('not-a-kernel');
    expect(await refusalOf({ kernel })).toBe('not-a-kernel');
  });
});

describe('multiboot', () => {
  const header = (flags: number, ...addresses: number[]): Uint8Array => {
    const w = new ByteWriter()
      .u32(0x1badb002)
      .u32(flags)
      .u32(-(0x1badb002 + flags));
    for (const address of addresses) w.u32(address);
    return w.finish();
  };

  it('boots an ELF kernel with memory map, command line and module', async () => {
    const data = new ByteWriter().bytes(header(3)).bytes(code).finish();
    const kernel = elfImage(32, 0x10000c, [{ physical: 0x100000, data, memorySize: 0x3001 }]);
    const { mem, state, map } = await load({ kernel, initrd });
    expect(state.method).toBe('multiboot');
    expect(state.regs.rax).toBe(0x2badb002n);
    expect(state.regs.rip).toBe(0x10000cn);
    expect(state.sregs.cr0).toBe(0x11n);
    const info = Number(state.regs.rbx);
    expect(mem.u32(info)).toBe(0x24d);
    expect([mem.u32(info + 4), mem.u32(info + 8)]).toEqual([639, 31 * 1024]);
    expect(mem.string(mem.u32(info + 16))).toBe('a=b c');
    expect(mem.string(mem.u32(info + 64))).toBe('Plinth');
    expect(mem.u32(info + 20)).toBe(1);
    const module = mem.u32(info + 24);
    const [start, end] = [mem.u32(module), mem.u32(module + 4)];
    expect(start).toBe(0x104000);
    expect(mem.read(start, end - start)).toEqual(initrd);
    expect(mem.string(mem.u32(module + 8))).toBe('initrd');
    let at = mem.u32(info + 48);
    for (const e of map.e820) {
      expect([mem.u64(at + 4), mem.u64(at + 12), mem.u32(at + 20)]).toEqual([BigInt(e.base), BigInt(e.size), e.type]);
      at += mem.u32(at) + 4;
    }
    expect(at).toBe(mem.u32(info + 48) + mem.u32(info + 44));
  });

  it('boots a flat file by the addresses in its header', async () => {
    const text = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
    const at = 0x40;
    const build = (loadEnd: number, bssEnd: number): Uint8Array =>
      new ByteWriter()
        .padTo(at)
        .bytes(header(0x10000, 0x200040, 0x200000, loadEnd, bssEnd, 0x200060))
        .bytes(text)
        .finish();
    const whole = await load({ kernel: build(0, 0) });
    expect(whole.state.regs.rip).toBe(0x200060n);
    expect(whole.mem.read(0x200060, 64)).toEqual(text);
    const part = await load({ kernel: build(0x200070, 0x201000), initrd });
    expect(part.mem.read(0x200060, 32)).toEqual(new Uint8Array([...text.subarray(0, 16), ...new Uint8Array(16)]));
    expect(part.mem.u32(part.mem.u32(Number(part.state.regs.rbx) + 24))).toBe(0x201000);
  });

  it('looks for the header in the first 8 KiB only, and checks its sum', () => {
    const at = (offset: number): Uint8Array => new ByteWriter().padTo(offset).bytes(header(0)).padTo(16384).finish();
    expect(findMultibootHeader(at(8180))).toEqual({ offset: 8180, flags: 0 });
    expect(findMultibootHeader(at(8184))).toBeUndefined();
    const bad = at(64);
    bad[72]! ^= 1;
    expect(findMultibootHeader(bad)).toBeUndefined();
    expect(findMultibootHeader(Uint8Array.of(2, 0xb0))).toBeUndefined();
  });

  it.each([
    ['unknown requirements', header(0x8, 0, 0, 0, 0, 0), 'unsupported'],
    ['no addresses and no ELF', header(0), 'not-a-kernel'],
    ['addresses cut off', header(0x10000, 0x100000), 'truncated'],
    ['a load address above its header', header(0x10000, 0x100000, 0x200000, 0, 0, 0), 'corrupt'],
    ['an end beyond the file', header(0x10000, 0x100000, 0x100000, 0x200000, 0, 0), 'truncated'],
    ['an end before the start', header(0x10000, 0x100000, 0x100000, 0x1000, 0, 0), 'truncated'],
    ['a load address beyond RAM', header(0x10000, 0xf0000000, 0xf0000000, 0, 0, 0), 'memory-too-small'],
    ['a bss beyond RAM', header(0x10000, 0x100000, 0x100000, 0, 0xffffffff, 0), 'memory-too-small'],
  ] as const)('refuses %s', async (_name, kernel, code) => {
    expect(await refusalOf({ kernel, method: 'multiboot' })).toBe(code);
  });

  it('refuses a module larger than memory', async () => {
    const data = new ByteWriter().bytes(header(0)).bytes(code).finish();
    const kernel = elfImage(32, 0x10000c, [{ physical: 0x100000, data }]);
    expect(await refusalOf({ kernel, initrd: new Uint8Array(31 * MIB) })).toBe('initrd-too-large');
  });
});
