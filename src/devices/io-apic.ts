/**
 * The I/O APIC: 24 interrupt pins, each with a redirection entry that turns it into a message to local
 * APICs (Intel 82093AA datasheet; the EOI register is that of version 0x20, in ICH datasheets).
 *
 * A pin's level is "asserted" or not: the polarity bit is kept and not applied, because devices here say
 * what they mean and not what voltage it is.
 */
import { type ApicMessage, DELIVERY, DESTINATION_ALL } from './apic-bus.ts';
import { extractLanes } from './byte-lanes.ts';
import type { AccessWidth, DeviceState, MmioDevice, Snapshottable } from './device.ts';
import { stateNumber, stateNumbers } from './state.ts';

const PINS = 24;
const WINDOW_SIZE = 0x1000;

/** Offsets in the window. */
const SELECT = 0x00;
const WINDOW = 0x10;
const EOI = 0x40;

/** Indirect registers: ID ([27:24]), version, arbitration ID, then two for each pin. */
const REG_ID = 0x00;
const REG_VERSION = 0x01;
const REG_ARBITRATION = 0x02;
const REG_REDIRECTION = 0x10;
const ID_SHIFT = 24;
const ID_MASK = 0x0f;
/** Version: [23:16] highest pin, [7:0] 0x20, which has the EOI register, or 0x11, which has not. */
const VERSION_SHIFT = 16;
const WITH_EOI = 0x20;
const WITHOUT_EOI = 0x11;

/**
 * Redirection entry, low half: [7:0] vector, [10:8] delivery, [11] logical, [12] status (r/o),
 * [13] polarity, [14] remote IRR (r/o), [15] level, [16] mask. High half: [31:24] destination.
 */
const ENTRY_DELIVERY_SHIFT = 8;
const ENTRY_LOGICAL = 1 << 11;
const ENTRY_REMOTE_IRR = 1 << 14;
const ENTRY_LEVEL = 1 << 15;
const ENTRY_MASKED = 1 << 16;
const ENTRY_WRITABLE = 0x1afff;
const DESTINATION_SHIFT = 24;
const DESTINATION_MASK = 0xff000000;

/** What an I/O APIC is wired to. */
export interface IoApicOptions {
  /** gpa of the window. PC: 0xfec00000. */
  readonly base: number;
  /** APIC ID, 0 to 15. */
  readonly id: number;
  /** There is an EOI register. Default: true; an engine's own I/O APIC may have none. */
  readonly hasEoi?: boolean;
  /** Sends a message to the local APICs; returns whether one took it. */
  readonly deliver: (message: ApicMessage) => boolean;
}

/** The I/O APIC. */
export class IoApic implements MmioDevice, Snapshottable {
  readonly base: number;
  readonly size = WINDOW_SIZE;
  readonly #deliver: (message: ApicMessage) => boolean;
  readonly #hasEoi: boolean;
  #id: number;
  #select = 0;
  /** Levels of the pins, a bit each. */
  #levels = 0;
  readonly #low: number[] = new Array(PINS).fill(ENTRY_MASKED);
  readonly #high: number[] = new Array(PINS).fill(0);

  constructor(options: IoApicOptions) {
    this.base = options.base;
    this.#id = options.id & ID_MASK;
    this.#deliver = options.deliver;
    this.#hasEoi = options.hasEoi ?? true;
  }

