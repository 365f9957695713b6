/**
 * Small guests' surroundings: descriptor tables, page tables and handlers for each mode of the processor, written
 * into the low 256 KiB. For measuring, comparing engines and tests.
 *
 *   00000 real-mode vectors   01000 GDT   02000 IDT   03000 TSS   04000 page tables (PML4 or PDPT, PDPT, PD, PT)
 *   08000 exception and interrupt handlers, 16 bytes each   0A000 code   10000 data   20000 stack, grows down from 28000
 *   40000 with paging: odd pages, see ODD_PAGES
 */
import type { GuestMemory, Segment, Sregs } from './contract.ts';

export const MODES = ['real', 'protected', 'pae', 'long'] as const;
export type ModeName = (typeof MODES)[number];

export const AT = {
  gdt: 0x1000,
  idt: 0x2000,
  tss: 0x3000,
  tables: 0x4000,
  handlers: 0x8000,
  code: 0xa000,
  data: 0x10000,
  stack: 0x28000,
  /** Bytes of RAM that all this needs. */
  ram: 0x40000,
} as const;
export const HANDLER_SIZE = 16;
const VECTORS = 256;

/** Linear pages with paging on that are not the plain frame of their number. */
export const ODD_PAGES = {
  absent: 0x40000,
  readOnly: 0x41000,
  mmio: 0x42000,
  user: 0x43000,
  noExecute: 0x44000,
} as const;
/** gpa behind ODD_PAGES.mmio, where no RAM is. */
export const MMIO_GPA = 0x80000;

/** Selectors. */
export const SEL = {
  code32: 0x08,
  data: 0x10,
  code64: 0x18,
  tss: 0x20,
  user32: 0x30,
  userData: 0x38,
  user64: 0x40,
} as const;

const CR0_PE = 1n;
const CR0_MP = 2n;
const CR0_ET = 0x10n;
const CR0_NE = 0x20n;
const CR0_WP = 0x1_0000n;
const CR0_PG = 0x8000_0000n;
const CR4_PAE = 0x20n;
const CR4_SSE = 0x600n;
const EFER_LONG = 0xd01n; // SCE, LME, LMA, NXE
const EFER_NX = 0x800n;
const APIC_BASE = 0xfee0_0900n;

// Page table entries: bit 0 present, 1 writable, 2 user, 5 accessed, 6 dirty, 63 no execute. Accessed and dirty are
// set from the start, because an engine that caches a page does not set them again.
const P = 0x61n;
const PDPTE_PRESENT = 1n;
const RW = 2n;
const US = 4n;
const NX = 1n << 63n;

/** The low dword's and the high dword's parts of a descriptor (SDM vol.3 figure 3-8). */
const descriptor = (base: number, limit: number, access: number, flags: number): bigint =>
  BigInt(limit & 0xffff) |
  (BigInt(base & 0xff_ffff) << 16n) |
  (BigInt(access) << 40n) |
  (BigInt(((limit >> 16) & 15) | (flags << 4)) << 48n) |
  (BigInt((base >>> 24) & 0xff) << 56n);

const TSS_LIMIT = 0x67;
const FLAT = 0xf_ffff;

class Writer {
  private readonly memory: GuestMemory;
  constructor(memory: GuestMemory) {
    this.memory = memory;
  }
  u64(gpa: number, value: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    this.memory.write(gpa, bytes);
  }
  bytes(gpa: number, bytes: readonly number[]): void {
    this.memory.write(gpa, Uint8Array.from(bytes));
  }
}

function writeGdt(w: Writer): void {
  const entries = [
    0n,
    descriptor(0, FLAT, 0x9b, 0xc),
    descriptor(0, FLAT, 0x93, 0xc),
    descriptor(0, FLAT, 0x9b, 0xa),
    descriptor(AT.tss, TSS_LIMIT, 0x8b, 0),
    0n,
    descriptor(0, FLAT, 0xfb, 0xc),
    descriptor(0, FLAT, 0xf3, 0xc),
    descriptor(0, FLAT, 0xfb, 0xa),
  ];
  entries.forEach((e, i) => {
    w.u64(AT.gdt + i * 8, e);
  });
}

/** Interrupt gates of DPL 3 to the handlers. */
function writeIdt(w: Writer, long: boolean): void {
  for (let v = 0; v < VECTORS; v++) {
    const to = AT.handlers + v * HANDLER_SIZE;
    const selector = long ? SEL.code64 : SEL.code32;
    const gate = BigInt(to & 0xffff) | (BigInt(selector) << 16n) | (0xeen << 40n) | (BigInt(to >>> 16) << 48n);
    w.u64(AT.idt + v * (long ? 16 : 8), gate);
    if (long) w.u64(AT.idt + v * 16 + 8, 0n);
  }
}

