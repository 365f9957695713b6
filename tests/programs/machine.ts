// A machine for random programs around a soft vCPU: two address spaces, a small kernel, and a board that answers from
// a seeded sequence, so that two machines given the same program do the same.
import { SoftVcpu, type SoftVcpuOptions, type VcpuHost } from '../../src/hv/soft/vcpu.ts';
import { SoftMemory } from '../../src/hv/soft/vm.ts';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { ATTR, CPU, CPU_FIELDS, CPU_SIZE, CR0, CR4, EFER, SEG } from '../../src/isa/layout.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { EMPTY_BOARD, engineImage } from '../differential/guest.ts';
import { Random } from '../isa/random.ts';
import { Events } from './events.ts';
import { AT, GDT_LIMIT, KERNEL_LEGACY, KERNEL_LONG, KERNEL_PAGES, kernelImage, SELECTOR, segmentOf } from './kernel.ts';
import { AD, G, NX, P, PageTables, RW, US } from './paging.ts';
import { ALIAS, CR3_CELLS, LARGE, largeFrame, PAGE, type UserPage } from './places.ts';
import type { Program } from './program.ts';

/** RAM in bytes; and what of it a program can reach, which is what is compared. */
const RAM = 1 << 20;
/** Guest-physical address of the device page: not RAM. */
const DEVICE = 0x80_0000;

/** Who hands out frames of a machine. */
export interface Frames {
  readonly view: DataView;
  /** Address of guest-physical 0 in machine memory. */
  readonly ram: number;
  frames(n: number): number;
}

/** Fields about TLBs, the map of memory, and counters. */
const KEPT = /^(s?tlb|itlb|space|n_|p2m|cow|vcpu_id|phys_mask)/;

const decoder = makeDecoder(ROWS);

export class Machine implements Frames {
  readonly memory: SoftMemory;
  readonly vcpu: SoftVcpu;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly ram: number;
  private readonly powerOn: Uint8Array;
  private nextFrame = 1;
  program!: Program;
  /** By number: two roots. */
  roots: PageTables[] = [];
  /** Frames of each user page: in the first and in the second address space. */
  frameOf = new Map<number, readonly [number, number]>();
  kernelBase = KERNEL_LONG;
  events!: Events;
  /** What the board was told and asked, as numbers. */
  log: number[] = [];
  private random = new Random(0);

  constructor(options: Partial<SoftVcpuOptions>) {
    this.memory = new SoftMemory([{ gpa: 0, size: RAM, offset: 0 }], 1, { slab: 0, gpaTop: 4 << 20 });
    this.view = new DataView(this.memory.memory.buffer);
    this.bytes = new Uint8Array(this.memory.memory.buffer);
    this.ram = this.memory.layout.ram;
    this.vcpu = new SoftVcpu({
      id: 0,
      memory: this.memory,
      image: engineImage(),
      decoder,
      rows: ROWS,
      host: this.board(),
      ...options,
    });
    this.powerOn = this.bytes.slice(this.vcpu.cpu, this.vcpu.cpu + CPU_SIZE);
  }

  private board(): VcpuHost {
    const answer = (...what: number[]): number => {
      this.log.push(...what);
      return this.random.u32();
    };
    return {
      ...EMPTY_BOARD,
      mmio_read: (_cpu, gpa, size) => BigInt.asIntN(64, BigInt(answer(1, Number(gpa), size)) * 0x1_0000_0001n),
      mmio_write: (_cpu, gpa, size, v) => void answer(2, Number(gpa), size, Number(v & 0xffff_ffffn)),
      port_read: (_cpu, port, size) => answer(3, port, size) & (2 ** (size * 8) - 1),
      port_write: (_cpu, port, size, v) => {
        answer(4, port, size, v);
        this.events.told(port);
      },
      tsc_now: () => BigInt(answer(5)) << 8n,
      random64: () => BigInt(answer(6)) * 0x1_0000_0003n,
      cpuid_query: (_cpu, leaf, subleaf) => {
        const at = this.vcpu.cpu + CPU.scratch!;
        for (let i = 0; i < 4; i++) this.view.setUint32(at + i * 4, answer(7, leaf, subleaf), true);
      },
      acknowledge: () => {
        this.vcpu.setInterruptPending(false);
        return 0x20 + (answer(8) & 15);
      },
    };
  }

