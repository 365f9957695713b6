// Loops of regions that go all over more pages than the data TLB has entries for (WIDE_TLB in src/isa/layout.ts).
import { describe, expect, it } from 'vitest';
import { TLB } from '../../src/isa/layout.ts';
import { CODE_PAGE } from '../differential/case.ts';
import { Guest, PTE } from '../differential/guest.ts';

const DATA = 0x4000_0000n;
const PAGES = 2 * TLB.ENTRIES;
const FRAMES = 8;
const TURNS = 30_000;
// 0 imul eax, eax, 1664525; add eax, 1013904223; mov edx, eax; shr edx, 6; and edx, MASK; movzx ebx, byte [rsi + rdx];
// add ebp, ebx; xor [rsi + rdx], cl; dec rcx; jnz 0; a jmp to itself
const LOOP = [0x69, 0xc0, 0x0d, 0x66, 0x19, 0, 0x05, 0x5f, 0xf3, 0x6e, 0x3c, 0x89, 0xc2, 0xc1, 0xea, 6];
const MASK = PAGES * 4096 - 1;
const BODY = [
  0x81,
  0xe2,
  MASK & 255,
  (MASK >> 8) & 255,
  (MASK >> 16) & 255,
  MASK >>> 24,
  0x0f,
  0xb6,
  0x1c,
  0x16,
  0x01,
  0xdd,
  0x30,
  0x0c,
  0x16,
];
const END = [0x48, 0xff, 0xc9, 0x75, 0xdc, 0xeb, 0xfe];

/** Runs the loop. @returns what its registers hold in the end, and how often the data TLB was filled */
function run(engine: 'interp' | 'bt'): { registers: bigint[]; fills: number } {
  const guest = new Guest({ vcpu: { engine, hotThreshold: 40 } });
  const code = guest.frames(1);
  guest.map(CODE_PAGE, code, PTE.P | PTE.US);
  guest.memory.write(code, Uint8Array.from([...LOOP, ...BODY, ...END]));
  const frames = Array.from({ length: FRAMES }, () => guest.frames(1));
  for (let i = 0; i < PAGES; i++) guest.map(DATA + BigInt(i * 4096), frames[i % FRAMES]!, PTE.P | PTE.US | PTE.RW);
  guest.enterMode(64, 3);
  guest.set64('rip', CODE_PAGE);
  [1n, BigInt(TURNS), 2n, 3n, 4n, 5n, DATA, 7n].forEach((v, r) => {
    guest.set64('gpr', v, r);
  });
  for (let n = 0; n < TURNS * 10; n += 1000) expect(guest.vcpu.run(1000)).toBe('budget');
  return {
    registers: Array.from({ length: 8 }, (_, r) => guest.get64('gpr', r)),
    fills: Number(guest.get64('n_tlb_miss')),
  };
}

describe('loops that go all over memory', () => {
  it('find what the interpreter finds, each page once for loads and once for stores', () => {
    const [interpreter, regions] = [run('interp'), run('bt')];
    expect(regions.registers).toEqual(interpreter.registers);
    expect(regions.registers[1]).toBe(0n);
    expect(interpreter.fills).toBeGreaterThan(TURNS / 3);
    // Each page once for loads and once for stores, and what was interpreted before there was a region.
    expect(regions.fills).toBeLessThan(2 * PAGES + 500);
  });
});
