// The error of this layer: what is wrong and what the user can do about it, in one line.

/** A mistake or a lack on the host's side while an image is fetched, built or read. `message` is "reason; advice". */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  /** What is wrong, a clause without a full stop. */
  readonly reason: string;
  /** What to do about it, likewise. */
  readonly advice: string;

  constructor(reason: string, advice: string, options?: ErrorOptions) {
    super(`${reason}; ${advice}`, options);
    this.reason = reason;
    this.advice = advice;
  }
}
