// The data TLBs that handlers and regions look into: filling them, dropping entries, taking rights out of them.
//
// INFO of an entry: bits 12-63 mask of the guest page (see page_mask), bit 0 global. Each table keeps a log of the
// entries filled that are not global, so that a CR3 load costs what was filled since the last one.

import { P2M_HOOKED } from './frames';
import {
  CPU_N_TLB_MISS,
  CPU_TLB_LOGGED,
  CPU_TLB_USED,
  CPU_TLB_USER,
  CPU_TLB_USER_GLOBAL,
  P2M_WRITABLE,
  TLB_ADDEND,
  TLB_BYTES,
  TLB_CONTEXTS,
  TLB_CTX_SUPERVISOR,
  TLB_CTX_SUPERVISOR_AC,
  TLB_CTX_USER,
  TLB_ENTRIES,
  TLB_ENTRY_SIZE,
  TLB_FRAME,
  TLB_INFO,
  TLB_LOG_ENTRIES,
  TLB_LOG_OFFSET,
  TLB_OFFSET,
  TLB_TABLES,
  TLB_TAG_READ,
  TLB_TAG_WRITE,
  TLB_WRITTEN_BITS,
  TLB_WRITTEN_OFFSET,
} from './gen/layout';
import { found_gpa, found_rights } from './stlb';
import { ACCESS_USER, may_write, page_mask, RIGHT_DIRTY, RIGHT_GLOBAL } from './walk';
import { page_watched } from './watch';
import { wide_forget } from './wide-tlb';

/** A tag that matches no page. */
const INVALID: u64 = ~(<u64>0);
const PAGE: u64 = ~(<u64>0xfff);
const INFO_GLOBAL: u64 = 1;
const SUPERVISOR_TABLES: u32 = (1 << TLB_CTX_SUPERVISOR) | (1 << TLB_CTX_SUPERVISOR_AC);

