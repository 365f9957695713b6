/** Looking at a vCPU's state between slices, for statistics: nothing here changes it. */
import { CODE_PAGE, CPU, ITLB, REC } from '../../isa/layout.ts';

/** Counters of the runtime since power-on. */
export interface RuntimeCounters {
  /** Fills of the data and of the instruction TLB. */
  readonly tlb: number;
  readonly codeTlb: number;
  /** Accesses that took the slow path although mapped. */
  readonly slow: number;
  /** Code pages dropped because they were written to. */
  readonly codeWrites: number;
  /** Exceptions and interrupts delivered, modulo 2^32. */
  readonly delivered: number;
}

export function readCounters(view: DataView, cpu: number): RuntimeCounters {
  const n = (field: string): number => Number(view.getBigUint64(cpu + CPU[field]!, true));
  return {
    tlb: n('n_tlb_miss'),
    codeTlb: n('n_itlb_miss'),
    slow: n('n_slow'),
    codeWrites: n('n_smc'),
    delivered: view.getUint32(cpu + CPU.n_delivered!, true),
  };
}

/** Table index of the handler of the record at the field rip, or -1 where the instruction TLB knows none. */
export function nextHandler(view: DataView, cpu: number): number {
  const u64 = (field: string): bigint => view.getBigUint64(cpu + CPU[field]!, true);
  const linear = BigInt.asUintN(64, u64('rip') + u64('code_base')) & u64('code_mask');
  const entry = cpu + ITLB.OFFSET + Number((linear >> 12n) & BigInt(ITLB.ENTRIES - 1)) * ITLB.ENTRY_SIZE;
  const tag = (linear & ~0xfffn) | BigInt(view.getUint32(cpu + CPU.itlb_ctx!, true));
  if (view.getBigUint64(entry + ITLB.TAG, true) !== tag) return -1;
  const page = view.getUint32(entry + ITLB.PAGE, true);
  const rec = view.getUint32(page + CODE_PAGE.ENTRY + Number(linear & 0xfffn) * 4, true);
  return rec === 0 ? -1 : view.getUint16(rec + REC.HANDLER, true);
}
