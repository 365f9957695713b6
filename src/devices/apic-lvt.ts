/**
 * The local vector table of a local APIC and the pins LINT0 and LINT1 (SDM vol.3 11.5.1).
 */
import { DELIVERY } from './apic-bus.ts';
import {
  LVT_DELIVERY_SHIFT,
  LVT_ENTRIES,
  LVT_LEVEL,
  LVT_MASKED,
  LVT_REMOTE_IRR,
  LVT_WRITABLE,
  REG,
} from './apic-registers.ts';
import type { DeviceState, Snapshottable } from './device.ts';
import { stateNumber, stateNumbers } from './state.ts';

/** Where the table's interrupts go. */
export interface ApicLvtOptions {
  /** Requests a vector; returns false when the APIC does not take it. */
  readonly acceptFixed: (vector: number, isLevel: boolean) => boolean;
  readonly onNmi: () => void;
  readonly onSmi: () => void;
  readonly onInit: () => void;
}

const LINT0 = REG.lvtLint0 - REG.lvtTimer;
const LINT1 = REG.lvtLint1 - REG.lvtTimer;

/** Six entries: timer, thermal sensor, performance counters, LINT0, LINT1, error. */
export class ApicLvt implements Snapshottable {
  readonly #options: ApicLvtOptions;
  readonly #entries: number[] = new Array(LVT_ENTRIES).fill(LVT_MASKED);
  #lintLevels = 0;

  constructor(options: ApicLvtOptions) {
    this.#options = options;
  }

  /** Power-on and INIT state. The pins keep their levels. */
  reset(): void {
    this.#entries.fill(LVT_MASKED);
  }

  /** Disabling the APIC by software masks everything for good (11.4.7.2). */
  maskAll(): void {
    for (let i = 0; i < LVT_ENTRIES; i++) this.#entries[i]! |= LVT_MASKED;
  }

  /** LINT0 as ExtINT, not masked. */
  connectPic(): void {
    this.#entries[LINT0] = DELIVERY.extInt << LVT_DELIVERY_SHIFT;
  }

  /** Whether LINT0 lets the 8259's interrupts through. */
  get isPicConnected(): boolean {
    const entry = this.#entries[LINT0]!;
    return !(entry & LVT_MASKED) && deliveryOf(entry) === DELIVERY.extInt;
  }

  /** Entry `register`, one of the `REG.lvt…`. */
  read(register: number): number {
    return this.#entries[register - REG.lvtTimer]!;
  }

  /** Writes entry `register`; the mask bit stays set while the APIC is not enabled. Returns what it is now. */
  write(register: number, value: number, isEnabled: boolean): number {
    const index = register - REG.lvtTimer;
    let next = (value & LVT_WRITABLE[index]!) | (this.#entries[index]! & LVT_REMOTE_IRR);
    if (!(next & LVT_LEVEL)) next &= ~LVT_REMOTE_IRR;
    if (!isEnabled) next |= LVT_MASKED;
    this.#entries[index] = next;
    if (index === LINT0 || index === LINT1) this.#sample(index);
    return next;
  }

  /** Level of the pin LINT0 or LINT1. */
  setLint(pin: 0 | 1, level: boolean): void {
    const bit = 1 << pin;
    const isRise = level && !(this.#lintLevels & bit);
    this.#lintLevels = level ? this.#lintLevels | bit : this.#lintLevels & ~bit;
    const index = LINT0 + pin;
    if (isFixedLevel(this.#entries[index]!)) this.#sample(index);
    else if (isRise) this.raise(REG.lvtTimer + index);
  }

  /** A level-triggered pin delivers while it is high, once until its EOI. */
  #sample(index: number): void {
    const entry = this.#entries[index]!;
    const isHigh = ((this.#lintLevels >> (index - LINT0)) & 1) !== 0;
    if (!isHigh || !isFixedLevel(entry) || entry & (LVT_MASKED | LVT_REMOTE_IRR)) return;
    if (this.#options.acceptFixed(entry & 0xff, true)) this.#entries[index] = entry | LVT_REMOTE_IRR;
  }

  /** EOI of a level-triggered vector: its pin is looked at again. */
  endOfInterrupt(vector: number): void {
    for (const index of [LINT0, LINT1]) {
      const entry = this.#entries[index]!;
      if (!(entry & LVT_REMOTE_IRR) || (entry & 0xff) !== vector) continue;
      this.#entries[index] = entry & ~LVT_REMOTE_IRR;
      this.#sample(index);
    }
  }

  /** The source of entry `register` has an event. */
  raise(register: number): void {
    const entry = this.#entries[register - REG.lvtTimer]!;
    if (entry & LVT_MASKED) return;
    // A performance counter's entry masks itself (11.5.1).
    if (register === REG.lvtPerformance) this.#entries[register - REG.lvtTimer] = entry | LVT_MASKED;
    switch (deliveryOf(entry)) {
      case DELIVERY.fixed:
        this.#options.acceptFixed(entry & 0xff, false);
        return;
      case DELIVERY.nmi:
        this.#options.onNmi();
        return;
      case DELIVERY.smi:
        this.#options.onSmi();
        return;
      case DELIVERY.init:
        this.#options.onInit();
        return;
    }
    // ExtINT is a level, which the local APIC looks at when it delivers.
  }

  state(): DeviceState {
    return { entries: [...this.#entries], lintLevels: this.#lintLevels };
  }

  restore(state: DeviceState): void {
    const entries = stateNumbers(state, 'entries', LVT_ENTRIES, LVT_ENTRIES, 0x7ffff);
    for (const [i, entry] of entries.entries()) this.#entries[i] = entry;
    this.#lintLevels = stateNumber(state, 'lintLevels', 3);
  }
}

function deliveryOf(entry: number): number {
  return (entry >> LVT_DELIVERY_SHIFT) & 7;
}

function isFixedLevel(entry: number): boolean {
  return (entry & LVT_LEVEL) !== 0 && deliveryOf(entry) === DELIVERY.fixed;
}