/** Number of the table of users in an address space. */
export function user_table(space: u32): u32 {
  return space == 0 ? TLB_CTX_USER : TLB_CONTEXTS + space - 1;
}
export function table_address(cpu: u32, table: u32): u32 {
  return cpu + TLB_OFFSET + table * TLB_BYTES;
}
function entry_in(table: u32, va: u64): u32 {
  return table + (<u32>(va >> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_SIZE;
}

/** Address of the data TLB entry for a linear address in an access context of the current address space. */
export function tlb_entry(cpu: u32, ctx: u32, va: u64): u32 {
  return entry_in(ctx == TLB_CTX_USER ? load<u32>(cpu, CPU_TLB_USER) : table_address(cpu, ctx), va);
}

function invalidate(at: u32): void {
  store<u64>(at, INVALID, TLB_TAG_READ);
  store<u64>(at, INVALID, TLB_TAG_WRITE);
}

/** Byte of the filter of written frames that a frame's bit is in. */
function written_byte(cpu: u32, frame: u32): u32 {
  return cpu + TLB_WRITTEN_OFFSET + ((frame & (TLB_WRITTEN_BITS - 1)) >> 3);
}

/** Notes an entry that the next CR3 load has to drop. */
function log_entry(cpu: u32, table: u32, at: u32): void {
  const counter = cpu + CPU_TLB_LOGGED + table * 4;
  const count = load<u32>(counter);
  if (count > TLB_LOG_ENTRIES) return;
  store<u32>(counter, count + 1);
  if (count == TLB_LOG_ENTRIES) return;
  const index = (at - table_address(cpu, table)) / TLB_ENTRY_SIZE;
  store<u16>(cpu + (table * TLB_LOG_ENTRIES + count) * 2, <u16>index, TLB_LOG_OFFSET);
}

/**
 * Puts what `find` found for a context, whose page is RAM with this P2M entry, into the context's TLB; not a page
 * with a data breakpoint.
 */
export function tlb_fill(cpu: u32, ctx: u32, va: u64, p2m: u32): void {
  if (page_watched(cpu, va)) return;
  const at = tlb_entry(cpu, ctx, va);
  const table = (at - cpu - TLB_OFFSET) / TLB_BYTES;
  const page = va & PAGE;
  const rights = found_rights;
  const frame = <u32>(found_gpa >> 12);
  const user: u32 = ctx == TLB_CTX_USER ? ACCESS_USER : 0;
  let direct = (p2m & (P2M_WRITABLE | P2M_HOOKED)) == P2M_WRITABLE;
  direct = direct && (rights & RIGHT_DIRTY) != 0 && may_write(cpu, user, rights);
  store<u64>(at, page, TLB_TAG_READ);
  store<u64>(at, direct ? page : INVALID, TLB_TAG_WRITE);
  store<u32>(at, (p2m & 0xfffff000) - <u32>page, TLB_ADDEND);
  store<u32>(at, frame, TLB_FRAME);
  const global = (rights & RIGHT_GLOBAL) != 0;
  store<u64>(at, page_mask(rights) | (global ? INFO_GLOBAL : 0), TLB_INFO);
  if (direct) {
    const byte = written_byte(cpu, frame);
    store<u8>(byte, load<u8>(byte) | <u8>((<u32>1) << (frame & 7)));
  }
  if (!global) log_entry(cpu, table, at);
  else if (user) store<u32>(cpu, 1, CPU_TLB_USER_GLOBAL);
  store<u32>(cpu, load<u32>(cpu, CPU_TLB_USED) | (1 << table), CPU_TLB_USED);
  store<u64>(cpu, load<u64>(cpu, CPU_N_TLB_MISS) + 1, CPU_N_TLB_MISS);
}

/** Empties the tables, all of them the first time. */
export function tlb_empty(cpu: u32, first: bool): void {
  wide_forget(cpu);
  const used = load<u32>(cpu, CPU_TLB_USED);
  for (let table: u32 = 0; table < TLB_TABLES; table++) {
    if (first || used & (1 << table)) memory.fill(table_address(cpu, table), 0xff, TLB_BYTES);
    store<u32>(cpu + table * 4, 0, CPU_TLB_LOGGED);
  }
  memory.fill(cpu + TLB_WRITTEN_OFFSET, 0, TLB_WRITTEN_BITS / 8);
  store<u32>(cpu, 0, CPU_TLB_USED);
  store<u32>(cpu, 0, CPU_TLB_USER_GLOBAL);
}

/** Drops what is not global from a table. */
function drop_non_global(cpu: u32, table: u32): void {
  wide_forget(cpu);
  const count = load<u32>(cpu + table * 4, CPU_TLB_LOGGED);
  store<u32>(cpu + table * 4, 0, CPU_TLB_LOGGED);
  const start = table_address(cpu, table);
  if (count <= TLB_LOG_ENTRIES) {
    const log = cpu + TLB_LOG_OFFSET + table * TLB_LOG_ENTRIES * 2;
    for (let i: u32 = 0; i < count; i++) {
      const at = start + <u32>load<u16>(log + i * 2) * TLB_ENTRY_SIZE;
      if (!(load<u64>(at, TLB_INFO) & INFO_GLOBAL)) invalidate(at);
    }
    return;
  }
  if (!((1 << table) & SUPERVISOR_TABLES)) {
    // A user's global pages are few; they go with the rest.
    memory.fill(start, 0xff, TLB_BYTES);
    return;
  }
  for (let at = start; at < start + TLB_BYTES; at += TLB_ENTRY_SIZE) {
    if (!(load<u64>(at, TLB_INFO) & INFO_GLOBAL)) invalidate(at);
  }
}
/** Drops what is not global of a user of an address space. */
export function tlb_drop_user(cpu: u32, space: u32): void {
  drop_non_global(cpu, user_table(space));
}
/** Drops what is not global from the supervisor's tables: they hold the current address space and global pages. */
export function tlb_drop_supervisor(cpu: u32): void {
  drop_non_global(cpu, TLB_CTX_SUPERVISOR);
  drop_non_global(cpu, TLB_CTX_SUPERVISOR_AC);
}

/** Tables in use that may hold a page of an address space, or a global page if `globals`, a bit each. */
export function tables_with(cpu: u32, space: u32, globals: bool): u32 {
  const used = load<u32>(cpu, CPU_TLB_USED);
  if (globals && load<u32>(cpu, CPU_TLB_USER_GLOBAL)) return used;
  return used & ((1 << user_table(space)) | (globals ? SUPERVISOR_TABLES : 0));
}

/** Drops the entries that belong to the guest page, of any size, around `va`. */
function drop_region(start: u32, va: u64): void {
  for (let at = start; at < start + TLB_BYTES; at += TLB_ENTRY_SIZE) {
    if (((load<u64>(at, TLB_TAG_READ) ^ va) & load<u64>(at, TLB_INFO) & PAGE) == 0) invalidate(at);
  }
}
/** Drops the page around `va` from some tables; if it may be `large`, all of it. */
export function tlb_drop_page(cpu: u32, tables: u32, va: u64, large: bool): void {
  wide_forget(cpu);
  for (let left = tables; left != 0; left &= left - 1) {
    const start = table_address(cpu, ctz(left));
    if (large) {
      drop_region(start, va);
      continue;
    }
    const at = entry_in(start, va);
    if (load<u64>(at, TLB_TAG_READ) == (va & PAGE)) invalidate(at);
  }
}
/** Drops what is known of the 4 KiB around `va` in all address spaces: a data breakpoint was set there or cleared. */
export function tlb_forget(cpu: u32, va: u64): void {
  tlb_drop_page(cpu, load<u32>(cpu, CPU_TLB_USED), va, false);
}

/** Drops all data entries of a frame: its P2M entry points elsewhere now. */
export function tlb_drop_frame(cpu: u32, frame: u32): void {
  wide_forget(cpu);
  for (let left = load<u32>(cpu, CPU_TLB_USED); left != 0; left &= left - 1) {
    const start = table_address(cpu, ctz(left));
    for (let at = start; at < start + TLB_BYTES; at += TLB_ENTRY_SIZE) {
      if (load<u32>(at, TLB_FRAME) == frame) invalidate(at);
    }
  }
}

/** Makes stores to a frame take the slow path: its P2M entry got CODE, LOG_DIRTY or COW. */
export function tlb_protect_frame(cpu: u32, frame: u32): void {
  const byte = written_byte(cpu, frame);
  const bit: u32 = 1 << (frame & 7);
  if (!(<u32>load<u8>(byte) & bit)) return;
  wide_forget(cpu);
  // All frames that share the bit lose the right, so that the bit may be cleared.
  store<u8>(byte, <u8>(<u32>load<u8>(byte) & ~bit));
  for (let left = load<u32>(cpu, CPU_TLB_USED); left != 0; left &= left - 1) {
    const start = table_address(cpu, ctz(left));
    for (let at = start; at < start + TLB_BYTES; at += TLB_ENTRY_SIZE) {
      if (((load<u32>(at, TLB_FRAME) ^ frame) & (TLB_WRITTEN_BITS - 1)) == 0) store<u64>(at, INVALID, TLB_TAG_WRITE);
    }
  }
}
