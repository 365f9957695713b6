// Memory accesses of instructions and of the processor itself that are not a TLB hit.
//
// Each access gives an absolute host address at which the caller loads or stores: in RAM, or the bounce buffer in
// the vCPU's state when the bytes are in two pages or not in RAM; mem_commit then carries the store out.

import { P2M_HOOKED, p2m_entry, phys_read, phys_write, prepare_store } from './frames';
import {
  CPU_BOUNCE,
  CPU_BOUNCE_PA,
  CPU_BOUNCE_SIZE,
  CPU_BOUNCE_VA,
  CPU_EXC_CR2,
  CPU_EXEC_GLOBAL,
  CPU_EXIT_MODE,
  CPU_N_ITLB_MISS,
  CPU_N_SLOW,
  CPU_WATCHED,
  EXC_AC,
  EXC_GP,
  EXC_PF,
  EXC_SS,
  EXIT_MODE_LEAVE,
  ITLB_GLOBAL,
  P2M_PRESENT,
  P2M_WRITABLE,
  TLB_ADDEND,
  TLB_CTX_CHECKED,
  TLB_CTX_SUPERVISOR,
  TLB_CTX_SUPERVISOR_AC,
  TLB_CTX_USER,
  TLB_FRAME,
  TLB_TAG_READ,
  TLB_TAG_WRITE,
} from './gen/layout';
import { forget_faulting } from './spaces';
import { canonical, cpl, current_context, long_mode, must_wait, raise, raise_leave } from './state';
import { find, found_gpa, found_rights } from './stlb';
import { tlb_entry, tlb_fill } from './tlb';
import { ACCESS_AC, ACCESS_FETCH, ACCESS_USER, ACCESS_WRITE, RIGHT_GLOBAL, walk_error } from './walk';
import { note_access } from './watch';
import { wide_fill } from './wide-tlb';

/** Added to the size of an access through SS: a non-canonical address is then #SS, not #GP. */
export const MEM_STACK: u32 = 0x100;
/** Two bits of the size: 1 + log2 of the alignment that #AC asks for, or 0 for that of the size. */
const MEM_ALIGN_SHIFT: u32 = 9;
const SIZE_MASK: u32 = 0xff;
const MAX_SIZE: u32 = 64;
const PAGE: u64 = ~(<u64>0xfff);

const READ: u32 = 0;
const WRITE: u32 = 1;
const MODIFY: u32 = 2;

// Result of `translate`: host address (0: not RAM), gpa, and flags of the P2M entry.
let t_host: u32 = 0;
let t_gpa: u64 = 0;
let t_flags: u32 = 0;
/** The access is an instruction's own, which may leave; the processor's own accesses are answered at once. */
let may_leave: bool = false;
/** Exceptions and interrupts are being delivered: their pushes are the processor's own. */
let delivering: bool = false;
export function set_delivering(on: bool): void {
  delivering = on;
}

/** Records #PF after a failed walk. */
function page_fault(cpu: u32, va: u64): u32 {
  forget_faulting(cpu, va);
  store<u64>(cpu, va, CPU_EXC_CR2);
  return raise(cpu, EXC_PF, walk_error);
}

/** Kinds of access by the context, but for ACCESS_WRITE and ACCESS_FETCH. */
function access_of(ctx: u32): u32 {
  if (ctx == TLB_CTX_USER) return ACCESS_USER;
  return ctx == TLB_CTX_SUPERVISOR_AC ? ACCESS_AC : 0;
}

/**
 * The short way to RAM within a page; fills the TLB of the current context.
 * Host address, with no store put off; or 0 where there is more to do: then the guest sees nothing of it.
 */
function quickly(cpu: u32, va: u64, size: u32, write: bool): u32 {
  const ctx = current_context(cpu);
  if ((<u32>va & 0xfff) + size > 4096 || ctx == TLB_CTX_CHECKED || load<u32>(cpu, CPU_WATCHED)) return 0;
  const at = tlb_entry(cpu, ctx, va);
  // The runtime's own accesses come here without having looked.
  if (load<u64>(at + (write ? TLB_TAG_WRITE : TLB_TAG_READ)) == (va & PAGE)) {
    store<u32>(cpu, 0, CPU_BOUNCE_SIZE);
    return <u32>va + load<u32>(at, TLB_ADDEND);
  }
  if (long_mode(cpu) ? !canonical(va) : va >> 32 != 0) return 0;
  if (!find(cpu, va, access_of(ctx) | (write ? ACCESS_WRITE : 0))) return 0;
  const p2m = p2m_entry(cpu, found_gpa);
  if (p2m == 0 || (write && (p2m & (P2M_WRITABLE | P2M_HOOKED)) != P2M_WRITABLE)) return 0;
  tlb_fill(cpu, ctx, va, p2m);
  store<u32>(cpu, 0, CPU_BOUNCE_SIZE);
  return (p2m & 0xfffff000) + (<u32>va & 0xfff);
}

