import { describe, expect, it } from 'vitest';
import { EFLAGS, EXC, EXIT, SEG } from '../../src/isa/layout.ts';
import { attr, Machine } from './machine.ts';
import {
  CS0,
  CS3,
  DATA,
  DS0,
  DS3,
  GDT,
  IDT,
  INT_GATE32,
  longMachine,
  protectedMachine,
  SPARE,
  STACK0,
  STACK3,
  TR,
  TRAP_GATE32,
  TSS,
} from './modes.ts';

const RF = EFLAGS.RF;
const raise = (m: Machine, vector: number, error = 0): number => {
  m.call('raise', vector, error);
  return m.call('deliver_exception');
};
const gate = (m: Machine, vector: number, type = INT_GATE32, dpl = 0, sel = CS0): void =>
  m.gate(IDT + vector * 8, sel, 0x7000 + vector, attr(type, dpl));
const longGate = (m: Machine, vector: number, ist = 0, type = INT_GATE32, dpl = 0): void =>
  m.gate(IDT + vector * 16, CS0, 0xffff_8000_0000_7000n + BigInt(vector), attr(type, dpl), ist, true);

describe('real mode', () => {
  it('goes through the vector table and comes back by IRET', () => {
    const m = new Machine();
    m.setSeg('cs', 0x100, 0x1000, 0xffff, 0x9b);
    m.setSeg('ss', 0x800, 0x8000, 0xffff, 0x93);
    m.call('set_state_done');
    m.rflags = 0x302 | EFLAGS.CF;
    m.set('rip', 0x55n);
    // Two bytes of room: the frame wraps around in the segment.
    m.rsp = 0xabcd0002n;
    m.write(13 * 4, 4, 0x0200_0034);
    expect(raise(m, EXC.GP, 7)).toBe(0);
    expect(m.sel('cs')).toBe(0x200);
    expect(m.get('rip')).toBe(0x34n);
    expect(m.rsp).toBe(0xabcdfffcn);
    expect(m.words(0x8000 + 0xfffc, 2, 2)).toEqual([0x55, 0x100]);
    expect(m.words(0x8000, 2, 1)).toEqual([0x303]);
    expect(m.rflags).toBe(2 | EFLAGS.CF);
    expect(m.call('interrupt_return', 16, 0n)).toBe(0);
    expect([m.sel('cs'), m.get('rip'), m.rsp, m.rflags]).toEqual([0x100, 0x55n, 0xabcd0002n, 0x303]);
  });

  it('shuts down when the table has no entries', () => {
    const m = new Machine();
    m.set('idtr_limit', 0n);
    expect(raise(m, EXC.UD)).toBe(EXIT.SHUTDOWN);
    expect(m.num('exit_reason')).toBe(EXIT.SHUTDOWN);
  });
});

