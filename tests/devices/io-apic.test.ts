// The I/O APIC's redirection of pins into messages, and the end of level interrupts.
import { describe, expect, it } from 'vitest';
import { ApicBus, type ApicMessage } from '../../src/devices/apic-bus.ts';
import { ManualClock } from '../../src/devices/clock.ts';
import { IoApic } from '../../src/devices/io-apic.ts';
import { LocalApic } from '../../src/devices/local-apic.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, mmioAccess } from './any-access.ts';

class Rig {
  readonly sent: ApicMessage[] = [];
  takes = true;
  readonly ioApic = new IoApic({
    base: 0xfec00000,
    id: 5,
    deliver: (message) => {
      this.sent.push(message);
      return this.takes;
    },
  });
  rd(register: number): number {
    this.ioApic.mmioWrite(0x00, 4, register);
    return this.ioApic.mmioRead(0x10, 4);
  }
  wr(register: number, value: number): void {
    this.ioApic.mmioWrite(0x00, 4, register);
    this.ioApic.mmioWrite(0x10, 4, value);
  }
  entry(pin: number, low: number, high = 0): void {
    this.wr(0x11 + 2 * pin, high);
    this.wr(0x10 + 2 * pin, low);
  }
  vectors(): number[] {
    return this.sent.splice(0).map((message) => message.vector);
  }
}

describe('registers', () => {
  it('show ID and version, 24 pins and the EOI register', () => {
    const rig = new Rig();
    expect(rig.rd(0)).toBe(0x05000000);
    expect(rig.rd(1)).toBe(0x00170020);
    rig.wr(0, 0x02000000);
    expect([rig.rd(0), rig.rd(2)]).toEqual([0x02000000, 0x02000000]);
    rig.wr(1, 0);
    expect(rig.rd(1)).toBe(0x00170020);
  });

  it('have masked entries at first, writable but for the status bits', () => {
    const rig = new Rig();
    for (let pin = 0; pin < 24; pin++) expect([rig.rd(0x10 + 2 * pin), rig.rd(0x11 + 2 * pin)]).toEqual([0x10000, 0]);
    rig.entry(23, 0xffffffff, 0xffffffff);
    expect([rig.rd(0x3e), rig.rd(0x3f)]).toEqual([0x1afff, 0xff000000]);
    expect(rig.rd(0x40)).toBe(0);
    rig.wr(0x40, 0xffffffff);
    expect(rig.rd(0xff)).toBe(0);
  });
});

describe('edge-triggered pins', () => {
  it('send a message for each rise', () => {
    const rig = new Rig();
    rig.entry(2, 0x0930, 0x07000000);
    rig.ioApic.setPin(2, true);
    expect(rig.sent).toEqual([
      { vector: 0x30, delivery: 1, isLogical: true, destination: 7, isLevel: false, isAssert: true },
    ]);
    rig.ioApic.setPin(2, true);
    rig.ioApic.setPin(2, false);
    expect(rig.sent.length).toBe(1);
    rig.ioApic.setPin(2, true);
    expect(rig.sent.length).toBe(2);
  });

  it('lose edges while masked', () => {
    const rig = new Rig();
    rig.entry(2, 0x10030);
    rig.ioApic.setPin(2, true);
    rig.entry(2, 0x00030);
    expect(rig.sent).toEqual([]);
    rig.ioApic.setPin(2, false);
    rig.ioApic.setPin(2, true);
    expect(rig.vectors()).toEqual([0x30]);
  });

  it('with 0xff as physical destination mean all processors', () => {
    const rig = new Rig();
    rig.entry(0, 0x0030, 0xff000000);
    rig.ioApic.setPin(0, true);
    expect(rig.sent[0]!.destination).toBe(0xffffffff);
  });

  it('outside 0-23 are ignored', () => {
    const rig = new Rig();
    for (const pin of [-1, 24, 32, 1000]) rig.ioApic.setPin(pin, true);
    expect(rig.sent).toEqual([]);
  });
});

