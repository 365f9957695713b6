// MOV to and from debug registers (SDM vol.2 MOV DRn, vol.3 17.2).

import { CPU_DR, CPU_EXC_DR6, CPU_SCRATCH, CR4_DE, EXC_DB, EXC_GP, EXC_UD } from './gen/layout';
import { check_privilege, cr4, raise, update_context } from './state';
import { tlb_forget } from './tlb';

/** DR6: bits 4-11 and 16-31 read as 1, bit 12 as 0; the rest can be written (bit 16, RTM, is fixed here). */
export const DR6_FIXED: u64 = 0xffff0ff0;
const DR6_WRITABLE: u64 = 0xe00f;
/** DR7: bit 10 reads as 1, bits 11, 12, 14 and 15 as 0. */
export const DR7_FIXED: u64 = 0x400;
const DR7_WRITABLE: u64 = 0xffff23ff;
/** DR7.GD: any access to a debug register raises #DB with DR6.BD. */
const DR7_GD: u64 = 0x2000;
const DR6_BD: u32 = 0x2000;

/** Resolves DR4 and DR5; 8 after recording a fault. */
function number(cpu: u32, n: u32): u32 {
  const alias = n == 4 || n == 5;
  if (n > 7 || (alias && cr4(cpu) & CR4_DE)) {
    raise(cpu, EXC_UD, 0);
    return 8;
  }
  if (check_privilege(cpu)) return 8;
  if (load<u64>(cpu, CPU_DR + 7 * 8) & DR7_GD) {
    store<u32>(cpu, load<u32>(cpu, CPU_EXC_DR6) | DR6_BD, CPU_EXC_DR6);
    raise(cpu, EXC_DB, 0);
    return 8;
  }
  return alias ? n + 2 : n;
}

/** MOV from DRn; the value goes to scratch[0]. 1: fault recorded. */
export function read_dr(cpu: u32, n: u32): u32 {
  const r = number(cpu, n);
  if (r > 7) return 1;
  store<u64>(cpu, load<u64>(cpu + r * 8, CPU_DR), CPU_SCRATCH);
  return 0;
}

/** MOV to DRn. 1: fault recorded. */
export function write_dr(cpu: u32, n: u32, value: u64): u32 {
  const r = number(cpu, n);
  if (r > 7) return 1;
  if (r >= 6 && value >> 32) return raise(cpu, EXC_GP, 0);
  let v = value;
  if (r == 6) v = (value & DR6_WRITABLE) | DR6_FIXED;
  if (r == 7) v = (value & DR7_WRITABLE) | DR7_FIXED;
  store<u64>(cpu + r * 8, v, CPU_DR);
  // What a breakpoint covers must leave the TLBs.
  if (r < 4) tlb_forget(cpu, v);
  if (r == 7) {
    for (let i: u32 = 0; i < 4; i++) tlb_forget(cpu, load<u64>(cpu + i * 8, CPU_DR));
    update_context(cpu);
  }
  return 0;
}