  frames(n: number): number {
    const gpa = this.nextFrame * PAGE;
    this.nextFrame += n;
    if (this.nextFrame * PAGE > RAM) throw new RangeError('the machine has no more frames');
    return gpa;
  }
  /** The RAM in use: what two machines must agree on. */
  get used(): Uint8Array {
    return this.bytes.subarray(this.ram, this.ram + this.usedEnd);
  }
  /** Frames that were not handed out in order are those of a program with a large page. */
  private get usedEnd(): number {
    const last = Math.max(0, ...[...this.frameOf.values()].flat().filter((gpa) => gpa < RAM));
    return Math.max(this.nextFrame * PAGE, last + PAGE);
  }

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

  /** The tables that CR3 names. */
  get current(): PageTables {
    const root = Number(this.get64('cr3') & 0xf_ffff_f000n);
    return this.roots.find((t) => t.root === root) ?? this.roots[0]!;
  }
  /** CR3 for an address space; PCIDs are 1 and 2 where there are any. */
  cr3Of(n: number): bigint {
    return BigInt(this.roots[n]!.root) | (this.program.environment.pcid ? BigInt(n + 1) : 0n);
  }

  /** Puts the machine into the state from which a program begins. */
  load(program: Program, hotThreshold: number | undefined): void {
    this.used.fill(0);
    this.program = program;
    this.vcpu.dropCode();
    this.vcpu.translator?.setThreshold(hotThreshold);
    this.restore();
    this.nextFrame = 1;
    this.random = new Random(program.seed ^ 0x5bd1e995);
    this.log = [];
    this.kernelBase = program.mode === 'legacy' ? KERNEL_LEGACY : KERNEL_LONG;
    this.events = new Events(this, new Random(program.seed ^ 0x1b873593));
    this.makePages();
    this.setSystem();
    this.setSegments();
    program.registers(this);
    this.vcpu.runtime.set_state_done(this.vcpu.cpu);
    this.vcpu.runtime.update_context(this.vcpu.cpu);
  }

  /** The power-on state, but for what the engine knows about its TLBs, which were emptied before. */
  private restore(): void {
    for (const f of CPU_FIELDS) {
      if (KEPT.test(f.name)) continue;
      const bytes = this.powerOn.subarray(f.offset, f.offset + f.stride * f.count);
      this.bytes.set(bytes, this.vcpu.cpu + f.offset);
    }
  }

  private makePages(): void {
    const { program } = this;
    const { environment } = program;
    const long = program.mode !== 'legacy';
    const kernel = this.frames(KERNEL_PAGES);
    this.bytes.set(
      kernelImage(this.kernelBase, {
        long,
        oddCode: program.oddCode,
        oddData: program.oddData,
        ist: program.ist,
        narrow: program.narrowBases,
        cpl: program.cpl,
      }),
      this.ram + kernel,
    );
    this.frameOf = new Map();
    // Backwards, so that pages that follow each other do not lie in frames that do.
    for (const page of program.places.pages.toReversed()) {
      const frame = page.use === 'device' ? DEVICE : environment.large ? largeFrame(page) : this.frames(1);
      const twin = page.use === 'code' ? this.frames(1) : frame;
      this.frameOf.set(page.at, [frame, twin]);
      if (page.use === 'device') continue;
      this.bytes.set(program.page(page.at, false), this.ram + frame);
      if (page.use === 'code') this.bytes.set(program.page(page.at, true), this.ram + twin);
    }
    this.roots = [0, 1].map(() => new PageTables(this, environment.paging));
    this.roots.forEach((tables, n) => {
      for (let i = 0; i < KERNEL_PAGES; i++) {
        tables.map(this.kernelBase + BigInt(i * PAGE), kernel + i * PAGE, P | RW | AD | (environment.global ? G : 0n));
      }
      this.mapPages(tables, n);
      if (environment.large) tables.mapLarge(this.largeBits);
      tables.showTables(program.places.tables);
    });
    const cells = this.ram + this.frameOf.get(program.places.cells)![0] + CR3_CELLS;
    for (const n of [0, 1]) this.view.setBigUint64(cells + n * 8, this.cr3Of(n), true);
  }

  private mapPages(tables: PageTables, n: number): void {
    const { program } = this;
    for (const page of program.places.pages) {
      for (const alias of [0, ALIAS]) {
        const at = page.at + alias;
        if (n === 1 && program.environment.shared && page.use !== 'code') tables.share(this.roots[0]!, BigInt(at));
        else tables.map(at, this.frameOf.get(page.at)![n]!, this.bitsOf(page, at));
      }
    }
  }

