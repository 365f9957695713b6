// The keyboard controller with its keyboard and mouse, as Linux probes and uses them.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/devices/clock.ts';
import { I8042 } from '../../src/devices/i8042.ts';
import { KEYBOARD_EVENT_LIMIT } from '../../src/devices/ps2-keyboard.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, portAccess } from './any-access.ts';

const DATA = 0x60;
const COMMAND = 0x64;
const PORT_A = 0x92;
const ACK = 0xfa;
const OUTPUT_FULL = 0x01;
const FROM_MOUSE = 0x20;

class Rig {
  irq1 = false;
  irq12 = false;
  edges1 = 0;
  resets = 0;
  a20: boolean[] = [];
  readonly i8042 = new I8042({
    dataPort: DATA,
    commandPort: COMMAND,
    portA: PORT_A,
    keyboardIrq: {
      set: (level) => {
        if (level && !this.irq1) this.edges1++;
        this.irq1 = level;
      },
    },
    mouseIrq: {
      set: (level) => {
        this.irq12 = level;
      },
    },
    onA20: (level) => this.a20.push(level),
    onReset: () => {
      this.resets++;
    },
  });
  get status(): number {
    return this.i8042.read(COMMAND, 1);
  }
  /** Sends a controller command, and its argument. */
  command(command: number, ...argument: number[]): void {
    this.i8042.write(COMMAND, 1, command);
    for (const byte of argument) this.i8042.write(DATA, 1, byte);
  }
  /** Everything there is to read, of both devices. */
  drain(): number[] {
    const bytes: number[] = [];
    while (this.status & OUTPUT_FULL && bytes.length < 5000) bytes.push(this.i8042.read(DATA, 1));
    return bytes;
  }
  ask(command: number, ...argument: number[]): number[] {
    this.command(command, ...argument);
    return this.drain();
  }
  keyboard(...bytes: number[]): number[] {
    return bytes.flatMap((byte) => {
      this.i8042.write(DATA, 1, byte);
      return this.drain();
    });
  }
  mouse(...bytes: number[]): number[] {
    return bytes.flatMap((byte) => this.ask(0xd4, byte));
  }
}

describe('controller', () => {
  it('passes its self-test and the tests of both interfaces', () => {
    const rig = new Rig();
    expect(rig.ask(0xaa)).toEqual([0x55]);
    expect(rig.ask(0xab)).toEqual([0x00]);
    expect(rig.ask(0xa9)).toEqual([0x00]);
    expect(rig.status).toBe(0x1c);
  });

  it('keeps the command byte, and the rest of its memory', () => {
    const rig = new Rig();
    expect(rig.ask(0x20)).toEqual([0x65]);
    rig.command(0x60, 0xff);
    expect(rig.ask(0x20)).toEqual([0x7f]);
    rig.command(0x7f, 0xab);
    rig.command(0x61, 0xcd);
    expect([rig.ask(0x3f), rig.ask(0x21)]).toEqual([[0xab], [0xcd]]);
    rig.command(0x60, 0x00);
    expect(rig.status & 0x04).toBe(0);
    rig.command(0xaa);
    expect(rig.status & 0x04).toBe(0x04);
  });

  it('shows in the status whether a command or data was written last', () => {
    const rig = new Rig();
    rig.command(0xd3);
    expect(rig.status & 0x08).toBe(0x08);
    rig.i8042.write(DATA, 1, 1);
    expect(rig.status & 0x08).toBe(0);
  });

  it('switches the devices off and on in the command byte', () => {
    const rig = new Rig();
    const bits = (command: number): number => rig.ask(command).length + (rig.ask(0x20)[0]! & 0x30);
    expect([0xad, 0xa8, 0xae, 0xa7].map(bits)).toEqual([0x30, 0x10, 0x00, 0x20]);
  });

  it("passes Linux's test of the mouse port: an echo that is marked and interrupts, not by a multiplexer", () => {
    const rig = new Rig();
    rig.command(0x60, 0x07);
    for (const byte of [0x5a, 0xa5, 0xf0, 0x56, 0xa4]) {
      rig.command(0xd3, byte);
      expect(rig.status & (OUTPUT_FULL | FROM_MOUSE)).toBe(OUTPUT_FULL | FROM_MOUSE);
      expect([rig.irq1, rig.irq12]).toEqual([false, true]);
      expect(rig.i8042.read(DATA, 1)).toBe(byte);
      expect([rig.irq1, rig.irq12]).toEqual([false, false]);
    }
  });

  it('puts a byte into the output as if the keyboard had sent it', () => {
    const rig = new Rig();
    rig.command(0xd2, 0x1e);
    expect(rig.status & FROM_MOUSE).toBe(0);
    expect(rig.irq1).toBe(true);
    expect(rig.drain()).toEqual([0x1e]);
  });

  it('gives the last byte again when there is none', () => {
    const rig = new Rig();
    rig.command(0xd2, 0x1e);
    expect([rig.i8042.read(DATA, 1), rig.i8042.read(DATA, 1)]).toEqual([0x1e, 0x1e]);
  });

  it('bears commands whose replies nobody reads', () => {
    const rig = new Rig();
    for (let i = 0; i < 1000; i++) {
      rig.command(0x20);
      rig.i8042.write(DATA, 1, 0xf2);
    }
    const read = rig.drain().length;
    expect(read).toBeGreaterThan(16);
    expect(read).toBeLessThan(64);
  });
});

