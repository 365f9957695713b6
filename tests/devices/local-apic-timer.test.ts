// The local APIC's timer.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../src/devices/clock.ts';
import { CURRENT, DIVIDE, EOI, INITIAL, LVT_TIMER, Rig } from './local-apic-rig.ts';

describe('the timer', () => {
  it('counts once and interrupts, at 1 GHz through the divisor', () => {
    const rig = new Rig().enable();
    rig.wr(LVT_TIMER, 0xec);
    rig.wr(DIVIDE, 0x3);
    rig.wr(INITIAL, 1000);
    rig.clock.advance(1600n);
    expect(rig.rd(CURRENT)).toBe(900);
    rig.clock.advance(14_399n);
    expect(rig.apic.pending).toBe(false);
    rig.clock.advance(1n);
    expect(rig.apic.acknowledge()).toBe(0xec);
    expect(rig.rd(CURRENT)).toBe(0);
    rig.wr(EOI, 0);
    rig.clock.advance(1_000_000n);
    expect(rig.apic.pending).toBe(false);
  });

  it.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])('divides by what %i says', (configuration, divisor) => {
    const rig = new Rig().enable();
    rig.wr(DIVIDE, configuration);
    rig.wr(INITIAL, 1_000_000);
    rig.clock.advance(12_800n);
    expect(rig.rd(CURRENT)).toBe(1_000_000 - 12_800 / divisor);
  });

  it('repeats in periodic mode and stops with a count of 0', () => {
    const rig = new Rig().enable();
    rig.wr(LVT_TIMER, 0x200ec);
    rig.wr(DIVIDE, 0xb);
    rig.wr(INITIAL, 1_000_000);
    let count = 0;
    for (let i = 0; i < 100; i++) {
      rig.clock.advance(100_000n);
      if (rig.apic.pending) {
        rig.apic.acknowledge();
        rig.wr(EOI, 0);
        count++;
      }
    }
    expect(count).toBe(10);
    rig.clock.advance(250_000n);
    expect(rig.rd(CURRENT)).toBe(750_000);
    rig.wr(INITIAL, 0);
    rig.clock.advance(5_000_000n);
    expect([rig.rd(CURRENT), rig.apic.pending]).toEqual([0, false]);
  });

  it('keeps counting while masked, without an interrupt', () => {
    const rig = new Rig().enable();
    rig.wr(LVT_TIMER, 0x100ec);
    rig.wr(DIVIDE, 0xb);
    rig.wr(INITIAL, 1000);
    rig.clock.advance(400n);
    expect(rig.rd(CURRENT)).toBe(600);
    rig.clock.advance(4000n);
    expect(rig.apic.pending).toBe(false);
  });

  it('goes on from its count when the divisor changes', () => {
    const rig = new Rig().enable();
    rig.wr(DIVIDE, 0xb);
    rig.wr(INITIAL, 1000);
    rig.clock.advance(500n);
    rig.wr(DIVIDE, 0);
    expect(rig.rd(CURRENT)).toBe(500);
    rig.clock.advance(200n);
    expect(rig.rd(CURRENT)).toBe(400);
  });

  it('waits for a TSC value in TSC-deadline mode, and 0 disarms', () => {
    const rig = new Rig().enable();
    expect(rig.apic.writeMsr(0x6e0, 1000n)).toBe(true);
    expect(rig.apic.readMsr(0x6e0)).toBe(0n);
    rig.wr(LVT_TIMER, 0x400ec);
    rig.apic.writeMsr(0x6e0, 2501n);
    expect(rig.apic.readMsr(0x6e0)).toBe(2501n);
    rig.clock.advance(1000n);
    expect(rig.apic.pending).toBe(false);
    rig.clock.advance(1n);
    expect(rig.apic.acknowledge()).toBe(0xec);
    expect(rig.apic.readMsr(0x6e0)).toBe(0n);
    rig.wr(EOI, 0);
    rig.apic.writeMsr(0x6e0, 1n);
    expect(rig.apic.acknowledge()).toBe(0xec);
    rig.wr(EOI, 0);
    rig.apic.writeMsr(0x6e0, 10_000n);
    rig.apic.writeMsr(0x6e0, 0n);
    rig.wr(INITIAL, 5);
    rig.clock.advance(100_000n);
    expect(rig.apic.pending).toBe(false);
    rig.apic.writeMsr(0x6e0, 0xffff_ffff_ffff_ffffn);
    rig.clock.advance(100_000n);
    expect(rig.apic.pending).toBe(false);
  });

  it('moves a deadline when the guest sets its TSC', () => {
    let offset = 0n;
    const clock = new ManualClock();
    const rig = new Rig(1, { clock, tscHz: 1e9, tsc: () => clock.now() + offset }).enable();
    rig.wr(LVT_TIMER, 0x400ec);
    rig.apic.tscWritten();
    rig.apic.writeMsr(0x6e0, 1000n);
    offset = -500n;
    rig.apic.tscWritten();
    clock.advance(1499n);
    expect(rig.apic.pending).toBe(false);
    clock.advance(1n);
    expect(rig.apic.acknowledge()).toBe(0xec);
    rig.wr(EOI, 0);
    rig.apic.writeMsr(0x6e0, 100_000n);
    offset = 1_000_000n;
    rig.apic.tscWritten();
    expect(rig.apic.acknowledge()).toBe(0xec);
    expect(rig.apic.readMsr(0x6e0)).toBe(0n);
  });

  it('does not flood the host with a tiny period', () => {
    const rig = new Rig().enable();
    rig.wr(LVT_TIMER, 0x200ec);
    rig.wr(DIVIDE, 0xb);
    rig.wr(INITIAL, 1);
    let interrupts = 0;
    for (let i = 0; i < 1000; i++) {
      rig.clock.advance(10_000n);
      if (!rig.apic.pending) continue;
      rig.apic.acknowledge();
      rig.wr(EOI, 0);
      interrupts++;
    }
    expect(interrupts).toBeGreaterThan(90);
    expect(interrupts).toBeLessThanOrEqual(101);
  });
});
