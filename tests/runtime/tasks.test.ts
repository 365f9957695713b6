import { describe, expect, it } from 'vitest';
import { CR0, EFLAGS, EXC, SEG } from '../../src/isa/layout.ts';
import { attr, type Machine } from './machine.ts';
import {
  CODE,
  CS0,
  CS3,
  DS0,
  DS3,
  GDT,
  IDT,
  protectedMachine,
  SPARE,
  TASK_GATE,
  TR,
  TSS,
  TSS16,
  TSS32,
} from './modes.ts';

const OTHER = 0x4000;
const type = (m: Machine, selector: number): number => Number(m.read(GDT + selector + 5, 1)) & 0xf;

/** A 32-bit TSS at OTHER for a task of level 3, its descriptor at 40h and a task gate at 48h. */
function withTask(): Machine {
  const m = protectedMachine(0);
  m.descriptor(GDT + SPARE, OTHER, 0x67, attr(TSS32));
  m.gate(GDT + 0x48, SPARE, 0, attr(TASK_GATE, 3));
  m.write(OTHER + 0x20, 4, 0x6000);
  m.write(OTHER + 0x24, 4, 0x202);
  for (let i = 0; i < 8; i++) m.write(OTHER + 0x28 + i * 4, 4, 0x100 + i);
  [DS3, CS3, DS3, DS3, 0, DS3].forEach((s, i) => void m.write(OTHER + 0x48 + i * 4, 2, s));
  for (let i = 0; i < 8; i++) m.set('gpr', BigInt(0x1000 * (i + 1)), i);
  m.call('load_segment', SEG.ds, DS0);
  return m;
}
function expectOther(m: Machine): void {
  expect([m.sel('tr'), m.num('cpl'), m.sel('cs'), m.sel('ss'), m.sel('es'), m.sel('fs'), m.sel('gs')]).toEqual([
    SPARE,
    3,
    CS3,
    DS3,
    DS3,
    0,
    DS3,
  ]);
  expect(m.get('rip')).toBe(0x6000n);
  for (let i = 0; i < 8; i++) expect(m.get('gpr', i)).toBe(BigInt(0x100 + i));
  expect(m.num('cr0') & CR0.TS).toBe(CR0.TS);
}
/** The old task is in its TSS. */
function expectSaved(m: Machine, eip: number, eflags: number): void {
  expect(m.words(TSS + 0x20, 4, 10)).toEqual([eip, eflags, ...Array.from({ length: 8 }, (_, i) => 0x1000 * (i + 1))]);
  expect([0x48, 0x4c, 0x50, 0x54].map((o) => Number(m.read(TSS + o, 2)))).toEqual([0, CS0, DS0, DS0]);
}

