import { describe, expect, it } from 'vitest';
import { ATTR, EFLAGS, EXC, SEG, TLB, TLB_BYTES } from '../../src/isa/layout.ts';
import { attr, DB, G, L, Machine } from './machine.ts';
import {
  CALL_GATE32,
  CODE,
  CONFORMING,
  CS0,
  CS3,
  DATA,
  DS0,
  DS3,
  GDT,
  longMachine,
  protectedMachine,
  SPARE,
  STACK0,
  STACK3,
  TSS,
} from './modes.ts';

const MODE = { code16: 0, code32: 1, code64: 2, stack32: 4 };

describe('far JMP', () => {
  const { GP, NP } = EXC;
  // Level, attributes at 40h, limit, RPL, offset, what comes of it.
  const cases: readonly [0 | 3, number, number, number, number, [number, number] | undefined][] = [
    [0, attr(CODE), 0xffff, 0, 0xffff, undefined],
    [0, attr(CODE), 0xffff, 0, 0x10000, [GP, 0]],
    [0, attr(CODE), 0xffff, 3, 0, [GP, SPARE]],
    [0, attr(CODE) & ~ATTR.P, 0xffff, 0, 0, [NP, SPARE]],
    [0, attr(DATA), 0xffff, 0, 0, [GP, SPARE]],
    [0, attr(CODE, 3), 0xffff, 0, 0, [GP, SPARE]],
    [3, attr(CODE, 0), 0xffff, 3, 0, [GP, SPARE]],
    [3, attr(CONFORMING, 0), 0xffff, 3, 0, undefined],
    [0, attr(CONFORMING, 3), 0xffff, 0, 0, [GP, SPARE]],
  ];
  it.each(cases)(
    'from level %i to attributes %i limit %i RPL %i offset %i: %j',
    (level, a, limit, rpl, offset, want) => {
      const m = protectedMachine(level);
      m.descriptor(GDT + SPARE, 0x1000, limit, a);
      expect(m.fault(m.call('far_jump', SPARE | rpl, BigInt(offset), 32, 0n))).toEqual(want);
      expect(m.sel('cs')).toBe(want ? (level ? CS3 : CS0) : SPARE | level);
      expect(m.get('rip')).toBe(want ? 0x5000n : BigInt(offset));
      if (!want) expect([m.num('mode'), m.num('seg_base', SEG.cs)]).toEqual([MODE.code16 | MODE.stack32, 0x1000]);
    },
  );

  it('enters 64-bit and compatibility mode by L', () => {
    const m = longMachine(0);
    expect(m.num('mode')).toBe(MODE.code64);
    m.descriptor(GDT + SPARE, 0, 0xfffff, attr(CODE, 0, DB | G));
    expect(m.call('far_jump', SPARE, 0x6000n, 32, 0n)).toBe(0);
    expect(m.num('mode')).toBe(MODE.code32 | MODE.stack32);
    expect(m.call('far_jump', CS0, 0x7000n, 32, 0n)).toBe(0);
    expect(m.num('mode')).toBe(MODE.code64);
    m.descriptor(GDT + SPARE, 0, 0xfffff, attr(CODE, 0, L | DB | G));
    expect(m.fault(m.call('far_jump', SPARE, 0x6000n, 32, 0n))).toEqual([EXC.GP, SPARE]);
    expect(m.fault(m.call('far_jump', CS0, 0x8000_0000_0000n, 64, 0n))).toEqual([EXC.GP, 0]);
  });

  it('leaves real mode after CR0.PE is set', () => {
    const m = protectedMachine(0);
    m.call('reset');
    m.set('gdtr_base', BigInt(GDT));
    expect(m.call('write_cr', 0, 0x11n)).toBe(0);
    expect(m.num('mode')).toBe(MODE.code16);
    expect(m.call('far_jump', CS0, 0x5000n, 32, 0n)).toBe(0);
    expect([m.num('mode'), m.sel('cs'), m.get('rip')]).toEqual([MODE.code32, CS0, 0x5000n]);
  });
});

