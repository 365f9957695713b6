// The local APIC by its page, the priorities of its interrupts, and any access to it.
import { describe, expect, it } from 'vitest';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, mmioAccess } from './any-access.ts';
import {
  DFR,
  EOI,
  ESR,
  ICR,
  ID,
  IRR,
  ISR,
  LVT_ERROR,
  LVT_LINT0,
  LVT_TIMER,
  PPR,
  Rig,
  SVR,
  TMR,
  TPR,
  VERSION,
  X2APIC_ON,
} from './local-apic-rig.ts';

describe('the page', () => {
  it('shows ID, version and reset values', () => {
    const rig = new Rig(3);
    expect(rig.apics[2]!.mmioRead(ID, 4)).toBe(0x02000000);
    expect(rig.rd(VERSION)).toBe(0x00050014);
    expect([rig.rd(SVR), rig.rd(DFR), rig.rd(TPR)]).toEqual([0xff, 0xffffffff, 0]);
    for (let lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 0x10) expect(rig.rd(lvt)).toBe(0x10000);
  });

  it('takes aligned dword writes only, and reads parts of registers', () => {
    const rig = new Rig();
    rig.apic.mmioWrite(TPR, 1, 0x55);
    rig.apic.mmioWrite(TPR + 4, 4, 0x55);
    expect(rig.rd(TPR)).toBe(0);
    expect(rig.apic.mmioRead(VERSION + 2, 1)).toBe(0x05);
    expect(rig.apic.mmioRead(VERSION + 4, 4)).toBe(0);
  });

  it('reports an access to a register that does not exist in ESR, after a write to it', () => {
    const rig = new Rig().enable();
    rig.wr(LVT_ERROR, 0xfe);
    expect(rig.rd(0x3a0)).toBe(0);
    expect(rig.rd(ESR)).toBe(0);
    rig.wr(ESR, 0);
    expect(rig.rd(ESR)).toBe(0x80);
    rig.wr(ESR, 0);
    expect(rig.rd(ESR)).toBe(0);
    expect(rig.apic.acknowledge()).toBe(0xfe);
  });

  it('keeps the writable bits of the LVT, and masks all of it while disabled by software', () => {
    const rig = new Rig();
    rig.wr(LVT_LINT0, 0x700);
    expect(rig.rd(LVT_LINT0)).toBe(0x10700);
    rig.enable();
    rig.wr(LVT_LINT0, 0xffffffff);
    expect(rig.rd(LVT_LINT0)).toBe(0x1a7ff);
    rig.wr(LVT_TIMER, 0x200ec);
    rig.wr(SVR, 0xff);
    expect(rig.rd(LVT_TIMER)).toBe(0x300ec);
  });
});

describe('priorities', () => {
  it('deliver the highest vector, hold back the lower until EOI', () => {
    const rig = new Rig().enable();
    expect(rig.fixed(0x41)).toBe(true);
    expect(rig.fixed(0x51)).toBe(true);
    expect(rig.take()).toEqual(['0 pending true']);
    expect(rig.rd(IRR + 0x20)).toBe((1 << 1) | (1 << 17));
    expect(rig.apic.acknowledge()).toBe(0x51);
    expect(rig.rd(ISR + 0x20)).toBe(1 << 17);
    expect(rig.rd(PPR)).toBe(0x50);
    expect(rig.apic.pending).toBe(false);
    rig.fixed(0x5f);
    expect(rig.apic.pending).toBe(false);
    rig.fixed(0x60);
    expect(rig.apic.acknowledge()).toBe(0x60);
    rig.wr(EOI, 0);
    expect(rig.rd(PPR)).toBe(0x50);
    rig.wr(EOI, 0);
    expect(rig.apic.acknowledge()).toBe(0x5f);
    rig.wr(EOI, 0);
    expect(rig.apic.acknowledge()).toBe(0x41);
    rig.wr(EOI, 0);
    rig.wr(EOI, 0);
    expect(rig.rd(PPR)).toBe(0);
  });

  it('are raised by TPR and by CR8, which is its high half', () => {
    const rig = new Rig().enable();
    rig.wr(TPR, 0x45);
    expect(rig.rd(PPR)).toBe(0x45);
    expect(rig.apic.cr8).toBe(4);
    rig.fixed(0x4f);
    expect(rig.apic.pending).toBe(false);
    rig.apic.cr8 = 3;
    expect(rig.apic.pending).toBe(true);
    expect(rig.rd(TPR)).toBe(0x30);
    rig.apic.cr8 = 15;
    expect(rig.apic.pending).toBe(false);
  });

  it('refuse vectors 0-15 and everything while disabled', () => {
    const rig = new Rig();
    expect(rig.fixed(0x40)).toBe(false);
    rig.enable();
    expect(rig.fixed(0x0f)).toBe(false);
    rig.wr(ESR, 0);
    expect(rig.rd(ESR)).toBe(0x40);
    expect(rig.apic.acknowledge()).toBe(0xff);
  });

  it('broadcast the EOI of level-triggered vectors only', () => {
    const rig = new Rig().enable();
    rig.fixed(0x41, true);
    expect(rig.rd(TMR + 0x20)).toBe(2);
    rig.apic.acknowledge();
    rig.take();
    rig.wr(EOI, 0);
    expect(rig.take()).toEqual(['0 eoi 65']);
    rig.fixed(0x41, false);
    rig.apic.acknowledge();
    rig.wr(EOI, 0);
    expect(rig.take()).not.toContain('0 eoi 65');
  });
});

const REGISTERS = [...Array.from({ length: 0x40 }, (_, i) => i * 16), TPR + 2, ICR + 4, 0xff0];

function bench(): Bench {
  const rig = new Rig(2);
  const device = rig.apic;
  const pokes = [
    (n: number) => void rig.fixed(n, (n & 1) !== 0),
    (n: number) => device.setLint((n & 1) as 0 | 1, (n & 2) !== 0),
    () => void rig.log.push(`ack ${device.acknowledge()}`),
    (n: number) => {
      device.cr8 = n;
    },
    () => device.mmioWrite(SVR, 4, 0x1ff),
    () => void device.writeMsr(0x1b, X2APIC_ON),
    () => void device.writeMsr(0x1b, 0xfee00100n),
    () => void device.writeMsr(0x1b, 0xfee00900n),
    (n: number) => void device.writeMsr(0x6e0, BigInt(n) << 17n),
    (n: number) => void rig.log.push(`rdmsr ${device.readMsr(0x800 + n)}`),
    (n: number) => void rig.log.push(`wrmsr ${device.writeMsr(0x800 + (n & 0x3f), BigInt(n) * 0x0101_0101n)}`),
    (n: number) => device.mmioWrite(LVT_TIMER, 4, (n << 13) | 0x40 | n),
  ];
  return { clock: rig.clock, device, log: rig.log, ...mmioAccess(device, REGISTERS), pokes };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench, 300));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
