// What is decoded of each frame: code pages (CODE_PAGE) with their records, found by frame and mode, dropped when a
// store or a device writes to the decoded bytes. Records of a dropped page are overwritten with the resync handler,
// so a chain that is inside the page at that moment looks its next instruction up anew.

import {
  CODE_PAGE_CHUNK,
  CODE_PAGE_DROPS,
  CODE_PAGE_ENTRY,
  CODE_PAGE_FRAME,
  CODE_PAGE_GRANULES,
  CODE_PAGE_MODE,
  CODE_PAGE_NEXT,
  CODE_PAGE_SIZE,
  CPU_CODE_BASE,
  CPU_CODE_MASK,
  CPU_EXEC_GLOBAL,
  CPU_ITLB_CTX,
  CPU_JUMP_KEY,
  CPU_MODE,
  CPU_N_SMC,
  CPU_P2M,
  CPU_P2M_FRAMES,
  CPU_PAGE_BASE,
  CPU_RIP,
  CPU_SEG_LIMIT,
  ITLB_CTX_NEVER,
  ITLB_FRAME,
  ITLB_PAGE,
  ITLB_TAG,
  MODE_CODE64,
  P2M_CODE,
  REC_A,
  REC_HANDLER,
  REC_OFFSET,
  REC_SIZE,
  REGION_PAGE_KEY,
  REGION_PAGE_LINEAR,
  SEG_CS,
} from './gen/layout';
import { empty_jumps, itlb_entry, itlb_fill, note_jumps } from './itlb';
import { exec_translate } from './mmu';
import { tlb_protect_frame } from './tlb';

/** Granules of 64 bytes, one bit each in CODE_PAGE.GRANULES. */
const GRANULE_SHIFT: u32 = 6;
/** A chunk of records: u32 next chunk, u32 number of records, 8 bytes free, records. */
const CHUNK_HEAD: u32 = 16;

let map: u32 = 0; // u32 per frame: first code page of the frame, or 0
let pages_start: u32 = 0;
let pages_next: u32 = 0;
let pages_end: u32 = 0;
let records_start: u32 = 0;
let records_next: u32 = 0;
let records_end: u32 = 0;
let resync_handler: u32 = 0;

/** Tells where the tables are (absolute addresses) and which handler index means "look it up anew". */
export function code_init(frame_map: u32, pages: u32, pages_limit: u32, records: u32, limit: u32, resync: u32): void {
  map = frame_map;
  pages_start = pages_next = pages;
  pages_end = pages_limit;
  records_start = records_next = records;
  records_end = limit;
  resync_handler = resync;
}

/** The code page of a frame in a mode, made if there is none; 0 when the arena is full (then code_reset). */
export function code_page(frame: u32, mode: u32): u32 {
  const head = map + (frame << 2);
  for (let page = load<u32>(head); page != 0; page = load<u32>(page, CODE_PAGE_NEXT)) {
    if (load<u32>(page, CODE_PAGE_MODE) == mode) return page;
  }
  if (pages_next + CODE_PAGE_SIZE > pages_end) return 0;
  const page = pages_next;
  pages_next += CODE_PAGE_SIZE;
  memory.fill(page, 0, CODE_PAGE_SIZE);
  store<u32>(page, frame, CODE_PAGE_FRAME);
  store<u32>(page, mode, CODE_PAGE_MODE);
  store<u32>(page, load<u32>(head), CODE_PAGE_NEXT);
  store<u32>(head, page);
  return page;
}

/** The code page of a frame in a mode if there is one, else 0. */
function known_page(frame: u32, mode: u32): u32 {
  let page = load<u32>(map + (frame << 2));
  while (page != 0 && load<u32>(page, CODE_PAGE_MODE) != mode) page = load<u32>(page, CODE_PAGE_NEXT);
  return page;
}

/**
 * The record at the field rip where it is decoded already and only the instruction TLB did not know the page; fills
 * the TLB. 0: the decoder has to look, also where the fetch would fault or every fetch is looked at.
 */
