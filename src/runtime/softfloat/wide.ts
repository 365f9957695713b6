// 128-bit integer arithmetic out of 64-bit words. Results of two words are left in `W`.

/** Result of the last 128-bit operation: value = hi * 2^64 + lo. */
export class W {
  static hi: u64 = 0;
  static lo: u64 = 0;
}

/** High word of the 128-bit product. */
export function mulHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const mid = a1 * b0 + ((a0 * b0) >> 32);
  const mid2 = a0 * b1 + (mid & 0xffffffff);
  return a1 * b1 + (mid >> 32) + (mid2 >> 32);
}

/** W = a * b. */
export function mul64(a: u64, b: u64): void {
  W.hi = mulHigh(a, b);
  W.lo = a * b;
}

/** W = hi:lo >> n with the bits shifted out OR-ed into bit 0. Any n >= 0. */
export function shiftRightJam(hi: u64, lo: u64, n: i32): void {
  if (n == 0) {
    W.hi = hi;
    W.lo = lo;
  } else if (n < 64) {
    W.hi = hi >> n;
    W.lo = (hi << (64 - n)) | (lo >> n) | u64(lo << (64 - n) != 0);
  } else if (n < 128) {
    const m = n - 64;
    const lost = m == 0 ? lo : lo | (hi << (64 - m));
    W.hi = 0;
    W.lo = (hi >> m) | u64(lost != 0);
  } else {
    W.hi = 0;
    W.lo = u64((hi | lo) != 0);
  }
}

/** W = hi:lo << n, 0 <= n < 128. */
export function shiftLeft(hi: u64, lo: u64, n: i32): void {
  if (n == 0) {
    W.hi = hi;
    W.lo = lo;
  } else if (n < 64) {
    W.hi = (hi << n) | (lo >> (64 - n));
    W.lo = lo << n;
  } else {
    W.hi = lo << (n - 64);
    W.lo = 0;
  }
}

/** W = a + b modulo 2^128; returns the carry. */
export function add128(ahi: u64, alo: u64, bhi: u64, blo: u64): u64 {
  const lo = alo + blo;
  const c0 = u64(lo < alo);
  const hi = ahi + bhi;
  const c1 = u64(hi < ahi);
  const sum = hi + c0;
  W.lo = lo;
  W.hi = sum;
  return c1 | u64(sum < hi);
}

/** W = a - b modulo 2^128. */
export function sub128(ahi: u64, alo: u64, bhi: u64, blo: u64): void {
  W.lo = alo - blo;
  W.hi = ahi - bhi - u64(alo < blo);
}

/** Whether a < b. */
export function less128(ahi: u64, alo: u64, bhi: u64, blo: u64): bool {
  return ahi < bhi || (ahi == bhi && alo < blo);
}

/** Leading zeros of hi:lo; 128 for 0. */
export function leadingZeros(hi: u64, lo: u64): i32 {
  return hi != 0 ? i32(clz<u64>(hi)) : 64 + i32(clz<u64>(lo));
}

/**
 * Quotient of hi:lo / d, for d with bit 63 set and hi < d (so it fits one word). Leaves the remainder in W.lo.
 * Schoolbook division with two 32-bit quotient digits (Knuth, TAOCP vol.2 4.3.1 algorithm D).
 */
export function divide128(hi: u64, lo: u64, d: u64): u64 {
  const d1 = d >> 32;
  const d0 = d & 0xffffffff;
  let q1 = hi / d1;
  let r = hi - q1 * d1;
  const n1 = lo >> 32;
  while (q1 >> 32 != 0 || q1 * d0 > ((r << 32) | n1)) {
    q1--;
    r += d1;
    if (r >> 32 != 0) break;
  }
  const mid = ((hi << 32) | n1) - q1 * d;
  let q0 = mid / d1;
  r = mid - q0 * d1;
  const n0 = lo & 0xffffffff;
  while (q0 >> 32 != 0 || q0 * d0 > ((r << 32) | n0)) {
    q0--;
    r += d1;
    if (r >> 32 != 0) break;
  }
  W.lo = ((mid << 32) | n0) - q0 * d;
  return (q1 << 32) + q0;
}

/**
 * Integer square root of hi:lo with hi >= 2^62; the root has bit 63 set. Leaves the remainder in W.
 * A double-precision estimate is off by less than 2^12, one Newton step brings it within 1.
 */
export function squareRoot128(hi: u64, lo: u64): u64 {
  const estimate = Math.sqrt(f64(hi) * 18446744073709551616.0 + f64(lo));
  let root: u64 = estimate >= 18446744073709551615.0 ? 0xffffffffffffffff : u64(estimate);
  mul64(root, root);
  sub128(hi, lo, W.hi, W.lo);
  const error = f64(i64(W.hi)) * 18446744073709551616.0 + f64(W.lo);
  const step = error / (2.0 * f64(root));
  // The root cannot pass the ends of its range, whatever the estimate was.
  const delta = i64(step);
  if (delta < 0) root -= u64(-delta);
  else root = root > 0xffffffffffffffff - u64(delta) ? 0xffffffffffffffff : root + u64(delta);
  mul64(root, root);
  sub128(hi, lo, W.hi, W.lo);
  while (i64(W.hi) < 0) {
    root--;
    add128(W.hi, W.lo, root >> 63, (root << 1) | 1);
  }
  while (W.hi > root >> 63 || (W.hi == root >> 63 && W.lo > root << 1)) {
    sub128(W.hi, W.lo, root >> 63, (root << 1) | 1);
    root++;
  }
  return root;
}
