/**
 * The 8254 interval timer of a PC at 1.193182 MHz, and the system control port B (61h) that is wired to
 * it: counter 0 makes the timer interrupt, counter 1 refreshed memory, counter 2 drives the speaker.
 */
import { BytePorts } from './byte-ports.ts';
import type { CancelTimer, Clock, DeviceState, IrqLine, PortRange, Snapshottable } from './device.ts';
import { PIT_ACCESS, PitCounter } from './pit-counter.ts';
import { stateBoolean, stateChildren, stateFinite, stateNumber, stateOptionalBigint } from './state.ts';

/** CLK of all counters in Hz. */
export const PIT_HZ = 1193182;
const HZ = BigInt(PIT_HZ);
const NS_PER_SECOND = 1_000_000_000n;

const COUNTERS = 3;
const CONTROL = 3;
/** Control word: [7:6] counter (3 read-back), [5:4] access (0 latch), [3:1] mode, [0] BCD. */
const CONTROL_COUNTER_SHIFT = 6;
const CONTROL_ACCESS_SHIFT = 4;
const CONTROL_MODE_SHIFT = 1;
const CONTROL_BCD = 1 << 0;
/** Read-back command: [5] do not latch count, [4] do not latch status, [3:1] counters. */
const READ_BACK = 3;
const READ_BACK_NO_COUNT = 1 << 5;
const READ_BACK_NO_STATUS = 1 << 4;

/**
 * Port 61h: [0] gate of counter 2, [1] speaker data, [2] parity check off, [3] channel check off,
 * [4] refresh toggle (r/o), [5] OUT of counter 2 (r/o), [7:6] errors (r/o, none).
 */
const PORT_B_GATE2 = 1 << 0;
const PORT_B_WRITABLE = 0x0f;
const PORT_B_REFRESH = 1 << 4;
const PORT_B_OUT2 = 1 << 5;
/** Counter 1 of a PC divides by 18: a refresh each 15 µs. */
const REFRESH_TICKS = 18;

/** Interrupts do not come faster than this, neither those that are late nor those of a tiny count. */
const LEAST_GAP_NS = 100_000n;
/** Interrupts that a busy host missed are made up for as far as they lie within this time. */
const CATCH_UP_TICKS = PIT_HZ / 2;

/** What the timer is wired to. */
export interface PitOptions {
  /** First of four ports. PC: 0x40. */
  readonly base: number;
  /** System control port B. PC: 0x61. */
  readonly portB: number;
  /** OUT of counter 0: IRQ 0 of the 8259 and pin 2 of the I/O APIC. */
  readonly irq: IrqLine;
  readonly clock: Clock;
}

/** The interval timer. */
export class Pit8254 extends BytePorts implements Snapshottable {
  readonly ports: readonly PortRange[];
  readonly #options: PitOptions;
  readonly #counters = [new PitCounter(true), new PitCounter(true), new PitCounter(false)] as const;
  #portB = 0;
  /** The rise of OUT 0 that the timer stands for; behind the time while interrupts are made up for. */
  #riseTick = 0;
  #deadline: bigint | undefined;
  #cancel: CancelTimer = () => {};
  #line = false;

  constructor(options: PitOptions) {
    super();
    this.#options = options;
    this.ports = [
      { base: options.base, count: COUNTERS + 1 },
      { base: options.portB, count: 1 },
    ];
  }

