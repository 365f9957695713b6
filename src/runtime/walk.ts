// Guest page walks (SDM vol.3 chapter 4): no paging, 32-bit, PAE and 4-level. The result of the last walk is
// left in globals; accessed and dirty bits are set only when the walk succeeds.

import { phys_load32, phys_load64, phys_or8 } from './frames';
import {
  CPU_CR3,
  CPU_EFER,
  CPU_PDPTE,
  CPU_PHYS_MASK,
  CR0_PG,
  CR0_WP,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_NXE,
} from './gen/layout';
import { cr0, cr4 } from './state';

/** Kinds of access; the values are those of the page-fault error code (SDM vol.3 4.7). */
export const ACCESS_WRITE: u32 = 2;
export const ACCESS_USER: u32 = 4;
export const ACCESS_FETCH: u32 = 16;
/** Explicit supervisor access while EFLAGS.AC is set: SMAP does not apply. */
export const ACCESS_AC: u32 = 0x100;

/** Error code bits that the walk adds. */
const ERROR_P: u32 = 1;
const ERROR_RSVD: u32 = 8;

// Entry bits, the same in all formats: P 0, A 5, D 6, PS 7, XD 63.
const PTE_P: u64 = 1;
const PTE_A: u32 = 0x20;
const PTE_D: u32 = 0x40;
const PTE_PS: u64 = 0x80;
const PTE_XD: u64 = (<u64>1) << 63;

const MASK_4K: u64 = ~(<u64>0xfff);
const MASK_2M: u64 = ~(<u64>0x1fffff);
const MASK_4M: u64 = ~(<u64>0x3fffff);
const MASK_1G: u64 = ~(<u64>0x3fffffff);
/** Address field of a 64-bit entry. */
const ADDRESS: u64 = 0x000ffffffffff000;

// What a walk tells of a page beside its address, in bits 0-11. The first five mean what they mean in a table entry:
// R/W and U/S of all entries together, D and G of the last (G only with CR4.PGE), and in bit 4 XD of any.
export const RIGHT_WRITE: u32 = 2;
export const RIGHT_USER: u32 = 4;
export const RIGHT_NO_EXECUTE: u32 = 0x10;
export const RIGHT_DIRTY: u32 = 0x40;
export const RIGHT_GLOBAL: u32 = 0x100;
/** Size of the page, SIZE_*. */
export const SIZE_BITS: u32 = 0x600;
export const SIZE_2M: u32 = 0x200;
export const SIZE_4M: u32 = 0x400;
export const SIZE_1G: u32 = 0x600;

/** gpa of the byte that was asked for, before the A20 gate. */
export let walk_gpa: u64 = 0;
/** RIGHT_* and SIZE_* of its page. */
export let walk_rights: u32 = 0;
/** Page-fault error code after a failed walk. */
export let walk_error: u32 = 0;

// Entries that a walk went through: addresses and values, root first. `seen` counts them.
let seen: u32 = 0;
let at0: u64 = 0;
let at1: u64 = 0;
let at2: u64 = 0;
let at3: u64 = 0;
let entry0: u64 = 0;
let entry1: u64 = 0;
let entry2: u64 = 0;
let entry3: u64 = 0;
/** AND of all entries for R/W and U/S; OR of all for XD. */
let all_rights: u64 = 0;
let any_xd: u64 = 0;

/** Error code bit I/D is reported only when fetches can be refused (SDM vol.3 4.7). */
function fault(cpu: u32, access: u32, bits: u32): bool {
  let error = (access & (ACCESS_WRITE | ACCESS_USER)) | bits;
  if (access & ACCESS_FETCH) {
    const c4 = cr4(cpu);
    const nx = (c4 & CR4_PAE) != 0 && (load<u32>(cpu, CPU_EFER) & EFER_NXE) != 0;
    if (nx || c4 & CR4_SMEP) error |= ACCESS_FETCH;
  }
  walk_error = error;
  return false;
}

/** Notes an entry; false if it is not present or has a reserved bit set. */
function pass(cpu: u32, access: u32, at: u64, entry: u64, reserved: u64): bool {
  if (!(entry & PTE_P)) return fault(cpu, access, 0);
  if (entry & reserved) return fault(cpu, access, ERROR_P | ERROR_RSVD);
  if (seen == 0) {
    at0 = at;
    entry0 = entry;
  } else if (seen == 1) {
    at1 = at;
    entry1 = entry;
  } else if (seen == 2) {
    at2 = at;
    entry2 = entry;
  } else {
    at3 = at;
    entry3 = entry;
  }
  seen++;
  all_rights &= entry;
  any_xd |= entry;
  return true;
}

