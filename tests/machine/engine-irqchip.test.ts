// States of interrupt controllers and timer in an engine's form and back: nothing a guest can see is lost.
import { describe, expect, it } from 'vitest';
import { ApicBus } from '../../src/devices/apic-bus.ts';
import { ManualClock } from '../../src/devices/clock.ts';
import type { DeviceState } from '../../src/devices/device.ts';
import { IoApic } from '../../src/devices/io-apic.ts';
import { LocalApic } from '../../src/devices/local-apic.ts';
import { PicPair } from '../../src/devices/pic8259.ts';
import { Pit8254 } from '../../src/devices/pit8254.ts';
import { stateChild } from '../../src/devices/state.ts';
import { lapicPage, lapicState } from '../../src/machine/engine-irqchip/local-apic.ts';
import { ioApicOf, ioApicStateOf, isLevelTriggered, picOf, picStateOf } from '../../src/machine/engine-irqchip/pics.ts';
import { pitOf, pitStateOf } from '../../src/machine/engine-irqchip/pit.ts';
import { Random, seedOf } from '../isa/random.ts';

const BASE = 0xfec00000;
const TSC_HZ = 2_596_134_000;
const ROUNDS = 200;

function pair(): PicPair {
  return new PicPair({ masterBase: 0x20, slaveBase: 0xa0, elcrBase: 0x4d0, onOutput: () => {} });
}
function localApic(clock: ManualClock): LocalApic {
  return new LocalApic({
    id: 0,
    isBootstrap: true,
    bus: new ApicBus(),
    clock,
    tsc: () => clock.now(),
    tscHz: 1e9,
    virtualWire: true,
    onChange: () => {},
    onEoi: () => {},
    onNmi: () => {},
    onInit: () => {},
    onStartUp: () => {},
  });
}

describe('the 8259 pair', () => {
  it('comes back as it was', () => {
    const random = new Random(seedOf('pics to an engine'));
    const pic = pair();
    for (let i = 0; i < ROUNDS; i++) {
      // Words of an initialization among others; "single" is a mode that an engine may not have.
      const port = random.pick([0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1]);
      pic.write(port, 1, random.below(256) & (port & 1 ? 0xff : ~2));
      pic.setIrq(random.below(16), random.once(2));
      if (random.once(4)) pic.acknowledge();
      const state = pic.state();
      const [master, slave] = ['master', 'slave'].map((key) => stateChild(state, key)) as [DeviceState, DeviceState];
      expect({ master: picStateOf(picOf(master, false)), slave: picStateOf(picOf(slave, true)) }).toEqual(state);
    }
  });
});

describe('the I/O APIC', () => {
  it('comes back as it was, and says which lines are levels', () => {
    const random = new Random(seedOf('I/O APIC to an engine'));
    const chip = new IoApic({ base: BASE, id: 2, deliver: () => random.once(2) });
    for (let i = 0; i < ROUNDS; i++) {
      chip.mmioWrite(0, 4, random.once(8) ? 0 : 0x10 + random.below(48));
      chip.mmioWrite(0x10, 4, random.u32());
      chip.setPin(random.below(24), random.once(2));
      const state = chip.state();
      expect(ioApicStateOf(ioApicOf(state, BASE), state.levels as number)).toEqual(state);
    }
    chip.mmioWrite(0, 4, 0x10 + 2 * 9);
    chip.mmioWrite(0x10, 4, 0x8030);
    expect(isLevelTriggered(pair().state(), chip.state(), 9)).toBe(true);
  });
});

