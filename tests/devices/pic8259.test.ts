// The pair of 8259A as the datasheet describes it and as Linux's i8259.c uses it.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/devices/clock.ts';
import { PicPair } from '../../src/devices/pic8259.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, portAccess } from './any-access.ts';

const OPTIONS = { masterBase: 0x20, slaveBase: 0xa0, elcrBase: 0x4d0 };
const [M, MD, S, SD] = [0x20, 0x21, 0xa0, 0xa1] as const;

class Rig {
  int = false;
  readonly pic = new PicPair({
    ...OPTIONS,
    onOutput: (level) => {
      this.int = level;
    },
  });
  in(port: number): number {
    return this.pic.read(port, 1);
  }
  out(port: number, ...values: number[]): void {
    for (const value of values) this.pic.write(port, 1, value);
  }
  /** As Linux's init_8259A: vectors 0x30-0x3f, nothing masked. */
  init(icw4 = 0x01): this {
    this.out(M, 0x11);
    this.out(MD, 0x30, 0x04, icw4);
    this.out(S, 0x11);
    this.out(SD, 0x38, 0x02, 0x01);
    return this;
  }
  pulse(n: number): void {
    this.pic.setIrq(n, true);
    this.pic.setIrq(n, false);
  }
  isr(port: number): number {
    this.out(port, 0x0b);
    return this.in(port);
  }
  irr(port: number): number {
    this.out(port, 0x0a);
    return this.in(port);
  }
}

describe('initialisation', () => {
  it("answers Linux's probe: the mask reads back", () => {
    const rig = new Rig();
    rig.out(SD, 0xff);
    rig.out(MD, 0xfb);
    expect(rig.in(MD)).toBe(0xfb);
    expect(rig.in(SD)).toBe(0xff);
  });

  it('clears the mask, what is in service and edges seen before', () => {
    const rig = new Rig().init();
    rig.pulse(1);
    rig.pic.acknowledge();
    rig.pulse(3);
    rig.out(MD, 0x55);
    rig.init();
    expect([rig.in(MD), rig.isr(M), rig.irr(M)]).toEqual([0, 0, 0]);
    expect(rig.int).toBe(false);
  });

  it('takes ICW2 to ICW4 only as ICW1 announces them', () => {
    const rig = new Rig();
    rig.out(M, 0x12);
    rig.out(MD, 0x47, 0xab);
    expect(rig.in(MD)).toBe(0xab);
    rig.out(MD, 0);
    rig.pulse(1);
    expect(rig.pic.acknowledge()).toBe(0x41);
  });
});

describe('requests', () => {
  it('go through IRR and ISR, highest priority first', () => {
    const rig = new Rig().init();
    rig.pulse(4);
    rig.pulse(1);
    expect(rig.irr(M)).toBe(0x12);
    expect(rig.pic.acknowledge()).toBe(0x31);
    expect([rig.irr(M), rig.isr(M)]).toEqual([0x10, 0x02]);
    expect(rig.int).toBe(false);
    rig.pulse(0);
    expect(rig.int).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x30);
    rig.out(M, 0x20);
    expect(rig.isr(M)).toBe(0x02);
    rig.out(M, 0x20);
    expect(rig.int).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x34);
  });

  it('are held back by the mask and kept', () => {
    const rig = new Rig().init();
    rig.out(MD, 0x10);
    rig.pulse(4);
    expect(rig.int).toBe(false);
    rig.out(MD, 0);
    expect(rig.int).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x34);
  });

  it('of the slave come through input 2 of the master', () => {
    const rig = new Rig().init();
    rig.pulse(12);
    expect([rig.irr(M), rig.irr(S)]).toEqual([0x04, 0x10]);
    expect(rig.pic.acknowledge()).toBe(0x3c);
    expect([rig.isr(M), rig.isr(S)]).toEqual([0x04, 0x10]);
    rig.pulse(14);
    expect(rig.int).toBe(false);
    rig.out(S, 0x64);
    rig.out(M, 0x62);
    expect(rig.pic.acknowledge()).toBe(0x3e);
  });

  it('need a new edge after the acknowledge, unless ELCR makes the input level triggered', () => {
    const rig = new Rig().init();
    rig.pic.setIrq(5, true);
    expect(rig.pic.acknowledge()).toBe(0x35);
    rig.out(M, 0x20);
    expect(rig.int).toBe(false);
    rig.out(0x4d0, 0xff);
    rig.out(0x4d1, 0xff);
    expect([rig.in(0x4d0), rig.in(0x4d1)]).toEqual([0xf8, 0xde]);
    expect(rig.int).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x35);
    rig.out(M, 0x20);
    expect(rig.int).toBe(true);
    rig.pic.setIrq(5, false);
    expect(rig.int).toBe(false);
  });

  it('on the cascade input and outside 0-15 are ignored', () => {
    const rig = new Rig().init();
    for (const n of [-1, 2, 16, 99]) rig.pulse(n);
    expect(rig.int).toBe(false);
  });
});

