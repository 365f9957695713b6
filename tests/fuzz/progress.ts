// Progress of a long comparison on stderr, and its end when the processor time is up.
import type { FuzzOptions } from '../../scripts/fuzz.ts';

const EVERY = 10_000;

/** To be called now and then with what is done; false when the time is up. */
export function progress(o: Pick<FuzzOptions, 'limit'>): (done: number, mismatches: number) => boolean {
  const started = performance.now();
  let shown = started;
  return (done, mismatches) => {
    const now = performance.now();
    if (now - shown > EVERY) {
      shown = now;
      const seconds = (now - started) / 1000;
      console.error(`${done} cases, ${Math.round(done / seconds)}/s, ${mismatches} kinds of mismatches`);
    }
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000 < o.limit;
  };
}
