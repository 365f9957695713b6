/**
 * The state a processor is in when a loader hands over: segments, control registers, and the low-memory
 * places of what a loader leaves for the kernel. One statement for all boot protocols.
 */
import type { GuestMemory, Regs, Segment, Sregs } from '../../hv/contract.ts';
import { ByteWriter } from '../bytes.ts';
import { LOCAL_APIC_BASE } from '../memory-map.ts';

/** What a vCPU is set to after a kernel has been loaded. */
export interface BootState {
  regs: Regs;
  sregs: Sregs;
  /** The protocol that was used: `bzimage-64`, `bzimage-32`, `linux-elf-64`, `linux-elf-32`, `pvh` or `multiboot`. */
  method: string;
}

/**
 * Low memory used by loaders, free for the kernel once it has read what it wants. The first page is the BIOS's.
 * Kernels may not be loaded over it.
 */
export const BOOT_DATA = {
  gdt: 0x1000,
  /** Start info, module list and memory map of PVH, or the information structure of multiboot. */
  info: 0x2000,
  infoEnd: 0x6000,
  /** Grows down; no protocol promises a stack, so it is short. */
  stackTop: 0x7000,
  /** Linux's boot_params. */
  zeroPage: 0x7000,
  /** PML4, PDPT and four page directories. */
  pageTables: 0x9000,
  commandLine: 0x20000,
  /** Longest command line, without its terminator, where the protocol sets no shorter limit. */
  commandLineMax: 0xffff,
  end: 0x30000,
} as const;

const CR0_PE = 1n << 0n;
const CR0_ET = 1n << 4n;
const CR0_PG = 1n << 31n;
const CR4_PAE = 1n << 5n;
const EFER_LME = 1n << 8n;
const EFER_LMA = 1n << 10n;
const RFLAGS_FIXED = 2n;
/** IA32_APIC_BASE: [8] bootstrap processor, [11] enabled, [35:12] base. */
const APIC_BASE_BSP_ENABLED = BigInt(LOCAL_APIC_BASE) | (1n << 8n) | (1n << 11n);

/** Selectors that Linux's boot protocol fixes: __BOOT_CS, __BOOT_DS; then a task state segment. */
const SELECTOR_CODE = 0x10;
const SELECTOR_DATA = 0x18;
const SELECTOR_TSS = 0x20;

/** Segment types (SDM vol.3 3.4.5.1 and 3.5). */
const TYPE_DATA_WRITE_ACCESSED = 0x3;
const TYPE_LDT = 0x2;
const TYPE_BUSY_TSS = 0xb;
const TYPE_CODE_READ_ACCESSED = 0xb;
const TSS_LIMIT = 0x67;
const FLAT_LIMIT = 0xffff_ffff;

function flatSegment(selector: number, type: number, mode: { db: number; l: number }): Segment {
  return { base: 0n, limit: FLAT_LIMIT, selector, type, present: 1, dpl: 0, s: 1, g: 1, avl: 0, unusable: 0, ...mode };
}

/** Flat code segment of 32-bit protected mode. */
export function flatCode32(): Segment {
  return flatSegment(SELECTOR_CODE, TYPE_CODE_READ_ACCESSED, { db: 1, l: 0 });
}

/** Code segment of 64-bit mode. */
export function flatCode64(): Segment {
  return flatSegment(SELECTOR_CODE, TYPE_CODE_READ_ACCESSED, { db: 0, l: 1 });
}

/** Flat writable data segment. */
export function flatData(): Segment {
  return flatSegment(SELECTOR_DATA, TYPE_DATA_WRITE_ACCESSED, { db: 1, l: 0 });
}

function systemSegment(selector: number, type: number, limit: number, unusable: number): Segment {
  const present = unusable ? 0 : 1;
  return { base: 0n, limit, selector, type, present, dpl: 0, db: 0, s: 0, l: 0, g: 0, avl: 0, unusable };
}

/** General registers all zero but for the given ones; flags hold only the bit that is always one. */
export function bootRegs(given: Partial<Regs>): Regs {
  return {
    rax: 0n,
    rbx: 0n,
    rcx: 0n,
    rdx: 0n,
    rsi: 0n,
    rdi: 0n,
    rsp: BigInt(BOOT_DATA.stackTop),
    rbp: 0n,
    r8: 0n,
    r9: 0n,
    r10: 0n,
    r11: 0n,
    r12: 0n,
    r13: 0n,
    r14: 0n,
    r15: 0n,
    rip: 0n,
    rflags: RFLAGS_FIXED,
    ...given,
  };
}

