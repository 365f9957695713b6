// The software TLBs: filling the data TLBs and dropping entries of data and instruction TLBs.
//
// INFO of a data entry: bits 12-63 mask of the guest page (see walk_mask), bit 0 global.

import { P2M_HOOKED } from './frames';
import {
  CPU_ITLB_CTX,
  CPU_N_TLB_MISS,
  CPU_TLB_LARGE,
  CPU_TLB_USED,
  ITLB_ENTRIES,
  ITLB_ENTRY_SIZE,
  ITLB_FRAME,
  ITLB_GLOBAL,
  ITLB_OFFSET,
  ITLB_TAG,
  P2M_WRITABLE,
  TLB_ADDEND,
  TLB_BYTES,
  TLB_CTX_CHECKED,
  TLB_ENTRIES,
  TLB_ENTRY_SIZE,
  TLB_FRAME,
  TLB_INFO,
  TLB_OFFSET,
  TLB_TAG_READ,
  TLB_TAG_WRITE,
} from './gen/layout';
import { walk_global, walk_gpa, walk_mask, walk_writable } from './walk';
import { page_watched } from './watch';

/** A tag that matches no page. */
const INVALID: u64 = ~(<u64>0);
const PAGE: u64 = ~(<u64>0xfff);
const INFO_GLOBAL: u64 = 1;
/** Data TLBs that can hold entries: all but TLB_CTX_CHECKED. */
const TABLES: u32 = TLB_CTX_CHECKED;

