// AES-NI (SDM vol.1 12.13): one round at a time. A state is a vector, byte 4c + r is row r of column c. No tables in
// memory: sixteen instances of a vector of sixteen substitutes, of which a swizzle takes those that are meant.

/** The bytes of `row` for those of `v` whose high four bits are `first`; 0 for the others. */
function chosen(row: v128, v: v128, first: i32): v128 {
  return v128.swizzle(row, v128.sub<i8>(v, i8x16.splat(i8(first))));
}

/** SubBytes (FIPS 197 5.1.1). */
function substituted(v: v128): v128 {
  let r = i64x2.splat(0);
  r = v128.or(r, chosen(i64x2(0xc56f6bf27b777c63, 0x76abd7fe2b670130), v, 0));
  r = v128.or(r, chosen(i64x2(0xf04759fa7dc982ca, 0xc072a49cafa2d4ad), v, 16));
  r = v128.or(r, chosen(i64x2(0xccf73f362693fdb7, 0x1531d871f1e5a534), v, 32));
  r = v128.or(r, chosen(i64x2(0x9a059618c323c704, 0x75b227ebe2801207), v, 48));
  r = v128.or(r, chosen(i64x2(0xa05a6e1b1a2c8309, 0x842fe329b3d63b52), v, 64));
  r = v128.or(r, chosen(i64x2(0x5bb1fc20ed00d153, 0xcf584c4a39becb6a), v, 80));
  r = v128.or(r, chosen(i64x2(0x85334d43fbaaefd0, 0xa89f3c507f02f945), v, 96));
  r = v128.or(r, chosen(i64x2(0xf5389d928f40a351, 0xd2f3ff1021dab6bc), v, 112));
  r = v128.or(r, chosen(i64x2(0x1744975fec130ccd, 0x73195d643d7ea7c4), v, 128));
  r = v128.or(r, chosen(i64x2(0x88902a22dc4f8160, 0xdb0b5ede14b8ee46), v, 144));
  r = v128.or(r, chosen(i64x2(0x5c2406490a3a32e0, 0x79e4959162acd3c2), v, 160));
  r = v128.or(r, chosen(i64x2(0xa94ed58d6d37c8e7, 0x08ae7a65eaf4566c), v, 176));
  r = v128.or(r, chosen(i64x2(0xc6b4a61c2e2578ba, 0x8a8bbd4b1f74dde8), v, 192));
  r = v128.or(r, chosen(i64x2(0x0ef6034866b53e70, 0x9e1dc186b9573561), v, 208));
  r = v128.or(r, chosen(i64x2(0x948ed9691198f8e1, 0xdf2855cee9871e9b), v, 224));
  r = v128.or(r, chosen(i64x2(0x6842e6bf0d89a18c, 0x16bb54b00f2d9941), v, 240));
  return r;
}

