// XSAVE and XRSTOR by the runtime, XCR0, and when AVX may be used (SDM vol.1 13).
import { describe, expect, it } from 'vitest';
import { CR0, CR4, cpuField, EXC } from '../../src/isa/layout.ts';
import type { Machine } from './machine.ts';
import { longMachine, protectedMachine } from './modes.ts';

/** The gpa at which linear addresses of these machines are their own. */
const AREA = 0x8000;
const [X87, SSE, AVX] = [1n, 2n, 4n];
/** `form`: 64-bit pointers and sixteen registers; the instruction in bits 2-3. */
const form = (kind: number): number => 3 | (kind << 2);
const [XSAVE, XSAVEOPT, XSAVEC, XSAVES] = [0, 1, 2, 3];
const COMPACTED = 1n << 63n;
const MXCSR = 0x1f80n;

/** A vCPU in 64-bit mode whose operating system uses XSAVE with all components, all of them initial. */
function machine(components = X87 | SSE | AVX): Machine {
  const m = longMachine(0);
  m.set('cr4', BigInt(m.num('cr4') | CR4.OSXSAVE | CR4.OSFXSR));
  m.set('xcr0', components);
  m.call('x87_fninit');
  m.set('mxcsr', MXCSR);
  for (let i = 0; i < AVX_WORDS; i++) setYmm(m, i, 0n);
  m.call('update_context');
  ask(m, components);
  return m;
}
const AVX_WORDS = 64;
const yOffset = cpuField('ymm');
/** Quadword `i` of the YMM registers, four a register. */
const ymmAt = (m: Machine, i: number): number => m.cpu + yOffset + i * 8;
const setYmm = (m: Machine, i: number, v: bigint): void => m.view.setBigUint64(ymmAt(m, i), v, true);
const ymm = (m: Machine, i: number): bigint => m.view.getBigUint64(ymmAt(m, i), true);

/** Components in EDX:EAX. */
function ask(m: Machine, components: bigint): void {
  m.set('gpr', components & 0xffff_ffffn, 0);
  m.set('gpr', components >> 32n, 2);
}
const save = (m: Machine, kind: number): unknown => m.fault(m.call('xsave_area', BigInt(AREA), form(kind)));
const restore = (m: Machine, kind = 0): unknown => m.fault(m.call('xrstor_area', BigInt(AREA), form(kind)));
const header = (m: Machine): [bigint, bigint] => [m.read(AREA + 512, 8), m.read(AREA + 520, 8)];
const fill = (m: Machine): void => {
  for (let at = 0; at < 832; at += 8) m.write(AREA + at, 8, 0xa5a5a5a5a5a5a5a5n);
  for (let at = 512; at < 576; at += 8) m.write(AREA + at, 8, 0);
};

describe('XSAVE', () => {
  it('stores what is asked for and says what is in use', () => {
    const m = machine();
    fill(m);
    setYmm(m, 4 * 3, 0x1111n);
    setYmm(m, 4 * 15 + 3, 0x2222n);
    expect(save(m, XSAVE)).toBeUndefined();
    expect(header(m)).toEqual([SSE | AVX, 0n]);
    expect(m.read(AREA, 2)).toBe(0x37fn);
    expect(m.read(AREA + 24, 4)).toBe(MXCSR);
    expect(m.read(AREA + 160 + 16 * 3, 8)).toBe(0x1111n);
    expect(m.read(AREA + 576 + 16 * 15 + 8, 8)).toBe(0x2222n);
    // Bytes that belong to nothing stay.
    expect(m.read(AREA + 416, 8)).toBe(0xa5a5a5a5a5a5a5a5n);
  });
  it('keeps components that are not asked for, in the area and its header', () => {
    const m = machine();
    fill(m);
    m.write(AREA + 512, 8, AVX);
    ask(m, X87);
    expect(save(m, XSAVE)).toBeUndefined();
    expect(header(m)).toEqual([AVX, 0n]);
    expect(m.read(AREA + 160, 8)).toBe(0xa5a5a5a5a5a5a5a5n);
    expect(m.read(AREA + 24, 8)).toBe(0xa5a5a5a5a5a5a5a5n);
  });
  it('leaves out initial components as XSAVEOPT and XSAVEC, whose MXCSR counts as SSE', () => {
    const m = machine();
    fill(m);
    setYmm(m, 2, 7n);
    expect(save(m, XSAVEOPT)).toBeUndefined();
    expect(header(m)).toEqual([AVX, 0n]);
    expect(m.read(AREA, 8)).toBe(0xa5a5a5a5a5a5a5a5n);
    m.set('mxcsr', 0x1fa0n);
    expect(save(m, XSAVEC)).toBeUndefined();
    expect(header(m)).toEqual([SSE | AVX, COMPACTED | 7n]);
    expect(m.read(AREA + 24, 4)).toBe(0x1fa0n);
  });
});

