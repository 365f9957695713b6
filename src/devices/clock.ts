/**
 * Guest time and the timers on it: a clock that tests move by hand and one that follows the host.
 */
import type { CancelTimer, Clock, DeviceState, Snapshottable } from './device.ts';
import { stateBigint } from './state.ts';

/** One timer in the heap; `index` is its place there, -1 when it fired or was cancelled. */
interface Timer {
  readonly deadline: bigint;
  /** Timers with the same deadline fire in the order in which they were set. */
  readonly sequence: number;
  readonly fire: () => void;
  index: number;
}

/** Timers as a binary heap, the earliest first. Setting and cancelling cost the logarithm of their number. */
export class TimerQueue {
  readonly #heap: Timer[] = [];
  #sequence = 0;

  /** Deadline of the earliest timer. */
  get nextDeadline(): bigint | undefined {
    return this.#heap[0]?.deadline;
  }

  /** Sequence number that the next timer gets. */
  get nextSequence(): number {
    return this.#sequence;
  }

  /** Adds a timer. */
  add(deadline: bigint, fire: () => void): CancelTimer {
    const timer: Timer = { deadline, sequence: this.#sequence++, fire, index: this.#heap.length };
    this.#heap.push(timer);
    this.#moveUp(timer);
    return () => this.#remove(timer);
  }

  /** Takes out the earliest timer if its deadline is not after `now` and its sequence number below `sequence`. */
  takeDue(now: bigint, sequence: number): Timer | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.deadline > now) return undefined;
    if (first.sequence < sequence) {
      this.#remove(first);
      return first;
    }
    // A younger timer that is due as well hides older ones: find the earliest of those.
    let best: Timer | undefined;
    for (const timer of this.#heap) {
      if (timer.deadline <= now && timer.sequence < sequence && (best === undefined || isBefore(timer, best))) {
        best = timer;
      }
    }
    if (best !== undefined) this.#remove(best);
    return best;
  }

  #remove(timer: Timer): void {
    const { index } = timer;
    if (index === -1) return;
    timer.index = -1;
    const last = this.#heap.pop()!;
    if (last === timer) return;
    this.#heap[index] = last;
    last.index = index;
    this.#moveUp(last);
    this.#moveDown(last);
  }

  #moveUp(timer: Timer): void {
    while (timer.index > 0) {
      const parent = this.#heap[(timer.index - 1) >> 1]!;
      if (!isBefore(timer, parent)) return;
      this.#swap(timer, parent);
    }
  }

  #moveDown(timer: Timer): void {
    for (;;) {
      const left = this.#heap[2 * timer.index + 1];
      const right = this.#heap[2 * timer.index + 2];
      const child = left !== undefined && right !== undefined && isBefore(right, left) ? right : left;
      if (child === undefined || !isBefore(child, timer)) return;
      this.#swap(child, timer);
    }
  }

  #swap(a: Timer, b: Timer): void {
    const index = a.index;
    a.index = b.index;
    b.index = index;
    this.#heap[a.index] = a;
    this.#heap[b.index] = b;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.deadline !== b.deadline ? a.deadline < b.deadline : a.sequence < b.sequence;
}

/** A clock that stands still until it is advanced: for tests and for deterministic runs. */
export class ManualClock implements Clock, Snapshottable {
  readonly #timers = new TimerQueue();
  #now: bigint;

  /** @param start nanoseconds since power-on */
  constructor(start = 0n) {
    this.#now = start;
  }

  now(): bigint {
    return this.#now;
  }
  nowNs(): number {
    return Number(this.#now);
  }

  at(deadline: bigint, fire: () => void): CancelTimer {
    return this.#timers.add(deadline, fire);
  }

  /** Deadline of the earliest timer in nanoseconds; it may have passed. */
  nextDeadline(): bigint | undefined {
    return this.#timers.nextDeadline;
  }

  /** Moves time on by `ns` (not negative), stopping at each deadline on the way to fire its timers. */
  advance(ns: bigint): void {
    const end = this.#now + (ns > 0n ? ns : 0n);
    for (;;) {
      const timer = this.#timers.takeDue(end, Number.POSITIVE_INFINITY);
      if (timer === undefined) break;
      if (timer.deadline > this.#now) this.#now = timer.deadline;
      timer.fire();
    }
    this.#now = end;
  }

  state(): DeviceState {
    return { now: this.#now.toString() };
  }

  /** Puts the time back. Timers are not part of the state: their devices set them again. */
  restore(state: DeviceState): void {
    this.#now = stateBigint(state, 'now');
  }
}

/** A clock that follows a time source of the host. Somebody must call `runDue` when `nextDeadline` has come. */
export class HostClock implements Clock, Snapshottable {
  readonly #timers = new TimerQueue();
  readonly #nowNs: () => number;
  /** Subtracted from the host's time to give guest time. */
  #offset: number;
  /** The latest time given out: a source that steps back must not take guest time back. */
  #latest = 0;
  #fired = 0;
  #lateNs = 0;
  #latestNs = 0;

  /**
   * Guest time starts at 0, and is exact for 104 days (2^53 nanoseconds): guests ask for it often, and a number costs
   * less than a bigint.
   * @param nowNs monotonic host time in whole nanoseconds, from any origin
   */
  constructor(nowNs: () => number) {
    this.#nowNs = nowNs;
    this.#offset = nowNs();
  }

  now(): bigint {
    return BigInt(this.nowNs());
  }
  nowNs(): number {
    const now = this.#nowNs() - this.#offset;
    if (now > this.#latest) this.#latest = now;
    return this.#latest;
  }

  at(deadline: bigint, fire: () => void): CancelTimer {
    return this.#timers.add(deadline, fire);
  }

  /** Deadline of the earliest timer in nanoseconds; it may have passed. */
  nextDeadline(): bigint | undefined {
    return this.#timers.nextDeadline;
  }

  /**
   * Fires the timers that are due, in order of deadline. Those that they set meanwhile wait for the next
   * call even if due, so that a call ends.
   * @returns true when a timer fired
   */
  runDue(): boolean {
    const sequence = this.#timers.nextSequence;
    const now = this.now();
    let fired = false;
    for (;;) {
      const timer = this.#timers.takeDue(now, sequence);
      if (timer === undefined) return fired;
      fired = true;
      this.#noteLate(Number(now - timer.deadline));
      timer.fire();
    }
  }

  #noteLate(ns: number): void {
    this.#fired++;
    this.#lateNs += ns;
    if (ns > this.#latestNs) this.#latestNs = ns;
  }
  /** How many timers fired so far, and how many microseconds after their deadlines: on average and at worst. */
  get timers(): { readonly fired: number; readonly lateUs: number; readonly worstUs: number } {
    return {
      fired: this.#fired,
      lateUs: this.#lateNs / 1000 / Math.max(1, this.#fired),
      worstUs: this.#latestNs / 1000,
    };
  }

  state(): DeviceState {
    return { now: this.now().toString() };
  }

  /** Goes on from the time in the state. Timers are not part of it: their devices set them again. */
  restore(state: DeviceState): void {
    this.#latest = Number(stateBigint(state, 'now'));
    this.#offset = this.#nowNs() - this.#latest;
  }
}
