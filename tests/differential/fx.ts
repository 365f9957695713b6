// FXSAVE images (SDM vol.1 table 10-2) to and from a vCPU's state.
import type { ReferenceState } from '../../src/engine/reference/state.ts';
import { FX_SIZE, type Result, YMMH_SIZE } from './case.ts';

/*
 * +0 FCW u16, +2 FSW u16 (bits 11-13 TOP), +4 abridged tag u8 (bit i: Ri is not empty), +24 MXCSR u32,
 * +32 + 16 i ST(i) 80 bits, +160 + 16 i XMMi
 */
export const FCW = 0;
export const FSW = 2;
const TAG = 4;
export const MXCSR = 24;
export const ST = 32;
export const XMM = 160;
const TOP_SHIFT = 11;
const TOP_MASK = 7 << TOP_SHIFT;

/** A result with bytes [from, to) of its FXSAVE image taken from another, under a mask. */
export function withFx(got: Result, want: Result, from: number, to: number, mask = 0xff): Result {
  const fx = got.fx.slice();
  for (let i = from; i < to; i++) fx[i] = (fx[i]! & ~mask) | (want.fx[i]! & mask);
  return { ...got, fx };
}

/** The state after reset by software: FNINIT, MXCSR 1F80, registers zero. */
export function initialFx(): Uint8Array {
  const fx = new Uint8Array(FX_SIZE);
  const view = new DataView(fx.buffer);
  view.setUint16(FCW, 0x37f, true);
  view.setUint32(MXCSR, 0x1f80, true);
  return fx;
}

const read = (bytes: Uint8Array, at: number, size: number): bigint => {
  let v = 0n;
  for (let i = size - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[at + i]!);
  return v;
};
const write = (bytes: Uint8Array, at: number, size: number, v: bigint): void => {
  for (let i = 0; i < size; i++) bytes[at + i] = Number((v >> BigInt(8 * i)) & 0xffn);
};

/** Puts an FXSAVE image and the upper halves of the YMM registers into a state. */
export function loadFx(state: ReferenceState, fx: Uint8Array, ymmh: Uint8Array): void {
  const fsw = Number(read(fx, FSW, 2));
  const top = (fsw & TOP_MASK) >> TOP_SHIFT;
  state.set('fcw', read(fx, FCW, 2));
  state.set('fsw', BigInt(fsw & ~TOP_MASK));
  state.set('ftop', BigInt(top));
  state.set('fempty', BigInt(~fx[TAG]! & 0xff));
  state.set('mxcsr', read(fx, MXCSR, 4));
  for (let i = 0; i < 8; i++) state.set('fpr', read(fx, ST + 16 * i, 10), (top + i) & 7);
  for (let i = 0; i < 16; i++) {
    state.set('ymm', read(fx, XMM + 16 * i, 16) | (read(ymmh, 16 * i, 16) << 128n), i);
  }
}

export function storeFx(state: ReferenceState): Uint8Array {
  const fx = new Uint8Array(FX_SIZE);
  const top = Number(state.get('ftop'));
  write(fx, FCW, 2, state.get('fcw'));
  write(fx, FSW, 2, state.get('fsw') | BigInt(top << TOP_SHIFT));
  write(fx, TAG, 1, ~state.get('fempty') & 0xffn);
  write(fx, MXCSR, 4, state.get('mxcsr'));
  for (let i = 0; i < 8; i++) write(fx, ST + 16 * i, 10, state.get('fpr', (top + i) & 7));
  for (let i = 0; i < 16; i++) write(fx, XMM + 16 * i, 16, state.get('ymm', i));
  return fx;
}

/** Upper halves of YMM0-15. */
export function storeYmmh(state: ReferenceState): Uint8Array {
  const ymmh = new Uint8Array(YMMH_SIZE);
  for (let i = 0; i < 16; i++) write(ymmh, 16 * i, 16, state.get('ymm', i) >> 128n);
  return ymmh;
}
