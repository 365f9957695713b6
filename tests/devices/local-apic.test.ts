// The local APIC by page and by MSR, its timer, its messages and the way of the 8259's interrupts through it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApicBus, DELIVERY } from '../../src/devices/apic-bus.ts';
import { ManualClock } from '../../src/devices/clock.ts';
import { LocalApic, type LocalApicOptions } from '../../src/devices/local-apic.ts';
import { VectorSet } from '../../src/devices/vector-set.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, mmioAccess } from './any-access.ts';

const TSC_HZ = 2_500_000_000;
const ID = 0x20;
const VERSION = 0x30;
const TPR = 0x80;
const PPR = 0xa0;
const EOI = 0xb0;
const LDR = 0xd0;
const DFR = 0xe0;
const SVR = 0xf0;
const ISR = 0x100;
const TMR = 0x180;
const IRR = 0x200;
const ESR = 0x280;
const ICR = 0x300;
const ICR_HIGH = 0x310;
const LVT_TIMER = 0x320;
const LVT_LINT0 = 0x350;
const LVT_LINT1 = 0x360;
const LVT_ERROR = 0x370;
const INITIAL = 0x380;
const CURRENT = 0x390;
const DIVIDE = 0x3e0;

const X2APIC_ON = 0xfee00d00n;

class Rig {
  readonly clock = new ManualClock();
  readonly bus = new ApicBus();
  readonly log: string[] = [];
  readonly pic = {
    pending: false,
    acknowledge: () => {
      this.pic.pending = false;
      return 0x30;
    },
  };
  readonly apics: LocalApic[] = [];
  readonly apic: LocalApic;
  constructor(count = 1, options: Partial<LocalApicOptions> = {}) {
    for (let id = 0; id < count; id++) {
      this.apics.push(
        new LocalApic({
          id,
          isBootstrap: id === 0,
          bus: this.bus,
          clock: this.clock,
          tsc: () => (this.clock.now() * BigInt(TSC_HZ)) / 1_000_000_000n,
          tscHz: TSC_HZ,
          ...(id === 0 ? { pic: this.pic } : {}),
          onChange: () => this.log.push(`${id} pending ${this.apics[id]!.pending}`),
          onEoi: (vector) => this.log.push(`${id} eoi ${vector}`),
          onNmi: () => this.log.push(`${id} nmi`),
          onInit: () => this.log.push(`${id} init`),
          onStartUp: (vector) => this.log.push(`${id} start ${vector}`),
          onSmi: () => this.log.push(`${id} smi`),
          ...options,
        }),
      );
    }
    this.apic = this.apics[0]!;
  }
  enable(): this {
    for (const apic of this.apics) apic.mmioWrite(SVR, 4, 0x1ff);
    return this;
  }
  rd(offset: number): number {
    return this.apic.mmioRead(offset, 4);
  }
  wr(offset: number, value: number): void {
    this.apic.mmioWrite(offset, 4, value);
  }
  fixed(vector: number, isLevel = false): boolean {
    return this.bus.send({
      vector,
      delivery: DELIVERY.fixed,
      isLogical: false,
      destination: 0,
      isLevel,
      isAssert: true,
    });
  }
  take(): string[] {
    return this.log.splice(0);
  }
}

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

describe('the vector set', () => {
  it('knows its highest member', () => {
    const operation = fc.tuple(fc.boolean(), fc.nat(255));
    fc.assert(
      fc.property(fc.array(operation), (operations) => {
        const set = new VectorSet();
        const model = new Set<number>();
        for (const [add, vector] of operations) {
          if (add) set.add(vector);
          else set.delete(vector);
          if (add) model.add(vector);
          else model.delete(vector);
          expect(set.highest).toBe(Math.max(-1, ...model));
          expect(set.has(vector)).toBe(add);
        }
      }),
    );
  });
});

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
