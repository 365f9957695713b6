// System instructions that are neither control registers nor MSRs: descriptor tables, TLB invalidation, time,
// CPUID, FS and GS bases, HLT and its relatives.

import { cpuid_query } from './env';
import {
  CPU_GDTR_BASE,
  CPU_GDTR_LIMIT,
  CPU_HALTED,
  CPU_IDTR_BASE,
  CPU_IDTR_LIMIT,
  CPU_KERNEL_GS_BASE,
  CPU_RIP,
  CPU_SCRATCH,
  CPU_SEG_BASE,
  CPU_TSC_AUX,
  CR0_PE,
  CR4_FSGSBASE,
  CR4_PCIDE,
  CR4_TSD,
  CR4_UMIP,
  EXC_BR,
  EXC_GP,
  EXC_UD,
  EXIT_HLT,
  EXIT_HYPERCALL,
  SEG_FS,
  SEG_GS,
} from './gen/layout';
import { guest_tsc } from './msr';
import { flush_all, flush_all_pcids, flush_page, flush_page_of, flush_pcid } from './spaces';
import {
  canonical,
  check_privilege,
  cpl,
  cr0,
  cr4,
  gpr,
  leave,
  mode64,
  RAX,
  RBX,
  RCX,
  RDX,
  raise,
  seg_base,
  set_gpr,
} from './state';

/** LGDT and LIDT share their checks. */
function check_table(cpu: u32, base: u64): u32 {
  if (check_privilege(cpu)) return 1;
  return mode64(cpu) && !canonical(base) ? raise(cpu, EXC_GP, 0) : 0;
}

/** LGDT. */
export function load_gdtr(cpu: u32, limit: u32, base: u64): u32 {
  if (check_table(cpu, base)) return 1;
  store<u32>(cpu, limit & 0xffff, CPU_GDTR_LIMIT);
  store<u64>(cpu, base, CPU_GDTR_BASE);
  return 0;
}

/** LIDT. */
export function load_idtr(cpu: u32, limit: u32, base: u64): u32 {
  if (check_table(cpu, base)) return 1;
  store<u32>(cpu, limit & 0xffff, CPU_IDTR_LIMIT);
  store<u64>(cpu, base, CPU_IDTR_BASE);
  return 0;
}

/** SGDT, SIDT, SLDT, STR, SMSW under CR4.UMIP. */
export function store_system_check(cpu: u32): u32 {
  return cr4(cpu) & CR4_UMIP && cpl(cpu) > 0 ? raise(cpu, EXC_GP, 0) : 0;
}

/** INVLPG. A non-canonical address is no operation. */
export function invlpg(cpu: u32, va: u64): u32 {
  if (check_privilege(cpu)) return 1;
  flush_page(cpu, va);
  return 0;
}

/** Types of INVPCID. */
const INVPCID_ADDRESS: u32 = 0;
const INVPCID_CONTEXT: u32 = 1;
const INVPCID_ALL_GLOBAL: u32 = 2;
const INVPCID_ALL: u32 = 3;

/** INVPCID. Descriptor: PCID in bits 0-11, bits 12-63 reserved, linear address in bits 64-127. */
export function invpcid(cpu: u32, type: u32, low: u64, va: u64): u32 {
  if (check_privilege(cpu)) return 1;
  if (type > INVPCID_ALL || low >> 12) return raise(cpu, EXC_GP, 0);
  if (type <= INVPCID_CONTEXT && low && !(cr4(cpu) & CR4_PCIDE)) return raise(cpu, EXC_GP, 0);
  if (type == INVPCID_ADDRESS && !canonical(va)) return raise(cpu, EXC_GP, 0);
  if (type == INVPCID_ALL_GLOBAL) flush_all(cpu);
  else if (type == INVPCID_ALL) flush_all_pcids(cpu);
  else if (type == INVPCID_ADDRESS) flush_page_of(cpu, <u32>low, va);
  else flush_pcid(cpu, <u32>low);
  return 0;
}

