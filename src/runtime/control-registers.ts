// CR0, CR2, CR3, CR4, CR8 and XCR0: reading, writing with the checks of SDM vol.2 MOV CRn and vol.3 2.5, and
// what follows from a change: IA-32e mode, the PDPTE registers, TLB flushes.

import { get_cr8, set_cr8 } from './env';
import { phys_load64 } from './frames';
import {
  ATTR_L,
  CPU_CPL,
  CPU_CR0,
  CPU_CR2,
  CPU_CR3,
  CPU_CR4,
  CPU_CR8,
  CPU_EFER,
  CPU_PDPTE,
  CPU_PHYS_MASK,
  CPU_XCR0,
  CPU_XCR0_MASK,
  CR0_AM,
  CR0_CD,
  CR0_EM,
  CR0_ET,
  CR0_MP,
  CR0_NE,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_FSGSBASE,
  CR4_MCE,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_OSXSAVE,
  CR4_PAE,
  CR4_PCE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CR4_TSD,
  CR4_UMIP,
  EFER_LMA,
  EFER_LME,
  EXC_GP,
  EXC_UD,
  SEG_CS,
} from './gen/layout';
import { enter_space, flush_all } from './spaces';
import {
  check_privilege,
  cpl,
  cr0,
  cr4,
  gpr,
  long_mode,
  mode64,
  RAX,
  RCX,
  RDX,
  raise,
  seg_attr,
  set_gpr,
  update_context,
} from './state';
import { state_in_use } from './xsave';

const CR0_BITS: u32 = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
/** Bits of CR4 that may be set; the rest are features this CPU does not have. */
const CR4_BITS: u32 =
  CR4_TSD |
  CR4_DE |
  CR4_PSE |
  CR4_PAE |
  CR4_MCE |
  CR4_PGE |
  CR4_PCE |
  CR4_OSFXSR |
  CR4_OSXMMEXCPT |
  CR4_UMIP |
  CR4_FSGSBASE |
  CR4_PCIDE |
  CR4_OSXSAVE |
  CR4_SMEP |
  CR4_SMAP;
/** Bits whose change invalidates the TLBs (SDM vol.3 4.10.4.1). */
const CR0_FLUSH: u32 = CR0_PE | CR0_PG | CR0_WP;
const CR4_FLUSH: u32 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
/** Bits whose change reloads the PDPTE registers (SDM vol.3 4.4.1). */
const CR4_PDPTE: u32 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP;
const CR3_NO_FLUSH: u64 = (<u64>1) << 63;
/** Low four bits of CR0, which LMSW writes. */
const MSW_BITS: u32 = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
/** Reserved bits of a PDPTE: 1, 2, 5-8 and those above the physical width. */
const PDPTE_RESERVED: u64 = 0x1e6;
/** XCR0: x87 (has to be set), SSE, AVX (only with SSE). */
const XCR0_X87: u64 = 1;
const XCR0_SSE: u64 = 2;
const XCR0_AVX: u64 = 4;

/** Loads the PDPTE registers from the table at `cr3`. 1: a reserved bit is set, nothing is loaded. */
function load_pdptes(cpu: u32, cr3: u64): u32 {
  const reserved = PDPTE_RESERVED | ~load<u64>(cpu, CPU_PHYS_MASK);
  const table = cr3 & 0xffffffe0;
  for (let i: u32 = 0; i < 4; i++) {
    const entry = phys_load64(cpu, table + i * 8);
    if (entry & 1 && entry & reserved) return 1;
  }
  for (let i: u32 = 0; i < 4; i++) store<u64>(cpu + i * 8, phys_load64(cpu, table + i * 8), CPU_PDPTE);
  return 0;
}

/** Reloads the PDPTE registers if CR0, CR4 and EFER ask for PAE paging and the table is sound. */
export function refresh_pdptes(cpu: u32): void {
  if (cr0(cpu) & CR0_PG && cr4(cpu) & CR4_PAE && !long_mode(cpu)) load_pdptes(cpu, load<u64>(cpu, CPU_CR3));
}