describe('reset', () => {
  it('comes from the pulse commands with bit 0 clear, the output port and port 92h', () => {
    const rig = new Rig();
    rig.command(0xff);
    rig.command(0xfd);
    rig.command(0xd1, 0x03);
    rig.i8042.write(PORT_A, 1, 0x02);
    expect(rig.resets).toBe(0);
    rig.command(0xfe);
    expect(rig.resets).toBe(1);
    rig.command(0xd1, 0x02);
    expect(rig.resets).toBe(2);
    rig.i8042.write(PORT_A, 1, 0x03);
    expect(rig.resets).toBe(3);
  });
});

describe('A20', () => {
  it('is open at power-on, and one gate for the output port, port 92h and the commands', () => {
    const rig = new Rig();
    expect(rig.i8042.a20).toBe(true);
    expect(rig.i8042.read(PORT_A, 1)).toBe(0x02);
    rig.command(0xd1, 0xdd);
    expect(rig.a20).toEqual([false]);
    expect(rig.i8042.read(PORT_A, 1)).toBe(0x00);
    rig.i8042.write(PORT_A, 1, 0x02);
    expect(rig.ask(0xd0)[0]! & 0x03).toBe(0x03);
    rig.command(0xdd);
    expect(rig.ask(0xd0)[0]! & 0x03).toBe(0x01);
    rig.command(0xdf);
    rig.command(0xdf);
    expect(rig.a20).toEqual([false, true, false, true]);
  });
});

