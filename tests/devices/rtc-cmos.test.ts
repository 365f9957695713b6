// The MC146818 as its datasheet describes it and as Linux's rtc_cmos and mc146818-lib use it.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/devices/clock.ts';
import { RtcCmos } from '../../src/devices/rtc-cmos.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, portAccess } from './any-access.ts';

const START = Date.UTC(2024, 1, 28, 23, 59, 57);
const SECOND = 1_000_000_000n;

class Rig {
  readonly clock = new ManualClock();
  line = false;
  rises = 0;
  readonly rtc: RtcCmos;
  constructor(start = START) {
    this.rtc = new RtcCmos({
      base: 0x70,
      clock: this.clock,
      wallMs: () => start + Number(this.clock.now()) / 1e6,
      irq: {
        set: (level) => {
          if (level && !this.line) this.rises++;
          this.line = level;
        },
      },
    });
  }
  rd(index: number): number {
    this.rtc.write(0x70, 1, index);
    return this.rtc.read(0x71, 1);
  }
  wr(index: number, value: number): void {
    this.rtc.write(0x70, 1, index);
    this.rtc.write(0x71, 1, value);
  }
  /** Century, year, month, day, hours, minutes, seconds. */
  time(): number[] {
    return [0x32, 9, 8, 7, 4, 2, 0].map((index) => this.rd(index));
  }
}

describe('time', () => {
  it('is BCD and 24 hours at first', () => {
    const rig = new Rig();
    expect(rig.time()).toEqual([0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x57]);
    expect(rig.rd(6)).toBe(4);
    rig.clock.advance(3n * SECOND);
    expect(rig.time()).toEqual([0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00]);
    expect(rig.rd(6)).toBe(5);
    expect(rig.rd(0x0d)).toBe(0x80);
  });

  it('is binary or of 12 hours if B says so', () => {
    const rig = new Rig();
    rig.wr(0x0b, 0x06);
    expect(rig.time()).toEqual([0x20, 24, 2, 28, 23, 59, 57]);
    rig.wr(0x0b, 0x00);
    expect(rig.rd(4)).toBe(0x91);
    rig.clock.advance(3n * SECOND);
    expect(rig.rd(4)).toBe(0x12);
    rig.clock.advance(3600n * SECOND);
    expect(rig.rd(4)).toBe(0x01);
    rig.clock.advance(11n * 3600n * SECOND);
    expect(rig.rd(4)).toBe(0x92);
  });

  it('is set with SET and the divider held, as Linux does it', () => {
    const rig = new Rig();
    const [b, a] = [rig.rd(0x0b), rig.rd(0x0a)];
    rig.wr(0x0b, b | 0x80);
    rig.wr(0x0a, a | 0x70);
    for (const [index, value] of [
      [9, 0x30],
      [8, 0x12],
      [7, 0x31],
      [4, 0x23],
      [2, 0x59],
      [0, 0x58],
      [0x32, 0x20],
    ] as const) {
      rig.wr(index, value);
    }
    rig.clock.advance(10n * SECOND);
    expect(rig.time()).toEqual([0x20, 0x30, 0x12, 0x31, 0x23, 0x59, 0x58]);
    rig.wr(0x0b, b);
    rig.wr(0x0a, a);
    rig.clock.advance(SECOND / 2n - 1000n);
    expect(rig.rd(0)).toBe(0x58);
    rig.clock.advance(1000n);
    expect(rig.rd(0)).toBe(0x59);
    rig.clock.advance(SECOND);
    expect(rig.time()).toEqual([0x20, 0x31, 0x01, 0x01, 0x00, 0x00, 0x00]);
  });

  it('takes a byte while it runs', () => {
    const rig = new Rig();
    rig.wr(4, 0x10);
    rig.clock.advance(2n * SECOND);
    expect(rig.time()).toEqual([0x20, 0x24, 0x02, 0x28, 0x10, 0x59, 0x59]);
  });

  it('goes back before 1970', () => {
    const rig = new Rig();
    rig.wr(0x32, 0x19);
    rig.wr(9, 0x69);
    expect(rig.time()).toEqual([0x19, 0x69, 0x02, 0x28, 0x23, 0x59, 0x57]);
  });

  it('shows an update in progress in the 244 µs before each second', () => {
    const rig = new Rig();
    rig.clock.advance(999_700_000n);
    expect(rig.rd(0x0a)).toBe(0x26);
    rig.clock.advance(100_000n);
    expect(rig.rd(0x0a)).toBe(0xa6);
    rig.clock.advance(200_000n);
    expect(rig.rd(0x0a)).toBe(0x26);
  });
});

