import { describe, expect, it } from 'vitest';
import { ATTR, EXC, SEG, type SegmentName } from '../../src/isa/layout.ts';
import { attr, DB, G, type Machine } from './machine.ts';
import { CODE, CONFORMING, CS0, DATA, DS0, DS3, GDT, longMachine, protectedMachine, SPARE, TR } from './modes.ts';

const READ_ONLY = 0x11;
const EXECUTE_ONLY = 0x19;
const ABSENT = ~ATTR.P;
const load = (m: Machine, seg: SegmentName, selector: number): [number, number] | undefined =>
  m.fault(m.call('load_segment', SEG[seg], selector));

describe('loading a data segment register', () => {
  const { GP, NP, SS } = EXC;
  // Level of the machine, register, attributes of the descriptor at 40h, RPL, what comes of it.
  const cases: readonly [0 | 3, SegmentName, number, number, [number, number] | undefined][] = [
    [0, 'ds', attr(DATA, 0), 0, undefined],
    [0, 'ds', attr(READ_ONLY, 0), 0, undefined],
    [0, 'ds', attr(CODE, 0), 0, undefined],
    [0, 'ds', attr(EXECUTE_ONLY, 0), 0, [GP, 0x40]],
    [0, 'ds', attr(DATA, 0) & ABSENT, 0, [NP, 0x40]],
    [0, 'es', attr(DATA, 0), 3, [GP, 0x40]],
    [0, 'fs', attr(DATA, 3), 3, undefined],
    [0, 'gs', attr(9, 0), 0, [GP, 0x40]],
    [3, 'ds', attr(DATA, 2), 3, [GP, 0x40]],
    [3, 'ds', attr(CONFORMING, 0), 3, undefined],
    [3, 'ds', attr(CODE, 0), 3, [GP, 0x40]],
    [0, 'ss', attr(DATA, 0), 0, undefined],
    [0, 'ss', attr(READ_ONLY, 0), 0, [GP, 0x40]],
    [0, 'ss', attr(CODE, 0), 0, [GP, 0x40]],
    [0, 'ss', attr(DATA, 3), 0, [GP, 0x40]],
    [0, 'ss', attr(DATA, 0), 1, [GP, 0x40]],
    [0, 'ss', attr(DATA, 0) & ABSENT, 0, [SS, 0x40]],
    [3, 'ss', attr(DATA, 3), 3, undefined],
    [3, 'ss', attr(DATA, 3), 0, [GP, 0x40]],
  ];
  it.each(cases)('at level %i %s, attributes %i, RPL %i: %j', (level, seg, attributes, rpl, want) => {
    const m = protectedMachine(level);
    m.descriptor(GDT + SPARE, 0x123456, 0x7ff, attributes & ~1);
    const before = m.sel(seg);
    expect(load(m, seg, SPARE | rpl)).toEqual(want);
    expect(m.sel(seg)).toBe(want ? before : SPARE | rpl);
    if (want) return;
    expect(m.num('seg_base', SEG[seg])).toBe(0x123456);
    expect(m.num('seg_limit', SEG[seg])).toBe(0x7ff);
    // The accessed bit is set in memory and in the register.
    expect(Number(m.read(GDT + SPARE + 5, 1)) & 1).toBe(1);
    expect(m.num('seg_attr', SEG[seg])).toBe(attributes | 1);
    expect(m.num('shadow')).toBe(seg === 'ss' ? 2 : 0);
  });

  it('takes a null selector except for SS, and refuses one outside its table', () => {
    const m = protectedMachine(0);
    expect(load(m, 'ds', 3)).toBeUndefined();
    expect(m.num('seg_attr', SEG.ds) & ATTR.NULL).toBe(ATTR.NULL);
    expect(m.fault(m.call('seg_check', SEG.ds, 0, 1, 0))).toEqual([EXC.GP, 0]);
    expect(load(m, 'ss', 0)).toEqual([EXC.GP, 0]);
    expect(load(m, 'ds', 0x100)).toEqual([EXC.GP, 0x100]);
    m.set('gdtr_limit', 0x46n);
    expect(load(m, 'ds', SPARE)).toEqual([EXC.GP, SPARE]);
  });

  it('reads the LDT, which may be missing', () => {
    const m = protectedMachine(0);
    expect(m.fault(m.call('load_ldtr', 0))).toBeUndefined();
    expect(load(m, 'ds', 0x0c)).toEqual([EXC.GP, 0x0c]);
    m.descriptor(GDT + SPARE, 0x6000, 0xf, attr(2));
    m.descriptor(0x6008, 0x1000, 0xfff, attr(DATA));
    expect(m.fault(m.call('load_ldtr', SPARE))).toBeUndefined();
    expect(load(m, 'ds', 0x0c)).toBeUndefined();
    expect(m.num('seg_base', SEG.ds)).toBe(0x1000);
    expect(load(m, 'ds', 0x14)).toEqual([EXC.GP, 0x14]);
  });

  it('sets base and keeps limits in real mode', () => {
    const m = protectedMachine(0);
    m.set('cr0', 0x10n);
    m.setSeg('ds', 0, 0, 0xffffffff, attr(DATA, 0, G));
    m.call('set_state_done');
    expect(load(m, 'ds', 0x1234)).toBeUndefined();
    expect(m.num('seg_base', SEG.ds)).toBe(0x12340);
    expect(m.num('seg_limit', SEG.ds)).toBe(0xffffffff);
  });

  it('takes a null SS in 64-bit mode below level 3 with the RPL of CPL', () => {
    const m = longMachine(0);
    expect(load(m, 'ss', 1)).toEqual([EXC.GP, 0]);
    expect(load(m, 'ss', 0)).toBeUndefined();
    const user = longMachine(3);
    expect(load(user, 'ss', 3)).toEqual([EXC.GP, 0]);
  });
});

