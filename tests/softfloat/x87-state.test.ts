// What needs no host: environment and FXSAVE images, the pending-exception word, MMX, and the transcendental
// instructions against JavaScript's doubles.

import { beforeEach, describe, expect, it } from 'vitest';
import { CPU } from '../../src/isa/layout.ts';
import { loadRuntime } from './build.ts';

const { memory, exports: x } = await loadRuntime('x87/index.ts');
const view = new DataView(memory.buffer);
const cpu = 8192;
const image = 1024;

const u16 = (at: number) => view.getUint16(at, true);
const u32 = (at: number) => view.getUint32(at, true);
const u64 = (at: number) => view.getBigUint64(at, true);
const field32 = (name: string, value: number) => view.setUint32(cpu + CPU[name]!, value, true);
const field64 = (name: string, value: bigint) => view.setBigUint64(cpu + CPU[name]!, value, true);

const bits64 = (value: number): bigint => {
  view.setFloat64(0, value, true);
  return u64(0);
};
const push = (value: number): void => {
  x.x87_fld_m64!(cpu, bits64(value));
};
const top = (): number => {
  view.setBigUint64(0, BigInt.asUintN(64, BigInt(x.x87_fst_m64!(cpu))), true);
  x.x87_store_commit!(cpu, 1);
  return view.getFloat64(0, true);
};

beforeEach(() => {
  new Uint8Array(memory.buffer).fill(0);
  x.x87_fninit!(cpu);
});

/** Pointers that need all their bits, two registers, C3 set. */
function distinctState(): void {
  push(1.5);
  push(0);
  x.x87_ftst!(cpu);
  field32('fop', 0x5a5);
  field64('fip', 0x12345678n);
  field32('fcs', 0x23);
  field64('fdp', 0x9abcdef0n);
  field32('fds', 0x2b);
}

describe('environment images', () => {
  const [w, p] = [1, 2];
  it.each([
    [0, [0x37f, 0x7000, 0x1fff, 0x5678, (4 << 12) | 0x5a5, 0xdef0, 0xc << 12]],
    [p, [0x37f, 0x7000, 0x1fff, 0x5678, 0x23, 0xdef0, 0x2b]],
  ])('16-bit form %i', (form, expected) => {
    distinctState();
    x.x87_fnstenv!(cpu, image, form);
    expect(x.x87_env_size!(cpu, form)).toBe(14);
    expect(Array.from({ length: 7 }, (_, i) => u16(image + 2 * i))).toEqual(expected);
    expect(u16(image + 14)).toBe(0);
  });

  const high = 0xffff0000;
  it.each([
    [w, [0x5678 + high, (0x1234 << 12) | 0x5a5, 0xdef0 + high, 0x9abc << 12]],
    [w | p, [0x12345678, 0x05a50023, 0x9abcdef0, 0x2b + high]],
  ])('32-bit form %i', (form, expected) => {
    distinctState();
    x.x87_fnstenv!(cpu, image, form);
    expect(x.x87_env_size!(cpu, form)).toBe(28);
    const words = Array.from({ length: 7 }, (_, i) => u32(image + 4 * i));
    expect(words).toEqual([0x37f + high, 0x7000 + high, 0x1fff + high, ...expected]);
  });

  it.each([0, 1, 2, 3])('FRSTOR undoes FNSAVE in form %i', (form) => {
    distinctState();
    x.x87_fnsave!(cpu, image, form);
    const size = form & 1 ? 108 : 94;
    const saved = new Uint8Array(memory.buffer.slice(image, image + size));
    x.x87_fninit!(cpu);
    x.x87_frstor!(cpu, image, form);
    x.x87_fnsave!(cpu, image + 256, form);
    expect(new Uint8Array(memory.buffer.slice(image + 256, image + 256 + size))).toEqual(saved);
    expect(top()).toBe(0);
    expect(top()).toBe(1.5);
  });
});

