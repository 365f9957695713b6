// Short names for what the state says: mode predicates, RFLAGS, stack pointer, segment registers, and the
// fields that are derived from others (access context, decoding mode, FPU traps).

import {
  ATTR_CODE,
  ATTR_DB,
  ATTR_DPL_SHIFT,
  ATTR_L,
  ATTR_NULL,
  CPU_AVX_TRAP,
  CPU_CC_OP,
  CPU_CC_X,
  CPU_CODE_BASE,
  CPU_CODE_MASK,
  CPU_CPL,
  CPU_CR0,
  CPU_CR4,
  CPU_DR,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_EXC_ERROR,
  CPU_EXC_VECTOR,
  CPU_EXIT_REASON,
  CPU_FPU_TRAP,
  CPU_FSW,
  CPU_GPR,
  CPU_IO_WAIT,
  CPU_MODE,
  CPU_SEG_ATTR,
  CPU_SEG_BASE,
  CPU_SEG_LIMIT,
  CPU_SEG_SEL,
  CPU_SSE_TRAP,
  CPU_STOP,
  CPU_TLB_PTR,
  CPU_TLB_USER,
  CPU_XCR0,
  CR0_AM,
  CR0_EM,
  CR0_PE,
  CR0_TS,
  CR4_OSFXSR,
  CR4_OSXSAVE,
  CR4_SMAP,
  EFER_LMA,
  EFLAGS_AC,
  EFLAGS_ARITH,
  EFLAGS_FIXED,
  EFLAGS_IOPL,
  EFLAGS_TF,
  EFLAGS_VM,
  EXC_GP,
  EXC_LEAVE,
  ITLB_CTX_MODE_SHIFT,
  ITLB_CTX_NEVER,
  ITLB_CTX_USER,
  MODE_CODE16,
  MODE_CODE32,
  MODE_CODE64,
  MODE_STACK32,
  SEG_CS,
  SEG_SS,
  TLB_BYTES,
  TLB_CONTEXTS,
  TLB_CTX_CHECKED,
  TLB_CTX_SUPERVISOR,
  TLB_CTX_SUPERVISOR_AC,
  TLB_CTX_USER,
  TLB_OFFSET,
} from './gen/layout';
import { set_itlb_ctx } from './itlb';
import { in_space } from './spaces';
import { DR7_ENABLES, refresh_watched } from './watch';
import { wide_refresh } from './wide-tlb';

/** Register numbers. */
export const RAX: u32 = 0;
export const RCX: u32 = 1;
export const RDX: u32 = 2;
export const RBX: u32 = 3;
export const RSP: u32 = 4;
export const RBP: u32 = 5;

/** Error summary bit of the x87 status word: an unmasked exception is pending. */
const FSW_ES: u32 = 0x80;

/** Records an exception and returns 1, the status "fault recorded". */
export function raise(cpu: u32, vector: u32, error: u32): u32 {
  store<u32>(cpu, vector, CPU_EXC_VECTOR);
  store<u32>(cpu, error, CPU_EXC_ERROR);
  return 1;
}

/** Records that the instruction is to leave and to be begun again later; returns 1 like raise. */
export function raise_leave(cpu: u32): u32 {
  return raise(cpu, EXC_LEAVE, 0);
}
/** After the host was asked something: whether it cannot answer yet. Then the leave is recorded. */
export function must_wait(cpu: u32): bool {
  if (load<u32>(cpu, CPU_IO_WAIT) == 0) return false;
  raise_leave(cpu);
  return true;
}

export function cr0(cpu: u32): u32 {
  return load<u32>(cpu, CPU_CR0);
}
export function cr4(cpu: u32): u32 {
  return load<u32>(cpu, CPU_CR4);
}
export function cpl(cpu: u32): u32 {
  return load<u32>(cpu, CPU_CPL);
}
/** IA-32e mode is active: 64-bit or compatibility mode. */
export function long_mode(cpu: u32): bool {
  return (load<u32>(cpu, CPU_EFER) & EFER_LMA) != 0;
}
/** The processor runs in 64-bit mode. */
export function mode64(cpu: u32): bool {
  return (load<u32>(cpu, CPU_MODE) & MODE_CODE64) != 0;
}
export function v86_mode(cpu: u32): bool {
  return (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_VM) != 0;
}
/** Protected mode, and not virtual-8086 mode: selectors name descriptors. */
export function protected_mode(cpu: u32): bool {
  return (load<u32>(cpu, CPU_CR0) & CR0_PE) != 0 && !v86_mode(cpu);
}
/** I/O privilege level, 0-3. */
export function iopl(cpu: u32): u32 {
  return (load<u32>(cpu, CPU_EFLAGS) & EFLAGS_IOPL) >> 12;
}
/** #GP(0) unless CPL is 0. */
export function check_privilege(cpu: u32): u32 {
  return cpl(cpu) != 0 ? raise(cpu, EXC_GP, 0) : 0;
}