/** Finds the page of `va` in a context (not TLB_CTX_CHECKED), filling the TLB. 1: #PF is recorded. */
function translate(cpu: u32, va: u64, ctx: u32, write: bool): u32 {
  const at = tlb_entry(cpu, ctx, va);
  if (load<u64>(at + (write ? TLB_TAG_WRITE : TLB_TAG_READ)) == (va & PAGE)) {
    t_host = <u32>va + load<u32>(at, TLB_ADDEND);
    t_gpa = ((<u64>load<u32>(at, TLB_FRAME)) << 12) | (va & 0xfff);
    t_flags = P2M_PRESENT | P2M_WRITABLE;
    return 0;
  }
  if (!find(cpu, va, access_of(ctx) | (write ? ACCESS_WRITE : 0))) return page_fault(cpu, va);
  const p2m = p2m_entry(cpu, found_gpa);
  t_gpa = found_gpa;
  t_flags = p2m;
  t_host = 0;
  if (p2m) {
    tlb_fill(cpu, ctx, va, p2m);
    t_host = (p2m & 0xfffff000) + (<u32>va & 0xfff);
  }
  return 0;
}

/**
 * Alignment that #AC asks of an access of `n` bytes (SDM vol.3 table 6-7), as a mask: 16 for vectors of 16 and 32, 8 for
 * the 10 bytes of the x87.
 */
function alignment(n: u32): u32 {
  if (n == 16 || n == 32) return 15;
  if (n >= 8) return 7;
  return n >= 4 ? 3 : n - 1;
}

/** Whether an access in the context TLB_CTX_CHECKED raises #AC. `size` with its marks. */
function misaligned(va: u64, size: u32): bool {
  const own = (size >> MEM_ALIGN_SHIFT) & 3;
  const mask: u32 = own ? (1 << (own - 1)) - 1 : alignment(size & SIZE_MASK);
  return (<u32>va & mask) != 0;
}

function count_slow(cpu: u32): void {
  store<u64>(cpu, load<u64>(cpu, CPU_N_SLOW) + 1, CPU_N_SLOW);
}

/** Whether an instruction must leave before it accesses what is not RAM; then that is recorded. */
function leaves(cpu: u32): bool {
  if (!may_leave || load<u32>(cpu, CPU_EXIT_MODE) != EXIT_MODE_LEAVE) return false;
  raise_leave(cpu);
  return true;
}

/** An access within one page, already translated. */
function single(cpu: u32, n: u32, kind: u32): u32 {
  const bounce = cpu + CPU_BOUNCE;
  if (t_host && (kind == READ || (t_flags & (P2M_WRITABLE | P2M_HOOKED)) == P2M_WRITABLE)) return t_host;
  count_slow(cpu);
  const gpa = t_gpa;
  if (t_host) {
    const to = prepare_store(cpu, gpa, n);
    if (to) return to;
    // ROM: the store goes to the bounce buffer and stays there.
    if (kind == MODIFY) phys_read(cpu, gpa, bounce, n);
    return bounce;
  }
  if (leaves(cpu)) return 0;
  if (kind != WRITE) phys_read(cpu, gpa, bounce, n);
  if (may_leave && must_wait(cpu)) return 0;
  if (kind != READ) {
    store<u64>(cpu, gpa, CPU_BOUNCE_PA);
    store<u32>(cpu, n, CPU_BOUNCE_SIZE);
  }
  return bounce;
}

/** An access whose first `first` bytes are in one page and the rest in the next. Both are checked first. */
function crossing(cpu: u32, va: u64, n: u32, ctx: u32, kind: u32): u32 {
  const first: u32 = 4096 - (<u32>va & 0xfff);
  let next = va + first;
  if (!long_mode(cpu)) next &= 0xffffffff;
  if (translate(cpu, va, ctx, kind != READ)) return 0;
  const gpa = t_gpa;
  const ram = t_host != 0;
  if (translate(cpu, next, ctx, kind != READ)) return 0;
  const gpa2 = t_gpa;
  if ((!ram || t_host == 0) && leaves(cpu)) return 0;
  count_slow(cpu);
  const bounce = cpu + CPU_BOUNCE;
  if (kind != WRITE) {
    phys_read(cpu, gpa, bounce, first);
    phys_read(cpu, gpa2, bounce + first, n - first);
    if (may_leave && must_wait(cpu)) return 0;
  }
  if (kind != READ) {
    store<u64>(cpu, gpa, CPU_BOUNCE_PA);
    store<u64>(cpu, gpa2, CPU_BOUNCE_PA + 8);
    store<u32>(cpu, n, CPU_BOUNCE_SIZE);
  }
  return bounce;
}

