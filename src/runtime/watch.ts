// Data and I/O breakpoints (SDM vol.3 17.2.4, 17.2.5). A hit is noted in exc_dr6; the #DB is delivered as a trap when
// the instruction has ended. A page with a data breakpoint never gets into a TLB, so that every access to it comes by.
//
// DR7: bits 2i, 2i + 1 enable breakpoint i; bits 16 + 4i its kind (0 fetch, 1 store, 2 I/O, 3 load or store);
// bits 18 + 4i its length (0: 1, 1: 2, 2: 8, 3: 4 bytes)

import { CPU_DR, CPU_EXC_DR6, CPU_WATCHED, CR4_DE } from './gen/layout';
import { cr4 } from './state';

const BREAKPOINTS: u32 = 4;
/** Local and global enable bits of the four breakpoints in dr7. */
export const DR7_ENABLES: u32 = 0xff;
const KIND_STORE: u32 = 1;
const KIND_IO: u32 = 2;
const KIND_ACCESS: u32 = 3;
const PAGE: u64 = ~(<u64>0xfff);

function dr7(cpu: u32): u32 {
  return load<u32>(cpu, CPU_DR + 7 * 8);
}
function enabled(control: u32, i: u32): bool {
  return ((control >> (2 * i)) & 3) != 0;
}
function kind_of(control: u32, i: u32): u32 {
  return (control >> (16 + 4 * i)) & 3;
}
/** Bytes that a breakpoint covers, a power of two. */
function bytes_of(control: u32, i: u32): u64 {
  const length = (control >> (18 + 4 * i)) & 3;
  return length == 2 ? 8 : length + 1;
}
/** First address that a breakpoint covers: the low bits of DRn do not count. */
function start_of(cpu: u32, control: u32, i: u32): u64 {
  return load<u64>(cpu + i * 8, CPU_DR) & ~(bytes_of(control, i) - 1);
}
function is_data(control: u32, i: u32): bool {
  return enabled(control, i) && (kind_of(control, i) & 1) != 0;
}

/** Keeps the field `watched` in step with DR7: non-zero when a data breakpoint is enabled. */
export function refresh_watched(cpu: u32): void {
  const control = dr7(cpu);
  let watched: u32 = 0;
  if (control & DR7_ENABLES) for (let i: u32 = 0; i < BREAKPOINTS; i++) if (is_data(control, i)) watched = 1;
  store<u32>(cpu, watched, CPU_WATCHED);
}

/** Whether a data breakpoint lies in the page of `va`. */
export function page_watched(cpu: u32, va: u64): bool {
  if (!load<u32>(cpu, CPU_WATCHED)) return false;
  const control = dr7(cpu);
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    if (is_data(control, i) && ((start_of(cpu, control, i) ^ va) & PAGE) == 0) return true;
  }
  return false;
}

function note(cpu: u32, i: u32): void {
  store<u32>(cpu, load<u32>(cpu, CPU_EXC_DR6) | (1 << i), CPU_EXC_DR6);
}

/** Notes the data breakpoints that an access of `n` bytes meets. */
export function note_access(cpu: u32, va: u64, n: u32, write: bool): void {
  const control = dr7(cpu);
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    if (!enabled(control, i)) continue;
    const kind = kind_of(control, i);
    if (kind != KIND_ACCESS && !(kind == KIND_STORE && write)) continue;
    const start = start_of(cpu, control, i);
    if (va < start + bytes_of(control, i) && start < va + n) note(cpu, i);
  }
}

/** Notes the I/O breakpoints that an access of `n` ports meets. */
export function note_port(cpu: u32, port: u32, n: u32): void {
  const control = dr7(cpu);
  if (!(control & 0xff) || !(cr4(cpu) & CR4_DE)) return;
  for (let i: u32 = 0; i < BREAKPOINTS; i++) {
    if (!enabled(control, i) || kind_of(control, i) != KIND_IO) continue;
    const start = start_of(cpu, control, i);
    if (<u64>port < start + bytes_of(control, i) && start < <u64>port + n) note(cpu, i);
  }
}