  /** Whether the speaker is driven, and the level of counter 2's output. */
  get speaker(): { readonly enabled: boolean; readonly out: boolean } {
    return { enabled: (this.#portB & 0x02) !== 0, out: this.#counters[2].out(this.#tick()) };
  }

  protected override readByte(port: number): number {
    if (port === this.#options.portB) return this.#readPortB();
    // The control word register cannot be read.
    return this.#counters[port - this.#options.base]?.readByte(this.#tick()) ?? 0xff;
  }

  #readPortB(): number {
    const tick = this.#tick();
    const refresh = Math.floor(tick / REFRESH_TICKS) & 1 ? PORT_B_REFRESH : 0;
    return this.#portB | refresh | (this.#counters[2].out(tick) ? PORT_B_OUT2 : 0);
  }

  protected override writeByte(port: number, value: number): void {
    const tick = this.#tick();
    if (port === this.#options.portB) {
      this.#portB = value & PORT_B_WRITABLE;
      this.#counters[2].setGate((value & PORT_B_GATE2) !== 0, tick);
      return;
    }
    const index = port - this.#options.base;
    if (index === CONTROL) {
      this.#writeControl(value, tick);
      return;
    }
    this.#counters[index]?.writeByte(value, tick);
    if (index === 0) this.#reschedule(tick);
  }

  #writeControl(value: number, tick: number): void {
    const index = value >> CONTROL_COUNTER_SHIFT;
    if (index === READ_BACK) {
      this.#counters.forEach((counter, i) => {
        if (!(value & (2 << i))) return;
        if (!(value & READ_BACK_NO_COUNT)) counter.latchCount(tick);
        if (!(value & READ_BACK_NO_STATUS)) counter.latchStatus(tick);
      });
      return;
    }
    const counter = this.#counters[index]!;
    const access = (value >> CONTROL_ACCESS_SHIFT) & 3;
    if (access === PIT_ACCESS.latch) {
      counter.latchCount(tick);
      return;
    }
    counter.program(access, (value >> CONTROL_MODE_SHIFT) & 7, (value & CONTROL_BCD) !== 0, tick);
    if (index === 0) this.#reschedule(tick);
  }

  /** Counter 0 was written: the line shows OUT, and the timer waits for its next rise. */
  #reschedule(tick: number): void {
    this.#drive(this.#counters[0].out(tick));
    this.#setTimer(this.#counters[0].nextRise(tick), 0n);
  }

  /** Waits for OUT 0 to rise at `rise`, but not before `earliest` (ns). */
  #setTimer(rise: number | undefined, earliest: bigint): void {
    this.#cancel();
    this.#deadline = undefined;
    if (rise === undefined) return;
    const due = timeOfTick(rise);
    this.#riseTick = rise;
    this.#deadline = due > earliest ? due : earliest;
    this.#cancel = this.#options.clock.at(this.#deadline, () => this.#rise());
  }

  /** OUT 0 has risen. In periodic modes the line stays high between, since only its rise matters. */
  #rise(): void {
    const now = this.#options.clock.now();
    this.#drive(false);
    this.#drive(true);
    const from = Math.max(this.#riseTick, tickAt(now) - CATCH_UP_TICKS);
    this.#setTimer(this.#counters[0].nextRise(from), now + LEAST_GAP_NS);
  }

  #drive(level: boolean): void {
    this.#line = level;
    this.#options.irq.set(level);
  }

  #tick(): number {
    return tickAt(this.#options.clock.now());
  }

  state(): DeviceState {
    return {
      counters: this.#counters.map((counter) => counter.state()),
      portB: this.#portB,
      line: this.#line,
      riseTick: this.#riseTick,
      deadline: this.#deadline?.toString() ?? null,
    };
  }

  restore(state: DeviceState): void {
    const counters = stateChildren(state, 'counters', COUNTERS);
    for (const [i, counter] of this.#counters.entries()) counter.restore(counters[i]!);
    this.#portB = stateNumber(state, 'portB', PORT_B_WRITABLE);
    this.#riseTick = stateFinite(state, 'riseTick');
    this.#cancel();
    this.#deadline = stateOptionalBigint(state, 'deadline');
    if (this.#deadline !== undefined) {
      this.#cancel = this.#options.clock.at(this.#deadline, () => this.#rise());
    }
    this.#drive(stateBoolean(state, 'line'));
  }
}

/** CLK ticks done at `ns`. */
function tickAt(ns: bigint): number {
  return Number((ns * HZ) / NS_PER_SECOND);
}

/** The first nanosecond at which `tick` ticks are done. */
function timeOfTick(tick: number): bigint {
  return (BigInt(tick) * NS_PER_SECOND + HZ - 1n) / HZ;
}
