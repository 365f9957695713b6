/**
 * The vocabulary in which instruction semantics are written. `V` is a value of the backend: a bigint in the
 * reference, nothing in the effects recorder, a WebAssembly expression in the interpreter generator and the
 * translator. Integers are 64 bits, zero-extended from their width; booleans are 0 or 1; vectors are 128 bits.
 *
 * Rules every row keeps (checked by the effects recorder for all rows):
 *  - every access that can fault comes before the first write of a register, flag or field, so that a fault
 *    leaves the state as it was (a store into memory is the last thing that can fault);
 *  - a value used twice is named with `let`, else a backend may compute it twice.
 */

export type Width = 8 | 16 | 32 | 64;
/** Widths that memory operands can have. */
export type MemWidth = Width | 80 | 128 | 256;
export type Flag = 'cf' | 'pf' | 'af' | 'zf' | 'sf' | 'of';
export const FLAGS: readonly Flag[] = ['cf', 'pf', 'af', 'zf', 'sf', 'of'];
/** Bit of each flag in EFLAGS. */
export const FLAG_BIT: Readonly<Record<Flag, number>> = { cf: 0, pf: 2, af: 4, zf: 6, sf: 7, of: 11 };

/**
 * Segment of a memory access by segment and offset: a segment register, or the instruction's own: that of its
 * ModRM memory operand (override, or ss for rBP/rSP bases, or ds) when it has one, else the override, or ds.
 */
export type SegRef = 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs' | 'insn';
/** Faults a row may raise itself. */
export type FaultName = 'de' | 'ud' | 'gp' | 'br' | 'nm' | 'mf' | 'xm';

/** Operations on values alone: what flag recipes may use. */
export interface PureOps<V> {
  /** 64-bit constant. */
  k(n: bigint): V;
  add(a: V, b: V): V;
  sub(a: V, b: V): V;
  mul(a: V, b: V): V;
  /** High 64 bits of the 128-bit product. */
  mulhu(a: V, b: V): V;
  mulhs(a: V, b: V): V;
  and(a: V, b: V): V;
  or(a: V, b: V): V;
  xor(a: V, b: V): V;
  /** Shifts and rotates of 64 bits; the count is taken modulo 64. */
  shl(a: V, n: V): V;
  shr(a: V, n: V): V;
  sar(a: V, n: V): V;
  rotl(a: V, n: V): V;
  /** Comparisons give 0 or 1. */
  eqz(a: V): V;
  eq(a: V, b: V): V;
  ltu(a: V, b: V): V;
  lts(a: V, b: V): V;
  popcnt(a: V): V;
  /** Leading and trailing zero bits of 64; 64 for zero. */
  clz(a: V): V;
  ctz(a: V): V;
  /** Sign-extends the low `w` bits to 64. */
  sext(w: Width, a: V): V;
  /** Keeps the low `w` bits. */
  zext(w: Width, a: V): V;
  /** `c ? a : b`; both are evaluated. */
  select(c: V, a: V, b: V): V;
  /** Names a value that is used more than once. */
  let(a: V): V;
}

export interface Ops<V> extends PureOps<V> {
  // What is known when the instruction is decoded.
  /** Operand size for operands of type `v`. */
  readonly w: Width;
  /** Address size: 16, 32 or 64. */
  readonly asize: 16 | 32 | 64;
  /** Width of the stack pointer: 64 in 64-bit mode, else by SS.B. */
  readonly stack: 16 | 32 | 64;
  /** 64-bit mode. */
  readonly long: boolean;

  // More arithmetic.
  /** 64-bit quotient and remainder; the divisor is not zero (raise #DE first) and INT64_MIN / -1 does not occur. */
  divu(a: V, b: V): V;
  remu(a: V, b: V): V;
  divs(a: V, b: V): V;
  rems(a: V, b: V): V;
  /** Quotient of (hi:lo) / d with hi < d, unsigned. The remainder is `lo - q * d`. */
  udiv128(hi: V, lo: V, d: V): V;