/** RFLAGS; the arithmetic flags must be explicit (cc_op = 0). */
export function rflags(cpu: u32): u32 {
  return load<u32>(cpu, CPU_EFLAGS) | (load<u32>(cpu, CPU_CC_X) & EFLAGS_ARITH);
}
/** Sets all of RFLAGS. The caller calls update_context. */
export function set_rflags(cpu: u32, value: u32): void {
  store<u32>(cpu, (value & ~EFLAGS_ARITH) | EFLAGS_FIXED, CPU_EFLAGS);
  store<u64>(cpu, value & EFLAGS_ARITH, CPU_CC_X);
  store<u32>(cpu, 0, CPU_CC_OP);
}

export function gpr(cpu: u32, n: u32): u64 {
  return load<u64>(cpu + n * 8, CPU_GPR);
}
export function set_gpr(cpu: u32, n: u32, value: u64): void {
  store<u64>(cpu + n * 8, value, CPU_GPR);
}

/** Bits of rSP that stack accesses use, by the mode and SS.B. */
export function stack_mask(cpu: u32): u64 {
  const mode = load<u32>(cpu, CPU_MODE);
  if (mode & MODE_CODE64) return ~(<u64>0);
  return mode & MODE_STACK32 ? 0xffffffff : 0xffff;
}
/** Writes the bits of rSP that `mask` covers: 16, 32 (upper half zeroed) or 64. */
export function set_sp(cpu: u32, mask: u64, value: u64): void {
  if (mask == 0xffff) store<u16>(cpu, <u16>value, CPU_GPR + RSP * 8);
  else store<u64>(cpu, value & mask, CPU_GPR + RSP * 8);
}

export function seg_sel(cpu: u32, seg: u32): u32 {
  return <u32>load<u16>(cpu + seg * 2, CPU_SEG_SEL);
}
export function seg_base(cpu: u32, seg: u32): u64 {
  return load<u64>(cpu + seg * 8, CPU_SEG_BASE);
}
export function seg_limit(cpu: u32, seg: u32): u32 {
  return load<u32>(cpu + seg * 4, CPU_SEG_LIMIT);
}
export function seg_attr(cpu: u32, seg: u32): u32 {
  return load<u32>(cpu + seg * 4, CPU_SEG_ATTR);
}
/** Writes a segment register with its hidden part. The caller calls update_context after CS or SS. */
export function set_segment(cpu: u32, seg: u32, sel: u32, base: u64, limit: u32, attr: u32): void {
  store<u16>(cpu + seg * 2, <u16>sel, CPU_SEG_SEL);
  store<u64>(cpu + seg * 8, base, CPU_SEG_BASE);
  store<u32>(cpu + seg * 4, limit, CPU_SEG_LIMIT);
  store<u32>(cpu + seg * 4, attr, CPU_SEG_ATTR);
}
/** Loads a null selector: any access through it faults. A null SS keeps a DPL, which is the CPL. */
export function set_null_segment(cpu: u32, seg: u32, sel: u32, dpl: u32): void {
  set_segment(cpu, seg, sel, 0, 0, ATTR_NULL | (dpl << ATTR_DPL_SHIFT));
}

/** Bits 48-63 are copies of bit 47. */
export function canonical(va: u64): bool {
  return <i64>(va << 16) >> 16 == <i64>va;
}

/** Asks the dispatcher to leave with EXIT_* `reason`. */
export function leave(cpu: u32, reason: u32): void {
  store<u32>(cpu, reason, CPU_EXIT_REASON);
  store<u32>(cpu, 1, CPU_STOP);
}

