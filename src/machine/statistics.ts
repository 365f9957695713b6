/** What a machine has done: how fast, in which tier, why it came out of its engine. For people and for scripts. */
import type { HostClock } from '../devices/clock.ts';
import type { MachineCpu, RunEnd } from './contract-cpu.ts';
import type { CpuCounts, CpuObserver } from './observe.ts';

/** Shares of the host's time, 0 to 1. */
export interface TimeShares {
  readonly idle: number;
  /** Running the guest's instructions, devices included, told apart by samples at the ends of slices. */
  readonly interpreted: number;
  readonly translated: number;
  /** Making and compiling regions. */
  readonly translating: number;
}

export interface MachineStats extends CpuCounts {
  /** The host's time since the machine was made, and the guest's. */
  readonly seconds: number;
  readonly guestSeconds: number;
  /** Executed since power-on; 0 where the engine does not count. */
  readonly instructions: number;
  /** Millions of instructions a second in which the guest was not halted, since power-on and since the last report. */
  readonly mips: number;
  readonly mipsLately: number;
  readonly time: TimeShares;
  /** Samples behind `interpreted` and `translated`. */
  readonly samples: number;
  /** Timers of devices: how many fired, and how late, in microseconds of guest time. */
  readonly timers: HostClock['timers'];
  /** Slices, by how they ended. */
  readonly slices: Readonly<Record<RunEnd, number>>;
}

export class Statistics {
  readonly #vcpu: Pick<MachineCpu, 'retired'>;
  readonly #observer: CpuObserver;
  readonly #clock: HostClock;
  readonly #started = performance.now();
  readonly #slices = { budget: 0, hlt: 0, shutdown: 0 };
  #idleMs = 0;
  #busyMs = 0;
  /** Running time of the slices whose ends were seen in each tier. */
  #translatedMs = 0;
  #interpretedMs = 0;
  #samples = 0;
  #last = { instructions: 0, busyMs: 0 };

  constructor(vcpu: Pick<MachineCpu, 'retired'>, observer: CpuObserver, clock: HostClock) {
    this.#vcpu = vcpu;
    this.#observer = observer;
    this.#clock = clock;
  }

  /** A slice took so many milliseconds and ended for a reason. */
  ran(why: RunEnd, ms: number): void {
    this.#busyMs += ms;
    this.#slices[why]++;
    // A HLT is where the guest wanted to stop; a budget ends anywhere.
    if (why !== 'budget') return;
    const translated = this.#observer.inTranslation();
    if (translated === undefined) return;
    this.#samples++;
    if (translated) this.#translatedMs += ms;
    else this.#interpretedMs += ms;
  }

  /** The guest was halted for so many milliseconds. */
  idled(ms: number): void {
    this.#idleMs += ms;
  }

  report(): MachineStats {
    const instructions = this.#vcpu.retired;
    const ms = Math.max(1e-3, performance.now() - this.#started);
    const counts = this.#observer.counts();
    const translatingMs = counts.translator?.ms ?? 0;
    const last = this.#last;
    this.#last = { instructions, busyMs: this.#busyMs };
    return {
      seconds: ms / 1000,
      guestSeconds: Number(this.#clock.now()) / 1e9,
      instructions,
      mips: mips(instructions, this.#busyMs),
      mipsLately: mips(instructions - last.instructions, this.#busyMs - last.busyMs),
      time: this.#shares(ms, Math.min(translatingMs, this.#busyMs)),
      samples: this.#samples,
      timers: this.#clock.timers,
      slices: { ...this.#slices },
      ...counts,
    };
  }

  #shares(ms: number, translatingMs: number): TimeShares {
    const sampled = this.#translatedMs + this.#interpretedMs;
    const running = (this.#busyMs - translatingMs) / ms;
    const translated = sampled > 0 ? running * (this.#translatedMs / sampled) : 0;
    return {
      idle: this.#idleMs / ms,
      interpreted: running - translated,
      translated,
      translating: translatingMs / ms,
    };
  }
}

const mips = (instructions: number, ms: number): number => (ms > 0 ? instructions / ms / 1000 : 0);
