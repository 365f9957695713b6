// The XSAVE area (SDM vol.1 chapter 13): a legacy region like FXSAVE's image, a header, and behind it the upper halves
// of the YMM registers. With these three components the compacted format has the same places as the standard one.
//
//   0 legacy region (x87/fxsave.ts)   512 XSTATE_BV u64   520 XCOMP_BV u64   528-575 reserved
//   576 upper half of YMM0..YMM15, 16 bytes each

import {
  CPU_CR0,
  CPU_CR4,
  CPU_FCW,
  CPU_FDP,
  CPU_FEMPTY,
  CPU_FIP,
  CPU_FOP,
  CPU_FPR,
  CPU_FPU_TRAP,
  CPU_FSW,
  CPU_MXCSR,
  CPU_SCRATCH,
  CPU_XCR0,
  CPU_YMM,
  CR0_TS,
  CR4_OSXSAVE,
  EXC_GP,
  EXC_NM,
  EXC_UD,
} from './gen/layout';
import { mem_commit, mem_read, mem_write } from './mmu';
import { check_privilege, gpr, long_mode, RAX, RDX, raise } from './state';
import { x87_status } from './x87/control';
import {
  FORM_16_XMM,
  fx_init_x87,
  fx_load_mxcsr,
  fx_load_x87,
  fx_load_xmm,
  fx_store_mxcsr,
  fx_store_x87,
  fx_store_xmm,
  MXCSR_MASK,
} from './x87/fxsave';

const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
/** XCOMP_BV: the area is in the compacted format. */
const COMPACTED: u64 = (<u64>1) << 63;

const HEADER: u32 = 512;
const XSTATE_BV: u32 = 512;
const XCOMP_BV: u32 = 520;
const HEADER_END: u32 = 576;
const UPPER: u32 = 576;
const AREA: u32 = 832;
const MXCSR: u32 = 24;
const XMM: u32 = 160;
const MXCSR_INITIAL: u32 = 0x1f80;

// `form` bits 2-3, behind FORM_*: which of the instructions.
const KIND_SHIFT: i32 = 2;
const XSAVE: i32 = 0;
const XSAVEOPT: i32 = 1;
const XSAVEC: i32 = 2;
const XSAVES: i32 = 3;

/** Error summary bit of the x87 status word. */
const FSW_ES: u32 = 0x80;

function x87_in_use(cpu: u32): bool {
  if (load<u32>(cpu, CPU_FCW) != 0x37f || x87_status(cpu) != 0 || load<u32>(cpu, CPU_FEMPTY) != 0xff) return true;
  let bits: u64 = load<u64>(cpu, CPU_FIP) | load<u64>(cpu, CPU_FDP) | load<u32>(cpu, CPU_FOP);
  for (let i: u32 = 0; i < 8; i++) {
    bits |= load<u64>(cpu + (i << 4), CPU_FPR) | load<u16>(cpu + CPU_FPR + (i << 4), 8);
  }
  return bits != 0;
}

function halves_in_use(cpu: u32, half: u32): bool {
  let bits = i64x2.splat(0);
  for (let i: u32 = 0; i < 16; i++) bits = v128.or(bits, v128.load(cpu + CPU_YMM + (i << 5) + half));
  return v128.any_true(bits);
}

/** XINUSE: components that are not in their initial configuration (SDM vol.1 13.6). MXCSR does not count. */
export function state_in_use(cpu: u32): u64 {
  let bits: u64 = x87_in_use(cpu) ? X87 : 0;
  if (halves_in_use(cpu, 0)) bits |= SSE;
  if (halves_in_use(cpu, 16)) bits |= AVX;
  return bits;
}

/** #UD without CR4.OSXSAVE, #NM with CR0.TS; XSAVES and XRSTORS also #GP above level 0. */
export function xsave_check(cpu: u32, supervisor: u32): u32 {
  if (!(load<u32>(cpu, CPU_CR4) & CR4_OSXSAVE)) return raise(cpu, EXC_UD, 0);
  if (load<u32>(cpu, CPU_CR0) & CR0_TS) return raise(cpu, EXC_NM, 0);
  return supervisor ? check_privilege(cpu) : 0;
}

/** RFBM: the components asked for in EDX:EAX that XCR0 has. (IA32_XSS has none.) */
function requested(cpu: u32): u64 {
  return load<u64>(cpu, CPU_XCR0) & ((gpr(cpu, RDX) << 32) | (gpr(cpu, RAX) & 0xffffffff));
}

function at(cpu: u32, va: u64, offset: u32): u64 {
  const sum = va + offset;
  return long_mode(cpu) ? sum : sum & 0xffffffff;
}

/** Copies bytes of the area from scratch to the guest, 8 at a time. The row has checked both ends. 1: fault. */
function copy_out(cpu: u32, va: u64, from: u32, to: u32): u32 {
  for (let offset = from; offset < to; offset += 8) {
    const host = mem_write(cpu, at(cpu, va, offset), 8);
    if (!host) return 1;
    store<u64>(host, load<u64>(cpu + offset, CPU_SCRATCH));
    mem_commit(cpu);
  }
  return 0;
}

function copy_in(cpu: u32, va: u64, from: u32, to: u32): u32 {
  for (let offset = from; offset < to; offset += 8) {
    const host = mem_read(cpu, at(cpu, va, offset), 8);
    if (!host) return 1;
    store<u64>(cpu + offset, load<u64>(host), CPU_SCRATCH);
  }
  return 0;
}

/** Registers that a mode has: 16, or 8 outside 64-bit mode. */
function register_count(form: i32): u32 {
  return form & FORM_16_XMM ? 16 : 8;
}

