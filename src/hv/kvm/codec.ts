/** The contract's values <-> the kernel's structures. */
import type { CpuidEntry, DebugRegs, DescriptorTable, Regs, Segment, Sregs, VcpuEvents } from '../contract.ts';
import {
  CPUID_ENTRY,
  DEBUGREGS,
  DTABLE,
  EVENTS,
  EVENTS_VALID,
  REG_ORDER,
  SEGMENT,
  SEGMENT_BYTES,
  SIZE,
  SREG_CONTROL,
  SREG_SEGMENTS,
  SREG_TABLES,
} from './abi.ts';

export const viewOf = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength);
const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

export function readRegs(bytes: Uint8Array): Regs {
  const v = viewOf(bytes);
  return Object.fromEntries(REG_ORDER.map((n, i) => [n, v.getBigUint64(i * 8, true)])) as unknown as Regs;
}
export function writeRegs(bytes: Uint8Array, regs: Regs): void {
  const v = viewOf(bytes);
  REG_ORDER.forEach((n, i) => {
    v.setBigUint64(i * 8, u64(regs[n]), true);
  });
}

function readSegment(v: DataView, at: number): Segment {
  const bytes = SEGMENT_BYTES.map((n, i) => [n, v.getUint8(at + SEGMENT.BYTES + i)]);
  return {
    ...(Object.fromEntries(bytes) as unknown as Segment),
    base: v.getBigUint64(at + SEGMENT.BASE, true),
    limit: v.getUint32(at + SEGMENT.LIMIT, true),
    selector: v.getUint16(at + SEGMENT.SELECTOR, true),
  };
}
function writeSegment(v: DataView, at: number, s: Segment): void {
  v.setBigUint64(at + SEGMENT.BASE, u64(s.base), true);
  v.setUint32(at + SEGMENT.LIMIT, s.limit, true);
  v.setUint16(at + SEGMENT.SELECTOR, s.selector, true);
  SEGMENT_BYTES.forEach((n, i) => {
    v.setUint8(at + SEGMENT.BYTES + i, s[n]);
  });
}
const TABLES_AT = SREG_SEGMENTS.length * SEGMENT.SIZE;
const CONTROL_AT = TABLES_AT + SREG_TABLES.length * DTABLE.SIZE;
const BITMAP_AT = CONTROL_AT + SREG_CONTROL.length * 8;

export function readSregs(bytes: Uint8Array): Sregs {
  const v = viewOf(bytes);
  const table = (at: number): DescriptorTable => ({
    base: v.getBigUint64(at + DTABLE.BASE, true),
    limit: v.getUint16(at + DTABLE.LIMIT, true),
  });
  return Object.fromEntries([
    ...SREG_SEGMENTS.map((n, i) => [n, readSegment(v, i * SEGMENT.SIZE)]),
    ...SREG_TABLES.map((n, i) => [n, table(TABLES_AT + i * DTABLE.SIZE)]),
    ...SREG_CONTROL.map((n, i) => [n, v.getBigUint64(CONTROL_AT + i * 8, true)]),
  ]) as unknown as Sregs;
}
/** Leaves the interrupt bitmap empty: a queued interrupt is part of the events. */
export function writeSregs(bytes: Uint8Array, s: Sregs): void {
  const v = viewOf(bytes);
  SREG_SEGMENTS.forEach((n, i) => {
    writeSegment(v, i * SEGMENT.SIZE, s[n]);
  });
  SREG_TABLES.forEach((n, i) => {
    v.setBigUint64(TABLES_AT + i * DTABLE.SIZE + DTABLE.BASE, u64(s[n].base), true);
    v.setUint16(TABLES_AT + i * DTABLE.SIZE + DTABLE.LIMIT, s[n].limit, true);
  });
  SREG_CONTROL.forEach((n, i) => {
    v.setBigUint64(CONTROL_AT + i * 8, u64(s[n]), true);
  });
  bytes.fill(0, BITMAP_AT);
}

