// Power-on, INIT and start-up state (SDM vol.3 table 9-1), and repair of derived fields after the host wrote
// registers.

import { refresh_pdptes } from './control-registers';
import { DR6_FIXED, DR7_FIXED } from './debug-registers';
import {
  ATTR_DPL_SHIFT,
  CPU_A20_MASK,
  CPU_APIC_BASE,
  CPU_BOUNCE_SIZE,
  CPU_CPL,
  CPU_CR0,
  CPU_CR2,
  CPU_CR3,
  CPU_CR4,
  CPU_CR8,
  CPU_DEBUGCTL,
  CPU_DR,
  CPU_EFER,
  CPU_EFLAGS,
  CPU_EXC_DEPTH,
  CPU_EXC_DR6,
  CPU_EXIT_REASON,
  CPU_FCW,
  CPU_FERR,
  CPU_FPR,
  CPU_GDTR_BASE,
  CPU_GDTR_LIMIT,
  CPU_GPR,
  CPU_HALTED,
  CPU_IDTR_BASE,
  CPU_IDTR_LIMIT,
  CPU_MISC_ENABLE,
  CPU_MXCSR,
  CPU_NMI_BLOCKED,
  CPU_NMI_PENDING,
  CPU_PAT,
  CPU_PDPTE,
  CPU_RIP,
  CPU_SEG_NONE,
  CPU_SHADOW,
  CPU_STOP,
  CPU_VCPU_ID,
  CPU_XCR0,
  CPU_YMM,
  CPU_ZERO,
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  EFLAGS_FIXED,
  SEG_CS,
  SEG_GS,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
} from './gen/layout';
import { ATTR_DATA } from './segments';
import { flush_all } from './spaces';
import { cr0, RDX, seg_attr, set_gpr, set_rflags, set_segment, update_context, v86_mode } from './state';

/** present, DPL 0, readable code, accessed. */
const ATTR_CODE_RESET: u32 = 0x9b;
const ATTR_LDT_RESET: u32 = 0x82;
const ATTR_TSS_RESET: u32 = 0x8b;
/** EDX: family 6. */
const SIGNATURE: u64 = 0x600;
const PAT_RESET: u64 = 0x0007040600070406;
/** Fast strings. */
const MISC_ENABLE_RESET: u64 = 1;
/** IA32_APIC_BASE: base, global enable (bit 11), bootstrap processor (bit 8). */
const APIC_BASE_RESET: u64 = 0xfee00800;
const APIC_BASE_BSP: u64 = 0x100;
const MXCSR_RESET: u32 = 0x1f80;
const FCW_RESET: u32 = 0x40;

/** What power-on and INIT have in common. */
function reset_core(cpu: u32, kept_cr0: u32): void {
  memory.fill(cpu + CPU_GPR, 0, 16 * 8);
  set_gpr(cpu, RDX, SIGNATURE);
  store<u64>(cpu, 0, CPU_ZERO);
  store<u64>(cpu, 0, CPU_SEG_NONE);
  for (let seg: u32 = 0; seg <= SEG_GS; seg++) set_segment(cpu, seg, 0, 0, 0xffff, ATTR_DATA);
  set_segment(cpu, SEG_CS, 0xf000, 0xffff0000, 0xffff, ATTR_CODE_RESET);
  set_segment(cpu, SEG_LDTR, 0, 0, 0xffff, ATTR_LDT_RESET);
  set_segment(cpu, SEG_TR, 0, 0, 0xffff, ATTR_TSS_RESET);
  store<u64>(cpu, 0, CPU_GDTR_BASE);
  store<u32>(cpu, 0xffff, CPU_GDTR_LIMIT);
  store<u64>(cpu, 0, CPU_IDTR_BASE);
  store<u32>(cpu, 0xffff, CPU_IDTR_LIMIT);
  store<u64>(cpu, 0xfff0, CPU_RIP);
  set_rflags(cpu, EFLAGS_FIXED);
  store<u32>(cpu, 0, CPU_CPL);
  store<u64>(cpu, kept_cr0 | CR0_ET, CPU_CR0);
  store<u64>(cpu, 0, CPU_CR2);
  store<u64>(cpu, 0, CPU_CR3);
  store<u64>(cpu, 0, CPU_CR4);
  store<u64>(cpu, 0, CPU_CR8);
  memory.fill(cpu + CPU_PDPTE, 0, 4 * 8);
  store<u64>(cpu, 0, CPU_EFER);
  memory.fill(cpu + CPU_DR, 0, 8 * 8);
  store<u64>(cpu, DR6_FIXED, CPU_DR + 6 * 8);
  store<u64>(cpu, DR7_FIXED, CPU_DR + 7 * 8);
  store<u64>(cpu, 0, CPU_DEBUGCTL);
  store<u32>(cpu, 0, CPU_SHADOW);
  store<u32>(cpu, 0, CPU_HALTED);
  store<u32>(cpu, 0, CPU_NMI_PENDING);
  store<u32>(cpu, 0, CPU_NMI_BLOCKED);
  store<u32>(cpu, 0, CPU_EXC_DEPTH);
  store<u32>(cpu, 0, CPU_EXC_DR6);
  store<u32>(cpu, 0, CPU_EXIT_REASON);
  store<u32>(cpu, 0, CPU_STOP);
  store<u32>(cpu, 0, CPU_BOUNCE_SIZE);
}

