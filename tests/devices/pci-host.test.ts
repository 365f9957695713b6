// Configuration mechanism #1, the bridges of a 440FX board, and the header every function has.
import { describe, expect, it } from 'vitest';
import { PortBus } from '../../src/devices/bus.ts';
import { ManualClock } from '../../src/devices/clock.ts';
import type { AccessWidth } from '../../src/devices/device.ts';
import { PciFunction, type PciFunctionOptions } from '../../src/devices/pci-function.ts';
import { PciHost } from '../../src/devices/pci-host.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, portAccess } from './any-access.ts';

const BASE = 0xcf8;
const DATA = 0xcfc;
const NIC = { vendor: 0x1af4, device: 0x1041, classCode: 0x020000, revision: 1 } as const;

/** A function with one capability. */
class Card extends PciFunction {
  readonly capability = this.addCapability(0x09, Uint8Array.of(1, 2, 3), Uint8Array.of(0, 0xf0));
  readonly second = this.addCapability(0x11, new Uint8Array(10));
}

class Rig {
  resets = 0;
  readonly bus = new PortBus();
  readonly host = new PciHost({
    base: BASE,
    onReset: () => {
      this.resets++;
    },
  });
  constructor() {
    this.bus.register(this.host);
  }
  select(device: number, register: number, number = 0, busNumber = 0): void {
    const address = (0x80000000 | (busNumber << 16) | (device << 11) | (number << 8) | (register & 0xfc)) >>> 0;
    this.bus.write(BASE, 4, address);
  }
  read(device: number, register: number, width: AccessWidth = 4): number {
    this.select(device, register);
    return this.bus.read(DATA + (register & 3), width);
  }
  write(device: number, register: number, width: AccessWidth, value: number): void {
    this.select(device, register);
    this.bus.write(DATA + (register & 3), width, value);
  }
}

function withCard(options: Partial<PciFunctionOptions> = {}): { rig: Rig; card: Card } {
  const rig = new Rig();
  const card = new Card({ ...NIC, ...options });
  rig.host.add(3, 0, card);
  return { rig, card };
}

