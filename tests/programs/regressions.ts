// Programs that once showed a mismatch, reduced: every forced mode runs them.
export interface Regression {
  /** What was wrong. */
  readonly what: string;
  /** As `specText` writes it. */
  readonly spec: string;
}

export const REGRESSIONS: readonly Regression[] = [
  { what: 'the shadow of STI was gone when a slice ended behind it', spec: '10 near | interrupts:u3qwzf | ' },
];
