// The second-level TLB: what walks found, for all access contexts and for instructions, tagged by address space.
//
// A tag is a linear page address with a number in its low 12 bits: that of the address space (stlb_tag), or that of
// global pages (stlb_global). To forget an address space it gets a new number; when numbers run out all is emptied.
// Pages above 4 KiB are kept in 2 MiB parts in a table of their own.

import { a20 } from './frames';
import {
  CPU_N_WALK,
  CPU_SPACE,
  CPU_STLB_GLOBAL,
  CPU_STLB_HAS,
  CPU_STLB_NEXT_TAG,
  CPU_STLB_TAG,
  CPU_STLB_VICTIM,
  CPU_TLB_HUGE,
  CR0_PG,
  STLB_ENTRY_SIZE,
  STLB_LARGE_OFFSET,
  STLB_LARGE_SETS,
  STLB_OFFSET,
  STLB_PAGE,
  STLB_SETS,
  STLB_TAG,
  STLB_WAYS,
  TLB_LARGE_BITS,
  TLB_LARGE_OFFSET,
  TLB_SPACES,
} from './gen/layout';
import { cr0 } from './state';
import {
  ACCESS_WRITE,
  allowed,
  page_mask,
  RIGHT_DIRTY,
  RIGHT_GLOBAL,
  SIZE_1G,
  SIZE_4M,
  SIZE_BITS,
  walk,
  walk_gpa,
  walk_rights,
} from './walk';

const INVALID: u64 = ~(<u64>0);
const PAGE: u64 = ~(<u64>0xfff);
const PART: u64 = ~(<u64>0x1fffff);
const PART_BYTES: u64 = 0x200000;
const ADDRESS: u64 = 0x000ffffffffff000;
const RIGHTS: u32 = 0xfff;
const SET_BYTES: u32 = STLB_WAYS * STLB_ENTRY_SIZE;
/** The highest number of a tag: that of an invalid entry. */
const LAST_TAG: u32 = 0xfff;

/** gpa of the byte that was asked for. */
export let found_gpa: u64 = 0;
/** RIGHT_* and SIZE_* of its page. */
export let found_rights: u32 = 0;

// What is in the second-level TLB since it was emptied, for each half of the address space (the upper one 4 bits up).
const HAS_SMALL: u32 = 1;
const HAS_LARGE: u32 = 2;
const HAS_GLOBAL_SMALL: u32 = 4;
const HAS_GLOBAL_LARGE: u32 = 8;
/** Shift of these bits for an address. */
function half(va: u64): u32 {
  return (<u32>(va >> 63)) << 2;
}

// Sets are found by address and owner, because programs lie at the same addresses in all address spaces; not by tag
// number, so that an address space that is forgotten and filled again uses the same cache lines of the host.
/** Owner of global pages; that of others is the number of the address space. */
const GLOBAL: u32 = TLB_SPACES;

/** First entry of the set for a 4 KiB page of an owner. */
function small_set(cpu: u32, va: u64, owner: u32): u32 {
  return cpu + STLB_OFFSET + ((<u32>(va >> 12) ^ (owner * 0x1f3)) & (STLB_SETS - 1)) * SET_BYTES;
}
/** First entry of the set for a 2 MiB part. */
function large_set(cpu: u32, va: u64, owner: u32): u32 {
  return cpu + STLB_LARGE_OFFSET + ((<u32>(va >> 21) ^ (owner * 0x35)) & (STLB_LARGE_SETS - 1)) * SET_BYTES;
}

