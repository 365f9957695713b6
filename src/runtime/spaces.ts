// Address spaces: the PCIDs whose translations are kept, and what invalidates them (SDM vol.3 4.10.4). Without
// CR4.PCIDE there is one, PCID 0. Each has a user's data TLB and numbers for the tags of the other TLBs; forgetting it
// means giving it new numbers. A PCID that has no space takes that of the one not used for longest.

import {
  CPU_CR3,
  CPU_ITLB_CTX,
  CPU_SPACE,
  CPU_SPACE_CLOCK,
  CPU_SPACE_ITLB,
  CPU_SPACE_PCID,
  CPU_SPACE_STAMP,
  CPU_SPACE_TAG,
  CPU_STLB_GLOBAL,
  CPU_STLB_HAS,
  CPU_STLB_NEXT_TAG,
  CPU_STLB_TAG,
  CPU_TLB_HUGE,
  CPU_TLB_PTR,
  CPU_TLB_USER,
  CR4_PCIDE,
  ITLB_CTX_SPACE_SHIFT,
  ITLB_CTX_USER,
  TLB_CTX_USER,
  TLB_LARGE_BITS,
  TLB_LARGE_OFFSET,
  TLB_SPACES,
} from './gen/layout';
import { forget_jumps, itlb_drop_page, itlb_drop_supervisor, itlb_renumber, new_itlb_id, set_itlb_ctx } from './itlb';
import { cr4, current_context } from './state';
import { may_be_large, new_tag, stlb_drop_page, stlb_empty, tags_left } from './stlb';
import {
  table_address,
  tables_with,
  tlb_drop_page,
  tlb_drop_supervisor,
  tlb_drop_user,
  tlb_empty,
  tlb_forget,
  user_table,
} from './tlb';
import { wide_forget } from './wide-tlb';

/** PCID of a space that has none. */
const NONE: u32 = 0xffffffff;

function get(cpu: u32, field: u32, space: u32): u32 {
  return load<u32>(cpu + field + space * 4);
}
function set(cpu: u32, field: u32, space: u32, value: u32): void {
  store<u32>(cpu + field + space * 4, value);
}

/** PCID of the current address space. */
function current_pcid(cpu: u32): u32 {
  return cr4(cpu) & CR4_PCIDE ? load<u32>(cpu, CPU_CR3) & 0xfff : 0;
}
/** The space of a PCID, or NONE. */
function space_of(cpu: u32, pcid: u32): u32 {
  for (let i: u32 = 0; i < TLB_SPACES; i++) if (get(cpu, CPU_SPACE_PCID, i) == pcid) return i;
  return NONE;
}

/** Sets the fields that follow from the current space and its numbers. */
function refresh(cpu: u32): void {
  const space = load<u32>(cpu, CPU_SPACE);
  const user = table_address(cpu, user_table(space));
  if (current_context(cpu) == TLB_CTX_USER) store<u32>(cpu, user, CPU_TLB_PTR);
  store<u32>(cpu, user, CPU_TLB_USER);
  wide_forget(cpu);
  store<u32>(cpu, get(cpu, CPU_SPACE_TAG, space), CPU_STLB_TAG);
  const ctx = load<u32>(cpu, CPU_ITLB_CTX);
  if (ctx & ITLB_CTX_USER) set_itlb_ctx(cpu, in_space(cpu, ctx));
}
/** itlb_ctx with the number of the current address space, where it is that of a user. */
export function in_space(cpu: u32, ctx: u32): u32 {
  const low = ctx & ((1 << ITLB_CTX_SPACE_SHIFT) - 1);
  if (!(low & ITLB_CTX_USER)) return low;
  return low | (get(cpu, CPU_SPACE_ITLB, load<u32>(cpu, CPU_SPACE)) << ITLB_CTX_SPACE_SHIFT);
}

/** Gives all spaces and the global pages new tag numbers. */
function renumber_tags(cpu: u32): void {
  if (!tags_left(cpu, TLB_SPACES + 1)) stlb_empty(cpu);
  store<u32>(cpu, new_tag(cpu), CPU_STLB_GLOBAL);
  for (let i: u32 = 0; i < TLB_SPACES; i++) set(cpu, CPU_SPACE_TAG, i, new_tag(cpu));
}
/** Empties the instruction TLB and numbers all spaces anew. */
function renumber_itlb(cpu: u32): void {
  itlb_renumber(cpu);
  for (let i: u32 = 0; i < TLB_SPACES; i++) set(cpu, CPU_SPACE_ITLB, i, new_itlb_id(cpu));
}

/** Drops everything, global pages included. */
export function flush_all(cpu: u32): void {
  tlb_empty(cpu, load<u32>(cpu, CPU_STLB_NEXT_TAG) == 0);
  renumber_tags(cpu);
  store<u32>(cpu, 0, CPU_STLB_HAS);
  renumber_itlb(cpu);
  forget_jumps(cpu);
  memory.fill(cpu + TLB_LARGE_OFFSET, 0, TLB_LARGE_BITS / 8);
  store<u64>(cpu, 0, CPU_TLB_HUGE);
  for (let i: u32 = 0; i < TLB_SPACES; i++) set(cpu, CPU_SPACE_PCID, i, NONE);
  store<u32>(cpu, 0, CPU_SPACE);
  set(cpu, CPU_SPACE_PCID, 0, current_pcid(cpu));
  refresh(cpu);
}

