// Is the unit that an instruction uses available? Called only when fpu_trap, sse_trap or avx_trap says that something is up.

import {
  CPU_CR0,
  CPU_CR4,
  CPU_FERR,
  CPU_FSW,
  CR0_EM,
  CR0_NE,
  CR0_TS,
  CR4_OSFXSR,
  EXC_MF,
  EXC_NM,
  EXC_UD,
} from './gen/layout';
import { avx_enabled, raise } from './state';

/** Classes of units, as the interpreter numbers them. */
const UNIT_X87_NOWAIT: u32 = 1;
const UNIT_SSE: u32 = 3;
const UNIT_AVX: u32 = 4;
/** Error summary bit of the x87 status word. */
const FSW_ES: u32 = 0x80;

/**
 * Records #UD, #NM or #MF and returns 1, or returns 0 when the instruction may go on (SDM vol.3 table 2-2 for CR0,
 * 13.1 for CR4.OSFXSR, vol.2 2.4 for AVX). The order is: emulation, device not available, pending exception.
 */
export function fp_check(cpu: u32, unit: u32): u32 {
  const cr0 = load<u32>(cpu, CPU_CR0);
  if (unit == UNIT_AVX) {
    if (!avx_enabled(cpu)) return raise(cpu, EXC_UD, 0);
    return cr0 & CR0_TS ? raise(cpu, EXC_NM, 0) : 0;
  }
  if (unit <= UNIT_X87_NOWAIT) {
    if (cr0 & (CR0_EM | CR0_TS)) return raise(cpu, EXC_NM, 0);
  } else {
    if (cr0 & CR0_EM) return raise(cpu, EXC_UD, 0);
    if (unit == UNIT_SSE && !(load<u32>(cpu, CPU_CR4) & CR4_OSFXSR)) return raise(cpu, EXC_UD, 0);
    if (cr0 & CR0_TS) return raise(cpu, EXC_NM, 0);
  }
  if (unit == UNIT_X87_NOWAIT || unit == UNIT_SSE || !(load<u32>(cpu, CPU_FSW) & FSW_ES)) return 0;
  if (cr0 & CR0_NE) return raise(cpu, EXC_MF, 0);
  // With CR0.NE clear the exception goes out on FERR# to the interrupt controller (SDM vol.3 13.7).
  store<u32>(cpu, 1, CPU_FERR);
  return 0;
}