function set_bits(cpu: u32, at: u64, entry: u64, bits: u32): void {
  if ((<u32>entry & bits) != bits) phys_or8(cpu, at, bits);
}

/** Mask of a page: linear addresses that agree under it are in the same page. */
export function page_mask(rights: u32): u64 {
  const size = rights & SIZE_BITS;
  if (size == 0) return MASK_4K;
  if (size == SIZE_2M) return MASK_2M;
  return size == SIZE_4M ? MASK_4M : MASK_1G;
}

/** Whether the rights of a page allow a write in this context, apart from its dirty bit. */
export function may_write(cpu: u32, access: u32, rights: u32): bool {
  if (rights & RIGHT_WRITE) return true;
  return !(access & ACCESS_USER) && !(cr0(cpu) & CR0_WP);
}

/** Access rights (SDM vol.3 4.6.1). */
export function allowed(cpu: u32, access: u32, rights: u32): bool {
  const user_page = (rights & RIGHT_USER) != 0;
  if (access & ACCESS_FETCH) {
    if (rights & RIGHT_NO_EXECUTE) return false;
    if (access & ACCESS_USER) return user_page;
    return !(user_page && cr4(cpu) & CR4_SMEP);
  }
  if (access & ACCESS_USER) {
    if (!user_page) return false;
  } else if (user_page && cr4(cpu) & CR4_SMAP && !(access & ACCESS_AC)) return false;
  return !(access & ACCESS_WRITE) || may_write(cpu, access, rights);
}

/** RIGHT_* of the entries that were passed, the last of which is `leaf`. */
function rights_of(cpu: u32, leaf: u64): u32 {
  let rights = <u32>all_rights & (RIGHT_WRITE | RIGHT_USER);
  rights |= <u32>leaf & RIGHT_DIRTY;
  if (any_xd & PTE_XD) rights |= RIGHT_NO_EXECUTE;
  if (<u32>leaf & RIGHT_GLOBAL && cr4(cpu) & CR4_PGE) rights |= RIGHT_GLOBAL;
  return rights;
}

/** Checks the rights, sets accessed and dirty bits and leaves the result. `base` is the gpa of the page. */
function finish(cpu: u32, va: u64, access: u32, base: u64, size: u32, leaf: u64): bool {
  let rights = rights_of(cpu, leaf) | size;
  if (!allowed(cpu, access, rights)) return fault(cpu, access, ERROR_P);
  let leaf_bits = PTE_A;
  if (access & ACCESS_WRITE) {
    leaf_bits |= PTE_D;
    rights |= RIGHT_DIRTY;
  }
  set_bits(cpu, at0, entry0, seen == 1 ? leaf_bits : PTE_A);
  if (seen > 1) set_bits(cpu, at1, entry1, seen == 2 ? leaf_bits : PTE_A);
  if (seen > 2) set_bits(cpu, at2, entry2, seen == 3 ? leaf_bits : PTE_A);
  if (seen > 3) set_bits(cpu, at3, entry3, leaf_bits);
  const mask = page_mask(size);
  walk_gpa = (base & mask) | (va & ~mask);
  walk_rights = rights;
  return true;
}

/** 32-bit paging (SDM vol.3 4.3), with 4 MiB pages by PSE-36. */
function walk_32(cpu: u32, va: u64, access: u32): bool {
  const linear = <u32>va;
  const at_pde: u64 = <u64>(load<u32>(cpu, CPU_CR3) & 0xfffff000) + (linear >> 22) * 4;
  const pde: u64 = phys_load32(cpu, at_pde);
  if (pde & PTE_PS && cr4(cpu) & CR4_PSE) {
    // Bits 13-20 are address bits 32-39; those above the physical width, and bit 21, are reserved.
    const high = (pde >> 13) & 0xff;
    const reserved: u64 = 0x200000 | (((~load<u64>(cpu, CPU_PHYS_MASK) >> 32) & 0xff) << 13);
    if (!pass(cpu, access, at_pde, pde, reserved)) return false;
    return finish(cpu, va, access, (pde & 0xffc00000) | (high << 32), SIZE_4M, pde);
  }
  if (!pass(cpu, access, at_pde, pde, 0)) return false;
  const at_pte: u64 = (pde & 0xfffff000) + ((linear >> 12) & 0x3ff) * 4;
  const pte: u64 = phys_load32(cpu, at_pte);
  if (!pass(cpu, access, at_pte, pte, 0)) return false;
  return finish(cpu, va, access, pte & 0xfffff000, 0, pte);
}

