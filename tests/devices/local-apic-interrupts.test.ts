// What reaches the local APIC by its pins, the way of the 8259's interrupts through it, and what it sends to others.
import { describe, expect, it } from 'vitest';
import { DFR, EOI, ESR, ICR, ICR_HIGH, LDR, LVT_LINT0, LVT_LINT1, Rig, TPR } from './local-apic-rig.ts';

describe('the pins', () => {
  it('pass the 8259 through: by LINT0 as ExtINT, directly when the APIC is off', () => {
    const rig = new Rig();
    rig.pic.pending = true;
    rig.apic.setLint(0, true);
    expect(rig.apic.pending).toBe(false);
    rig.enable();
    rig.wr(LVT_LINT0, 0x700);
    expect(rig.apic.pending).toBe(true);
    expect(rig.apic.acknowledge()).toBe(0x30);
    rig.apic.setLint(0, false);
    expect(rig.apic.pending).toBe(false);
    rig.pic.pending = true;
    rig.apic.setLint(0, true);
    rig.wr(LVT_LINT0, 0x10700);
    expect(rig.apic.pending).toBe(false);
    rig.apic.writeMsr(0x1b, 0xfee00100n);
    expect(rig.apic.acknowledge()).toBe(0x30);
  });

  it('start in virtual wire mode if asked to', () => {
    const rig = new Rig(1, { virtualWire: true });
    expect(rig.rd(LVT_LINT0)).toBe(0x700);
    rig.pic.pending = true;
    rig.apic.setLint(0, true);
    expect(rig.apic.acknowledge()).toBe(0x30);
  });

  it("turn edges of LINT0 into a vector (Linux's check_timer: virtual wire IRQ)", () => {
    const rig = new Rig().enable();
    rig.wr(LVT_LINT0, 0x31);
    rig.apic.setLint(0, true);
    rig.apic.setLint(0, true);
    expect(rig.apic.acknowledge()).toBe(0x31);
    rig.wr(EOI, 0);
    expect(rig.apic.pending).toBe(false);
    rig.apic.setLint(0, false);
    rig.apic.setLint(0, true);
    expect(rig.apic.acknowledge()).toBe(0x31);
  });

  it('repeat a level after its EOI', () => {
    const rig = new Rig().enable();
    rig.wr(LVT_LINT1, 0x8055);
    rig.apic.setLint(1, true);
    expect(rig.rd(LVT_LINT1)).toBe(0xc055);
    expect(rig.apic.acknowledge()).toBe(0x55);
    rig.wr(EOI, 0);
    expect(rig.apic.acknowledge()).toBe(0x55);
    rig.apic.setLint(1, false);
    rig.wr(EOI, 0);
    expect(rig.apic.pending).toBe(false);
    expect(rig.rd(LVT_LINT1)).toBe(0x8055);
  });

  it('give NMI from LINT1', () => {
    const rig = new Rig().enable();
    rig.wr(LVT_LINT1, 0x400);
    rig.take();
    rig.apic.setLint(1, true);
    expect(rig.take()).toEqual(['0 nmi']);
  });

  it('have local sources: a performance interrupt masks itself', () => {
    const rig = new Rig().enable();
    rig.wr(0x340, 0x66);
    rig.apic.raisePerformance();
    expect(rig.apic.acknowledge()).toBe(0x66);
    expect(rig.rd(0x340)).toBe(0x10066);
    rig.wr(0x330, 0x77);
    rig.apic.raiseThermal();
    expect(rig.apic.acknowledge()).toBe(0x77);
  });
});

describe('interprocessor interrupts', () => {
  const pending = (rig: Rig) => rig.apics.map((apic) => (apic.pending ? '1' : '0')).join('');
  const send = (rig: Rig, high: number, low: number) => {
    rig.wr(ICR_HIGH, high << 24);
    rig.wr(ICR, low);
  };

  it('reach one by ID, all by 0xff, and those of a shorthand', () => {
    for (const [high, low, expected] of [
      [2, 0x4040, '0010'],
      [0xff, 0x4040, '1111'],
      [2, 0x44040, '1000'],
      [2, 0x84040, '1111'],
      [2, 0xc4040, '0111'],
      [9, 0x4040, '0000'],
    ] as const) {
      const rig = new Rig(4).enable();
      send(rig, high, low);
      expect(pending(rig)).toBe(expected);
      expect(rig.rd(ICR) & 0x1000).toBe(0);
    }
  });

  it('reach logical destinations, flat and by cluster', () => {
    const rig = new Rig(4).enable();
    rig.apics.forEach((apic, id) => {
      apic.mmioWrite(LDR, 4, (1 << id) << 24);
    });
    send(rig, 0b0110, 0x4840);
    expect(pending(rig)).toBe('0110');
    const clustered = new Rig(4).enable();
    clustered.apics.forEach((apic, id) => {
      apic.mmioWrite(DFR, 4, 0);
      apic.mmioWrite(LDR, 4, (((id >> 1) << 4) | (1 << (id & 1))) << 24);
    });
    send(clustered, 0x12, 0x4840);
    expect(pending(clustered)).toBe('0001');
    send(clustered, 0xf1, 0x4840);
    expect(pending(clustered)).toBe('1011');
  });

  it('of lowest priority go to one processor', () => {
    const rig = new Rig(3).enable();
    rig.apics.forEach((apic, id) => {
      apic.mmioWrite(LDR, 4, (1 << id) << 24);
    });
    rig.apics[0]!.cr8 = 3;
    rig.apics[1]!.cr8 = 1;
    rig.apics[2]!.cr8 = 2;
    send(rig, 7, 0x4940);
    expect(pending(rig)).toBe('010');
  });

  it('start a processor: INIT, its de-assert, start-up', () => {
    const rig = new Rig(2);
    rig.apics[1]!.mmioWrite(TPR, 4, 0x40);
    send(rig, 1, 0xc500);
    send(rig, 1, 0x8500);
    send(rig, 1, 0x4699);
    expect(rig.take()).toEqual(['1 init', '1 start 153']);
    expect(rig.apics[1]!.mmioRead(TPR, 4)).toBe(0);
  });

  it('carry NMI and SMI, and refuse vectors 0-15', () => {
    const rig = new Rig(2).enable();
    send(rig, 1, 0x4400);
    send(rig, 1, 0x4200);
    send(rig, 1, 0x4005);
    expect(rig.take()).toEqual(['1 nmi', '1 smi']);
    rig.wr(ESR, 0);
    expect(rig.rd(ESR)).toBe(0x20);
  });
});
