// Model-specific registers (SDM vol.4): those held in the vCPU's state; all others are the host's to know.

import { msr_read, msr_write, tsc_now, tsc_number } from './env';
import {
  CPU_APIC_BASE,
  CPU_BUDGET,
  CPU_CSTAR,
  CPU_DEBUGCTL,
  CPU_EFER,
  CPU_FEATURE_CONTROL,
  CPU_FMASK,
  CPU_KERNEL_GS_BASE,
  CPU_LSTAR,
  CPU_MISC_ENABLE,
  CPU_MTRR_DEF_TYPE,
  CPU_MTRR_FIX,
  CPU_MTRR_PHYS,
  CPU_PAT,
  CPU_SCRATCH,
  CPU_SEG_BASE,
  CPU_STAR,
  CPU_STOP,
  CPU_SYSENTER_CS,
  CPU_SYSENTER_EIP,
  CPU_SYSENTER_ESP,
  CPU_TSC_ASKED,
  CPU_TSC_AUX,
  CPU_TSC_BUDGET,
  CPU_TSC_GIVEN,
  CPU_TSC_OFFSET,
  CPU_TSC_WINDOW,
  CPU_XSS,
  CR0_PG,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  EXC_GP,
  SEG_FS,
  SEG_GS,
  STOP_TSC_WRITTEN,
} from './gen/layout';
import { flush_all } from './spaces';
import {
  canonical,
  check_privilege,
  cr0,
  gpr,
  must_wait,
  RAX,
  RCX,
  RDX,
  raise,
  set_gpr,
  update_context,
} from './state';

const TSC: u32 = 0x10;
const TSC_ADJUST: u32 = 0x3b;
const APIC_BASE: u32 = 0x1b;
const MTRRCAP: u32 = 0xfe;
const EFER: u32 = 0xc0000080;
const PAT: u32 = 0x277;
const TSC_AUX: u32 = 0xc0000103;
const FEATURE_CONTROL: u32 = 0x3a;
const MTRR_DEF_TYPE: u32 = 0x2ff;

/** IA32_MTRRCAP: 8 variable ranges (bits 0-7), fixed ranges (8), write-combining (10). */
const MTRRCAP_VALUE: u64 = 0x508;
/** IA32_FEATURE_CONTROL: once the lock bit is set it cannot be written. */
const FEATURE_CONTROL_LOCK: u64 = 1;
const EFER_BITS: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
/** Memory types that exist: 0, 1, 4, 5, 6 and, in the PAT only, 7. */
const PAT_TYPES: u32 = 0xf3;

/** Offset in the state of an MSR that needs no checks beyond `bad_value`; 0 for any other. */
function field_of(index: u32): u32 {
  switch (index) {
    case FEATURE_CONTROL:
      return CPU_FEATURE_CONTROL;
    case 0x174:
      return CPU_SYSENTER_CS;
    case 0x175:
      return CPU_SYSENTER_ESP;
    case 0x176:
      return CPU_SYSENTER_EIP;
    case 0x1a0:
      return CPU_MISC_ENABLE;
    case 0x1d9:
      return CPU_DEBUGCTL;
    case 0x250:
      return CPU_MTRR_FIX;
    case 0x258:
    case 0x259:
      return CPU_MTRR_FIX + (index - 0x257) * 8;
    case PAT:
      return CPU_PAT;
    case MTRR_DEF_TYPE:
      return CPU_MTRR_DEF_TYPE;
    case 0xda0:
      return CPU_XSS;
    case 0xc0000081:
      return CPU_STAR;
    case 0xc0000082:
      return CPU_LSTAR;
    case 0xc0000083:
      return CPU_CSTAR;
    case 0xc0000084:
      return CPU_FMASK;
    case 0xc0000100:
      return CPU_SEG_BASE + SEG_FS * 8;
    case 0xc0000101:
      return CPU_SEG_BASE + SEG_GS * 8;
    case 0xc0000102:
      return CPU_KERNEL_GS_BASE;
    case TSC_AUX:
      return CPU_TSC_AUX;
    // IA32_TSC_ADJUST is what was added to the counter since reset, by itself or by writes of the counter.
    case TSC_ADJUST:
      return CPU_TSC_OFFSET;
  }
  if (index >= 0x200 && index <= 0x20f) return CPU_MTRR_PHYS + (index - 0x200) * 8;
  if (index >= 0x268 && index <= 0x26f) return CPU_MTRR_FIX + (index - 0x268 + 3) * 8;
  return 0;
}

/** Whether each byte of a PAT value is a memory type. */
function pat_valid(value: u64): bool {
  for (let i: u32 = 0; i < 8; i++) {
    const type = <u32>(value >> (i * 8)) & 0xff;
    if (type > 7 || !((PAT_TYPES >> type) & 1)) return false;
  }
  return true;
}

/** Whether an MSR of `field_of` refuses a value (#GP). */
function bad_value(cpu: u32, index: u32, value: u64): bool {
  switch (index) {
    case PAT:
      return !pat_valid(value);
    case TSC_AUX:
      return value >> 32 != 0;
    case 0xc0000084:
      return value >> 32 != 0;
    case FEATURE_CONTROL:
      return (load<u64>(cpu, CPU_FEATURE_CONTROL) & FEATURE_CONTROL_LOCK) != 0;
    case MTRR_DEF_TYPE:
      return (value & ~(<u64>0xcff)) != 0;
    case 0xda0:
      return value != 0;
    case 0x175:
    case 0x176:
    case 0xc0000082:
    case 0xc0000083:
    case 0xc0000100:
    case 0xc0000101:
    case 0xc0000102:
      return !canonical(value);
  }
  return false;
}

