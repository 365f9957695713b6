// Loading Linux: bzImage by both protocols, the ELF kernel inside it, and what is refused and how.

import { describe, expect, it } from 'vitest';
import { LoadError, type LoadOptions, loadKernel } from '../../src/machine/loaders/index.ts';
import { createMemoryMap, GIB, MIB } from '../../src/machine/memory-map.ts';
import { FakeMemory } from './fake-memory.ts';
import { bzImage, elfImage, SETUP_SIZE, withSize } from './images.ts';

const RSDP = 0xe0000;
const ZERO_PAGE = 0x7000;
const initrd = Uint8Array.from({ length: 5000 }, (_, i) => i * 7);

async function load(options: Partial<LoadOptions> & { ram?: number }) {
  const map = createMemoryMap(options.ram ?? 64 * MIB);
  const mem = new FakeMemory(map);
  const state = await loadKernel(mem, { kernel: bzImage(), commandLine: 'quiet', map, rsdp: RSDP, ...options });
  return { mem, state, map };
}

async function refusal(options: Parameters<typeof load>[0]): Promise<LoadError> {
  try {
    await load(options);
  } catch (error) {
    if (error instanceof LoadError) {
      expect(error.message).not.toContain('\n');
      expect(error.advice.length).toBeGreaterThan(5);
      return error;
    }
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('bzImage', () => {
  it('boots by the 64-bit protocol at the preferred address', async () => {
    const kernel = bzImage();
    const { mem, state } = await load({ kernel, initrd, method: 'bzimage' });
    expect(state.method).toBe('bzimage-64');
    expect(state.regs.rip).toBe(0x1000200n);
    expect(state.regs.rsi).toBe(BigInt(ZERO_PAGE));
    expect(state.regs.rflags).toBe(2n);
    expect(state.sregs.cs.l).toBe(1);
    expect(mem.read(0x1000000, kernel.length - SETUP_SIZE)).toEqual(kernel.subarray(SETUP_SIZE));
  });

  it('fills boot_params', async () => {
    const { mem, map } = await load({ initrd, commandLine: 'console=ttyS0 ä', method: 'bzimage' });
    const field = (offset: number): number => mem.u32(ZERO_PAGE + offset);
    expect(field(0x202)).toBe(0x53726448);
    expect(mem.read(ZERO_PAGE + 0x210, 1)[0]).toBe(0xff);
    expect(field(0x214)).toBe(0x1000000);
    expect(mem.u64(ZERO_PAGE + 0x70)).toBe(BigInt(RSDP));
    expect(mem.read(ZERO_PAGE + 0x1ef, 1)[0]).toBe(0);
    const text = new TextDecoder().decode(mem.read(field(0x228), 64));
    expect(text.slice(0, text.indexOf('\0'))).toBe('console=ttyS0 ä');
    expect(mem.read(ZERO_PAGE + 0x1e8, 1)[0]).toBe(map.e820.length);
    map.e820.forEach((e, i) => {
      const at = ZERO_PAGE + 0x2d0 + i * 20;
      expect([mem.u64(at), mem.u64(at + 8), mem.u32(at + 16)]).toEqual([BigInt(e.base), BigInt(e.size), e.type]);
    });
  });

  it('puts the ramdisk at the top of low memory, whole', async () => {
    const { mem, map } = await load({ initrd, method: 'bzimage' });
    const base = mem.u32(ZERO_PAGE + 0x218);
    expect(mem.u32(ZERO_PAGE + 0x21c)).toBe(initrd.length);
    expect(base % 4096).toBe(0);
    expect(base + initrd.length).toBeLessThanOrEqual(map.lowRamEnd);
    expect(base + 2 * 4096 + 4096).toBeGreaterThan(map.lowRamEnd);
    expect(mem.read(base, initrd.length)).toEqual(initrd);
  });

  it('keeps the ramdisk below the limit of the kernel and below the PCI hole', async () => {
    const low = await load({ kernel: bzImage({ initrdMax: 0x2ffffff }), initrd, method: 'bzimage' });
    expect(low.mem.u32(ZERO_PAGE + 0x218)).toBe(0x3000000 - 2 * 4096);
    const high = await load({ kernel: bzImage({ initrdMax: 0xffffffff }), initrd, ram: 4 * GIB, method: 'bzimage' });
    expect(high.mem.u32(ZERO_PAGE + 0x218)).toBe(3 * GIB - 2 * 4096);
  });

  it('boots kernels without a 64-bit entry by the 32-bit protocol', async () => {
    const { state } = await load({ kernel: bzImage({ is64Bit: false }) });
    expect(state.method).toBe('bzimage-32');
    expect(state.regs.rip).toBe(0x1000000n);
    expect(state.regs.rsi).toBe(BigInt(ZERO_PAGE));
    expect(state.sregs.cr0).toBe(0x11n);
  });

  it('loads a kernel that cannot move at 1 MiB', async () => {
    const { state } = await load({ kernel: bzImage({ relocatable: false }) });
    expect(state.regs.rip).toBe(0x100200n);
  });

  it('takes old protocol versions with their defaults', async () => {
    const { state, mem } = await load({ kernel: bzImage({ version: 0x203 }), commandLine: 'x'.repeat(255) });
    expect(state.method).toBe('bzimage-32');
    expect(state.regs.rip).toBe(0x100000n);
    expect(mem.u16(ZERO_PAGE + 0x1fa)).toBe(0xffff);
    expect((await refusal({ kernel: bzImage({ version: 0x203 }), commandLine: 'x'.repeat(256) })).code).toBe(
      'command-line-too-long',
    );
  });
});

describe('vmlinux', () => {
  const data = Uint8Array.from({ length: 300 }, (_, i) => i ^ 0x55);
  const vmlinux = (bits: 32 | 64): Uint8Array =>
    elfImage(bits, 0x1000010, [
      { physical: 0x1000000, virtual: 0x81000000, data },
      { physical: 0x1200000, virtual: 0, data, memorySize: 0x4000 },
    ]);

  it.each([32, 64] as const)('out of a bzImage boots at its linked address, %d bit', async (bits) => {
    const { mem, state } = await load({ kernel: bzImage({ payload: vmlinux(bits) }), initrd });
    expect(state.method).toBe(`linux-elf-${bits}`);
    expect(state.regs.rip).toBe(0x1000010n);
    expect(state.regs.rsi).toBe(BigInt(ZERO_PAGE));
    expect(state.sregs.efer).toBe(bits === 64 ? 0x500n : 0n);
    expect(mem.read(0x1000000, 300)).toEqual(data);
    expect(mem.read(0x1200000, 300)).toEqual(data);
    expect(mem.u32(ZERO_PAGE + 0x260)).toBe(0x800000);
    expect(mem.read(mem.u32(ZERO_PAGE + 0x218), initrd.length)).toEqual(initrd);
  });

  it('zeroes what the file does not hold', async () => {
    const map = createMemoryMap(64 * MIB);
    const mem = new FakeMemory(map);
    mem.fill(0x1200000, 0x5000, 0xcc);
    await loadKernel(mem, { kernel: vmlinux(64), commandLine: '', map, rsdp: RSDP, method: 'elf' });
    expect(mem.read(0x1200000 + 300, 0x4000 - 300).every((b) => b === 0)).toBe(true);
    expect(mem.read(0x1204000, 1)[0]).toBe(0xcc);
  });

  it('alone gets a setup header with what the kernel reads', async () => {
    const { mem } = await load({ kernel: vmlinux(64), method: 'elf' });
    expect(mem.u16(ZERO_PAGE + 0x1fe)).toBe(0xaa55);
    expect(mem.u32(ZERO_PAGE + 0x202)).toBe(0x53726448);
  });

  it('takes a virtual entry point as well', async () => {
    const kernel = elfImage(64, 0x81000020, [{ physical: 0x1000000, virtual: 0x81000000, data }]);
    expect((await load({ kernel, method: 'elf' })).state.regs.rip).toBe(0x1000020n);
  });

  it('falls back to the bzImage when the payload cannot be unpacked', async () => {
    for (const payload of [
      Uint8Array.of(0x42, 0x5a, 0x68, 0x39, 1, 2, 3, 4, 5, 6, 7, 8),
      withSize(Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8), 100),
      withSize(Uint8Array.of(0x02, 0x21, 0x4c, 0x18, 0xff, 0xff, 0xff, 0x7f), 100),
    ]) {
      expect((await load({ kernel: bzImage({ payload }) })).state.method).toBe('bzimage-64');
    }
  });
});

describe('what cannot be booted', () => {
  it.each([
    ['an empty file', new Uint8Array(0), 'not-a-kernel'],
    ['text', new TextEncoder().encode('#!/bin/sh\n'.repeat(200)), 'not-a-kernel'],
    ['the first half of a bzImage', bzImage({ payload: new Uint8Array(4096) }).subarray(0, 3000), 'truncated'],
    ['a bzImage cut in its header', bzImage().subarray(0, 0x220), 'truncated'],
    ['a zImage', bzImage({ loadFlags: 0 }), 'unsupported'],
    ['an ancient protocol', bzImage({ version: 0x200 }), 'unsupported'],
    ['an ELF file without entry protocol', elfImage(64, 0x100000, []), 'not-a-kernel'],
    ['a kernel beyond the machine', bzImage({ preferredAddress: 0x8000000 }), 'memory-too-small'],
    ['a kernel at no address', bzImage({ preferredAddress: Number.MAX_SAFE_INTEGER }), 'memory-too-small'],
    ['a kernel over the VGA hole', bzImage({ preferredAddress: 0x90000 }), 'unsupported'],
  ] as const)('%s', async (_name, kernel, code) => {
    expect((await refusal({ kernel })).code).toBe(code);
  });

  it('says how much memory would do', async () => {
    const tooSmall = await refusal({ ram: 16 * MIB });
    expect(tooSmall.code).toBe('memory-too-small');
    expect(tooSmall.message).toBe(
      'the kernel needs memory up to 24M and the machine has 16M; give at least 32M of memory',
    );
    const initrdTooLarge = await refusal({ initrd: new Uint8Array(60 * MIB) });
    expect(initrdTooLarge.code).toBe('initrd-too-large');
    expect(initrdTooLarge.message).toContain('give at least 96M of memory');
  });

  it('says that an initrd is larger than all memory', async () => {
    expect((await refusal({ initrd: new Uint8Array(65 * MIB) })).code).toBe('initrd-too-large');
  });

  it('a command line over the limit of the kernel', async () => {
    await load({ commandLine: 'x'.repeat(2047) });
    const error = await refusal({ commandLine: 'x'.repeat(2048) });
    expect(error.code).toBe('command-line-too-long');
    expect(error.message).toContain('2048 bytes, this kernel takes 2047');
  });

  it('hostile headers, without an error of another kind', async () => {
    const image = bzImage({ payload: withSize(Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 1), 64) });
    let seed = 1;
    for (let round = 0; round < 400; round++) {
      const bad = image.slice();
      for (let i = 0; i < 4; i++) {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        bad[0x1f1 + ((seed >>> 8) % 0x80)] = seed >>> 24;
      }
      const outcome = await load({ kernel: bad }).then(
        () => 'loaded',
        (error: unknown) => (error instanceof LoadError ? 'refused' : String(error)),
      );
      expect(['loaded', 'refused']).toContain(outcome);
    }
  });
});