describe('task switches', () => {
  it('by JMP leave the old task available', () => {
    const m = withTask();
    expect(m.call('far_jump', SPARE, 0n, 32, 0x5007n)).toBe(0);
    expectOther(m);
    expectSaved(m, 0x5007, 0x202);
    expect([type(m, TR), type(m, SPARE)]).toEqual([9, 11]);
    expect(m.rflags).toBe(0x202);
  });

  it('by CALL through a gate nest, and IRET comes back', () => {
    const m = withTask();
    expect(m.call('far_call', 0x48, 0n, 32, 0x5007n)).toBe(0);
    expectOther(m);
    expectSaved(m, 0x5007, 0x202);
    expect([type(m, TR), type(m, SPARE)]).toEqual([11, 11]);
    expect(Number(m.read(OTHER, 2))).toBe(TR);
    expect(m.rflags).toBe(0x202 | EFLAGS.NT);
    expect(m.call('interrupt_return', 32, 0x6002n)).toBe(0);
    expect([m.sel('tr'), m.num('cpl'), m.sel('cs'), m.sel('ds')]).toEqual([TR, 0, CS0, DS0]);
    expect([m.get('rip'), m.rflags, m.rsp]).toEqual([0x5007n, 0x202, 0x5000n]);
    expect(m.words(OTHER + 0x20, 4, 2)).toEqual([0x6002, 0x202]);
    expect([type(m, TR), type(m, SPARE)]).toEqual([11, 9]);
  });

  it('by an exception push its error code on the new stack', () => {
    const m = withTask();
    m.gate(IDT + EXC.GP * 8, SPARE, 0, attr(TASK_GATE));
    m.write(OTHER + 0x38, 4, 0x9000);
    m.call('raise', EXC.GP, 0x50);
    expect(m.call('deliver_exception')).toBe(0);
    expect([m.sel('tr'), m.rsp]).toEqual([SPARE, 0x8ffcn]);
    expect(m.words(0x8ffc, 4, 1)).toEqual([0x50]);
    expectSaved(m, 0x5000, 0x202 | EFLAGS.RF);
  });

  it('load a 16-bit TSS', () => {
    const m = withTask();
    m.descriptor(GDT + SPARE, OTHER, 0x2b, attr(TSS16));
    m.write(OTHER + 0x0e, 2, 0x6000);
    m.write(OTHER + 0x10, 2, 0x202);
    for (let i = 0; i < 8; i++) m.write(OTHER + 0x12 + i * 2, 2, 0x100 + i);
    [DS3, CS3, DS3, DS3].forEach((s, i) => void m.write(OTHER + 0x22 + i * 2, 2, s));
    m.write(OTHER + 0x2a, 2, 0);
    expect(m.call('far_jump', SPARE, 0n, 32, 0x5007n)).toBe(0);
    expect([m.sel('cs'), m.sel('ds'), m.sel('gs'), m.get('rip'), m.get('gpr', 7)]).toEqual([
      CS3,
      DS3,
      0,
      0x6000n,
      0x107n,
    ]);
    m.set('gpr', 0x5678n, 0);
    expect(m.call('far_jump', TR, 0n, 32, 0x6004n)).toBe(1);
    m.call('load_segment', SEG.ds, DS3);
    m.set('cpl', 0n);
    expect(m.call('far_jump', TR, 0n, 32, 0x6004n)).toBe(0);
    expect(m.words(OTHER + 0x0e, 2, 3)).toEqual([0x6004, 0x202, 0x5678]);
    expect(m.get('rip')).toBe(0x5007n);
  });

  it('refuse a busy, absent or short TSS before anything changes', () => {
    const m = withTask();
    expect(m.fault(m.call('far_jump', TR, 0n, 32, 0n))).toEqual([EXC.GP, TR]);
    m.descriptor(GDT + SPARE, OTHER, 0x66, attr(TSS32));
    expect(m.fault(m.call('far_jump', SPARE, 0n, 32, 0n))).toEqual([EXC.TS, SPARE]);
    m.descriptor(GDT + SPARE, OTHER, 0x67, attr(TSS32) & 0x7f);
    expect(m.fault(m.call('far_jump', SPARE, 0n, 32, 0n))).toEqual([EXC.NP, SPARE]);
    expect([m.sel('tr'), m.get('rip'), type(m, TR)]).toEqual([TR, 0x5000n, 11]);
  });

  it('deliver a fault on a segment of the new task in that task', () => {
    const m = withTask();
    // The handler of #TS is conforming, so that it runs at level 3 on the new task's stack.
    m.descriptor(GDT + 0x58, 0, 0xffff, attr(CODE | 4));
    m.gate(IDT + EXC.TS * 8, 0x58, 0x7000, attr(15));
    m.write(OTHER + 0x38, 4, 0x9000);
    m.write(OTHER + 0x54, 2, CS0);
    expect(m.call('far_jump', SPARE, 0n, 32, 0x5007n)).toBe(0);
    expect([m.sel('tr'), m.get('rip'), m.num('cpl')]).toEqual([SPARE, 0x7000n, 3]);
    expect(m.words(0x8ff0, 4, 4)).toEqual([CS0, 0x6000, CS3, 0x202 | EFLAGS.RF]);
  });
});
