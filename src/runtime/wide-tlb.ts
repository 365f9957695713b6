// More pages for loops in regions than the data TLB has entries for: WIDE_TLB. It is the current user's alone, and all of it
// ends at once, by another key in its tags: that is cheap enough to be done whenever anything is dropped from any TLB.

import {
  CPU_TLB_PTR,
  CPU_TLB_USER,
  CPU_WIDE_EPOCH,
  CPU_WIDE_KEY,
  CPU_WIDE_USED,
  TLB_ADDEND,
  TLB_TAG_READ,
  TLB_TAG_WRITE,
  WIDE_TLB_ADDEND,
  WIDE_TLB_ENTRIES,
  WIDE_TLB_ENTRY_SIZE,
  WIDE_TLB_NO_KEY,
  WIDE_TLB_NO_STORES,
  WIDE_TLB_OFFSET,
  WIDE_TLB_TAG,
} from './gen/layout';

/** Sets the key of the current access context, after a change of it or of the epoch. */
export function wide_refresh(cpu: u32): void {
  const user = load<u32>(cpu, CPU_TLB_PTR) == load<u32>(cpu, CPU_TLB_USER);
  const epoch = load<u32>(cpu, CPU_WIDE_EPOCH);
  store<u64>(cpu, user && epoch != 0 ? epoch : WIDE_TLB_NO_KEY, CPU_WIDE_KEY);
}

/** Ends all that the table holds. */
export function wide_forget(cpu: u32): void {
  if (!load<u32>(cpu, CPU_WIDE_USED)) return;
  store<u32>(cpu, 0, CPU_WIDE_USED);
  const epoch = load<u32>(cpu, CPU_WIDE_EPOCH) + 1;
  store<u32>(cpu, epoch == WIDE_TLB_NO_KEY ? 0 : epoch, CPU_WIDE_EPOCH);
  wide_refresh(cpu);
}

/** Puts the page of `va` in, whose entry in the current data TLB is `entry`; nothing for supervisors. */
export function wide_fill(cpu: u32, va: u64, entry: u32): void {
  if (load<u32>(cpu, CPU_TLB_PTR) != load<u32>(cpu, CPU_TLB_USER)) return;
  if (load<u32>(cpu, CPU_WIDE_EPOCH) == 0) {
    memory.fill(cpu + WIDE_TLB_OFFSET, 0, WIDE_TLB_ENTRIES * WIDE_TLB_ENTRY_SIZE);
    store<u32>(cpu, 1, CPU_WIDE_EPOCH);
    wide_refresh(cpu);
  }
  store<u32>(cpu, 1, CPU_WIDE_USED);
  const page = load<u64>(entry, TLB_TAG_READ);
  const stores = load<u64>(entry, TLB_TAG_WRITE) == page;
  const at = cpu + WIDE_TLB_OFFSET + (<u32>(va >> 12) & (WIDE_TLB_ENTRIES - 1)) * WIDE_TLB_ENTRY_SIZE;
  store<u64>(at, page | load<u64>(cpu, CPU_WIDE_KEY) | (stores ? 0 : WIDE_TLB_NO_STORES), WIDE_TLB_TAG);
  store<u32>(at, load<u32>(entry, TLB_ADDEND), WIDE_TLB_ADDEND);
}
