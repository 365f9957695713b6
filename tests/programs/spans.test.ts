// What is looked up in the TLB together (src/engine/bt/spans.ts): which accesses, and what becomes of those that a page
// ends in.
import { describe, expect, it } from 'vitest';
import { type Access, spansOf } from '../../src/engine/bt/spans.ts';
import { CODE_PAGE } from '../differential/case.ts';
import { Guest, PTE } from '../differential/guest.ts';

const base = {};
const other = {};
const access = (plus: number, more: Partial<Access> = {}): Access => ({
  of: base,
  plus,
  bytes: 8,
  write: false,
  conditional: false,
  alone: false,
  ...more,
});
const spans = (accesses: readonly Access[], next: readonly Access[] = []) => {
  const behind = next.length > 0 ? [{ block: 2, accesses: next, next: [] }] : [];
  return spansOf({ block: 1, accesses, next: behind }, false)
    .get(1)!
    .map(({ low, high }) => [low, high]);
};

describe('accesses that are looked up together', () => {
  it('are off the same value, in the block and in those behind it', () => {
    expect(spans([access(0), access(16, { of: other }), access(-8)], [access(32, { bytes: 4 })])).toEqual([
      [-8, 36],
      [0, 8],
      [0, 44],
    ]);
  });
  it('end at the first store behind a load, as a page may be there for loads only', () => {
    const store = access(8, { write: true });
    expect(spans([access(0), store, access(40)])).toEqual([
      [0, 8],
      [0, 40],
      [0, 8],
    ]);
  });
  it('are those that are carried out for certain, and not far apart', () => {
    expect(spans([access(0), access(8, { conditional: true }), access(2000)])).toEqual([
      [0, 8],
      [0, 8],
      [0, 8],
    ]);
    expect(spans([access(0, { alone: true }), access(8)])[0]).toEqual([0, 8]);
  });
  it('wrap with 32-bit addresses', () => {
    const tree = { block: 1, accesses: [access(-4), access(2 ** 32 - 12)], next: [] };
    expect(spansOf(tree, true).get(1)![0]).toEqual({ low: -8, high: 8 });
  });
});

describe('a frame that is looked up at once', () => {
  const COUNT = 3000;
  const STACK = 0x3000_0000n;
  // A loop calls a function, of some blocks, that saves four registers: 0 call; 5 dec rcx; 8 jnz 0; a jmp to itself;
  // c inc rax; f push rbx, rbp, rsi, rdi; 13 test al, 1; 15 jz 19; 17 nop, nop; 19 test al, 2; 1b jz 1f; 1d nop, nop;
  // 1f pop rdi, rsi, rbp, rbx; 23 ret
  const CALLER = [0xe8, 7, 0, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf6, 0xeb, 0xfe, 0x48, 0xff, 0xc0];
  const FUNCTION = [0x53, 0x55, 0x56, 0x57, 0xa8, 1, 0x74, 2, 0x90, 0x90, 0xa8, 2, 0x74, 2, 0x90, 0x90];
  const RETURN = [0x5f, 0x5e, 0x5d, 0x5b, 0xc3];
  const POP = CODE_PAGE + 0x1fn;

  /** Runs the loop with a stack pointer. @returns where regions begin, by region, and what the registers hold */
  const run = (rsp: bigint): { regions: bigint[]; registers: bigint[] } => {
    const regions: bigint[] = [];
    const guest = new Guest({ vcpu: { engine: 'bt', hotThreshold: 40, onRegion: (rip) => regions.push(rip) } });
    const frame = guest.frames(1);
    guest.map(CODE_PAGE, frame, PTE.P | PTE.US);
    guest.memory.write(frame, Uint8Array.from([...CALLER, ...FUNCTION, ...RETURN]));
    const pages = [guest.frames(1), guest.frames(1)].reverse();
    pages.forEach((page, i) => {
      guest.map(STACK + BigInt(i * 4096), page, PTE.P | PTE.US | PTE.RW);
    });
    guest.enterMode(64, 3);
    guest.set64('rip', CODE_PAGE);
    [0n, BigInt(COUNT), 2n, 3n, rsp, 5n, 6n, 7n].forEach((v, r) => {
      guest.set64('gpr', v, r);
    });
    for (let n = 0; n < COUNT * 20; n += 500) expect(guest.vcpu.run(500)).toBe('budget');
    return { regions, registers: Array.from({ length: 8 }, (_, r) => guest.get64('gpr', r)) };
  };
  const registers = (rsp: bigint): bigint[] => [BigInt(COUNT), 0n, 2n, 3n, rsp, 5n, 6n, 7n];

  it('is of one region when it is on one page', () => {
    const rsp = STACK + 0x800n;
    const done = run(rsp);
    expect(done.registers).toEqual(registers(rsp));
    expect(done.regions.length).toBeGreaterThan(0);
    expect(new Set(done.regions).size).toBe(done.regions.length);
  });
  it('is of a region that is written again, access by access, when a page ends in it', () => {
    const rsp = STACK + 0x1018n;
    const done = run(rsp);
    expect(done.registers).toEqual(registers(rsp));
    expect(new Set(done.regions).size).toBeLessThan(done.regions.length);
    expect(done.regions).not.toContain(POP);
  });
});
