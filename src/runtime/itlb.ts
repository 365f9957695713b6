// The instruction TLB and the known jumps behind it: filling, dropping entries. Tags of user pages carry the number of
// their address space; those of supervisor pages do not, and the ones that are not global are logged for the next switch
// to drop.

import {
  CPU_ITLB_CTX,
  CPU_ITLB_LOGGED,
  CPU_ITLB_NEXT_ID,
  CPU_JUMP_EPOCH,
  CPU_JUMP_KEY,
  ITLB_CTX_SPACE_SHIFT,
  ITLB_CTX_USER,
  ITLB_ENTRIES,
  ITLB_ENTRY_SIZE,
  ITLB_FRAME,
  ITLB_GLOBAL,
  ITLB_LOG_OFFSET,
  ITLB_OFFSET,
  ITLB_PAGE,
  ITLB_SPACE_IDS,
  ITLB_TAG,
  JUMP_EPOCH_STEP,
  JUMP_PAGES_BYTES,
  JUMP_PAGES_ENTRIES,
  JUMP_PAGES_OFFSET,
  JUMP_PAGES_PROBES,
  JUMPS_ENTRIES,
  JUMPS_ENTRY_SIZE,
  JUMPS_OFFSET,
  TLB_LOG_ENTRIES,
} from './gen/layout';

const INVALID: u64 = ~(<u64>0);
const PAGE: u64 = ~(<u64>0xfff);

/** Address of the entry for a linear address. */
export function itlb_entry(cpu: u32, linear: u64): u32 {
  return cpu + ITLB_OFFSET + (<u32>(linear >> 12) & (ITLB_ENTRIES - 1)) * ITLB_ENTRY_SIZE;
}

/** Enters the page of `linear` for the current mode, privilege and address space: its frame and its code page. */
export function itlb_fill(cpu: u32, linear: u64, frame: u32, page: u32, global: u32): void {
  const ctx = load<u32>(cpu, CPU_ITLB_CTX);
  const at = itlb_entry(cpu, linear);
  store<u64>(at, (linear & PAGE) | ctx, ITLB_TAG);
  store<u32>(at, page, ITLB_PAGE);
  store<u32>(at, frame | global, ITLB_FRAME);
  if (ctx & ITLB_CTX_USER || global) return;
  const count = load<u32>(cpu, CPU_ITLB_LOGGED);
  if (count > TLB_LOG_ENTRIES) return;
  store<u32>(cpu, count + 1, CPU_ITLB_LOGGED);
  if (count == TLB_LOG_ENTRIES) return;
  store<u16>(cpu + count * 2, <u16>((at - cpu - ITLB_OFFSET) / ITLB_ENTRY_SIZE), ITLB_LOG_OFFSET);
}

/** Address of jump_epoch for supervisor (0) or user (1) pages. */
function epoch_at(cpu: u32, user: u32): u32 {
  return cpu + CPU_JUMP_EPOCH + user * 8;
}
/** Sets the context of fetches, itlb_ctx, and the key of known jumps with it. */
export function set_itlb_ctx(cpu: u32, ctx: u32): void {
  store<u32>(cpu, ctx, CPU_ITLB_CTX);
  store<u64>(cpu, load<u64>(epoch_at(cpu, ctx & ITLB_CTX_USER)) | ctx, CPU_JUMP_KEY);
}
/** No key is that of an entry of such pages any more: an epoch of its own begins, the first one is 1. */
function forget_jumps_of(cpu: u32, user: u32): void {
  memory.fill(cpu + JUMP_PAGES_OFFSET + user * JUMP_PAGES_BYTES, 0, JUMP_PAGES_BYTES);
  const at = epoch_at(cpu, user);
  let epoch = load<u64>(at) + JUMP_EPOCH_STEP;
  // Entries have the low half of a key only, and those that are empty have 0.
  if (<u32>epoch == 0) {
    memory.fill(cpu + JUMPS_OFFSET, 0, JUMPS_ENTRIES * JUMPS_ENTRY_SIZE);
    epoch += JUMP_EPOCH_STEP;
  }
  store<u64>(at, epoch);
  set_itlb_ctx(cpu, load<u32>(cpu, CPU_ITLB_CTX));
}
/** Forgets all known jumps. */
export function forget_jumps(cpu: u32): void {
  forget_jumps_of(cpu, 0);
  forget_jumps_of(cpu, 1);
}
/** Empties the table of known jumps: its records are gone. */
export function empty_jumps(cpu: u32): void {
  memory.fill(cpu + JUMPS_OFFSET, 0, JUMPS_ENTRIES * JUMPS_ENTRY_SIZE);
  forget_jumps(cpu);
}

/**
 * What JUMP_PAGES has of the page around `va` in the address space with number `id`, 0 for global pages: they are
 * invalidated from all address spaces.
 */
