/** The vocabulary's operations on values alone, over bigints of 64 bits. */
import { mask, type PureOps, type Width } from '../../isa/ops.ts';

const u64 = (v: bigint): bigint => BigInt.asUintN(64, v);
const s64 = (v: bigint): bigint => BigInt.asIntN(64, v);
const truth = (c: boolean): bigint => (c ? 1n : 0n);

function popcnt(v: bigint): bigint {
  let n = 0n;
  for (let rest = u64(v); rest !== 0n; rest >>= 1n) n += rest & 1n;
  return n;
}

/** Zero bits above the highest one; 64 for zero. */
const clz = (v: bigint): bigint => (u64(v) === 0n ? 64n : BigInt(64 - u64(v).toString(2).length));
/** Zero bits below the lowest one; 64 for zero. */
const ctz = (v: bigint): bigint => (u64(v) === 0n ? 64n : popcnt((u64(v) & -u64(v)) - 1n));

export class ReferencePure implements PureOps<bigint> {
  k(n: bigint): bigint {
    return u64(n);
  }
  add(a: bigint, b: bigint): bigint {
    return u64(a + b);
  }
  sub(a: bigint, b: bigint): bigint {
    return u64(a - b);
  }
  mul(a: bigint, b: bigint): bigint {
    return u64(a * b);
  }
  and(a: bigint, b: bigint): bigint {
    return u64(a & b);
  }
  or(a: bigint, b: bigint): bigint {
    return u64(a | b);
  }
  xor(a: bigint, b: bigint): bigint {
    return u64(a ^ b);
  }
  shl(a: bigint, n: bigint): bigint {
    return u64(a << (n & 63n));
  }
  shr(a: bigint, n: bigint): bigint {
    return u64(a) >> (n & 63n);
  }
  sar(a: bigint, n: bigint): bigint {
    return u64(s64(a) >> (n & 63n));
  }
  rotl(a: bigint, n: bigint): bigint {
    const count = n & 63n;
    return u64((u64(a) << count) | (u64(a) >> (64n - count)));
  }
  eqz(a: bigint): bigint {
    return truth(u64(a) === 0n);
  }
  eq(a: bigint, b: bigint): bigint {
    return truth(u64(a) === u64(b));
  }
  ltu(a: bigint, b: bigint): bigint {
    return truth(u64(a) < u64(b));
  }
  lts(a: bigint, b: bigint): bigint {
    return truth(s64(a) < s64(b));
  }
  popcnt(a: bigint): bigint {
    return popcnt(a);
  }
  clz(a: bigint): bigint {
    return clz(a);
  }
  ctz(a: bigint): bigint {
    return ctz(a);
  }
  sext(w: Width, a: bigint): bigint {
    return u64(BigInt.asIntN(w, a));
  }
  zext(w: Width, a: bigint): bigint {
    return a & mask(w);
  }
  select(c: bigint, a: bigint, b: bigint): bigint {
    return c !== 0n ? a : b;
  }
  let(a: bigint): bigint {
    return a;
  }
  mulhu(a: bigint, b: bigint): bigint {
    return (u64(a) * u64(b)) >> 64n;
  }
  mulhs(a: bigint, b: bigint): bigint {
    return u64((s64(a) * s64(b)) >> 64n);
  }
  divu(a: bigint, b: bigint): bigint {
    return u64(a) / divisor(b);
  }
  remu(a: bigint, b: bigint): bigint {
    return u64(a) % divisor(b);
  }
  divs(a: bigint, b: bigint): bigint {
    const q = s64(a) / s64(divisor(b));
    if (q === 1n << 63n) throw new Error('divs: INT64_MIN / -1 must be excluded by the row');
    return u64(q);
  }
  rems(a: bigint, b: bigint): bigint {
    return u64(s64(a) % s64(divisor(b)));
  }
  udiv128(hi: bigint, lo: bigint, d: bigint): bigint {
    if (u64(hi) >= u64(d)) throw new Error('udiv128: the quotient does not fit; the row must raise #DE first');
    return ((u64(hi) << 64n) | u64(lo)) / u64(d);
  }
}

function divisor(b: bigint): bigint {
  if (u64(b) === 0n) throw new Error('division by zero must be excluded by the row');
  return u64(b);
}
