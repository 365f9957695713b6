// FXSAVE images (SDM vol.1 table 10-2) to and from a vCPU's state.
import type { ReferenceState } from '../../src/engine/reference/state.ts';
import { FX_SIZE } from './case.ts';

/*
 * +0 FCW u16, +2 FSW u16 (bits 11-13 TOP), +4 abridged tag u8 (bit i: Ri is not empty), +24 MXCSR u32,
 * +32 + 16 i ST(i) 80 bits, +160 + 16 i XMMi
 */
const FCW = 0;
const FSW = 2;
const TAG = 4;
const MXCSR = 24;
const ST = 32;
const XMM = 160;
const TOP_SHIFT = 11;
const TOP_MASK = 7 << TOP_SHIFT;

/** The state after reset by software: FNINIT, MXCSR 1F80, registers zero. */
export function initialFx(): Uint8Array {
  const fx = new Uint8Array(FX_SIZE);
  const view = new DataView(fx.buffer);
  view.setUint16(FCW, 0x37f, true);
  view.setUint32(MXCSR, 0x1f80, true);
  return fx;
}

export function setMxcsr(fx: Uint8Array, mxcsr: number): void {
  new DataView(fx.buffer, fx.byteOffset).setUint32(MXCSR, mxcsr, true);
}
/** Sets FCW, FSW without TOP, TOP and the bits of registers that are not empty (by physical number). */
export function setX87(fx: Uint8Array, fcw: number, fsw: number, top: number, full: number): void {
  const view = new DataView(fx.buffer, fx.byteOffset);
  view.setUint16(FCW, fcw, true);
  view.setUint16(FSW, (fsw & ~TOP_MASK) | (top << TOP_SHIFT), true);
  view.setUint8(TAG, full);
}
export function setXmm(fx: Uint8Array, i: number, value: Uint8Array): void {
  fx.set(value, XMM + 16 * i);
}
/** Sets ST(i) from significand and sign with exponent. */
export function setSt(fx: Uint8Array, i: number, significand: bigint, se: number): void {
  const view = new DataView(fx.buffer, fx.byteOffset);
  view.setBigUint64(ST + 16 * i, significand, true);
  view.setUint16(ST + 16 * i + 8, se, true);
}

const read = (bytes: Uint8Array, at: number, size: number): bigint => {
  let v = 0n;
  for (let i = size - 1; i >= 0; i--) v = (v << 8n) | BigInt(bytes[at + i]!);
  return v;
};
const write = (bytes: Uint8Array, at: number, size: number, v: bigint): void => {
  for (let i = 0; i < size; i++) bytes[at + i] = Number((v >> BigInt(8 * i)) & 0xffn);
};

export function loadFx(state: ReferenceState, fx: Uint8Array): void {
  const fsw = Number(read(fx, FSW, 2));
  const top = (fsw & TOP_MASK) >> TOP_SHIFT;
  state.set('fcw', read(fx, FCW, 2));
  state.set('fsw', BigInt(fsw & ~TOP_MASK));
  state.set('ftop', BigInt(top));
  state.set('fempty', BigInt(~fx[TAG]! & 0xff));
  state.set('mxcsr', read(fx, MXCSR, 4));
  for (let i = 0; i < 8; i++) state.set('fpr', read(fx, ST + 16 * i, 10), (top + i) & 7);
  for (let i = 0; i < 16; i++) state.set('ymm', read(fx, XMM + 16 * i, 16), i);
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