describe('protected mode', () => {
  it('pushes flags, CS, EIP and the error code at the same level', () => {
    const m = protectedMachine(0);
    gate(m, EXC.GP);
    m.rflags = 0x4302;
    expect(raise(m, EXC.GP, 0x1238)).toBe(0);
    expect(m.words(STACK0 - 16, 4, 4)).toEqual([0x1238, 0x5000, CS0, 0x4302 | RF]);
    expect([m.rsp, m.get('rip'), m.rflags]).toEqual([BigInt(STACK0 - 16), 0x700dn, 2]);
  });

  it('keeps IF in a trap gate and pushes no RF for INT3', () => {
    const m = protectedMachine(0);
    gate(m, EXC.BP, TRAP_GATE32);
    expect(m.call('software_interrupt', 3, 1, 0x5001n)).toBe(0);
    expect(m.rflags).toBe(0x202);
    expect(m.words(STACK0 - 12, 4, 3)).toEqual([0x5001, CS0, 0x202]);
  });

  it('takes the inner stack from the TSS and returns to level 3 by IRET', () => {
    const m = protectedMachine(3);
    m.call('load_segment', SEG.ds, DS3);
    gate(m, 0x80, INT_GATE32, 3);
    expect(m.call('software_interrupt', 0x80, 0, 0x5002n)).toBe(0);
    expect(m.words(STACK0 - 20, 4, 5)).toEqual([0x5002, CS3, 0x202, STACK3, DS3]);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.rsp]).toEqual([0, CS0, DS0, BigInt(STACK0 - 20)]);
    m.call('load_segment', SEG.ds, DS0);
    expect(m.call('interrupt_return', 32, 0n)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.rsp]).toEqual([3, CS3, DS3, BigInt(STACK3)]);
    expect([m.get('rip'), m.rflags]).toEqual([0x5002n, 0x202]);
    // DS of level 0 may not leak out.
    expect(m.sel('ds')).toBe(0);
  });

  it('checks the gate of INT n but not of an exception against CPL', () => {
    const m = protectedMachine(3);
    gate(m, 0x80, INT_GATE32, 0);
    gate(m, EXC.GP);
    expect(m.fault(m.call('software_interrupt', 0x80, 0, 0x5002n))).toEqual([EXC.GP, 0x402]);
    expect(m.get('rip')).toBe(0x5000n);
    expect(m.call('deliver_exception')).toBe(0);
    expect(m.words(STACK0 - 24, 4, 2)).toEqual([0x402, 0x5000]);
  });

  it('reports a bad gate with its index and EXT for external interrupts', () => {
    const m = protectedMachine(0);
    gate(m, EXC.GP);
    expect(m.call('deliver_interrupt', 0x40)).toBe(0);
    expect(m.words(STACK0 - 16, 4, 1)).toEqual([0x40 * 8 + 3]);
    m.gate(IDT + 0x41 * 8, CS0, 0x7000, attr(INT_GATE32) & 0x7f);
    gate(m, EXC.NP);
    expect(m.call('deliver_interrupt', 0x41)).toBe(0);
    expect(m.words(STACK0 - 32, 4, 1)).toEqual([0x41 * 8 + 3]);
  });

  it('makes a double fault of two contributory ones and shuts down after a third', () => {
    const m = protectedMachine(0);
    gate(m, EXC.DF);
    expect(raise(m, EXC.GP)).toBe(0);
    expect(m.get('rip')).toBe(0x7008n);
    expect(m.words(STACK0 - 16, 4, 2)).toEqual([0, 0x5000]);
    m.gate(IDT + 8 * 8, 0, 0, 0);
    expect(raise(m, EXC.GP)).toBe(EXIT.SHUTDOWN);
  });

  it('delivers the second of a benign and another exception', () => {
    const m = protectedMachine(0);
    gate(m, EXC.GP);
    expect(raise(m, EXC.UD)).toBe(0);
    expect(m.words(STACK0 - 16, 4, 2)).toEqual([EXC.UD * 8 + 3, 0x5000]);
  });

  it('refuses an inner stack that is not one with #TS', () => {
    const m = protectedMachine(3);
    gate(m, 0x80, INT_GATE32, 3);
    m.descriptor(GDT + SPARE, 0, 0xfffff, attr(DATA, 1));
    m.write(TSS + 8, 2, SPARE);
    expect(m.fault(m.call('software_interrupt', 0x80, 0, 0x5002n))).toEqual([EXC.TS, SPARE]);
    m.write(TSS + 8, 2, 0);
    expect(m.fault(m.call('software_interrupt', 0x80, 0, 0x5002n))).toEqual([EXC.TS, 0]);
    m.set('seg_limit', 8n, SEG.tr);
    expect(m.fault(m.call('software_interrupt', 0x80, 0, 0x5002n))).toEqual([EXC.TS, TR]);
    expect([m.rsp, m.num('cpl')]).toEqual([BigInt(STACK3), 3]);
  });

  it('sets DR6 and clears DR7.GD for a single step', () => {
    const m = protectedMachine(0);
    gate(m, EXC.DB);
    m.set('dr', 0x2400n, 7);
    m.set('dr', 0xffff0ff1n, 6);
    m.set('exc_dr6', 0x4000n);
    expect(m.call('deliver_debug_trap')).toBe(0);
    expect([m.get('dr', 6), m.get('dr', 7)]).toEqual([0xffff4ff0n, 0x400n]);
    expect(m.words(STACK0 - 12, 4, 3)).toEqual([0x5000, CS0, 0x202]);
  });

  it('blocks NMIs until IRET', () => {
    const m = protectedMachine(0);
    gate(m, EXC.NMI);
    m.set('nmi_pending', 1n);
    m.set('halted', 1n);
    m.call('deliver_nmi');
    expect([m.num('nmi_pending'), m.num('nmi_blocked'), m.num('halted')]).toEqual([0, 1, 0]);
    expect(m.call('interrupt_return', 32, 0n)).toBe(0);
    expect(m.num('nmi_blocked')).toBe(0);
  });
});