/**
 * Special registers for 32-bit protected mode with flat segments and paging off, as Linux's 32-bit protocol,
 * PVH and multiboot ask for. Writes the GDT.
 */
export function enterProtectedMode(mem: GuestMemory): Sregs {
  return bootSregs(mem, flatCode32(), { cr0: CR0_PE | CR0_ET, cr3: 0n, cr4: 0n, efer: 0n });
}

/** Special registers for 64-bit mode with the low 4 GiB mapped onto themselves. Writes the GDT and page tables. */
export function enterLongMode(mem: GuestMemory): Sregs {
  writeIdentityPageTables(mem);
  return bootSregs(mem, flatCode64(), {
    cr0: CR0_PE | CR0_ET | CR0_PG,
    cr3: BigInt(BOOT_DATA.pageTables),
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
  });
}

function bootSregs(mem: GuestMemory, cs: Segment, control: Pick<Sregs, 'cr0' | 'cr3' | 'cr4' | 'efer'>): Sregs {
  const tr = systemSegment(SELECTOR_TSS, TYPE_BUSY_TSS, TSS_LIMIT, 0);
  return {
    cs,
    ds: flatData(),
    es: flatData(),
    fs: flatData(),
    gs: flatData(),
    ss: flatData(),
    tr,
    ldt: systemSegment(0, TYPE_LDT, 0, 1),
    gdt: { base: BigInt(BOOT_DATA.gdt), limit: writeGdt(mem, [cs, flatData(), tr]) },
    idt: { base: 0n, limit: 0 },
    cr2: 0n,
    cr8: 0n,
    apicBase: APIC_BASE_BSP_ENABLED,
    ...control,
  };
}

/** Writes a GDT with each segment at its selector. Returns the limit. */
function writeGdt(mem: GuestMemory, segments: readonly Segment[]): number {
  const size = Math.max(...segments.map((s) => s.selector)) + 8;
  const gdt = new DataView(new ArrayBuffer(size));
  for (const segment of segments) gdt.setBigUint64(segment.selector, encodeDescriptor(segment), true);
  mem.write(BOOT_DATA.gdt, new Uint8Array(gdt.buffer));
  return size - 1;
}

/**
 * A segment as an 8-byte descriptor (SDM vol.3 3.4.5).
 *
 *     [15:0] limit 15:0   [39:16] base 23:0   [43:40] type   [44] S   [46:45] DPL   [47] P
 *     [51:48] limit 19:16   [52] AVL   [53] L   [54] D/B   [55] G   [63:56] base 31:24
 */
export function encodeDescriptor(segment: Segment): bigint {
  const limit = BigInt(segment.g ? segment.limit >>> 12 : segment.limit);
  const flags =
    segment.type |
    (segment.s << 4) |
    (segment.dpl << 5) |
    (segment.present << 7) |
    (segment.avl << 12) |
    (segment.l << 13) |
    (segment.db << 14) |
    (segment.g << 15);
  return (
    (limit & 0xffffn) |
    ((segment.base & 0xff_ffffn) << 16n) |
    (BigInt(flags) << 40n) |
    (((limit >> 16n) & 0xfn) << 48n) |
    (((segment.base >> 24n) & 0xffn) << 56n)
  );
}

/** Page table entry bits (SDM vol.3 4.5.4): [0] present, [1] writable, [7] page size. */
const PTE_TABLE = 0x3;
const PTE_LARGE_PAGE = 0x83;
const LARGE_PAGE_SIZE = 0x20_0000;
const TABLE_SIZE = 4096;
const ENTRIES_PER_TABLE = 512;
const MAPPED_GIB = 4;

/** Four-level tables that map the low 4 GiB onto themselves with 2 MiB pages. */
function writeIdentityPageTables(mem: GuestMemory): void {
  const pml4 = BOOT_DATA.pageTables;
  const pdpt = pml4 + TABLE_SIZE;
  const directories = pdpt + TABLE_SIZE;
  mem.write(
    pml4,
    new ByteWriter()
      .u64(pdpt | PTE_TABLE)
      .padTo(TABLE_SIZE)
      .finish(),
  );
  const pointers = new ByteWriter();
  const entries = new ByteWriter();
  for (let i = 0; i < MAPPED_GIB; i++) pointers.u64((directories + i * TABLE_SIZE) | PTE_TABLE);
  for (let i = 0; i < MAPPED_GIB * ENTRIES_PER_TABLE; i++) entries.u64(i * LARGE_PAGE_SIZE + PTE_LARGE_PAGE);
  mem.write(pdpt, pointers.padTo(TABLE_SIZE).finish());
  mem.write(directories, entries.finish());
}