describe('spurious interrupts', () => {
  it('give input 7 with nothing in service', () => {
    const rig = new Rig().init();
    expect(rig.pic.acknowledge()).toBe(0x37);
    expect(rig.isr(M)).toBe(0);
  });

  it('of the slave give its input 7 and leave the master in service', () => {
    const rig = new Rig().init();
    rig.pulse(9);
    rig.out(SD, 0xff);
    expect(rig.pic.acknowledge()).toBe(0x3f);
    expect([rig.isr(M), rig.isr(S)]).toEqual([0x04, 0]);
  });
});

describe('modes', () => {
  it('automatic EOI leaves nothing in service', () => {
    const rig = new Rig().init(0x03);
    rig.pulse(3);
    expect(rig.pic.acknowledge()).toBe(0x33);
    expect(rig.isr(M)).toBe(0);
  });

  it('rotation on EOI makes what was served the lowest', () => {
    const rig = new Rig().init();
    rig.pulse(0);
    rig.pic.acknowledge();
    rig.out(M, 0xa0);
    rig.pulse(0);
    rig.pulse(5);
    expect(rig.pic.acknowledge()).toBe(0x35);
    rig.out(M, 0x65, 0xc3);
    rig.pulse(4);
    expect(rig.pic.acknowledge()).toBe(0x34);
  });

  it('rotation in automatic EOI mode', () => {
    const rig = new Rig().init(0x03);
    rig.out(M, 0x80);
    rig.pulse(0);
    rig.pic.acknowledge();
    rig.pulse(0);
    rig.pulse(6);
    expect(rig.pic.acknowledge()).toBe(0x36);
    rig.out(M, 0x00);
    rig.pulse(6);
    expect(rig.pic.acknowledge()).toBe(0x30);
  });

  it('special mask lets lower inputs in while a higher one is in service', () => {
    const rig = new Rig().init();
    rig.pulse(1);
    rig.pic.acknowledge();
    rig.pulse(6);
    expect(rig.int).toBe(false);
    rig.out(MD, 0x02);
    rig.out(M, 0x68);
    expect(rig.int).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x36);
    rig.out(M, 0x20);
    expect(rig.isr(M)).toBe(0x02);
    rig.out(M, 0x48);
    rig.pulse(5);
    expect(rig.int).toBe(false);
  });

  it('special fully nested lets the slave interrupt its own service', () => {
    const rig = new Rig().init(0x11);
    rig.pulse(12);
    rig.pic.acknowledge();
    rig.pulse(8);
    expect(rig.int).toBe(true);
    expect(rig.pic.acknowledge()).toBe(0x38);
  });

  it('poll reads the request and acknowledges it', () => {
    const rig = new Rig().init();
    rig.out(M, 0x0c);
    expect(rig.in(M)).toBe(0);
    rig.pulse(6);
    rig.out(M, 0x0c);
    expect(rig.in(M)).toBe(0x86);
    expect(rig.isr(M)).toBe(0x40);
    expect(rig.int).toBe(false);
  });
});

function bench(): Bench {
  const log: string[] = [];
  const device = new PicPair({ ...OPTIONS, onOutput: (level) => log.push(`int ${level}`) });
  const raise = (n: number) => device.setIrq(n & 15, true);
  const lower = (n: number) => device.setIrq(n & 15, false);
  const acknowledge = () => log.push(`vector ${device.acknowledge()}`);
  return { clock: new ManualClock(), device, log, ...portAccess(device), pokes: [raise, lower, acknowledge] };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
