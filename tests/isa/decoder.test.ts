// The decoder's rules, one by one, on a few rows made for the purpose: prefixes, sizes, addressing, immediates.
import { describe, expect, it } from 'vitest';
import { makeDecoder } from '../../src/isa/decoder.ts';
import type { CodeMode, DecodeFailure, Insn } from '../../src/isa/insn.ts';
import { SEG } from '../../src/isa/layout.ts';
import { row } from '../../src/isa/row.ts';

const none = (): void => {};
const ROWS = [
  row('add', '+Eb, Gb', '00 /r', none, { lock: true }),
  row('add', '+Ev, Gv', '01 /r', none, { lock: true }),
  row('add', '+Ev, Ibs', '83 /0', none, { lock: true }),
  row('add', '+rAX, Iz', '05', none),
  row('inc', '+Zv', '40+r', none, { no64: true }),
  row('push', 'Zv', '50+r', none, { size64: 'd64' }),
  row('push', 'Iz', '68', none, { size64: 'd64' }),
  row('nop', '', '90', none, { noRexB: true }),
  row('pause', '', 'F3 90', none, { noRexB: true }),
  row('xchg', '+Zv, +rAX', '90+r', none),
  row('mov', '=Zb, Ib', 'B0+r', none),
  row('mov', '=Zv, Iv', 'B8+r', none),
  row('mov', '=rAX, Ov', 'A1', none),
  row('mov', '=Sw, Ew', '8E /r', none),
  row('mov', '=Rn, Cn', '0F 20 /r', none),
  row('lea', '=Gv, M', '8D /r', none),
  row('call', 'Jz', 'E8', none, { size64: 'f64' }),
  row('callf', 'Ap', '9A', none, { no64: true }),
  row('enter', 'Iw, Ib', 'C8', none, { size64: 'd64' }),
  row('movs', 'Yv, Xv', 'A5', none, { rep: 'plain' }),
  row('cmps', 'Xv, Yv', 'A7', none, { rep: 'zf' }),
  row('movups', '=Vdq, Wdq', 'NP 0F 10 /r', none),
  row('movupd', '=Vdq, Wdq', '66 0F 10 /r', none),
  row('movss', '=Vdq, Wd', 'F3 0F 10 /r', none),
  row('movd', '=Vdq, Ey', '66 0F 6E /r', none),
  row('popcnt', '=Gv, Ev', 'F3 0F B8 /r', none),
  row('pshufb', '+Vdq, Wdq', '66 0F 38 00 /r', none),
  row('sgdt', 'M', '0F 01 /0', none),
  row('vmcall', '', '0F 01 C1', none),
  row('crc32', '+Gd, Ev', 'F2 0F 38 F1 /r', none),
];
const decoder = makeDecoder(ROWS);
const M64: CodeMode = { code: 64, stack: 64 };
const M32: CodeMode = { code: 32, stack: 32 };
const M16: CodeMode = { code: 16, stack: 16 };

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(hex.split(' '), (x) => Number.parseInt(x, 16));
function any(hex: string, mode = M64): Insn | DecodeFailure {
  const bytes = bytesOf(hex);
  return decoder.decode(bytes, 0, bytes.length, mode);
}
function ok(hex: string, mode = M64): Insn {
  const insn = any(hex, mode);
  if ('failure' in insn) throw new Error(`${hex}: ${insn.failure}`);
  expect(insn.length).toBe(hex.split(' ').length);
  return insn;
}
const name = (hex: string, mode = M64): string => ok(hex, mode).row.name;
const fails = (hex: string, mode = M64): string => {
  const insn = any(hex, mode);
  return 'failure' in insn ? insn.failure : insn.row.name;
};

