/**
 * The timer of a local APIC: one-shot, periodic and TSC-deadline (SDM vol.3 11.5.4). Its input clock is
 * 1 GHz, so a count is nanoseconds times the divisor.
 */
import type { CancelTimer, Clock, DeviceState, Snapshottable } from './device.ts';
import { stateBigint, stateNumber, stateOptionalBigint } from './state.ts';

/** Timer modes: bits [18:17] of the LVT timer entry. */
export const TIMER_MODE = { oneShot: 0, periodic: 1, tscDeadline: 2 } as const;

/** Input clock of the timer before the divisor, in Hz. */
export const APIC_TIMER_HZ = 1_000_000_000;
const NS_PER_SECOND = 1_000_000_000n;

/** Periodic interrupts do not come faster than this, so that a tiny count costs the host little. */
const LEAST_GAP_NS = 100_000n;
/** Periods that a busy host missed are made up for as far as they lie within this time. */
const CATCH_UP_NS = 500_000_000n;

/** What the timer runs on. */
export interface ApicTimerOptions {
  readonly clock: Clock;
  /** The time-stamp counter of the vCPU. */
  readonly tsc: () => bigint;
  /** Its frequency. */
  readonly tscHz: number;
  /** The count is done. */
  readonly onExpire: () => void;
}

/** Timer of one local APIC. */
export class ApicTimer implements Snapshottable {
  readonly #options: ApicTimerOptions;
  readonly #tscHz: bigint;
  #mode = 0;
  /** Divide configuration register: [3] and [1:0] select 2, 4, 8, 16, 32, 64, 128, 1. */
  #divide = 0;
  #initialCount = 0;
  /** Start of the running period in ns. */
  #start = 0n;
  /** IA32_TSC_DEADLINE, 0 when disarmed. */
  #tscDeadline = 0n;
  /** When the host timer fires; undefined when the timer stands still. */
  #deadline: bigint | undefined;
  #cancel: CancelTimer = () => {};

  constructor(options: ApicTimerOptions) {
    this.#options = options;
    this.#tscHz = BigInt(Math.max(1, Math.round(options.tscHz)));
  }

  /** Power-on and INIT state. */
  reset(): void {
    this.#stop();
    this.#mode = TIMER_MODE.oneShot;
    this.#divide = 0;
    this.#initialCount = 0;
    this.#tscDeadline = 0n;
  }

  get initialCount(): number {
    return this.#initialCount;
  }

  get divide(): number {
    return this.#divide;
  }

  /** IA32_TSC_DEADLINE: 0 when disarmed or in another mode. */
  get tscDeadline(): bigint {
    return this.#tscDeadline;
  }

  /** Mode from the LVT entry. To and from TSC-deadline mode disarms. */
  setMode(mode: number): void {
    if (mode === this.#mode) return;
    if (mode === TIMER_MODE.tscDeadline || this.#mode === TIMER_MODE.tscDeadline) {
      this.#stop();
      this.#initialCount = 0;
      this.#tscDeadline = 0n;
    }
    this.#mode = mode;
  }

  /** Divide configuration register. A running count goes on from where it is. */
  setDivide(value: number): void {
    const remaining = this.currentCount;
    this.#divide = value & 0xb;
    if (this.#deadline === undefined || this.#mode === TIMER_MODE.tscDeadline) return;
    const now = this.#options.clock.now();
    this.#start = now - this.#nsOf(this.#initialCount - remaining);
    this.#arm(now + this.#nsOf(remaining));
  }

  /** Initial count register, 32 bits: starts the count, 0 stops it. Ignored in TSC-deadline mode. */
  setInitialCount(count: number): void {
    if (this.#mode === TIMER_MODE.tscDeadline) return;
    this.#initialCount = count;
    if (count === 0) {
      this.#stop();
      return;
    }
    this.#start = this.#options.clock.now();
    this.#arm(this.#start + this.#nsOf(count));
  }

  /** Current count register. */
  get currentCount(): number {
    if (this.#deadline === undefined || this.#mode === TIMER_MODE.tscDeadline) return 0;
    const period = this.#nsOf(this.#initialCount);
    let elapsed = this.#options.clock.now() - this.#start;
    if (elapsed >= period) {
      if (this.#mode !== TIMER_MODE.periodic) return 0;
      elapsed %= period;
    }
    return this.#initialCount - Number(elapsed >> this.#shift());
  }

  /** IA32_TSC_DEADLINE, 64 bits: 0 disarms, a time that has passed fires at once. Ignored in other modes. */
  setTscDeadline(value: bigint): void {
    if (this.#mode !== TIMER_MODE.tscDeadline) return;
    this.#tscDeadline = value;
    if (value === 0n) this.#stop();
    else this.#waitForTsc();
  }

  /** The time-stamp counter was set: a deadline by it comes at another time now. */
  tscWritten(): void {
    if (this.#mode === TIMER_MODE.tscDeadline && this.#tscDeadline !== 0n) this.#waitForTsc();
  }

  #waitForTsc(): void {
    const remaining = this.#tscDeadline - this.#options.tsc();
    if (remaining <= 0n) {
      this.#stop();
      this.#tscDeadline = 0n;
      this.#options.onExpire();
      return;
    }
    this.#arm(this.#options.clock.now() + (remaining * NS_PER_SECOND + this.#tscHz - 1n) / this.#tscHz);
  }

  #fire(): void {
    this.#deadline = undefined;
    if (this.#mode === TIMER_MODE.tscDeadline) {
      this.#waitForTsc();
      return;
    }
    if (this.#mode === TIMER_MODE.periodic && this.#initialCount !== 0) this.#nextPeriod();
    this.#options.onExpire();
  }

  #nextPeriod(): void {
    const now = this.#options.clock.now();
    const period = this.#nsOf(this.#initialCount);
    this.#start += period;
    const late = now - this.#start;
    if (late > CATCH_UP_NS) this.#start += ((late - CATCH_UP_NS) / period) * period;
    const due = this.#start + period;
    const earliest = now + LEAST_GAP_NS;
    this.#arm(due > earliest ? due : earliest);
  }

  #arm(deadline: bigint): void {
    this.#cancel();
    this.#deadline = deadline;
    this.#cancel = this.#options.clock.at(deadline, () => this.#fire());
  }

  #stop(): void {
    this.#cancel();
    this.#deadline = undefined;
  }

  /** The logarithm of the divisor. */
  #shift(): bigint {
    return BigInt((((this.#divide & 3) | ((this.#divide >> 1) & 4)) + 1) & 7);
  }

  #nsOf(count: number): bigint {
    return BigInt(count) << this.#shift();
  }

  state(): DeviceState {
    return {
      mode: this.#mode,
      divide: this.#divide,
      initialCount: this.#initialCount,
      start: this.#start.toString(),
      tscDeadline: this.#tscDeadline.toString(),
      deadline: this.#deadline?.toString() ?? null,
    };
  }

  restore(state: DeviceState): void {
    this.#mode = stateNumber(state, 'mode', 3);
    this.#divide = stateNumber(state, 'divide', 0xb);
    this.#initialCount = stateNumber(state, 'initialCount');
    this.#start = stateBigint(state, 'start');
    this.#tscDeadline = stateBigint(state, 'tscDeadline');
    const deadline = stateOptionalBigint(state, 'deadline');
    if (deadline === undefined) this.#stop();
    else this.#arm(deadline);
  }
}