/** Which data TLB the accesses of the running code use: TLB_CTX_*. */
function access_context(cpu: u32): u32 {
  const ac = load<u32>(cpu, CPU_EFLAGS) & EFLAGS_AC;
  if (cpl(cpu) == 3) return ac && cr0(cpu) & CR0_AM ? TLB_CTX_CHECKED : TLB_CTX_USER;
  return ac && cr4(cpu) & CR4_SMAP ? TLB_CTX_SUPERVISOR_AC : TLB_CTX_SUPERVISOR;
}

/** MODE_*: code size by CS (SDM vol.3 3.4.5), stack size by SS.B. */
function code_mode(cpu: u32): u32 {
  const cs = seg_attr(cpu, SEG_CS);
  if (long_mode(cpu) && cs & ATTR_L && cs & ATTR_CODE) return MODE_CODE64;
  const code = cs & ATTR_DB ? MODE_CODE32 : MODE_CODE16;
  return seg_attr(cpu, SEG_SS) & ATTR_DB ? code | MODE_STACK32 : code;
}

/** XCR0: SSE and AVX. */
const XCR0_AVX_SSE: u64 = 6;

/** Protected mode, and the operating system saves YMM registers (SDM vol.1 14.3). */
export function avx_enabled(cpu: u32): bool {
  if (!(cr0(cpu) & CR0_PE) || v86_mode(cpu) || !(cr4(cpu) & CR4_OSXSAVE)) return false;
  return (load<u64>(cpu, CPU_XCR0) & XCR0_AVX_SSE) == XCR0_AVX_SSE;
}

/**
 * Recomputes tlb_ptr, itlb_ctx, mode, code_base, code_mask, fpu_trap, sse_trap, avx_trap and watched. To be called after any
 * change of CPL, CR0, XCR0, CR4, EFER, EFLAGS.AC, EFLAGS.TF, DR7, CS or SS.
 */
export function update_context(cpu: u32): void {
  refresh_watched(cpu);
  const mode = code_mode(cpu);
  store<u32>(cpu, mode, CPU_MODE);
  update_access(cpu);
  const long = (mode & MODE_CODE64) != 0;
  store<u64>(cpu, long ? 0 : load<u64>(cpu, CPU_SEG_BASE + SEG_CS * 8), CPU_CODE_BASE);
  store<u64>(cpu, long ? ~(<u64>0) : 0xffffffff, CPU_CODE_MASK);
  const watched = load<u32>(cpu, CPU_EFLAGS) & EFLAGS_TF || load<u32>(cpu, CPU_DR + 7 * 8) & DR7_ENABLES;
  const user = cpl(cpu) == 3 ? ITLB_CTX_USER : 0;
  const fetches = (mode << ITLB_CTX_MODE_SHIFT) | user | (watched ? ITLB_CTX_NEVER : 0);
  set_itlb_ctx(cpu, in_space(cpu, fetches));
  const unavailable = cr0(cpu) & (CR0_EM | CR0_TS);
  store<u32>(cpu, unavailable | (load<u32>(cpu, CPU_FSW) & FSW_ES), CPU_FPU_TRAP);
  store<u32>(cpu, unavailable | (cr4(cpu) & CR4_OSFXSR ? 0 : 1), CPU_SSE_TRAP);
  store<u32>(cpu, (cr0(cpu) & CR0_TS) | (avx_enabled(cpu) ? 0 : 1), CPU_AVX_TRAP);
}

/** The part of update_context that EFLAGS.AC alone has a say in: tlb_ptr. */
function update_access(cpu: u32): void {
  const ctx = access_context(cpu);
  const table = ctx == TLB_CTX_USER ? load<u32>(cpu, CPU_TLB_USER) : cpu + TLB_OFFSET + ctx * TLB_BYTES;
  store<u32>(cpu, table, CPU_TLB_PTR);
  wide_refresh(cpu);
}
/** After EFLAGS, which were `before`, have changed in other bits than VM: recomputes what follows from them. */
export function update_flags(cpu: u32, before: u32): void {
  const changed = load<u32>(cpu, CPU_EFLAGS) ^ before;
  if (changed & EFLAGS_TF) update_context(cpu);
  else if (changed & EFLAGS_AC) update_access(cpu);
}

/** The access context in use, 0-3. */
export function current_context(cpu: u32): u32 {
  const table = (load<u32>(cpu, CPU_TLB_PTR) - cpu - TLB_OFFSET) / TLB_BYTES;
  return table < TLB_CONTEXTS ? table : TLB_CTX_USER;
}
