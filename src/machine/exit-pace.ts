/**
 * On which thread a vCPU runs best: on the caller's, where an exit costs least, while the guest leaves often; on one of
 * its own, which leaves the caller's event loop alone, while it computes or sleeps. A change of threads may cost
 * milliseconds (kernels before 6.13 synchronise), so it takes more than one sign.
 */

/** Longest run on the caller's thread, nanoseconds. */
export const NEAR_NS = 1e6;
/** So many runs of that length without an exit, and the guest goes. */
const QUIET_RUNS = 3;
/** So many exits within so many milliseconds, and it comes back. */
const EXITS = 32;
const WITHIN_MS = 16;

export class ExitPace {
  /** The caller's thread it is. */
  near = true;
  private quiet = 0;
  private exits = 0;
  private since = 0;

  /** @param left the guest left by itself; else its time was over; @param now performance.now() */
  note(left: boolean, now: number): void {
    if (this.near) {
      this.quiet = left ? 0 : this.quiet + 1;
      if (this.quiet < QUIET_RUNS) return;
      this.near = false;
      this.exits = 0;
      this.since = now;
    } else if (left && ++this.exits >= EXITS) {
      this.near = now - this.since < WITHIN_MS;
      this.exits = 0;
      this.quiet = 0;
      this.since = now;
    }
  }
}
