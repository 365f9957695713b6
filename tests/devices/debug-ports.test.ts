// Debug console and debug exit, alone and behind the bus.
import { describe, expect, it } from 'vitest';
import { PortBus } from '../../src/devices/bus.ts';
import { ManualClock } from '../../src/devices/clock.ts';
import { DebugPorts } from '../../src/devices/debug-ports.ts';
import { type Bench, checkAnyAccess, portAccess } from './any-access.ts';

function rig() {
  const exits: number[] = [];
  const sent: number[] = [];
  const bus = new PortBus();
  bus.register(
    new DebugPorts({
      console: 0xe9,
      exit: 0xf4,
      output: (bytes) => sent.push(...bytes),
      onExit: (value) => exits.push(value),
    }),
  );
  return { bus, exits, sent };
}

describe('debug console', () => {
  it('passes bytes on and says that it is there', () => {
    const { bus, sent, exits } = rig();
    for (const byte of [0x68, 0x69, 0x00, 0xff]) bus.write(0xe9, 1, byte);
    expect(sent).toEqual([0x68, 0x69, 0x00, 0xff]);
    expect(bus.read(0xe9, 1)).toBe(0xe9);
    expect(exits).toEqual([]);
  });

  it('takes the low byte of a wide write, the only one that lies on its port', () => {
    const { bus, sent } = rig();
    bus.write(0xe9, 4, 0x44434241);
    expect(sent).toEqual([0x41]);
  });
});

describe('debug exit', () => {
  it('hands over the value as wide as it was written', () => {
    const { bus, exits } = rig();
    bus.write(0xf4, 1, 0x21);
    bus.write(0xf4, 2, 0x1234);
    bus.write(0xf4, 4, 0xfedcba98);
    expect(exits).toEqual([0x21, 0x1234, 0xfedcba98]);
  });

  it('does not exit for the ports behind the first, nor for reads', () => {
    const { bus, exits, sent } = rig();
    bus.write(0xf5, 1, 1);
    expect(bus.read(0xf4, 1)).toBe(0xff);
    expect(exits).toEqual([]);
    expect(sent).toEqual([]);
  });
});

it('takes any access', () => {
  checkAnyAccess((): Bench => {
    const log: string[] = [];
    const device = new DebugPorts({
      console: 0xe9,
      exit: 0xf4,
      output: (bytes) => log.push(`out ${bytes}`),
      onExit: (value) => log.push(`exit ${value}`),
    });
    return { clock: new ManualClock(), device, log, ...portAccess(device), pokes: [] };
  });
});