function jump_page_tag(va: u64, id: u32): u64 {
  return (va & PAGE) | (id << 1) | 1;
}
/** The first of the places where it may be. */
function jump_page_place(cpu: u32, tag: u64, user: u32): u32 {
  const mixed = <u32>(tag >> 12) ^ <u32>(tag >> 24) ^ ((<u32>tag) << 4);
  return cpu + JUMP_PAGES_OFFSET + user * JUMP_PAGES_BYTES + (mixed & (JUMP_PAGES_ENTRIES - 1)) * 8;
}
/**
 * Notes that the page around `linear` has known jumps now; an epoch ends when there is no room. `frame`: that field of its
 * entry. 0: it may have none, as a switch of the address space does not end the epoch.
 */
export function note_jumps(cpu: u32, linear: u64, frame: u32): u32 {
  const ctx = load<u32>(cpu, CPU_ITLB_CTX);
  const user = ctx & ITLB_CTX_USER;
  if (!(frame & ITLB_GLOBAL) && !user) return 0;
  const tag = jump_page_tag(linear, frame & ITLB_GLOBAL ? 0 : ctx >> ITLB_CTX_SPACE_SHIFT);
  const start = jump_page_place(cpu, tag, user);
  for (let at = start; at < start + JUMP_PAGES_PROBES * 8; at += 8) {
    const known = load<u64>(at);
    if (known == tag) return 1;
    if (known != 0) continue;
    store<u64>(at, tag);
    return 1;
  }
  forget_jumps_of(cpu, user);
  store<u64>(start, tag);
  return 1;
}
/** Forgets known jumps if the page around `va` has some in the address space with number `id`; 0: as a global one. */
function forget_jumps_to(cpu: u32, va: u64, id: u32, user: u32): void {
  const tag = jump_page_tag(va, id);
  const start = jump_page_place(cpu, tag, user);
  for (let at = start; at < start + JUMP_PAGES_PROBES * 8; at += 8) {
    const known = load<u64>(at);
    if (known == 0) return;
    if (known != tag) continue;
    forget_jumps_of(cpu, user);
    return;
  }
}

function drop_if_private(at: u32): void {
  if (load<u32>(at, ITLB_FRAME) & ITLB_GLOBAL) return;
  if (!(<u32>load<u64>(at, ITLB_TAG) & ITLB_CTX_USER)) store<u64>(at, INVALID, ITLB_TAG);
}
/** Drops supervisor pages that are not global. */
export function itlb_drop_supervisor(cpu: u32): void {
  const count = load<u32>(cpu, CPU_ITLB_LOGGED);
  store<u32>(cpu, 0, CPU_ITLB_LOGGED);
  const start = cpu + ITLB_OFFSET;
  if (count <= TLB_LOG_ENTRIES) {
    for (let i: u32 = 0; i < count; i++) {
      drop_if_private(start + <u32>load<u16>(cpu + i * 2, ITLB_LOG_OFFSET) * ITLB_ENTRY_SIZE);
    }
    return;
  }
  for (let at = start; at < start + ITLB_ENTRIES * ITLB_ENTRY_SIZE; at += ITLB_ENTRY_SIZE) drop_if_private(at);
}

/**
 * Drops the page around `va` in the address space with number `id` and where it is global; if it may be `large`,
 * everything.
 */
export function itlb_drop_page(cpu: u32, va: u64, id: u32, large: bool): void {
  if (large) {
    clear_pages(cpu);
    forget_jumps(cpu);
    return;
  }
  const at = itlb_entry(cpu, va);
  if (((load<u64>(at, ITLB_TAG) ^ va) & PAGE) == 0) store<u64>(at, INVALID, ITLB_TAG);
  forget_jumps_to(cpu, va, id, 1);
  forget_jumps_to(cpu, va, 0, 1);
  forget_jumps_to(cpu, va, 0, 0);
}

function clear_pages(cpu: u32): void {
  memory.fill(cpu + ITLB_OFFSET, 0xff, ITLB_ENTRIES * ITLB_ENTRY_SIZE);
  store<u32>(cpu, 0, CPU_ITLB_LOGGED);
}
/** Drops all entries; address spaces keep their numbers. */
export function itlb_clear(cpu: u32): void {
  clear_pages(cpu);
  forget_jumps(cpu);
}
/** Drops all entries; all address-space numbers from 1 on are free again. Known jumps of the supervisor's pages stay. */
export function itlb_renumber(cpu: u32): void {
  clear_pages(cpu);
  forget_jumps_of(cpu, 1);
  store<u32>(cpu, 1, CPU_ITLB_NEXT_ID);
}
/** An address-space number that no entry has, or 0 when there is none left. */
export function new_itlb_id(cpu: u32): u32 {
  const id = load<u32>(cpu, CPU_ITLB_NEXT_ID);
  if (id == ITLB_SPACE_IDS) return 0;
  store<u32>(cpu, id + 1, CPU_ITLB_NEXT_ID);
  return id;
}