describe('far CALL and RET', () => {
  it('push and pop CS and the return address in real mode', () => {
    const m = new Machine();
    m.setSeg('ss', 0x800, 0x8000, 0xffff, 0x93);
    m.setSeg('cs', 0x100, 0x1000, 0xffff, 0x9b);
    m.call('set_state_done');
    m.rsp = 0x100n;
    expect(m.call('far_call', 0x200, 0x34n, 16, 0x55n)).toBe(0);
    expect([m.sel('cs'), m.num('seg_base', SEG.cs), m.get('rip'), m.rsp]).toEqual([0x200, 0x2000, 0x34n, 0xfcn]);
    expect(m.words(0x80fc, 2, 2)).toEqual([0x55, 0x100]);
    expect(m.call('far_return', 16, 4)).toBe(0);
    expect([m.sel('cs'), m.get('rip'), m.rsp]).toEqual([0x100, 0x55n, 0x104n]);
  });

  it('go through a gate to level 0 with parameters and back', () => {
    const m = protectedMachine(3);
    m.gate(GDT + SPARE, CS0, 0x7000, attr(CALL_GATE32, 3), 2);
    m.write(STACK3, 4, 0x1111);
    m.write(STACK3 + 4, 4, 0x2222);
    expect(m.call('far_call', SPARE | 3, 0n, 32, 0x5007n)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.get('rip')]).toEqual([0, CS0, DS0, 0x7000n]);
    expect(m.words(STACK0 - 24, 4, 6)).toEqual([0x5007, CS3, 0x1111, 0x2222, STACK3, DS3]);
    expect(m.call('far_return', 32, 8)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.get('rip')]).toEqual([3, CS3, DS3, 0x5007n]);
    expect(m.rsp).toBe(BigInt(STACK3 + 8));
  });

  it('check the gate and its target', () => {
    const m = protectedMachine(3);
    m.gate(GDT + SPARE, CS0, 0x7000, attr(CALL_GATE32, 0));
    expect(m.fault(m.call('far_call', SPARE | 3, 0n, 32, 0n))).toEqual([EXC.GP, SPARE]);
    m.gate(GDT + SPARE, CS0, 0x7000, attr(CALL_GATE32, 3) & ~ATTR.P);
    expect(m.fault(m.call('far_call', SPARE | 3, 0n, 32, 0n))).toEqual([EXC.NP, SPARE]);
    m.gate(GDT + SPARE, 0, 0x7000, attr(CALL_GATE32, 3));
    expect(m.fault(m.call('far_call', SPARE | 3, 0n, 32, 0n))).toEqual([EXC.GP, 0]);
    m.gate(GDT + SPARE, DS0, 0x7000, attr(CALL_GATE32, 3));
    expect(m.fault(m.call('far_call', SPARE | 3, 0n, 32, 0n))).toEqual([EXC.GP, DS0]);
    // A JMP may not change the level.
    m.gate(GDT + SPARE, CS0, 0x7000, attr(CALL_GATE32, 3));
    expect(m.fault(m.call('far_jump', SPARE | 3, 0n, 32, 0n))).toEqual([EXC.GP, CS0]);
    expect([m.num('cpl'), m.rsp]).toEqual([3, BigInt(STACK3)]);
  });

  it('go through a 16-byte gate in long mode', () => {
    const m = longMachine(3);
    m.gate(GDT + SPARE, CS0, 0xffff_8000_0000_7000n, attr(CALL_GATE32, 3), 0, true);
    expect(m.call('far_call', SPARE | 3, 0n, 64, 0x5007n)).toBe(0);
    expect([m.num('cpl'), m.sel('ss'), m.get('rip')]).toEqual([0, 0, 0xffff_8000_0000_7000n]);
    expect(m.words(STACK0 - 32, 8, 4)).toEqual([0x5007, CS3, STACK3, DS3]);
    expect(m.call('far_return', 64, 0)).toBe(0);
    expect([m.num('cpl'), m.sel('ss'), m.get('rip'), m.rsp]).toEqual([3, DS3, 0x5007n, BigInt(STACK3)]);
  });

  it('refuse a return inwards and leave the state alone', () => {
    const m = protectedMachine(3);
    m.write(STACK3, 4, 0x7000);
    m.write(STACK3 + 4, 4, CS0);
    expect(m.fault(m.call('far_return', 32, 0))).toEqual([EXC.GP, CS0]);
    m.write(STACK3 + 8, 4, 0x202);
    expect(m.fault(m.call('interrupt_return', 32, 0n))).toEqual([EXC.GP, CS0]);
    expect([m.sel('cs'), m.rsp, m.get('rip')]).toEqual([CS3, BigInt(STACK3), 0x5000n]);
  });

  it('fault with #SS when the stack segment ends', () => {
    const m = protectedMachine(0);
    m.setSeg('ss', DS0, 0, 0x7fff, attr(DATA, 0, DB));
    m.rsp = 0x7ffcn;
    expect(m.fault(m.call('far_return', 32, 0))).toEqual([EXC.SS, 0]);
    m.rsp = 0n;
    expect(m.fault(m.call('far_call', CS0, 0x5000n, 32, 0n))).toEqual([EXC.SS, 0]);
    expect(m.rsp).toBe(0n);
  });
});

