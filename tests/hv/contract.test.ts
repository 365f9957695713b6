// What the contract promises beyond guests that run: errors, regions, dirty logs, hooks, the event loop, level 3.
import { afterAll, describe, expect, it } from 'vitest';
import { HvError, type Hypervisor } from '../../src/hv/contract.ts';
import { AT, SEL } from '../../src/hv/modes.ts';
import { makeGuest, openKvm, softHypervisor } from './engines.ts';

const kvm = openKvm();
if (typeof kvm === 'string') console.log(`the contract on /dev/kvm skipped: ${kvm}`);
const engines: [string, Hypervisor | undefined][] = [
  ['soft', await softHypervisor()],
  ['kvm', typeof kvm === 'string' ? undefined : kvm],
];
afterAll(() => {
  if (typeof kvm !== 'string') kvm.close();
});

const le = (v: number): number[] => [v & 255, (v >> 8) & 255, (v >> 16) & 255, v >>> 24];
const PAGE = 4096;

describe.for(engines)('%s', ([, engine]) => {
  const test = it.skipIf(!engine);
  const guest = (code: number[], mode: 'real' | 'long' = 'long') => makeGuest(engine!, mode, code);

  test('tells which frames were written', () => {
    const { vm, vcpu } = guest([0xc6, 0x04, 0x25, ...le(AT.data + 3 * PAGE), 1, 0xf4]); // mov byte [..], 1; hlt
    vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0, logDirty: true });
    vm.getDirtyLog(0);
    expect(vcpu.run().reason).toBe('hlt');
    const frame = AT.data / PAGE + 3;
    const log = vm.getDirtyLog(0);
    expect(log[frame >> 3]! & (1 << (frame & 7))).not.toBe(0);
    const data = [...log].map((byte, i) => (i === frame >> 3 ? byte & ~(1 << (frame & 7)) : byte));
    expect(data.slice(AT.data / PAGE / 8)).toEqual(data.slice(AT.data / PAGE / 8).map(() => 0));
    expect([...vm.getDirtyLog(0)].slice(AT.data / PAGE / 8).every((byte) => byte === 0)).toBe(true);
    vm.close();
  });

  test('turns stores to a read-only region into exits', () => {
    const { vm, vcpu } = guest([0xc6, 0x04, 0x25, ...le(AT.data), 7, 0xf4]);
    vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: 0, offset: 0 });
    vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.data, offset: 0 });
    vm.setUserMemoryRegion({ slot: 2, gpa: AT.data + PAGE, size: AT.ram - AT.data - PAGE, offset: AT.data + PAGE });
    expect(vcpu.run()).toMatchObject({ reason: 'mmio', gpa: BigInt(AT.data), isWrite: true });
    expect(vcpu.run().reason).toBe('hlt');
    vm.close();
  });

  test('lets hooks answer ports and memory without an exit', () => {
    // in al, 0x40; mov [0x42000], al; hlt
    const { vm, vcpu } = guest([0xe4, 0x40, 0x88, 0x04, 0x25, ...le(0x42000), 0xf4]);
    const seen: string[] = [];
    const remove = vm.hook({
      space: 'port',
      base: 0x40,
      length: 4,
      read: (port, size) => {
        seen.push(`in ${port} ${size}`);
        return 0x5an;
      },
      write: () => {},
    });
    const write = (at: number, size: number, value: bigint): number => seen.push(`write ${at} ${size} ${value}`);
    vm.hook({ space: 'mmio', base: 0x80000, length: 8, read: () => 0n, write });
    expect(() => vm.hook({ space: 'port', base: 0x43, length: 1, read: () => 0n, write })).toThrow(HvError);
    expect(vcpu.run().reason).toBe('hlt');
    expect(seen).toEqual(['in 64 1', `write ${0x80000} 1 ${0x5a}`]);
    remove();
    vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(AT.code) });
    expect(vcpu.run()).toMatchObject({ reason: 'io', port: 0x40 });
    vm.close();
  });

  test('refuses regions outside the RAM, overlaps, and what it does not have', () => {
    const { vm, vcpu } = guest([0xf4]);
    const set = (gpa: number, size: number, offset: number) => () =>
      vm.setUserMemoryRegion({ slot: 1, gpa, size, offset });
    expect(set(0x100000, PAGE, AT.ram)).toThrow(HvError);
    expect(set(0x100000, 100, 0)).toThrow(HvError);
    expect(set(0x1000, PAGE, 0)).toThrow(/overlap|KVM_SET_USER/);
    expect(() => vm.getDirtyLog(0)).toThrow(HvError);
    expect(() => vcpu.getLapic()).toThrow(HvError);
    expect(() => vcpu.getMsrs([0x12345])).toThrow(/0x12345/);
    expect(() => vcpu.interrupt(32)).toThrow(HvError);
    expect(() => vcpu.setXsave(new Uint8Array(5))).toThrow(HvError);
    vm.close();
  });

  test('keeps all state that is set', () => {
    const { vm, vcpu } = guest([0xf4]);
    const xsave = vcpu.getXsave();
    xsave.set([0x11, 0x22, 0x33], 160);
    vcpu.setXsave(xsave);
    expect([...vcpu.getXsave().subarray(160, 163)]).toEqual([0x11, 0x22, 0x33]);
    vcpu.setMsrs([[0xc000_0082, 0xffff_8000_1234_5678n]]);
    expect(vcpu.getMsrs([0xc000_0082, 0xc000_0081])).toEqual([0xffff_8000_1234_5678n, 0n]);
    vcpu.setDebugRegs({ db: [1n, 2n, 3n, 4n], dr6: 0xffff_0ff0n, dr7: 0x400n });
    expect(vcpu.getDebugRegs().db).toEqual([1n, 2n, 3n, 4n]);
    expect(vcpu.getXcr0()).toBe(1n);
    expect(vcpu.getMpState()).toBe('runnable');
    expect(vcpu.getEvents()).toEqual({
      exception: undefined,
      interrupt: undefined,
      shadow: 0,
      nmiPending: false,
      nmiMasked: false,
    });
    vm.close();
  });

  test('comes back from an endless loop at a time limit and when asked to, with the event loop going on', async () => {
    const { vm, vcpu } = guest([0xeb, 0xfe]);
    expect(vcpu.run({ nanoseconds: 5e6 }).reason).toBe('intr');
    expect((await vcpu.runAsync({ nanoseconds: 5e6 })).reason).toBe('intr');
    let ticks = 0;
    const timer = setInterval(() => {
      if (++ticks === 3) vcpu.requestExit();
    }, 1);
    expect((await vcpu.runAsync()).reason).toBe('intr');
    clearInterval(timer);
    expect(ticks).toBeGreaterThanOrEqual(3);
    vm.close();
  });

  test('runs one instruction at a time', () => {
    const { vm, vcpu } = guest([0x90, 0x48, 0xff, 0xc0, 0xf4]); // nop; inc rax; hlt
    vcpu.setGuestDebug({ singleStep: true });
    expect(vcpu.run()).toMatchObject({ reason: 'debug', pc: BigInt(AT.code + 1) });
    expect(vcpu.run()).toMatchObject({ reason: 'debug', pc: BigInt(AT.code + 4) });
    expect(vcpu.getRegs().rax).toBe(1n);
    vm.close();
  });

  test('runs code at level 3', () => {
    const rounds = engine!.engine === 'kvm' ? 50_000_000 : 1_000_000;
    const { vm, vcpu } = guest([0x48, 0xff, 0xc9, 0x75, 0xfb, 0xf4]); // dec rcx; jnz back; hlt
    const sregs = vcpu.getSregs();
    const level = { dpl: 3 };
    const ss = { ...sregs.ss, ...level, selector: SEL.userData | 3 };
    vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, ...level, selector: SEL.user64 | 3 }, ss });
    vcpu.setRegs({ ...vcpu.getRegs(), rcx: BigInt(rounds) });
    const began = performance.now();
    // HLT is a fault there, and its handler halts.
    expect(vcpu.run({ nanoseconds: 20e9 }).reason).toBe('hlt');
    const ns = ((performance.now() - began) * 1e6) / (2 * rounds);
    console.log(`level 3 on ${engine!.engine}: ${ns.toFixed(2)} ns an instruction`);
    expect(vcpu.getRegs()).toMatchObject({ rcx: 0n, rip: BigInt(AT.handlers + 13 * 16 + 1) });
    // Native speed; an emulated instruction takes hundreds.
    if (engine!.engine === 'kvm') expect(ns).toBeLessThan(10);
    vm.close();
  });
});

it('names cause and advice where there is no /dev/kvm', async () => {
  const { KvmHypervisor } = await import('../../src/hv/kvm/hypervisor.ts');
  expect(() => KvmHypervisor.open('/nowhere')).toThrow('opening /nowhere failed with ENOENT');
  expect(() => KvmHypervisor.open('/dev/null')).toThrow('/dev/null has API version -1, not 12');
});

it('refuses a switchable VM of more than one vCPU', async () => {
  const { createSwitchableVm } = await import('../../src/hv/index.ts');
  await expect(createSwitchableVm({ ram: 0x10000, vcpus: 2 })).rejects.toThrow('a switchable VM of 2 vCPUs');
});
