// A small machine in long mode around a soft vCPU, for tests that run code on it: page tables, descriptor tables, an
// IDT whose handlers halt, a kernel stack. User programs are 64-bit, or 32- and 16-bit in compatibility mode.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileEngineImage, type EngineImage } from '../../src/hv/soft/image.ts';
import { SoftVcpu, type SoftVcpuOptions, type VcpuHost } from '../../src/hv/soft/vcpu.ts';
import { SoftMemory } from '../../src/hv/soft/vm.ts';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { ATTR, CPU, CPU_SIZE, CR0, CR4, EFER, SEG } from '../../src/isa/layout.ts';
import { ROWS } from '../../src/isa/rows.ts';

const root = join(import.meta.dirname, '../..');
const PAGE = 4096;
const RAM = 2 << 20;

/** Where the kernel's part lies, out of the way of user programs. */
export const KERNEL = 0xffff_8000_0000_0000n;
const GDT = KERNEL;
const LDT_AT = KERNEL + 0x400n;
const TSS = KERNEL + 0x800n;
export const IDT = KERNEL + 0x1000n;
/** Handlers, 16 bytes each: HLT. */
export const HANDLERS = KERNEL + 0x2000n;
/** Top of the kernel's stack, a multiple of 16. */
export const KERNEL_STACK = KERNEL + 0x5000n;
const KERNEL_PAGES = 5;

export const SELECTOR = {
  KERNEL_CODE: 0x08,
  KERNEL_DATA: 0x10,
  USER_CODE32: 0x1b,
  USER_DATA: 0x23,
  USER_CODE64: 0x2b,
  USER_CODE16: 0x33,
  TSS: 0x40,
  LDT: 0x50,
} as const;

/** Page table entry bits (SDM vol.3 table 4-20). */
export const PTE = { P: 1n, RW: 2n, US: 4n, NX: 1n << 63n } as const;

let image: EngineImage | undefined;
/** What the build made, compiled once; built first if it is older than its sources. */
export function engineImage(): EngineImage {
  if (image) return image;
  execFileSync(process.execPath, [join(root, 'scripts/build.ts')], { cwd: root, stdio: 'pipe' });
  const read = (name: string): Buffer<ArrayBuffer> => readFileSync(join(root, 'build', name));
  image = compileEngineImage(
    read('runtime.wasm'),
    read('interpreter.wasm'),
    JSON.parse(read('interpreter.json').toString()),
  );
  return image;
}

/** A board with nothing on it: reads are all ones, writes go nowhere, no interrupt, no MSR. */
export const EMPTY_BOARD: VcpuHost = {
  mmio_read: (_cpu, _gpa, size) => BigInt.asIntN(64, (1n << BigInt(size * 8)) - 1n),
  mmio_write: () => {},
  port_read: (_cpu, _port, size) => 2 ** (size * 8) - 1,
  port_write: () => {},
  msr_read: () => 1,
  msr_write: () => 1,
  tsc_now: () => 0n,
  cpuid_query: () => {},
  set_cr8: () => {},
  get_cr8: () => 0n,
  acknowledge: () => undefined,
};

export interface GuestOptions {
  readonly host?: Partial<VcpuHost>;
  /** More options of the vCPU: a translator, say. */
  readonly vcpu?: Partial<SoftVcpuOptions>;
  /** Instead of HLT in each handler. */
  readonly handler?: (vector: number) => Uint8Array;
}

export class Guest {
  readonly memory: SoftMemory;
  readonly vcpu: SoftVcpu;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** Address of guest-physical 0 in machine memory; RAM is contiguous. */
  readonly ram: number;
  /** Guest-physical address of KERNEL_STACK. */
  readonly kernelStack: number;
  private nextFrame = 0x10;

  constructor(o: GuestOptions = {}) {
    this.memory = new SoftMemory([{ gpa: 0, size: RAM, offset: 0 }], 1);
    this.view = new DataView(this.memory.memory.buffer);
    this.bytes = new Uint8Array(this.memory.memory.buffer);
    this.ram = this.memory.layout.ram;
    this.vcpu = new SoftVcpu({
      id: 0,
      memory: this.memory,
      image: engineImage(),
      decoder: makeDecoder(ROWS),
      rows: ROWS,
      host: { ...EMPTY_BOARD, ...o.host },
      ...o.vcpu,
    });
    const kernel = this.frames(KERNEL_PAGES);
    for (let i = 0; i < KERNEL_PAGES; i++) this.map(KERNEL + BigInt(i * PAGE), kernel + i * PAGE, PTE.P | PTE.RW);
    this.kernelStack = kernel + KERNEL_PAGES * PAGE;
    this.writeTables(kernel, o.handler ?? (() => Uint8Array.of(0xf4)));
    this.setSystem();
  }

  /** Guest-physical address of `n` fresh frames of zeros in a row. */
  frames(n: number): number {
    const gpa = this.nextFrame * PAGE;
    this.nextFrame += n;
    if (this.nextFrame * PAGE > RAM) throw new RangeError('the guest has no more frames');
    return gpa;
  }

  /** Maps a page of 4 KiB. Tables on the way allow everything, so that the leaf decides. */
  map(linear: bigint, gpa: number, bits: bigint): void {
    let table = PAGE; // the root
    for (const shift of [39n, 30n, 21n]) {
      const at = this.ram + table + Number((linear >> shift) & 511n) * 8;
      if (this.view.getBigUint64(at, true) === 0n) {
        this.view.setBigUint64(at, BigInt(this.frames(1)) | PTE.P | PTE.RW | PTE.US, true);
      }
      table = Number(this.view.getBigUint64(at, true) & 0xf_ffff_f000n);
    }
    this.view.setBigUint64(this.ram + table + Number((linear >> 12n) & 511n) * 8, BigInt(gpa) | bits, true);
  }

