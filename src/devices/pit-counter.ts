/**
 * One counter of the 8254: what it holds and what its OUT pin shows at a given CLK tick. Nothing counts
 * here; everything is computed from the tick at which the count was loaded. Sections are those of the
 * Intel 8254 datasheet.
 */
import type { DeviceState, Snapshottable } from './device.ts';
import { stateBoolean, stateFinite, stateNumber, stateNumbers } from './state.ts';

/** Read/write format of the control word, RW1 RW0. */
export const PIT_ACCESS = { latch: 0, low: 1, high: 2, lowThenHigh: 3 } as const;

const BINARY_MODULUS = 0x10000;
const BCD_MODULUS = 10000;

/** Status byte: [7] OUT, [6] null count, [5:4] access, [3:1] mode, [0] BCD. */
const STATUS_OUT = 1 << 7;
const STATUS_NULL_COUNT = 1 << 6;
const STATUS_ACCESS_SHIFT = 4;
const STATUS_MODE_SHIFT = 1;

/** A counter of the 8254. Ticks are CLK pulses since power-on and never go down from call to call. */
export class PitCounter implements Snapshottable {
  #mode = 3;
  #isBcd = false;
  #access: number = PIT_ACCESS.lowThenHigh;
  #gate: boolean;
  /** The count in use, 1 to 65536. */
  #count = BINARY_MODULUS;
  /** Tick at which `#count` was or will be in the counting element. */
  #start = 0;
  /** Whether the counting element counts, or would if the gate let it. */
  #isArmed = false;
  /** Ticks done when the gate went low in modes 0, 2, 3 and 4; -1 while counting. */
  #paused = -1;
  /** A count that waits for the end of the period (modes 2, 3) or a trigger (1, 5); 0 when there is none. */
  #next = 0;
  /** Tick at which `#next` is taken over in modes 2 and 3. */
  #switchTick = 0;
  /** Mode 1: the one-shot was triggered again while OUT was low, so it stays low. */
  #isRetriggered = false;
  /** What the counting element shows while it is not armed. */
  #idleValue = 0;
  /** Low byte of a two-byte count whose high byte is to come; -1 when there is none. */
  #lowByte = -1;
  #readsHighNext = false;
  /** Latched count bytes not yet read. */
  #latch: number[] = [];
  /** Latched status, -1 when there is none. */
  #status = -1;

  /** @param gate initial level of the GATE pin */
  constructor(gate: boolean) {
    this.#gate = gate;
  }

  get gate(): boolean {
    return this.#gate;
  }

  /** Control word: everything starts over, and counting waits for a count. */
  program(access: number, mode: number, isBcd: boolean, tick: number): void {
    this.#idleValue = this.#value(tick);
    this.#access = access;
    // Modes 6 and 7 are 2 and 3 with a bit that is ignored.
    this.#mode = mode > 5 ? mode & 3 : mode;
    this.#isBcd = isBcd;
    this.#isArmed = false;
    this.#paused = -1;
    this.#next = 0;
    this.#isRetriggered = false;
    this.#lowByte = -1;
    this.#readsHighNext = false;
    this.#latch = [];
    this.#status = -1;
  }

  /** A byte to the counter's port. */
  writeByte(value: number, tick: number): void {
    if (this.#access === PIT_ACCESS.low) this.#load(value, tick);
    else if (this.#access === PIT_ACCESS.high) this.#load(value << 8, tick);
    else if (this.#lowByte === -1) {
      // Mode 0: the first byte stops counting and OUT goes low at once.
      if (this.#mode === 0) {
        this.#idleValue = this.#value(tick);
        this.#isArmed = false;
      }
      this.#lowByte = value;
    } else {
      const low = this.#lowByte;
      this.#lowByte = -1;
      this.#load((value << 8) | low, tick);
    }
  }

  /** A complete count: it goes into the counting element with the next CLK, or when its mode lets it. */
  #load(written: number, tick: number): void {
    this.sync(tick);
    const count = this.#decode(written);
    switch (this.#mode) {
      case 0:
      case 4:
        this.#begin(count, tick);
        return;
      case 2:
      case 3:
        if (this.#isArmed && this.#paused === -1) {
          this.#next = count;
          this.#switchTick = this.#endOfPeriod(tick);
        } else {
          this.#begin(count, tick);
        }
        return;
      default:
        this.#next = count;
    }
  }

  #begin(count: number, tick: number): void {
    this.#count = count;
    this.#start = tick + 1;
    this.#isArmed = true;
    this.#paused = this.#gate || this.#mode === 1 || this.#mode === 5 ? -1 : 0;
    this.#next = 0;
  }