describe('interrupts', () => {
  it('of the update cycle come each second, until C is read', () => {
    const rig = new Rig();
    rig.wr(0x0b, 0x12);
    rig.clock.advance(SECOND - 1n);
    expect(rig.line).toBe(false);
    rig.clock.advance(1n);
    expect(rig.line).toBe(true);
    expect(rig.rd(0x0c)).toBe(0x90);
    expect(rig.line).toBe(false);
    expect(rig.rd(0x0c)).toBe(0);
    rig.clock.advance(SECOND);
    expect(rig.line).toBe(true);
  });

  it('are flagged in C though they are off', () => {
    const rig = new Rig();
    rig.clock.advance(SECOND);
    expect(rig.line).toBe(false);
    expect(rig.rd(0x0c)).toBe(0x10);
  });

  it('of the alarm come at its time, with bytes that match anything', () => {
    const rig = new Rig();
    rig.wr(1, 0x02);
    rig.wr(3, 0xff);
    rig.wr(5, 0xc0);
    rig.wr(0x0b, 0x22);
    rig.clock.advance(5n * SECOND - 1n);
    expect(rig.line).toBe(false);
    rig.clock.advance(1n);
    expect(rig.line).toBe(true);
    expect(rig.rd(0x0c)).toBe(0xb0);
    rig.clock.advance(60n * SECOND);
    expect(rig.rd(0x0c)).toBe(0xb0);
    rig.wr(3, 0x30);
    rig.wr(5, 0x07);
    rig.clock.advance(7n * 3600n * SECOND);
    expect(rig.rd(0x0c) & 0x20).toBe(0);
    rig.clock.advance(1800n * SECOND);
    expect(rig.rd(0x0c) & 0x20).toBe(0x20);
  });

  it('of the period come at the rate of A', () => {
    for (const [rate, hz] of [
      [6, 1024],
      [15, 2],
      [3, 8192],
      [1, 256],
      [2, 128],
    ] as const) {
      const rig = new Rig();
      rig.wr(0x0a, 0x20 | rate);
      rig.wr(0x0b, 0x42);
      let count = 0;
      for (let i = 0; i < 20_000; i++) {
        rig.clock.advance(SECOND / 20_000n);
        if (rig.line) {
          expect(rig.rd(0x0c) & 0xc0).toBe(0xc0);
          count++;
        }
      }
      expect(Math.abs(count - hz)).toBeLessThanOrEqual(1);
      rig.wr(0x0b, 0x02);
      rig.clock.advance(SECOND);
      expect(rig.line).toBe(false);
    }
  });
});

describe('CMOS RAM', () => {
  it('keeps bytes, and C and D cannot be written', () => {
    const rig = new Rig();
    rig.wr(0x0f, 0x5a);
    rig.wr(0x7f, 0xa5);
    rig.wr(0x0c, 0xff);
    rig.wr(0x0d, 0x00);
    expect([rig.rd(0x0f), rig.rd(0x7f), rig.rd(0x0c), rig.rd(0x0d)]).toEqual([0x5a, 0xa5, 0, 0x80]);
    expect(rig.rd(0x8f)).toBe(0x5a);
    expect(rig.rtc.getByte(0x0f)).toBe(0x5a);
  });

  it('tells the size of memory', () => {
    const rig = new Rig();
    rig.rtc.setMemorySize(3 * 2 ** 30, 2 ** 30);
    const word = (index: number) => rig.rd(index) | (rig.rd(index + 1) << 8);
    expect([word(0x15), word(0x17), word(0x30)]).toEqual([640, 0xffff, 0xffff]);
    expect(word(0x34)).toBe((3 * 2 ** 30 - 2 ** 24) / 2 ** 16);
    expect([word(0x5b), rig.rd(0x5d)]).toEqual([0x4000, 0]);
    rig.rtc.setMemorySize(4 * 2 ** 20, 0);
    expect([word(0x17), word(0x34)]).toEqual([3072, 0]);
  });
});

function bench(): Bench {
  const clock = new ManualClock();
  const log: string[] = [];
  const device = new RtcCmos({
    base: 0x70,
    clock,
    wallMs: () => START + Number(clock.now()) / 1e6,
    irq: { set: (level) => log.push(`${clock.now()} irq ${level}`) },
  });
  const select = (n: number) => device.write(0x70, 1, n % 15 === 14 ? 0x32 : n % 15);
  const enable = (n: number) => {
    device.write(0x70, 1, 0x0b);
    device.write(0x71, 1, n);
  };
  return { clock, device, log, ...portAccess(device), pokes: [select, select, select, enable] };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
