// KVM's clock as a guest finds it in its memory: the arithmetic of pvclock, versions, the date, hypercalls.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/devices/clock.ts';
import type { Regs } from '../../src/hv/contract.ts';
import { cpuid, cpuModel, withKvmClock } from '../../src/hv/cpu-model.ts';
import { cpuidEntries } from '../../src/hv/cpuid-entries.ts';
import { SoftMemory } from '../../src/hv/soft/vm.ts';
import { kvmHypercall } from '../../src/machine/hypercalls.ts';
import {
  KvmClock,
  MSR_KVM_SYSTEM_TIME,
  MSR_KVM_SYSTEM_TIME_NEW,
  MSR_KVM_WALL_CLOCK,
  MSR_KVM_WALL_CLOCK_NEW,
} from '../../src/machine/kvmclock.ts';

const WALL_MS = 1_700_000_000_250;

function setup() {
  const memory = new SoftMemory([{ gpa: 0, size: 0x4000, offset: 0 }], 1);
  const clock = new ManualClock(5_000_000_000n);
  const tsc = { offset: 0n };
  const kvm = new KvmClock({ memory, clock, tsc: () => clock.now() + tsc.offset, wallMs: () => WALL_MS });
  return { memory, clock, tsc, kvm };
}
const viewOf = (memory: SoftMemory, at: number, length: number): DataView =>
  new DataView(Uint8Array.from(memory.read(at, length)).buffer);

/** Nanoseconds that a guest works out (the kernel's Documentation/virt/kvm/x86/msr.rst). */
function guestNs(memory: SoftMemory, at: number, tsc: bigint): bigint {
  const v = viewOf(memory, at, 32);
  let delta = tsc - v.getBigUint64(8, true);
  const shift = v.getInt8(28);
  delta = shift < 0 ? delta >> BigInt(-shift) : delta << BigInt(shift);
  return ((delta * BigInt(v.getUint32(24, true))) >> 32n) + v.getBigUint64(16, true);
}

describe('the system time', () => {
  it.each([MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_SYSTEM_TIME])('MSR %i tells the TSC as nanoseconds', (msr) => {
    const { memory, clock, tsc, kvm } = setup();
    tsc.offset = -4_000_000_000n;
    expect(kvm.writeMsr(msr, 0x1ff1n)).toBe(true);
    expect(kvm.readMsr(msr)).toBe(0x1ff1n);
    // Across a page's end: the structure has an alignment of 4 only.
    expect(guestNs(memory, 0x1ff0, 1_000_000_000n)).toBe(clock.now());
    expect(guestNs(memory, 0x1ff0, 1_000_000_007n)).toBe(clock.now() + 7n);
    expect(guestNs(memory, 0x1ff0, 1_000_000_000n + 86_400_000_000_000n)).toBe(clock.now() + 86_400_000_000_000n);
    expect(viewOf(memory, 0x1ff0, 32).getUint8(29)).toBe(1);
  });
  it('has an even version that grows, and follows a TSC that was set', () => {
    const { memory, clock, tsc, kvm } = setup();
    kvm.writeMsr(MSR_KVM_SYSTEM_TIME_NEW, 0x1001n);
    const first = viewOf(memory, 0x1000, 4).getUint32(0, true);
    tsc.offset = 123n;
    clock.advance(1000n);
    kvm.update();
    const second = viewOf(memory, 0x1000, 4).getUint32(0, true);
    expect([first % 2, second % 2, second > first]).toEqual([0, 0, true]);
    expect(guestNs(memory, 0x1000, clock.now() + 123n)).toBe(clock.now());
  });
  it('writes nothing unless enabled, and nothing outside RAM', () => {
    const { memory, kvm } = setup();
    kvm.writeMsr(MSR_KVM_SYSTEM_TIME_NEW, 0x1000n);
    expect(memory.read(0x1000, 32)).toEqual(new Uint8Array(32));
    expect(kvm.writeMsr(MSR_KVM_SYSTEM_TIME_NEW, 0xffff_ffff_ffff_f001n)).toBe(true);
    expect(kvm.writeMsr(MSR_KVM_SYSTEM_TIME_NEW, 0x3ff9n)).toBe(true);
    expect(kvm.writeMsr(MSR_KVM_WALL_CLOCK_NEW, 0x3fffn)).toBe(true);
  });
  it('says after a restore that the guest was stopped', () => {
    const { memory, clock, kvm } = setup();
    kvm.writeMsr(MSR_KVM_SYSTEM_TIME_NEW, 0x1001n);
    kvm.writeMsr(MSR_KVM_WALL_CLOCK_NEW, 0x2000n);
    const version = viewOf(memory, 0x1000, 4).getUint32(0, true);
    const later = new KvmClock({ memory, clock, tsc: () => clock.now() - 77n, wallMs: () => WALL_MS });
    later.restore(JSON.parse(JSON.stringify(kvm.state())));
    expect(viewOf(memory, 0x1000, 32).getUint8(29)).toBe(3);
    expect(viewOf(memory, 0x1000, 4).getUint32(0, true)).toBe(version + 2);
    expect(guestNs(memory, 0x1000, clock.now() - 77n)).toBe(clock.now());
    expect(later.state()).toEqual({ ...kvm.state(), version: `${version + 2}` });
  });
});

