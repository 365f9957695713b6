// Interrupt controllers in the kernel: lines, messages, the split form, HLT that waits, the timer, state there and back.
import { afterAll, describe, expect, it } from 'vitest';
import { HvError, type Vcpu } from '../../src/hv/contract.ts';
import type { KvmVm } from '../../src/hv/kvm/vm.ts';
import { AT, setUpMode } from '../../src/hv/modes.ts';
import { initialXsave, openKvm, softHypervisor } from './engines.ts';

const kvm = openKvm();
const there = typeof kvm !== 'string' && kvm.capability('IRQCHIP') > 0 && kvm.capability('PIT_STATE2') > 0;
if (!there) console.log(`in-kernel irqchip skipped: ${typeof kvm === 'string' ? kvm : 'this /dev/kvm has none'}`);
afterAll(() => {
  if (typeof kvm !== 'string') kvm.close();
});

const SVR = 0xf0;
const VECTOR = 0x31;
const OUT = [0xe6, 0x77]; // out 0x77, al
const MSI_ADDRESS = 0xfee0_0000;
const PIC_REMAP = [
  [0x20, 0x11],
  [0x21, 0x30],
  [0x21, 0x04],
  [0x21, 0x01],
  [0x21, 0xfc],
].flatMap(([port, value]) => [0xb0, value!, 0xe6, port!]); // mov al, value; out port, al
const PIT_100HZ = [
  [0x43, 0x34],
  [0x40, 0x9c],
  [0x40, 0x2e],
].flatMap(([port, value]) => [0xb0, value!, 0xe6, port!]);

function make(code: readonly number[], form: 'whole' | 'split'): { vm: KvmVm; vcpu: Vcpu } {
  if (typeof kvm === 'string') throw new Error(kvm);
  const vm = kvm.createVm({ ram: AT.ram, gpaTop: 4 << 20 });
  vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
  vm.createIrqchip({ split: form === 'split' });
  if (form === 'whole') vm.createPit();
  // The handler tells the vector's low byte and ends the interrupt at both controllers.
  const handler = (v: number): number[] => [0xb0, v, ...OUT, 0xb0, 0x20, 0xe6, 0x20, 0x48, 0xcf];
  const sregs = setUpMode(vm.memory, 'long', handler);
  vm.memory.write(AT.code, Uint8Array.from(code));
  const vcpu = vm.createVcpu(0);
  vcpu.setCpuid(kvm.supportedCpuid());
  vcpu.setSregs(sregs);
  vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(AT.code), rsp: BigInt(AT.stack), rflags: 2n });
  vcpu.setXsave(initialXsave());
  return { vm, vcpu };
}
const STI_HLT = [0xfb, 0xf4, 0xeb, 0xfc]; // sti; hlt; jmp back
/** The next value at the port of the handlers. */
function told(vcpu: Vcpu, ms = 2000): number | string {
  for (;;) {
    const exit = vcpu.run({ nanoseconds: ms * 1e6 });
    if (exit.reason !== 'io') return exit.reason;
    if (exit.port === 0x77) return exit.data[0]!;
  }
}
function enableApic(vcpu: Vcpu): void {
  const page = vcpu.getLapic();
  new DataView(page.buffer).setUint32(SVR, 0x1ff, true);
  vcpu.setLapic(page);
}

