// The part of a far RET and an IRET that replaces the stack: checks of the popped SS and loading of CS, SS, rSP.

import { desc_at, desc_hi, desc_lo, is_big, is_code64, is_null, set_accessed } from './descriptors';
import { EXC_GP } from './gen/layout';
import { check_stack_selector, drop_inner_segments } from './segments';
import { cpl, long_mode, set_sp } from './state';
import { finish_transfer, load_code, load_stack } from './transfer';

/** Descriptor of the stack segment that check_outer_stack accepted; both 0 for a null selector. */
export let outer_lo: u32 = 0;
export let outer_hi: u32 = 0;

/**
 * Checks a popped SS for a return to `level` into the code segment with second dword `cs_hi`. A null selector
 * will do in 64-bit mode below level 3. Marks the segment accessed. 1: fault recorded.
 */
export function check_outer_stack(cpu: u32, ss: u32, level: u32, cs_hi: u32): u32 {
  outer_lo = 0;
  outer_hi = 0;
  if (is_null(ss) && long_mode(cpu) && is_code64(cs_hi) && level != 3) return 0;
  if (check_stack_selector(cpu, ss, level, EXC_GP, 0)) return 1;
  outer_lo = desc_lo;
  outer_hi = desc_hi;
  return set_accessed(cpu, desc_at, outer_hi);
}

/** Loads CS, SS and rSP of a return whose checks are done; segments that the outer level may not use go null. */
export function finish_outer(
  cpu: u32,
  cs: u32,
  cs_lo: u32,
  cs_hi: u32,
  ss: u32,
  ss_lo: u32,
  ss_hi: u32,
  sp: u64,
  rip: u64,
): void {
  const level = cs & 3;
  const outer = level > cpl(cpu);
  let mask: u64 = is_big(ss_hi) ? 0xffffffff : 0xffff;
  if (long_mode(cpu) && is_code64(cs_hi)) mask = ~(<u64>0);
  load_code(cpu, cs, cs_lo, cs_hi, level);
  load_stack(cpu, ss, ss_lo, ss_hi, level);
  set_sp(cpu, mask, sp);
  if (outer) drop_inner_segments(cpu, level);
  finish_transfer(cpu, rip);
}
