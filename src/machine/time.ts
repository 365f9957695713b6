/**
 * What guest time is: either it follows the host, and a halted guest lets the host rest, or it is a function of the
 * instructions executed, and the same inputs give the same run.
 */
import type { DeviceState, Snapshottable } from '../devices/device.ts';
import { stateBigint } from '../devices/state.ts';
import type { Wait } from './wait.ts';

/** How far a slice may go. */
export interface Slice {
  /** Instructions. */
  readonly budget: number;
  /** Guest time in nanoseconds. */
  readonly ns: number;
}

/** The time source of one machine. */
export interface TimeSource {
  /** Monotonic nanoseconds from any origin. */
  readonly nowNs: () => number;
  /** The date as milliseconds since 1970. */
  readonly wallMs: () => number;
  /** 64 random bits for the guest; undefined: the platform's generator. */
  readonly random64: (() => bigint) | undefined;
  /** What happens on the host must not be seen by the guest: neither input nor a stop cuts a slice short. */
  readonly deterministic: boolean;
  /**
   * @param ns guest time until the next timer is due; undefined when there is none
   * @param longestNs longest slice that the engine takes; undefined: about a millisecond
   */
  plan(ns: number | undefined, longestNs?: number): Slice;
  /** A slice executed so many instructions in so many nanoseconds of the host. */
  ran(instructions: number, ns: number): void;
  /**
   * Lets the time pass in which the guest is halted: `ns` until the next timer, undefined when there is none.
   * @returns whether the host's event loop had its turn
   */
  halted(ns: number | undefined, wait: Wait): Promise<boolean>;
}

/** A slice takes about this long, so that timers are not late. */
const SLICE_NS = 1_000_000;
/** Instructions in a slice of the host's time. */
const MIN_SLICE = 2_000;
const MAX_SLICE = 4_000_000;
/** Longest sleep in milliseconds of a guest without a timer. */
const LONG_SLEEP_MS = 1000;
const NS_PER_MS = 1e6;

/** Bound once: guests ask for the time so often that looking the global up shows. */
const hostClock = performance;

/** Guest time that follows the host's monotonic clock. */
export class HostTime implements TimeSource {
  readonly deterministic = false;
  readonly random64 = undefined;
  /** Instructions per nanosecond, measured, for sizing slices. */
  #speed = 0.05;

  readonly nowNs = (): number => Math.round(hostClock.now() * NS_PER_MS);
  readonly wallMs = (): number => Date.now();

  plan(ns: number | undefined, longestNs = SLICE_NS): Slice {
    const within = Math.min(ns ?? longestNs, longestNs);
    return { budget: Math.max(MIN_SLICE, Math.min(MAX_SLICE, Math.round(within * this.#speed))), ns: within };
  }
  ran(instructions: number, ns: number): void {
    if (instructions <= MIN_SLICE / 2 || ns <= 0) return;
    const speed = instructions / ns;
    // What is interpreted behind a loop that was translated runs at a twentieth of its speed: slices soon end in time again.
    this.#speed += (speed < this.#speed ? 0.5 : 0.1) * (speed - this.#speed);
  }
  async halted(ns: number | undefined, wait: Wait): Promise<boolean> {
    const ms = ns === undefined ? LONG_SLEEP_MS : ns / NS_PER_MS;
    return ms > 0 && (await wait.sleep(ms));
  }
}

/** Nanoseconds of guest time for an instruction: about what the interpreter takes on a PC of 2024. */
export const INSTRUCTION_NS = 10;
/** Instructions in a slice: the host gets its turn every few milliseconds. */
const INSTRUCTIONS = 500_000;
/** The date on which every deterministic machine is switched on. */
const POWER_ON_MS = Date.UTC(2026, 0, 1);

/** Guest time that counts instructions. A halted guest's time jumps to its next timer. */
export class InstructionTime implements TimeSource, Snapshottable {
  readonly deterministic = true;
  /** Instructions executed since power-on; set by the owner of the vCPU. */
  executed: () => number = () => 0;
  /** Time in which the guest was halted. */
  #skipped = 0;
  #random: bigint;

  /** @param seed of the random bits that the guest gets, 64 bits */
  constructor(seed: bigint) {
    this.#random = BigInt.asUintN(64, seed);
  }

  readonly nowNs = (): number => this.executed() * INSTRUCTION_NS + this.#skipped;
  readonly wallMs = (): number => POWER_ON_MS + this.nowNs() / NS_PER_MS;

  /** splitmix64 (Steele, Lea, Flood 2014). */
  readonly random64 = (): bigint => {
    this.#random = BigInt.asUintN(64, this.#random + 0x9e37_79b9_7f4a_7c15n);
    let z = this.#random;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return z ^ (z >> 31n);
  };

  plan(ns: number | undefined): Slice {
    const budget = Math.min(INSTRUCTIONS, Math.max(1, Math.ceil((ns ?? Number.POSITIVE_INFINITY) / INSTRUCTION_NS)));
    return { budget, ns: budget * INSTRUCTION_NS };
  }
  ran(): void {}
  async halted(ns: number | undefined, wait: Wait): Promise<boolean> {
    // Nothing will ever wake this guest; whoever runs it may stop it.
    if (ns === undefined) return wait.sleep(LONG_SLEEP_MS);
    if (ns > 0) this.#skipped += ns;
    return false;
  }

  state(): DeviceState {
    return { skipped: this.#skipped.toString(), random: this.#random.toString() };
  }
  restore(state: DeviceState): void {
    this.#skipped = Number(stateBigint(state, 'skipped'));
    this.#random = BigInt.asUintN(64, stateBigint(state, 'random'));
  }
}
