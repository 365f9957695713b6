// The local APIC by MSR, and the ways between its modes.
import { describe, expect, it } from 'vitest';
import { ID, Rig, SVR, VERSION, X2APIC_ON } from './local-apic-rig.ts';

describe('x2APIC and IA32_APIC_BASE', () => {
  it('allow the transitions of the manual and #GP on the others', () => {
    const rig = new Rig(2);
    expect(rig.apic.readMsr(0x1b)).toBe(0xfee00900n);
    expect(rig.apics[1]!.readMsr(0x1b)).toBe(0xfee00800n);
    expect(rig.apic.readMsr(0x802)).toBeUndefined();
    expect(rig.apic.writeMsr(0x80b, 0n)).toBe(false);
    expect(rig.apic.writeMsr(0x1b, 0xfee00500n)).toBe(false);
    expect(rig.apic.writeMsr(0x1b, 0xfee00901n)).toBe(false);
    expect(rig.apic.writeMsr(0x1b, X2APIC_ON)).toBe(true);
    expect(rig.apic.writeMsr(0x1b, 0xfee00900n)).toBe(false);
    expect(rig.apic.writeMsr(0x1b, 0xfee00100n)).toBe(true);
    expect(rig.rd(ID)).toBe(0xffffffff);
    expect(rig.apic.writeMsr(0x1b, X2APIC_ON)).toBe(false);
    expect(rig.apic.writeMsr(0x1b, 0xfee00900n)).toBe(true);
    expect(rig.rd(SVR)).toBe(0xff);
  });

  it('has the registers as MSRs, and the page is gone', () => {
    const rig = new Rig(35).enable();
    const apic = rig.apics[34]!;
    apic.writeMsr(0x1b, 0xfee00c00n);
    expect(apic.mmioRead(VERSION, 4)).toBe(0xffffffff);
    expect(apic.readMsr(0x802)).toBe(34n);
    expect(apic.readMsr(0x803)).toBe(0x50014n);
    expect(apic.readMsr(0x80d)).toBe(0x2_0004n);
    expect(apic.readMsr(0x80f)).toBe(0x1ffn);
    expect(apic.writeMsr(0x808, 0x20n)).toBe(true);
    expect(apic.readMsr(0x808)).toBe(0x20n);
  });

  it('#GP on reserved bits and on registers that it has not', () => {
    const rig = new Rig().enable();
    rig.apic.writeMsr(0x1b, X2APIC_ON);
    for (const [msr, value] of [
      [0x802, 0n],
      [0x803, 0n],
      [0x808, 0x100n],
      [0x80b, 1n],
      [0x80d, 0n],
      [0x80e, 0n],
      [0x80f, 0x1_0000_0000n],
      [0x810, 0n],
      [0x828, 1n],
      [0x82f, 0n],
      [0x830, 0x100000n],
      [0x831, 0n],
      [0x839, 0n],
      [0x83f, 0x100n],
      [0x840, 0n],
    ] as const) {
      expect(rig.apic.writeMsr(msr, value), msr.toString(16)).toBe(false);
    }
    for (const msr of [0x801, 0x809, 0x80b, 0x80e, 0x82f, 0x831, 0x83f, 0x840, 0x900]) {
      expect(rig.apic.readMsr(msr), msr.toString(16)).toBeUndefined();
    }
  });

  it('sends with one write of ICR, to IDs, to clusters and to all', () => {
    for (const [icr, expected] of [
      [0x0000_0002_0000_4040n, [2]],
      [0x0001_0003_0000_4840n, [16, 17]],
      [0xffff_ffff_0000_4040n, Array.from({ length: 18 }, (_, i) => i)],
    ] as const) {
      const rig = new Rig(18).enable();
      for (const apic of rig.apics) apic.writeMsr(0x1b, (apic.readMsr(0x1b) ?? 0n) | 0x400n);
      expect(rig.apic.writeMsr(0x830, icr)).toBe(true);
      expect(rig.apic.readMsr(0x830)).toBe(icr);
      expect(rig.apics.filter((apic) => apic.pending).map((apic) => apic.id)).toEqual(expected);
    }
  });

  it('interrupts itself, and ends interrupts', () => {
    const rig = new Rig().enable();
    rig.apic.writeMsr(0x1b, X2APIC_ON);
    expect(rig.apic.writeMsr(0x83f, 0x99n)).toBe(true);
    expect(rig.apic.acknowledge()).toBe(0x99);
    expect(rig.apic.readMsr(0x814)).toBe(1n << 25n);
    rig.apic.writeMsr(0x80b, 0n);
    expect(rig.apic.readMsr(0x814)).toBe(0n);
  });
});
