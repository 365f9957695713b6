// Random numbers for tests that print their seed: the same seed gives the same cases.

/** mulberry32: 32 random bits a call. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }
  u32(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }
  /** 0 to n - 1. */
  below(n: number): number {
    return this.u32() % n;
  }
  /** True once in `n`. */
  once(n: number): boolean {
    return this.below(n) === 0;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
}

/** Seed of this run, printed so that a failure can be repeated with PLINTH_SEED. */
export function seedOf(test: string): number {
  const seed = process.env.PLINTH_SEED ? Number(process.env.PLINTH_SEED) : Date.now() & 0x7fff_ffff;
  console.log(`${test}: PLINTH_SEED=${seed}`);
  return seed;
}
