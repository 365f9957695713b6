/**
 * Errors a person can do something about: what is wrong and what to do, in one line.
 */

/** A wrong setting of the machine or a file it cannot use. `message` is "cause; advice" in one line. */
export class MachineError extends Error {
  /** What is wrong, without a full stop. */
  readonly reason: string;
  /** What the person can do about it. */
  readonly advice: string;

  constructor(reason: string, advice: string) {
    super(`${reason}; ${advice}`);
    this.name = 'MachineError';
    this.reason = reason;
    this.advice = advice;
  }
}

/** Why a kernel could not be put into guest memory. */
export type LoadErrorCode =
  | 'not-a-kernel'
  | 'truncated'
  | 'unsupported'
  | 'memory-too-small'
  | 'initrd-too-large'
  | 'command-line-too-long'
  | 'corrupt';

/** A kernel, initrd or command line that cannot be booted. */
export class LoadError extends MachineError {
  readonly code: LoadErrorCode;

  constructor(code: LoadErrorCode, reason: string, advice: string) {
    super(reason, advice);
    this.name = 'LoadError';
    this.code = code;
  }
}