/** MOV from CRn. */
export function read_cr(cpu: u32, n: u32): u64 {
  if (n == 0) return load<u64>(cpu, CPU_CR0);
  if (n == 2) return load<u64>(cpu, CPU_CR2);
  if (n == 3) return load<u64>(cpu, CPU_CR3);
  if (n == 4) return load<u64>(cpu, CPU_CR4);
  return get_cr8(cpu);
}

/** MOV to CRn. 1: fault recorded. */
export function write_cr(cpu: u32, n: u32, value: u64): u32 {
  if (check_privilege(cpu)) return 1;
  if (n == 0) return write_cr0(cpu, value);
  if (n == 2) {
    store<u64>(cpu, value, CPU_CR2);
    return 0;
  }
  if (n == 3) return write_cr3(cpu, value);
  if (n == 4) return write_cr4(cpu, value);
  if (n != 8) return raise(cpu, EXC_UD, 0);
  if (value > 15) return raise(cpu, EXC_GP, 0);
  store<u64>(cpu, value, CPU_CR8);
  set_cr8(cpu, value);
  return 0;
}

/** Whether paging may be switched on with CR0 `value`: the rules of IA-32e mode and PAE. */
function may_enable_paging(cpu: u32): bool {
  if (load<u32>(cpu, CPU_EFER) & EFER_LME) {
    return (cr4(cpu) & CR4_PAE) != 0 && !(seg_attr(cpu, SEG_CS) & ATTR_L);
  }
  return !(cr4(cpu) & CR4_PAE) || load_pdptes(cpu, load<u64>(cpu, CPU_CR3)) == 0;
}

function write_cr0(cpu: u32, value: u64): u32 {
  const old = cr0(cpu);
  const bits = (<u32>value & CR0_BITS) | CR0_ET;
  if (value >> 32) return raise(cpu, EXC_GP, 0);
  if (bits & CR0_PG && !(bits & CR0_PE)) return raise(cpu, EXC_GP, 0);
  if (bits & CR0_NW && !(bits & CR0_CD)) return raise(cpu, EXC_GP, 0);
  const efer = load<u64>(cpu, CPU_EFER);
  if (bits & CR0_PG && !(old & CR0_PG)) {
    if (!may_enable_paging(cpu)) return raise(cpu, EXC_GP, 0);
    if (efer & EFER_LME) store<u64>(cpu, efer | EFER_LMA, CPU_EFER);
  } else if (!(bits & CR0_PG) && old & CR0_PG) {
    if (mode64(cpu) || cr4(cpu) & CR4_PCIDE) return raise(cpu, EXC_GP, 0);
    store<u64>(cpu, efer & ~(<u64>EFER_LMA), CPU_EFER);
  }
  store<u64>(cpu, bits, CPU_CR0);
  if (!(bits & CR0_PE)) store<u32>(cpu, 0, CPU_CPL);
  if ((old ^ bits) & CR0_FLUSH) flush_all(cpu);
  update_context(cpu);
  return 0;
}

function write_cr3(cpu: u32, value: u64): u32 {
  let cr3 = value;
  let keep = false;
  if (long_mode(cpu)) {
    if (cr4(cpu) & CR4_PCIDE) {
      keep = (value & CR3_NO_FLUSH) != 0;
      cr3 &= ~CR3_NO_FLUSH;
    }
    if (cr3 & ~load<u64>(cpu, CPU_PHYS_MASK) & ~(<u64>0xfff)) return raise(cpu, EXC_GP, 0);
  } else {
    cr3 &= 0xffffffff;
    if (cr0(cpu) & CR0_PG && cr4(cpu) & CR4_PAE && load_pdptes(cpu, cr3)) return raise(cpu, EXC_GP, 0);
  }
  store<u64>(cpu, cr3, CPU_CR3);
  enter_space(cpu, keep);
  return 0;
}

