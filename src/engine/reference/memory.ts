/**
 * Memory as the reference sees it: linear addresses through a callback, and the checks that segmentation makes
 * before (SDM vol.3 5.3, 5.4; canonical addresses vol.1 3.3.7.1).
 */
import type { CodeMode } from '../../isa/insn.ts';
import { ATTR, EXC, SEG } from '../../isa/layout.ts';
import type { ReferenceState } from './state.ts';

/** Linear memory. Accesses are 1 to 64 bytes, may be unaligned, and throw GuestFault where nothing is mapped. */
export interface ReferenceMemory {
  /** The bytes at an address, lowest first, as one number. */
  read(address: bigint, bytes: number): bigint;
  write(address: bigint, bytes: number, value: bigint): void;
  /** Throws what a write there would throw. */
  probe(address: bigint, bytes: number): void;
}

/** A fault of the guest, thrown inside the reference and turned into a value by `step`. */
export class GuestFault extends Error {
  readonly vector: number;
  readonly error: bigint;
  readonly cr2: bigint;

  constructor(vector: number, error = 0n, cr2 = 0n) {
    super(`guest fault: vector ${vector}, error code ${error}, cr2 0x${cr2.toString(16)}`);
    this.vector = vector;
    this.error = error;
    this.cr2 = cr2;
  }
}

/** True when bits 47-63 of an address are equal. */
export const isCanonical = (address: bigint): boolean =>
  BigInt.asUintN(64, BigInt.asIntN(48, address)) === BigInt.asUintN(64, address);

/** #SS for the stack segment, #GP for the others, error code 0. */
const segmentFault = (seg: number): GuestFault => new GuestFault(seg === SEG.ss ? EXC.SS : EXC.GP);

/** Checks type, presence and limit of a segment for `bytes` at `offset`; throws GuestFault. */
function checkSegment(state: ReferenceState, seg: number, offset: bigint, bytes: number, write: boolean): void {
  const attr = Number(state.get('seg_attr', seg));
  const limit = state.get('seg_limit', seg);
  const code = (attr & ATTR.CODE) !== 0;
  const allowed = write ? !code && attr & ATTR.WRITABLE : !code || attr & ATTR.WRITABLE;
  if (attr & ATTR.NULL || !(attr & ATTR.P) || !allowed) throw segmentFault(seg);
  const last = offset + BigInt(bytes) - 1n;
  const expandDown = !code && (attr & ATTR.EXPAND_DOWN) !== 0;
  const top = attr & ATTR.DB ? 0xffff_ffffn : 0xffffn;
  if (expandDown ? offset <= limit || last > top : last > limit) throw segmentFault(seg);
}

/** Linear address of an offset in a segment, unchecked. In 64-bit mode only fs and gs have a base. */
export function linearUnchecked(state: ReferenceState, mode: CodeMode, seg: number, offset: bigint): bigint {
  if (mode.code !== 64) return BigInt.asUintN(32, state.get('seg_base', seg) + offset);
  const base = seg === SEG.fs || seg === SEG.gs ? state.get('seg_base', seg) : 0n;
  return BigInt.asUintN(64, base + offset);
}

/** Linear address of `bytes` bytes at an offset in a segment; throws GuestFault when it may not be accessed so. */
export function linearAddress(
  state: ReferenceState,
  mode: CodeMode,
  seg: number,
  offset: bigint,
  bytes: number,
  write: boolean,
): bigint {
  const address = linearUnchecked(state, mode, seg, offset);
  if (mode.code === 64) {
    if (!isCanonical(address) || !isCanonical(address + BigInt(bytes) - 1n)) throw segmentFault(seg);
  } else checkSegment(state, seg, offset, bytes, write);
  return address;
}