/** InvSubBytes (FIPS 197 5.3.2). */
function unsubstituted(v: v128): v128 {
  let r = i64x2.splat(0);
  r = v128.or(r, chosen(i64x2(0x38a53630d56a0952, 0xfbd7f3819ea340bf), v, 0));
  r = v128.or(r, chosen(i64x2(0x87ff2f9b8239e37c, 0xcbe9dec444438e34), v, 16));
  r = v128.or(r, chosen(i64x2(0x3d23c2a632947b54, 0x4ec3fa420b954cee), v, 32));
  r = v128.or(r, chosen(i64x2(0xb224d92866a12e08, 0x25d18b6d49a25b76), v, 48));
  r = v128.or(r, chosen(i64x2(0x1698688664f6f872, 0x92b6655dcc5ca4d4), v, 64));
  r = v128.or(r, chosen(i64x2(0xdab9edfd5048706c, 0x849d8da75746155e), v, 80));
  r = v128.or(r, chosen(i64x2(0x0ad3bc8c00abd890, 0x0645b3b80558e4f7), v, 96));
  r = v128.or(r, chosen(i64x2(0x020f3fca8f1e2cd0, 0x6b8a130103bdafc1), v, 112));
  r = v128.or(r, chosen(i64x2(0xeadc674f4111913a, 0x73e6b4f0cecff297), v, 128));
  r = v128.or(r, chosen(i64x2(0x8535ade72274ac96, 0x6edf751ce837f9e2), v, 144));
  r = v128.or(r, chosen(i64x2(0x89c5291d711af147, 0x1bbe18aa0e62b76f), v, 160));
  r = v128.or(r, chosen(i64x2(0x2079d2c64b3e56fc, 0xf45acd78fec0db9a), v, 176));
  r = v128.or(r, chosen(i64x2(0x31c7078833a8dd1f, 0x5fec8027591012b1), v, 192));
  r = v128.or(r, chosen(i64x2(0x0d4ab519a97f5160, 0xef9cc9939f7ae52d), v, 208));
  r = v128.or(r, chosen(i64x2(0xb0f52aae4d3be0a0, 0x619953833cbbebc8), v, 224));
  r = v128.or(r, chosen(i64x2(0x26d677ba7e042b17, 0x7d0c2155631469e1), v, 240));
  return r;
}

/** ShiftRows: row r moves left by r columns; and back. */
function shifted(v: v128): v128 {
  return v128.swizzle(v, i8x16(0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11));
}
function unshifted(v: v128): v128 {
  return v128.swizzle(v, i8x16(0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3));
}

/** Bytes of each column moved up by one and by two rows. */
function up1(v: v128): v128 {
  return v128.or(v128.shr<u32>(v, 8), v128.shl<i32>(v, 24));
}
function up2(v: v128): v128 {
  return v128.or(v128.shr<u32>(v, 16), v128.shl<i32>(v, 16));
}

/** Products with x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function doubled(v: v128): v128 {
  return v128.xor(v128.shl<i8>(v, 1), v128.and(v128.shr<i8>(v, 7), i8x16.splat(0x1b)));
}

/** MixColumns: 2 a0 + 3 a1 + a2 + a3 in row 0, and so on. */
function mixed(v: v128): v128 {
  const pairs = v128.xor(v, up1(v));
  // The sum of all four is that of two pairs; what is left is a0 + 2 (a0 + a1).
  return v128.xor(v128.xor(doubled(pairs), v), v128.xor(pairs, up2(pairs)));
}

/** InvMixColumns: MixColumns of v + 4 (v + v two rows up). */
function unmixed(v: v128): v128 {
  return mixed(v128.xor(v, doubled(doubled(v128.xor(v, up2(v))))));
}

/** AESENC. */
export function aes_enc(cpu: u32, state: v128, key: v128): v128 {
  return v128.xor(mixed(substituted(shifted(state))), key);
}
/** AESENCLAST. */
export function aes_enclast(cpu: u32, state: v128, key: v128): v128 {
  return v128.xor(substituted(shifted(state)), key);
}
/** AESDEC. */
export function aes_dec(cpu: u32, state: v128, key: v128): v128 {
  return v128.xor(unmixed(unsubstituted(unshifted(state))), key);
}
/** AESDECLAST. */
export function aes_declast(cpu: u32, state: v128, key: v128): v128 {
  return v128.xor(unsubstituted(unshifted(state)), key);
}
/** AESIMC. */
export function aes_imc(cpu: u32, key: v128): v128 {
  return unmixed(key);
}

/** AESKEYGENASSIST: the substitutes of words 1 and 3, and both rotated by a byte with the constant added. */
export function aes_keygen(cpu: u32, key: v128, constant: u32): v128 {
  const s = substituted(key);
  const words = v128.swizzle(s, i8x16(4, 5, 6, 7, 5, 6, 7, 4, 12, 13, 14, 15, 13, 14, 15, 12));
  return v128.xor(words, v128.shl<i64>(i64x2.splat(constant), 32));
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