  /** Rights at a linear address of a page as they are when nothing was taken away from it. */
  bitsOf({ use }: UserPage, at: number): bigint {
    const { cpl, cleanPages, environment } = this.program;
    const kind = use === 'code' ? RW : use === 'readonly' ? NX : NX | RW;
    const global = environment.shared && use !== 'code' ? G : 0n;
    const who = cpl === 3 || this.isUserPage(use, at) ? US : 0n;
    return who | kind | global | (use === 'absent' ? 0n : P) | (use === 'data' && cleanPages ? 0n : AD);
  }
  /** User pages of a program at level 0: every second one, code only where it is mapped for the second time. */
  private isUserPage(use: UserPage['use'], at: number): boolean {
    if (!this.program.environment.userPages || use === 'stack') return false;
    return use === 'code' ? (at & ALIAS) !== 0 : (at & PAGE) !== 0;
  }
  /** Rights of the large page. */
  get largeBits(): bigint {
    return P | RW | AD | (this.program.cpl === 3 ? US : 0n);
  }
  /** Whether a linear address is in the large page. */
  isLarge(linear: bigint): boolean {
    return this.program.environment.large && linear >= BigInt(LARGE) && linear < BigInt(LARGE + RAM);
  }

  private setSystem(): void {
    const { program } = this;
    const { environment } = program;
    const long = program.mode !== 'legacy';
    this.set64('cr0', BigInt((CR0.PE | CR0.PG | CR0.NE | CR0.ET | CR0.WP | CR0.MP | program.cr0) >>> 0));
    const cr4 = CR4.OSFXSR | CR4.OSXMMEXCPT | CR4.OSXSAVE | (long ? CR4.FSGSBASE : 0);
    const paging = environment.paging === 'two-level' ? (environment.large ? CR4.PSE : 0) : CR4.PAE;
    const spaces = (environment.global ? CR4.PGE : 0) | (environment.pcid ? CR4.PCIDE : 0);
    const protection = (environment.smep ? CR4.SMEP : 0) | (environment.smap ? CR4.SMAP : 0);
    this.set64('cr4', BigInt(cr4 | paging | spaces | protection));
    const nx = environment.paging === 'two-level' ? 0 : EFER.NXE;
    this.set64('efer', BigInt(nx | (long ? EFER.SCE | EFER.LME | EFER.LMA : 0)));
    this.roots[0]!.pdptes.forEach((v, i) => {
      this.set64('pdpte', v, i);
    });
    this.set64('cr3', this.cr3Of(0));
    this.set64('xcr0', 7n);
    const base = this.kernelBase;
    this.set64('gdtr_base', base);
    this.set32('gdtr_limit', GDT_LIMIT);
    this.set64('idtr_base', base + BigInt(AT.IDT));
    this.set32('idtr_limit', long ? 0xfff : 0x7ff);
    this.segment(SEG.ldtr, 0, ATTR.NULL, 0n, 0);
    this.segment(SEG.tr, SELECTOR.TSS, ATTR.P | 11, base + BigInt(AT.TSS), 0x67);
    this.set64('star', (BigInt(SELECTOR.USER_CODE32) << 48n) | (BigInt(SELECTOR.KERNEL_CODE) << 32n));
    this.set64('lstar', base + BigInt(AT.SYSCALL));
    this.set64('cstar', base + BigInt(AT.SYSCALL));
    this.set64('fmask', 0x700n);
    this.set64('sysenter_cs', BigInt(SELECTOR.KERNEL_CODE));
    this.set64('sysenter_eip', base + BigInt(AT.SYSENTER));
    this.set64('sysenter_esp', base + BigInt(AT.STACK_TOP));
    this.set64('kernel_gs_base', BigInt(program.places.cells));
  }

  private segment(seg: number, selector: number, attr: number, base: bigint, limit: number): void {
    this.view.setUint16(this.vcpu.cpu + CPU.seg_sel! + seg * 2, selector, true);
    this.set32('seg_attr', attr, seg);
    this.set32('seg_limit', limit, seg);
    this.set64('seg_base', base, seg);
  }

  private setSegments(): void {
    const { program } = this;
    const long = program.mode !== 'legacy';
    const { code, data } = program.selectors;
    const put = (seg: number, selector: number): void => {
      const [base, attr] = segmentOf(selector, long, program.oddCode, program.oddData);
      this.segment(seg, selector, attr, BigInt(base), 0xffff_ffff);
    };
    put(SEG.cs, code);
    for (const seg of [SEG.ss, SEG.ds, SEG.es, SEG.fs, SEG.gs]) put(seg, data);
    if (program.mode === 'long') {
      this.set64('seg_base', BigInt(program.oddData), SEG.fs);
      this.set64('seg_base', BigInt(program.oddCode), SEG.gs);
    }
    this.set32('cpl', program.cpl);
  }
}