  // Operands, numbered as in the row's operand list.
  /** Width in bits of operand `n` as encoded. */
  width(n: number): MemWidth;
  /** True when operand `n` is in memory (known when decoded). */
  isMem(n: number): boolean;
  /**
   * Value of operand `n`: an integer zero-extended from its width, a 128-bit vector for xmm operands and
   * 128-bit memory, 64 bits for mmx and 64-bit memory. Immediates are sign-extended to 64 bits, then cut to `w`
   * by their type (`Iz`, `Ibs`: operand size; `Ib`, `Iw`: zero-extended). A far pointer immediate (`Ap`) is
   * `offset | selector << 32`. The access to memory happens here, also when the value is not used.
   */
  get(n: number): V;
  /** Writes operand `n`: 32-bit registers zero their upper half, narrower ones keep it (SDM vol.1 3.4.1.1). */
  set(n: number, v: V): void;
  /**
   * Bits 0-127 (`h` = 0) or 128-255 (1) of operand `n`, which is a YMM register or 256 bits of memory. Memory is
   * checked for all 32 bytes by the first call.
   */
  half(n: number, h: 0 | 1): V;
  /**
   * Writes operand `n`: 256 bits of memory, or a whole YMM register; VEX.128 forms give zeros for `high`. Both values
   * are made before anything is written.
   */
  setWide(n: number, low: V, high: V): void;
  /**
   * Offset (effective address) of memory operand `n`, cut to the address size, without its segment's base. In rows with
   * a `K` operand `index` stands for the index register, and is scaled like it.
   */
  offset(n: number, index?: V): V;
  /** Number of the register that operand `n` encodes, REX included (for `C` and `D` operands). */
  number(n: number): V;

  // Registers by number (0 = rax ... 15 = r15), without operand encoding. `w` cuts a read; a write follows the rule of `set`.
  reg(w: Width, r: number): V;
  setReg(w: Width, r: number, v: V): void;

  // Memory by segment and offset, for accesses that are not a ModRM operand.
  load(w: Width, seg: SegRef, offset: V): V;
  store(w: Width, seg: SegRef, offset: V, v: V): void;
  /** Linear address of an offset in a segment, without an access or a check. */
  linear(seg: SegRef, offset: V): V;
  /** Raises the faults that a store there would raise, without storing. */
  probeStore(w: Width | 128, seg: SegRef, offset: V): void;

  // State by field name (src/isa/layout.ts).
  field(name: string, index?: number): V;
  setField(name: string, v: V, index?: number): void;

  // Flags.
  flag(f: Flag): V;
  /** Condition code 0-15 as in Jcc (SDM vol.1 B.1): 0 or 1. */
  cond(cc: number): V;
  /** Sets all six flags by a named recipe (src/isa/flags.ts) at width `w`. */
  flags(recipe: string, w: Width, v: { r: V; x?: V; y?: V }): void;
  /** Sets one flag to 0 or 1 and keeps the others; the value is asked for only if the flag is live. */
  setFlag(f: Flag, v: () => V): void;
  /** The six arithmetic flags as EFLAGS bits; and set from EFLAGS bits. */
  arith(): V;
  setArith(v: V): void;

  // Control.
  /** Effects that happen only if `c` is not 0. Values named inside are not visible outside. */
  if(c: V, then: () => void, otherwise?: () => void): void;
  /** Raises a fault if `c` is not 0. */
  fault(c: V, name: FaultName, error?: V): void;
  /** rip of the next instruction. */
  nextRip(): V;
  /** rip of this instruction, its prefixes included. */
  thisRip(): V;
  /**
   * Raises #GP(0) if `c` is not 0 (absent: always) and the relative target lies beyond the limit of CS, outside 64-bit
   * mode (SDM vol.2 JMP). `branch` asks that too; a row that changes something before it asks first.
   */
  checkBranch(c?: V): void;
  /** Goes to the instruction's relative target if `c` is not 0 (absent: always). Last effect of the row. */
  branch(c?: V): void;
  /** Goes to `rip`, cut to the operand size `w`. Last effect of the row. */
  jump(rip: V): void;

  // Runtime helpers (src/isa/helpers.ts): the cpu pointer is passed first by the backend.
  /** Calls a helper that cannot fault and returns its value. The call happens here, also when the value is not used. */
  call(name: string, ...args: V[]): V;
  /** Calls a helper that returns 0, or non-zero after it has recorded a fault: then the fault is raised. */
  check(name: string, ...args: V[]): void;
  /** Like `check`, and then execution goes on at the field `rip`. Last effect of the row. */
  transfer(name: string, ...args: V[]): void;

  // Vectors of 128 bits. Names are WebAssembly's SIMD instructions (src/isa/vector-ops.ts).
  vec(op: string, ...args: V[]): V;
  /** Vector constant; byte 0 is the least significant. */
  vk(n: bigint): V;
  /** Zero-extended lane `i` of width `w`; and the vector with that lane replaced. */
  lane(w: Width, v: V, i: number): V;
  withLane(w: Width, v: V, i: number, x: V): V;
  /** Bytes chosen from a (0-15) and b (16-31). */
  shuffle(a: V, b: V, bytes: readonly number[]): V;
  /** XMM register by number; and written, where the upper half of the YMM register is kept. */
  xmm(r: number): V;
  setXmm(r: number, v: V): void;
  /** Writes bits 128-255 of a YMM register by number. */
  setHigh(r: number, v: V): void;
}

/** All ones of width `w`. */
export const mask = (w: Width): bigint => (1n << BigInt(w)) - 1n;
