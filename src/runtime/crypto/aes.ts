// AES-NI (SDM vol.1 12.13): one round at a time. A state is a vector, byte 4c + r is row r of column c.

/** S-box and its inverse; then, for a byte of row 0, its substitute's share of a column after (Inv)MixColumns. */
const substitutes = memory.data(256);
const inverses = memory.data(256);
const columns = memory.data(1024);
const inverse_columns = memory.data(1024);
const scratch = memory.data(16);
let ready = false;

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function times(a: u32, b: u32): u32 {
  let product: u32 = 0;
  let x = a;
  for (let rest = b; rest != 0; rest >>= 1) {
    if (rest & 1) product ^= x;
    x = (x << 1) ^ (x & 0x80 ? 0x11b : 0);
  }
  return product;
}

/** The affine map over the inverse (FIPS 197 5.1.1); 3 generates all elements but 0. */
function prepare(): void {
  let p: u32 = 1;
  let q: u32 = 1; // 1 / p
  store<u8>(substitutes, 0x63);
  store<u8>(inverses + 0x63, 0);
  do {
    p = times(p, 3);
    q = times(q, 0xf6);
    const x = q ^ rotl<u8>(u8(q), 1) ^ rotl<u8>(u8(q), 2) ^ rotl<u8>(u8(q), 3) ^ rotl<u8>(u8(q), 4) ^ 0x63;
    store<u8>(substitutes + p, u8(x));
    store<u8>(inverses + (x & 0xff), u8(p));
  } while (p != 1);
  for (let i: u32 = 0; i < 256; i++) {
    const s = u32(load<u8>(substitutes + i));
    const t = u32(load<u8>(inverses + i));
    store<u32>(columns + (i << 2), times(s, 2) | (s << 8) | (s << 16) | (times(s, 3) << 24));
    const high = (times(t, 13) << 16) | (times(t, 11) << 24);
    store<u32>(inverse_columns + (i << 2), times(t, 14) | (times(t, 9) << 8) | high);
  }
  ready = true;
}

function begin(state: v128): void {
  if (!ready) prepare();
  v128.store(scratch, state);
}

/** Byte of row r of column c, after ShiftRows by `step` (1, or 3 for the inverse) columns a row. */
function byteAt(c: u32, r: u32, step: u32): u32 {
  return u32(load<u8>(scratch + (((c + r * step) & 3) << 2) + r));
}

function mixedColumn(c: u32, step: u32, table: usize): u32 {
  return (
    load<u32>(table + (byteAt(c, 0, step) << 2)) ^
    rotl<u32>(load<u32>(table + (byteAt(c, 1, step) << 2)), 8) ^
    rotl<u32>(load<u32>(table + (byteAt(c, 2, step) << 2)), 16) ^
    rotl<u32>(load<u32>(table + (byteAt(c, 3, step) << 2)), 24)
  );
}

function plainColumn(c: u32, step: u32, table: usize): u32 {
  return (
    u32(load<u8>(table + byteAt(c, 0, step))) |
    (u32(load<u8>(table + byteAt(c, 1, step))) << 8) |
    (u32(load<u8>(table + byteAt(c, 2, step))) << 16) |
    (u32(load<u8>(table + byteAt(c, 3, step))) << 24)
  );
}

function quad(r0: u32, r1: u32, r2: u32, r3: u32): v128 {
  let v = i32x4.splat(r0);
  v = v128.replace_lane<u32>(v, 1, r1);
  v = v128.replace_lane<u32>(v, 2, r2);
  return v128.replace_lane<u32>(v, 3, r3);
}

function round(state: v128, key: v128, step: u32, table: usize): v128 {
  begin(state);
  const mixed = quad(
    mixedColumn(0, step, table),
    mixedColumn(1, step, table),
    mixedColumn(2, step, table),
    mixedColumn(3, step, table),
  );
  return v128.xor(mixed, key);
}
function lastRound(state: v128, key: v128, step: u32, table: usize): v128 {
  begin(state);
  const plain = quad(
    plainColumn(0, step, table),
    plainColumn(1, step, table),
    plainColumn(2, step, table),
    plainColumn(3, step, table),
  );
  return v128.xor(plain, key);
}

/** AESENC. */
export function aes_enc(cpu: u32, state: v128, key: v128): v128 {
  return round(state, key, 1, columns);
}
/** AESENCLAST. */
export function aes_enclast(cpu: u32, state: v128, key: v128): v128 {
  return lastRound(state, key, 1, substitutes);
}
/** AESDEC. */
export function aes_dec(cpu: u32, state: v128, key: v128): v128 {
  return round(state, key, 3, inverse_columns);
}
/** AESDECLAST. */
export function aes_declast(cpu: u32, state: v128, key: v128): v128 {
  return lastRound(state, key, 3, inverses);
}

/** InvMixColumns of a column: its table is that of substitutes, whose inverse is taken first. */
function unmixed(column: u32): u32 {
  let r: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    const byte = u32(load<u8>(substitutes + ((column >> (i << 3)) & 0xff)));
    r ^= rotl<u32>(load<u32>(inverse_columns + (byte << 2)), i << 3);
  }
  return r;
}

/** AESIMC. */
export function aes_imc(cpu: u32, key: v128): v128 {
  begin(key);
  return quad(
    unmixed(v128.extract_lane<u32>(key, 0)),
    unmixed(v128.extract_lane<u32>(key, 1)),
    unmixed(v128.extract_lane<u32>(key, 2)),
    unmixed(v128.extract_lane<u32>(key, 3)),
  );
}

function substituted(word: u32): u32 {
  let r: u32 = 0;
  for (let i: u32 = 0; i < 32; i += 8) r |= u32(load<u8>(substitutes + ((word >> i) & 0xff))) << i;
  return r;
}

/** AESKEYGENASSIST. */
export function aes_keygen(cpu: u32, key: v128, constant: u32): v128 {
  begin(key);
  const first = substituted(v128.extract_lane<u32>(key, 1));
  const second = substituted(v128.extract_lane<u32>(key, 3));
  return quad(first, rotr<u32>(first, 8) ^ constant, second, rotr<u32>(second, 8) ^ constant);
}

/** PCLMULQDQ: the product of polynomials over GF(2), 128 bits. */
export function clmul(cpu: u32, a: u64, b: u64): v128 {
  let low: u64 = 0;
  let high: u64 = 0;
  for (let rest = b; rest != 0; rest &= rest - 1) {
    const n = ctz<u64>(rest);
    low ^= a << n;
    if (n != 0) high ^= a >> (64 - n);
  }
  return v128.replace_lane<u64>(i64x2.splat(low), 1, high);
}
