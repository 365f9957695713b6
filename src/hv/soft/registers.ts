/** KVM's register structures <-> the vCPU state in WebAssembly memory. */
import { CPU, GPR_NAMES, SEGMENTS } from '../../isa/layout.ts';
import type { DescriptorTable, Regs, Segment, Sregs } from '../contract.ts';

/** Segment attribute bits in `seg_attr` (descriptor bits 8-23 of the second dword, plus ATTR.NULL). */
const attrOf = (s: Segment): number =>
  s.type |
  (s.s << 4) |
  (s.dpl << 5) |
  (s.present << 7) |
  (s.avl << 12) |
  (s.l << 13) |
  (s.db << 14) |
  (s.g << 15) |
  (s.unusable << 16);

function segmentOf(attr: number, base: bigint, limit: number, selector: number): Segment {
  const bit = (n: number): number => (attr >>> n) & 1;
  return {
    base,
    limit,
    selector,
    type: attr & 15,
    s: bit(4),
    dpl: (attr >>> 5) & 3,
    present: bit(7),
    avl: bit(12),
    l: bit(13),
    db: bit(14),
    g: bit(15),
    unusable: bit(16),
  };
}

const SREG_SEGMENTS = { cs: 'cs', ds: 'ds', es: 'es', fs: 'fs', gs: 'gs', ss: 'ss', tr: 'tr', ldt: 'ldtr' } as const;
type SregSegment = keyof typeof SREG_SEGMENTS;
const SREG_NAMES = Object.keys(SREG_SEGMENTS) as SregSegment[];
const CONTROL = {
  cr0: 'cr0',
  cr2: 'cr2',
  cr3: 'cr3',
  cr4: 'cr4',
  cr8: 'cr8',
  efer: 'efer',
  apicBase: 'apic_base',
} as const;
type ControlName = keyof typeof CONTROL;
const ARITH = 0x8d5n;

/** Reads and writes one vCPU's registers. The arithmetic flags must be explicit. */
export class Registers {
  private readonly v: DataView;
  private readonly cpu: number;

  constructor(memory: WebAssembly.Memory, cpu: number) {
    this.v = new DataView(memory.buffer);
    this.cpu = cpu;
  }
  private u64(field: string): bigint {
    return this.v.getBigUint64(this.cpu + CPU[field]!, true);
  }
  private set64(field: string, value: bigint): void {
    this.v.setBigUint64(this.cpu + CPU[field]!, BigInt.asUintN(64, value), true);
  }

  getRegs(): Regs {
    const out: Record<string, bigint> = {};
    GPR_NAMES.forEach((n, i) => {
      out[n] = this.v.getBigUint64(this.cpu + CPU.gpr! + i * 8, true);
    });
    const system = BigInt(this.v.getUint32(this.cpu + CPU.eflags!, true));
    return { ...out, rip: this.u64('rip'), rflags: system | (this.u64('cc_x') & ARITH) } as unknown as Regs;
  }
  setRegs(r: Regs): void {
    GPR_NAMES.forEach((n, i) => {
      this.v.setBigUint64(this.cpu + CPU.gpr! + i * 8, BigInt.asUintN(64, r[n as keyof Regs]), true);
    });
    this.set64('rip', r.rip);
    this.v.setUint32(this.cpu + CPU.eflags!, Number((r.rflags & ~ARITH) | 2n), true);
    this.set64('cc_x', r.rflags & ARITH);
    this.v.setUint32(this.cpu + CPU.cc_op!, 0, true);
  }

  private segment(n: number): Segment {
    const { v, cpu } = this;
    return segmentOf(
      v.getUint32(cpu + CPU.seg_attr! + n * 4, true),
      v.getBigUint64(cpu + CPU.seg_base! + n * 8, true),
      v.getUint32(cpu + CPU.seg_limit! + n * 4, true),
      v.getUint16(cpu + CPU.seg_sel! + n * 2, true),
    );
  }
  private setSegment(n: number, s: Segment): void {
    const { v, cpu } = this;
    v.setUint32(cpu + CPU.seg_attr! + n * 4, attrOf(s), true);
    v.setBigUint64(cpu + CPU.seg_base! + n * 8, BigInt.asUintN(64, s.base), true);
    v.setUint32(cpu + CPU.seg_limit! + n * 4, s.limit, true);
    v.setUint16(cpu + CPU.seg_sel! + n * 2, s.selector, true);
  }
  private table(name: 'gdtr' | 'idtr'): DescriptorTable {
    return { base: this.u64(`${name}_base`), limit: this.v.getUint32(this.cpu + CPU[`${name}_limit`]!, true) };
  }

  getSregs(): Sregs {
    const segments = Object.fromEntries(
      SREG_NAMES.map((n) => [n, this.segment(SEGMENTS.indexOf(SREG_SEGMENTS[n]))]),
    ) as Record<SregSegment, Segment>;
    const control = Object.fromEntries(
      (Object.keys(CONTROL) as ControlName[]).map((n) => [n, this.u64(CONTROL[n])]),
    ) as Record<ControlName, bigint>;
    return { ...segments, ...control, gdt: this.table('gdtr'), idt: this.table('idtr') };
  }
  /** Writes all of it; the caller then lets the runtime recompute what follows from it. */
  setSregs(s: Sregs): void {
    for (const n of SREG_NAMES) this.setSegment(SEGMENTS.indexOf(SREG_SEGMENTS[n]), s[n]);
    for (const n of Object.keys(CONTROL) as ControlName[]) this.set64(CONTROL[n], s[n]);
    this.set64('gdtr_base', s.gdt.base);
    this.set64('idtr_base', s.idt.base);
    this.v.setUint32(this.cpu + CPU.gdtr_limit!, s.gdt.limit, true);
    this.v.setUint32(this.cpu + CPU.idtr_limit!, s.idt.limit, true);
    this.v.setUint32(this.cpu + CPU.cpl!, s.cs.unusable ? 0 : s.ss.dpl, true);
  }
}
