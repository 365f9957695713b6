// Control instructions of the x87 and its environment images.

import {
  CPU_FCS,
  CPU_FCW,
  CPU_FDP,
  CPU_FDS,
  CPU_FEMPTY,
  CPU_FIP,
  CPU_FOP,
  CPU_FPR,
  CPU_FSW,
  CPU_FTOP,
  CPU_SEG_SEL,
  SEG_CS,
} from '../gen/layout';
import { BUSY, C1, physical, refreshPending, registerAt, updateStatus } from './state';

/**
 * Records FOP, FIP and FCS, as all but the control instructions do. fop: low 3 bits of the first opcode byte << 8 |
 * second opcode byte (SDM vol.1 figure 8-7).
 */
export function x87_instruction(cpu: u32, fop: i32, ip: u64): void {
  store<u32>(cpu, fop, CPU_FOP);
  store<u64>(cpu, ip, CPU_FIP);
  store<u32>(cpu, load<u16>(cpu, CPU_SEG_SEL + SEG_CS * 2), CPU_FCS);
}

/** Records FDP and FDS of a memory operand: segment register number and offset (not linear address). */
export function x87_data_pointer(cpu: u32, segment: i32, offset: u64): void {
  store<u64>(cpu, offset, CPU_FDP);
  store<u32>(cpu, load<u16>(cpu + u32(segment) * 2, CPU_SEG_SEL), CPU_FDS);
}

/** FNINIT. */
export function x87_fninit(cpu: u32): void {
  store<u32>(cpu, 0x37f, CPU_FCW);
  store<u32>(cpu, 0, CPU_FSW);
  store<u32>(cpu, 0, CPU_FTOP);
  store<u32>(cpu, 0xff, CPU_FEMPTY);
  store<u32>(cpu, 0, CPU_FOP);
  store<u64>(cpu, 0, CPU_FIP);
  store<u64>(cpu, 0, CPU_FDP);
  store<u32>(cpu, 0, CPU_FCS);
  store<u32>(cpu, 0, CPU_FDS);
  refreshPending(cpu);
}

/** FNCLEX. */
export function x87_fnclex(cpu: u32): void {
  updateStatus(cpu, 0xff | BUSY, 0);
  refreshPending(cpu);
}

/** Loads the control word: bits 0-5 masks, 8-9 PC, 10-11 RC, 12 infinity control; bit 6 reads as 1. */
export function x87_fldcw(cpu: u32, value: i32): void {
  store<u32>(cpu, (value & 0x1f3f) | 0x40, CPU_FCW);
  refreshPending(cpu);
}

/** The status word with TOP, as FNSTSW stores it. */
export function x87_status(cpu: u32): i32 {
  return load<i32>(cpu, CPU_FSW) | (load<i32>(cpu, CPU_FTOP) << 11);
}

/** Loads the status word with TOP. */
export function x87_set_status(cpu: u32, value: i32): void {
  store<u32>(cpu, value & 0xc7ff, CPU_FSW);
  store<u32>(cpu, (value >> 11) & 7, CPU_FTOP);
  refreshPending(cpu);
}

/** FINCSTP (1), FDECSTP (-1). */
export function x87_rotate(cpu: u32, by: i32): void {
  store<u32>(cpu, physical(cpu, by), CPU_FTOP);
  updateStatus(cpu, C1, 0);
}

/** The tag word: two bits for each physical register, 0 valid, 1 zero, 2 special, 3 empty. */
export function x87_tag_word(cpu: u32): i32 {
  let word = 0;
  for (let r = 0; r < 8; r++) word |= tag(cpu, r) << (r << 1);
  return word;
}

function tag(cpu: u32, r: i32): i32 {
  if (((load<u32>(cpu, CPU_FEMPTY) >> r) & 1) != 0) return 3;
  const at = cpu + CPU_FPR + (u32(r) << 4);
  const sig = load<u64>(at);
  const exponent = load<u16>(at, 8) & 0x7fff;
  if (exponent == 0) return sig == 0 ? 1 : 2;
  return exponent == 0x7fff || i64(sig) >= 0 ? 2 : 0;
}

/** Loads the tag word: only empty or not is kept. */
export function x87_set_tag_word(cpu: u32, word: i32): void {
  let empty = 0;
  for (let r = 0; r < 8; r++) if (((word >> (r << 1)) & 3) == 3) empty |= 1 << r;
  store<u32>(cpu, empty, CPU_FEMPTY);
}

// Environment images (SDM vol.1 figures 8-9 to 8-12). `form`: bit 0 32-bit operand size, bit 1 protected mode
// (clear in real and virtual-8086 mode). Offsets for 16 bits, the double for 32:
//   0 FCW   2 FSW   4 FTW   6 FIP 0-15   8 FCS, or FIP 16-.. << 12 | FOP   10 FDP 0-15   12 FDS, or FDP 16-.. << 12
export const FORM_32: i32 = 1;
export const FORM_PROTECTED: i32 = 2;

/** Bytes of an environment image: 14 or 28. */
export function x87_env_size(_cpu: u32, form: i32): i32 {
  return (form & FORM_32) != 0 ? 28 : 14;
}