/** The entry of a set that has a tag, or 0. */
function probe(set: u32, tag: u64): u32 {
  // Without branches: which way it is cannot be foreseen.
  let at = select<u32>(set, 0, load<u64>(set, STLB_TAG) == tag);
  at = select<u32>(set + STLB_ENTRY_SIZE, at, load<u64>(set, STLB_ENTRY_SIZE + STLB_TAG) == tag);
  at = select<u32>(set + 2 * STLB_ENTRY_SIZE, at, load<u64>(set, 2 * STLB_ENTRY_SIZE + STLB_TAG) == tag);
  return select<u32>(set + 3 * STLB_ENTRY_SIZE, at, load<u64>(set, 3 * STLB_ENTRY_SIZE + STLB_TAG) == tag);
}
function probe_small(cpu: u32, va: u64, number: u32, owner: u32): u32 {
  return probe(small_set(cpu, va, owner), (va & PAGE) | number);
}
function probe_large(cpu: u32, va: u64, number: u32, owner: u32): u32 {
  return probe(large_set(cpu, va, owner), (va & PART) | number);
}
/** The entry for `va` in the current address space, or 0. */
function search(cpu: u32, va: u64): u32 {
  const has = load<u32>(cpu, CPU_STLB_HAS) >> half(va);
  const own = load<u32>(cpu, CPU_STLB_TAG);
  const space = load<u32>(cpu, CPU_SPACE);
  const global = load<u32>(cpu, CPU_STLB_GLOBAL);
  let at: u32 = 0;
  if (has & HAS_GLOBAL_LARGE) at = probe_large(cpu, va, global, GLOBAL);
  if (at == 0 && has & HAS_SMALL) at = probe_small(cpu, va, own, space);
  if (at == 0 && has & HAS_GLOBAL_SMALL) at = probe_small(cpu, va, global, GLOBAL);
  if (at == 0 && has & HAS_LARGE) at = probe_large(cpu, va, own, space);
  return at;
}

/** Puts an entry into a set: over one with its tag, so that no tag is there twice, else over any. */
function put(cpu: u32, set: u32, tag: u64, page: u64): void {
  let at = probe(set, tag);
  if (at == 0) {
    const victim = load<u32>(cpu, CPU_STLB_VICTIM);
    store<u32>(cpu, victim + 1, CPU_STLB_VICTIM);
    at = set + (victim & (STLB_WAYS - 1)) * STLB_ENTRY_SIZE;
    store<u64>(at, tag, STLB_TAG);
  }
  store<u64>(at, page, STLB_PAGE);
}

/** Keeps the result of the last walk. */
function insert(cpu: u32, va: u64): void {
  const rights = walk_rights;
  const global = (rights & RIGHT_GLOBAL) != 0;
  const number = load<u32>(cpu + (global ? CPU_STLB_GLOBAL : CPU_STLB_TAG));
  const owner = global ? GLOBAL : load<u32>(cpu, CPU_SPACE);
  let has: u32 = 0;
  if (!(rights & SIZE_BITS)) {
    put(cpu, small_set(cpu, va, owner), (va & PAGE) | number, (walk_gpa & PAGE) | rights);
    has = global ? HAS_GLOBAL_SMALL : HAS_SMALL;
  } else {
    put(cpu, large_set(cpu, va, owner), (va & PART) | number, (walk_gpa & PART) | rights);
    note_large(cpu, va, rights & SIZE_BITS);
    has = global ? HAS_GLOBAL_LARGE : HAS_LARGE;
  }
  store<u32>(cpu, load<u32>(cpu, CPU_STLB_HAS) | (has << half(va)), CPU_STLB_HAS);
}

function mark_region(cpu: u32, va: u64): void {
  const bit = <u32>(va >> 21) & (TLB_LARGE_BITS - 1);
  const at = cpu + TLB_LARGE_OFFSET + (bit >> 3);
  store<u8>(at, load<u8>(at) | <u8>((<u32>1) << (bit & 7)));
}
/** Remembers that a page above 4 KiB was put into a TLB, so that INVLPG finds its other parts. */
function note_large(cpu: u32, va: u64, size: u32): void {
  if (size == SIZE_1G) {
    store<u64>(cpu, load<u64>(cpu, CPU_TLB_HUGE) | ((<u64>1) << ((va >> 30) & 63)), CPU_TLB_HUGE);
    return;
  }
  mark_region(cpu, va);
  if (size == SIZE_4M) mark_region(cpu, va ^ PART_BYTES);
}
/** Whether a page above 4 KiB around `va` may be in a TLB. */
export function may_be_large(cpu: u32, va: u64): bool {
  if ((load<u64>(cpu, CPU_TLB_HUGE) >> ((va >> 30) & 63)) & 1) return true;
  const bit = <u32>(va >> 21) & (TLB_LARGE_BITS - 1);
  return ((load<u8>(cpu + (bit >> 3), TLB_LARGE_OFFSET) >> <u8>(bit & 7)) & 1) != 0;
}

