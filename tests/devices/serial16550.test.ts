// The 16550A as its datasheet describes it and as Linux's 8250 driver probes it.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/devices/clock.ts';
import { SERIAL_INPUT_LIMIT, Serial16550 } from '../../src/devices/serial16550.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, portAccess } from './any-access.ts';

const BASE = 0x3f8;
const [DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 2, 3, 4, 5, 6, 7].map((r) => BASE + r) as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
];

class Rig {
  irq = false;
  sent = '';
  readonly uart = new Serial16550({
    base: BASE,
    irq: {
      set: (level) => {
        this.irq = level;
      },
    },
    output: (bytes) => {
      this.sent += new TextDecoder().decode(bytes);
    },
  });
  in(port: number): number {
    return this.uart.read(port, 1);
  }
  out(port: number, value: number): void {
    this.uart.write(port, 1, value);
  }
  type(text: string): number {
    return this.uart.receive(new TextEncoder().encode(text));
  }
}

describe('detection by Linux', () => {
  it('has an IER of four bits', () => {
    const rig = new Rig();
    rig.out(IER, 0);
    expect(rig.in(IER)).toBe(0);
    rig.out(IER, 0xff);
    expect(rig.in(IER)).toBe(0x0f);
  });

  it('passes the loopback test of autoconfig', () => {
    const rig = new Rig();
    rig.out(MCR, 0x10 | 0x0a);
    expect(rig.in(MSR) & 0xf0).toBe(0x90);
    rig.out(MCR, 0x10 | 0x05);
    expect(rig.in(MSR) & 0xf0).toBe(0x60);
    rig.out(MCR, 0);
    expect(rig.in(MSR) & 0xf0).toBe(0xb0);
  });

  it('is a 16550A: FIFO bits in IIR with the FIFOs on, no 64-byte FIFO, no EFR behind DLAB', () => {
    const rig = new Rig();
    expect(rig.in(IIR)).toBe(0x01);
    rig.out(FCR, 0x01 | 0x20);
    expect(rig.in(IIR)).toBe(0xc1);
    rig.out(LCR, 0xbf);
    expect(rig.in(IIR)).not.toBe(0);
  });

  it('raises the THR-empty interrupt each time it is enabled (THRE and TXEN bug tests)', () => {
    const rig = new Rig();
    for (let i = 0; i < 2; i++) {
      rig.out(IER, 0x02);
      expect(rig.irq).toBe(true);
      expect(rig.in(LSR)).toBe(0x60);
      expect(rig.in(IIR)).toBe(0x02);
      expect(rig.irq).toBe(false);
      expect(rig.in(IIR)).toBe(0x01);
      rig.out(IER, 0);
    }
  });

  it('keeps the scratch register and the divisor latch', () => {
    const rig = new Rig();
    rig.out(SCR, 0xa5);
    rig.out(LCR, 0x80);
    rig.out(DATA, 0x34);
    rig.out(IER, 0x12);
    expect([rig.in(DATA), rig.in(IER)]).toEqual([0x34, 0x12]);
    rig.out(LCR, 0x03);
    expect(rig.in(IER)).toBe(0);
    expect(rig.in(SCR)).toBe(0xa5);
    expect(rig.sent).toBe('');
  });
});

describe('sending', () => {
  it('hands bytes to the sink and asks for more by interrupt', () => {
    const rig = new Rig();
    rig.out(IER, 0x02);
    rig.in(IIR);
    for (const c of 'ok') rig.out(DATA, c.charCodeAt(0));
    expect(rig.sent).toBe('ok');
    expect(rig.irq).toBe(true);
    expect(rig.in(IIR)).toBe(0x02);
    expect(rig.irq).toBe(false);
  });

  it('loops back what is sent, and overruns', () => {
    const rig = new Rig();
    rig.out(MCR, 0x10);
    rig.out(DATA, 0x55);
    expect(rig.sent).toBe('');
    expect(rig.in(LSR)).toBe(0x61);
    rig.out(DATA, 0x66);
    expect(rig.in(LSR)).toBe(0x63);
    expect(rig.in(LSR)).toBe(0x61);
    expect(rig.in(DATA)).toBe(0x66);
    expect(rig.in(LSR)).toBe(0x60);
  });
});