describe('configuration mechanism #1', () => {
  it('passes the probe of Linux, which writes a byte at 0xcfb first', () => {
    const { bus } = new Rig();
    bus.write(0xcfb, 1, 0x01);
    const before = bus.read(BASE, 4);
    bus.write(BASE, 4, 0x80000000);
    expect(bus.read(BASE, 4)).toBe(0x80000000);
    bus.write(BASE, 4, before);
  });

  it('is not mechanism #2', () => {
    const { bus } = new Rig();
    for (const port of [0xcfb, 0xcf8, 0xcfa]) bus.write(port, 1, 0);
    expect(bus.read(0xcf8, 1)).toBe(0xff);
    expect(bus.read(0xcfa, 1)).toBe(0xff);
  });

  it('reads bytes and words out of the dword', () => {
    const rig = new Rig();
    expect(rig.read(0, 0)).toBe(0x12378086);
    expect([0, 1, 2, 3].map((i) => rig.read(0, i, 1))).toEqual([0x86, 0x80, 0x37, 0x12]);
    expect(rig.read(0, 2, 2)).toBe(0x1237);
    expect(rig.bus.read(DATA + 1, 2)).toBe(0x3780);
  });

  it('writes only the bytes that are accessed', () => {
    const rig = new Rig();
    rig.write(1, 0x61, 1, 0x0b);
    rig.write(1, 0x62, 2, 0x0a05);
    expect(rig.read(1, 0x60)).toBe(0x0a050b80);
  });

  it('reads ones where there is nothing: other devices, functions and buses, and when disabled', () => {
    const rig = new Rig();
    const { bus } = rig;
    for (const [device, number, busNumber] of [
      [2, 0, 0],
      [31, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ] as const) {
      rig.select(device, 0, number, busNumber);
      expect(bus.read(DATA, 4)).toBe(0xffffffff);
      expect(bus.read(DATA, 2)).toBe(0xffff);
      expect(bus.read(DATA + 3, 1)).toBe(0xff);
    }
    bus.write(BASE, 4, 0);
    expect(bus.read(DATA, 4)).toBe(0xffffffff);
  });
});

describe('reset control', () => {
  it('resets at bit 2 of a byte write, not of a dword at the address', () => {
    const rig = new Rig();
    rig.bus.write(BASE, 4, 0x80000600);
    rig.bus.write(0xcf9, 1, 0x02);
    expect(rig.resets).toBe(0);
    expect(rig.bus.read(0xcf9, 1)).toBe(0x02);
    expect(rig.bus.read(BASE, 4)).toBe(0x80000600);
    rig.bus.write(0xcf9, 1, 0x06);
    expect(rig.resets).toBe(1);
  });
});

describe('bridges', () => {
  it('are a 440FX and a PIIX3 at the top of their classes', () => {
    const rig = new Rig();
    expect(rig.read(0, 0x08)).toBe(0x06000002);
    expect(rig.read(1, 0)).toBe(0x70008086);
    expect(rig.read(1, 0x08)).toBe(0x06010000);
    expect(rig.read(0, 0x0e, 1)).toBe(0);
  });

  it('keep identity, class and the fixed command bits whatever is written', () => {
    const rig = new Rig();
    for (const device of [0, 1]) {
      const before = [0, 4, 8].map((register) => rig.read(device, register));
      for (const register of [0, 8]) rig.write(device, register, 4, 0);
      rig.write(device, 4, 2, 0);
      expect([0, 4, 8].map((register) => rig.read(device, register))).toEqual(before);
    }
  });

  it('say how the guest routed interrupts', () => {
    const rig = new Rig();
    expect(rig.host.isaBridge.pirqRoute(0)).toBeUndefined();
    rig.write(1, 0x60, 4, 0x8b0a050b);
    expect([0, 1, 2, 3].map((pin) => rig.host.isaBridge.pirqRoute(pin))).toEqual([11, 5, 10, undefined]);
  });

  it('have the attributes of the RAM behind the BIOS area', () => {
    const rig = new Rig();
    expect(rig.read(0, 0x5a, 1)).toBe(0x33);
    rig.write(0, 0x5a, 1, 0xff);
    expect(rig.read(0, 0x5a, 1)).toBe(0x33);
    rig.write(0, 0x5a, 1, 0x11);
    expect(rig.read(0, 0x5a, 1)).toBe(0x11);
  });
});

describe('base address registers', () => {
  const bars = [
    { index: 0, kind: 'io', size: 32 },
    { index: 1, kind: 'memory', size: 4096 },
    { index: 4, kind: 'memory', size: 16384, wide: true, prefetchable: true },
  ] as const;
  const bar = (index: number) => 0x10 + 4 * index;

  it('tell their size and kind when ones are written', () => {
    const { rig } = withCard({ bars });
    for (let i = 0; i < 6; i++) rig.write(3, bar(i), 4, 0xffffffff);
    const sized = [0, 1, 2, 3, 4, 5].map((i) => rig.read(3, bar(i)));
    expect(sized).toEqual([0xffffffe1, 0xfffff000, 0, 0, 0xffffc00c, 0xffffffff]);
  });

  it('make windows once they have an address and decoding is on', () => {
    let changes = 0;
    const { rig, card } = withCard({ bars, onWindowsChange: () => changes++ });
    rig.write(3, bar(0), 4, 0xc001);
    rig.write(3, bar(1), 4, 0xe0001234);
    rig.write(3, bar(4), 4, 0x4000);
    rig.write(3, bar(5), 4, 0x2);
    expect(card.windows()).toEqual([]);
    expect(changes).toBe(0);
    rig.write(3, 4, 2, 0x0003);
    expect(card.windows()).toEqual([
      { bar: 0, kind: 'io', base: 0xc000, size: 32 },
      { bar: 1, kind: 'memory', base: 0xe0001000, size: 4096 },
      { bar: 4, kind: 'memory', base: 0x200004000, size: 16384 },
    ]);
    expect(changes).toBe(1);
    rig.write(3, 4, 2, 0x0001);
    expect(card.windows().map((w) => w.bar)).toEqual([0]);
    expect(changes).toBe(2);
    rig.write(3, 0x3c, 1, 11);
    expect(changes).toBe(2);
  });

  it('are not in use at address 0 or beyond what can be counted', () => {
    const { rig, card } = withCard({ bars });
    rig.write(3, 4, 2, 0x0003);
    expect(card.windows()).toEqual([]);
    rig.write(3, bar(4), 4, 0xffffffff);
    rig.write(3, bar(5), 4, 0xffffffff);
    expect(card.windows()).toEqual([]);
  });

  it('are refused when they cannot be', () => {
    expect(() => withCard({ bars: [{ index: 0, kind: 'memory', size: 24 }] })).toThrow(/power of two/);
    expect(() => withCard({ bars: [{ index: 0, kind: 'io', size: 512 }] })).toThrow(/4 to 256/);
    expect(() => withCard({ bars: [{ index: 5, kind: 'memory', size: 16, wide: true }] })).toThrow(/BAR 5/);
  });
});

describe('functions', () => {
  it('have a list of capabilities', () => {
    const { rig, card } = withCard();
    expect(rig.read(3, 6, 2) & 0x10).toBe(0x10);
    expect(rig.read(3, 0x34, 1)).toBe(card.capability);
    expect(rig.read(3, card.capability)).toBe(0x02010009 | (card.second << 8));
    expect(rig.read(3, card.second, 2)).toBe(0x0011);
    expect(card.second % 4).toBe(0);
    rig.write(3, card.capability, 4, 0xffffffff);
    expect(rig.read(3, card.capability)).toBe(0xf2010009 + (card.second << 8));
  });

  it('raise INTx unless it is disabled, and show it in the status', () => {
    const levels: boolean[] = [];
    const { rig, card } = withCard({ interruptPin: 1, irq: { set: (level) => levels.push(level) } });
    card.setInterrupt(true);
    expect(levels.at(-1)).toBe(true);
    expect(rig.read(3, 6, 2) & 8).toBe(8);
    rig.write(3, 4, 2, 0x400);
    expect(levels.at(-1)).toBe(false);
    expect(rig.read(3, 6, 2) & 8).toBe(8);
    rig.write(3, 4, 2, 0);
    expect(levels.at(-1)).toBe(true);
    card.setInterrupt(false);
    expect(levels.at(-1)).toBe(false);
  });

  it('know whether they may reach memory', () => {
    const { rig, card } = withCard();
    expect(card.isBusMaster).toBe(false);
    rig.write(3, 4, 2, 4);
    expect(card.isBusMaster).toBe(true);
  });

  it('find their place: taken and impossible ones are refused, more functions are announced', () => {
    const { rig } = withCard();
    expect(rig.host.freeDevice()).toBe(2);
    expect(() => rig.host.add(3, 0, new PciFunction(NIC))).toThrow(/00:03.0 is there already/);
    expect(() => rig.host.add(32, 0, new PciFunction(NIC))).toThrow(/does not exist/);
    expect(rig.read(3, 0x0e, 1)).toBe(0);
    rig.host.add(3, 2, new PciFunction(NIC));
    expect(rig.read(3, 0x0e, 1)).toBe(0x80);
  });
});

function bench(): Bench {
  const log: string[] = [];
  const host = new PciHost({ base: BASE, onReset: () => log.push('reset') });
  const card: Card = new Card({
    ...NIC,
    interruptPin: 1,
    irq: { set: (level) => log.push(`irq ${level}`) },
    bars: [
      { index: 0, kind: 'io', size: 64 },
      { index: 2, kind: 'memory', size: 1 << 20, wide: true },
    ],
    onWindowsChange: () => log.push(`windows ${JSON.stringify(card?.windows())}`),
  });
  host.add(3, 0, card);
  const select = (n: number) => host.write(BASE, 4, (0x80000000 | ((n >> 6) << 11) | ((n & 0x3f) << 2)) >>> 0);
  const pokes = [select, select, (n: number) => card.setInterrupt((n & 1) !== 0)];
  return { clock: new ManualClock(), device: host, log, ...portAccess(host), pokes };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
it('refuses a snapshot of a board with other functions', () => {
  expect(() => new Rig().host.restore(withCard().rig.host.state())).toThrow(/functions/);
});
