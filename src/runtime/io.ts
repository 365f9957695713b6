// I/O ports: permission by IOPL and the TSS bitmap (SDM vol.1 18.5), then the access itself.

import { port_read, port_write } from './env';
import { CPU_SCRATCH, CR0_PE, EXC_GP, SEG_TR } from './gen/layout';
import { sys_read } from './mmu';
import { cpl, cr0, iopl, must_wait, raise, seg_attr, seg_base, seg_limit, v86_mode } from './state';
import { note_port } from './watch';

/** Offset of the I/O map base in a 32- or 64-bit TSS, and the limit that makes it readable. */
const IO_MAP_BASE: u32 = 0x66;
const TSS_LIMIT: u32 = 0x67;
const TSS_32: u32 = 8;

/** Whether the bitmap in the TSS allows `bytes` ports from `port`. 1: a fault is recorded. */
function check_bitmap(cpu: u32, port: u32, bytes: u32): u32 {
  const limit = seg_limit(cpu, SEG_TR);
  if (!(seg_attr(cpu, SEG_TR) & TSS_32) || limit < TSS_LIMIT) return raise(cpu, EXC_GP, 0);
  const at = sys_read(cpu, seg_base(cpu, SEG_TR) + IO_MAP_BASE, 2);
  if (!at) return 1;
  // Two bytes are always read, so the map ends one byte before the limit.
  const offset = <u32>load<u16>(at) + (port >> 3);
  if (offset + 1 > limit) return raise(cpu, EXC_GP, 0);
  const map = sys_read(cpu, seg_base(cpu, SEG_TR) + offset, 2);
  if (!map) return 1;
  const denied = (<u32>load<u16>(map) >> (port & 7)) & ((1 << bytes) - 1);
  return denied ? raise(cpu, EXC_GP, 0) : 0;
}

/** #GP(0) unless the running code may access `bytes` ports from `port`. */
export function check_io(cpu: u32, port: u32, bytes: u32): u32 {
  if (!(cr0(cpu) & CR0_PE)) return 0;
  if (cpl(cpu) <= iopl(cpu) && !v86_mode(cpu)) return 0;
  return check_bitmap(cpu, port, bytes);
}

/** IN: the value goes to scratch[0]. `width` in bits. 1: fault recorded. */
export function io_in(cpu: u32, port: u32, width: u32): u32 {
  if (check_io(cpu, port & 0xffff, width >> 3)) return 1;
  note_port(cpu, port & 0xffff, width >> 3);
  store<u64>(cpu, port_read(cpu, port & 0xffff, width >> 3), CPU_SCRATCH);
  return must_wait(cpu) ? 1 : 0;
}

/** OUT. */
export function io_out(cpu: u32, port: u32, width: u32, value: u64): u32 {
  if (check_io(cpu, port & 0xffff, width >> 3)) return 1;
  note_port(cpu, port & 0xffff, width >> 3);
  port_write(cpu, port & 0xffff, width >> 3, <u32>value);
  return must_wait(cpu) ? 1 : 0;
}

/** INS: as io_in; the caller has probed the destination. */
export function io_ins(cpu: u32, port: u32, width: u32, _unused: u64): u32 {
  return io_in(cpu, port, width);
}