describe('FXSAVE image', () => {
  it.each([
    [0, 288, 0x2312345678n, 0x2b9abcdef0n],
    [3, 416, 0x12345678n, 0x9abcdef0n],
  ])('form %i is written and read back', (form, size, ip, dp) => {
    distinctState();
    field32('mxcsr', 0x1f80);
    for (let i = 0; i < 16; i++) view.setBigUint64(cpu + CPU.ymm! + 32 * i + 8, BigInt(i + 1), true);
    expect(x.x87_fxsave!(cpu, image, form)).toBe(size);
    expect([u16(image), u16(image + 2), u16(image + 4), u16(image + 6)]).toEqual([0x37f, 0x7000, 0xc0, 0x5a5]);
    expect(u64(image + 8)).toBe(form ? ip : 0x0000_0023_1234_5678n);
    expect(u64(image + 16)).toBe(form ? dp : 0x0000_002b_9abc_def0n);
    expect([u32(image + 24), u32(image + 28)]).toEqual([0x1f80, 0xffff]);
    // ST(0) = 0 comes first although it is R6.
    expect([u64(image + 32), u64(image + 48), u64(image + 56)]).toEqual([0n, 0xcn << 60n, 0x3fffn]);
    expect(u64(image + size - 8)).toBe(BigInt(form ? 16 : 8));
    x.x87_fninit!(cpu);
    view.setBigUint64(cpu + CPU.ymm! + 8, 99n, true);
    expect(x.x87_fxrstor!(cpu, image, form)).toBe(0);
    expect(u64(cpu + CPU.ymm! + 8)).toBe(1n);
    expect(x.x87_tag_word!(cpu)).toBe(0x1fff);
    expect([top(), top()]).toEqual([0, 1.5]);
  });

  it('is refused with reserved MXCSR bits', () => {
    x.x87_fxsave!(cpu, image, 3);
    view.setUint32(image + 24, 0x10000, true);
    view.setUint16(image, 0x27f, true);
    expect(x.x87_fxrstor!(cpu, image, 3)).toBe(1);
    expect(u32(cpu + CPU.fcw!)).toBe(0x37f);
  });
});

describe('pending exceptions', () => {
  const trap = () => u32(cpu + CPU.fpu_trap!);
  it('set ES in fpu_trap and leave its other bits', () => {
    field32('fpu_trap', 8);
    x.x87_fldcw!(cpu, 0x37b);
    push(1);
    push(0);
    expect(x.x87_arith_st0!(cpu, 6, 1)).toBe(0);
    expect(x.x87_arith_st0!(cpu, 7, 1)).toBe(0x80);
    expect(trap()).toBe(0x88);
    x.x87_fldcw!(cpu, 0x37f);
    expect(trap()).toBe(8);
    x.x87_fldcw!(cpu, 0x37b);
    expect(trap()).toBe(0x88);
    x.x87_fnclex!(cpu);
    expect(trap()).toBe(8);
  });
  it('vanish with FNINIT', () => {
    x.x87_fldcw!(cpu, 0x37e);
    expect(x.x87_fsqrt!(cpu)).toBe(0x80);
    expect(trap()).toBe(0x80);
    x.x87_fninit!(cpu);
    expect(trap()).toBe(0);
  });
});

it('a store changes nothing before its commit', () => {
  push(1 / 3);
  const before = new Uint8Array(memory.buffer.slice(cpu, cpu + 4096));
  x.x87_fst_m32!(cpu);
  x.x87_store_ok!(cpu);
  expect(new Uint8Array(memory.buffer.slice(cpu, cpu + 4096))).toEqual(before);
  x.x87_store_commit!(cpu, 1);
  expect(Number(x.x87_status!(cpu)) & 0x20).toBe(0x20);
  expect(x.x87_tag_word!(cpu)).toBe(0xffff);
});

describe('transcendental instructions give what JavaScript gives to 15 digits', () => {
  const values = [0.1, 0.3, 0.5, 0.71, 0.97, 1.1, 1.57, 2.9, 3.2, 17.5, 1e3, 1e-9];
  const near = (mine: number, expected: number) =>
    expect(Math.abs(mine - expected)).toBeLessThanOrEqual(Math.abs(expected) * 1e-15);
  it.each(values)('of %d', (v) => {
    const unary = (call: string) => {
      push(v);
      x[call]!(cpu);
      return top();
    };
    near(unary('x87_fsin'), Math.sin(v));
    near(unary('x87_fcos'), Math.cos(v));
    push(v);
    x.x87_fptan!(cpu);
    expect(top()).toBe(1);
    near(top(), Math.tan(v));
    push(v);
    x.x87_fsincos!(cpu);
    near(top(), Math.cos(v));
    near(top(), Math.sin(v));
    for (const y of [1, -2.5, 1e-4]) {
      push(y);
      push(v);
      x.x87_fpatan!(cpu);
      near(top(), Math.atan2(y, v));
      push(y);
      push(v);
      x.x87_fyl2x!(cpu);
      near(top(), y * Math.log2(v));
      push(y);
      push(v);
      x.x87_fyl2xp1!(cpu);
      near(top(), y * (Math.log1p(v) / Math.LN2));
    }
    if (v < 1) near(unary('x87_f2xm1'), Math.expm1(v * Math.LN2));
  });
});

it('MMX writes set the exponent and the registers in use', () => {
  x.x87_mmx_enter!(cpu);
  x.x87_mmx_write!(cpu, 5, 0x1122334455667788n);
  expect(u64(cpu + CPU.fpr! + 80)).toBe(0x1122334455667788n);
  expect(u64(cpu + CPU.fpr! + 88)).toBe(0xffffn);
  expect(u32(cpu + CPU.fempty!)).toBe(0);
  x.x87_emms!(cpu);
  expect(u32(cpu + CPU.fempty!)).toBe(0xff);
});
