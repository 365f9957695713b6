// SYSCALL, SYSRET, SYSENTER and SYSEXIT (SDM vol.2; SYSCALL outside 64-bit mode as in AMD APM vol.3).

import { SELECTOR_MASK } from './descriptors';
import {
  CPU_CSTAR,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_FMASK,
  CPU_LSTAR,
  CPU_STAR,
  CPU_SYSENTER_CS,
  CPU_SYSENTER_EIP,
  CPU_SYSENTER_ESP,
  CR0_PE,
  EFER_SCE,
  EFLAGS_IF,
  EFLAGS_RF,
  EFLAGS_VM,
  EXC_GP,
  EXC_UD,
} from './gen/layout';
import {
  canonical,
  cpl,
  cr0,
  gpr,
  long_mode,
  mode64,
  RCX,
  RDX,
  RSP,
  raise,
  rflags,
  set_gpr,
  set_rflags,
} from './state';
import { finish_transfer, load_flat } from './transfer';

const R11: u32 = 11;
/** RFLAGS bits that SYSRET loads: all that exist but RF and VM. */
const SYSRET_FLAGS: u32 = 0x3c7fd7;

function disabled(cpu: u32): bool {
  return !(load<u32>(cpu, CPU_EFER) & EFER_SCE) || !(cr0(cpu) & CR0_PE);
}

/** STAR: bits 0-31 legacy EIP, 32-47 CS of SYSCALL (SS is 8 above), 48-63 base of SYSRET's selectors. */
export function syscall(cpu: u32, next: u64): u32 {
  if (disabled(cpu)) return raise(cpu, EXC_UD, 0);
  const star = load<u64>(cpu, CPU_STAR);
  const cs = <u32>(star >> 32) & SELECTOR_MASK;
  const flags = rflags(cpu);
  if (!long_mode(cpu)) {
    set_gpr(cpu, RCX, next & 0xffffffff);
    set_rflags(cpu, flags & ~(EFLAGS_VM | EFLAGS_IF | EFLAGS_RF));
    load_flat(cpu, cs, cs + 8, 0, false);
    finish_transfer(cpu, star & 0xffffffff);
    return 0;
  }
  const target = load<u64>(cpu + (mode64(cpu) ? CPU_LSTAR : CPU_CSTAR));
  set_gpr(cpu, RCX, next);
  set_gpr(cpu, R11, flags & ~EFLAGS_RF);
  set_rflags(cpu, flags & ~load<u32>(cpu, CPU_FMASK) & ~EFLAGS_RF);
  load_flat(cpu, cs, cs + 8, 0, true);
  finish_transfer(cpu, target);
  return 0;
}

export function sysret(cpu: u32, size: u32): u32 {
  if (disabled(cpu)) return raise(cpu, EXC_UD, 0);
  if (cpl(cpu) != 0) return raise(cpu, EXC_GP, 0);
  const rcx = gpr(cpu, RCX);
  const cs = <u32>(load<u64>(cpu, CPU_STAR) >> 48) & SELECTOR_MASK;
  if (!long_mode(cpu)) {
    set_rflags(cpu, rflags(cpu) | EFLAGS_IF);
    load_flat(cpu, cs, cs + 8, 3, false);
    finish_transfer(cpu, rcx & 0xffffffff);
    return 0;
  }
  const wide = size == 64;
  if (wide && !canonical(rcx)) return raise(cpu, EXC_GP, 0);
  set_rflags(cpu, <u32>gpr(cpu, R11) & SYSRET_FLAGS);
  load_flat(cpu, wide ? cs + 16 : cs, cs + 8, 3, wide);
  finish_transfer(cpu, wide ? rcx : rcx & 0xffffffff);
  return 0;
}

export function sysenter(cpu: u32): u32 {
  const cs = load<u32>(cpu, CPU_SYSENTER_CS) & SELECTOR_MASK;
  if (!(cr0(cpu) & CR0_PE) || cs == 0) return raise(cpu, EXC_GP, 0);
  const wide = long_mode(cpu);
  const mask: u64 = wide ? ~(<u64>0) : 0xffffffff;
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) & ~(EFLAGS_VM | EFLAGS_IF | EFLAGS_RF), CPU_EFLAGS);
  load_flat(cpu, cs, cs + 8, 0, wide);
  set_gpr(cpu, RSP, load<u64>(cpu, CPU_SYSENTER_ESP) & mask);
  finish_transfer(cpu, load<u64>(cpu, CPU_SYSENTER_EIP) & mask);
  return 0;
}

export function sysexit(cpu: u32, size: u32): u32 {
  const cs = load<u32>(cpu, CPU_SYSENTER_CS) & SELECTOR_MASK;
  if (!(cr0(cpu) & CR0_PE) || cs == 0 || cpl(cpu) != 0) return raise(cpu, EXC_GP, 0);
  const rcx = gpr(cpu, RCX);
  const rdx = gpr(cpu, RDX);
  const wide = size == 64;
  if (wide && (!canonical(rcx) || !canonical(rdx))) return raise(cpu, EXC_GP, 0);
  const mask: u64 = wide ? ~(<u64>0) : 0xffffffff;
  load_flat(cpu, cs + (wide ? 32 : 16), cs + (wide ? 40 : 24), 3, wide);
  set_gpr(cpu, RSP, rcx & mask);
  finish_transfer(cpu, rdx & mask);
  return 0;
}
