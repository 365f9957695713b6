/**
 * MMX, SSE and x87 rows by the reference with the runtime's helpers, on cases whose results are in the manuals. (The
 * comparison with the host CPU in tests/differential is the wide one; this one needs no x86 host.) Needs the build.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { FlatMemory } from '../../src/engine/reference/flat.ts';
import type { ReferenceHelper } from '../../src/engine/reference/ops.ts';
import { ReferenceState } from '../../src/engine/reference/state.ts';
import { type StepResult, step } from '../../src/engine/reference/step.ts';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { ATTR, CR0, CR4, EXC } from '../../src/isa/layout.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { runtimeHelpers } from './vector-helpers.ts';

const DATA = 0x1000n;
const decoder = makeDecoder(ROWS);
let helpers: ReadonlyMap<string, ReferenceHelper>;
beforeAll(async () => {
  helpers = await runtimeHelpers();
});

/** A vCPU in 64-bit mode at rip 0 with rax = DATA, and a page of memory there. */
class Machine {
  readonly state = new ReferenceState();
  readonly page = new Uint8Array(0x1000);
  readonly memory = new FlatMemory([{ start: DATA, bytes: this.page, writable: true }]);

  constructor() {
    for (let seg = 0; seg < 6; seg++) this.state.set('seg_attr', BigInt(ATTR.P | ATTR.S | ATTR.WRITABLE), seg);
    this.state.set('cr0', BigInt(CR0.PE | CR0.NE));
    this.state.set('cr4', BigInt(CR4.OSFXSR | CR4.OSXMMEXCPT));
    this.state.set('mxcsr', 0x1f80n);
    this.state.set('fcw', 0x37fn);
    this.state.set('fempty', 0xffn);
    this.state.set('gpr', DATA, 0);
  }

  run(hex: string): StepResult {
    const bytes = Uint8Array.from(hex.split(' '), (x) => Number.parseInt(x, 16));
    const insn = decoder.decode(bytes, 0, bytes.length, { code: 64, stack: 64 });
    if ('failure' in insn) throw new Error(`${hex}: ${insn.failure}`);
    return step(insn, this.state, this.memory, helpers);
  }
  /** XMMn as a number of 128 bits; and set. */
  xmm(n: number): bigint {
    return BigInt.asUintN(128, this.state.get('ymm', n));
  }
  setXmm(n: number, v: bigint): void {
    this.state.set('ymm', v, n);
  }
  get mxcsr(): number {
    return Number(this.state.get('mxcsr'));
  }
}

const DONE = { kind: 'done' };
const fault = (vector: number) => expect.objectContaining({ kind: 'fault', vector });
const bits = (x: number): bigint => new BigUint64Array(Float64Array.of(x).buffer)[0]!;
const singles = (...x: number[]): bigint =>
  [...new Uint32Array(Float32Array.from(x).buffer)].reduce((v, n, i) => v | (BigInt(n) << BigInt(32 * i)), 0n);

describe('SSE', () => {
  it('adds exactly without a flag, and rounds with PE', () => {
    const m = new Machine();
    m.setXmm(0, (7n << 64n) | bits(1.5));
    m.setXmm(1, bits(2.25));
    expect(m.run('f2 0f 58 c1')).toEqual(DONE);
    expect(m.xmm(0)).toBe((7n << 64n) | bits(3.75));
    expect(m.mxcsr).toBe(0x1f80);
    m.setXmm(1, bits(1e-20));
    m.run('f2 0f 58 c1');
    expect(m.xmm(0) & 0xffff_ffff_ffff_ffffn).toBe(bits(3.75));
    expect(m.mxcsr).toBe(0x1fa0);
  });

  it('divides by zero into ZE, or into #XM when that is unmasked, or #UD without OSXMMEXCPT', () => {
    const m = new Machine();
    m.setXmm(0, singles(1, -1, 0, 4));
    m.setXmm(1, singles(0, 0, 1, 2));
    expect(m.run('0f 5e c1')).toEqual(DONE);
    expect(m.xmm(0)).toBe(singles(Infinity, -Infinity, 0, 2));
    expect(m.mxcsr).toBe(0x1f84);
    m.state.set('mxcsr', 0x1d80n);
    m.setXmm(0, singles(1, 1, 1, 1));
    expect(m.run('0f 5e c1')).toEqual(fault(EXC.XM));
    expect(m.xmm(0)).toBe(singles(1, 1, 1, 1));
    m.state.set('cr4', BigInt(CR4.OSFXSR));
    expect(m.run('0f 5e c1')).toEqual(fault(EXC.UD));
  });

  it('takes the second operand as minimum of NaNs and equal zeros', () => {
    const m = new Machine();
    m.setXmm(0, bits(0));
    m.setXmm(1, bits(-0));
    m.run('f2 0f 5d c1');
    expect(m.xmm(0)).toBe(bits(-0));
    m.setXmm(1, 0x7ff8_0000_0000_0001n);
    m.run('f2 0f 5d c1');
    expect(m.xmm(0)).toBe(0x7ff8_0000_0000_0001n);
    expect(m.mxcsr).toBe(0x1f81);
  });

  it('converts by RC or by truncation, out of range to the indefinite', () => {
    const m = new Machine();
    m.setXmm(1, bits(2.5));
    m.run('f2 0f 2d c9'); // cvtsd2si ecx, xmm1
    expect(m.state.get('gpr', 1)).toBe(2n);
    m.state.set('mxcsr', 0x5f80n); // round up
    m.run('f2 0f 2d c9');
    expect(m.state.get('gpr', 1)).toBe(3n);
    m.setXmm(1, bits(-2.5));
    m.run('f2 0f 2c c9');
    expect(m.state.get('gpr', 1)).toBe(0xffff_fffen);
    m.setXmm(1, bits(2 ** 31));
    m.run('f2 0f 2c c9');
    expect(m.state.get('gpr', 1)).toBe(0x8000_0000n);
    expect(m.mxcsr & 1).toBe(1);
  });

  it('demands aligned operands of those instructions that say so', () => {
    const m = new Machine();
    expect(m.run('66 0f fe 40 08')).toEqual(fault(EXC.GP)); // paddd xmm0, [rax+8]
    expect(m.run('66 0f fe 40 10')).toEqual(DONE);
    expect(m.run('f3 0f 6f 40 08')).toEqual(DONE); // movdqu
    expect(m.run('0f ae 40 08')).toEqual(fault(EXC.GP)); // fxsave
    expect(m.run('0f ae 40 10')).toEqual(DONE);
  });

  it('shuffles and shifts by immediates, whatever they are', () => {
    const m = new Machine();
    const iota = 0x0f0e0d0c_0b0a0908_07060504_03020100n;
    m.setXmm(1, iota);
    m.run('66 0f 70 c1 1b'); // pshufd: reversed
    expect(m.xmm(0)).toBe(0x03020100_07060504_0b0a0908_0f0e0d0cn);
    m.run('f3 0f 70 c1 1b'); // pshufhw
    expect(m.xmm(0)).toBe(0x09080b0a_0d0c0f0e_07060504_03020100n);
    m.run('66 0f 73 d9 05'); // psrldq xmm1, 5
    expect(m.xmm(1)).toBe(iota >> 40n);
    m.run('66 0f 73 f9 ff'); // pslldq xmm1, 255
    expect(m.xmm(1)).toBe(0n);
    m.setXmm(1, iota);
    m.run('66 0f 71 e1 40'); // psraw xmm1, 64
    expect(m.xmm(1)).toBe(0n);
    m.run('66 0f 72 d0 20'); // psrld xmm0, 32
    expect(m.xmm(0)).toBe(0n);
  });

  it('refuses reserved MXCSR bits', () => {
    const m = new Machine();
    m.page.set([0x80, 0x1f, 0x01, 0], 0);
    expect(m.run('0f ae 10')).toEqual(fault(EXC.GP));
    m.page.set([0xc0, 0x9f, 0, 0], 0);
    expect(m.run('0f ae 10')).toEqual(DONE);
    expect(m.mxcsr).toBe(0x9fc0);
  });
});

