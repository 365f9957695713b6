import { describe, expect, it } from 'vitest';
import { CR0, CR4, EFER, EXC, SEG } from '../../src/isa/layout.ts';
import { Machine } from './machine.ts';
import { longMachine, protectedMachine } from './modes.ts';

const PG = BigInt(CR0.PG);
const GP0 = [EXC.GP, 0];
const writeCr = (m: Machine, n: number, value: bigint): [number, number] | undefined =>
  m.fault(m.call('write_cr', n, value));

function wrmsr(m: Machine, index: number, value: bigint): [number, number] | undefined {
  m.set('gpr', BigInt(index), 1);
  m.set('gpr', value & 0xffffffffn, 0);
  m.set('gpr', value >> 32n, 2);
  return m.fault(m.call('write_msr'));
}
function rdmsr(m: Machine, index: number): bigint {
  m.set('gpr', BigInt(index), 1);
  expect(m.fault(m.call('read_msr'))).toBeUndefined();
  return m.get('gpr', 0) | (m.get('gpr', 2) << 32n);
}

describe('control registers', () => {
  it('refuse combinations that do not exist', () => {
    const m = protectedMachine(0);
    expect(writeCr(m, 0, PG)).toEqual(GP0);
    expect(writeCr(m, 0, BigInt(CR0.PE | CR0.NW))).toEqual(GP0);
    expect(writeCr(m, 0, 1n << 32n)).toEqual(GP0);
    expect(writeCr(m, 4, BigInt(CR4.VMXE))).toEqual(GP0);
    expect(writeCr(m, 4, BigInt(CR4.PCIDE | CR4.PAE))).toEqual(GP0);
    expect(writeCr(m, 8, 16n)).toEqual(GP0);
    expect(m.num('cr0')).toBe(CR0.PE | CR0.ET);
    expect(writeCr(protectedMachine(3), 0, 1n)).toEqual(GP0);
  });

  it('enter and leave IA-32e mode as the manual tells', () => {
    const m = protectedMachine(0);
    expect(wrmsr(m, 0xc0000080, BigInt(EFER.LME))).toBeUndefined();
    expect(writeCr(m, 0, PG | 1n)).toEqual(GP0);
    expect(writeCr(m, 4, BigInt(CR4.PAE))).toBeUndefined();
    expect(writeCr(m, 0, PG | 1n)).toBeUndefined();
    expect(m.num('efer')).toBe(EFER.LME | EFER.LMA);
    expect(wrmsr(m, 0xc0000080, 0n)).toEqual(GP0);
    expect(writeCr(m, 4, 0n)).toEqual(GP0);
    expect(writeCr(m, 4, BigInt(CR4.PAE | CR4.PCIDE))).toBeUndefined();
    expect(writeCr(m, 0, 1n)).toEqual(GP0);
    expect(writeCr(m, 4, BigInt(CR4.PAE))).toBeUndefined();
    expect(writeCr(m, 0, 1n)).toBeUndefined();
    expect(m.num('efer')).toBe(EFER.LME);
    const long = longMachine(0);
    expect(writeCr(long, 0, 1n)).toEqual(GP0);
  });

  it('check reserved bits of CR3, where bit 63 is a request under PCIDE', () => {
    const m = longMachine(0);
    expect(writeCr(m, 3, 1n << 45n)).toEqual(GP0);
    expect(writeCr(m, 3, (1n << 63n) | 0x10000n)).toEqual(GP0);
    expect(writeCr(m, 4, BigInt(CR4.PAE | CR4.PCIDE))).toBeUndefined();
    expect(writeCr(m, 3, (1n << 63n) | 0x10005n)).toBeUndefined();
    expect(m.get('cr3')).toBe(0x10005n);
  });

  it('set PE by LMSW but never clear it', () => {
    const m = new Machine();
    expect(m.call('load_machine_status', 0x9)).toBe(0);
    expect(m.num('cr0') & 0xf).toBe(9);
    expect(m.call('load_machine_status', 0)).toBe(0);
    expect(m.num('cr0') & 0xf).toBe(1);
    expect(m.num('fpu_trap')).toBe(0);
  });

  it('trap the FPU by TS and EM', () => {
    const m = protectedMachine(0);
    writeCr(m, 0, BigInt(CR0.PE | CR0.TS));
    expect([m.num('fpu_trap') !== 0, m.num('sse_trap') !== 0]).toEqual([true, true]);
    m.call('clear_task_switched');
    expect([m.num('fpu_trap'), m.num('sse_trap') !== 0]).toEqual([0, true]);
    writeCr(m, 4, BigInt(CR4.OSFXSR));
    expect(m.num('sse_trap')).toBe(0);
  });
});

