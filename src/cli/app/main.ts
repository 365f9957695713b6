// The program behind the launcher: carries out the command line and ends with its exit code.

import { reportError } from './errors.ts';
import { runProgram } from './program.ts';

/** Ends once stdout and stderr are written: exiting at once would cut off what a pipe has not taken yet. */
function exitAfterOutput(code: number): void {
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
}

process.on('uncaughtException', (error) => process.exit(reportError(error)));
// A reader that went away is noticed where it matters; it is no reason for a stack trace anywhere.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

try {
  exitAfterOutput(await runProgram(process.argv.slice(2)));
} catch (error) {
  exitAfterOutput(reportError(error));
}
