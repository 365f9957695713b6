// The 8254 as its datasheet describes it, to the tick, and the calibrations that Linux does with it.
import { describe, expect, it } from 'vitest';
import { HostClock, ManualClock } from '../../src/devices/clock.ts';
import { PIT_HZ, Pit8254 } from '../../src/devices/pit8254.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, portAccess } from './any-access.ts';

class Rig {
  readonly clock = new ManualClock();
  /** Ticks at which the interrupt line rose. */
  readonly rises: number[] = [];
  line = false;
  readonly pit = new Pit8254({
    base: 0x40,
    portB: 0x61,
    clock: this.clock,
    irq: {
      set: (level) => {
        if (level && !this.line) this.rises.push(this.tick());
        this.line = level;
      },
    },
  });
  tick(): number {
    return Number((this.clock.now() * BigInt(PIT_HZ)) / 1_000_000_000n);
  }
  /** Goes to the first nanosecond of a tick. */
  to(tick: number): void {
    const ns = (BigInt(tick) * 1_000_000_000n + BigInt(PIT_HZ) - 1n) / BigInt(PIT_HZ);
    this.clock.advance(ns - this.clock.now());
    expect(this.tick()).toBe(tick);
  }
  in(port: number): number {
    return this.pit.read(port, 1);
  }
  out(port: number, ...values: number[]): void {
    for (const value of values) this.pit.write(port, 1, value);
  }
  /** Programs a counter with a two-byte count. */
  program(counter: number, mode: number, count: number): void {
    this.out(0x43, (counter << 6) | 0x30 | (mode << 1));
    this.out(0x40 + counter, count & 0xff, count >> 8);
  }
  count(counter: number): number {
    this.out(0x43, counter << 6);
    const low = this.in(0x40 + counter);
    return low | (this.in(0x40 + counter) << 8);
  }
  status(counter: number): number {
    this.out(0x43, 0xe0 | (2 << counter));
    return this.in(0x40 + counter);
  }
  out2(): boolean {
    return (this.in(0x61) & 0x20) !== 0;
  }
  /** OUT of counter 2 at the ticks from `from` on, as a string of 0 and 1. */
  wave(from: number, length: number): string {
    let wave = '';
    for (let i = 0; i < length; i++) {
      this.to(from + i);
      wave += this.out2() ? '1' : '0';
    }
    return wave;
  }
}