function write_efer(cpu: u32, value: u64): u32 {
  const old = load<u64>(cpu, CPU_EFER);
  if (value & ~EFER_BITS) return 1;
  if ((old ^ value) & EFER_LME && cr0(cpu) & CR0_PG) return 1;
  // LMA follows from LME and CR0.PG and cannot be written.
  store<u64>(cpu, (value & ~(<u64>EFER_LMA)) | (old & EFER_LMA), CPU_EFER);
  if ((old ^ value) & EFER_NXE) flush_all(cpu);
  update_context(cpu);
  return 0;
}

/** Reads an MSR into scratch[0]. 1: #GP is due. */
export function get_msr(cpu: u32, index: u32): u32 {
  const result = cpu + CPU_SCRATCH;
  const field = field_of(index);
  if (field) store<u64>(result, load<u64>(cpu + field));
  else if (index == EFER) store<u64>(result, load<u64>(cpu, CPU_EFER));
  else if (index == TSC) store<u64>(result, guest_tsc(cpu));
  else if (index == APIC_BASE) store<u64>(result, load<u64>(cpu, CPU_APIC_BASE));
  else if (index == MTRRCAP) store<u64>(result, MTRRCAP_VALUE);
  // Platform id, microcode revision, machine-check banks: none.
  else if (index == 0x17 || index == 0x8b || index == 0x179 || index == 0x17a) store<u64>(result, 0);
  else return msr_read(cpu, index);
  return 0;
}

/** Writes an MSR. 1: #GP is due. */
export function set_msr(cpu: u32, index: u32, value: u64): u32 {
  const field = field_of(index);
  if (field) {
    if (bad_value(cpu, index, value)) return 1;
    store<u64>(cpu + field, value);
    if (index == TSC_ADJUST) store<u32>(cpu, STOP_TSC_WRITTEN, CPU_STOP);
    return 0;
  }
  if (index == EFER) return write_efer(cpu, value);
  if (index == TSC) {
    store<u64>(cpu, value - ask_clock(cpu), CPU_TSC_OFFSET);
    store<u32>(cpu, STOP_TSC_WRITTEN, CPU_STOP);
    return 0;
  }
  // Microcode update trigger and signature, machine-check status: accepted, without effect.
  if (index == 0x79 || index == 0x8b || index == 0x17a) return 0;
  return msr_write(cpu, index, value);
}

/** The counter before the guest's offset. */
function clock_tsc(cpu: u32): u64 {
  const now = tsc_number(cpu);
  return now >= 0 ? <u64>now : tsc_now(cpu);
}
/** What the guest was given last may be this much ahead of the clock, in ticks; more is from before the clock was set. */
const MOST_AHEAD: u64 = 1 << 20;

/** A look at the clock; never at what was given already. */
function ask_clock(cpu: u32): u64 {
  let now = clock_tsc(cpu);
  const given = load<u64>(cpu, CPU_TSC_GIVEN);
  if (now <= given && given - now < MOST_AHEAD) now = given + 1;
  store<u64>(cpu, now, CPU_TSC_ASKED);
  store<u32>(cpu, load<u32>(cpu, CPU_BUDGET), CPU_TSC_BUDGET);
  return now;
}

/**
 * The guest's time-stamp counter. Kernels read it at each system call and switch, and the clock is the host's and costs more
 * than the call: where there is a window, each instruction in it behind a look at the clock counts as a tick, which is
 * less than it takes. Never twice the same then.
 */
export function guest_tsc(cpu: u32): u64 {
  const window = load<u32>(cpu, CPU_TSC_WINDOW);
  if (window == 0) return clock_tsc(cpu) + load<u64>(cpu, CPU_TSC_OFFSET);
  const done = load<u32>(cpu, CPU_TSC_BUDGET) - load<u32>(cpu, CPU_BUDGET);
  const given = load<u64>(cpu, CPU_TSC_GIVEN);
  let now = done < window ? load<u64>(cpu, CPU_TSC_ASKED) + done : ask_clock(cpu);
  if (now <= given && given - now < MOST_AHEAD) now = given + 1;
  store<u64>(cpu, now, CPU_TSC_GIVEN);
  return now + load<u64>(cpu, CPU_TSC_OFFSET);
}

/** RDMSR: ECX selects, EDX:EAX receives. */
export function read_msr(cpu: u32): u32 {
  if (check_privilege(cpu)) return 1;
  if (get_msr(cpu, <u32>gpr(cpu, RCX))) return must_wait(cpu) ? 1 : raise(cpu, EXC_GP, 0);
  const value = load<u64>(cpu, CPU_SCRATCH);
  set_gpr(cpu, RAX, value & 0xffffffff);
  set_gpr(cpu, RDX, value >> 32);
  return 0;
}

/** WRMSR. */
export function write_msr(cpu: u32): u32 {
  if (check_privilege(cpu)) return 1;
  const value = (gpr(cpu, RDX) << 32) | (gpr(cpu, RAX) & 0xffffffff);
  if (!set_msr(cpu, <u32>gpr(cpu, RCX), value)) return 0;
  return must_wait(cpu) ? 1 : raise(cpu, EXC_GP, 0);
}
