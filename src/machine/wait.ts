/** Sleeping until a moment or until somebody wakes the sleeper, without keeping the host's processor busy. */
import { hostTurn } from '../hv/soft/host-turn.ts';

/** The event loop's timers are whole milliseconds and come up to one late: the last part is slept without them. */
const TIMER_ERROR_MS = 2;

/** One sleeper. */
export class Wait {
  #wake: (() => void) | undefined;
  /** Nobody changes it: a wait on it lasts until its limit. */
  readonly #cell = typeof SharedArrayBuffer === 'function' ? new Int32Array(new SharedArrayBuffer(4)) : undefined;

  /** Ends the sleep, if there is one. */
  wake(): void {
    this.#wake?.();
  }

  /**
   * Sleeps `ms` milliseconds (fractions count). The event loop runs meanwhile, but for the last two.
   * @returns whether it has run
   */
  async sleep(ms: number): Promise<boolean> {
    const ends = performance.now() + ms;
    const long = ms > TIMER_ERROR_MS;
    if (long && (await this.#timer(ms - TIMER_ERROR_MS))) return true;
    const left = ends - performance.now();
    if (left <= 0 || this.#block(left)) return long;
    await (left < 1 ? hostTurn() : this.#timer(left));
    return true;
  }

  /** @returns true when it was woken before its time */
  #timer(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (woken: boolean): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve(woken);
      };
      const timer = setTimeout(done, Math.max(1, Math.floor(ms)), false);
      this.#wake = () => done(true);
    });
  }

  /** Sleeps with the thread; false where that is not allowed, as in a page's own thread. */
  #block(ms: number): boolean {
    if (!this.#cell) return false;
    try {
      Atomics.wait(this.#cell, 0, 0, ms);
      return true;
    } catch {
      return false;
    }
  }
}