describe('modes, by the waveforms of the datasheet', () => {
  it('0: low until N+1 clocks after the count is written, then high', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 0, 4);
    expect(rig.wave(0, 8)).toBe('00000111');
    expect(rig.count(2)).toBe(0xfffe);
  });

  it('0: the gate suspends counting', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 0, 4);
    rig.to(3);
    rig.out(0x61, 0);
    rig.to(10);
    expect(rig.count(2)).toBe(2);
    rig.out(0x61, 1);
    expect(rig.wave(10, 4)).toBe('0011');
  });

  it('0: the first byte of a new count stops it', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 0, 4);
    rig.to(6);
    expect(rig.out2()).toBe(true);
    rig.out(0x42, 3);
    expect(rig.wave(6, 4)).toBe('0000');
    rig.out(0x42, 0);
    expect(rig.wave(10, 5)).toBe('00011');
  });

  it('1: a rise of the gate gives a low pulse of N clocks, and another makes it longer', () => {
    const rig = new Rig();
    rig.program(2, 1, 3);
    expect(rig.wave(0, 3)).toBe('111');
    rig.out(0x61, 1);
    expect(rig.wave(3, 5)).toBe('00011');
    rig.out(0x61, 0);
    rig.out(0x61, 1);
    rig.to(9);
    rig.out(0x61, 0);
    rig.out(0x61, 1);
    expect(rig.wave(9, 6)).toBe('000011');
  });

  it('2: low for one clock in N', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 2, 3);
    expect(rig.wave(1, 9)).toBe('110110110');
    rig.to(10);
    expect(rig.count(2)).toBe(3);
    rig.to(12);
    expect(rig.count(2)).toBe(1);
  });

  it('2: a new count waits for the end of the period, the gate starts a new one', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 2, 4);
    rig.to(2);
    rig.out(0x42, 2, 0);
    expect(rig.wave(2, 8)).toBe('11010101');
    rig.out(0x61, 0);
    expect(rig.wave(10, 2)).toBe('11');
    rig.out(0x61, 1);
    expect(rig.wave(12, 5)).toBe('10101');
  });

  it('3: high for half of N, the longer half if N is odd, counting by two', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 3, 5);
    expect(rig.wave(1, 10)).toBe('1110011100');
    const counts = [];
    for (let tick = 11; tick < 16; tick++) {
      rig.to(tick);
      counts.push(rig.count(2));
    }
    expect(counts).toEqual([4, 2, 0, 4, 2]);
  });

  it('3: a new count waits for the end of the half-period', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 3, 6);
    rig.to(2);
    rig.out(0x42, 2, 0);
    expect(rig.wave(2, 8)).toBe('11010101');
  });

  it('4: one low clock when the count is done', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 4, 3);
    expect(rig.wave(0, 8)).toBe('11110111');
  });

  it('5: the same after a rise of the gate', () => {
    const rig = new Rig();
    rig.program(2, 5, 3);
    rig.to(5);
    rig.out(0x61, 1);
    expect(rig.wave(5, 7)).toBe('1111011');
  });

  it('a count of 0 is 65536, in BCD 10000', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.program(2, 0, 0);
    rig.to(65536);
    expect(rig.out2()).toBe(false);
    rig.to(65537);
    expect(rig.out2()).toBe(true);
    rig.out(0x43, 0xb1);
    rig.out(0x42, 0, 0);
    rig.to(65537 + 10000);
    expect(rig.out2()).toBe(false);
    rig.to(65537 + 10001);
    expect(rig.out2()).toBe(true);
  });

  it('BCD counts in decimal digits', () => {
    const rig = new Rig();
    rig.out(0x61, 1);
    rig.out(0x43, 0xb1);
    rig.out(0x42, 0x00, 0x12);
    rig.to(2);
    expect(rig.count(2)).toBe(0x1199);
  });
});

describe('reading', () => {
  it('gives a latched count once, in two bytes, however late', () => {
    const rig = new Rig();
    rig.program(0, 2, 1000);
    rig.to(11);
    rig.out(0x43, 0x00);
    rig.to(500);
    rig.out(0x43, 0x00);
    expect(rig.in(0x40) | (rig.in(0x40) << 8)).toBe(990);
    expect(rig.in(0x40) | (rig.in(0x40) << 8)).toBe(501);
  });

  it('gives low or high byte only if programmed so', () => {
    const rig = new Rig();
    rig.out(0x43, 0x14);
    rig.out(0x40, 0x20);
    rig.to(1);
    expect([rig.in(0x40), rig.in(0x40)]).toEqual([0x20, 0x20]);
    rig.out(0x43, 0x24);
    rig.out(0x40, 0x20);
    rig.to(2);
    expect([rig.in(0x40), rig.in(0x40)]).toEqual([0x20, 0x20]);
    expect(rig.count(0)).toBe(0x2020);
  });

  it('read-back latches status and count of several counters, status first', () => {
    const rig = new Rig();
    rig.program(0, 2, 1000);
    expect(rig.status(0)).toBe(0xf4);
    rig.to(1);
    rig.out(0x43, 0xc2);
    expect([rig.in(0x40), rig.in(0x40), rig.in(0x40)]).toEqual([0xb4, 1000 & 0xff, 1000 >> 8]);
    rig.program(2, 0, 10);
    expect(rig.status(2)).toBe(0x30);
  });
});

