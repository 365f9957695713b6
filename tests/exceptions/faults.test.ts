// Faults in the middle of things: repeated strings restart, stores over a page's end leave nothing half written,
// alignment checks, non-canonical addresses, the I/O permission bitmap (SDM vol.3 6.15, vol.1 18.5).
import { describe, expect, it } from 'vitest';
import { ATTR, CR0, EFLAGS, SEG } from '../../src/isa/layout.ts';
import type { Guest } from '../differential/guest.ts';
import { CODE, DATA, PAGE, Program } from './program.ts';

const END = DATA + BigInt(3 * PAGE);
const PF = 14;
const GP = 13;

describe('repeated strings', () => {
  it('stop at the element that faults and go on from it', () => {
    const p = new Program('f3 a4', {
      registers: { rcx: 0x40n, rsi: DATA, rdi: DATA + BigInt(2 * PAGE) - 0x10n },
    });
    p.write(0, '00112233445566778899aabbccddeeff'.repeat(4));
    const fault = p.run();
    expect([fault.vector, fault.error, fault.rip]).toEqual([PF, 7n, CODE]);
    expect([p.reg('rcx'), p.reg('rsi'), p.reg('rdi')]).toEqual([0x30n, DATA + 0x10n, DATA + BigInt(2 * PAGE)]);
    expect(p.guest.get64('cr2')).toBe(DATA + BigInt(2 * PAGE));
    p.mapData(2, true);
    const end = p.resume(fault);
    expect([end.vector, end.rip, p.reg('rcx')]).toEqual([3, CODE + 3n, 0n]);
    expect(p.read(2 * PAGE - 0x10, 0x40)).toBe('00112233445566778899aabbccddeeff'.repeat(4));
  });
  it('go down with DF and stop at the page below', () => {
    const p = new Program('f3 48 ab', {
      registers: { rcx: 4n, rdi: DATA + 8n, rax: 0x1122334455667788n },
      rflags: 0x402,
    });
    const fault = p.run();
    expect([fault.vector, fault.error, p.reg('rcx'), p.reg('rdi')]).toEqual([PF, 6n, 2n, DATA - 8n]);
    expect(p.read(0, 16)).toBe('8877665544332211'.repeat(2));
  });
  it('keep the flags of the comparison before the fault', () => {
    const p = new Program('f3 a6', { registers: { rcx: 9n, rsi: DATA, rdi: END - 4n } });
    const fault = p.run();
    expect([fault.vector, p.reg('rcx'), p.reg('rdi')]).toEqual([PF, 5n, END]);
    expect(fault.rflags & EFLAGS.ZF).toBe(EFLAGS.ZF);
  });
});

describe('a store over the end of a page that cannot be written', () => {
  const to = DATA + BigInt(2 * PAGE) - 4n;
  const cases: readonly (readonly [string, string, Record<string, bigint>])[] = [
    ['MOV', '48 89 07', { rax: 0x1122334455667788n, rdi: to }],
    ['ADD', '48 01 07', { rax: 0x1122334455667788n, rdi: to }],
    ['XCHG', '48 87 07', { rax: 0x1122334455667788n, rdi: to }],
    ['PUSH', '50', { rax: 0x1122334455667788n, rsp: to + 8n }],
    ['CALL', 'e8 00 00 00 00', { rsp: to + 8n }],
    ['MOVUPS', '0f 11 07', { rdi: to }],
    ['MOVSQ', '48 a5', { rsi: DATA, rdi: to }],
    ['FSTP m80', 'd9 eb db 3f', { rdi: to }],
    ['FXSAVE', '0f ae 07', { rdi: to - 12n }],
    ['CMPXCHG8B', '0f c7 0f', { rdi: to }],
    ['LOCK XADD', 'f0 48 0f c1 07', { rax: 1n, rdi: to }],
  ];
  it.each(cases)('%s leaves the first page alone', (name, code, registers) => {
    const fpu = (guest: Guest): void => guest.set32('fcw', 0x37f);
    const p = new Program(code, { registers, prepare: fpu });
    p.write(0, 'a5a5a5a5a5a5a5a5');
    const fault = p.run();
    expect([fault.vector, fault.error, p.guest.get64('cr2')]).toEqual([PF, 7n, DATA + BigInt(2 * PAGE)]);
    // FXSAVE, which stores more than one quadword, may have stored those before.
    if (name !== 'FXSAVE') expect(p.read(2 * PAGE - 16, 16)).toBe('00'.repeat(16));
    for (const [r, v] of Object.entries(registers)) expect([r, r === 'rsp' ? fault.rsp : p.reg(r)]).toEqual([r, v]);
  });
});

