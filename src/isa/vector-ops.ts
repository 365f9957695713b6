/**
 * The operations on 128-bit vectors that rows may use through `s.vec(op, ...)`: WebAssembly's fixed-width SIMD
 * instructions, by name. For each: its signature, its opcode behind the prefix FD, and what it computes, as a
 * function over bigints. Operations of x86 that WebAssembly lacks are composed of these in
 * `families/sse-integer-ops.ts`; relaxed SIMD is not used, because its results differ between hosts.
 *
 * A vector is a bigint of 128 bits, lane 0 in the low bits. Which NaN an operation on floats gives is left open by
 * WebAssembly (here: the positive quiet one without payload), so rows use float operations only where no NaN can
 * come out; arithmetic that follows MXCSR is in the runtime's `sse_` helpers.
 */

/** v: vector; l: WebAssembly i64; i: WebAssembly i32 (a row's value is cut to it, a result zero-extended from it). */
export type VectorType = 'v' | 'l' | 'i';

export interface VectorOp {
  readonly name: string;
  readonly params: readonly VectorType[];
  readonly result: VectorType;
  /** Opcode after the prefix byte FD, to be written as unsigned LEB128. */
  readonly opcode: number;
  /** The value for arguments that are zero-extended to 128, 64 or 32 bits by their type; so is the result. */
  readonly ref: (...args: bigint[]) => bigint;
}

const U128 = (1n << 128n) - 1n;
const ones = (w: number): bigint => (1n << BigInt(w)) - 1n;
const cut = (w: number, v: bigint): bigint => v & ones(w);
const signed = (w: number, v: bigint): bigint => BigInt.asIntN(w, v);

/** The lanes of a vector, lowest first, zero-extended. */
export function lanesOf(w: number, v: bigint): bigint[] {
  return Array.from({ length: 128 / w }, (_, i) => cut(w, v >> BigInt(i * w)));
}
/** The vector of some lanes, each cut to `w` bits; missing lanes are 0. */
export function ofLanes(w: number, lanes: readonly bigint[]): bigint {
  return lanes.reduce((v, x, i) => v | (cut(w, x) << BigInt(i * w)), 0n);
}

const view = new DataView(new ArrayBuffer(8));
/** The number that 32 or 64 bits stand for in binary32 or binary64; and back, with NaNs made canonical. */
function toFloat(w: number, bits: bigint): number {
  view.setBigUint64(0, bits, true);
  return w === 32 ? view.getFloat32(0, true) : view.getFloat64(0, true);
}
function fromFloat(w: number, x: number): bigint {
  if (Number.isNaN(x)) return w === 32 ? 0x7fc00000n : 0x7ff8000000000000n;
  view.setBigUint64(0, 0n, true);
  if (w === 32) view.setFloat32(0, x, true);
  else view.setFloat64(0, x, true);
  return view.getBigUint64(0, true);
}

const saturate = (low: bigint, high: bigint, x: bigint): bigint => (x < low ? low : x > high ? high : x);
const saturateS = (w: number, x: bigint): bigint => saturate(-(1n << BigInt(w - 1)), (1n << BigInt(w - 1)) - 1n, x);
const saturateU = (w: number, x: bigint): bigint => saturate(0n, ones(w), x);

const OPS: VectorOp[] = [];

function define(name: string, signature: string, opcode: number, ref: (...args: bigint[]) => bigint): void {
  const [params = '', result = ''] = signature.split(':');
  OPS.push({ name, params: [...params] as VectorType[], result: result as VectorType, opcode, ref });
}

type Lane1 = (a: bigint) => bigint;
type Lane2 = (a: bigint, b: bigint) => bigint;