/**
 * XSAVE, XSAVEOPT, XSAVEC, XSAVES to linear address `va`, aligned to 64. `form`: bit 0 64-bit pointers, bit 1 sixteen
 * registers, bits 2-3 which instruction. 1: fault recorded.
 */
export function xsave_area(cpu: u32, va: u64, form: i32): u32 {
  const kind = form >> KIND_SHIFT;
  const rfbm = requested(cpu);
  let in_use = state_in_use(cpu);
  const compact = kind >= XSAVEC;
  // The compacted format has no other place for MXCSR.
  if (compact && load<u32>(cpu, CPU_MXCSR) != MXCSR_INITIAL) in_use |= SSE;
  const saved = kind == XSAVE ? rfbm : rfbm & in_use;
  const scratch = cpu + CPU_SCRATCH;
  const count = register_count(form);
  if (saved & X87) {
    fx_store_x87(cpu, scratch, form);
    if (copy_out(cpu, va, 0, MXCSR) || copy_out(cpu, va, 32, XMM)) return 1;
  }
  if (compact ? saved & SSE : rfbm & (SSE | AVX)) {
    fx_store_mxcsr(cpu, scratch);
    if (copy_out(cpu, va, MXCSR, 32)) return 1;
  }
  if (saved & SSE) {
    fx_store_xmm(cpu, scratch, form);
    if (copy_out(cpu, va, XMM, XMM + (count << 4))) return 1;
  }
  if (saved & AVX) {
    for (let i: u32 = 0; i < count; i++) {
      v128.store(scratch + UPPER + (i << 4), v128.load(cpu + CPU_YMM + (i << 5) + 16));
    }
    if (copy_out(cpu, va, UPPER, UPPER + (count << 4))) return 1;
  }
  if (compact) {
    store<u64>(scratch, rfbm & in_use, XSTATE_BV);
    store<u64>(scratch, COMPACTED | rfbm, XCOMP_BV);
    return copy_out(cpu, va, HEADER, XCOMP_BV + 8);
  }
  if (copy_in(cpu, va, XSTATE_BV, XCOMP_BV)) return 1;
  store<u64>(scratch, (load<u64>(scratch, XSTATE_BV) & ~rfbm) | (rfbm & in_use), XSTATE_BV);
  return copy_out(cpu, va, XSTATE_BV, XCOMP_BV);
}

/** Whether the header in scratch may be restored from (SDM vol.1 13.8). */
function header_is_sound(cpu: u32, supervisor: bool): bool {
  const header = cpu + CPU_SCRATCH;
  const xcr0 = load<u64>(cpu, CPU_XCR0);
  const state = load<u64>(header, XSTATE_BV);
  const format = load<u64>(header, XCOMP_BV);
  let rest: u64 = 0;
  if (format & COMPACTED) {
    for (let i: u32 = XCOMP_BV + 8; i < HEADER_END; i += 8) rest |= load<u64>(header + i);
    return rest == 0 && (format & ~COMPACTED & ~xcr0) == 0 && (state & ~format) == 0;
  }
  return !supervisor && (format | load<u64>(header, XCOMP_BV + 8)) == 0 && (state & ~xcr0) == 0;
}

/** The legacy region's SSE part from scratch, or its initial configuration. */
function restore_xmm(cpu: u32, form: i32, from_area: bool): void {
  if (from_area) return fx_load_xmm(cpu, cpu + CPU_SCRATCH, form);
  const count = register_count(form);
  for (let i: u32 = 0; i < count; i++) v128.store(cpu + CPU_YMM + (i << 5), i64x2.splat(0));
}

function restore_upper(cpu: u32, form: i32, from_area: bool): void {
  const count = register_count(form);
  for (let i: u32 = 0; i < count; i++) {
    const value = from_area ? v128.load(cpu + CPU_SCRATCH + UPPER + (i << 4)) : i64x2.splat(0);
    v128.store(cpu + CPU_YMM + (i << 5) + 16, value);
  }
}

/** XRSTOR, XRSTORS from linear address `va`, aligned to 64. `form` as for XSAVE; kind 3 is XRSTORS. 1: fault recorded. */
export function xrstor_area(cpu: u32, va: u64, form: i32): u32 {
  const scratch = cpu + CPU_SCRATCH;
  const rfbm = requested(cpu);
  if (copy_in(cpu, va, HEADER, HEADER_END)) return 1;
  if (!header_is_sound(cpu, form >> KIND_SHIFT == XSAVES)) return raise(cpu, EXC_GP, 0);
  const loaded = rfbm & load<u64>(scratch, XSTATE_BV);
  if (copy_in(cpu, va, 0, HEADER)) return 1;
  if (loaded & AVX && copy_in(cpu, va, UPPER, AREA)) return 1;
  const compact = (load<u64>(scratch, XCOMP_BV) & COMPACTED) != 0;
  const mxcsr = compact ? loaded & SSE : rfbm & (SSE | AVX);
  if (mxcsr) {
    if (load<u32>(scratch, MXCSR) & ~MXCSR_MASK) return raise(cpu, EXC_GP, 0);
    fx_load_mxcsr(cpu, scratch);
  } else if (rfbm & SSE) store<u32>(cpu, MXCSR_INITIAL, CPU_MXCSR);
  if (loaded & X87) fx_load_x87(cpu, scratch, form);
  else if (rfbm & X87) fx_init_x87(cpu);
  if (rfbm & SSE) restore_xmm(cpu, form, (loaded & SSE) != 0);
  if (rfbm & AVX) restore_upper(cpu, form, (loaded & AVX) != 0);
  store<u32>(cpu, (load<u32>(cpu, CPU_FPU_TRAP) & ~FSW_ES) | (load<u32>(cpu, CPU_FSW) & FSW_ES), CPU_FPU_TRAP);
  return 0;
}