/**
 * Power-on or RESET#: real mode at F000:FFF0. Keeps the fields of the VM's memory (p2m, p2m_frames, phys_mask,
 * cow_*) and vcpu_id, and opens the A20 gate.
 */
export function reset(cpu: u32): void {
  reset_core(cpu, CR0_CD | CR0_NW);
  // All MSRs lie from efer to apic_base in the layout. The TSC starts where the host's clock for it does.
  memory.fill(cpu + CPU_EFER, 0, CPU_APIC_BASE + 8 - CPU_EFER);
  store<u64>(cpu, PAT_RESET, CPU_PAT);
  store<u64>(cpu, MISC_ENABLE_RESET, CPU_MISC_ENABLE);
  const bsp = load<u32>(cpu, CPU_VCPU_ID) == 0;
  store<u64>(cpu, APIC_BASE_RESET | (bsp ? APIC_BASE_BSP : 0), CPU_APIC_BASE);
  store<u64>(cpu, 1, CPU_XCR0);
  memory.fill(cpu + CPU_FPR, 0, CPU_MXCSR - CPU_FPR);
  store<u32>(cpu, MXCSR_RESET, CPU_MXCSR);
  memory.fill(cpu + CPU_FCW, 0, CPU_FERR + 4 - CPU_FCW);
  store<u32>(cpu, FCW_RESET, CPU_FCW);
  store<u64>(cpu, ~(<u64>0), CPU_A20_MASK);
  flush_all(cpu);
  update_context(cpu);
}

/** INIT: like reset, but CR0.CD and NW, MSRs, FPU and vector state stay (SDM vol.3 table 9-1). */
export function init_signal(cpu: u32): void {
  reset_core(cpu, cr0(cpu) & (CR0_CD | CR0_NW));
  flush_all(cpu);
  update_context(cpu);
}

/** Start-up IPI: real mode at `vector` * 4 KiB. */
export function startup_signal(cpu: u32, vector: u32): void {
  set_segment(cpu, SEG_CS, (vector & 0xff) << 8, <u64>((vector & 0xff) << 12), 0xffff, ATTR_CODE_RESET);
  store<u64>(cpu, 0, CPU_RIP);
  store<u32>(cpu, 0, CPU_HALTED);
  update_context(cpu);
}

/**
 * After the host wrote registers: sets CPL from CR0.PE, EFLAGS.VM and SS.DPL, reloads the PDPTE registers,
 * recomputes the derived fields and empties the TLBs.
 */
export function set_state_done(cpu: u32): void {
  store<u64>(cpu, 0, CPU_ZERO);
  store<u64>(cpu, 0, CPU_SEG_NONE);
  store<u32>(cpu, load<u32>(cpu, CPU_EFLAGS) | EFLAGS_FIXED, CPU_EFLAGS);
  let level: u32 = 0;
  if (v86_mode(cpu)) level = 3;
  else if (cr0(cpu) & CR0_PE) level = (seg_attr(cpu, SEG_SS) >> ATTR_DPL_SHIFT) & 3;
  store<u32>(cpu, level, CPU_CPL);
  refresh_pdptes(cpu);
  flush_all(cpu);
  update_context(cpu);
}