export function fetch_record(cpu: u32): u32 {
  const ctx = load<u32>(cpu, CPU_ITLB_CTX);
  if (ctx & ITLB_CTX_NEVER) return 0;
  const rip = load<u64>(cpu, CPU_RIP);
  const linear = (rip + load<u64>(cpu, CPU_CODE_BASE)) & load<u64>(cpu, CPU_CODE_MASK);
  const within = <u32>linear & 0xfff;
  const mode = load<u32>(cpu, CPU_MODE);
  if (!(mode & MODE_CODE64)) {
    const last = rip + (4095 - within);
    if (last > <u64>load<u32>(cpu, CPU_SEG_LIMIT + SEG_CS * 4)) return 0;
  }
  const gpa = exec_translate(cpu, linear);
  if (gpa == ~(<u64>0)) return 0;
  const frame = <u32>(gpa >> 12);
  if (gpa >> 12 >= <u64>load<u32>(cpu, CPU_P2M_FRAMES)) return 0;
  const page = known_page(frame, mode);
  if (page == 0) return 0;
  itlb_fill(cpu, linear, frame, page, load<u32>(cpu, CPU_EXEC_GLOBAL));
  return load<u32>(page + (within << 2), CODE_PAGE_ENTRY);
}

/**
 * Whether the page at `linear` is still executed from this code page, whose records were dropped `drops` times: asked by
 * a region before it goes into a page other than that of its entry. 0 also when a fetch there would fault. What holds is
 * noted in the REGION_PAGE at `place`, if known jumps to that page would last.
 */
export function page_holds(cpu: u32, linear: u64, page: u32, drops: u32, place: u32): u32 {
  if (load<u32>(page, CODE_PAGE_DROPS) != drops) return 0;
  const entry = itlb_entry(cpu, linear);
  if (load<u64>(entry, ITLB_TAG) != (linear | load<u32>(cpu, CPU_ITLB_CTX))) {
    if (load<u32>(cpu, CPU_ITLB_CTX) & ITLB_CTX_NEVER) return 0;
    const gpa = exec_translate(cpu, linear);
    if (gpa >> 12 >= <u64>load<u32>(cpu, CPU_P2M_FRAMES)) return 0;
    const frame = <u32>(gpa >> 12);
    if (known_page(frame, load<u32>(cpu, CPU_MODE)) != page) return 0;
    itlb_fill(cpu, linear, frame, page, load<u32>(cpu, CPU_EXEC_GLOBAL));
  } else if (load<u32>(entry, ITLB_PAGE) != page) return 0;
  if (note_jumps(cpu, linear, load<u32>(entry, ITLB_FRAME))) {
    store<u64>(place, linear, REGION_PAGE_LINEAR);
    store<u64>(place, load<u64>(cpu, CPU_JUMP_KEY), REGION_PAGE_KEY);
  }
  return 1;
}

/** Room for `count` records in a code page: the address of the first, or 0 when the arena is full. */
export function code_records(page: u32, count: u32): u32 {
  const size = CHUNK_HEAD + count * REC_SIZE;
  if (records_next + size > records_end) return 0;
  const chunk = records_next;
  records_next += size;
  store<u32>(chunk, load<u32>(page, CODE_PAGE_CHUNK));
  store<u32>(chunk, count, 4);
  store<u32>(page, chunk, CODE_PAGE_CHUNK);
  return chunk + CHUNK_HEAD;
}

function granule_bits(from: u32, to: u32): u64 {
  const first = from >> GRANULE_SHIFT;
  const last = (to > 4096 ? 4095 : to - 1) >> GRANULE_SHIFT;
  return (~(<u64>0) << first) & (~(<u64>0) >> (63 - last));
}

/** Notes that bytes [from, to) of a code page are decoded; from now on stores to the frame are looked at. */
export function code_mark(cpu: u32, page: u32, from: u32, to: u32): void {
  store<u64>(page, load<u64>(page, CODE_PAGE_GRANULES) | granule_bits(from, to), CODE_PAGE_GRANULES);
  const frame = load<u32>(page, CODE_PAGE_FRAME);
  const entry = load<u32>(cpu, CPU_P2M) + (frame << 2);
  const p2m = load<u32>(entry);
  if (p2m & P2M_CODE) return;
  store<u32>(entry, p2m | P2M_CODE);
  tlb_protect_frame(cpu, frame);
}