describe('the timer interrupt', () => {
  it('comes each N clocks in modes 2 and 3, and once in mode 0', () => {
    for (const mode of [2, 3]) {
      const rig = new Rig();
      rig.program(0, mode, 1000);
      rig.rises.length = 0;
      rig.to(3500);
      expect(rig.rises).toEqual([1001, 2001, 3001]);
    }
    const rig = new Rig();
    rig.program(0, 0, 1000);
    expect(rig.line).toBe(false);
    rig.to(9000);
    expect(rig.rises).toEqual([1001]);
    rig.out(0x40, 0x10, 0);
    expect(rig.line).toBe(false);
    rig.to(9100);
    expect(rig.rises).toEqual([1001, 9017]);
  });

  it('comes from mode 4, which Linux uses as a one-shot, at the end of the strobe', () => {
    const rig = new Rig();
    rig.program(0, 4, 100);
    rig.rises.length = 0;
    rig.to(900);
    expect(rig.rises).toEqual([102]);
  });

  it('goes on with the new count after the running period', () => {
    const rig = new Rig();
    rig.program(0, 2, 1000);
    rig.rises.length = 0;
    rig.to(500);
    rig.out(0x40, 0xf4, 0x01);
    rig.to(2100);
    expect(rig.rises).toEqual([1001, 1501, 2001]);
  });

  it('does not flood the host with a tiny count, and an illegal one gives nothing', () => {
    const rig = new Rig();
    rig.program(0, 2, 2);
    rig.clock.advance(10_000_000n);
    expect(rig.rises.length).toBeGreaterThan(50);
    expect(rig.rises.length).toBeLessThanOrEqual(102);
    rig.program(0, 3, 1);
    rig.rises.length = 0;
    rig.clock.advance(10_000_000n);
    expect(rig.rises).toEqual([]);
  });

  it('is made up for when the host is late, up to half a second', () => {
    let host = 0;
    const clock = new HostClock(() => host);
    let rises = 0;
    const irq = {
      set: (level: boolean) => {
        if (level) rises++;
      },
    };
    const pit = new Pit8254({ base: 0x40, portB: 0x61, clock, irq });
    pit.write(0x43, 1, 0x34);
    pit.write(0x40, 1, 11932 & 0xff);
    pit.write(0x40, 1, 11932 >> 8);
    const runUntil = (end: bigint) => {
      while (host < end) {
        clock.runDue();
        host += 50_000;
      }
    };
    rises = 0;
    host = 100_500_000;
    runUntil(110_000_000n);
    expect(rises).toBe(10);
    rises = 0;
    host = 5_000_000_000;
    runUntil(5_025_000_000n);
    expect(rises).toBeGreaterThanOrEqual(50);
    expect(rises).toBeLessThanOrEqual(54);
  });
});

describe('calibration by Linux', () => {
  it('pit_hpet_ptimer_calibrate_cpu: OUT 2 rises after 50 ms', () => {
    const rig = new Rig();
    rig.out(0x61, (rig.in(0x61) & ~2) | 1);
    rig.program(2, 0, 59659);
    let reads = 0;
    while (!rig.out2()) {
      rig.clock.advance(1000n);
      reads++;
    }
    expect(Math.abs(reads - 50_000)).toBeLessThan(5);
  });

  it('quick_pit_calibrate: the high byte falls by one each 256 ticks', () => {
    const rig = new Rig();
    rig.out(0x61, (rig.in(0x61) & ~2) | 1);
    rig.out(0x43, 0xb0);
    rig.out(0x42, 0xff, 0xff);
    const high = () => {
      rig.in(0x42);
      rig.clock.advance(1000n);
      return rig.in(0x42);
    };
    expect(high()).toBe(0xff);
    for (let expected = 0xff; expected > 0xf0; expected--) {
      let same = 0;
      while (high() === expected) same++;
      expect(same).toBeGreaterThan(190);
    }
  });

  it('port 61h toggles its refresh bit each 15 µs and keeps the written bits', () => {
    const rig = new Rig();
    rig.out(0x61, 0xff);
    let toggles = 0;
    let last = rig.in(0x61) & 0x10;
    for (let i = 0; i < 1000; i++) {
      rig.clock.advance(1000n);
      const bit = rig.in(0x61) & 0x10;
      if (bit !== last) toggles++;
      last = bit;
    }
    expect(toggles).toBe(66);
    expect(rig.in(0x61) & 0xcf).toBe(0x0f);
    expect(rig.pit.speaker.enabled).toBe(true);
  });
});

function bench(): Bench {
  const clock = new ManualClock();
  const log: string[] = [];
  const irq = { set: (level: boolean) => void log.push(`${clock.now()} irq ${level}`) };
  const device = new Pit8254({ base: 0x40, portB: 0x61, clock, irq });
  return { clock, device, log, ...portAccess(device), pokes: [] };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
