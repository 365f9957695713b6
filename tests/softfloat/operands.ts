// Awkward and random operands, from a seeded generator so that a failure repeats.

/** A 64-bit generator (xorshift64*). */
export class Random {
  #state: bigint;

  constructor(seed: number) {
    this.#state = BigInt(seed) * 2n + 0x9e3779b97f4a7c15n;
  }

  /** 64 random bits. */
  u64(): bigint {
    let x = BigInt.asUintN(64, this.#state);
    x ^= x >> 12n;
    x = BigInt.asUintN(64, x ^ (x << 25n));
    x ^= x >> 27n;
    this.#state = x;
    return BigInt.asUintN(64, x * 0x2545f4914f6cdd1dn);
  }

  /** An integer in 0..n-1. */
  below(n: number): number {
    return Number((this.u64() >> 11n) % BigInt(n));
  }

  /** One of the given values. */
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}

const fractions = (bits: number, random: Random): bigint => {
  const all = (1n << BigInt(bits)) - 1n;
  switch (random.below(6)) {
    case 0:
      return 0n;
    case 1:
      return all;
    case 2:
      return 1n << BigInt(random.below(bits));
    case 3:
      return all ^ (all >> BigInt(random.below(bits)));
    case 4:
      return (random.u64() & 7n) + (random.below(2) ? all & ~7n : 0n);
    default:
      return random.u64() & all;
  }
};

/** A binary format's bits with every class and awkward exponents well represented. */
export function binary(random: Random, exponentBits: number, fractionBits: number): bigint {
  const top = (1 << exponentBits) - 1;
  const bias = top >> 1;
  const exponent = [
    () => 0,
    () => top,
    () => 1 + random.below(3),
    () => top - 1 - random.below(3),
    () => bias + random.below(9) - 4,
    () => bias + random.below(140) - 70,
    () => random.below(top + 1),
    () => (bias + random.below(2 * fractionBits)) % top,
  ][random.below(8)]!();
  const sign = BigInt(random.below(2)) << BigInt(exponentBits + fractionBits);
  return sign | (BigInt(exponent) << BigInt(fractionBits)) | fractions(fractionBits, random);
}

export const binary32 = (random: Random): bigint => binary(random, 8, 23);
export const binary64 = (random: Random): bigint => binary(random, 11, 52);

/** An integer of `bits` bits around powers of two and at random, as an unsigned bit pattern. */
export function integer(random: Random, bits: number): bigint {
  const shift = BigInt(random.below(bits));
  const value = [random.u64(), random.u64() >> BigInt(random.below(64)), 1n << shift, (1n << shift) - 1n][
    random.below(4)
  ]!;
  return BigInt.asUintN(bits, random.below(2) ? value : -value);
}

/** An 80-bit extended operand: all classes, now and then an encoding that the x87 refuses. */
export function extended(random: Random): { sig: bigint; se: number } {
  const bits = binary(random, 15, 63);
  const se = Number(bits >> 63n);
  const fraction = bits & 0x7fffffffffffffffn;
  const integerBit = ((se & 0x7fff) !== 0) !== (random.below(24) === 0);
  return { sig: fraction | (integerBit ? 1n << 63n : 0n), se };
}