describe('XRSTOR', () => {
  it('brings back what was saved in either format, and initial states for the rest', () => {
    for (const kind of [XSAVE, XSAVEC, XSAVES]) {
      const m = machine();
      for (let i = 0; i < AVX_WORDS; i++) setYmm(m, i, BigInt(i) * 0x0101_0101_0101n);
      m.set('mxcsr', 0x1f81n);
      expect(save(m, kind)).toBeUndefined();
      for (let i = 0; i < AVX_WORDS; i++) setYmm(m, i, ~0n);
      m.set('mxcsr', 0n);
      m.set('fcw', 0x27fn);
      expect(restore(m, kind === XSAVES ? XSAVES : 0)).toBeUndefined();
      expect(Array.from({ length: AVX_WORDS }, (_, i) => ymm(m, i))).toEqual(
        Array.from({ length: AVX_WORDS }, (_, i) => BigInt(i) * 0x0101_0101_0101n),
      );
      expect([m.get('mxcsr'), m.get('fcw')]).toEqual([0x1f81n, 0x37fn]);
    }
  });
  it('refuses headers that are not sound', () => {
    const bad = (change: (m: Machine) => void, kind = 0): void => {
      const m = machine(X87 | SSE);
      fill(m);
      m.write(AREA + 24, 8, MXCSR);
      change(m);
      setYmm(m, 0, 5n);
      expect(restore(m, kind)).toEqual([EXC.GP, 0]);
      expect(ymm(m, 0)).toBe(5n);
    };
    bad((m) => m.write(AREA + 512, 8, AVX)); // not in XCR0
    bad((m) => m.write(AREA + 520, 8, 1)); // standard form with XCOMP_BV
    bad((m) => m.write(AREA + 528, 8, 1)); // reserved bytes of the standard form
    bad((m) => {
      m.write(AREA + 520, 8, COMPACTED | X87);
      m.write(AREA + 512, 8, SSE); // not in the area
    });
    bad(() => {}, XSAVES); // XRSTORS takes the compacted form only
    bad((m) => {
      m.write(AREA + 512, 8, SSE);
      m.write(AREA + 24, 4, 0xffff_0000n); // reserved bits of MXCSR
    });
  });
});

describe('availability', () => {
  const setXcr0 = (m: Machine, value: bigint): unknown => {
    m.set('gpr', 0n, 1);
    ask(m, value);
    return m.fault(m.call('write_xcr'));
  };
  const AVX_UNIT = 4;

  it('of XCR0 follows the model: AVX needs SSE, x87 stays', () => {
    const m = machine();
    expect(setXcr0(m, 7n)).toBeUndefined();
    for (const value of [0n, 5n, 6n, 15n, 1n << 32n]) expect(setXcr0(m, value)).toEqual([EXC.GP, 0]);
    m.set('xcr0_mask', 3n);
    expect(setXcr0(m, 7n)).toEqual([EXC.GP, 0]);
    m.set('xcr0_mask', 0n);
    expect(m.fault(m.call('write_cr', 4, m.get('cr4')))).toEqual([EXC.GP, 0]);
  });
  it('of AVX needs CR4.OSXSAVE, XCR0 and protected mode, else #UD; CR0.TS is #NM', () => {
    const m = machine(X87 | SSE);
    expect(m.num('avx_trap')).not.toBe(0);
    expect(m.fault(m.call('fp_check', AVX_UNIT))).toEqual([EXC.UD, 0]);
    expect(setXcr0(m, 7n)).toBeUndefined();
    expect(m.num('avx_trap')).toBe(0);
    m.set('cr0', BigInt(m.num('cr0') | CR0.TS));
    m.call('update_context');
    expect(m.num('avx_trap')).not.toBe(0);
    expect(m.fault(m.call('fp_check', AVX_UNIT))).toEqual([EXC.NM, 0]);
    const plain = protectedMachine(0);
    expect(plain.fault(plain.call('fp_check', AVX_UNIT))).toEqual([EXC.UD, 0]);
  });
  it('of XSAVE needs CR4.OSXSAVE; XSAVES needs CPL 0', () => {
    const m = machine();
    expect(m.fault(m.call('xsave_check', 1))).toBeUndefined();
    m.set('cpl', 3n);
    expect(m.fault(m.call('xsave_check', 0))).toBeUndefined();
    expect(m.fault(m.call('xsave_check', 1))).toEqual([EXC.GP, 0]);
    m.set('cr4', BigInt(m.num('cr4') & ~CR4.OSXSAVE));
    expect(m.fault(m.call('xsave_check', 0))).toEqual([EXC.UD, 0]);
  });
  it('of the state in use by XGETBV with ECX = 1', () => {
    const m = machine();
    m.set('gpr', 1n, 1);
    expect(m.fault(m.call('read_xcr'))).toBeUndefined();
    expect(m.get('gpr', 0)).toBe(0n);
    setYmm(m, 3, 1n);
    expect(m.fault(m.call('read_xcr'))).toBeUndefined();
    expect(m.get('gpr', 0)).toBe(AVX);
  });
});