describe('receiving', () => {
  it('gives bytes in order without FIFOs, one at a time', () => {
    const rig = new Rig();
    rig.out(IER, 0x01);
    expect(rig.type('abc')).toBe(3);
    expect(rig.irq).toBe(true);
    expect(rig.in(IIR)).toBe(0x04);
    expect([rig.in(DATA), rig.in(DATA)]).toEqual([0x61, 0x62]);
    expect(rig.in(LSR) & 1).toBe(1);
    expect(rig.in(DATA)).toBe(0x63);
    expect(rig.irq).toBe(false);
    expect(rig.in(LSR) & 1).toBe(0);
    expect(rig.in(DATA)).toBe(0);
  });

  it('reports data at the trigger level and a timeout below it', () => {
    const rig = new Rig();
    rig.out(FCR, 0x01 | (2 << 6));
    rig.out(IER, 0x01);
    rig.type('1234567');
    expect(rig.in(IIR)).toBe(0xcc);
    rig.type('8');
    expect(rig.in(IIR)).toBe(0xc4);
    rig.in(DATA);
    expect(rig.in(IIR)).toBe(0xcc);
  });

  it('takes host input beyond the FIFO and gives it as the FIFO drains', () => {
    const rig = new Rig();
    rig.out(FCR, 0x01);
    const text = 'abcdefghijklmnopqrstuvwxyz'.repeat(3);
    rig.type(text);
    let got = '';
    while (rig.in(LSR) & 1) got += String.fromCharCode(rig.in(DATA));
    expect(got).toBe(text);
  });

  it('drops what is in the FIFO when it is cleared or switched on or off, but not what waits', () => {
    const rig = new Rig();
    rig.type('ab');
    rig.out(FCR, 0x01);
    expect(rig.in(DATA)).toBe(0x62);
    rig.type('c');
    rig.out(FCR, 0x03);
    expect(rig.in(LSR) & 1).toBe(0);
  });

  it('has a limit for host input', () => {
    const rig = new Rig();
    expect(rig.uart.receive(new Uint8Array(SERIAL_INPUT_LIMIT + 100))).toBe(SERIAL_INPUT_LIMIT);
    expect(rig.uart.room).toBe(1);
    rig.in(DATA);
    expect(rig.uart.room).toBe(2);
  });
});

describe('interrupt priorities', () => {
  it('are line status, received data, THR empty, modem status', () => {
    const rig = new Rig();
    rig.out(MCR, 0x10);
    rig.out(DATA, 1);
    rig.out(DATA, 2);
    rig.out(IER, 0x0f);
    expect(rig.in(IIR)).toBe(0x06);
    rig.in(LSR);
    expect(rig.in(IIR)).toBe(0x04);
    rig.in(DATA);
    expect(rig.in(IIR)).toBe(0x02);
    expect(rig.in(IIR)).toBe(0x00);
    expect(rig.irq).toBe(true);
    expect(rig.in(MSR)).toBe(0x0b);
    expect(rig.in(IIR)).toBe(0x01);
    expect(rig.irq).toBe(false);
  });

  it('notes only the end of a ring', () => {
    const rig = new Rig();
    rig.out(MCR, 0x14);
    rig.in(MSR);
    rig.out(MCR, 0x10);
    expect(rig.in(MSR) & 0x0f).toBe(0x04);
    rig.out(MCR, 0x14);
    expect(rig.in(MSR)).toBe(0x40);
  });
});

function bench(): Bench {
  const log: string[] = [];
  const device = new Serial16550({
    base: BASE,
    irq: { set: (level) => log.push(`irq ${level}`) },
    output: (bytes) => log.push(`out ${bytes}`),
  });
  const receive = (n: number) => device.receive(Uint8Array.from({ length: n % 24 }, (_, i) => i));
  return { clock: new ManualClock(), device, log, ...portAccess(device), pokes: [receive] };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