/** Stacks for level 0: RSP0 at +4 (64-bit); ESP0 at +4 and SS0 at +8 (32-bit). */
function writeTss(w: Writer, long: boolean): void {
  w.bytes(AT.tss, new Array(TSS_LIMIT + 1).fill(0));
  w.u64(AT.tss + 4, BigInt(AT.stack - 0x4000) | (long ? 0n : BigInt(SEL.data) << 32n));
  w.bytes(AT.tss + 0x66, [TSS_LIMIT + 1, 0]);
}

function writePageTables(w: Writer, long: boolean): void {
  const [first, second, directory, table] = [0, 1, 2, 3].map((i) => AT.tables + i * 0x1000) as [
    number,
    number,
    number,
    number,
  ];
  for (let i = 0; i < 512; i++) w.u64(table + i * 8, i < AT.ram / 4096 ? BigInt(i * 4096) | P | RW | US : 0n);
  for (let at = first; at < table; at += 8) w.u64(at, 0n);
  const odd = (va: number, frame: number, bits: bigint): void => w.u64(table + (va >> 12) * 8, BigInt(frame) | bits);
  odd(ODD_PAGES.readOnly, 0x1e000, P | US);
  odd(ODD_PAGES.mmio, MMIO_GPA, P | RW | US);
  odd(ODD_PAGES.user, 0x1d000, P | RW | US);
  odd(ODD_PAGES.noExecute, 0x1c000, P | RW | US | NX);
  w.u64(directory, BigInt(table) | P | RW | US);
  if (long) {
    w.u64(first, BigInt(second) | P | RW | US);
    w.u64(second, BigInt(directory) | P | RW | US);
  } else w.u64(first, BigInt(directory) | PDPTE_PRESENT);
}

const segment = (selector: number, type: number, more: Partial<Segment>): Segment => ({
  base: 0n,
  limit: 0xffff_ffff,
  selector,
  type,
  present: 1,
  dpl: 0,
  db: 0,
  s: 1,
  l: 0,
  g: 1,
  avl: 0,
  unusable: 0,
  ...more,
});
const realSegment = (type: number): Segment => segment(0, type, { limit: 0xffff, g: 0 });

/**
 * Writes the surroundings of a mode at CPL 0.
 * @param handler bytes of the handler of a vector, at most HANDLER_SIZE
 * @returns the special registers to start with; stack pointer AT.stack, code at AT.code
 */
export function setUpMode(memory: GuestMemory, mode: ModeName, handler: (vector: number) => readonly number[]): Sregs {
  const w = new Writer(memory);
  for (let v = 0; v < VECTORS; v++) {
    w.bytes(AT.handlers + v * HANDLER_SIZE, handler(v));
    w.bytes(v * 4, [(AT.handlers + v * HANDLER_SIZE) & 0xff, (AT.handlers + v * HANDLER_SIZE) >> 8, 0, 0]);
  }
  const long = mode === 'long';
  if (mode === 'real') return realSregs();
  writeGdt(w);
  writeIdt(w, long);
  writeTss(w, long);
  const paging = mode === 'pae' || long;
  if (paging) writePageTables(w, long);
  const data = segment(SEL.data, 3, { db: 1 });
  return {
    cs: long ? segment(SEL.code64, 11, { l: 1 }) : segment(SEL.code32, 11, { db: 1 }),
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    tr: segment(SEL.tss, 11, { base: BigInt(AT.tss), limit: TSS_LIMIT, s: 0, g: 0 }),
    ldt: segment(0, 2, { limit: 0, present: 0, s: 0, g: 0, unusable: 1 }),
    gdt: { base: BigInt(AT.gdt), limit: 9 * 8 - 1 },
    idt: { base: BigInt(AT.idt), limit: VECTORS * (long ? 16 : 8) - 1 },
    cr0: CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | (paging ? CR0_PG : 0n),
    cr2: 0n,
    cr3: paging ? BigInt(AT.tables) : 0n,
    cr4: CR4_SSE | (paging ? CR4_PAE : 0n),
    cr8: 0n,
    efer: long ? EFER_LONG : paging ? EFER_NX : 0n,
    apicBase: APIC_BASE,
  };
}

function realSregs(): Sregs {
  const data = realSegment(3);
  return {
    cs: realSegment(11),
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: { ...data, base: 0x20000n, selector: 0x2000 },
    tr: segment(0, 11, { limit: 0xffff, s: 0, g: 0 }),
    ldt: segment(0, 2, { limit: 0xffff, s: 0, g: 0 }),
    gdt: { base: 0n, limit: 0xffff },
    idt: { base: 0n, limit: 0x3ff },
    cr0: CR0_ET,
    cr2: 0n,
    cr3: 0n,
    cr4: CR4_SSE,
    cr8: 0n,
    efer: 0n,
    apicBase: APIC_BASE,
  };
}