/** A store of `size` bytes at `offset` of a frame that holds decoded code: drops what it changes. */
export function code_written(cpu: u32, frame: u32, offset: u32, size: u32): void {
  const bits = granule_bits(offset, offset + size);
  let left: u64 = 0;
  for (let page = load<u32>(map + (frame << 2)); page != 0; page = load<u32>(page, CODE_PAGE_NEXT)) {
    if (load<u64>(page, CODE_PAGE_GRANULES) & bits) {
      drop(page);
      store<u64>(cpu, load<u64>(cpu, CPU_N_SMC) + 1, CPU_N_SMC);
    }
    left |= load<u64>(page, CODE_PAGE_GRANULES);
  }
  if (left) return;
  const entry = load<u32>(cpu, CPU_P2M) + (frame << 2);
  store<u32>(entry, load<u32>(entry) & ~P2M_CODE);
}

function drop(page: u32): void {
  for (let chunk = load<u32>(page, CODE_PAGE_CHUNK); chunk != 0; chunk = load<u32>(chunk)) {
    let rec = chunk + CHUNK_HEAD;
    for (let n = load<u32>(chunk, 4); n != 0; n--) {
      store<u16>(rec, <u16>resync_handler, REC_HANDLER);
      rec += REC_SIZE;
    }
  }
  store<u32>(page, 0, CODE_PAGE_CHUNK);
  store<u32>(page, load<u32>(page, CODE_PAGE_DROPS) + 1, CODE_PAGE_DROPS);
  store<u64>(page, 0, CODE_PAGE_GRANULES);
  memory.fill(page + CODE_PAGE_ENTRY, 0, 4096 * 4);
}

/** Drops everything. No chain may be running; the caller flushes the instruction TLBs. */
export function code_reset(cpu: u32): void {
  const p2m = load<u32>(cpu, CPU_P2M);
  for (let page = pages_start; page < pages_next; page += CODE_PAGE_SIZE) {
    const frame = load<u32>(page, CODE_PAGE_FRAME);
    store<u32>(map + (frame << 2), 0);
    const entry = p2m + (frame << 2);
    store<u32>(entry, load<u32>(entry) & ~P2M_CODE);
  }
  pages_next = pages_start;
  records_next = records_start;
  empty_jumps(cpu);
}

/** Bytes in use by records, for statistics. */
export function code_bytes(): u32 {
  return records_next - records_start;
}

/**
 * Guard of an instruction that crosses into the next page: are its bytes there still those that were decoded?
 * The record after the guard holds up to 14 bytes, and at +16 the code page, whose entry is cleared if not; nobody who
 * knows the guard goes by it then.
 */
export function straddle_holds(cpu: u32, rec: u32): u32 {
  const data = rec + REC_SIZE;
  const start = (load<u64>(cpu, CPU_PAGE_BASE) + load<u64>(cpu, CPU_CODE_BASE) + 4096) & load<u64>(cpu, CPU_CODE_MASK);
  const linear = start & ~(<u64>0xfff);
  const entry = itlb_entry(cpu, linear);
  if (load<u64>(entry, ITLB_TAG) == (linear | load<u32>(cpu, CPU_ITLB_CTX))) {
    const host = load<u32>(load<u32>(cpu, CPU_P2M) + (load<u32>(entry, ITLB_FRAME) << 2)) & ~(<u32>0xfff);
    const count = <u32>load<u16>(rec, REC_A);
    let same = true;
    for (let i: u32 = 0; i < count; i++) {
      if (load<u8>(host + i) != load<u8>(data + i)) same = false;
    }
    if (same) return 1;
  }
  store<u16>(rec, <u16>resync_handler, REC_HANDLER);
  const page = load<u32>(data, 16);
  store<u32>(page + CODE_PAGE_ENTRY + ((<u32>load<u16>(rec, REC_OFFSET)) << 2), 0);
  return 0;
}