function take(cpu: u32, va: u64, at: u32, page: u64): void {
  const within = at < cpu + STLB_LARGE_OFFSET ? ~PAGE : ~PART;
  found_gpa = a20(cpu, (page & ADDRESS) | (va & within));
  found_rights = <u32>page & RIGHTS;
}

/**
 * Translates a canonical linear address for an access (ACCESS_* bits), walking if it must. True: found_gpa and
 * found_rights are set. False: walk_error is the page-fault error code; it is always that of a walk.
 */
export function find(cpu: u32, va: u64, access: u32): bool {
  const at = search(cpu, va);
  if (at != 0) {
    const page = load<u64>(at, STLB_PAGE);
    const rights = <u32>page;
    if (allowed(cpu, access, rights) && (!(access & ACCESS_WRITE) || rights & RIGHT_DIRTY)) {
      take(cpu, va, at, page);
      return true;
    }
    // The tables may allow more by now.
    store<u64>(at, INVALID, STLB_TAG);
  }
  store<u64>(cpu, load<u64>(cpu, CPU_N_WALK) + 1, CPU_N_WALK);
  if (!walk(cpu, va, access)) return false;
  found_gpa = a20(cpu, walk_gpa);
  found_rights = walk_rights;
  if (cr0(cpu) & CR0_PG) insert(cpu, va);
  return true;
}

function drop(at: u32): void {
  if (at != 0) store<u64>(at, INVALID, STLB_TAG);
}
/** Drops all parts of a 1 GiB page, whose ever it is. */
function drop_huge(cpu: u32, va: u64): void {
  const end = cpu + STLB_LARGE_OFFSET + STLB_LARGE_SETS * SET_BYTES;
  const mask = page_mask(SIZE_1G);
  for (let at = cpu + STLB_LARGE_OFFSET; at < end; at += STLB_ENTRY_SIZE) {
    if ((<u32>load<u64>(at, STLB_PAGE) & SIZE_BITS) != SIZE_1G) continue;
    if (((load<u64>(at, STLB_TAG) ^ va) & mask) == 0) store<u64>(at, INVALID, STLB_TAG);
  }
}

/** Drops the page around `va`, of any size, of an address space with tag number `own`, and if it is global. */
export function stlb_drop_page(cpu: u32, va: u64, space: u32, own: u32, large: bool): void {
  const global = load<u32>(cpu, CPU_STLB_GLOBAL);
  drop(probe_small(cpu, va, own, space));
  drop(probe_small(cpu, va, global, GLOBAL));
  if (!large) return;
  // Both halves of what may be a 4 MiB page.
  for (let i: u64 = 0; i < 2; i++) {
    drop(probe_large(cpu, va ^ (i * PART_BYTES), own, space));
    drop(probe_large(cpu, va ^ (i * PART_BYTES), global, GLOBAL));
  }
  if ((load<u64>(cpu, CPU_TLB_HUGE) >> ((va >> 30) & 63)) & 1) drop_huge(cpu, va);
}

/** Whether `n` new tag numbers are left. */
export function tags_left(cpu: u32, n: u32): bool {
  const next = load<u32>(cpu, CPU_STLB_NEXT_TAG);
  return next != 0 && next + n <= LAST_TAG;
}
/** A tag number that no entry has. */
export function new_tag(cpu: u32): u32 {
  const tag = load<u32>(cpu, CPU_STLB_NEXT_TAG);
  store<u32>(cpu, tag + 1, CPU_STLB_NEXT_TAG);
  return tag;
}
/** Empties the second-level TLB; all tag numbers are free again. */
export function stlb_empty(cpu: u32): void {
  memory.fill(cpu + STLB_OFFSET, 0xff, (STLB_SETS + STLB_LARGE_SETS) * SET_BYTES);
  store<u32>(cpu, 1, CPU_STLB_NEXT_TAG);
  store<u32>(cpu, 0, CPU_STLB_HAS);
}