/** Bits reserved in every 64-bit entry: above the physical width, and XD unless EFER.NXE. `ignored`: software's. */
function reserved_64(cpu: u32, ignored: u64): u64 {
  let reserved = ~load<u64>(cpu, CPU_PHYS_MASK) & 0x7ffffffffffff000 & ~ignored;
  if (!(load<u32>(cpu, CPU_EFER) & EFER_NXE)) reserved |= PTE_XD;
  return reserved;
}

/** The last two levels of PAE and 4-level paging: `table` is the gpa of the page directory. */
function walk_directory(cpu: u32, va: u64, access: u32, table: u64, reserved: u64): bool {
  const at_pde = table + ((va >> 21) & 0x1ff) * 8;
  const pde = phys_load64(cpu, at_pde);
  if (pde & PTE_PS) {
    if (!pass(cpu, access, at_pde, pde, reserved | 0x1fe000)) return false;
    return finish(cpu, va, access, pde & ADDRESS, SIZE_2M, pde);
  }
  if (!pass(cpu, access, at_pde, pde, reserved)) return false;
  const at_pte = (pde & ADDRESS) + ((va >> 12) & 0x1ff) * 8;
  const pte = phys_load64(cpu, at_pte);
  if (!pass(cpu, access, at_pte, pte, reserved)) return false;
  return finish(cpu, va, access, pte & ADDRESS, 0, pte);
}

/** PAE paging (SDM vol.3 4.4). The PDPTEs are registers that were checked when they were loaded. */
function walk_pae(cpu: u32, va: u64, access: u32): bool {
  const pdpte = load<u64>(cpu + CPU_PDPTE + (<u32>(va >> 30) & 3) * 8);
  if (!(pdpte & PTE_P)) return fault(cpu, access, 0);
  return walk_directory(cpu, va, access, pdpte & ADDRESS, reserved_64(cpu, 0));
}

/** 4-level paging (SDM vol.3 4.5). Bits 52-62 are ignored. */
function walk_4level(cpu: u32, va: u64, access: u32): bool {
  const reserved = reserved_64(cpu, 0x7ff0000000000000);
  const at_pml4e = (load<u64>(cpu, CPU_CR3) & ADDRESS) + ((va >> 39) & 0x1ff) * 8;
  const pml4e = phys_load64(cpu, at_pml4e);
  if (!pass(cpu, access, at_pml4e, pml4e, reserved | PTE_PS)) return false;
  const at_pdpte = (pml4e & ADDRESS) + ((va >> 30) & 0x1ff) * 8;
  const pdpte = phys_load64(cpu, at_pdpte);
  if (pdpte & PTE_PS) {
    if (!pass(cpu, access, at_pdpte, pdpte, reserved | 0x3fffe000)) return false;
    return finish(cpu, va, access, pdpte & ADDRESS, SIZE_1G, pdpte);
  }
  if (!pass(cpu, access, at_pdpte, pdpte, reserved)) return false;
  return walk_directory(cpu, va, access, pdpte & ADDRESS, reserved);
}

/**
 * Translates a canonical linear address for an access (ACCESS_* bits). True: the walk_* globals say where to.
 * False: walk_error is the page-fault error code. The A20 gate is the caller's.
 */
export function walk(cpu: u32, va: u64, access: u32): bool {
  if (!(cr0(cpu) & CR0_PG)) {
    walk_gpa = va & 0xffffffff;
    walk_rights = RIGHT_WRITE | RIGHT_USER | RIGHT_DIRTY;
    return true;
  }
  seen = 0;
  all_rights = ~(<u64>0);
  any_xd = 0;
  if (load<u32>(cpu, CPU_EFER) & EFER_LMA) return walk_4level(cpu, va, access);
  if (cr4(cpu) & CR4_PAE) return walk_pae(cpu, va, access);
  return walk_32(cpu, va, access);
}