  private writeTables(kernel: number, handler: (vector: number) => Uint8Array): void {
    const at = this.ram + kernel;
    const gdt = [
      0n,
      0x00af9b000000ffffn,
      0x00cf93000000ffffn,
      0x00cffb000000ffffn,
      0x00cff3000000ffffn,
      0x00affb000000ffffn,
      0x000ffb000000ffffn,
      0n,
    ];
    gdt.forEach((d, i) => {
      this.view.setBigUint64(at + i * 8, d, true);
    });
    this.view.setBigUint64(at + 0x804, KERNEL_STACK, true); // RSP0
    for (let vector = 0; vector < 256; vector++) {
      const target = HANDLERS + BigInt(vector * 16);
      const low = (target & 0xffffn) | (BigInt(SELECTOR.KERNEL_CODE) << 16n) | (0xee00n << 32n);
      this.view.setBigUint64(at + 0x1000 + vector * 16, low | (((target >> 16n) & 0xffffn) << 48n), true);
      this.view.setBigUint64(at + 0x1008 + vector * 16, target >> 32n, true);
      this.bytes.set(handler(vector), at + 0x2000 + vector * 16);
    }
  }

  /** Gives the guest an LDT, behind its GDT. At most 128 descriptors. */
  setLdt(descriptors: readonly bigint[]): void {
    const at = this.ram + this.kernelStack - KERNEL_PAGES * PAGE + Number(LDT_AT - GDT);
    descriptors.forEach((d, i) => {
      this.view.setBigUint64(at + i * 8, d, true);
    });
    this.segment(SEG.ldtr, SELECTOR.LDT, ATTR.P | 2, LDT_AT, descriptors.length * 8 - 1);
  }

  /** Reads and writes of the vCPU's fields. */
  get32(field: string, index = 0): number {
    return this.view.getUint32(this.vcpu.cpu + CPU[field]! + index * 4, true);
  }
  set32(field: string, value: number, index = 0): void {
    this.view.setUint32(this.vcpu.cpu + CPU[field]! + index * 4, value >>> 0, true);
  }
  get64(field: string, index = 0): bigint {
    return this.view.getBigUint64(this.vcpu.cpu + CPU[field]! + index * 8, true);
  }
  set64(field: string, value: bigint, index = 0): void {
    this.view.setBigUint64(this.vcpu.cpu + CPU[field]! + index * 8, BigInt.asUintN(64, value), true);
  }
  segment(seg: number, selector: number, attr: number, base: bigint, limit: number): void {
    this.view.setUint16(this.vcpu.cpu + CPU.seg_sel! + seg * 2, selector, true);
    this.set32('seg_attr', attr, seg);
    this.set32('seg_limit', limit, seg);
    this.set64('seg_base', base, seg);
  }

  private setSystem(): void {
    this.set64('cr0', BigInt(CR0.PE | CR0.PG | CR0.NE | CR0.ET | CR0.WP | CR0.MP | CR0.AM) & 0xffff_ffffn);
    this.set64('cr3', BigInt(PAGE));
    this.set64('cr4', BigInt(CR4.PAE | CR4.OSFXSR | CR4.OSXMMEXCPT | CR4.FSGSBASE | CR4.OSXSAVE));
    this.set64('efer', BigInt(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE));
    this.set64('xcr0', 7n);
    this.set64('gdtr_base', GDT);
    this.set32('gdtr_limit', 0x7f);
    this.set64('idtr_base', IDT);
    this.set32('idtr_limit', 0xfff);
    this.segment(SEG.ldtr, 0, ATTR.NULL, 0n, 0);
    this.segment(SEG.tr, SELECTOR.TSS, ATTR.P | 11, TSS, 0x67);
  }

  /** Flat segments and privilege of a program. 16-bit code has `base16` as the base of its data and stack. */
  enterMode(code: 16 | 32 | 64, cpl: 0 | 3, base16 = { code: 0n, data: 0n }): void {
    const common = ATTR.P | ATTR.S | ATTR.WRITABLE | ATTR.ACCESSED | (cpl << ATTR.DPL_SHIFT);
    const big = code === 16 ? 0 : ATTR.DB | ATTR.G;
    const limit = code === 16 ? 0xffff : 0xffff_ffff;
    const user = { 16: SELECTOR.USER_CODE16, 32: SELECTOR.USER_CODE32, 64: SELECTOR.USER_CODE64 }[code];
    for (const seg of [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs]) {
      this.segment(seg, cpl === 3 ? SELECTOR.USER_DATA : SELECTOR.KERNEL_DATA, common | big, base16.data, limit);
    }
    const attr = common | ATTR.CODE | (code === 64 ? ATTR.L | ATTR.G : big);
    this.segment(SEG.cs, cpl === 3 ? user : SELECTOR.KERNEL_CODE, attr, base16.code, limit);
    this.set32('cpl', cpl);
    this.set32('eflags', 2);
    this.set32('cc_op', 0);
    this.set32('halted', 0);
    this.vcpu.runtime.set_state_done(this.vcpu.cpu);
  }

  /** A copy of the whole state. */
  snapshot(): Uint8Array {
    return this.bytes.slice(this.vcpu.cpu, this.vcpu.cpu + CPU_SIZE);
  }
}