describe('alignment checks', () => {
  const on = (guest: Guest): void => guest.set64('cr0', guest.get64('cr0') | BigInt(CR0.AM));
  const run = (code: string, rdi: bigint, cpl: 0 | 3, rflags = 2 | EFLAGS.AC) =>
    new Program(code, { registers: { rdi }, cpl, rflags, prepare: on }).run();
  it('raise #AC(0) for a misaligned operand in user mode', () => {
    expect(run('8b 07', DATA + 2n, 3)).toMatchObject({ vector: 17, error: 0n, rip: CODE });
    expect(run('66 8b 07', DATA + 1n, 3)).toMatchObject({ vector: 17 });
    expect(run('48 89 07', DATA + 4n, 3)).toMatchObject({ vector: 17 });
    expect(run('48 8b 07', DATA + BigInt(PAGE) - 4n, 3)).toMatchObject({ vector: 17 });
  });
  it('do not for aligned ones, bytes, the supervisor, or with EFLAGS.AC clear', () => {
    expect(run('8b 07', DATA + 4n, 3).vector).toBe(3);
    expect(run('8a 07', DATA + 1n, 3).vector).toBe(3);
    expect(run('8b 07', DATA + 2n, 0).vector).toBe(3);
    expect(run('8b 07', DATA + 2n, 3, 2).vector).toBe(3);
  });
  it('give way to a page fault', () => {
    expect(run('8b 07', END + 2n, 3).vector).toBe(PF);
  });
});

describe('relative branches beyond the limit of CS', () => {
  const limit = (guest: Guest): void => guest.set32('seg_limit', Number(CODE) + 0x40, SEG.cs);
  const registers = { rcx: 2n, rsp: DATA + 0x1000n };
  it.each([
    ['JMP', 'eb 7d'],
    ['JMP of 32 bits', 'e9 00 00 00 01'],
    ['Jcc', '73 7d'],
    ['Jcc of 32 bits', '0f 83 00 00 00 01'],
    ['CALL', 'e8 00 01 00 00'],
    ['LOOP', 'e2 7d'],
    ['LOOPNE', 'e0 7d'],
  ])('fault on the branch, and change nothing: %s', (_, code) => {
    const p = new Program(code, { mode: 32, registers, prepare: limit });
    const fault = p.run();
    expect(fault).toMatchObject({ vector: GP, error: 0n, rip: CODE });
    expect([fault.rsp, p.reg('rcx'), p.read(0x1000 - 8, 8)]).toEqual([registers.rsp, 2n, '00'.repeat(8)]);
  });
  it.each([
    ['JMP', 'eb 3e', CODE + 0x40n],
    ['Jcc that is not taken', '72 7d', CODE + 2n],
    ['JECXZ that is not taken', 'e3 7d', CODE + 2n],
  ])('go through up to the limit: %s', (_, code, target) => {
    const p = new Program(code, { mode: 32, registers, prepare: limit });
    expect(p.run()).toMatchObject({ vector: 3, rip: target + 1n });
  });
});

describe('questions about a descriptor that is not in memory', () => {
  it.each([
    ['LAR', '0f 02 c1'],
    ['LSL', '0f 03 c1'],
    ['VERR', '0f 00 e1'],
    ['VERW', '0f 00 e9'],
  ])('are page faults of the supervisor: %s', (_, code) => {
    const prepare = (guest: Guest): void => guest.segment(SEG.ldtr, 0x48, ATTR.P | 2, END, 0xffff);
    const p = new Program(code, { registers: { rcx: 0xfn, rax: 5n }, prepare, rflags: 2 | EFLAGS.ZF });
    expect(p.run()).toMatchObject({ vector: PF, error: 0n, rip: CODE });
    expect([p.guest.get64('cr2'), p.reg('rax')]).toEqual([END + 8n, 5n]);
  });
});