describe('MMX', () => {
  it('takes over the x87 and gives it back with EMMS', () => {
    const m = new Machine();
    m.state.set('ftop', 5n);
    m.state.set('gpr', 0x1122_3344_5566_7788n, 1);
    m.run('48 0f 6e d9'); // movq mm3, rcx
    expect(m.state.get('fpr', 3)).toBe(0xffff_1122_3344_5566_7788n);
    expect([m.state.get('ftop'), m.state.get('fempty')]).toEqual([0n, 0n]);
    m.run('0f 67 db'); // packuswb mm3, mm3
    expect(BigInt.asUintN(64, m.state.get('fpr', 3))).toBe(0xffff_ffff_ffff_ffffn);
    m.run('0f 77');
    expect(m.state.get('fempty')).toBe(0xffn);
  });
});

describe('x87', () => {
  it('loads, adds, stores and pops', () => {
    const m = new Machine();
    const view = new DataView(m.page.buffer);
    view.setFloat64(0, 1.25, true);
    view.setInt16(8, -3, true);
    m.run('dd 00'); // fld qword [rax]
    m.run('de 40 08'); // fiadd word [rax+8]
    expect(m.state.get('ftop')).toBe(7n);
    m.run('db 78 10'); // fstp tbyte [rax+16]
    expect(view.getBigUint64(16, true)).toBe(0xe000_0000_0000_0000n);
    expect(view.getUint16(24, true)).toBe(0xbfff);
    expect([m.state.get('ftop'), m.state.get('fempty')]).toEqual([0n, 0xffn]);
  });

  it('keeps an unmasked exception pending, and FWAIT raises it', () => {
    const m = new Machine();
    m.state.set('fcw', 0x37bn);
    m.run('d9 ee'); // fldz
    m.run('d9 e8'); // fld1
    expect(m.run('d8 f1')).toEqual(DONE); // fdiv st, st(1)
    expect(m.state.get('fpu_trap')).toBe(0x80n);
    expect(m.state.get('fsw') & 0x84n).toBe(0x84n);
    expect(m.run('9b')).toEqual(fault(EXC.MF));
    m.state.set('fpu_trap', 0n); // fp_check lets instructions pass that do not wait
    m.run('db e2'); // fnclex
    expect(m.state.get('fsw') & 0x80n).toBe(0n);
    expect(m.run('9b')).toEqual(DONE);
  });

  it('saves an environment that can be loaded again', () => {
    const m = new Machine();
    m.run('d9 eb'); // fldpi
    m.state.set('rip', 0x1234n);
    m.run('d9 e8');
    m.run('dd 30'); // fnsave [rax]
    const view = new DataView(m.page.buffer);
    expect(view.getUint16(0, true)).toBe(0x37f);
    expect(view.getUint32(12, true)).toBe(0x1234);
    expect(m.state.get('fempty')).toBe(0xffn);
    m.run('dd 20'); // frstor [rax]
    expect([m.state.get('ftop'), m.state.get('fempty')]).toEqual([6n, 0x3fn]);
    expect(m.state.get('fpr', 7)).toBe(0x4000_c90f_daa2_2168_c235n);
  });
});