describe('level-triggered pins', () => {
  it('send once and again after an EOI while the level lasts', () => {
    const rig = new Rig();
    rig.entry(9, 0x8039);
    rig.ioApic.setPin(9, true);
    expect(rig.rd(0x22)).toBe(0xc039);
    rig.ioApic.setPin(9, false);
    rig.ioApic.setPin(9, true);
    expect(rig.vectors()).toEqual([0x39]);
    rig.ioApic.endOfInterrupt(0x40);
    expect(rig.vectors()).toEqual([]);
    rig.ioApic.endOfInterrupt(0x39);
    expect(rig.vectors()).toEqual([0x39]);
    rig.ioApic.setPin(9, false);
    rig.ioApic.mmioWrite(0x40, 4, 0x39);
    expect(rig.vectors()).toEqual([]);
    expect(rig.rd(0x22)).toBe(0x8039);
  });

  it('send on unmasking', () => {
    const rig = new Rig();
    rig.entry(9, 0x18039);
    rig.ioApic.setPin(9, true);
    expect(rig.vectors()).toEqual([]);
    rig.entry(9, 0x8039);
    expect(rig.vectors()).toEqual([0x39]);
  });

  it('forget remote IRR when switched to edge, as old Linux ends interrupts', () => {
    const rig = new Rig();
    rig.entry(9, 0x8039);
    rig.ioApic.setPin(9, true);
    rig.entry(9, 0x10039);
    expect(rig.rd(0x22)).toBe(0x10039);
    rig.entry(9, 0x8039);
    expect(rig.vectors()).toEqual([0x39, 0x39]);
  });

  it('keep trying while nobody takes the message', () => {
    const rig = new Rig();
    rig.takes = false;
    rig.entry(9, 0x8039);
    rig.ioApic.setPin(9, true);
    expect(rig.rd(0x22)).toBe(0x8039);
    rig.takes = true;
    rig.entry(9, 0x8039);
    expect(rig.rd(0x22)).toBe(0xc039);
  });
});

it('works with a local APIC from pin to EOI', () => {
  const clock = new ManualClock();
  const bus = new ApicBus();
  const ioApic = new IoApic({ base: 0xfec00000, id: 0, deliver: (message) => bus.send(message) });
  const nothing = () => {};
  const apic = new LocalApic({
    id: 0,
    isBootstrap: true,
    bus,
    clock,
    tsc: () => clock.now(),
    tscHz: 1e9,
    onChange: nothing,
    onNmi: nothing,
    onInit: nothing,
    onStartUp: nothing,
    onEoi: (vector) => ioApic.endOfInterrupt(vector),
  });
  apic.mmioWrite(0xf0, 4, 0x1ff);
  ioApic.mmioWrite(0, 4, 0x10 + 2 * 16);
  ioApic.mmioWrite(0x10, 4, 0xa050);
  ioApic.setPin(16, true);
  expect(apic.acknowledge()).toBe(0x50);
  apic.mmioWrite(0xb0, 4, 0);
  expect(apic.acknowledge()).toBe(0x50);
  ioApic.setPin(16, false);
  apic.mmioWrite(0xb0, 4, 0);
  expect(apic.pending).toBe(false);
});

const OFFSETS = [0, 1, 2, 0x10, 0x11, 0x13, 0x20, 0x40, 0xffc];

function bench(): Bench {
  const log: string[] = [];
  const device = new IoApic({
    base: 0xfec00000,
    id: 0,
    deliver: (message) => {
      log.push(JSON.stringify(message));
      return message.vector !== 0;
    },
  });
  const pokes = [
    (n: number) => device.setPin(n & 31, true),
    (n: number) => device.setPin(n & 31, false),
    (n: number) => device.endOfInterrupt(n),
    (n: number) => {
      device.mmioWrite(0, 4, 0x10 + (n & 31));
      device.mmioWrite(0x10, 4, (n << 10) | n);
    },
  ];
  return { clock: new ManualClock(), device, log, ...mmioAccess(device, OFFSETS), pokes };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