describe('prefixes', () => {
  it('choose the operand size, REX.W before 66', () => {
    expect([ok('01 C8').w, ok('66 01 C8').w, ok('48 01 C8').w, ok('66 48 01 C8').w]).toEqual([32, 16, 64, 64]);
    expect([ok('01 C8', M16).w, ok('66 01 C8', M16).w, ok('66 01 C8', M32).w]).toEqual([16, 32, 16]);
    expect([ok('50').w, ok('66 50').w, ok('50', M32).w, ok('E8 00 00 00 00').w]).toEqual([64, 16, 32, 64]);
  });
  it('ignore a REX that is not the last one', () => {
    expect(ok('48 66 01 C8').w).toBe(16);
    expect(ok('41 48 01 C8').operands[0]).toMatchObject({ n: 0, width: 64 });
  });
  it('take 40-4F as REX only in 64-bit mode', () => {
    expect(name('41', M32)).toBe('inc');
    expect(fails('41')).toBe('truncated');
  });
  it('select rows, F3 and F2 before 66', () => {
    expect(name('0F 10 C1')).toBe('movups');
    expect(name('66 0F 10 C1')).toBe('movupd');
    expect(name('F3 0F 10 C1')).toBe('movss');
    expect(name('66 F3 0F 10 C1')).toBe('movss');
    expect(name('F2 F3 0F 10 C1')).toBe('movss');
    expect(fails('F3 F2 0F 10 C1')).toBe('ud');
    expect(ok('66 F3 0F B8 C1').w).toBe(16);
    expect(ok('66 F2 0F 38 F1 C1').operands[1]).toMatchObject({ width: 16 });
    expect(ok('66 0F 6E C1').operands[1]).toMatchObject({ width: 32 });
    expect(ok('66 48 0F 6E C1').operands[1]).toMatchObject({ width: 64 });
  });
  it('make 90 NOP, PAUSE or XCHG', () => {
    expect([name('90'), name('F3 90'), name('41 90'), name('91')]).toEqual(['nop', 'pause', 'xchg', 'xchg']);
    expect(ok('41 90').operands[0]).toMatchObject({ n: 8 });
    expect(name('F3 41 90')).toBe('xchg');
  });
  it('allow LOCK only where the row does and operand 0 is in memory', () => {
    expect(ok('F0 01 08').lock).toBe(true);
    expect(fails('F0 01 C8')).toBe('ud');
    expect(fails('F0 8D 08')).toBe('ud');
  });
  it('repeat string instructions', () => {
    expect([ok('A5').rep, ok('F3 A5').rep, ok('F2 A5').rep]).toEqual(['none', 'rep', 'rep']);
    expect([ok('F3 A7').rep, ok('F2 A7').rep, ok('F3 01 C8').rep]).toEqual(['rep', 'repne', 'none']);
  });
  it('override segments, in 64-bit mode only with fs and gs', () => {
    expect(ok('2E 01 08', M32).mem!.seg).toBe(SEG.cs);
    expect(ok('2E 01 08').mem!.seg).toBe(SEG.ds);
    expect(ok('64 2E 01 08').mem!.seg).toBe(SEG.fs);
    expect(ok('65 A5').seg).toBe(SEG.gs);
    expect(ok('A5').seg).toBe(SEG.ds);
    expect(ok('01 4D 00').seg).toBe(SEG.ss);
  });
});

describe('length', () => {
  it('is at most 15 bytes', () => {
    const prefixes = (n: number): string => Array(n).fill('66').join(' ');
    expect(name(`${prefixes(13)} 01 C8`)).toBe('add');
    expect(fails(`${prefixes(14)} 01 C8`)).toBe('too-long');
    expect(fails(`${prefixes(15)}`)).toBe('too-long');
    expect(fails(`${prefixes(14)}`)).toBe('truncated');
  });
  it('reads nothing behind the end', () => {
    const bytes = bytesOf('00 00 05 78 56 34 12');
    for (let end = 2; end < 7; end++) expect(decoder.decode(bytes, 2, end, M64)).toEqual({ failure: 'truncated' });
    expect(decoder.decode(bytes, 2, 7, M64)).toMatchObject({ length: 5 });
  });
});

describe('ModRM', () => {
  it('names 8-bit registers by whether REX is there', () => {
    expect(ok('00 E1').operands).toMatchObject([
      { n: 1, high: false },
      { n: 0, high: true },
    ]);
    expect(ok('40 00 E1').operands[1]).toMatchObject({ n: 4, high: false });
    expect(ok('B7 05').operands[0]).toMatchObject({ n: 3, high: true });
    expect(ok('41 B7 05').operands[0]).toMatchObject({ n: 15, high: false });
  });
  it('has the 32- and 64-bit forms', () => {
    const mem = (hex: string, mode = M64) => ok(hex, mode).mem;
    const none = { base: undefined, index: undefined, scale: 0, disp: 0n, ripRelative: false, seg: SEG.ds };
    expect(mem('01 08')).toEqual({ ...none, base: 0 });
    expect(mem('01 4D F0')).toEqual({ ...none, base: 5, disp: -16n, seg: SEG.ss });
    expect(mem('41 01 4D F0')).toEqual({ ...none, base: 13, disp: -16n });
    expect(mem('01 0D 00 00 00 80')).toEqual({ ...none, disp: -0x8000_0000n, ripRelative: true });
    expect(mem('01 0D 10 00 00 00', M32)).toEqual({ ...none, disp: 16n });
    expect(mem('01 0C 8B')).toEqual({ ...none, base: 3, index: 1, scale: 2 });
    expect(mem('01 0C 24')).toEqual({ ...none, base: 4, seg: SEG.ss });
    expect(mem('42 01 0C A4')).toEqual({ ...none, base: 4, index: 12, scale: 2, seg: SEG.ss });
    expect(mem('01 0C 25 10 00 00 00')).toEqual({ ...none, disp: 16n });
    expect(mem('41 01 0C 25 10 00 00 00')).toEqual({ ...none, disp: 16n });
  });
  it('has the 16-bit forms', () => {
    const mem = (hex: string) => ok(hex, M16).mem;
    expect(mem('01 08')).toMatchObject({ base: 3, index: 6, seg: SEG.ds });
    expect(mem('01 0B')).toMatchObject({ base: 5, index: 7, seg: SEG.ss });
    expect(mem('01 0E 34 12')).toMatchObject({ base: undefined, disp: 0x1234n, seg: SEG.ds });
    expect(mem('01 4E FE')).toMatchObject({ base: 5, index: undefined, disp: -2n, seg: SEG.ss });
    expect(mem('01 8F 00 80')).toMatchObject({ base: 3, disp: -0x8000n });
    expect(ok('67 01 08', M32).mem).toMatchObject({ base: 3, index: 6 });
  });
  it('selects by digit, whole byte and mod', () => {
    expect(fails('83 C8 01')).toBe('ud');
    expect([name('0F 01 00'), name('0F 01 C1'), fails('0F 01 C0')]).toEqual(['sgdt', 'vmcall', 'ud']);
    expect(fails('8D C1')).toBe('ud');
  });
  it('refuses segment and control registers that do not exist', () => {
    expect([name('8E D8'), fails('8E C8'), fails('8E F0')]).toEqual(['mov', 'ud', 'ud']);
    expect([name('0F 20 C0'), fails('0F 20 C8'), name('44 0F 20 C0')]).toEqual(['mov', 'ud', 'mov']);
    expect(ok('0F 20 00').length).toBe(3);
  });
});