/** `size` (1-64, + MEM_*) bytes at `va` in an access context. Host address, or 0 after recording a fault. */
function access(cpu: u32, address: u64, size: u32, ctx: u32, kind: u32): u32 {
  const n = size & SIZE_MASK;
  const va = long_mode(cpu) ? address : address & 0xffffffff;
  store<u32>(cpu, 0, CPU_BOUNCE_SIZE);
  store<u64>(cpu, va, CPU_BOUNCE_VA);
  if (n > MAX_SIZE || !canonical(va) || !canonical(va + n - 1)) {
    raise(cpu, size & MEM_STACK ? EXC_SS : EXC_GP, 0);
    return 0;
  }
  const table = ctx == TLB_CTX_CHECKED ? TLB_CTX_USER : ctx;
  let host: u32 = 0;
  if ((<u32>va & 0xfff) + n <= 4096) {
    if (translate(cpu, va, table, kind != READ)) return 0;
    if (ctx == TLB_CTX_CHECKED && misaligned(va, size)) {
      raise(cpu, EXC_AC, 0);
      return 0;
    }
    host = single(cpu, n, kind);
  } else {
    host = crossing(cpu, va, n, table, kind);
    if (host && ctx == TLB_CTX_CHECKED && misaligned(va, size)) {
      raise(cpu, EXC_AC, 0);
      return 0;
    }
  }
  return host;
}

/** Where to load `size` (1-64, + MEM_*) bytes of linear address `va`; 0 after recording a fault. */
export function mem_read(cpu: u32, va: u64, size: u32): u32 {
  const quick = quickly(cpu, va, size & SIZE_MASK, false);
  if (quick) return quick;
  may_leave = true;
  const host = access(cpu, va, size, current_context(cpu), READ);
  if (host && load<u32>(cpu, CPU_WATCHED)) note_access(cpu, load<u64>(cpu, CPU_BOUNCE_VA), size & SIZE_MASK, false);
  return host;
}
/** Where to store; 0 after recording a fault. mem_commit has to follow the store. */
export function mem_write(cpu: u32, va: u64, size: u32): u32 {
  const quick = quickly(cpu, va, size & SIZE_MASK, true);
  if (quick) return quick;
  may_leave = true;
  const host = access(cpu, va, size, current_context(cpu), WRITE);
  if (host && load<u32>(cpu, CPU_WATCHED)) note_access(cpu, load<u64>(cpu, CPU_BOUNCE_VA), size & SIZE_MASK, true);
  return host;
}
/** Where to load and then store; 0 after recording a fault. mem_commit has to follow the store. */
export function mem_rmw(cpu: u32, va: u64, size: u32): u32 {
  const quick = quickly(cpu, va, size & SIZE_MASK, true);
  if (quick) return quick;
  may_leave = true;
  const host = access(cpu, va, size, current_context(cpu), MODIFY);
  if (host && load<u32>(cpu, CPU_WATCHED)) note_access(cpu, load<u64>(cpu, CPU_BOUNCE_VA), size & SIZE_MASK, true);
  return host;
}

/**
 * Fills the TLB for translated code, which then looks again: 1 when an access (`write`: a store, or a load and a
 * store) of `size` bytes hits now. 0 when it is on two pages that are not behind each other in the host's memory, is not
 * to RAM, faults, or has to be looked at.
 */
export function ram_fill(cpu: u32, va: u64, size: u32, write: bool): bool {
  const ctx = current_context(cpu);
  const here: u32 = 4096 - (<u32>va & 0xfff);
  if (size > here) return page_fill(cpu, ctx, va, here, write) && goes_on(cpu, ctx, va, write);
  return page_fill(cpu, ctx, va, size, write);
}

/** ram_fill for what is in one page. */
function page_fill(cpu: u32, ctx: u32, va: u64, size: u32, write: bool): bool {
  if (!quickly(cpu, va, size, write)) {
    if (load<u32>(cpu, CPU_WATCHED) || ctx == TLB_CTX_CHECKED) return false;
    if (!canonical(va) || translate(cpu, va, ctx, write)) return false;
  }
  const entry = tlb_entry(cpu, ctx, va);
  if (load<u64>(entry + (write ? TLB_TAG_WRITE : TLB_TAG_READ)) != (va & PAGE)) return false;
  wide_fill(cpu, va, entry);
  return true;
}

