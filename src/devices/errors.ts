/**
 * Errors of the board's wiring and of snapshots. The guest cannot cause either.
 */

/** Two devices want the same ports or addresses, or a range is not one. `message` is "cause; advice". */
export class BusError extends Error {
  /** What is wrong, without a full stop. */
  readonly reason: string;
  /** What the person can do about it. */
  readonly advice: string;

  constructor(reason: string, advice: string) {
    super(`${reason}; ${advice}`);
    this.name = 'BusError';
    this.reason = reason;
    this.advice = advice;
  }
}

/** A device state that does not have the form this version writes. `message` is "cause; advice". */
export class SnapshotError extends Error {
  /** The field of the state that is wrong. */
  readonly field: string;

  constructor(field: string, expected: string) {
    super(`snapshot field ${field} is not ${expected}; take the snapshot again with this version`);
    this.name = 'SnapshotError';
    this.field = field;
  }
}