const shapeName = (w: number): string => `i${w}x${128 / w}`;
function unary(w: number, op: string, opcode: number, f: Lane1): void {
  define(`${shapeName(w)}.${op}`, 'v:v', opcode, (a) => ofLanes(w, lanesOf(w, a!).map(f)));
}
/** Lane-wise operation; with `s` the lanes are sign-extended first. */
function binary(w: number, op: string, opcode: number, f: Lane2, s = false): void {
  const value = (x: bigint): bigint => (s ? signed(w, x) : x);
  define(`${shapeName(w)}.${op}`, 'vv:v', opcode, (a, b) => {
    const other = lanesOf(w, b!);
    return ofLanes(
      w,
      lanesOf(w, a!).map((x, i) => f(value(x), value(other[i]!))),
    );
  });
}

const truth = (c: boolean): bigint => (c ? -1n : 0n);
const COMPARISONS: readonly [string, Lane2][] = [
  ['eq', (a, b) => truth(a === b)],
  ['ne', (a, b) => truth(a !== b)],
  ['lt', (a, b) => truth(a < b)],
  ['gt', (a, b) => truth(a > b)],
  ['le', (a, b) => truth(a <= b)],
  ['ge', (a, b) => truth(a >= b)],
];

/** eq, ne, then lt, gt, le, ge as _s and _u (64-bit lanes: only _s), from `opcode` on. */
function comparisons(w: number, opcode: number): void {
  let at = opcode;
  for (const [op, f] of COMPARISONS) {
    if (op === 'eq' || op === 'ne') {
      binary(w, op, at++, f);
      continue;
    }
    binary(w, `${op}_s`, at++, f, true);
    if (w < 64) binary(w, `${op}_u`, at++, f);
  }
}

/** abs, neg, all_true, bitmask, shifts, add, sub, which every integer shape has at the same distances. */
function common(w: number, base: number): void {
  const shape = shapeName(w);
  unary(w, 'abs', base, (a) => (signed(w, a) < 0n ? -a : a));
  unary(w, 'neg', base + 1, (a) => -a);
  define(`${shape}.all_true`, 'v:i', base + 3, (a) => (lanesOf(w, a!).includes(0n) ? 0n : 1n));
  define(`${shape}.bitmask`, 'v:i', base + 4, (a) =>
    lanesOf(w, a!).reduce((m, x, i) => m | ((x >> BigInt(w - 1)) << BigInt(i)), 0n),
  );
  const shift = (op: string, opcode: number, f: Lane2): void =>
    define(`${shape}.${op}`, 'vi:v', opcode, (a, n) => {
      const count = n! % BigInt(w);
      return ofLanes(
        w,
        lanesOf(w, a!).map((x) => f(x, count)),
      );
    });
  shift('shl', base + 0xb, (x, n) => x << n);
  shift('shr_s', base + 0xc, (x, n) => signed(w, x) >> n);
  shift('shr_u', base + 0xd, (x, n) => x >> n);
  binary(w, 'add', base + 0xe, (a, b) => a + b);
  binary(w, 'sub', base + 0x11, (a, b) => a - b);
}

/** min and max of 8, 16 and 32 bits. */
function minMax(w: number, opcode: number): void {
  const min: Lane2 = (a, b) => (a < b ? a : b);
  const max: Lane2 = (a, b) => (a > b ? a : b);
  binary(w, 'min_s', opcode, min, true);
  binary(w, 'min_u', opcode + 1, min);
  binary(w, 'max_s', opcode + 2, max, true);
  binary(w, 'max_u', opcode + 3, max);
}

/** Saturating additions and subtractions and the average, of 8 and 16 bits. */
function saturating(w: number, base: number): void {
  binary(w, 'add_sat_s', base + 0xf, (a, b) => saturateS(w, a + b), true);
  binary(w, 'add_sat_u', base + 0x10, (a, b) => saturateU(w, a + b));
  binary(w, 'sub_sat_s', base + 0x12, (a, b) => saturateS(w, a - b), true);
  binary(w, 'sub_sat_u', base + 0x13, (a, b) => saturateU(w, a - b));
  binary(w, 'avgr_u', base + 0x1b, (a, b) => (a + b + 1n) >> 1n);
}

