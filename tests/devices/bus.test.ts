// Which device answers an access, and how accesses that straddle devices are split.
import { describe, expect, it } from 'vitest';
import { type BusEvent, MmioBus, PortBus } from '../../src/devices/bus.ts';
import type { AccessWidth, MmioDevice, PortDevice, PortRange } from '../../src/devices/device.ts';
import { BusError } from '../../src/devices/errors.ts';

/** Answers each access with the port's low byte in every byte and notes it. */
class Echo implements PortDevice {
  readonly log: string[] = [];
  readonly ports: readonly PortRange[];
  constructor(...ports: PortRange[]) {
    this.ports = ports;
  }
  read(port: number, width: AccessWidth): number {
    this.log.push(`r${width} ${port.toString(16)}`);
    return Number.parseInt((port & 0xff).toString(16).padStart(2, '0').repeat(width), 16);
  }
  write(port: number, width: AccessWidth, value: number): void {
    this.log.push(`w${width} ${port.toString(16)}=${value.toString(16)}`);
  }
}

class Window implements MmioDevice {
  readonly log: string[] = [];
  readonly base: number;
  readonly size: number;
  constructor(base: number, size: number) {
    this.base = base;
    this.size = size;
  }
  mmioRead(offset: number, width: AccessWidth): number {
    this.log.push(`r${width} ${offset}`);
    return offset & 0xff;
  }
  mmioWrite(offset: number, width: AccessWidth, value: number): void {
    this.log.push(`w${width} ${offset}=${value.toString(16)}`);
  }
}

describe('PortBus', () => {
  it('reads all ones from ports nobody claims and drops writes to them', () => {
    const bus = new PortBus();
    expect(bus.read(0x80, 1)).toBe(0xff);
    expect(bus.read(0x80, 2)).toBe(0xffff);
    expect(bus.read(0xffff, 4)).toBe(0xffffffff);
    bus.write(0xffff, 4, 0x12345678);
  });

  it('passes an access within one device whole, with the value masked to its width', () => {
    const bus = new PortBus();
    const device = new Echo({ base: 0x10, count: 4 });
    bus.register(device);
    expect(bus.read(0x10, 4)).toBe(0x10101010);
    bus.write(0x12, 2, 0x12345678);
    bus.write(0x13, 1, -1);
    expect(device.log).toEqual(['r4 10', 'w2 12=5678', 'w1 13=ff']);
  });

  it('splits an access that straddles devices into bytes', () => {
    const bus = new PortBus();
    const low = new Echo({ base: 0x10, count: 2 });
    const high = new Echo({ base: 0x13, count: 1 });
    bus.register(low);
    bus.register(high);
    expect(bus.read(0x10, 4)).toBe(0x13ff1110);
    bus.write(0x11, 4, 0x44332211);
    expect(low.log).toEqual(['r1 10', 'r1 11', 'w1 11=11']);
    expect(high.log).toEqual(['r1 13', 'w1 13=33']);
    expect(bus.read(0xf, 2)).toBe(0x10ff);
  });

  it('refuses overlaps and ranges outside the port space, and then claims nothing', () => {
    const bus = new PortBus();
    bus.register(new Echo({ base: 0x10, count: 4 }));
    expect(() => bus.register(new Echo({ base: 0x20, count: 1 }, { base: 0x13, count: 2 }))).toThrow(BusError);
    expect(bus.isFree(0x20, 1)).toBe(true);
    expect(bus.isFree(0x13, 1)).toBe(false);
    expect(() => bus.register(new Echo({ base: 0xffff, count: 2 }))).toThrow(BusError);
    expect(() => bus.register(new Echo({ base: 0x30, count: 0 }))).toThrow(BusError);
  });

  it('forgets a device', () => {
    const bus = new PortBus();
    const device = new Echo({ base: 0x10, count: 4 }, { base: 0x80, count: 1 });
    bus.register(device);
    bus.unregister(device);
    expect(bus.read(0x10, 1)).toBe(0xff);
    expect(bus.read(0x80, 1)).toBe(0xff);
    bus.register(device);
  });

  it('traces what was read and written, claimed or not', () => {
    const bus = new PortBus();
    const events: BusEvent[] = [];
    bus.trace = (event) => events.push(event);
    bus.register(new Echo({ base: 0x10, count: 1 }));
    bus.read(0x10, 1);
    bus.write(0x99, 2, 0x12345);
    expect(events).toEqual([
      { kind: 'in', address: 0x10, width: 1, value: 0x10, claimed: true },
      { kind: 'out', address: 0x99, width: 2, value: 0x2345, claimed: false },
    ]);
  });
});

describe('MmioBus', () => {
  it('finds the window among several, by address', () => {
    const bus = new MmioBus();
    const windows = [new Window(0xfee00000, 0x1000), new Window(0x1000, 0x10), new Window(0x8_0000_0000, 0x100)];
    for (const window of windows) bus.register(window);
    for (const window of windows) {
      expect(bus.deviceAt(window.base)).toBe(window);
      expect(bus.deviceAt(window.base + window.size - 1)).toBe(window);
      expect(bus.deviceAt(window.base + window.size)).toBeUndefined();
      expect(bus.deviceAt(window.base - 1)).toBeUndefined();
    }
    expect(bus.read(0x8_0000_0042, 1)).toBe(0x42);
  });

  it('reads all ones where there is nothing and splits an access over the end of a window', () => {
    const bus = new MmioBus();
    const window = new Window(0x1000, 0x10);
    bus.register(window);
    expect(bus.read(0x2000, 4)).toBe(0xffffffff);
    expect(bus.read(0x100e, 4)).toBe(0xffff0f0e);
    bus.write(0xffe, 4, 0x44332211);
    expect(window.log).toEqual(['r1 14', 'r1 15', 'w1 0=33', 'w1 1=44']);
  });

  it('splits eight bytes into two dwords, the low one first', () => {
    const bus = new MmioBus();
    const window = new Window(0x1000, 0x10);
    bus.register(window);
    expect(bus.read64(0x1004)).toBe(0x8_0000_0004n);
    bus.write64(0x1000, -2n);
    expect(window.log).toEqual(['r4 4', 'r4 8', 'w4 0=fffffffe', 'w4 4=ffffffff']);
  });

  it('refuses overlapping windows and lets go of one', () => {
    const bus = new MmioBus();
    const window = new Window(0x1000, 0x10);
    bus.register(window);
    expect(() => bus.register(new Window(0xfff, 2))).toThrow(BusError);
    expect(() => bus.register(new Window(0x2000, 0))).toThrow(BusError);
    expect(bus.read(0x1001, 1)).toBe(1);
    bus.unregister(window);
    expect(bus.read(0x1001, 1)).toBe(0xff);
    bus.register(new Window(0xfff, 2));
  });
});