describe('seg_check', () => {
  // Type, limit, flags, offset, size, write, whether it is inside.
  const cases: readonly [number, number, number, number, number, 0 | 1, boolean][] = [
    [DATA, 0xfff, 0, 0xffc, 4, 1, true],
    [DATA, 0xfff, 0, 0xffd, 4, 0, false],
    [DATA, 0xffffffff, 0, 0xfffffffc, 4, 1, true],
    [DATA, 0xffffffff, 0, 0xfffffffd, 4, 1, false],
    [READ_ONLY, 0xfff, 0, 0, 4, 0, true],
    [READ_ONLY, 0xfff, 0, 0, 4, 1, false],
    [CODE, 0xfff, 0, 0, 4, 0, true],
    [CODE, 0xfff, 0, 0, 4, 1, false],
    [EXECUTE_ONLY, 0xfff, 0, 0, 4, 0, false],
    [0x17, 0xfff, 0, 0x1000, 4, 1, true],
    [0x17, 0xfff, 0, 0xfff, 4, 1, false],
    [0x17, 0xfff, 0, 0xfffc, 4, 1, true],
    [0x17, 0xfff, 0, 0xfffd, 4, 1, false],
    [0x17, 0xfff, DB, 0xfffd, 4, 1, true],
  ];
  it.each(cases)(
    'type %i limit %i flags %i offset %i size %i write %i: %s',
    (type, limit, flags, offset, size, write, ok) => {
      const m = protectedMachine(0);
      m.setSeg('es', 0x40, 0, limit, attr(type, 0, flags));
      expect(m.fault(m.call('seg_check', SEG.es, offset, size, write))).toEqual(ok ? undefined : [EXC.GP, 0]);
      m.setSeg('ss', 0x40, 0, limit, attr(type, 0, flags));
      expect(m.fault(m.call('seg_check', SEG.ss, offset, size, write))).toEqual(ok ? undefined : [EXC.SS, 0]);
    },
  );

  it('lets real mode write through CS', () => {
    const m = protectedMachine(0);
    m.call('reset');
    expect(m.call('seg_check', SEG.cs, 0, 2, 1)).toBe(0);
    expect(m.fault(m.call('seg_check', SEG.cs, 0xffff, 2, 1))).toEqual([EXC.GP, 0]);
  });
});

describe('LTR, LAR, LSL, VERR, VERW', () => {
  it('mark the TSS busy and refuse it then', () => {
    const m = protectedMachine(0);
    expect(Number(m.read(GDT + TR + 5, 1)) & 0xf).toBe(11);
    expect(m.fault(m.call('load_tr', TR))).toEqual([EXC.GP, TR]);
    expect(m.fault(m.call('load_tr', DS0))).toEqual([EXC.GP, DS0]);
    const user = protectedMachine(3);
    expect(user.fault(user.call('load_tr', TR))).toEqual([EXC.GP, 0]);
  });

  it('read a base of 64 bits in IA-32e mode', () => {
    const m = longMachine(0);
    m.descriptor(GDT + SPARE, 0xffff_8000_1234_5678n, 0x67, attr(9), true);
    expect(m.fault(m.call('load_tr', SPARE))).toBeUndefined();
    expect(m.get('seg_base', SEG.tr)).toBe(0xffff_8000_1234_5678n);
    m.descriptor(GDT + SPARE, 0x8000_1234_5678_0000n, 0x67, attr(9), true);
    expect(m.fault(m.call('load_tr', SPARE))).toEqual([EXC.GP, SPARE]);
  });

  it('answer by type and privilege', () => {
    const m = protectedMachine(3);
    const ask = (name: string, ...args: number[]): bigint => {
      expect(m.call(name, ...args)).toBe(0);
      return m.get('scratch');
    };
    expect(ask('access_rights', DS3)).toBe(0xcff300n);
    expect(ask('access_rights', DS0)).toBe(0n);
    expect(ask('access_rights', 0)).toBe(0n);
    expect(ask('segment_limit', DS3)).toBe((1n << 32n) | 0xffffffffn);
    expect(ask('segment_limit', CS0)).toBe(0n);
    expect(ask('verify_segment', DS3, 1)).toBe(1n);
    expect(ask('verify_segment', DS0, 0)).toBe(0n);
    expect(ask('verify_segment', 0x1b, 0)).toBe(1n);
    expect(ask('verify_segment', 0x1b, 1)).toBe(0n);
    m.descriptor(GDT + SPARE, 0, 0, attr(12, 3));
    expect(ask('access_rights', SPARE)).toBe(0xec00n);
    expect(ask('segment_limit', SPARE)).toBe(0n);
  });
});