  /** First tick after `tick` at which modes 2 and 3 reload: the end of the period or half-period. */
  #endOfPeriod(tick: number): number {
    const done = tick - this.#start;
    if (done < 0) return this.#start;
    const phase = done % this.#count;
    const high = Math.ceil(this.#count / 2);
    const end = this.#mode === 3 && phase < high ? high : this.#count;
    return tick - phase + end;
  }

  /** Takes over a count whose time has come. To be called before anything is computed for `tick`. */
  sync(tick: number): void {
    if (this.#next === 0 || !this.#isArmed || this.#paused !== -1) return;
    if ((this.#mode !== 2 && this.#mode !== 3) || tick < this.#switchTick) return;
    const startsLow = this.#switchesInHighHalf();
    this.#count = this.#next;
    this.#next = 0;
    this.#start = this.#switchTick - (startsLow ? Math.ceil(this.#count / 2) : 0);
  }

  /** Mode 3: whether `#switchTick` is where OUT goes low. */
  #switchesInHighHalf(): boolean {
    return this.#mode === 3 && (this.#switchTick - this.#start) % this.#count !== 0;
  }

  /** Sets the GATE pin (table "Gate Pin Operations Summary"). */
  setGate(level: boolean, tick: number): void {
    if (level === this.#gate) return;
    this.sync(tick);
    this.#gate = level;
    const isTriggered = this.#mode === 1 || this.#mode === 5;
    if (!level) {
      if (this.#isArmed && !isTriggered) this.#paused = Math.max(0, tick - this.#start);
    } else if (isTriggered) {
      this.#trigger(tick);
    } else if (this.#isArmed) {
      if (this.#mode === 2 || this.#mode === 3) this.#begin(this.#next === 0 ? this.#count : this.#next, tick);
      else this.#start = tick - this.#paused;
      this.#paused = -1;
    }
  }

  #trigger(tick: number): void {
    if (!this.#isArmed && this.#next === 0) return;
    const isRetriggered = this.#isArmed && tick - this.#start < this.#count;
    this.#begin(this.#next === 0 ? this.#count : this.#next, tick);
    this.#isRetriggered = isRetriggered;
  }

  /** Level of OUT at `tick`. */
  out(tick: number): boolean {
    this.sync(tick);
    if (!this.#isArmed) return this.#mode !== 0;
    const done = this.#paused !== -1 ? this.#paused : tick - this.#start;
    switch (this.#mode) {
      case 0:
        return done >= this.#count;
      case 1:
        return done >= this.#count || (done < 0 && !this.#isRetriggered);
      case 2:
        return this.#paused !== -1 || done < 0 || done % this.#count !== this.#count - 1;
      case 3:
        return this.#paused !== -1 || done < 0 || done % this.#count < Math.ceil(this.#count / 2);
      default:
        return done !== this.#count;
    }
  }

  /** The first tick after `after` at which OUT goes high, as things are; undefined when it will not. */
  nextRise(after: number): number | undefined {
    this.sync(after);
    if (!this.#isArmed || this.#paused !== -1) return undefined;
    const { done, end } = { done: after - this.#start, end: this.#start + this.#count };
    switch (this.#mode) {
      case 0:
      case 1:
        return end > after ? end : undefined;
      case 2:
      case 3:
        // A count of 1 is illegal here: OUT does not move.
        if (this.#next !== 0) return this.#switchTick + (this.#switchesInHighHalf() ? this.#next >> 1 : 0);
        if (this.#count === 1) return undefined;
        return done < 0 ? end : after - (done % this.#count) + this.#count;
      default:
        return end + 1 > after ? end + 1 : undefined;
    }
  }

  /** What the counting element holds at `tick`, 16 bits, BCD where BCD is on. */
  #value(tick: number): number {
    this.sync(tick);
    if (!this.#isArmed) return this.#idleValue;
    // The tick before the load shows the new count already: one microsecond that no program waits for.
    const done = Math.max(0, this.#paused !== -1 ? this.#paused : tick - this.#start);
    const modulus = this.#isBcd ? BCD_MODULUS : BINARY_MODULUS;
    const count = this.#count;
    if (this.#mode === 2) return this.#encode((count - (done % count)) % modulus);
    if (this.#mode === 3) {
      // Counts down by two in each half, from the even number at or below the count.
      const high = Math.ceil(count / 2);
      const phase = done % count;
      const inHalf = phase < high ? phase : phase - high;
      return this.#encode(((count & ~1) - 2 * inHalf) % modulus);
    }
    return this.#encode((((count - done) % modulus) + modulus) % modulus);
  }

  /** Latches the count, unless one is latched (Counter Latch Command). */
  latchCount(tick: number): void {
    if (this.#latch.length > 0) return;
    const value = this.#value(tick);
    const bytes = [value & 0xff, value >> 8];
    this.#latch =
      this.#access === PIT_ACCESS.low ? [bytes[0]!] : this.#access === PIT_ACCESS.high ? [bytes[1]!] : bytes;
  }

  /** Latches the status, unless one is latched (Read-Back Command). */
  latchStatus(tick: number): void {
    if (this.#status !== -1) return;
    const isNull = !this.#isArmed || this.#next !== 0 || (this.#paused === -1 && tick < this.#start);
    this.#status =
      (this.out(tick) ? STATUS_OUT : 0) |
      (isNull ? STATUS_NULL_COUNT : 0) |
      (this.#access << STATUS_ACCESS_SHIFT) |
      (this.#mode << STATUS_MODE_SHIFT) |
      (this.#isBcd ? 1 : 0);
  }

  /** A byte from the counter's port: latched status, then latched count, then the count as it is. */
  readByte(tick: number): number {
    if (this.#status !== -1) {
      const status = this.#status;
      this.#status = -1;
      return status;
    }
    const latched = this.#latch.shift();
    if (latched !== undefined) return latched;
    const value = this.#value(tick);
    if (this.#access === PIT_ACCESS.low) return value & 0xff;
    if (this.#access === PIT_ACCESS.high) return value >> 8;
    this.#readsHighNext = !this.#readsHighNext;
    return this.#readsHighNext ? value & 0xff : value >> 8;
  }

  /** The count that was written: 0 stands for the modulus. BCD digits above 9 count as what they are worth. */
  #decode(written: number): number {
    if (!this.#isBcd) return written === 0 ? BINARY_MODULUS : written;
    let count = 0;
    for (let shift = 12; shift >= 0; shift -= 4) count = count * 10 + ((written >> shift) & 0xf);
    count %= BCD_MODULUS;
    return count === 0 ? BCD_MODULUS : count;
  }

  #encode(value: number): number {
    if (!this.#isBcd) return value;
    let encoded = 0;
    for (let shift = 0; shift < 16; shift += 4) {
      encoded |= (value % 10) << shift;
      value = Math.floor(value / 10);
    }
    return encoded;
  }

  state(): DeviceState {
    return {
      mode: this.#mode,
      isBcd: this.#isBcd,
      access: this.#access,
      gate: this.#gate,
      count: this.#count,
      start: this.#start,
      isArmed: this.#isArmed,
      paused: this.#paused,
      next: this.#next,
      switchTick: this.#switchTick,
      isRetriggered: this.#isRetriggered,
      idleValue: this.#idleValue,
      lowByte: this.#lowByte,
      readsHighNext: this.#readsHighNext,
      latch: [...this.#latch],
      status: this.#status,
    };
  }

  restore(state: DeviceState): void {
    this.#mode = stateNumber(state, 'mode', 5);
    this.#isBcd = stateBoolean(state, 'isBcd');
    this.#access = stateNumber(state, 'access', PIT_ACCESS.lowThenHigh, PIT_ACCESS.low);
    this.#gate = stateBoolean(state, 'gate');
    this.#count = stateNumber(state, 'count', BINARY_MODULUS, 1);
    this.#start = stateFinite(state, 'start');
    this.#isArmed = stateBoolean(state, 'isArmed');
    this.#paused = stateFinite(state, 'paused');
    this.#next = stateNumber(state, 'next', BINARY_MODULUS);
    this.#switchTick = stateFinite(state, 'switchTick');
    this.#isRetriggered = stateBoolean(state, 'isRetriggered');
    this.#idleValue = stateNumber(state, 'idleValue', 0xffff);
    this.#lowByte = stateNumber(state, 'lowByte', 0xff, -1);
    this.#readsHighNext = stateBoolean(state, 'readsHighNext');
    this.#latch = stateNumbers(state, 'latch', 0, 2);
    this.#status = stateNumber(state, 'status', 0xff, -1);
  }
}