/** Address of the data TLB entry for a linear address in an access context. */
export function tlb_entry(cpu: u32, ctx: u32, va: u64): u32 {
  return cpu + TLB_OFFSET + ctx * TLB_BYTES + (<u32>(va >> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_SIZE;
}

/** Bit of tlb_large for the 4 MiB region of an address. */
function region_bit(va: u64): u64 {
  return (<u64>1) << ((va >> 22) & 63);
}

/** Remembers that a page above 4 KiB was put into a TLB, so that INVLPG finds its other parts. */
export function note_page_size(cpu: u32, va: u64): void {
  if (walk_mask == PAGE) return;
  // A 1 GiB page lies in more regions than the filter tells apart.
  const bits = walk_mask & 0x400000 ? region_bit(va) : INVALID;
  store<u64>(cpu + CPU_TLB_LARGE, load<u64>(cpu + CPU_TLB_LARGE) | bits);
}

/**
 * Puts the result of the last walk, whose page is RAM with this P2M entry, into a context's TLB; not a page with a
 * data breakpoint.
 */
export function tlb_fill(cpu: u32, ctx: u32, va: u64, p2m: u32): void {
  if (page_watched(cpu, va)) return;
  const at = tlb_entry(cpu, ctx, va);
  const page = va & PAGE;
  const direct = walk_writable && (p2m & (P2M_WRITABLE | P2M_HOOKED)) == P2M_WRITABLE;
  store<u64>(at + TLB_TAG_READ, page);
  store<u64>(at + TLB_TAG_WRITE, direct ? page : INVALID);
  store<u32>(at + TLB_ADDEND, (p2m & 0xfffff000) - <u32>page);
  store<u32>(at + TLB_FRAME, <u32>(walk_gpa >> 12));
  store<u64>(at + TLB_INFO, walk_mask | (walk_global ? INFO_GLOBAL : 0));
  store<u32>(cpu + CPU_TLB_USED, load<u32>(cpu + CPU_TLB_USED) | (1 << ctx));
  store<u64>(cpu + CPU_N_TLB_MISS, load<u64>(cpu + CPU_N_TLB_MISS) + 1);
  note_page_size(cpu, va);
}

/** Drops everything, global pages included. */
export function flush_all(cpu: u32): void {
  memory.fill(cpu + TLB_OFFSET, 0xff, TLB_BYTES * 4);
  memory.fill(cpu + ITLB_OFFSET, 0xff, ITLB_ENTRIES * ITLB_ENTRY_SIZE);
  store<u64>(cpu + CPU_TLB_LARGE, 0);
  store<u32>(cpu + CPU_TLB_USED, 0);
}

/** Drops what is not global: what a CR3 load does. */
export function flush_non_global(cpu: u32): void {
  const used = load<u32>(cpu + CPU_TLB_USED);
  for (let ctx: u32 = 0; ctx < TABLES; ctx++) {
    if (!(used & (1 << ctx))) continue;
    const end = cpu + TLB_OFFSET + (ctx + 1) * TLB_BYTES;
    for (let at = end - TLB_BYTES; at < end; at += TLB_ENTRY_SIZE) {
      if (load<u64>(at + TLB_INFO) & INFO_GLOBAL) continue;
      store<u64>(at + TLB_TAG_READ, INVALID);
      store<u64>(at + TLB_TAG_WRITE, INVALID);
    }
  }
  const end = cpu + ITLB_OFFSET + ITLB_ENTRIES * ITLB_ENTRY_SIZE;
  for (let at = cpu + ITLB_OFFSET; at < end; at += ITLB_ENTRY_SIZE) {
    if (!(load<u32>(at + ITLB_FRAME) & ITLB_GLOBAL)) store<u64>(at + ITLB_TAG, INVALID);
  }
}

/** Drops the entries of one context that belong to the guest page, of any size, around `va`. */
function flush_region(cpu: u32, ctx: u32, va: u64): void {
  const end = cpu + TLB_OFFSET + (ctx + 1) * TLB_BYTES;
  for (let at = end - TLB_BYTES; at < end; at += TLB_ENTRY_SIZE) {
    if ((load<u64>(at + TLB_TAG_READ) ^ va) & load<u64>(at + TLB_INFO) & PAGE) continue;
    store<u64>(at + TLB_TAG_READ, INVALID);
    store<u64>(at + TLB_TAG_WRITE, INVALID);
  }
}

/** Drops the page around `va`, global or not: what INVLPG does. A large page goes as a whole. */
export function flush_page(cpu: u32, va: u64): void {
  const large = (load<u64>(cpu + CPU_TLB_LARGE) & region_bit(va)) != 0;
  const used = load<u32>(cpu + CPU_TLB_USED);
  for (let ctx: u32 = 0; ctx < TABLES; ctx++) {
    if (!(used & (1 << ctx))) continue;
    if (large) {
      flush_region(cpu, ctx, va);
      continue;
    }
    const at = tlb_entry(cpu, ctx, va);
    if (load<u64>(at + TLB_TAG_READ) != (va & PAGE)) continue;
    store<u64>(at + TLB_TAG_READ, INVALID);
    store<u64>(at + TLB_TAG_WRITE, INVALID);
  }
  if (large) memory.fill(cpu + ITLB_OFFSET, 0xff, ITLB_ENTRIES * ITLB_ENTRY_SIZE);
  else {
    const at = cpu + ITLB_OFFSET + (<u32>(va >> 12) & (ITLB_ENTRIES - 1)) * ITLB_ENTRY_SIZE;
    if ((load<u64>(at + ITLB_TAG) & PAGE) == (va & PAGE)) store<u64>(at + ITLB_TAG, INVALID);
  }
}

/** Drops all data entries of a frame: its P2M entry points elsewhere now. */
export function tlb_drop_frame(cpu: u32, frame: u32): void {
  const end = cpu + TLB_OFFSET + TABLES * TLB_BYTES;
  for (let at = cpu + TLB_OFFSET; at < end; at += TLB_ENTRY_SIZE) {
    if (load<u32>(at + TLB_FRAME) != frame) continue;
    store<u64>(at + TLB_TAG_READ, INVALID);
    store<u64>(at + TLB_TAG_WRITE, INVALID);
  }
}

/** Makes stores to a frame take the slow path: its P2M entry got CODE, LOG_DIRTY or COW. */
export function tlb_protect_frame(cpu: u32, frame: u32): void {
  const end = cpu + TLB_OFFSET + TABLES * TLB_BYTES;
  for (let at = cpu + TLB_OFFSET; at < end; at += TLB_ENTRY_SIZE) {
    if (load<u32>(at + TLB_FRAME) == frame) store<u64>(at + TLB_TAG_WRITE, INVALID);
  }
}

/** Tag of an instruction TLB entry for a linear address in the current mode and privilege. */
export function itlb_tag(cpu: u32, va: u64): u64 {
  return (va & PAGE) | load<u32>(cpu + CPU_ITLB_CTX);
}