export function readEvents(bytes: Uint8Array): VcpuEvents {
  const v = viewOf(bytes);
  const bit = (at: number): boolean => v.getUint8(at) !== 0;
  const exception = bit(EVENTS.EXCEPTION_INJECTED) || bit(EVENTS.EXCEPTION_PENDING);
  return {
    exception: exception
      ? {
          vector: v.getUint8(EVENTS.EXCEPTION_VECTOR),
          errorCode: bit(EVENTS.EXCEPTION_HAS_ERROR) ? v.getUint32(EVENTS.EXCEPTION_ERROR, true) : undefined,
        }
      : undefined,
    interrupt: bit(EVENTS.INTERRUPT_INJECTED) ? v.getUint8(EVENTS.INTERRUPT_VECTOR) : undefined,
    shadow: v.getUint8(EVENTS.INTERRUPT_SHADOW),
    nmiPending: bit(EVENTS.NMI_PENDING) || bit(EVENTS.NMI_INJECTED),
    nmiMasked: bit(EVENTS.NMI_MASKED),
  };
}
export function writeEvents(bytes: Uint8Array, e: VcpuEvents): void {
  bytes.fill(0);
  const v = viewOf(bytes);
  if (e.exception) {
    v.setUint8(EVENTS.EXCEPTION_INJECTED, 1);
    v.setUint8(EVENTS.EXCEPTION_VECTOR, e.exception.vector);
    v.setUint8(EVENTS.EXCEPTION_HAS_ERROR, e.exception.errorCode === undefined ? 0 : 1);
    v.setUint32(EVENTS.EXCEPTION_ERROR, e.exception.errorCode ?? 0, true);
  }
  if (e.interrupt !== undefined) {
    v.setUint8(EVENTS.INTERRUPT_INJECTED, 1);
    v.setUint8(EVENTS.INTERRUPT_VECTOR, e.interrupt);
  }
  v.setUint8(EVENTS.INTERRUPT_SHADOW, e.shadow);
  v.setUint8(EVENTS.NMI_PENDING, e.nmiPending ? 1 : 0);
  v.setUint8(EVENTS.NMI_MASKED, e.nmiMasked ? 1 : 0);
  v.setUint32(EVENTS.FLAGS, EVENTS_VALID.NMI_PENDING | EVENTS_VALID.SHADOW, true);
}

export function readDebugRegs(bytes: Uint8Array): DebugRegs {
  const v = viewOf(bytes);
  const db = (i: number): bigint => v.getBigUint64(DEBUGREGS.DB + i * 8, true);
  return {
    db: [db(0), db(1), db(2), db(3)],
    dr6: v.getBigUint64(DEBUGREGS.DR6, true),
    dr7: v.getBigUint64(DEBUGREGS.DR7, true),
  };
}
export function writeDebugRegs(bytes: Uint8Array, d: DebugRegs): void {
  bytes.fill(0);
  const v = viewOf(bytes);
  d.db.forEach((value, i) => {
    v.setBigUint64(DEBUGREGS.DB + i * 8, u64(value), true);
  });
  v.setBigUint64(DEBUGREGS.DR6, u64(d.dr6), true);
  v.setBigUint64(DEBUGREGS.DR7, u64(d.dr7), true);
}

/** `struct kvm_cpuid2` with its entries. */
export function cpuidList(entries: readonly CpuidEntry[]): Uint8Array {
  const bytes = new Uint8Array(SIZE.cpuidHead + entries.length * SIZE.cpuidEntry);
  const v = viewOf(bytes);
  v.setUint32(0, entries.length, true);
  entries.forEach((e, i) => {
    const at = SIZE.cpuidHead + i * SIZE.cpuidEntry;
    v.setUint32(at + CPUID_ENTRY.LEAF, e.leaf, true);
    v.setUint32(at + CPUID_ENTRY.SUBLEAF, e.subleaf ?? 0, true);
    v.setUint32(at + CPUID_ENTRY.FLAGS, e.subleaf === undefined ? 0 : CPUID_ENTRY.SUBLEAF_MATTERS, true);
    v.setUint32(at + CPUID_ENTRY.EAX, e.eax, true);
    v.setUint32(at + CPUID_ENTRY.EBX, e.ebx, true);
    v.setUint32(at + CPUID_ENTRY.ECX, e.ecx, true);
    v.setUint32(at + CPUID_ENTRY.EDX, e.edx, true);
  });
  return bytes;
}
export function readCpuidList(bytes: Uint8Array): CpuidEntry[] {
  const v = viewOf(bytes);
  const room = Math.floor((bytes.length - SIZE.cpuidHead) / SIZE.cpuidEntry);
  return Array.from({ length: Math.min(v.getUint32(0, true), room) }, (_, i) => {
    const at = SIZE.cpuidHead + i * SIZE.cpuidEntry;
    const field = (offset: number): number => v.getUint32(at + offset, true);
    return {
      leaf: field(CPUID_ENTRY.LEAF),
      subleaf: field(CPUID_ENTRY.FLAGS) & CPUID_ENTRY.SUBLEAF_MATTERS ? field(CPUID_ENTRY.SUBLEAF) : undefined,
      eax: field(CPUID_ENTRY.EAX),
      ebx: field(CPUID_ENTRY.EBX),
      ecx: field(CPUID_ENTRY.ECX),
      edx: field(CPUID_ENTRY.EDX),
    };
  });
}