describe('virtual-8086 mode', () => {
  const enter = (): Machine => {
    const m = protectedMachine(0);
    const frame = [0x34, 0x1200, EFLAGS.VM | 0x3202, 0xff00, 0x2000, 0x2100, 0x2200, 0x2300, 0x2400];
    frame.forEach((v, i) => void m.write(0x7f00 + i * 4, 4, v));
    m.rsp = 0x7f00n;
    expect(m.call('interrupt_return', 32, 0n)).toBe(0);
    return m;
  };

  it('is entered by IRET', () => {
    const m = enter();
    expect([m.num('cpl'), m.sel('cs'), m.get('rip'), m.rsp]).toEqual([3, 0x1200, 0x34n, 0xff00n]);
    expect([m.sel('ss'), m.sel('es'), m.sel('ds'), m.sel('fs'), m.sel('gs')]).toEqual([
      0x2000, 0x2100, 0x2200, 0x2300, 0x2400,
    ]);
    expect(m.num('seg_base', SEG.ds)).toBe(0x22000);
    expect(m.num('mode')).toBe(0);
  });

  it('is left for level 0 with all segments on the stack', () => {
    const m = enter();
    gate(m, EXC.GP);
    expect(raise(m, EXC.GP, 0)).toBe(0);
    expect(m.words(STACK0 - 40, 4, 10)).toEqual([
      0,
      0x34,
      0x1200,
      EFLAGS.VM | RF | 0x3202,
      0xff00,
      0x2000,
      0x2100,
      0x2200,
      0x2300,
      0x2400,
    ]);
    expect([m.num('cpl'), m.sel('ds'), m.sel('gs'), m.rflags & EFLAGS.VM]).toEqual([0, 0, 0, 0]);
    m.rsp += 4n;
    expect(m.call('interrupt_return', 32, 0n)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('gs'), m.rsp]).toEqual([3, 0x1200, 0x2400, 0xff00n]);
  });

  it('needs IOPL 3 for INT n, PUSHF, POPF, IRET, CLI and STI', () => {
    const m = enter();
    gate(m, 0x21, INT_GATE32, 3);
    m.rflags = EFLAGS.VM | 0x202;
    const refused: readonly [string, ...(number | bigint)[]][] = [
      ['software_interrupt', 0x21, 0, 0n],
      ['push_flags', 16],
      ['pop_flags', 16],
      ['interrupt_return', 16, 0n],
      ['clear_interrupt_flag'],
      ['set_interrupt_flag'],
    ];
    for (const [name, ...args] of refused) expect([name, m.fault(m.call(name, ...args))]).toEqual([name, [EXC.GP, 0]]);
    expect(m.get('rip')).toBe(0x34n);
    m.rflags = EFLAGS.VM | 0x3202;
    expect(m.call('clear_interrupt_flag')).toBe(0);
    expect(m.call('software_interrupt', 0x21, 0, 0x36n)).toBe(0);
    expect(m.num('cpl')).toBe(0);
  });
});