describe('the wall clock', () => {
  it.each([MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_WALL_CLOCK])('MSR %i tells the date of power-on', (msr) => {
    const { memory, kvm } = setup();
    memory.write(0x1000, Uint8Array.of(7));
    expect(kvm.writeMsr(msr, 0x1000n)).toBe(true);
    const v = viewOf(memory, 0x1000, 12);
    // An odd version is one that somebody did not finish.
    expect(v.getUint32(0, true)).toBe(8);
    expect(v.getUint32(4, true) * 1000 + v.getUint32(8, true) / 1e6).toBe(WALL_MS - 5000);
    kvm.writeMsr(msr, 0x1000n);
    expect(viewOf(memory, 0x1000, 4).getUint32(0, true)).toBe(10);
  });
  it('knows no other MSR', () => {
    const { kvm } = setup();
    expect(kvm.readMsr(0x4b564d02)).toBeUndefined();
    expect(kvm.writeMsr(0x4b564d02, 1n)).toBe(false);
  });
});

describe('hypercalls', () => {
  const call = (rax: bigint, rbx = 0n, rcx = 0n, state = { cpl: 0, longMode: true }) => {
    const { memory, clock, kvm } = setup();
    const result = kvmHypercall({ rax, rbx, rcx } as Regs, state, memory, kvm);
    return { memory, clock, result: BigInt.asIntN(64, result) };
  };
  it('pair the clocks', () => {
    const { memory, clock, result } = call(9n, 0x1000n, 0n);
    expect(result).toBe(0n);
    const v = viewOf(memory, 0x1000, 64);
    expect([v.getBigInt64(0, true), v.getBigInt64(8, true), v.getBigUint64(16, true)]).toEqual([
      1_700_000_000n,
      250_000_000n,
      clock.now(),
    ]);
  });
  it.each([
    ['a kind of clock that is none', [9n, 0x1000n, 1n], -95n],
    ['an address that is not RAM', [9n, 0x1_0000n, 0n], -14n],
    ['the poll of a virtual APIC', [1n], 0n],
    ['a number that is none', [77n], -1000n],
  ] as const)('answer %s', (_what, [rax, rbx, rcx], result) => {
    expect(call(rax, rbx, rcx).result).toBe(result);
  });
  it('are refused to user programs, and are 32 bits wide outside 64-bit mode', () => {
    expect(call(1n, 0n, 0n, { cpl: 3, longMode: true }).result).toBe(-1n);
    expect(call(0xabcd_0000_004dn, 0n, 0n, { cpl: 0, longMode: false }).result).toBe(0xffff_fc18n);
  });
});

describe('CPUID', () => {
  const base = cpuModel('v1')!;
  const context = { apicId: 0, cpus: 1, osxsave: false, xcr0: 1n, apicEnabled: true };
  const signature = (m: typeof base): string => {
    const { ebx, ecx, edx } = cpuid(m, 0x4000_0000, 0, context);
    return Buffer.from(Uint32Array.of(ebx, ecx, edx).buffer).toString('latin1');
  };
  it('has the signature and the features of KVM where there is its clock', () => {
    expect(signature(withKvmClock(base))).toBe('KVMKVMKVM\0\0\0');
    expect(cpuid(withKvmClock(base), 0x4000_0001, 0, context).eax).toBe(0x0100_000b);
    expect(cpuidEntries(withKvmClock(base)).find((e) => e.leaf === 0x4000_0001)?.eax).toBe(0x0100_000b);
  });
  it('has neither without', () => {
    expect(signature(base)).toBe('PlinthPlinth');
    expect(cpuid(base, 0x4000_0001, 0, context).eax).toBe(0);
  });
  it('tells frequencies that agree', () => {
    const m = withKvmClock(base);
    const { eax, ebx, ecx } = cpuid(m, 0x15, 0, context);
    const hz = (ecx * ebx) / eax;
    expect(cpuid(m, 0x16, 0, context).eax * 1e6).toBe(hz);
    expect(cpuid(m, 0x4000_0010, 0, context).eax * 1e3).toBe(hz);
  });
});
