// Local APICs on one bus with a clock by hand and a log of what they say, and the registers' offsets in the page.
import { ApicBus, DELIVERY } from '../../src/devices/apic-bus.ts';
import { ManualClock } from '../../src/devices/clock.ts';
import { LocalApic, type LocalApicOptions } from '../../src/devices/local-apic.ts';

export const TSC_HZ = 2_500_000_000;
export const ID = 0x20;
export const VERSION = 0x30;
export const TPR = 0x80;
export const PPR = 0xa0;
export const EOI = 0xb0;
export const LDR = 0xd0;
export const DFR = 0xe0;
export const SVR = 0xf0;
export const ISR = 0x100;
export const TMR = 0x180;
export const IRR = 0x200;
export const ESR = 0x280;
export const ICR = 0x300;
export const ICR_HIGH = 0x310;
export const LVT_TIMER = 0x320;
export const LVT_LINT0 = 0x350;
export const LVT_LINT1 = 0x360;
export const LVT_ERROR = 0x370;
export const INITIAL = 0x380;
export const CURRENT = 0x390;
export const DIVIDE = 0x3e0;

/** IA32_APIC_BASE of the bootstrap processor in x2APIC mode. */
export const X2APIC_ON = 0xfee00d00n;

export class Rig {
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