/** Is the page behind that of `va`, which the TLB has, in the TLB too and behind it in the host's memory? */
function goes_on(cpu: u32, ctx: u32, va: u64, write: bool): bool {
  const next = (va & PAGE) + 4096;
  const entry = tlb_entry(cpu, ctx, next);
  if (load<u64>(entry + (write ? TLB_TAG_WRITE : TLB_TAG_READ)) != next) return false;
  return load<u32>(entry, TLB_ADDEND) == load<u32>(tlb_entry(cpu, ctx, va), TLB_ADDEND);
}

/** ram_fill with the host address that the access goes to, or 0. */
export function ram_address(cpu: u32, va: u64, size: u32, write: bool): u32 {
  if (!ram_fill(cpu, va, size, write)) return 0;
  return <u32>va + load<u32>(tlb_entry(cpu, current_context(cpu), va), TLB_ADDEND);
}

/** Carries out the store that the last mem_write or mem_rmw put off, if it did. */
export function mem_commit(cpu: u32): void {
  const n = load<u32>(cpu, CPU_BOUNCE_SIZE);
  if (n == 0) return;
  store<u32>(cpu, 0, CPU_BOUNCE_SIZE);
  const room: u32 = 4096 - (<u32>load<u64>(cpu, CPU_BOUNCE_VA) & 0xfff);
  const first: u32 = n < room ? n : room;
  phys_write(cpu, load<u64>(cpu, CPU_BOUNCE_PA), cpu + CPU_BOUNCE, first);
  if (n > first) phys_write(cpu, load<u64>(cpu, CPU_BOUNCE_PA + 8), cpu + CPU_BOUNCE + first, n - first);
}

/** Like mem_read with supervisor privilege whatever the CPL is: descriptor tables, TSS (SDM vol.3 4.6). */
export function sys_read(cpu: u32, va: u64, size: u32): u32 {
  may_leave = false;
  return access(cpu, va, size, TLB_CTX_SUPERVISOR, READ);
}
/** Like mem_write with supervisor privilege. */
export function sys_write(cpu: u32, va: u64, size: u32): u32 {
  may_leave = false;
  return access(cpu, va, size, TLB_CTX_SUPERVISOR, WRITE);
}
/** Like mem_rmw with supervisor privilege. */
export function sys_rmw(cpu: u32, va: u64, size: u32): u32 {
  may_leave = false;
  return access(cpu, va, size, TLB_CTX_SUPERVISOR, MODIFY);
}

/** Like mem_write in the given access context (TLB_CTX_*). */
export function mem_write_in(cpu: u32, va: u64, size: u32, ctx: u32): u32 {
  may_leave = !delivering;
  return access(cpu, va, size, ctx, WRITE);
}

/**
 * gpa of the instruction byte at linear address `va`, or all ones after recording a fault. Leaves in exec_global
 * what is to be OR-ed to the frame number of an instruction TLB entry.
 */
export function exec_translate(cpu: u32, address: u64): u64 {
  const va = long_mode(cpu) ? address : address & 0xffffffff;
  if (!canonical(va)) {
    raise(cpu, EXC_GP, 0);
    return ~(<u64>0);
  }
  if (!find(cpu, va, ACCESS_FETCH | (cpl(cpu) == 3 ? ACCESS_USER : 0))) {
    page_fault(cpu, va);
    return ~(<u64>0);
  }
  store<u32>(cpu, found_rights & RIGHT_GLOBAL ? ITLB_GLOBAL : 0, CPU_EXEC_GLOBAL);
  store<u64>(cpu, load<u64>(cpu, CPU_N_ITLB_MISS) + 1, CPU_N_ITLB_MISS);
  return found_gpa;
}

/**
 * Whether a byte at `va` is RAM that an access in the current context may read (or write) straight away. Fills the
 * TLB, touches no device; false also after recording a fault.
 */
export function probe_ram(cpu: u32, va: u64, write: bool): bool {
  const ctx = current_context(cpu);
  if (!canonical(va) || translate(cpu, va, ctx == TLB_CTX_CHECKED ? TLB_CTX_USER : ctx, write)) return false;
  return t_host != 0 && (!write || (t_flags & (P2M_WRITABLE | P2M_HOOKED)) == P2M_WRITABLE);
}
