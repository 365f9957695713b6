/** Small meanings that several instruction families share. */
import type { Ops, Width } from '../ops.ts';

/** Constant from a number. */
export const num = <V>(s: Ops<V>, n: number): V => s.k(BigInt(n));

/** Bit `n` of a value, 0 or 1. */
export const bitOf = <V>(s: Ops<V>, v: V, n: number): V => s.and(s.shr(v, num(s, n)), s.k(1n));

/** Sign bit of a value of width `w`, 0 or 1. */
export const signOf = <V>(s: Ops<V>, w: Width, v: V): V => bitOf(s, v, w - 1);

/** Two's complement of 64 bits. */
export const negate = <V>(s: Ops<V>, v: V): V => s.sub(s.k(0n), v);

/** Complement of 64 bits. */
export const complement = <V>(s: Ops<V>, v: V): V => s.xor(v, s.k(0xffff_ffff_ffff_ffffn));

/** AH. */
export const readAh = <V>(s: Ops<V>): V => s.shr(s.reg(16, 0), s.k(8n));

/** Writes AH; `v` is 8 bits. */
export const writeAh = <V>(s: Ops<V>, v: V): void => s.setReg(16, 0, s.or(s.reg(8, 0), s.shl(v, s.k(8n))));

/** #GP(0) unless CPL is 0. */
export const privileged = <V>(s: Ops<V>): void => s.fault(s.field('cpl'), 'gp', s.k(0n));

/** #UD in real-address and virtual-8086 mode (CR0.PE = 0 or EFLAGS.VM = 1). */
export const protectedOnly = <V>(s: Ops<V>): void => {
  s.fault(s.or(s.eqz(bitOf(s, s.field('cr0'), 0)), bitOf(s, s.field('eflags'), 17)), 'ud');
};

/**
 * Offset of what lies `bytes` behind the start of an operand. Only the start's is cut to 16 bits: an operand goes on behind
 * FFFFH, and is beyond the limit there in real mode (SDM vol.3 20.1.1).
 */
export const behind = <V>(s: Ops<V>, offset: V, bytes: number): V =>
  s.zext(s.asize === 16 ? 32 : s.asize, s.add(offset, num(s, bytes)));