/** Drops what is not global of one space. */
function forget(cpu: u32, space: u32): void {
  tlb_drop_user(cpu, space);
  if (tags_left(cpu, 1)) set(cpu, CPU_SPACE_TAG, space, new_tag(cpu));
  else renumber_tags(cpu);
  const id = new_itlb_id(cpu);
  if (id != 0) set(cpu, CPU_SPACE_ITLB, space, id);
  else renumber_itlb(cpu);
  if (space == load<u32>(cpu, CPU_SPACE)) drop_supervisor(cpu);
  refresh(cpu);
}
/** Drops the supervisor's translations that only the current space has. */
function drop_supervisor(cpu: u32): void {
  tlb_drop_supervisor(cpu);
  itlb_drop_supervisor(cpu);
}

/** Drops what is not global of the current address space. */
export function flush_non_global(cpu: u32): void {
  forget(cpu, load<u32>(cpu, CPU_SPACE));
}

/** The space to give up: not the current one, and entered longest ago. */
function oldest(cpu: u32): u32 {
  const clock = load<u32>(cpu, CPU_SPACE_CLOCK);
  let best: u32 = 0;
  let age: u32 = 0;
  for (let i: u32 = 0; i < TLB_SPACES; i++) {
    if (i == load<u32>(cpu, CPU_SPACE)) continue;
    if (get(cpu, CPU_SPACE_PCID, i) == NONE) return i;
    if (clock - get(cpu, CPU_SPACE_STAMP, i) < age) continue;
    age = clock - get(cpu, CPU_SPACE_STAMP, i);
    best = i;
  }
  return best;
}

/** After CR3 was loaded: goes to the space of its PCID; unless `keep`, what that had is dropped but for global pages. */
export function enter_space(cpu: u32, keep: bool): void {
  const pcid = current_pcid(cpu);
  const from = load<u32>(cpu, CPU_SPACE);
  if (get(cpu, CPU_SPACE_PCID, from) == pcid) {
    if (!keep) forget(cpu, from);
    return;
  }
  drop_supervisor(cpu);
  let to = space_of(cpu, pcid);
  if (to == NONE) {
    to = oldest(cpu);
    set(cpu, CPU_SPACE_PCID, to, pcid);
    forget(cpu, to);
  } else if (!keep) forget(cpu, to);
  const clock = load<u32>(cpu, CPU_SPACE_CLOCK) + 1;
  store<u32>(cpu, clock, CPU_SPACE_CLOCK);
  set(cpu, CPU_SPACE_STAMP, from, clock - 1);
  set(cpu, CPU_SPACE_STAMP, to, clock);
  store<u32>(cpu, to, CPU_SPACE);
  refresh(cpu);
}

/** Drops the page around `va` from the current address space, and where it is global: INVLPG. A large page goes whole. */
export function flush_page(cpu: u32, va: u64): void {
  const large = may_be_large(cpu, va);
  const space = load<u32>(cpu, CPU_SPACE);
  tlb_drop_page(cpu, tables_with(cpu, space, true), va, large);
  stlb_drop_page(cpu, va, space, load<u32>(cpu, CPU_STLB_TAG), large);
  itlb_drop_page(cpu, va, get(cpu, CPU_SPACE_ITLB, space), large);
}

/** Drops what is known of a linear address whose use faulted (SDM vol.3 4.10.4.1). */
export function forget_faulting(cpu: u32, va: u64): void {
  tlb_forget(cpu, va);
  const space = load<u32>(cpu, CPU_SPACE);
  stlb_drop_page(cpu, va, space, load<u32>(cpu, CPU_STLB_TAG), true);
  itlb_drop_page(cpu, va, get(cpu, CPU_SPACE_ITLB, space), false);
}

/** Drops the page around `va` of a PCID: INVPCID type 0. */
export function flush_page_of(cpu: u32, pcid: u32, va: u64): void {
  const space = space_of(cpu, pcid);
  if (space == NONE) return;
  if (space == load<u32>(cpu, CPU_SPACE)) {
    flush_page(cpu, va);
    return;
  }
  const large = may_be_large(cpu, va);
  tlb_drop_page(cpu, tables_with(cpu, space, false), va, large);
  stlb_drop_page(cpu, va, space, get(cpu, CPU_SPACE_TAG, space), large);
  itlb_drop_page(cpu, va, get(cpu, CPU_SPACE_ITLB, space), large);
}

/** Drops what is not global of a PCID: INVPCID type 1. */
export function flush_pcid(cpu: u32, pcid: u32): void {
  const space = space_of(cpu, pcid);
  if (space != NONE) forget(cpu, space);
}

/** Drops what is not global of all PCIDs: INVPCID type 3. */
export function flush_all_pcids(cpu: u32): void {
  for (let i: u32 = 0; i < TLB_SPACES; i++) if (get(cpu, CPU_SPACE_PCID, i) != NONE) forget(cpu, i);
}
