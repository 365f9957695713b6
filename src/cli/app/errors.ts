// Errors a user can act on, and how every error reaches stderr: one line, `plinth: <what>; <what to do>`.

/** What the process ends with. Test kernels choose their own through the debug-exit port: `(value << 1) | 1`. */
export const exitCode = {
  poweroff: 0,
  hostError: 1,
  usage: 2,
  /** Triple fault, or a reset such as a panicking kernel asks for. */
  crash: 3,
  timeout: 124,
  /** Added to a signal's number, as shells do. */
  signalBase: 128,
} as const;

/** Something on the host is wrong or missing. */
export class HostError extends Error {
  override readonly name: string = 'HostError';
  readonly advice: string;

  constructor(reason: string, advice: string, options?: ErrorOptions) {
    super(`${reason}; ${advice}`, options);
    this.advice = advice;
  }
}

/** The command line is wrong. */
export class UsageError extends HostError {
  override readonly name = 'UsageError';
}

/** True for the errors of every layer that are meant for the user: they carry advice, also in their message. */
function isForUser(error: unknown): error is Error {
  return error instanceof Error && typeof (error as { advice?: unknown }).advice === 'string';
}

/** The line that tells an error to the user. */
export function errorLine(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ');
  if (isForUser(error)) return `plinth: ${message}`;
  return `plinth: internal error: ${message}; set PLINTH_DEBUG=1 and report what it prints`;
}

/** Prints an error, with its stack when PLINTH_DEBUG is set, and says which code to end with. */
export function reportError(error: unknown): number {
  process.stderr.write(`${errorLine(error)}\n`);
  if (process.env.PLINTH_DEBUG && error instanceof Error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      process.stderr.write(`${cause.stack ?? cause.message}\n`);
    }
  }
  return error instanceof UsageError ? exitCode.usage : exitCode.hostError;
}