/** FNSTENV: builds the image at `to`. The row writes it to the guest and then calls x87_fnstenv_commit. */
export function x87_fnstenv(cpu: u32, to: u32, form: i32): void {
  const ip = load<u64>(cpu, CPU_FIP);
  const dp = load<u64>(cpu, CPU_FDP);
  const op = load<u32>(cpu, CPU_FOP) & 0x7ff;
  const fcw = load<u32>(cpu, CPU_FCW);
  const fsw = u32(x87_status(cpu));
  const ftw = u32(x87_tag_word(cpu));
  const isProtected = (form & FORM_PROTECTED) != 0;
  if ((form & FORM_32) != 0) {
    // The reserved upper halves read as ones.
    store<u32>(to, fcw | 0xffff0000);
    store<u32>(to, fsw | 0xffff0000, 4);
    store<u32>(to, ftw | 0xffff0000, 8);
    if (isProtected) {
      store<u32>(to, u32(ip), 12);
      store<u32>(to, (load<u32>(cpu, CPU_FCS) & 0xffff) | (op << 16), 16);
      store<u32>(to, u32(dp), 20);
      store<u32>(to, load<u32>(cpu, CPU_FDS) | 0xffff0000, 24);
    } else {
      store<u32>(to, (u32(ip) & 0xffff) | 0xffff0000, 12);
      store<u32>(to, ((u32(ip >> 16) & 0xffff) << 12) | op, 16);
      store<u32>(to, (u32(dp) & 0xffff) | 0xffff0000, 20);
      store<u32>(to, (u32(dp >> 16) & 0xffff) << 12, 24);
    }
    return;
  }
  store<u16>(to, fcw);
  store<u16>(to, fsw, 2);
  store<u16>(to, ftw, 4);
  store<u16>(to, u32(ip), 6);
  store<u16>(to, u32(dp), 10);
  if (isProtected) {
    store<u16>(to, load<u32>(cpu, CPU_FCS), 8);
    store<u16>(to, load<u32>(cpu, CPU_FDS), 12);
  } else {
    store<u16>(to, ((u32(ip >> 16) & 15) << 12) | op, 8);
    store<u16>(to, (u32(dp >> 16) & 15) << 12, 12);
  }
}

/** The end of FNSTENV: all exceptions are masked. */
export function x87_fnstenv_commit(cpu: u32): void {
  store<u32>(cpu, load<u32>(cpu, CPU_FCW) | 0x3f, CPU_FCW);
  refreshPending(cpu);
}

/** FLDENV from an image at `from`. */
export function x87_fldenv(cpu: u32, from: u32, form: i32): void {
  const wide = (form & FORM_32) != 0;
  const step: u32 = wide ? 4 : 2;
  x87_fldcw(cpu, load<u16>(from));
  x87_set_status(cpu, load<u16>(from + step));
  x87_set_tag_word(cpu, load<u16>(from + step * 2));
  const at = from + step * 3;
  let ip = u64(wide ? load<u32>(at) : load<u16>(at));
  let dp = u64(wide ? load<u32>(at + step * 2) : load<u16>(at + step * 2));
  if ((form & FORM_PROTECTED) != 0) {
    store<u32>(cpu, load<u16>(at + step), CPU_FCS);
    store<u32>(cpu, load<u16>(at + step * 3), CPU_FDS);
    if (wide) store<u32>(cpu, load<u16>(at + step, 2) & 0x7ff, CPU_FOP);
  } else {
    const ipHigh = wide ? load<u32>(at + step) : load<u16>(at + step);
    const dpHigh = wide ? load<u32>(at + step * 3) : load<u16>(at + step * 3);
    store<u32>(cpu, ipHigh & 0x7ff, CPU_FOP);
    ip = (ip & 0xffff) | (u64((ipHigh >> 12) & 0xffff) << 16);
    dp = (dp & 0xffff) | (u64((dpHigh >> 12) & 0xffff) << 16);
    store<u32>(cpu, 0, CPU_FCS);
    store<u32>(cpu, 0, CPU_FDS);
  }
  store<u64>(cpu, ip, CPU_FIP);
  store<u64>(cpu, dp, CPU_FDP);
}

/** FNSAVE: builds the image at `to`, 94 or 108 bytes. The row writes it to the guest and then calls x87_fninit. */
export function x87_fnsave(cpu: u32, to: u32, form: i32): void {
  x87_fnstenv(cpu, to, form);
  let at = to + u32(x87_env_size(cpu, form));
  for (let i = 0; i < 8; i++) {
    const from = registerAt(cpu, i);
    store<u64>(at, load<u64>(from));
    store<u16>(at, load<u16>(from, 8), 8);
    at += 10;
  }
}

/** FRSTOR from an image at `from`, 94 or 108 bytes. */
export function x87_frstor(cpu: u32, from: u32, form: i32): void {
  x87_fldenv(cpu, from, form);
  let at = from + u32(x87_env_size(cpu, form));
  for (let i = 0; i < 8; i++) {
    const to = registerAt(cpu, i);
    store<u64>(to, load<u64>(at));
    store<u64>(to, u64(load<u16>(at, 8)), 8);
    at += 10;
  }
}
