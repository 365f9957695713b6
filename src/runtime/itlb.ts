// The instruction TLB: filling it and dropping entries. Tags of user pages carry the number of their address space;
// those of supervisor pages do not, and the ones that are not global are logged for the next switch to drop.

import {
  CPU_ITLB_CTX,
  CPU_ITLB_LOGGED,
  CPU_ITLB_NEXT_ID,
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
  const ctx = load<u32>(cpu + CPU_ITLB_CTX);
  const at = itlb_entry(cpu, linear);
  store<u64>(at + ITLB_TAG, (linear & PAGE) | ctx);
  store<u32>(at + ITLB_PAGE, page);
  store<u32>(at + ITLB_FRAME, frame | global);
  if (ctx & ITLB_CTX_USER || global) return;
  const count = load<u32>(cpu + CPU_ITLB_LOGGED);
  if (count > TLB_LOG_ENTRIES) return;
  store<u32>(cpu + CPU_ITLB_LOGGED, count + 1);
  if (count == TLB_LOG_ENTRIES) return;
  store<u16>(cpu + ITLB_LOG_OFFSET + count * 2, <u16>((at - cpu - ITLB_OFFSET) / ITLB_ENTRY_SIZE));
}

function drop_if_private(at: u32): void {
  if (load<u32>(at + ITLB_FRAME) & ITLB_GLOBAL) return;
  if (!(<u32>load<u64>(at + ITLB_TAG) & ITLB_CTX_USER)) store<u64>(at + ITLB_TAG, INVALID);
}
/** Drops supervisor pages that are not global. */
export function itlb_drop_supervisor(cpu: u32): void {
  const count = load<u32>(cpu + CPU_ITLB_LOGGED);
  store<u32>(cpu + CPU_ITLB_LOGGED, 0);
  const start = cpu + ITLB_OFFSET;
  if (count <= TLB_LOG_ENTRIES) {
    for (let i: u32 = 0; i < count; i++) {
      drop_if_private(start + <u32>load<u16>(cpu + ITLB_LOG_OFFSET + i * 2) * ITLB_ENTRY_SIZE);
    }
    return;
  }
  for (let at = start; at < start + ITLB_ENTRIES * ITLB_ENTRY_SIZE; at += ITLB_ENTRY_SIZE) drop_if_private(at);
}

/** Drops the page around `va` in all address spaces; if it may be `large`, everything. */
export function itlb_drop_page(cpu: u32, va: u64, large: bool): void {
  if (large) {
    memory.fill(cpu + ITLB_OFFSET, 0xff, ITLB_ENTRIES * ITLB_ENTRY_SIZE);
    store<u32>(cpu + CPU_ITLB_LOGGED, 0);
    return;
  }
  const at = itlb_entry(cpu, va);
  if (((load<u64>(at + ITLB_TAG) ^ va) & PAGE) == 0) store<u64>(at + ITLB_TAG, INVALID);
}

/** Drops all entries; address spaces keep their numbers. */
export function itlb_clear(cpu: u32): void {
  memory.fill(cpu + ITLB_OFFSET, 0xff, ITLB_ENTRIES * ITLB_ENTRY_SIZE);
  store<u32>(cpu + CPU_ITLB_LOGGED, 0);
}
/** The same, and all address-space numbers from 1 on are free again. */
export function itlb_empty(cpu: u32): void {
  itlb_clear(cpu);
  store<u32>(cpu + CPU_ITLB_NEXT_ID, 1);
}
/** An address-space number that no entry has, or 0 when there is none left. */
export function new_itlb_id(cpu: u32): u32 {
  const id = load<u32>(cpu + CPU_ITLB_NEXT_ID);
  if (id == ITLB_SPACE_IDS) return 0;
  store<u32>(cpu + CPU_ITLB_NEXT_ID, id + 1);
  return id;
}