/** CR3 of a task switch: as MOV, but nothing can be undone any more. 1: bad PDPTEs. */
export function load_task_cr3(cpu: u32, value: u32): u32 {
  const bad = cr4(cpu) & CR4_PAE ? load_pdptes(cpu, value) : 0;
  store<u64>(cpu, value, CPU_CR3);
  enter_space(cpu, false);
  return bad;
}

function write_cr4(cpu: u32, value: u64): u32 {
  const old = cr4(cpu);
  const bits = <u32>value;
  const changed = old ^ bits;
  if (bits & CR4_OSXSAVE && load<u64>(cpu, CPU_XCR0_MASK) == 0) return raise(cpu, EXC_GP, 0);
  if (value & ~(<u64>CR4_BITS)) return raise(cpu, EXC_GP, 0);
  if (long_mode(cpu)) {
    if (!(bits & CR4_PAE)) return raise(cpu, EXC_GP, 0);
    if (bits & changed & CR4_PCIDE && load<u64>(cpu, CPU_CR3) & 0xfff) return raise(cpu, EXC_GP, 0);
  } else {
    if (bits & CR4_PCIDE) return raise(cpu, EXC_GP, 0);
    const pae = cr0(cpu) & CR0_PG && bits & CR4_PAE && changed & CR4_PDPTE;
    if (pae && load_pdptes(cpu, load<u64>(cpu, CPU_CR3))) return raise(cpu, EXC_GP, 0);
  }
  store<u64>(cpu, bits, CPU_CR4);
  if (changed & CR4_FLUSH) flush_all(cpu);
  update_context(cpu);
  return 0;
}

/** CLTS. */
export function clear_task_switched(cpu: u32): u32 {
  if (check_privilege(cpu)) return 1;
  store<u64>(cpu, load<u64>(cpu, CPU_CR0) & ~(<u64>CR0_TS), CPU_CR0);
  update_context(cpu);
  return 0;
}

/** LMSW: the low four bits of CR0; PE can be set but not cleared. */
export function load_machine_status(cpu: u32, value: u32): u32 {
  if (check_privilege(cpu)) return 1;
  const old = cr0(cpu);
  return write_cr0(cpu, (old & ~MSW_BITS) | (value & MSW_BITS) | (old & CR0_PE));
}

/** XGETBV: XCR0 by ECX = 0, by ECX = 1 those of its components that are not in their initial state. */
export function read_xcr(cpu: u32): u32 {
  if (!(cr4(cpu) & CR4_OSXSAVE)) return raise(cpu, EXC_UD, 0);
  const index = <u32>gpr(cpu, RCX);
  if (index > 1) return raise(cpu, EXC_GP, 0);
  const value = index == 0 ? load<u64>(cpu, CPU_XCR0) : load<u64>(cpu, CPU_XCR0) & state_in_use(cpu);
  set_gpr(cpu, RAX, value & 0xffffffff);
  set_gpr(cpu, RDX, value >> 32);
  return 0;
}

/** XSETBV. */
export function write_xcr(cpu: u32): u32 {
  if (!(cr4(cpu) & CR4_OSXSAVE)) return raise(cpu, EXC_UD, 0);
  if (cpl(cpu) != 0 || <u32>gpr(cpu, RCX) != 0) return raise(cpu, EXC_GP, 0);
  const value = (gpr(cpu, RDX) << 32) | (gpr(cpu, RAX) & 0xffffffff);
  const unknown = value & ~load<u64>(cpu, CPU_XCR0_MASK);
  if (unknown || !(value & XCR0_X87) || (value & XCR0_AVX && !(value & XCR0_SSE))) return raise(cpu, EXC_GP, 0);
  store<u64>(cpu, value, CPU_XCR0);
  update_context(cpu);
  return 0;
}