/** From lanes of 2w signed bits to lanes of w bits, saturated; the second vector gives the upper half. */
function narrow(w: number, opcode: number): void {
  const name = `${shapeName(w)}.narrow_${shapeName(2 * w)}`;
  const with_ = (f: (w: number, x: bigint) => bigint) => (a?: bigint, b?: bigint) =>
    ofLanes(
      w,
      [...lanesOf(2 * w, a!), ...lanesOf(2 * w, b!)].map((x) => f(w, signed(2 * w, x))),
    );
  define(`${name}_s`, 'vv:v', opcode, with_(saturateS));
  define(`${name}_u`, 'vv:v', opcode + 1, with_(saturateU));
}

/** From lanes of w/2 bits to lanes of w bits: extend and multiply, of the low or the high half, signed or not. */
function widen(w: number, extend: number, extmul: number): void {
  const from = shapeName(w / 2);
  const variants = ['low_s', 'high_s', 'low_u', 'high_u'];
  variants.forEach((variant, i) => {
    const [half, sign] = variant.split('_');
    const pick = (v: bigint): bigint[] => {
      const all = lanesOf(w / 2, v).map((x) => (sign === 's' ? signed(w / 2, x) : x));
      return half === 'low' ? all.slice(0, all.length / 2) : all.slice(all.length / 2);
    };
    define(`${shapeName(w)}.extend_${half}_${from}_${sign}`, 'v:v', extend + i, (a) => ofLanes(w, pick(a!)));
    define(`${shapeName(w)}.extmul_${half}_${from}_${sign}`, 'vv:v', extmul + i, (a, b) => {
      const other = pick(b!);
      return ofLanes(
        w,
        pick(a!).map((x, k) => x * other[k]!),
      );
    });
  });
}

/** Sums of neighbouring lanes of w/2 bits. */
function pairwise(w: number, opcode: number): void {
  for (const sign of ['s', 'u']) {
    const name = `${shapeName(w)}.extadd_pairwise_${shapeName(w / 2)}_${sign}`;
    define(name, 'v:v', opcode + (sign === 'u' ? 1 : 0), (a) => {
      const x = lanesOf(w / 2, a!).map((n) => (sign === 's' ? signed(w / 2, n) : n));
      return ofLanes(
        w,
        Array.from({ length: 128 / w }, (_, i) => x[2 * i]! + x[2 * i + 1]!),
      );
    });
  }
}

function splats(): void {
  define('i8x16.splat', 'i:v', 0x0f, (x) => ofLanes(8, Array(16).fill(x)));
  define('i16x8.splat', 'i:v', 0x10, (x) => ofLanes(16, Array(8).fill(x)));
  define('i32x4.splat', 'i:v', 0x11, (x) => ofLanes(32, Array(4).fill(x)));
  define('i64x2.splat', 'l:v', 0x12, (x) => ofLanes(64, [x!, x!]));
}

function logic(): void {
  define('v128.not', 'v:v', 0x4d, (a) => a! ^ U128);
  define('v128.and', 'vv:v', 0x4e, (a, b) => a! & b!);
  define('v128.andnot', 'vv:v', 0x4f, (a, b) => a! & (b! ^ U128));
  define('v128.or', 'vv:v', 0x50, (a, b) => a! | b!);
  define('v128.xor', 'vv:v', 0x51, (a, b) => a! ^ b!);
  define('v128.bitselect', 'vvv:v', 0x52, (a, b, c) => (a! & c!) | (b! & (c! ^ U128)));
  define('v128.any_true', 'v:i', 0x53, (a) => (a === 0n ? 0n : 1n));
  define('i8x16.swizzle', 'vv:v', 0x0e, (a, b) => {
    const from = lanesOf(8, a!);
    return ofLanes(
      8,
      lanesOf(8, b!).map((i) => from[Number(i)] ?? 0n),
    );
  });
}