describe('non-canonical addresses', () => {
  it('are #GP(0), and #SS(0) through the stack', () => {
    const far = 0x8000_0000_0000n;
    const run = (code: string, registers: Record<string, bigint>) => new Program(code, { registers }).run();
    expect(run('8b 07', { rdi: far })).toMatchObject({ vector: GP, error: 0n, rip: CODE });
    expect(run('8b 07', { rdi: far - 2n })).toMatchObject({ vector: GP });
    expect(run('8b 04 24', { rsp: far })).toMatchObject({ vector: 12, error: 0n });
    expect(run('58', { rsp: far - 4n })).toMatchObject({ vector: 12 });
    expect(run('e8 00 00 00 00', { rsp: far + 8n })).toMatchObject({ vector: 12 });
  });
  it('stop a CALL before its push', () => {
    const p = new Program('ff d0', { registers: { rax: 1n << 63n } });
    expect(p.run()).toMatchObject({ vector: GP, rip: CODE, rsp: DATA + 0x1000n });
    expect(p.read(0xff8, 8)).toBe('00'.repeat(8));
  });
});

describe('the I/O permission bitmap', () => {
  const log: string[] = [];
  const guest = {
    host: {
      port_read: (_cpu: number, port: number, size: number) => {
        log.push(`in ${port} ${size}`);
        return 0x5a;
      },
      port_write: (_cpu: number, port: number, size: number, v: number) => log.push(`out ${port} ${size} ${v}`),
    },
  };
  /** A TSS whose bitmap lies behind it: 16 bytes of it, then the limit. */
  const bitmap = (bits: Readonly<Record<number, number>>) => (g: Guest) => {
    const tss = g.ram + g.kernelStack - 5 * PAGE + 0x800;
    g.view.setUint16(tss + 0x66, 0x68, true);
    for (let i = 0; i < 16; i++) g.bytes[tss + 0x68 + i] = bits[i] ?? 0xff;
    g.set32('seg_limit', 0x68 + 15, SEG.tr);
  };
  const run = (code: string, bits: Readonly<Record<number, number>>, rdx = 0n, rflags = 2) => {
    log.length = 0;
    return new Program(code, { registers: { rdx, rax: 0x77n }, guest, prepare: bitmap(bits), rflags }).run();
  };
  it('lets through what it has clear bits for', () => {
    expect(run('ec', { 2: 0xfb }, 18n).vector).toBe(3);
    expect(log).toEqual(['in 18 1']);
    expect(run('ef', { 2: 0x0f, 3: 0xff }, 20n).vector).toBe(3);
    expect(run('ef', { 2: 0x0f, 3: 0xff }, 22n).vector).toBe(GP);
    expect(run('ef', { 2: 0x0f, 3: 0xff }, 16n).vector).toBe(GP);
    expect(run('ef', { 2: 0xf0 }, 16n).vector).toBe(3);
    expect(log).toEqual(['out 16 4 119']);
    expect(run('66 ed', { 1: 0x7f, 2: 0xfe }, 15n).vector).toBe(3);
    expect(log).toEqual(['in 15 2']);
  });
  it('refuses ports behind its end, and all without it', () => {
    expect(run('ec', { 14: 0, 15: 0 }, 119n).vector).toBe(3);
    expect(run('ec', { 14: 0, 15: 0 }, 120n).vector).toBe(GP);
    expect(run('ec', { 14: 0, 15: 0 }, 0xffffn).vector).toBe(GP);
    expect(new Program('ec', { guest }).run().vector).toBe(GP);
  });
  it('is not asked when CPL is at most IOPL', () => {
    expect(run('ec', {}, 18n, 2 | EFLAGS.IOPL).vector).toBe(3);
    expect(log).toEqual(['in 18 1']);
  });
});
