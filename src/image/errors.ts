// The error of this layer: what went wrong in one clause, and what the user can do about it in another.

/** A mistake or a lack on the host's side while an image is fetched, built or read. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  /** What to do about it, an imperative clause without a full stop. */
  readonly advice: string;

  constructor(message: string, advice: string, options?: ErrorOptions) {
    super(message, options);
    this.advice = advice;
  }
}