describe('keyboard', () => {
  it('answers reset, identification, LEDs, typematic and enable at once', () => {
    const rig = new Rig();
    rig.command(0x60, 0x05);
    expect(rig.keyboard(0xff)).toEqual([ACK, 0xaa]);
    expect(rig.keyboard(0xf2)).toEqual([ACK, 0xab, 0x83]);
    expect(rig.keyboard(0xed, 0x05)).toEqual([ACK, ACK]);
    expect(rig.i8042.keyboard.leds).toBe(0x05);
    expect(rig.keyboard(0xf3, 0x00)).toEqual([ACK, ACK]);
    expect(rig.keyboard(0xf4, 0xf5, 0xf6)).toEqual([ACK, ACK, ACK]);
    expect(rig.keyboard(0xee)).toEqual([0xee]);
    expect(rig.keyboard(0xfe)).toEqual([0xee]);
    expect(rig.keyboard(0x12)).toEqual([0xfe]);
  });

  it('has sets 1 and 2 and refuses set 3', () => {
    const rig = new Rig();
    rig.command(0x60, 0x05);
    expect(rig.keyboard(0xf0, 0x00)).toEqual([ACK, ACK, 2]);
    expect(rig.keyboard(0xf0, 0x03)).toEqual([ACK, 0xfe]);
    expect(rig.keyboard(0xf0, 0x01)).toEqual([ACK, ACK]);
    rig.i8042.keyboard.sendScancodes([0x1c, 0xf0, 0x1c]);
    expect(rig.drain()).toEqual([0x1e, 0x9e]);
    expect(rig.keyboard(0xf6)).toEqual([ACK]);
    rig.i8042.keyboard.sendScancodes([0x1c, 0xf0, 0x1c]);
    expect(rig.drain()).toEqual([0x1c, 0xf0, 0x1c]);
  });

  it('takes a command where an argument should be', () => {
    const rig = new Rig();
    expect(rig.keyboard(0xed, 0xf4)).toEqual([ACK, ACK]);
    expect(rig.i8042.keyboard.leds).toBe(0);
    expect(rig.keyboard(0x02)).toEqual([0xfe]);
  });

  it('is translated by the controller: A, right Ctrl, F7, Pause', () => {
    const rig = new Rig();
    const type = (...bytes: number[]): number[] => {
      expect(rig.i8042.keyboard.sendScancodes(bytes)).toBe(true);
      return rig.drain();
    };
    expect(type(0x1c, 0xf0, 0x1c)).toEqual([0x1e, 0x9e]);
    expect(type(0xe0, 0x14, 0xe0, 0xf0, 0x14)).toEqual([0xe0, 0x1d, 0xe0, 0x9d]);
    expect(type(0x83, 0xf0, 0x83)).toEqual([0x41, 0xc1]);
    expect(type(0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77)).toEqual([0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
  });

  it('has every key of the main block translated to the code of its place', () => {
    const rig = new Rig();
    // Set 2 codes in the order of set 1: Esc, digits row, Tab, QWERTY row.
    const set2 = [
      ...[0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d],
      ...[0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14],
      ...[0x1c, 0x1b, 0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d],
      ...[0x1a, 0x22, 0x21, 0x2a, 0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58],
      ...[0x05, 0x06, 0x04, 0x0c, 0x03, 0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e],
      ...[0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69, 0x72, 0x7a, 0x70, 0x71, 0x84],
    ];
    rig.i8042.keyboard.sendScancodes(set2);
    expect(rig.drain()).toEqual(set2.map((_, i) => i + 1));
  });

  it('makes an edge of IRQ 1 for each byte, if enabled', () => {
    const rig = new Rig();
    rig.i8042.keyboard.sendScancodes([0xe0, 0x75]);
    expect([rig.irq1, rig.edges1]).toEqual([true, 1]);
    rig.i8042.read(DATA, 1);
    expect([rig.irq1, rig.edges1]).toEqual([true, 2]);
    rig.i8042.read(DATA, 1);
    expect(rig.irq1).toBe(false);
    rig.command(0x60, 0x44);
    rig.i8042.keyboard.sendScancodes([0x1c]);
    expect(rig.irq1).toBe(false);
    rig.command(0x60, 0x45);
    expect(rig.irq1).toBe(true);
  });

  it('keeps its bytes while it is switched off, and a command to it switches it on', () => {
    const rig = new Rig();
    rig.command(0xad);
    rig.i8042.keyboard.sendScancodes([0x1c]);
    expect(rig.drain()).toEqual([]);
    expect(rig.keyboard(0xed)).toEqual([0x1e, ACK]);
  });

  it('takes no keys while scanning is disabled, and not more than it can hold', () => {
    const rig = new Rig();
    rig.keyboard(0xf5);
    expect(rig.i8042.keyboard.sendScancodes([0x1c])).toBe(false);
    rig.keyboard(0xf4);
    const many = new Uint8Array(KEYBOARD_EVENT_LIMIT).fill(0x1c);
    expect(rig.i8042.keyboard.sendScancodes(many)).toBe(true);
    expect(rig.i8042.keyboard.sendScancodes([0xe0, 0x75])).toBe(false);
    expect(rig.drain().length).toBe(KEYBOARD_EVENT_LIMIT);
  });
});

describe('mouse', () => {
  it('answers reset, identification and status', () => {
    const rig = new Rig();
    expect(rig.mouse(0xff)).toEqual([ACK, 0xaa, 0x00]);
    expect(rig.mouse(0xf2)).toEqual([ACK, 0x00]);
    expect(rig.mouse(0xe9)).toEqual([ACK, 0x00, 2, 100]);
    expect(rig.mouse(0xe8, 3, 0xf3, 40, 0xe7, 0xf4)).toEqual([ACK, ACK, ACK, ACK, ACK, ACK]);
    expect(rig.mouse(0xe9)).toEqual([ACK, 0x30, 3, 40]);
    expect(rig.mouse(0xe1)).toEqual([0xfe]);
  });

  it('stays a plain mouse under the knock of the wheel mice', () => {
    const rig = new Rig();
    rig.mouse(0xf3, 200, 0xf3, 100, 0xf3, 80);
    expect(rig.mouse(0xf2)).toEqual([ACK, 0x00]);
  });

  it('reports movement and buttons once enabled, on IRQ 12', () => {
    const rig = new Rig();
    rig.command(0x60, 0x47);
    rig.i8042.mouse.move(1, 1, 1);
    expect(rig.drain()).toEqual([]);
    rig.mouse(0xf4);
    rig.i8042.mouse.move(5, -3, 1);
    expect(rig.irq12).toBe(true);
    expect(rig.status & FROM_MOUSE).toBe(FROM_MOUSE);
    expect(rig.drain()).toEqual([0x29, 5, 0xfd]);
    rig.i8042.mouse.move(0, 0, 6);
    expect(rig.drain()).toEqual([0x0e, 0, 0]);
    rig.i8042.mouse.move(0, 0, 6);
    expect(rig.drain()).toEqual([]);
  });

  it('splits movement that does not fit a packet', () => {
    const rig = new Rig();
    rig.mouse(0xf4);
    rig.i8042.mouse.move(-300, 0, 0);
    expect(rig.drain()).toEqual([0x18, 0x01, 0, 0x18, 0xd3, 0]);
  });

  it('adds up movement that nobody reads', () => {
    const rig = new Rig();
    rig.mouse(0xf4);
    for (let i = 0; i < 200; i++) rig.i8042.mouse.move(1, 0, 0);
    const bytes = rig.drain();
    expect(bytes.length).toBeLessThan(60);
    expect(bytes.filter((_, i) => i % 3 === 1).reduce((sum, dx) => sum + dx, 0)).toBe(200);
  });

  it('has scaling 2:1 in stream mode only', () => {
    const rig = new Rig();
    rig.mouse(0xe7, 0xf4);
    for (const dx of [1, 2, 3, 4, 5, 6, -5]) rig.i8042.mouse.move(dx, 0, 0);
    expect(rig.drain().filter((_, i) => i % 3 === 1)).toEqual([1, 1, 3, 6, 9, 12, 0xf7]);
    rig.mouse(0xf0);
    rig.i8042.mouse.move(3, 0, 0);
    expect(rig.drain()).toEqual([]);
    expect(rig.mouse(0xeb)).toEqual([ACK, 0x08, 3, 0]);
  });

  it('echoes in wrap mode until reset wrap', () => {
    const rig = new Rig();
    expect(rig.mouse(0xee, 0xf4, 0x12, 0xec, 0xf2)).toEqual([ACK, 0xf4, 0x12, ACK, ACK, 0x00]);
  });
});

function bench(): Bench {
  const log: string[] = [];
  const line = (name: string) => ({ set: (level: boolean) => log.push(`${name} ${level}`) });
  const device = new I8042({
    dataPort: DATA,
    commandPort: COMMAND,
    portA: PORT_A,
    keyboardIrq: line('irq1'),
    mouseIrq: line('irq12'),
    onA20: (level) => log.push(`a20 ${level}`),
    onReset: () => log.push('reset'),
  });
  const pokes = [
    (n: number) => device.keyboard.sendScancodes([0xe0, 0xf0, n]),
    (n: number) => device.mouse.move(n * 3 - 400, 200 - n, n),
    (n: number) => device.write(COMMAND, 1, [0x60, 0xd4, 0xa8, 0xd3][n & 3]!),
    (n: number) => device.write(DATA, 1, 0xe6 + (n % 26)),
  ];
  return { clock: new ManualClock(), device, log, ...portAccess(device), pokes };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench, 400));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
it('refuses a broken snapshot of its devices', () => {
  const { device } = bench();
  const state = device.state();
  for (const part of ['keyboard', 'mouse'] as const) {
    const child = state[part] as Record<string, unknown>;
    for (const key of Object.keys(child)) {
      expect(() => device.restore({ ...state, [part]: { ...child, [key]: 'nonsense' } }), key).toThrow(
        /snapshot field/,
      );
    }
  }
});
