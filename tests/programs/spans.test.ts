// What is looked up in the TLB together (src/engine/bt/spans.ts): which accesses, and what becomes of those that a page
// ends in.
import { describe, expect, it } from 'vitest';
import { Span } from '../../src/engine/bt/spans.ts';
import type { RegionExit } from '../../src/engine/bt/ways-out.ts';
import { SPECIAL } from '../../src/engine/interp/special.ts';
import type { LateConstant } from '../../src/wasm/function.ts';
import { CODE_PAGE } from '../differential/case.ts';
import { Guest, PTE } from '../differential/guest.ts';

/** A span whose constants are told by name. */
function spanOf(bytes: number): { span: Span; constants: number[] } {
  const constants: number[] = [];
  const lateConstant = (value: number) => {
    const n = constants.push(value) - 1;
    return { set: (v: number) => (constants[n] = v) } as unknown as LateConstant;
  };
  return { span: new Span({ lateConstant }, bytes), constants };
}

describe('accesses that are looked up together', () => {
  it('are taken in one by one, below the first and above it', () => {
    const { span, constants } = spanOf(8);
    expect(constants).toEqual([0, 7]);
    expect([span.has(0, 8), span.has(4, 4), span.has(4, 8)]).toEqual([true, true, false]);
    expect(span.takes(16, 4)).toBe(true);
    expect(span.takes(-8, 8)).toBe(true);
    expect([span.low, span.high]).toEqual([-8, 20]);
    expect(constants).toEqual([-8, 27]);
    expect(span.has(12, 8)).toBe(true);
  });
  it('are not far apart', () => {
    const { span, constants } = spanOf(8);
    expect(span.takes(248, 8)).toBe(true);
    expect(span.takes(249, 8)).toBe(false);
    expect(span.takes(-1, 1)).toBe(false);
    expect(constants).toEqual([0, 255]);
  });
  it('tell the way out that it may be for more than its own bytes, once that is so', () => {
    const { span } = spanOf(8);
    const exit: RegionExit = { handler: 1000, rec: 0, back: 0, page: 0 };
    span.leavesAt(exit);
    expect(exit.handler).toBe(1000);
    span.takes(8, 8);
    expect(exit.handler).toBe(SPECIAL.crossed);
  });
});

const STACK = 0x3000_0000n;

describe('a frame that is looked up at once', () => {
  const COUNT = 3000;
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

describe('a store behind a load off the same value', () => {
  // Two blocks, as loops of one are written otherwise: 0 mov rax, [rdi]; 3 mov [rdi + 8], rax; 7 dec rcx; a jz e; c jmp 0;
  // e mov rdi, rsi; 11 mov cl, 1; 13 jmp 0
  const LOOP = [0x48, 0x8b, 0x07, 0x48, 0x89, 0x47, 8, 0x48, 0xff, 0xc9, 0x74, 2, 0xeb, 0xf2];
  const CODE = [...LOOP, 0x48, 0x89, 0xf7, 0xb1, 1, 0xeb, 0xeb];
  const STORE = CODE_PAGE + 3n;

  it('asks for the page anew: it may be there for loads only', () => {
    let regions = 0;
    const guest = new Guest({ vcpu: { engine: 'bt', hotThreshold: 40, onRegion: () => void regions++ } });
    const [code, writable, readable] = [guest.frames(1), guest.frames(1), guest.frames(1)];
    guest.map(CODE_PAGE, code, PTE.P | PTE.US);
    guest.map(STACK, writable, PTE.P | PTE.US | PTE.RW);
    guest.map(STACK + 0x1000n, readable, PTE.P | PTE.US);
    guest.memory.write(code, Uint8Array.from(CODE));
    guest.enterMode(64, 3);
    guest.set64('rip', CODE_PAGE);
    guest.set64('gpr', 500n, 1);
    guest.set64('gpr', STACK, 7);
    guest.set64('gpr', STACK + 0x1000n, 6);
    for (let n = 0; n < 10; n++) if (guest.vcpu.run(500) === 'hlt') break;
    expect(regions).toBeGreaterThan(0);
    expect(guest.get64('cr2')).toBe(STACK + 0x1008n);
    const frame = guest.kernelStack - 40;
    expect(guest.view.getBigUint64(guest.ram + frame, true)).toBe(STORE);
  });
});