  /** Sets the level of a pin, 0 to 23; others are ignored. */
  setPin(pin: number, level: boolean): void {
    if (pin < 0 || pin >= PINS) return;
    const bit = 1 << pin;
    const isRise = level && !(this.#levels & bit);
    this.#levels = level ? this.#levels | bit : this.#levels & ~bit;
    const entry = this.#low[pin]!;
    if (isLevel(entry)) this.#serviceLevel(pin);
    // An edge at a masked pin is lost (82093AA 3.2.4, interrupt mask).
    else if (isRise && !(entry & ENTRY_MASKED)) this.#send(pin, false);
  }

  /** EOI message of a local APIC, or the EOI register: ends level interrupts with this vector. */
  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < PINS; pin++) {
      const entry = this.#low[pin]!;
      if (!(entry & ENTRY_REMOTE_IRR) || (entry & 0xff) !== vector) continue;
      this.#low[pin] = entry & ~ENTRY_REMOTE_IRR;
      this.#serviceLevel(pin);
    }
  }

  /** A level-triggered pin sends while it is high, once until its EOI. */
  #serviceLevel(pin: number): void {
    const entry = this.#low[pin]!;
    if (!((this.#levels >> pin) & 1) || !isLevel(entry) || entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) return;
    if (this.#send(pin, true)) this.#low[pin] = entry | ENTRY_REMOTE_IRR;
  }

  #send(pin: number, isLevelTriggered: boolean): boolean {
    const entry = this.#low[pin]!;
    const destination = this.#high[pin]! >>> DESTINATION_SHIFT;
    const isLogical = (entry & ENTRY_LOGICAL) !== 0;
    return this.#deliver({
      vector: entry & 0xff,
      delivery: deliveryOf(entry),
      isLogical,
      destination: destination === 0xff && !isLogical ? DESTINATION_ALL : destination,
      isLevel: isLevelTriggered,
      isAssert: true,
    });
  }

  mmioRead(offset: number, width: AccessWidth): number {
    const register = offset & ~3;
    if ((offset & 3) + width > 4) return 0;
    const value = register === SELECT ? this.#select : register === WINDOW ? this.#readRegister() : 0;
    return extractLanes(value, offset, width);
  }

  /** The window takes dwords; the select and EOI registers have one byte, so any width will do. */
  mmioWrite(offset: number, width: AccessWidth, value: number): void {
    if (offset === SELECT) this.#select = value & 0xff;
    else if (offset === WINDOW && width === 4) this.#writeRegister(value);
    else if (offset === EOI && this.#hasEoi) this.endOfInterrupt(value & 0xff);
  }

  #readRegister(): number {
    switch (this.#select) {
      case REG_ID:
      case REG_ARBITRATION:
        return this.#id << ID_SHIFT;
      case REG_VERSION:
        return ((PINS - 1) << VERSION_SHIFT) | (this.#hasEoi ? WITH_EOI : WITHOUT_EOI);
    }
    const pin = (this.#select - REG_REDIRECTION) >> 1;
    return (this.#select & 1 ? this.#high : this.#low)[pin] ?? 0;
  }

  #writeRegister(value: number): void {
    if (this.#select === REG_ID) {
      this.#id = (value >>> ID_SHIFT) & ID_MASK;
      return;
    }
    const pin = (this.#select - REG_REDIRECTION) >> 1;
    if (pin < 0 || pin >= PINS) return;
    if (this.#select & 1) {
      this.#high[pin] = (value & DESTINATION_MASK) >>> 0;
      return;
    }
    // Edge mode clears remote IRR, which is how systems end an interrupt without the EOI register.
    let entry = (value & ENTRY_WRITABLE) | (this.#low[pin]! & ENTRY_REMOTE_IRR);
    if (!(entry & ENTRY_LEVEL)) entry &= ~ENTRY_REMOTE_IRR;
    this.#low[pin] = entry;
    this.#serviceLevel(pin);
  }

  state(): DeviceState {
    return {
      id: this.#id,
      select: this.#select,
      levels: this.#levels,
      low: [...this.#low],
      high: [...this.#high],
    };
  }

  restore(state: DeviceState): void {
    this.#id = stateNumber(state, 'id', ID_MASK);
    this.#select = stateNumber(state, 'select', 0xff);
    this.#levels = stateNumber(state, 'levels', 2 ** PINS - 1);
    const low = stateNumbers(state, 'low', PINS, PINS, ENTRY_WRITABLE | ENTRY_REMOTE_IRR);
    const high = stateNumbers(state, 'high', PINS, PINS, 0xffffffff);
    for (let pin = 0; pin < PINS; pin++) {
      this.#low[pin] = low[pin]!;
      this.#high[pin] = high[pin]!;
    }
  }
}

function deliveryOf(entry: number): number {
  return (entry >> ENTRY_DELIVERY_SHIFT) & 7;
}

/** SMI, NMI, INIT and ExtINT are edges whatever the trigger bit says (82093AA 3.2.4, delivery mode). */
function isLevel(entry: number): boolean {
  return (entry & ENTRY_LEVEL) !== 0 && deliveryOf(entry) <= DELIVERY.lowestPriority;
}
