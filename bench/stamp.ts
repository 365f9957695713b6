// Time stamps of a child process: the clock, and the processor time of all its threads by Linux's schedstat.

import { readdirSync, readFileSync } from 'node:fs';
import type { Stamp } from './samples.ts';

/** Nanoseconds on a processor of one thread: the first word of its schedstat (Linux: sched-stats.rst). */
function threadNanoseconds(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8').split(' ')[0]);
  } catch {
    return 0; // the thread has ended
  }
}

/** Now, for process `pid`; processor time is 0 where the process has ended. */
export function stampOf(pid: number): Stamp {
  const wall = performance.now() / 1000;
  let nanoseconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += threadNanoseconds(`/proc/${pid}/task/${thread}/schedstat`);
    }
  } catch {
    // The process has ended.
  }
  return { wall, cpu: nanoseconds / 1e9 };
}
