// Guest-physical memory: the P2M lookup, the hooks of frames whose stores need attention, and reads and writes
// by gpa that never fault. A gpa without RAM goes to the host as accesses of up to 8 bytes.

import { code_written } from './codecache';
import { mmio_read, mmio_write } from './env';
import {
  CPU_A20_MASK,
  CPU_COW_COUNT,
  CPU_COW_SPARE,
  CPU_EXIT_MODE,
  CPU_P2M,
  CPU_P2M_FRAMES,
  CPU_STOP,
  EXIT_INTERNAL,
  EXIT_MODE_INLINE,
  P2M_CODE,
  P2M_COW,
  P2M_FLAGS,
  P2M_LOG_DIRTY,
  P2M_PRESENT,
  P2M_WRITABLE,
} from './gen/layout';
import { leave } from './state';
import { tlb_drop_frame } from './tlb';

/** Stores to a frame with one of these, beside WRITABLE, take the slow path. */
export const P2M_HOOKED: u32 = P2M_CODE | P2M_LOG_DIRTY | P2M_COW;
const FRAME_MASK: u32 = 0xfffff000;
/** The host is asked to refill the list of spare frames when fewer are left. */
const COW_LOW_WATER: u32 = 64;

/** P2M entry of the frame of a gpa (A20 already applied); 0 where there is no RAM. */
export function p2m_entry(cpu: u32, gpa: u64): u32 {
  const frame = gpa >> 12;
  if (frame >= <u64>load<u32>(cpu, CPU_P2M_FRAMES)) return 0;
  const entry = load<u32>(load<u32>(cpu, CPU_P2M) + <u32>frame * 4);
  return entry & P2M_PRESENT ? entry : 0;
}

/** Applies the A20 gate to a gpa. */
export function a20(cpu: u32, gpa: u64): u64 {
  return gpa & load<u64>(cpu, CPU_A20_MASK);
}

/** First store to a frame being logged: a frame whose LOG_DIRTY is clear at the harvest was written. */
function dirty_log(cpu: u32, frame: u32): void {
  const at = load<u32>(cpu, CPU_P2M) + frame * 4;
  store<u32>(at, load<u32>(at) & ~P2M_LOG_DIRTY);
}

/** First store to a shared frame: gives this VM a copy of its own. False when no spare frame is left. */
function break_cow(cpu: u32, frame: u32): bool {
  const spare = load<u32>(cpu, CPU_COW_SPARE);
  if (spare == 0) {
    leave(cpu, EXIT_INTERNAL);
    return false;
  }
  const count = load<u32>(cpu, CPU_COW_COUNT) - 1;
  store<u32>(cpu, load<u32>(spare), CPU_COW_SPARE);
  store<u32>(cpu, count, CPU_COW_COUNT);
  if (count < COW_LOW_WATER) store<u32>(cpu, 1, CPU_STOP);
  const at = load<u32>(cpu, CPU_P2M) + frame * 4;
  const entry = load<u32>(at);
  memory.copy(spare, entry & FRAME_MASK, 4096);
  store<u32>(at, spare | (entry & P2M_FLAGS & ~P2M_COW));
  tlb_drop_frame(cpu, frame);
  return true;
}

/**
 * Makes a RAM frame ready for a store of `n` bytes at `gpa` (all in one frame) and returns the host address, or
 * 0 when the store must be dropped: ROM, or no frame for a copy (the vCPU then leaves with EXIT_INTERNAL).
 */
export function prepare_store(cpu: u32, gpa: u64, n: u32): u32 {
  const frame = <u32>(gpa >> 12);
  const offset = <u32>gpa & 0xfff;
  let entry = p2m_entry(cpu, gpa);
  if (!(entry & P2M_WRITABLE)) return 0;
  if (entry & P2M_HOOKED) {
    if (entry & P2M_CODE) code_written(cpu, frame, offset, n);
    if (entry & P2M_LOG_DIRTY) dirty_log(cpu, frame);
    if (entry & P2M_COW && !break_cow(cpu, frame)) return 0;
    entry = p2m_entry(cpu, gpa);
  }
  return (entry & FRAME_MASK) + offset;
}

/**
 * Bytes of the next access at `gpa`, of `n` to come: naturally aligned, as buses have them; or, where accesses are
 * exits, up to 8 in one.
 */
function access_size(cpu: u32, gpa: u64, n: u32): u32 {
  if (load<u32>(cpu, CPU_EXIT_MODE) != EXIT_MODE_INLINE) return n < 8 ? n : 8;
  let size: u32 = 8;
  while (size > n || (<u32>gpa & (size - 1)) != 0) size >>= 1;
  return size;
}

/** Copies `n` bytes at `gpa`, all in one frame, to host address `to`. */
export function phys_read(cpu: u32, gpa: u64, to: u32, n: u32): void {
  const entry = p2m_entry(cpu, gpa);
  if (entry) {
    memory.copy(to, (entry & FRAME_MASK) + (<u32>gpa & 0xfff), n);
    return;
  }
  while (n > 0) {
    const size = access_size(cpu, gpa, n);
    let value = mmio_read(cpu, gpa, size);
    if (size == 8) store<u64>(to, value);
    else if (size == 4) store<u32>(to, <u32>value);
    else {
      for (let i: u32 = 0; i < size; i++) {
        store<u8>(to + i, <u8>value);
        value >>= 8;
      }
    }
    gpa += size;
    to += size;
    n -= size;
  }
}

/** Copies `n` bytes from host address `from` to `gpa`, all in one frame. Stores to ROM are dropped. */
export function phys_write(cpu: u32, gpa: u64, from: u32, n: u32): void {
  if (p2m_entry(cpu, gpa)) {
    const to = prepare_store(cpu, gpa, n);
    if (to) memory.copy(to, from, n);
    return;
  }
  while (n > 0) {
    const size = access_size(cpu, gpa, n);
    let value: u64 = 0;
    if (size == 8) value = load<u64>(from);
    else if (size == 4) value = load<u32>(from);
    else for (let i: u32 = 0; i < size; i++) value |= (<u64>load<u8>(from + i)) << (i << 3);
    mmio_write(cpu, gpa, size, value);
    gpa += size;
    from += size;
    n -= size;
  }
}

/** Reads an aligned table entry of 4 bytes. */
export function phys_load32(cpu: u32, address: u64): u32 {
  const gpa = a20(cpu, address);
  const entry = p2m_entry(cpu, gpa);
  if (entry) return load<u32>((entry & FRAME_MASK) + (<u32>gpa & 0xfff));
  return <u32>mmio_read(cpu, gpa, 4);
}

/** Reads an aligned table entry of 8 bytes. */
export function phys_load64(cpu: u32, address: u64): u64 {
  const gpa = a20(cpu, address);
  const entry = p2m_entry(cpu, gpa);
  if (entry) return load<u64>((entry & FRAME_MASK) + (<u32>gpa & 0xfff));
  return mmio_read(cpu, gpa, 8);
}

/** Sets bits in the low byte of a table entry (accessed, dirty), as one read-modify-write. */
export function phys_or8(cpu: u32, address: u64, bits: u32): void {
  const gpa = a20(cpu, address);
  if (p2m_entry(cpu, gpa)) {
    const at = prepare_store(cpu, gpa, 1);
    if (at) store<u8>(at, load<u8>(at) | <u8>bits);
    return;
  }
  mmio_write(cpu, gpa, 1, mmio_read(cpu, gpa, 1) | bits);
}