function integers(): void {
  [8, 16, 32].forEach((w, i) => {
    comparisons(w, 0x23 + 10 * i);
  });
  comparisons(64, 0xd6);
  [8, 16, 32, 64].forEach((w, i) => {
    common(w, 0x60 + 0x20 * i);
  });
  [8, 16, 32].forEach((w, i) => {
    minMax(w, 0x76 + 0x20 * i);
  });
  saturating(8, 0x60);
  saturating(16, 0x80);
  narrow(8, 0x65);
  narrow(16, 0x85);
  [16, 32, 64].forEach((w, i) => {
    widen(w, 0x87 + 0x20 * i, 0x9c + 0x20 * i);
    if (w < 64) pairwise(w, 0x7c + 2 * i);
  });
  [16, 32, 64].forEach((w, i) => {
    binary(w, 'mul', 0x95 + 0x20 * i, (a, b) => a * b);
  });
  unary(8, 'popcnt', 0x62, (a) => BigInt(a.toString(2).replaceAll('0', '').length));
  binary(16, 'q15mulr_sat_s', 0x82, (a, b) => saturateS(16, (a * b + 0x4000n) >> 15n), true);
  define('i32x4.dot_i16x8_s', 'vv:v', 0xba, (a, b) => {
    const x = lanesOf(16, a!).map((n) => signed(16, n));
    const y = lanesOf(16, b!).map((n) => signed(16, n));
    return ofLanes(
      32,
      [0, 2, 4, 6].map((i) => x[i]! * y[i]! + x[i + 1]! * y[i + 1]!),
    );
  });
}

type Float1 = (a: number) => number;
type Float2 = (a: number, b: number) => number;

/** Rounds to an integral value, ties to even. */
function nearest(x: number): number {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 52) return x;
  const low = Math.floor(x);
  const rest = x - low;
  const r = rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
  return r === 0 && (x < 0 || Object.is(x, -0)) ? -0 : r;
}
/** IEEE 754-2019 minimum and maximum: NaN wins, -0 is below +0. */
const minimum: Float2 = (a, b) => Math.min(a, b);
const maximum: Float2 = (a, b) => Math.max(a, b);

const FLOAT1: readonly [string, number, number, Float1][] = [
  ['ceil', 0x67, 0x74, Math.ceil],
  ['floor', 0x68, 0x75, Math.floor],
  ['trunc', 0x69, 0x7a, Math.trunc],
  ['nearest', 0x6a, 0x94, nearest],
  ['sqrt', 0xe3, 0xef, Math.sqrt],
];
const FLOAT2: readonly [string, number, Float2][] = [
  ['add', 4, (a, b) => a + b],
  ['sub', 5, (a, b) => a - b],
  ['mul', 6, (a, b) => a * b],
  ['div', 7, (a, b) => a / b],
  ['min', 8, minimum],
  ['max', 9, maximum],
];