describe.skipIf(!there)('in-kernel irqchip', () => {
  it('takes lines through the PICs, waits in HLT and lets itself be ended', async () => {
    const { vm, vcpu } = make([...PIC_REMAP, ...STI_HLT], 'whole');
    expect(vcpu.run({ nanoseconds: 30e6 }).reason).toBe('intr');
    expect(vcpu.getMpState()).toBe('halted');
    vm.setIrqLine(1, true);
    expect(told(vcpu)).toBe(VECTOR);
    const pending = vcpu.runAsync();
    setTimeout(() => vcpu.requestExit(), 20);
    expect((await pending).reason).toBe('intr');
    vm.setIrqLine(1, false);
    // A line that rises while the guest sleeps on its own thread wakes it.
    const woken = vcpu.runAsync();
    setTimeout(() => vm.setIrqLine(1, true), 20);
    expect(await woken).toMatchObject({ reason: 'io', port: 0x77 });
    vm.close();
  });

  it('has a timer that interrupts by itself', () => {
    const { vm, vcpu } = make([...PIC_REMAP, ...PIT_100HZ, ...STI_HLT], 'whole');
    const began = performance.now();
    for (let i = 0; i < 10; i++) expect(told(vcpu)).toBe(0x30);
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(80);
    const [channel] = vm.getPit().channels;
    expect(channel).toMatchObject({ mode: 2, count: 0x2e9c, rwMode: 3 });
    vm.close();
  });

  it('gives states and takes them back', () => {
    const { vm, vcpu } = make([...PIC_REMAP, ...PIT_100HZ, ...STI_HLT], 'whole');
    told(vcpu);
    const chips = vm.getIrqchip();
    expect(chips.master).toMatchObject({ irqBase: 0x30, imr: 0xfc });
    expect(chips.ioApic.redirection).toHaveLength(24);
    const changed = {
      ...chips,
      master: { ...chips.master, irqBase: 0x48 },
      ioApic: {
        ...chips.ioApic,
        id: 3,
        redirection: chips.ioApic.redirection.map((e, i) => (i === 5 ? 0x100_0000_0001_8099n : e)),
      },
    };
    vm.setIrqchip(changed);
    expect(vm.getIrqchip().master).toEqual({ ...changed.master, irr: expect.any(Number), lastIrr: expect.any(Number) });
    expect(vm.getIrqchip().ioApic).toEqual(changed.ioApic);
    const pit = vm.getPit();
    vm.setPit({ ...pit, speaker: true });
    expect(vm.getPit()).toMatchObject({ speaker: true });
    enableApic(vcpu);
    expect(new DataView(vcpu.getLapic().buffer).getUint32(SVR, true)).toBe(0x1ff);
    vm.close();
  });

  it.for(['whole', 'split'] as const)('delivers messages, %s', (form) => {
    const { vm, vcpu } = make(STI_HLT, form);
    enableApic(vcpu);
    vcpu.run({ nanoseconds: 5e6 });
    expect(vm.signalMsi(MSI_ADDRESS, 0x55)).toBe(true);
    expect(told(vcpu)).toBe(0x55);
    vm.close();
  });

  it('tells a split form of the end of level-triggered interrupts, and takes those of the PICs', () => {
    const EOI = [0xc7, 0x04, 0x25, 0xb0, 0x00, 0x04, 0x00, 0, 0, 0, 0]; // mov dword [0x400b0], 0
    const { vm, vcpu } = make(STI_HLT, 'split');
    // The APIC's page is mapped over the first odd page.
    const entry = new Uint8Array(8);
    new DataView(entry.buffer).setBigUint64(0, 0xfee0_0063n, true);
    vm.memory.write(0x7000 + 0x40 * 8, entry);
    vm.memory.write(AT.handlers + 0x55 * 16, Uint8Array.from([...OUT, ...EOI, 0x48, 0xcf]));
    enableApic(vcpu);
    vm.setGsiRoutes([{ gsi: 4, to: 'message', address: MSI_ADDRESS, data: 0xc055 }]);
    // The kernel looks at the routes when the vCPU enters the guest.
    expect(vcpu.run({ nanoseconds: 5e6 }).reason).toBe('intr');
    vm.setIrqLine(4, true);
    expect(vcpu.run({ nanoseconds: 2e9 }).reason).toBe('io');
    expect(vcpu.run({ nanoseconds: 2e9 })).toEqual({ reason: 'ioapic-eoi', vector: 0x55 });
    vcpu.requestInterruptWindow = true;
    expect(vcpu.run({ nanoseconds: 2e9 }).reason).toBe('irq-window-open');
    vcpu.requestInterruptWindow = false;
    vcpu.interrupt(VECTOR);
    expect(told(vcpu)).toBe(VECTOR);
    vm.close();
  });
});

it('has one cause and advice where the engine has none', async () => {
  const vm = (await softHypervisor()).createVm({ ram: AT.ram });
  expect(() => vm.createIrqchip()).toThrow(HvError);
  vm.close();
});
