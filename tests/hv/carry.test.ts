// What a vCPU holds goes to the other engine and comes back: every register, hidden parts, vectors, MSRs, events, TSC.
import { describe, expect, it } from 'vitest';
import type { Segment, Sregs, VcpuEvents } from '../../src/hv/contract.ts';
import { cpuModel } from '../../src/hv/cpu-model.ts';
import { createSwitchableVm, type SwitchableVm } from '../../src/hv/index.ts';
import { AT, setUpMode } from '../../src/hv/modes.ts';
import { Random, seedOf } from '../isa/random.ts';
import { initialXsave, openKvm } from './engines.ts';

const kvm = openKvm();
if (typeof kvm === 'string') console.log(`carrying state skipped: ${kvm}`);
else kvm.close();
const model = cpuModel('v3')!;

const XCR0_ALL = 7n;
const HEADER = 512;
const YMM = 576;
/** Bytes of the XSAVE area that are registers: FCW to FTW, MXCSR, ten of each ST, XMM, the upper halves of YMM. */
const REGISTERS = [
  [0, 5],
  [24, 28],
  ...Array.from({ length: 8 }, (_, i) => [32 + 16 * i, 42 + 16 * i]),
  [160, 416],
  [YMM, YMM + 256],
] as [number, number][];
const MSRS: readonly (readonly [number, bigint])[] = [
  [0x3b, 0x1234_5678n],
  [0x174, 0x8n],
  [0x175, 0xffff_8000_0000_1000n],
  [0x176, 0xffff_8000_0000_2000n],
  [0x277, 0x0007_0106_0007_0406n],
  [0x2ff, 0xc06n],
  [0x200, 0x8000_0006n],
  [0x201, 0xff_8000_0800n],
  [0x250, 0x0606_0606_0606_0606n],
  [0xc000_0081, 0x0023_0010_0000_0000n],
  [0xc000_0082, 0xffff_8000_0000_3000n],
  [0xc000_0084, 0x4_7700n],
  [0xc000_0102, 0xffff_8000_0000_4000n],
];

async function make(): Promise<SwitchableVm> {
  const vm = await createSwitchableVm({ ram: AT.ram, gpaTop: 4 << 20, model });
  vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
  vm.vcpu.setSregs(setUpMode(vm.memory, 'long', () => [0xf4]));
  vm.vcpu.setXsave(initialXsave());
  return vm;
}

/** Hidden parts that no descriptor in memory gives. */
const odd = (s: Segment, base: bigint): Segment => ({ ...s, base, limit: 0x1234, g: 0, avl: 1 });

function fill(vm: SwitchableVm, random: Random): void {
  const { vcpu } = vm;
  const u64 = (): bigint => random.u64();
  const regs = Object.fromEntries(Object.keys(vcpu.getRegs()).map((name) => [name, u64()]));
  vcpu.setRegs({
    ...(regs as unknown as ReturnType<typeof vcpu.getRegs>),
    rip: BigInt(AT.code),
    rflags: 0x1_0ed7n & ~0x100n,
  });
  const sregs: Sregs = vcpu.getSregs();
  vcpu.setSregs({
    ...sregs,
    cr2: 0x1_2345_6789n,
    cr4: sregs.cr4 | 0x4_0000n,
    fs: odd(sregs.fs, 0xffff_8000_dead_0000n),
    gs: odd(sregs.gs, 0x7fff_dead_0000n),
    ldt: { ...sregs.ldt, base: 0x1500n, limit: 0x7f, selector: 0x50, present: 1, unusable: 0 },
  });
  vcpu.setXcr0(XCR0_ALL);
  const area = new Uint8Array(4096);
  for (const [from, to] of REGISTERS) for (let i = from; i < to; i++) area[i] = random.below(256);
  const view = new DataView(area.buffer);
  view.setUint16(0, 0x27f, true);
  view.setUint32(24, 0x9fc0, true);
  view.setBigUint64(HEADER, XCR0_ALL, true);
  vcpu.setXsave(area);
  vcpu.setMsrs(MSRS);
  vcpu.setDebugRegs({ db: [1n, 2n, 3n, 0x7fff_0000_0000n], dr6: 0xffff_0ff1n, dr7: 0x400n });
}

function snapshot(vm: SwitchableVm): Record<string, unknown> {
  const { vcpu } = vm;
  const area = vcpu.getXsave();
  const { apicBase: _, ...sregs } = vcpu.getSregs();
  return {
    regs: vcpu.getRegs(),
    sregs,
    xcr0: vcpu.getXcr0(),
    xsave: REGISTERS.map(([from, to]) => [...area.subarray(from, to)].join(' ')),
    msrs: vcpu.getMsrs(MSRS.map(([index]) => index)),
    debug: vcpu.getDebugRegs(),
    events: vcpu.getEvents(),
  };
}

describe.skipIf(typeof kvm === 'string')('state that goes to the other engine', () => {
  it('is all there, and comes back', async () => {
    const random = new Random(seedOf('carried state'));
    const vm = await make();
    for (let i = 0; i < 5; i++) {
      fill(vm, random);
      const before = snapshot(vm);
      expect(vm.switchEngine('kvm')).toBeUndefined();
      expect(snapshot(vm)).toEqual(before);
      expect(vm.switchEngine('bt')).toBeUndefined();
      expect(snapshot(vm)).toEqual(before);
    }
    vm.close();
  });

  it.for<Partial<VcpuEvents>>([
    { exception: { vector: 13, errorCode: 0x18 } },
    { interrupt: 0x31 },
    { shadow: 2 },
    { nmiPending: true },
    { nmiMasked: true },
  ])('with events that wait: %j', async (waits) => {
    const vm = await make();
    const none = { exception: undefined, interrupt: undefined, shadow: 0, nmiPending: false, nmiMasked: false };
    vm.vcpu.setEvents({ ...none, ...waits });
    expect(vm.switchEngine('kvm')).toBeUndefined();
    expect(vm.vcpu.getEvents()).toEqual({ ...none, ...waits });
    expect(vm.switchEngine('bt')).toBeUndefined();
    expect(vm.vcpu.getEvents()).toEqual({ ...none, ...waits });
    vm.close();
  });

  it('with a TSC that goes on', async () => {
    const vm = await make();
    const hz = vm.tscHz;
    const earliest = performance.now();
    let ended = 0;
    let last = vm.vcpu.getMsrs([0x10])[0]!;
    const [first, latest] = [last, performance.now()];
    for (let i = 0; i < 20; i++) {
      expect(vm.switchEngine(vm.engine === 'soft' ? 'kvm' : 'bt')).toBeUndefined();
      ended = performance.now();
      const now = vm.vcpu.getMsrs([0x10])[0]!;
      // Half a millisecond for what two clocks of the host differ in.
      expect(now - last).toBeGreaterThan(-BigInt(Math.round(hz / 2000)));
      last = now;
    }
    const passed = Number(last - first) / hz;
    // A busy host may stop this process between two of its looks at a clock.
    expect(passed).toBeGreaterThan(((ended - latest) / 1000) * 0.7);
    expect(passed).toBeLessThan(((performance.now() - earliest) / 1000) * 1.01 + 0.001);
    vm.close();
  });
});
