// Progress of a download: one line that is redrawn on a terminal, one line a step elsewhere.

import type { WriteStream } from 'node:tty';
import type { OnProgress } from '../../image/pull.ts';

/** Least time between two redraws in milliseconds. */
const redrawMs = 100;

const clearLine = '\r\x1b[K';

/**
 * Makes a listener that shows progress on `stream`. A step's line is finished when its progress reaches 1.
 */
export function pullProgress(stream: NodeJS.WritableStream): OnProgress {
  const isTerminal = (stream as Partial<WriteStream>).isTTY === true;
  let shown = '';
  let drawn = 0;
  return (step, done) => {
    if (!isTerminal) {
      if (step !== shown) stream.write(`plinth: ${step}\n`);
      shown = step;
      return;
    }
    const now = performance.now();
    if (step === shown && done < 1 && now - drawn < redrawMs) return;
    shown = step;
    drawn = now;
    const percent = `${Math.floor(done * 100)}%`.padStart(4);
    stream.write(`${clearLine}plinth: ${percent}  ${step}${done >= 1 ? '\n' : ''}`);
  };
}
