/** Names of WebAssembly's instructions by opcode (core specification 3.0, appendix 7.6), and what follows each. */

/** What follows an opcode in the code: nothing, or immediates of a kind. */
export type Immediate =
  | 'none'
  | 'block'
  | 'index'
  | 'call'
  | 'indirect'
  | 'labels'
  | 'types'
  | 'i32'
  | 'i64'
  | 'f32'
  | 'f64'
  | 'v128'
  | 'memory'
  | 'lane'
  | 'memory+lane'
  | 'shuffle'
  | 'zero'
  | 'zero+zero';

export interface Opcode {
  readonly name: string;
  readonly immediate: Immediate;
}

const INT_COMPARE = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const FLOAT_COMPARE = 'eq ne lt gt le ge';
const INT_ARITHMETIC = 'clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
const FLOAT_ARITHMETIC = 'abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign';
/** `-` is an opcode that does not exist. */
const words = (text: string, prefix = ''): string[] =>
  text.split(/\s+/).map((word) => (word === '-' ? word : prefix + word));
const lanes = (type: string, text: string): string[] => words(text, `${type}.`);

function number(out: Map<number, Opcode>, first: number, names: readonly string[], immediate: Immediate): void {
  names.forEach((name, i) => {
    if (name !== '-') out.set(first + i, { name, immediate });
  });
}

function plain(): Map<number, Opcode> {
  const out = new Map<number, Opcode>();
  number(out, 0x00, ['unreachable', 'nop'], 'none');
  number(out, 0x02, ['block', 'loop', 'if'], 'block');
  number(out, 0x05, ['else'], 'none');
  number(out, 0x0b, ['end'], 'none');
  number(out, 0x0c, ['br', 'br_if'], 'index');
  number(out, 0x0e, ['br_table'], 'labels');
  number(out, 0x0f, ['return'], 'none');
  number(out, 0x10, ['call'], 'call');
  number(out, 0x11, ['call_indirect'], 'indirect');
  number(out, 0x12, ['return_call'], 'call');
  number(out, 0x13, ['return_call_indirect'], 'indirect');
  number(out, 0x1a, ['drop', 'select'], 'none');
  number(out, 0x1c, ['select'], 'types');
  number(out, 0x20, ['local.get', 'local.set', 'local.tee', 'global.get', 'global.set'], 'index');
  number(out, 0x28, words('i32.load i64.load f32.load f64.load'), 'memory');
  number(out, 0x2c, lanes('i32', 'load8_s load8_u load16_s load16_u'), 'memory');
  number(out, 0x30, lanes('i64', 'load8_s load8_u load16_s load16_u load32_s load32_u'), 'memory');
  number(out, 0x36, words('i32.store i64.store f32.store f64.store i32.store8 i32.store16'), 'memory');
  number(out, 0x3c, lanes('i64', 'store8 store16 store32'), 'memory');
  number(out, 0x3f, ['memory.size', 'memory.grow'], 'zero');
  for (const [i, type] of (['i32', 'i64', 'f32', 'f64'] as const).entries()) {
    number(out, 0x41 + i, [`${type}.const`], type);
  }
  number(out, 0x45, lanes('i32', `eqz ${INT_COMPARE}`), 'none');
  number(out, 0x50, lanes('i64', `eqz ${INT_COMPARE}`), 'none');
  number(out, 0x5b, [...lanes('f32', FLOAT_COMPARE), ...lanes('f64', FLOAT_COMPARE)], 'none');
  number(out, 0x67, [...lanes('i32', INT_ARITHMETIC), ...lanes('i64', INT_ARITHMETIC)], 'none');
  number(out, 0x8b, [...lanes('f32', FLOAT_ARITHMETIC), ...lanes('f64', FLOAT_ARITHMETIC)], 'none');
  number(out, 0xa7, lanes('i32', 'wrap_i64 trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u'), 'none');
  number(out, 0xac, lanes('i64', 'extend_i32_s extend_i32_u'), 'none');
  number(out, 0xae, lanes('i64', 'trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u'), 'none');
  number(out, 0xb2, lanes('f32', 'convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64'), 'none');
  number(out, 0xb7, lanes('f64', 'convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32'), 'none');
  number(out, 0xbc, words('i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64'), 'none');
  number(out, 0xc0, words('i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s'), 'none');
  return out;
}

/** Behind the prefix FCH. */
function saturating(): Map<number, Opcode> {
  const out = new Map<number, Opcode>();
  for (const [i, type] of ['i32', 'i64'].entries()) {
    const names = ['f32_s', 'f32_u', 'f64_s', 'f64_u'].map((from) => `${type}.trunc_sat_${from}`);
    number(out, i * 4, names, 'none');
  }
  number(out, 10, ['memory.copy'], 'zero+zero');
  number(out, 11, ['memory.fill'], 'zero');
  return out;
}

