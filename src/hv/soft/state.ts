/** What is not a general or special register of a soft vCPU, in the contract's forms. */
import type { RuntimeExports } from '../../engine/runtime.ts';
import { CPU, CPU_FIELDS } from '../../isa/layout.ts';
import { type DebugRegs, HvError, type VcpuEvents, XSAVE_BYTES } from '../contract.ts';
import type { SoftVcpu } from './vcpu.ts';

const STRIDE: ReadonlyMap<string, number> = new Map(CPU_FIELDS.map((f) => [f.name, f.stride]));

/** Exports of the runtime that only this file uses; each result is 1 where the CPU would raise #GP. */
interface StateExports {
  fxsave_image(cpu: number, form: number): void;
  fxrstor_image(cpu: number, form: number): void;
  get_msr(cpu: number, index: number): number;
  set_msr(cpu: number, index: number, value: bigint): number;
}
/** `form` of the FXSAVE image: 64-bit pointers, sixteen XMM registers. */
const FORM = 3;

// The standard form of XSAVE: legacy region 0-511, header at 512 whose first u64 says which components are not in
// their initial state (bit 0 x87, 1 SSE, 2 AVX), the upper halves of the YMM registers at 576.
const LEGACY_USED = 416;
const MXCSR_AT = 24;
const XMM_AT = 160;
const HEADER_AT = 512;
const YMM_AT = 576;
const X87 = 1n;
const SSE = 2n;
const AVX = 4n;
const FCW_INIT = 0x37f;
const MXCSR_INIT = 0x1f80;

/** Interrupt shadows: here 1 STI, 2 MOV SS; in the contract bit 0 MOV SS, bit 1 STI. */
const swapShadow = (s: number): number => ((s & 1) << 1) | ((s >> 1) & 1);

export class SoftState {
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly cpu: number;
  private readonly vcpu: SoftVcpu;
  private readonly runtime: RuntimeExports & StateExports;

  constructor(memory: WebAssembly.Memory, vcpu: SoftVcpu) {
    this.view = new DataView(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
    this.vcpu = vcpu;
    this.cpu = vcpu.cpu;
    this.runtime = vcpu.runtime as RuntimeExports & StateExports;
  }

  get32(field: string): number {
    return this.view.getUint32(this.cpu + CPU[field]!, true);
  }
  /** `index` counts u32, whatever the field's type is. */
  set32(field: string, value: number, index = 0): void {
    this.view.setUint32(this.cpu + CPU[field]! + index * 4, value >>> 0, true);
  }
  get64(field: string, index = 0): bigint {
    return this.view.getBigUint64(this.cpu + CPU[field]! + index * STRIDE.get(field)!, true);
  }
  set64(field: string, value: bigint, index = 0): void {
    this.view.setBigUint64(this.cpu + CPU[field]! + index * STRIDE.get(field)!, BigInt.asUintN(64, value), true);
  }
  explicitFlags(): void {
    this.vcpu.getRegs();
  }

  xsave(): Uint8Array {
    this.runtime.fxsave_image(this.cpu, FORM);
    const area = new Uint8Array(XSAVE_BYTES);
    const scratch = this.cpu + CPU.scratch!;
    area.set(this.bytes.subarray(scratch, scratch + LEGACY_USED));
    for (let i = 0; i < 16; i++) {
      const upper = this.cpu + CPU.ymm! + i * 32 + 16;
      area.set(this.bytes.subarray(upper, upper + 16), YMM_AT + i * 16);
    }
    const avx = this.get64('xcr0') & AVX;
    new DataView(area.buffer).setBigUint64(HEADER_AT, X87 | SSE | avx, true);
    return area;
  }
  setXsave(area: Uint8Array): void {
    const image = area.slice(0, LEGACY_USED);
    const v = new DataView(image.buffer);
    const present = new DataView(area.buffer, area.byteOffset).getBigUint64(HEADER_AT, true);
    if (!(present & X87)) {
      image.fill(0, 0, MXCSR_AT);
      image.fill(0, 32, XMM_AT);
      v.setUint16(0, FCW_INIT, true);
    }
    if (!(present & SSE)) image.fill(0, XMM_AT);
    if (!(present & (SSE | AVX))) v.setUint32(MXCSR_AT, MXCSR_INIT, true);
    this.bytes.set(image, this.cpu + CPU.scratch!);
    this.runtime.fxrstor_image(this.cpu, FORM);
    for (let i = 0; i < 16; i++) {
      const upper = this.cpu + CPU.ymm! + i * 32 + 16;
      if (present & AVX) this.bytes.set(area.subarray(YMM_AT + i * 16, YMM_AT + i * 16 + 16), upper);
      else this.bytes.fill(0, upper, upper + 16);
    }
    this.runtime.update_context(this.cpu);
  }

  /** @throws HvError for an MSR that the engine does not hold */
  msr(index: number): bigint {
    if (this.runtime.get_msr(this.cpu, index)) throw new HvError(`no MSR 0x${index.toString(16)}`, 'leave it out');
    return this.get64('scratch');
  }
  setMsr(index: number, value: bigint): void {
    if (this.runtime.set_msr(this.cpu, index, BigInt.asIntN(64, value))) {
      throw new HvError(`MSR 0x${index.toString(16)} does not take 0x${value.toString(16)}`, 'leave it out');
    }
  }

  events(): Pick<VcpuEvents, 'shadow' | 'nmiPending' | 'nmiMasked'> {
    return {
      shadow: swapShadow(this.get32('shadow')),
      nmiPending: this.get32('nmi_pending') !== 0,
      nmiMasked: this.get32('nmi_blocked') !== 0,
    };
  }
  setEvents(e: VcpuEvents): void {
    this.set32('shadow', swapShadow(e.shadow));
    this.set32('nmi_pending', e.nmiPending ? 1 : 0);
    this.set32('nmi_blocked', e.nmiMasked ? 1 : 0);
  }

  debugRegs(): DebugRegs {
    const dr = (i: number): bigint => this.get64('dr', i);
    return { db: [dr(0), dr(1), dr(2), dr(3)], dr6: dr(6), dr7: dr(7) };
  }
  setDebugRegs(d: DebugRegs): void {
    d.db.forEach((value, i) => {
      this.set64('dr', value, i);
    });
    this.set64('dr', d.dr6, 6);
    this.set64('dr', d.dr7, 7);
    this.runtime.update_context(this.cpu);
  }
}
