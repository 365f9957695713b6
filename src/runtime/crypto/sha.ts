// The SHA extensions (SDM vol.2 SHA1RNDS4 ... SHA256MSG2). Of a vector, element 3 is the first word.

function element(v: v128, i: u32): u32 {
  if (i == 0) return v128.extract_lane<u32>(v, 0);
  if (i == 1) return v128.extract_lane<u32>(v, 1);
  return i == 2 ? v128.extract_lane<u32>(v, 2) : v128.extract_lane<u32>(v, 3);
}

/** Elements from the highest down, as the manual writes them. */
function quad(w3: u32, w2: u32, w1: u32, w0: u32): v128 {
  let v = i32x4.splat(w0);
  v = v128.replace_lane<u32>(v, 1, w1);
  v = v128.replace_lane<u32>(v, 2, w2);
  return v128.replace_lane<u32>(v, 3, w3);
}

function sha1_function(kind: i32, b: u32, c: u32, d: u32): u32 {
  if (kind == 0) return (b & c) ^ (~b & d);
  if (kind == 2) return (b & c) ^ (b & d) ^ (c & d);
  return b ^ c ^ d;
}
function sha1_constant(kind: i32): u32 {
  if (kind == 0) return 0x5a827999;
  if (kind == 1) return 0x6ed9eba1;
  return kind == 2 ? 0x8f1bbcdc : 0xca62c1d6;
}

/** SHA1RNDS4: four rounds on A, B, C, D of `state`; the first word of `words` has E added. */
export function sha1_rounds(cpu: u32, state: v128, words: v128, kind: i32): v128 {
  let a = v128.extract_lane<u32>(state, 3);
  let b = v128.extract_lane<u32>(state, 2);
  let c = v128.extract_lane<u32>(state, 1);
  let d = v128.extract_lane<u32>(state, 0);
  let last: u32 = 0;
  const k = sha1_constant(kind & 3);
  for (let i: u32 = 0; i < 4; i++) {
    const next = sha1_function(kind & 3, b, c, d) + rotl<u32>(a, 5) + element(words, 3 - i) + last + k;
    last = d;
    d = c;
    c = rotl<u32>(b, 30);
    b = a;
    a = next;
  }
  return quad(a, b, c, d);
}

/** SHA1NEXTE. */
export function sha1_next(cpu: u32, state: v128, words: v128): v128 {
  const old = rotl<u32>(v128.extract_lane<u32>(state, 3), 30);
  return v128.replace_lane<u32>(words, 3, v128.extract_lane<u32>(words, 3) + old);
}

/** SHA1MSG2. */
export function sha1_message(cpu: u32, x: v128, w: v128): v128 {
  const w16 = rotl<u32>(v128.extract_lane<u32>(x, 3) ^ v128.extract_lane<u32>(w, 2), 1);
  const w17 = rotl<u32>(v128.extract_lane<u32>(x, 2) ^ v128.extract_lane<u32>(w, 1), 1);
  const w18 = rotl<u32>(v128.extract_lane<u32>(x, 1) ^ v128.extract_lane<u32>(w, 0), 1);
  return quad(w16, w17, w18, rotl<u32>(v128.extract_lane<u32>(x, 0) ^ w16, 1));
}

/** SHA256RNDS2: two rounds; C, D, G, H in `cdgh`, the rest in `abef`, words with their constants in `words`. */
export function sha256_rounds(cpu: u32, cdgh: v128, abef: v128, words: v128): v128 {
  let a = v128.extract_lane<u32>(abef, 3);
  let b = v128.extract_lane<u32>(abef, 2);
  let c = v128.extract_lane<u32>(cdgh, 3);
  let d = v128.extract_lane<u32>(cdgh, 2);
  let e = v128.extract_lane<u32>(abef, 1);
  let f = v128.extract_lane<u32>(abef, 0);
  let g = v128.extract_lane<u32>(cdgh, 1);
  let h = v128.extract_lane<u32>(cdgh, 0);
  for (let i: u32 = 0; i < 2; i++) {
    const s1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + element(words, i);
    const s0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  return quad(a, b, e, f);
}

function sigma0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
}
function sigma1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10);
}

/** SHA256MSG1. */
export function sha256_message1(cpu: u32, w: v128, next: v128): v128 {
  const w1 = v128.extract_lane<u32>(w, 1);
  const w2 = v128.extract_lane<u32>(w, 2);
  const w3 = v128.extract_lane<u32>(w, 3);
  const w4 = v128.extract_lane<u32>(next, 0);
  return quad(w3 + sigma0(w4), w2 + sigma0(w3), w1 + sigma0(w2), v128.extract_lane<u32>(w, 0) + sigma0(w1));
}

/** SHA256MSG2. */
export function sha256_message2(cpu: u32, x: v128, w: v128): v128 {
  const w16 = v128.extract_lane<u32>(x, 0) + sigma1(v128.extract_lane<u32>(w, 2));
  const w17 = v128.extract_lane<u32>(x, 1) + sigma1(v128.extract_lane<u32>(w, 3));
  const w18 = v128.extract_lane<u32>(x, 2) + sigma1(w16);
  return quad(v128.extract_lane<u32>(x, 3) + sigma1(w17), w18, w17, w16);
}