describe('the local APIC', () => {
  it('comes back as it was', () => {
    const random = new Random(seedOf('local APIC to an engine'));
    const clock = new ManualClock(1_000_000n);
    const apic = localApic(clock);
    apic.mmioWrite(0xf0, 4, 0x1ff);
    for (let i = 0; i < ROUNDS; i++) {
      const register = random.pick([
        0x80, 0xb0, 0xd0, 0xe0, 0x300, 0x310, 0x320, 0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0,
      ]);
      apic.mmioWrite(register, 4, register === 0x320 ? random.u32() & 0x300ff : random.u32());
      apic.accept({
        vector: 16 + random.below(240),
        delivery: 0,
        isLogical: false,
        destination: 0,
        isLevel: random.once(2),
        isAssert: true,
      });
      if (random.once(3)) apic.acknowledge();
      clock.advance(BigInt(random.below(1000)));
      const state = apic.state();
      const at = { now: clock.now(), apicBase: 0xfee00900n, tscDeadline: 0n, tsc: 0n, tscHz: TSC_HZ };
      const back = lapicState(lapicPage(state, 0, clock.now()), at, false);
      // Counts are told in steps of the divisor, and ended ones not at all. The engine has no place for errors that no
      // write has shown yet, nor for ExtINT as a message.
      const own = { timer: 0, newErrors: 0, extIntRequested: false, lvt: 0 };
      expect({ ...back, ...own }).toEqual({ ...state, ...own });
      expect(stateChild(back, 'lvt').entries).toEqual(stateChild(state, 'lvt').entries);
    }
  });

  it.for([
    ['one-shot', 0x00040],
    ['periodic', 0x20040],
  ] as const)('goes on with a count, %s', ([, entry]) => {
    const clock = new ManualClock();
    const apic = localApic(clock);
    apic.mmioWrite(0xf0, 4, 0x1ff);
    apic.mmioWrite(0x3e0, 4, 3);
    apic.mmioWrite(0x320, 4, entry);
    apic.mmioWrite(0x380, 4, 100_000);
    clock.advance(1_000_000n);
    const page = lapicPage(apic.state(), 0, clock.now());
    expect(new DataView(page.buffer).getUint32(0x390, true)).toBe(100_000 - 62_500);
    const at = { now: clock.now(), apicBase: 0xfee00900n, tscDeadline: 0n, tsc: 0n, tscHz: TSC_HZ };
    const other = localApic(clock);
    other.restore(lapicState(page, at, false));
    expect(other.mmioRead(0x390, 4)).toBe(apic.mmioRead(0x390, 4));
    clock.advance(600_000n - 20n);
    expect(other.pending).toBe(false);
    clock.advance(40n);
    expect(other.pending).toBe(true);
  });

  it('goes on with a deadline of the TSC', () => {
    const clock = new ManualClock();
    const apic = localApic(clock);
    apic.mmioWrite(0xf0, 4, 0x1ff);
    apic.mmioWrite(0x320, 4, 0x40040);
    const page = lapicPage(apic.state(), 0, clock.now());
    const surroundings = { now: 0n, apicBase: 0xfee00900n, tscDeadline: 5000n, tsc: 2000n, tscHz: 1e9 };
    const other = localApic(clock);
    other.restore(lapicState(page, surroundings, false));
    expect(other.readMsr(0x6e0)).toBe(5000n);
    clock.advance(5001n);
    expect(other.pending).toBe(true);
  });
  it('does not let a count that has ended end again', () => {
    const clock = new ManualClock();
    const apic = localApic(clock);
    apic.mmioWrite(0xf0, 4, 0x1ff);
    apic.mmioWrite(0x320, 4, 0x40);
    apic.mmioWrite(0x380, 4, 100);
    clock.advance(1_000_000n);
    expect(new DataView(lapicPage(apic.state(), 0, clock.now()).buffer).getUint32(0x380, true)).toBe(0);
  });
});

describe('the 8254', () => {
  const make = (clock: ManualClock, rises: bigint[]): Pit8254 => {
    let level = false;
    const set = (next: boolean): void => {
      if (next && !level) rises.push(clock.now());
      level = next;
    };
    return new Pit8254({ base: 0x40, portB: 0x61, irq: { set }, clock });
  };
  const program = (pit: Pit8254, control: number, count: number): void => {
    pit.write(0x43, 1, control);
    const port = 0x40 + (control >> 6);
    pit.write(port, 1, count & 0xff);
    pit.write(port, 1, count >> 8);
  };

  it('interrupts once when its count has gone on elsewhere', () => {
    const clock = new ManualClock();
    const rises: bigint[] = [];
    const pit = make(clock, []);
    program(pit, 0x30, 11932); // counter 0, mode 0: 10 ms
    clock.advance(4_000_000n);
    const engine = pitOf(pit.state(), clock.now());
    expect(engine.channels[0].count).toBeGreaterThan(7150);
    expect(engine.channels[0].count).toBeLessThan(7165);
    const other = make(clock, rises);
    other.restore(pitStateOf(engine, clock.now()));
    clock.advance(20_000_000n);
    expect(rises).toHaveLength(1);
    expect(Number(rises[0]!) / 1e6).toBeCloseTo(10, 1);
  });
  it('keeps counter 2, latches and bytes half read', () => {
    const clock = new ManualClock(5_000_000n);
    const pit = make(clock, []);
    pit.write(0x61, 1, 3);
    program(pit, 0xb6, 3000);
    clock.advance(700_000n);
    pit.write(0x43, 1, 0x80);
    pit.write(0x43, 1, 0xe8);
    const other = make(clock, []);
    other.restore(pitStateOf(pitOf(pit.state(), clock.now()), clock.now()));
    for (const port of [0x61, 0x42, 0x42, 0x42]) expect(other.read(port, 1) & 0x3f).toBe(pit.read(port, 1) & 0x3f);
  });
});