describe('long mode', () => {
  it('aligns the stack, pushes SS:RSP always and returns by IRETQ', () => {
    const m = longMachine(0);
    longGate(m, EXC.PF);
    m.rsp = BigInt(STACK0 - 3);
    m.set('exc_cr2', 0x1234_5678_9abcn);
    m.rflags = 0x302 | EFLAGS.AC;
    expect(raise(m, EXC.PF, 2)).toBe(0);
    const frame = STACK0 - 16 - 48;
    expect(m.rsp).toBe(BigInt(frame));
    expect(m.words(frame, 8, 6)).toEqual([2, 0x5000, CS0, 0x302 | EFLAGS.AC | RF, STACK0 - 3, DS0]);
    expect(m.get('cr2')).toBe(0x1234_5678_9abcn);
    expect(m.get('rip')).toBe(0xffff_8000_0000_700en);
    expect(m.rflags).toBe(2 | EFLAGS.AC);
    m.rsp += 8n;
    expect(m.call('interrupt_return', 64, 0n)).toBe(0);
    expect([m.get('rip'), m.rsp, m.sel('ss')]).toEqual([0x5000n, BigInt(STACK0 - 3), DS0]);
    expect(m.rflags).toBe(0x302 | EFLAGS.AC);
  });

  it('keeps RF over IRETQ when a breakpoint is enabled', () => {
    const m = longMachine(0);
    m.set('dr', 0x402n, 7);
    longGate(m, EXC.UD);
    expect(raise(m, EXC.UD)).toBe(0);
    expect(m.rflags & RF).toBe(0);
    expect(m.call('interrupt_return', 64, 0n)).toBe(0);
    expect(m.rflags).toBe(0x202 | RF);
  });

  it('enters level 0 with a null SS and goes back to level 3', () => {
    const m = longMachine(3);
    longGate(m, 0x80, 0, INT_GATE32, 3);
    expect(m.call('software_interrupt', 0x80, 0, 0x5002n)).toBe(0);
    expect(m.words(STACK0 - 40, 8, 5)).toEqual([0x5002, CS3, 0x202, STACK3, DS3]);
    expect([m.num('cpl'), m.sel('ss')]).toEqual([0, 0]);
    expect(m.call('interrupt_return', 64, 0n)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.rsp]).toEqual([3, CS3, DS3, BigInt(STACK3)]);
  });

  it('switches to an IST stack at the same level', () => {
    const m = longMachine(0);
    m.write(TSS + 36 + 8, 8, 0xa000n);
    longGate(m, EXC.DF, 2);
    longGate(m, EXC.NMI, 2);
    m.call('deliver_nmi');
    expect(m.words(0xa000 - 40, 8, 5)).toEqual([0x5000, CS0, 0x202, STACK0, DS0]);
    expect(m.sel('ss')).toBe(DS0);
  });

  it('refuses a handler that is not 64-bit code and a stack that is not canonical', () => {
    const m = longMachine(3);
    m.write(TSS + 36, 8, 0xa000n);
    longGate(m, EXC.GP, 1);
    longGate(m, EXC.SS, 1);
    m.gate(IDT + 0x50 * 16, DS0, 0x7000, attr(INT_GATE32), 0, true);
    expect(m.call('deliver_interrupt', 0x50)).toBe(0);
    expect(m.words(0xa000 - 48, 8, 2)).toEqual([DS0 | 1, 0x5000]);
    const n = longMachine(3);
    n.write(TSS + 36, 8, 0xa000n);
    n.write(TSS + 4, 8, 0x8000_0000_0000n + 64n);
    longGate(n, EXC.SS, 1);
    longGate(n, 0x51);
    expect(n.call('deliver_interrupt', 0x51)).toBe(0);
    expect(n.get('rip')).toBe(0xffff_8000_0000_700cn);
    expect(n.words(0xa000 - 48, 8, 2)).toEqual([1, 0x5000]);
  });

  it('shuts down when the stack of a double fault is not mapped', () => {
    const m = longMachine(0);
    longGate(m, EXC.PF);
    longGate(m, EXC.DF);
    m.rsp = 0xffff_8000_0000_1000n;
    expect(raise(m, EXC.PF)).toBe(EXIT.SHUTDOWN);
    expect(m.get('cr2')).toBe(0xffff_8000_0000_0fd0n);
  });
});
