// Signals that end the program: the first asks for an orderly end, a later one does not wait for it.

import { constants } from 'node:os';
import { exitCode } from './errors.ts';

const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type EndingSignal = (typeof endingSignals)[number];

/** One Ctrl-C can arrive twice, from the terminal and from the launcher: within this time it counts once. */
const sameMs = 500;

/**
 * Calls `end` with the exit code to use when the program is asked to end.
 * @returns a function that puts the default behaviour back
 */
export function onEndingSignal(end: (code: number) => void): () => void {
  let first: number | undefined;
  const listener = (name: EndingSignal) => {
    const code = exitCode.signalBase + constants.signals[name];
    if (first === undefined) {
      first = performance.now();
      end(code);
    } else if (performance.now() - first > sameMs) process.exit(code);
  };
  for (const name of endingSignals) process.on(name, listener);
  return () => {
    for (const name of endingSignals) process.off(name, listener);
  };
}
