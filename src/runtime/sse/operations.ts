// ADD, SUB, MUL, DIV and SQRT as classes for the generic functions of arith.ts: natively on scalars (d, s) and vectors
// (dd, ssss), by softfloat, and what is known about exactness. They have no instances: AssemblyScript resolves a
// method of a type parameter only through `changetype<T>(0)`. SQRT takes its operand twice.

import {
  f32_add,
  f32_div,
  f32_mul,
  f32_sqrt,
  f32_sub,
  f64_add,
  f64_div,
  f64_mul,
  f64_sqrt,
  f64_sub,
} from '../softfloat';
import { zeroLanes32, zeroLanes64 } from './quick';

/** Significant bits of a normal number or zero, trailing zeros not counted. */
function digits(x: f64): i32 {
  return 53 - min<i32>(52, i32(ctz<u64>(reinterpret<u64>(x))));
}

/** Whether r = a + b exactly: Knuth's two-sum. Its steps are exact unless they overflow, and then its error is no 0. */
function exactSum64(a: f64, b: f64, r: f64): bool {
  const part = r - a;
  return a - (r - part) + (b - part) == 0;
}
function exactSum32(a: f32, b: f32, r: f32): bool {
  const part: f32 = r - a;
  return a - (r - part) + (b - part) == 0;
}

const ALL: v128 = i64x2(-1, -1);

export class Add {
  d(a: f64, b: f64): f64 {
    return a + b;
  }
  s(a: f32, b: f32): f32 {
    return a + b;
  }
  dd(a: v128, b: v128): v128 {
    return v128.add<f64>(a, b);
  }
  ssss(a: v128, b: v128): v128 {
    return v128.add<f32>(a, b);
  }
  soft64(a: u64, b: u64): u64 {
    return f64_add(a, b);
  }
  soft32(a: u32, b: u32): u32 {
    return f32_add(a, b);
  }
  /** Whether a normal result r is exact; false when in doubt. */
  exact64(a: f64, b: f64, r: f64): bool {
    return exactSum64(a, b, r);
  }
  exact32(a: f32, b: f32, r: f32): bool {
    return exactSum32(a, b, r);
  }
  /** Whether a result of zero is exact, operands being normal or zero. */
  zero64(a: f64, b: f64): bool {
    return true;
  }
  zero32(a: f32, b: f32): bool {
    return true;
  }
  zeros64(a: v128, b: v128): v128 {
    return ALL;
  }
  zeros32(a: v128, b: v128): v128 {
    return ALL;
  }
}

export class Sub {
  d(a: f64, b: f64): f64 {
    return a - b;
  }
  s(a: f32, b: f32): f32 {
    return a - b;
  }
  dd(a: v128, b: v128): v128 {
    return v128.sub<f64>(a, b);
  }
  ssss(a: v128, b: v128): v128 {
    return v128.sub<f32>(a, b);
  }
  soft64(a: u64, b: u64): u64 {
    return f64_sub(a, b);
  }
  soft32(a: u32, b: u32): u32 {
    return f32_sub(a, b);
  }
  exact64(a: f64, b: f64, r: f64): bool {
    return exactSum64(a, -b, r);
  }
  exact32(a: f32, b: f32, r: f32): bool {
    return exactSum32(a, -b, r);
  }
  zero64(a: f64, b: f64): bool {
    return true;
  }
  zero32(a: f32, b: f32): bool {
    return true;
  }
  zeros64(a: v128, b: v128): v128 {
    return ALL;
  }
  zeros32(a: v128, b: v128): v128 {
    return ALL;
  }
}

export class Mul {
  d(a: f64, b: f64): f64 {
    return a * b;
  }
  s(a: f32, b: f32): f32 {
    return a * b;
  }
  dd(a: v128, b: v128): v128 {
    return v128.mul<f64>(a, b);
  }
  ssss(a: v128, b: v128): v128 {
    return v128.mul<f32>(a, b);
  }
  soft64(a: u64, b: u64): u64 {
    return f64_mul(a, b);
  }
  soft32(a: u32, b: u32): u32 {
    return f32_mul(a, b);
  }
  exact64(a: f64, b: f64, r: f64): bool {
    return digits(a) + digits(b) <= 53;
  }
  /** Products of binary32 are exact in binary64. */
  exact32(a: f32, b: f32, r: f32): bool {
    return f64(a) * f64(b) == f64(r);
  }
  zero64(a: f64, b: f64): bool {
    return a == 0 || b == 0;
  }
  zero32(a: f32, b: f32): bool {
    return a == 0 || b == 0;
  }
  zeros64(a: v128, b: v128): v128 {
    return v128.or(zeroLanes64(a), zeroLanes64(b));
  }
  zeros32(a: v128, b: v128): v128 {
    return v128.or(zeroLanes32(a), zeroLanes32(b));
  }
}

export class Div {
  d(a: f64, b: f64): f64 {
    return a / b;
  }
  s(a: f32, b: f32): f32 {
    return a / b;
  }
  dd(a: v128, b: v128): v128 {
    return v128.div<f64>(a, b);
  }
  ssss(a: v128, b: v128): v128 {
    return v128.div<f32>(a, b);
  }
  soft64(a: u64, b: u64): u64 {
    return f64_div(a, b);
  }
  soft32(a: u32, b: u32): u32 {
    return f32_div(a, b);
  }
  exact64(a: f64, b: f64, r: f64): bool {
    return digits(r) + digits(b) <= 53 && r * b == a;
  }
  exact32(a: f32, b: f32, r: f32): bool {
    return f64(r) * f64(b) == f64(a);
  }
  zero64(a: f64, b: f64): bool {
    return a == 0;
  }
  zero32(a: f32, b: f32): bool {
    return a == 0;
  }
  zeros64(a: v128, b: v128): v128 {
    return zeroLanes64(a);
  }
  zeros32(a: v128, b: v128): v128 {
    return zeroLanes32(a);
  }
}

export class Sqrt {
  d(a: f64, b: f64): f64 {
    return sqrt<f64>(a);
  }
  s(a: f32, b: f32): f32 {
    return sqrt<f32>(a);
  }
  dd(a: v128, b: v128): v128 {
    return v128.sqrt<f64>(a);
  }
  ssss(a: v128, b: v128): v128 {
    return v128.sqrt<f32>(a);
  }
  soft64(a: u64, b: u64): u64 {
    return f64_sqrt(a);
  }
  soft32(a: u32, b: u32): u32 {
    return f32_sqrt(a);
  }
  exact64(a: f64, b: f64, r: f64): bool {
    return digits(r) <= 26 && r * r == a;
  }
  exact32(a: f32, b: f32, r: f32): bool {
    return f64(r) * f64(r) == f64(a);
  }
  zero64(a: f64, b: f64): bool {
    return true;
  }
  zero32(a: f32, b: f32): bool {
    return true;
  }
  zeros64(a: v128, b: v128): v128 {
    return ALL;
  }
  zeros32(a: v128, b: v128): v128 {
    return ALL;
  }
}