/** Behind the prefix FDH. */
function simd(): Map<number, Opcode> {
  const out = new Map<number, Opcode>();
  const loads = 'load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u';
  const splats = 'load8_splat load16_splat load32_splat load64_splat store';
  number(out, 0, lanes('v128', `${loads} ${splats}`), 'memory');
  number(out, 12, ['v128.const'], 'v128');
  number(out, 13, ['i8x16.shuffle'], 'shuffle');
  const types = ['i8x16', 'i16x8', 'i32x4', 'i64x2', 'f32x4', 'f64x2'];
  number(out, 14, ['i8x16.swizzle', ...types.map((t) => `${t}.splat`)], 'none');
  const access = types.flatMap((t, i) =>
    lanes(t, i < 2 ? 'extract_lane_s extract_lane_u replace_lane' : 'extract_lane replace_lane'),
  );
  number(out, 21, access, 'lane');
  number(
    out,
    35,
    types.slice(0, 3).flatMap((t) => lanes(t, INT_COMPARE)),
    'none',
  );
  number(
    out,
    65,
    types.slice(4).flatMap((t) => lanes(t, FLOAT_COMPARE)),
    'none',
  );
  number(out, 77, lanes('v128', 'not and andnot or xor bitselect any_true'), 'none');
  const lane = 'load8_lane load16_lane load32_lane load64_lane store8_lane store16_lane store32_lane store64_lane';
  number(out, 84, lanes('v128', lane), 'memory+lane');
  number(out, 92, lanes('v128', 'load32_zero load64_zero'), 'memory');
  number(out, 94, ['f32x4.demote_f64x2_zero', 'f64x2.promote_low_f32x4'], 'none');
  number(out, 96, lanes('i8x16', 'abs neg popcnt all_true bitmask narrow_i16x8_s narrow_i16x8_u'), 'none');
  number(out, 103, lanes('f32x4', 'ceil floor trunc nearest'), 'none');
  const addition = 'shl shr_s shr_u add add_sat_s add_sat_u sub sub_sat_s sub_sat_u';
  number(out, 107, lanes('i8x16', addition), 'none');
  number(out, 116, lanes('f64x2', 'ceil floor'), 'none');
  number(out, 118, lanes('i8x16', 'min_s min_u max_s max_u'), 'none');
  number(out, 122, ['f64x2.trunc', 'i8x16.avgr_u'], 'none');
  number(out, 124, lanes('i16x8', 'extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u'), 'none');
  number(out, 126, lanes('i32x4', 'extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u'), 'none');
  wide(
    out,
    128,
    'i16x8',
    'i8x16',
    `abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u EXTEND ${addition}`,
  );
  number(out, 148, ['f64x2.nearest'], 'none');
  wide(out, 149, 'i16x8', 'i8x16', 'mul min_s min_u max_s max_u - avgr_u EXTMUL');
  wide(out, 160, 'i32x4', 'i16x8', 'abs neg - all_true bitmask - - EXTEND shl shr_s shr_u add - - sub - - - mul');
  wide(out, 182, 'i32x4', 'i16x8', 'min_s min_u max_s max_u dot_i16x8_s - EXTMUL');
  wide(out, 192, 'i64x2', 'i32x4', 'abs neg - all_true bitmask - - EXTEND shl shr_s shr_u add - - sub - - - mul');
  wide(out, 214, 'i64x2', 'i32x4', 'eq ne lt_s gt_s le_s ge_s EXTMUL');
  for (const [i, t] of types.slice(4).entries()) {
    number(out, 224 + i * 12, lanes(t, 'abs neg - sqrt add sub mul div min max pmin pmax'), 'none');
  }
  number(out, 248, words('i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u'), 'none');
  number(out, 250, words('f32x4.convert_i32x4_s f32x4.convert_i32x4_u'), 'none');
  number(out, 252, words('i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero'), 'none');
  number(out, 254, words('f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u'), 'none');
  return out;
}

/** Instructions of a vector type; EXTEND and EXTMUL stand for the four forms from the type of half the lane size. */
function wide(out: Map<number, Opcode>, first: number, type: string, half: string, text: string): void {
  const four = (name: string): string =>
    [`low_${half}_s`, `high_${half}_s`, `low_${half}_u`, `high_${half}_u`].map((end) => `${name}_${end}`).join(' ');
  const all = text.replace('EXTEND', four('extend')).replace('EXTMUL', four('extmul'));
  number(out, first, lanes(type, all), 'none');
}

/** Opcodes of one byte, and those behind the prefixes FCH and FDH. */
export const OPCODES: ReadonlyMap<number, Opcode> = plain();
export const OPCODES_FC: ReadonlyMap<number, Opcode> = saturating();
export const OPCODES_FD: ReadonlyMap<number, Opcode> = simd();