/** Operations on binary32 (opcodes in the first place) and binary64 lanes. Double rounding to 32 bits is harmless. */
function floats(w: 32 | 64): void {
  const shape = `f${w}x${128 / w}`;
  const first = w === 32 ? 0xe0 : 0xec;
  const lanes1 = (f: Lane1) => (a?: bigint) => ofLanes(w, lanesOf(w, a!).map(f));
  const lanes2 = (f: Lane2) => (a?: bigint, b?: bigint) => {
    const other = lanesOf(w, b!);
    return ofLanes(
      w,
      lanesOf(w, a!).map((x, i) => f(x, other[i]!)),
    );
  };
  const sign = 1n << BigInt(w - 1);
  define(
    `${shape}.abs`,
    'v:v',
    first,
    lanes1((a) => a & ~sign),
  );
  define(
    `${shape}.neg`,
    'v:v',
    first + 1,
    lanes1((a) => a ^ sign),
  );
  for (const [op, op32, op64, f] of FLOAT1) {
    define(
      `${shape}.${op}`,
      'v:v',
      w === 32 ? op32 : op64,
      lanes1((a) => fromFloat(w, f(toFloat(w, a)))),
    );
  }
  for (const [op, at, f] of FLOAT2) {
    define(
      `${shape}.${op}`,
      'vv:v',
      first + at,
      lanes2((a, b) => fromFloat(w, f(toFloat(w, a), toFloat(w, b)))),
    );
  }
  // The pseudo-minimum takes an operand unchanged, NaN or not.
  define(
    `${shape}.pmin`,
    'vv:v',
    first + 10,
    lanes2((a, b) => (toFloat(w, b) < toFloat(w, a) ? b : a)),
  );
  define(
    `${shape}.pmax`,
    'vv:v',
    first + 11,
    lanes2((a, b) => (toFloat(w, a) < toFloat(w, b) ? b : a)),
  );
  const compare: readonly [string, (a: number, b: number) => boolean][] = [
    ['eq', (a, b) => a === b],
    ['ne', (a, b) => a !== b],
    ['lt', (a, b) => a < b],
    ['gt', (a, b) => a > b],
    ['le', (a, b) => a <= b],
    ['ge', (a, b) => a >= b],
  ];
  compare.forEach(([op, f], i) => {
    const opcode = (w === 32 ? 0x41 : 0x47) + i;
    define(
      `${shape}.${op}`,
      'vv:v',
      opcode,
      lanes2((a, b) => truth(f(toFloat(w, a), toFloat(w, b)))),
    );
  });
}

/** A number truncated to 32 bits and saturated; NaN gives 0. */
function truncate(x: number, low: number, high: number): bigint {
  if (Number.isNaN(x)) return 0n;
  return BigInt(Math.trunc(Math.min(Math.max(x, low), high)));
}

function conversions(): void {
  const low = (v: bigint): bigint[] => lanesOf(32, v).slice(0, 2);
  for (const [sign, at, min, max] of [
    ['s', 0, -(2 ** 31), 2 ** 31 - 1],
    ['u', 1, 0, 2 ** 32 - 1],
  ] as const) {
    const integer = (x: bigint): number => Number(sign === 's' ? signed(32, x) : x);
    const from = (w: number) => (x: bigint) => truncate(toFloat(w, x), min, max);
    define(`i32x4.trunc_sat_f32x4_${sign}`, 'v:v', 0xf8 + at, (a) => ofLanes(32, lanesOf(32, a!).map(from(32))));
    define(`i32x4.trunc_sat_f64x2_${sign}_zero`, 'v:v', 0xfc + at, (a) => ofLanes(32, lanesOf(64, a!).map(from(64))));
    define(`f32x4.convert_i32x4_${sign}`, 'v:v', 0xfa + at, (a) =>
      ofLanes(
        32,
        lanesOf(32, a!).map((x) => fromFloat(32, integer(x))),
      ),
    );
    define(`f64x2.convert_low_i32x4_${sign}`, 'v:v', 0xfe + at, (a) =>
      ofLanes(
        64,
        low(a!).map((x) => fromFloat(64, integer(x))),
      ),
    );
  }
  define('f32x4.demote_f64x2_zero', 'v:v', 0x5e, (a) =>
    ofLanes(
      32,
      lanesOf(64, a!).map((x) => fromFloat(32, toFloat(64, x))),
    ),
  );
  define('f64x2.promote_low_f32x4', 'v:v', 0x5f, (a) =>
    ofLanes(
      64,
      low(a!).map((x) => fromFloat(64, toFloat(32, x))),
    ),
  );
}

splats();
logic();
integers();
floats(32);
floats(64);
conversions();

/** All operations, by name. */
export const VECTOR_OPS: ReadonlyMap<string, VectorOp> = new Map(OPS.map((op) => [op.name, op]));

/** The operation of a name; throws for a name that is not in the table. */
export function vectorOp(name: string): VectorOp {
  const op = VECTOR_OPS.get(name);
  if (!op) throw new Error(`no vector operation ${name}: see src/isa/vector-ops.ts`);
  return op;
}