describe('MSRs', () => {
  it('hold what was written and refuse what cannot be', () => {
    const m = longMachine(0);
    const held: readonly [number, bigint][] = [
      [0x174, 8n],
      [0x277, 0x0007010600070106n],
      [0x20f, 0xff_f000_0800n],
      [0x26f, 0x0606060606060606n],
      [0xc0000081, 0x0023001000000000n],
      [0xc0000082, 0xffff_8000_0000_1000n],
      [0xc0000101, 0xffff_8000_0000_2000n],
    ];
    for (const [index, value] of held) {
      expect(wrmsr(m, index, value)).toBeUndefined();
      expect(rdmsr(m, index)).toBe(value);
    }
    expect(m.get('seg_base', SEG.gs)).toBe(0xffff_8000_0000_2000n);
    for (const [index, value] of [
      [0xc0000082, 1n << 47n],
      [0x277, 2n],
      [0xc0000080, 1n << 20n],
      [0x12345, 0n],
    ] as const) {
      expect(wrmsr(m, index, value)).toEqual(GP0);
    }
    m.set('gpr', 0x12345n, 1);
    expect(m.fault(m.call('read_msr'))).toEqual(GP0);
    const user = longMachine(3);
    expect(user.fault(user.call('read_msr'))).toEqual(GP0);
  });

  it('ask the host for the others', () => {
    const m = longMachine(0);
    m.msrs.set(0x802, 5n);
    expect(rdmsr(m, 0x802)).toBe(5n);
    expect(wrmsr(m, 0x802, 0xffff_0000_0000_0007n)).toBeUndefined();
    expect(m.msrs.get(0x802)).toBe(0xffff_0000_0000_0007n);
  });

  it('run the TSC from what was written', () => {
    const m = longMachine(3);
    expect(m.call('set_msr', 0x10, 50n)).toBe(0);
    expect(m.call('read_tsc')).toBe(0);
    expect(m.get('gpr', 0)).toBe(50n);
    m.set('cr4', m.get('cr4') | BigInt(CR4.TSD));
    expect(m.fault(m.call('read_tsc'))).toEqual(GP0);
  });
});

describe('other system instructions', () => {
  it('swap and set the bases of FS and GS', () => {
    const m = longMachine(0);
    m.set('kernel_gs_base', 0x1234n);
    m.set('seg_base', 0x5678n, SEG.gs);
    expect(m.call('swapgs')).toBe(0);
    expect([m.get('seg_base', SEG.gs), m.get('kernel_gs_base')]).toEqual([0x1234n, 0x5678n]);
    expect(m.fault(m.call('rw_fs_gs_base', 0, 1, 7n))).toEqual([EXC.UD, 0]);
    m.set('cr4', m.get('cr4') | BigInt(CR4.FSGSBASE));
    expect(m.call('rw_fs_gs_base', 0, 1, 7n)).toBe(0);
    expect(m.get('seg_base', SEG.fs)).toBe(7n);
    expect(m.fault(m.call('rw_fs_gs_base', 0, 1, 1n << 47n))).toEqual(GP0);
  });

  it('guard debug registers by DR7.GD and CR4.DE', () => {
    const m = protectedMachine(0);
    expect(m.call('write_dr', 4, 0xffffffffn)).toBe(0);
    expect(m.get('dr', 6)).toBe(0xffffefffn);
    expect(m.call('write_dr', 7, 0x2400n)).toBe(0);
    expect(m.fault(m.call('read_dr', 0))).toEqual([EXC.DB, 0]);
    expect(m.num('exc_dr6')).toBe(0x2000);
    m.set('cr4', BigInt(CR4.DE));
    expect(m.fault(m.call('read_dr', 4))).toEqual([EXC.UD, 0]);
  });

  it('reset to F000:FFF0, and start by SIPI', () => {
    const m = protectedMachine(3);
    m.call('reset');
    expect([m.sel('cs'), m.get('seg_base', SEG.cs), m.get('rip'), m.num('cpl')]).toEqual([
      0xf000,
      0xffff0000n,
      0xfff0n,
      0,
    ]);
    expect([m.num('cr0'), m.rflags, m.num('mode'), m.num('p2m_frames')]).toEqual([0x60000010, 2, 0, 1024]);
    m.call('startup_signal', 0x9a);
    expect([m.sel('cs'), m.get('seg_base', SEG.cs), m.get('rip')]).toEqual([0x9a00, 0x9a000n, 0n]);
  });
});
