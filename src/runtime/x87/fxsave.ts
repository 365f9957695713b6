// The FXSAVE image, also the legacy region of XSAVE, and the MMX side of the x87 registers.
//
//   0 FCW u16   2 FSW u16   4 abridged FTW u8 (bit set: Ri in use)   6 FOP u16
//   8 FIP u64, or u32 FIP and u16 FCS   16 FDP u64, or u32 FDP and u16 FDS
//   24 MXCSR u32   28 MXCSR_MASK u32   32 ST(0)..ST(7), 16 bytes each   160 XMM0..XMM15, 16 bytes each

import {
  CPU_FCS,
  CPU_FCW,
  CPU_FDP,
  CPU_FDS,
  CPU_FEMPTY,
  CPU_FIP,
  CPU_FOP,
  CPU_FPR,
  CPU_FTOP,
  CPU_MXCSR,
  CPU_YMM,
} from '../gen/layout';
import { x87_fldcw, x87_fninit, x87_set_status, x87_status } from './control';
import { registerAt } from './state';

/** MXCSR bits that exist: DAZ included. */
export const MXCSR_MASK: u32 = 0xffff;

/** `form` of the image: 64-bit FIP and FDP (REX.W). */
export const FORM_WIDE_POINTERS: i32 = 1;
/** `form` of the image: sixteen XMM registers (64-bit mode), else eight. */
export const FORM_16_XMM: i32 = 2;

/** The x87 part of the image: bytes 0-23 and 32-159. */
export function fx_store_x87(cpu: u32, to: u32, form: i32): void {
  store<u16>(to, load<u32>(cpu, CPU_FCW));
  store<u16>(to, x87_status(cpu), 2);
  store<u16>(to, ~load<u32>(cpu, CPU_FEMPTY) & 0xff, 4);
  store<u16>(to, load<u32>(cpu, CPU_FOP) & 0x7ff, 6);
  const ip = load<u64>(cpu, CPU_FIP);
  const dp = load<u64>(cpu, CPU_FDP);
  if ((form & FORM_WIDE_POINTERS) != 0) {
    store<u64>(to, ip, 8);
    store<u64>(to, dp, 16);
  } else {
    store<u64>(to, (ip & 0xffffffff) | (u64(load<u16>(cpu, CPU_FCS)) << 32), 8);
    store<u64>(to, (dp & 0xffffffff) | (u64(load<u16>(cpu, CPU_FDS)) << 32), 16);
  }
  for (let i = 0; i < 8; i++) {
    const from = registerAt(cpu, i);
    const at = to + 32 + (u32(i) << 4);
    store<u64>(at, load<u64>(from));
    store<u64>(at, u64(load<u16>(from, 8)), 8);
  }
}

/** Loads the x87 part of the image. */
export function fx_load_x87(cpu: u32, from: u32, form: i32): void {
  x87_fldcw(cpu, load<u16>(from));
  x87_set_status(cpu, load<u16>(from, 2));
  store<u32>(cpu, ~u32(load<u8>(from, 4)) & 0xff, CPU_FEMPTY);
  store<u32>(cpu, load<u16>(from, 6) & 0x7ff, CPU_FOP);
  const wide = (form & FORM_WIDE_POINTERS) != 0;
  store<u64>(cpu, wide ? load<u64>(from, 8) : u64(load<u32>(from, 8)), CPU_FIP);
  store<u64>(cpu, wide ? load<u64>(from, 16) : u64(load<u32>(from, 16)), CPU_FDP);
  store<u32>(cpu, wide ? 0 : load<u16>(from, 12), CPU_FCS);
  store<u32>(cpu, wide ? 0 : load<u16>(from, 20), CPU_FDS);
  for (let i = 0; i < 8; i++) {
    const to = registerAt(cpu, i);
    const at = from + 32 + (u32(i) << 4);
    store<u64>(to, load<u64>(at));
    store<u64>(to, u64(load<u16>(at, 8)), 8);
  }
}

/** The x87 part of the initial state (XRSTOR with the component in its initial configuration): FNINIT, and registers of zeros. */
export function fx_init_x87(cpu: u32): void {
  x87_fninit(cpu);
  for (let r: u32 = 0; r < 8; r++) {
    store<u64>(cpu + (r << 4), 0, CPU_FPR);
    store<u64>(cpu + CPU_FPR + (r << 4), 0, 8);
  }
}

/** MXCSR and its mask: bytes 24-31. */
export function fx_store_mxcsr(cpu: u32, to: u32): void {
  store<u32>(to, load<u32>(cpu, CPU_MXCSR), 24);
  store<u32>(to, MXCSR_MASK, 28);
}

/** Loads MXCSR; returns 1 and changes nothing when reserved bits are set: #GP(0). */
export function fx_load_mxcsr(cpu: u32, from: u32): i32 {
  const value = load<u32>(from, 24);
  if ((value & ~MXCSR_MASK) != 0) return 1;
  store<u32>(cpu, value, CPU_MXCSR);
  return 0;
}

/** The XMM registers: bytes 160-287, to 415 with FORM_16_XMM. */
export function fx_store_xmm(cpu: u32, to: u32, form: i32): void {
  const count: u32 = (form & FORM_16_XMM) != 0 ? 16 : 8;
  for (let i: u32 = 0; i < count; i++) v128.store(to + 160 + (i << 4), v128.load(cpu + CPU_YMM + (i << 5)));
}

/** Loads the XMM registers. */
export function fx_load_xmm(cpu: u32, from: u32, form: i32): void {
  const count: u32 = (form & FORM_16_XMM) != 0 ? 16 : 8;
  for (let i: u32 = 0; i < count; i++) v128.store(cpu + CPU_YMM + (i << 5), v128.load(from + 160 + (i << 4)));
}

/** FXSAVE: builds the image at `to`. Returns how many bytes of it the row writes to the guest, the rest is untouched. */
export function x87_fxsave(cpu: u32, to: u32, form: i32): i32 {
  fx_store_x87(cpu, to, form);
  fx_store_mxcsr(cpu, to);
  fx_store_xmm(cpu, to, form);
  return (form & FORM_16_XMM) != 0 ? 416 : 288;
}

/** FXRSTOR from an image of 512 bytes. Returns 1 and changes nothing when MXCSR has reserved bits: #GP(0). */
export function x87_fxrstor(cpu: u32, from: u32, form: i32): i32 {
  if (fx_load_mxcsr(cpu, from) != 0) return 1;
  fx_load_x87(cpu, from, form);
  fx_load_xmm(cpu, from, form);
  return 0;
}

/** Every MMX instruction but EMMS: TOP = 0, all registers in use (SDM vol.1 9.5.1). */
export function x87_mmx_enter(cpu: u32): void {
  store<u32>(cpu, 0, CPU_FTOP);
  store<u32>(cpu, 0, CPU_FEMPTY);
}

/** Writes MMn: its sign and exponent become ones. */
export function x87_mmx_write(cpu: u32, n: i32, value: u64): void {
  const at = cpu + CPU_FPR + (u32(n & 7) << 4);
  store<u64>(at, value);
  store<u64>(at, 0xffff, 8);
}

/** EMMS. */
export function x87_emms(cpu: u32): void {
  store<u32>(cpu, 0, CPU_FTOP);
  store<u32>(cpu, 0xff, CPU_FEMPTY);
}