describe('SYSCALL, SYSENTER and their returns', () => {
  it('switch between level 3 and 0 in 64-bit mode', () => {
    const m = longMachine(3);
    m.set('star', (0x10n << 48n) | (0x08n << 32n));
    m.set('lstar', 0xffff_8000_0000_1000n);
    m.set('fmask', BigInt(EFLAGS.IF | EFLAGS.TF | EFLAGS.AC));
    m.rflags = 0x202 | EFLAGS.CF;
    expect(m.call('syscall', 0x5002n)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.get('rip')]).toEqual([0, 0x08, 0x10, 0xffff_8000_0000_1000n]);
    expect([m.get('gpr', 1), m.get('gpr', 11), m.rflags]).toEqual([0x5002n, 0x203n, 3]);
    expect(m.rsp).toBe(BigInt(STACK3));
    expect(m.call('sysret', 64)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.get('rip')]).toEqual([3, 0x23, 0x1b, 0x5002n]);
    expect([m.num('mode'), m.rflags]).toEqual([MODE.code64, 0x203]);
    expect(m.num('tlb_ptr')).toBe(m.cpu + TLB.OFFSET + TLB.CTX_USER * TLB_BYTES);
  });

  it('are not there without EFER.SCE and not allowed above level 0', () => {
    const m = longMachine(3);
    expect(m.fault(m.call('sysret', 64))).toEqual([EXC.GP, 0]);
    m.set('efer', m.get('efer') & ~1n);
    expect(m.fault(m.call('syscall', 0n))).toEqual([EXC.UD, 0]);
    const k = longMachine(0);
    k.set('gpr', 0x8000_0000_0000n, 1);
    expect(k.fault(k.call('sysret', 64))).toEqual([EXC.GP, 0]);
  });

  it('work by SYSENTER and SYSEXIT in protected mode', () => {
    const m = protectedMachine(3);
    expect(m.fault(m.call('sysenter'))).toEqual([EXC.GP, 0]);
    m.set('sysenter_cs', 0x08n);
    m.set('sysenter_esp', 0x7777n);
    m.set('sysenter_eip', 0x6666n);
    expect(m.call('sysenter')).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.rsp, m.get('rip'), m.rflags]).toEqual([
      0,
      8,
      16,
      0x7777n,
      0x6666n,
      2,
    ]);
    m.set('gpr', 0x1111n, 1);
    m.set('gpr', 0x2222n, 2);
    expect(m.call('sysexit', 32)).toBe(0);
    expect([m.num('cpl'), m.sel('cs'), m.sel('ss'), m.rsp, m.get('rip')]).toEqual([3, 0x1b, 0x23, 0x1111n, 0x2222n]);
  });
});

describe('POPF and STI', () => {
  // Level, IOPL before, value, flags after.
  const cases: readonly [0 | 3, number, number, number][] = [
    [0, 0, 0x3fffff & ~EFLAGS.VM, 0x247fd7 & ~EFLAGS.RF],
    [3, 0, 0x3fffff, 0x244fd7 | 0x200],
    [3, 3, 0, 0x3002],
    [3, 0, 0, 0x202],
  ];
  it.each(cases)('POPF at level %i with IOPL %i of %i gives %i', (level, iopl, value, after) => {
    const m = protectedMachine(level);
    m.rflags = 0x202 | (iopl << 12);
    m.write(level ? STACK3 : STACK0, 4, value);
    expect(m.call('pop_flags', 32)).toBe(0);
    expect(m.rflags).toBe(after);
    expect(m.rsp).toBe(BigInt((level ? STACK3 : STACK0) + 4));
  });

  it('shadows interrupts only when they were off', () => {
    const m = protectedMachine(0);
    m.call('set_interrupt_flag');
    expect(m.num('shadow')).toBe(0);
    m.call('clear_interrupt_flag');
    m.call('set_interrupt_flag');
    expect(m.num('shadow')).toBe(1);
    expect(protectedMachine(3).call('clear_interrupt_flag')).toBe(1);
  });

  it('makes an ENTER frame of nested pointers', () => {
    const m = protectedMachine(0);
    m.set('gpr', 0x7000n, 5);
    m.write(0x6ffc, 4, 0xaaaa);
    m.write(0x6ff8, 4, 0xbbbb);
    expect(m.call('enter_frame', 32, 3, 0x10n)).toBe(0);
    expect(m.words(STACK0 - 16, 4, 4)).toEqual([STACK0 - 4, 0xbbbb, 0xaaaa, 0x7000]);
    expect([m.get('gpr', 5), m.rsp]).toEqual([BigInt(STACK0 - 4), BigInt(STACK0 - 16 - 0x10)]);
  });
});

describe('I/O permission', () => {
  it('is given by IOPL or by the bitmap in the TSS', () => {
    const m = protectedMachine(3);
    m.write(TSS + 0x66, 2, 0x68);
    m.write(TSS + 0x68 + 1, 2, 0xfff7);
    m.hostValue = 0xabcdn;
    expect(m.call('io_in', 0x0b, 8)).toBe(0);
    expect(m.get('scratch')).toBe(0xcdn);
    expect(m.fault(m.call('io_in', 0x0b, 16))).toEqual([EXC.GP, 0]);
    expect(m.fault(m.call('io_out', 0x0c, 8, 1n))).toEqual([EXC.GP, 0]);
    expect(m.fault(m.call('io_out', 0xffff, 8, 1n))).toEqual([EXC.GP, 0]);
    m.rflags = 0x3202;
    expect(m.call('io_out', 0x0c, 32, 0x12345678n)).toBe(0);
    expect(m.log.at(-1)).toEqual({ kind: 'out', at: 0x0c, size: 4, value: 0x12345678n });
    expect(m.log).toHaveLength(2);
  });
});