/** CPUID: EAX and ECX select. */
export function cpuid(cpu: u32): void {
  cpuid_query(cpu, <u32>gpr(cpu, RAX), <u32>gpr(cpu, RCX));
  const result = cpu + CPU_SCRATCH;
  set_gpr(cpu, RAX, load<u32>(result));
  set_gpr(cpu, RBX, load<u32>(result, 4));
  set_gpr(cpu, RCX, load<u32>(result, 8));
  set_gpr(cpu, RDX, load<u32>(result, 12));
}

/** RDTSC: #GP under CR4.TSD above level 0. */
export function read_tsc(cpu: u32): u32 {
  if (cr4(cpu) & CR4_TSD && cpl(cpu) > 0) return raise(cpu, EXC_GP, 0);
  const tsc = guest_tsc(cpu);
  set_gpr(cpu, RAX, tsc & 0xffffffff);
  set_gpr(cpu, RDX, tsc >> 32);
  return 0;
}

/** RDTSCP: also IA32_TSC_AUX to ECX. */
export function read_tscp(cpu: u32): u32 {
  if (read_tsc(cpu)) return 1;
  set_gpr(cpu, RCX, load<u64>(cpu, CPU_TSC_AUX) & 0xffffffff);
  return 0;
}

/** RDPMC: this CPU has no performance counters, so every index is invalid. */
export function read_pmc(cpu: u32): u32 {
  return raise(cpu, EXC_GP, 0);
}

/** SWAPGS. */
export function swapgs(cpu: u32): u32 {
  if (!mode64(cpu)) return raise(cpu, EXC_UD, 0);
  if (check_privilege(cpu)) return 1;
  const base = seg_base(cpu, SEG_GS);
  store<u64>(cpu, load<u64>(cpu, CPU_KERNEL_GS_BASE), CPU_SEG_BASE + SEG_GS * 8);
  store<u64>(cpu, base, CPU_KERNEL_GS_BASE);
  return 0;
}

/** RDFSBASE, RDGSBASE (the base goes to scratch[0]), WRFSBASE, WRGSBASE: `which` 0 FS, 1 GS; `write` 0 or 1. */
export function rw_fs_gs_base(cpu: u32, which: u32, write: u32, value: u64): u32 {
  if (!mode64(cpu) || !(cr4(cpu) & CR4_FSGSBASE)) return raise(cpu, EXC_UD, 0);
  const at = cpu + CPU_SEG_BASE + (which ? SEG_GS : SEG_FS) * 8;
  if (!write) {
    store<u64>(cpu, load<u64>(at), CPU_SCRATCH);
    return 0;
  }
  if (!canonical(value)) return raise(cpu, EXC_GP, 0);
  store<u64>(at, value);
  return 0;
}

/** HLT: leaves with EXIT_HLT, `next` in field rip. */
export function halt(cpu: u32, next: u64): u32 {
  if (check_privilege(cpu)) return 1;
  store<u64>(cpu, next, CPU_RIP);
  store<u32>(cpu, 1, CPU_HALTED);
  leave(cpu, EXIT_HLT);
  return 0;
}

/** MONITOR: the address is not watched, MWAIT returns at once, which the manual allows. */
export function monitor(cpu: u32, _va: u64): u32 {
  if (cpl(cpu) > 0) return raise(cpu, EXC_UD, 0);
  return <u32>gpr(cpu, RCX) ? raise(cpu, EXC_GP, 0) : 0;
}

/** MWAIT. */
export function mwait(cpu: u32): u32 {
  return cpl(cpu) > 0 ? raise(cpu, EXC_UD, 0) : 0;
}

/** WBINVD, INVD: caches are not modelled. */
export function wbinvd(cpu: u32): u32 {
  return check_privilege(cpu);
}

/** VMCALL, VMMCALL: leaves with EXIT_HYPERCALL; the monitor reads and writes the registers. */
export function vmcall(cpu: u32): u32 {
  if (!(cr0(cpu) & CR0_PE)) return raise(cpu, EXC_UD, 0);
  leave(cpu, EXIT_HYPERCALL);
  return 0;
}

/** BOUND out of range. */
export function bound_fault(cpu: u32): u32 {
  return raise(cpu, EXC_BR, 0);
}

/** An instruction that is not there. */
export function undefined_opcode(cpu: u32): u32 {
  return raise(cpu, EXC_UD, 0);
}