describe('immediates', () => {
  const imm = (hex: string, mode = M64) => ok(hex, mode).operands[1];
  it('are extended as their type says', () => {
    expect(imm('48 83 C0 FF')).toEqual({ kind: 'imm', value: 0xffff_ffff_ffff_ffffn, width: 64 });
    expect(imm('66 83 C0 FF')).toEqual({ kind: 'imm', value: 0xffffn, width: 16 });
    expect(imm('48 05 00 00 00 80')).toEqual({ kind: 'imm', value: 0xffff_ffff_8000_0000n, width: 64 });
    expect(imm('05 00 00 00 80')).toEqual({ kind: 'imm', value: 0x8000_0000n, width: 32 });
    expect(imm('48 B8 08 07 06 05 04 03 02 F1')).toEqual({ kind: 'imm', value: 0xf102030405060708n, width: 64 });
    expect(imm('B8 FF FF FF FF')).toEqual({ kind: 'imm', value: 0xffff_ffffn, width: 32 });
    expect(ok('68 FF FF FF FF').operands[0]).toEqual({ kind: 'imm', value: 0xffff_ffff_ffff_ffffn, width: 64 });
    expect(ok('C8 34 12 FF').operands).toMatchObject([{ value: 0x1234n }, { value: 0xffn }]);
  });
  it('are offsets, targets and far pointers', () => {
    expect(ok('A1 08 07 06 05 04 03 02 F1').mem!.disp).toBe(0xf102030405060708n);
    expect(ok('67 A1 08 07 06 F5').mem!.disp).toBe(0xf5060708n);
    expect(ok('A1 FE FF', M16).mem!.disp).toBe(0xfffen);
    expect(ok('E8 FE FF FF FF').operands[0]).toEqual({ kind: 'rel', value: -2 });
    expect(ok('E8 FE FF', M16).operands[0]).toEqual({ kind: 'rel', value: -2 });
    expect(ok('9A 78 56 34 F2 10 00', M32).operands[0]).toEqual({ kind: 'far', offset: 0xf2345678n, selector: 16 });
    expect(ok('9A 34 F2 10 00', M16).operands[0]).toEqual({ kind: 'far', offset: 0xf234n, selector: 16 });
  });
});

describe('tables', () => {
  it('tell which rows claim the same bytes', () => {
    const twice = makeDecoder([...ROWS, row('or', '+Ev, Gv', '01 /r', none)]);
    expect(decoder.conflicts).toEqual([]);
    expect(twice.conflicts).toEqual([expect.stringContaining('01 /r')]);
  });
  it('leave out rows of features that the CPU does not have', () => {
    const list = [
      row('bsf', '=Gv, Ev', '0F BC /r', none),
      row('tzcnt', '=Gv, Ev', 'F3 0F BC /r', none, { feature: 'bmi1' }),
    ];
    const bytes = bytesOf('F3 0F BC C1');
    expect(makeDecoder(list).decode(bytes, 0, 4, M64)).toMatchObject({ row: list[1] });
    expect(makeDecoder(list, new Set()).decode(bytes, 0, 4, M64)).toMatchObject({ row: list[0] });
  });
  it('refuse operands that no encoding gives', () => {
    expect(() => makeDecoder([row('x', 'By', '01 /r', none)])).toThrow(/VEX/);
    expect(() => makeDecoder([row('x', 'Idq', '01', none)])).toThrow(/immediate/);
  });
});
