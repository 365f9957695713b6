/**
 * The layout of everything a vCPU keeps in WebAssembly memory: the one definition from which the offsets
 * in TypeScript (`CPU`, `TLB`, ...) and in the AssemblyScript runtime (`src/runtime/gen/layout.ts`,
 * written by `scripts/gen-layout.ts`) come. All offsets are in bytes from the vCPU's `cpu` pointer unless a
 * name says otherwise.
 */

/** Size in bytes of each field type. `v256` is a YMM register (its low half is the XMM register). */
const TYPE_SIZE = { u8: 1, u16: 2, u32: 4, u64: 8, v256: 32, f80: 16 } as const;
type FieldType = keyof typeof TYPE_SIZE;

interface FieldSpec {
  readonly name: string;
  readonly type: FieldType;
  readonly count: number;
  readonly about: string;
}

const field = (name: string, type: FieldType, about: string, count = 1): FieldSpec => ({ name, type, count, about });

/** Segment registers in encoding order (SDM vol.2 B.1.4.5), then the two system segments. */
export const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const;
export type SegmentName = (typeof SEGMENTS)[number];
export const SEG = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;

/** General-purpose registers in encoding order. */
export const GPR_NAMES = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');

/** PCIDs whose translations are kept at a time. */
const TLB_SPACES = 8;
/** Data TLBs: one for each access context, and a user's for each further address space. */
const TLB_TABLES = 4 + TLB_SPACES - 1;

const FIELDS: readonly FieldSpec[] = [
  field('gpr', 'u64', 'rax..r15 in encoding order', 16),
  field('zero', 'u64', 'always 0: the base or index that an address does not have'),
  field('ea', 'u64', 'linear address left by the address-generation record for the next record'),
  field('page_base', 'u64', 'rip of the first byte of the page being executed (rip = page_base + record offset)'),
  field('seg_base', 'u64', 'linear base of es..gs, ldtr, tr; in 64-bit mode the address path uses only fs and gs', 8),
  field('seg_none', 'u64', 'always 0: the base of an unsegmented access; the second is that of the stack', 2),
  field('seg_limit', 'u32', 'limit in bytes, scaled by G', 8),
  field('seg_attr', 'u32', 'descriptor bits 8-23 of the high dword as ATTR_*: type, S, DPL, P, AVL, L, D/B, G', 8),
  field('seg_sel', 'u16', 'selectors', 8),
  // Arithmetic flags, kept lazily: see FLAG_RECIPES. cc_op names the recipe and width.
  field('cc_r', 'u64', 'result, zero-extended from its width'),
  field('cc_x', 'u64', 'first operand of the recipe'),
  field('cc_y', 'u64', 'second operand of the recipe'),
  field('cc_op', 'u32', 'which recipe and width the three values above belong to; 0 = explicit bits in cc_x'),
  field('eflags', 'u32', 'RFLAGS without CF PF AF ZF SF OF (those six bits are 0 here); bit 1 is set'),
  field('rip', 'u64', 'rip, valid outside a running chain of records'),
  field('cpl', 'u32', 'current privilege level'),
  field('fpu_trap', 'u32', 'non-zero: x87/MMX instructions must call fp_check first (CR0.EM, TS, pending exception)'),
  field('sse_trap', 'u32', 'non-zero: SSE instructions must call fp_check first (CR0.EM, TS, CR4.OSFXSR)'),
  field('avx_trap', 'u32', 'non-zero: AVX instructions must call fp_check first (mode, CR0.TS, CR4.OSXSAVE, XCR0)'),
  field('mode', 'u32', 'MODE_*: what the decoder must know about cs and ss'),
  field('code_base', 'u64', 'base of cs as fetches use it: 0 in 64-bit mode'),
  field('code_mask', 'u64', 'mask of linear fetch addresses: ~0 in 64-bit mode, else 0xffffffff'),
  field('itlb_ctx', 'u32', 'context bits OR-ed into instruction TLB tags: privilege and mode'),
  field('jump_key', 'u64', 'what an entry of JUMPS must have to be valid, in its low half: its jump_epoch | itlb_ctx'),
  field('tlb_ptr', 'u32', 'address of the data TLB of the current access context (absolute)'),
  field('budget', 'u32', 'signed: guest instructions left before the chain returns to its caller'),
  field('stop', 'u32', 'non-zero asks the chain to leave at the next check; STOP_* says why'),
  field('irq_pending', 'u32', 'an external interrupt is pending at the interrupt controller'),
  field('nmi_pending', 'u32', 'an NMI is pending'),
  field('nmi_blocked', 'u32', 'NMIs are blocked until the next IRET'),
  field('shadow', 'u32', 'interrupt shadow: 1 after STI, 2 after MOV/POP SS; cleared after the next instruction'),
  field('halted', 'u32', 'HLT was executed and no wake-up event came yet'),
  field('exit_reason', 'u32', 'EXIT_* when the chain has returned for a reason other than its budget'),
  field('exit_a', 'u64', 'exit detail'),
  field('exit_b', 'u64', 'exit detail'),
  field('exit_mode', 'u32', 'EXIT_MODE_*: what becomes of instructions that access memory which is not RAM'),
  field('io_wait', 'u32', 'set by the host in a port, memory or MSR access that it cannot answer yet'),
  field('insns', 'u64', 'guest instructions retired up to the last accounting point'),
  // The exception being raised.
  field('exc_vector', 'u32', 'vector of the fault or trap being raised'),
  field('exc_error', 'u32', 'error code'),
  field('exc_cr2', 'u64', 'faulting linear address of a #PF'),
  field('exc_depth', 'u32', 'class of the exception in delivery: 0 none, 1 benign, 2 contributory, 3 #PF, 4 #DF'),
  field('exc_dr6', 'u32', 'debug-trap bits that become dr6 when #DB is delivered'),
  // System registers.
  field('pdpte', 'u64', 'the four PDPTE registers of PAE paging (SDM vol.3 4.4.1)', 4),
  field('cr0', 'u64', ''),
  field('cr2', 'u64', ''),
  field('cr3', 'u64', ''),
  field('cr4', 'u64', ''),
  field('cr8', 'u64', 'task priority'),
  field('xcr0', 'u64', ''),
  field('xcr0_mask', 'u64', 'bits of XCR0 that this CPU model has; 0: no XSAVE, CR4.OSXSAVE is reserved'),
  field('dr', 'u64', 'dr0-dr7', 8),
  field('gdtr_base', 'u64', ''),
  field('idtr_base', 'u64', ''),
  field('gdtr_limit', 'u32', ''),
  field('idtr_limit', 'u32', ''),
  field('efer', 'u64', 'IA32_EFER'),
  field('star', 'u64', 'IA32_STAR'),
  field('lstar', 'u64', 'IA32_LSTAR'),
  field('cstar', 'u64', 'IA32_CSTAR'),
  field('fmask', 'u64', 'IA32_FMASK'),
  field('kernel_gs_base', 'u64', 'IA32_KERNEL_GS_BASE'),
  field('sysenter_cs', 'u64', 'IA32_SYSENTER_CS'),
  field('sysenter_esp', 'u64', 'IA32_SYSENTER_ESP'),
  field('sysenter_eip', 'u64', 'IA32_SYSENTER_EIP'),
  field('tsc_aux', 'u64', 'IA32_TSC_AUX'),
  field('pat', 'u64', 'IA32_PAT'),
  field('tsc_offset', 'u64', 'added to the clock to give the guest TSC'),
  field('tsc_asked', 'u64', 'the clock when the guest TSC was taken from it last, before tsc_offset'),
  field('tsc_given', 'u64', 'the last guest TSC that was given, before tsc_offset'),
  field('tsc_budget', 'u32', 'the budget at tsc_asked; 2^31 away where the clock is to be asked next'),
  field('tsc_window', 'u32', 'instructions behind tsc_asked that count as a tick each; 0: the clock is always asked'),
  field('misc_enable', 'u64', 'IA32_MISC_ENABLE'),
  field('feature_control', 'u64', 'IA32_FEATURE_CONTROL'),
  field('xss', 'u64', 'IA32_XSS'),
  field('mtrr_def_type', 'u64', 'IA32_MTRR_DEF_TYPE'),
  field('mtrr_phys', 'u64', 'IA32_MTRR_PHYSBASE0, PHYSMASK0, ... 8 pairs', 16),
  field('mtrr_fix', 'u64', 'IA32_MTRR_FIX64K, FIX16K x2, FIX4K x8', 11),
  field('debugctl', 'u64', 'IA32_DEBUGCTL'),
  field('apic_base', 'u64', 'IA32_APIC_BASE'),
  // Floating point and vectors.
  field(
    'fpr',
    'f80',
    'physical R0..R7: significand u64, sign and exponent u16; MMX registers alias the significands',
    8,
  ),
  field('ymm', 'v256', 'YMM0..YMM15, the XMM register in the low 16 bytes', 16),
  field('mxcsr', 'u32', ''),
  field('sse_fault', 'u32', 'non-zero: the SSE operation just computed raised an unmasked exception (sse_raise)'),
  field('fcw', 'u32', 'x87 control word'),
  field('fsw', 'u32', 'x87 status word without TOP (bits 11-13 are 0 here)'),
  field('ftop', 'u32', 'TOP, 0-7'),
  field('fempty', 'u32', 'bit i set: physical register Ri is empty'),
  field('fop', 'u32', 'last x87 opcode, 11 bits'),
  field('fip', 'u64', 'last x87 instruction pointer'),
  field('fdp', 'u64', 'last x87 data pointer'),
  field('fcs', 'u32', 'last x87 instruction selector'),
  field('fds', 'u32', 'last x87 data selector'),
  field('ferr', 'u32', 'state of the FERR# pin (CR0.NE = 0)'),
  // Memory slow path: a value that is not directly addressable is assembled in `bounce`.
  field('bounce_va', 'u64', 'linear address that a pending store in `bounce` belongs to'),
  field('bounce_size', 'u32', 'bytes of a pending store in `bounce`; 0 = none'),
  field('bounce_pa', 'u64', 'gpa of the first and, when the access crosses a page, of the second part', 2),
  field('bounce', 'u64', 'up to 64 bytes of a load or store that crosses a page or is not RAM', 8),
  // Memory of the VM (set once).
  field('p2m', 'u32', 'absolute address of the physical-to-machine table'),
  field('p2m_frames', 'u32', 'number of frames the table covers'),
  field('vcpu_id', 'u32', 'index of this vCPU; the initial APIC id'),
  field('phys_mask', 'u64', 'valid physical address bits of this CPU model'),
  field('a20_mask', 'u64', 'AND-ed to every gpa: ~0, or ~(1 << 20) with A20 masked'),
  // The TLBs (runtime/tlb, runtime/stlb, runtime/spaces).
  field('tlb_user', 'u32', 'address of the user data TLB of the current address space (absolute)'),
  field('tlb_used', 'u32', 'bit i set: data TLB i was filled since its last whole flush'),
  field('tlb_logged', 'u32', 'fills of each data TLB since it was last emptied of what is not global', TLB_TABLES),
  field('tlb_user_global', 'u32', 'non-zero: a user data TLB was given a global page since the last whole flush'),
  field('tlb_huge', 'u64', 'filter of 1 GiB regions from which a 1 GiB page is in a TLB: bit (va >> 30) & 63'),
  field('stlb_tag', 'u32', 'low bits of second-level TLB tags of the current address space'),
  field('stlb_global', 'u32', 'low bits of second-level TLB tags of global pages'),
  field('stlb_next_tag', 'u32', 'next value for the two above that is free; 0 before the first whole flush'),
  field('stlb_has', 'u32', 'what kinds of pages are in the second-level TLB (runtime/stlb)'),
  field('stlb_victim', 'u32', 'counts replacements in the second-level TLB: its low bits choose the way'),
  field('itlb_logged', 'u32', 'instruction TLB entries of supervisor pages that are not global, filled since a flush'),
  field('itlb_next_id', 'u32', 'next free address-space number of the instruction TLB'),
  field(
    'jump_epoch',
    'u64',
    'counts, in steps of JUMP_EPOCH_STEP, how often known jumps were forgotten: supervisor, user',
    2,
  ),
  field('space', 'u32', 'current address space: an index of the next four fields'),
  field('space_pcid', 'u32', 'PCID of each address space; all ones: none', TLB_SPACES),
  field('space_tag', 'u32', 'stlb_tag of each address space', TLB_SPACES),
  field('space_itlb', 'u32', 'address-space number of each in instruction TLB tags', TLB_SPACES),
  field('space_stamp', 'u32', 'space_clock when each address space was last entered', TLB_SPACES),
  field('space_clock', 'u32', 'counts switches of the address space'),
  field('exec_global', 'u32', 'ITLB_GLOBAL if the page that exec_translate found last is global, else 0'),
  field('watched', 'u32', 'non-zero: a data breakpoint is enabled in dr7'),
  field('cow_spare', 'u32', 'address of the first spare frame for breaking COW (its first u32: the next one), or 0'),
  field('cow_count', 'u32', 'number of spare frames in that list'),
  field('recent', 'u64', 'RECENT: the pages that a running region went to last, by base register', 4 * 20),
  field('scratch', 'u64', 'free use inside one instruction helper (FXSAVE image, far pointers, ...)', 128),
  // Counters for --log and stat.
  field('n_delivered', 'u32', 'exceptions and interrupts delivered: tells whether an instruction completed'),
  field('n_tlb_miss', 'u64', 'data TLB fills'),
  field('n_walk', 'u64', 'guest page walks: what the second-level TLB did not know'),
  field('n_itlb_miss', 'u64', 'instruction TLB fills'),
  field('n_slow', 'u64', 'memory accesses that took the slow path although mapped'),
  field('n_smc', 'u64', 'code pages invalidated by writes'),
  field('wide_key', 'u64', 'what tags of WIDE_TLB have in their low bits if they hold now, in this access context'),
  field('wide_epoch', 'u32', 'the key of what is put into WIDE_TLB; 0: the table has to be emptied first'),
  field('wide_used', 'u32', 'something was put into WIDE_TLB in this epoch'),
];

export interface Field {
  readonly name: string;
  readonly type: FieldType;
  readonly count: number;
  readonly offset: number;
  readonly stride: number;
  readonly about: string;
}

function place(specs: readonly FieldSpec[]): { fields: Field[]; size: number } {
  let at = 0;
  const fields = specs.map((f) => {
    const stride = TYPE_SIZE[f.type];
    at = Math.ceil(at / stride) * stride;
    const placed = { ...f, offset: at, stride };
    at += stride * f.count;
    return placed;
  });
  return { fields, size: Math.ceil(at / 64) * 64 };
}

const placed = place(FIELDS);
/** All fields of the vCPU state, in order, with their offsets. */
export const CPU_FIELDS: readonly Field[] = placed.fields;
/** Offset of each field by name. */
export const CPU: Readonly<Record<string, number>> = Object.fromEntries(placed.fields.map((f) => [f.name, f.offset]));
/** Bytes of the vCPU state. */
export const CPU_SIZE = placed.size;

/** Offset of a field; throws for a name that does not exist. `index` selects an element of an array field. */
export function cpuField(name: string, index = 0): number {
  const f = placed.fields.find((x) => x.name === name);
  if (!f || index >= f.count) throw new RangeError(`no vCPU field ${name}[${index}]`);
  return f.offset + index * f.stride;
}

/**
 * Software TLBs, at fixed offsets behind the state. A data entry is 32 bytes:
 *   +0  u64 tag for reads: linear page address, or all ones when invalid
 *   +8  u64 tag for writes: the same, valid only if a store may go straight to memory
 *   +16 u32 addend: host address = low 32 bits of the linear address + addend
 *   +20 u32 gpa frame number
 *   +24 u64 page size mask and global flag (see runtime/tlb)
 * An access of n bytes hits when tag == (va + n - 1) & ~0xfff, so a page-crossing access misses.
 * One table per access context, because permissions differ; users have one for each address space (PCID) that is kept:
 * table CTX_USER is that of address space 0, table CONTEXTS + i - 1 that of address space i.
 */
export const TLB = {
  ENTRIES: 1024,
  ENTRY_SIZE: 32,
  TAG_READ: 0,
  TAG_WRITE: 8,
  ADDEND: 16,
  FRAME: 20,
  INFO: 24,
  /** Access contexts: supervisor, user, supervisor with EFLAGS.AC set while CR4.SMAP, and never-hit (#AC checks). */
  CONTEXTS: 4,
  CTX_SUPERVISOR: 0,
  CTX_USER: 1,
  CTX_SUPERVISOR_AC: 2,
  CTX_CHECKED: 3,
  SPACES: TLB_SPACES,
  TABLES: TLB_TABLES,
  /** Offset of the first table from `cpu`. */
  OFFSET: 0x4000,
} as const;
export const TLB_BYTES = TLB.ENTRIES * TLB.ENTRY_SIZE;

/**
 * Pages that the running region's accesses off each base register went to last, 32 bytes each, of the fields of a TLB
 * entry; kept while one region runs, and looked at before the TLB. Entries 0-15 are of base registers, the others of
 * addresses without one.
 */
export const RECENT = {
  ENTRIES: 20,
  BASES: 16,
  ENTRY_SIZE: 32,
  /** A tag that no access has: the bit is neither of the page nor of an alignment. */
  NO_PAGE: 0x800,
} as const;

/**
 * Instruction TLB behind the data TLBs. An entry is 16 bytes:
 *   +0 u64 tag: linear page address | itlb_ctx, or all ones when invalid
 *   +8 u32 address of the code page (CODE_PAGE)
 *   +12 u32 frame number
 */
export const ITLB = {
  ENTRIES: 1024,
  ENTRY_SIZE: 16,
  TAG: 0,
  PAGE: 8,
  FRAME: 12,
  OFFSET: TLB.OFFSET + TLB.TABLES * TLB_BYTES,
} as const;

/**
 * Records that were jumped to, behind the instruction TLB: found by the linear address alone, so that a jump waits for one
 * load. An entry holds only in the context and the epoch of its key (`jump_key`); an epoch ends when a page that may have
 * entries is invalidated. Supervisor pages that are not global have none: they would end with every switch of the
 * address space.
 *   +0 u64 linear address   +8 u32 key, its low half   +12 u32 record   +16 u32 its code page
 */
export const JUMPS = {
  ENTRIES: 4096,
  ENTRY_SIZE: 32,
  LINEAR: 0,
  KEY: 8,
  RECORD: 12,
  PAGE: 16,
  OFFSET: ITLB.OFFSET + ITLB.ENTRIES * ITLB.ENTRY_SIZE,
} as const;

/**
 * Second-level TLB, in sets of four entries of 16 bytes; a second table like it has 2 MiB parts of larger pages:
 *   +0 u64 tag: linear address of the page (of the 2 MiB) | stlb_tag or stlb_global
 *   +8 u64 gpa of the page (of the 2 MiB) | rights and size (see runtime/walk)
 */
export const STLB = {
  SETS: 4096,
  LARGE_SETS: 256,
  WAYS: 4,
  ENTRY_SIZE: 16,
  TAG: 0,
  PAGE: 8,
  OFFSET: JUMPS.OFFSET + JUMPS.ENTRIES * JUMPS.ENTRY_SIZE,
} as const;
const STLB_SET = STLB.WAYS * STLB.ENTRY_SIZE;
export const STLB_LARGE_OFFSET = STLB.OFFSET + STLB.SETS * STLB_SET;

/**
 * More pages of the user's data TLB, for loops in regions that go all over memory: what is looked into in line where the
 * data TLB misses. An entry is 16 bytes:
 *   +0 u64 tag: linear page address | NO_STORES if stores may not go straight to memory | wide_key
 *   +8 u32 addend, as in the data TLB
 * All of it ends whenever any entry of a data TLB is dropped and when the address space changes: the key is another one then.
 */
export const WIDE_TLB = {
  ENTRIES: 32768,
  ENTRY_SIZE: 16,
  TAG: 0,
  ADDEND: 8,
  NO_STORES: 0x800,
  /** A key that no entry has. */
  NO_KEY: 0x7ff,
  OFFSET: STLB_LARGE_OFFSET + STLB.LARGE_SETS * STLB_SET,
} as const;

/** For each data TLB: u16 indices of the entries filled since it was last emptied of what is not global. */
export const TLB_LOG = { OFFSET: WIDE_TLB.OFFSET + WIDE_TLB.ENTRIES * WIDE_TLB.ENTRY_SIZE, ENTRIES: 256 } as const;
/** The same for supervisor pages in the instruction TLB. */
export const ITLB_LOG_OFFSET = TLB_LOG.OFFSET + TLB.TABLES * TLB_LOG.ENTRIES * 2;
/** Filter of 2 MiB regions, a bit each by number modulo BITS, from which a page above 4 KiB is in a TLB. */
export const TLB_LARGE = { OFFSET: ITLB_LOG_OFFSET + TLB_LOG.ENTRIES * 2, BITS: 4096 } as const;
/** Filter of frames, a bit each by number modulo BITS, to which a data TLB gives the right to write. */
export const TLB_WRITTEN = { OFFSET: TLB_LARGE.OFFSET + TLB_LARGE.BITS / 8, BITS: 65536 } as const;
/**
 * The pages that have entries in JUMPS in this epoch, the supervisor's and users' in tables of their own: hash tables of
 * u64, linear address | number of the address space << 1 | 1, or 0. Global pages have no such number. A page is in one of
 * PROBES places that follow each other.
 */
const [JUMP_PAGES_ENTRIES, JUMP_PAGES_PROBES] = [4096, 8];
export const JUMP_PAGES = {
  ENTRIES: JUMP_PAGES_ENTRIES,
  PROBES: JUMP_PAGES_PROBES,
  /** Of one of the two tables. */
  BYTES: (JUMP_PAGES_ENTRIES + JUMP_PAGES_PROBES) * 8,
  OFFSET: Math.ceil((TLB_WRITTEN.OFFSET + TLB_WRITTEN.BITS / 8) / 64) * 64,
} as const;

/** Bytes from one vCPU's state to the next. */
export const VCPU_STRIDE = Math.ceil((JUMP_PAGES.OFFSET + 2 * JUMP_PAGES.BYTES) / 0x10000) * 0x10000;

/** OR-ed to the frame number of an instruction TLB entry that a CR3 load keeps. */
export const ITLB_GLOBAL = 0x80000000;

/**
 * itlb_ctx: bit 0 user (cpl 3), bits 1-3 MODE_* shifted, bit 4 never matches (EFLAGS.TF or an instruction breakpoint
 * is set: every fetch is looked at), bits 5-11 with bit 0 the number of the address space (space_itlb): supervisor
 * pages are mostly global, so their entries have none and a switch of the address space drops those that are not.
 */
export const ITLB_CTX_NEVER = 16;
export const ITLB_CTX_USER = 1;
export const ITLB_CTX_MODE_SHIFT = 1;
export const ITLB_CTX_SPACE_SHIFT = 5;
/** One epoch of JUMPS: the bits above those of itlb_ctx. */
export const JUMP_EPOCH_STEP = 4096;
/** A key that no entry of JUMPS has: the first epoch is above it, and entries that are empty have 0. */
export const JUMP_KEY_NONE = JUMP_EPOCH_STEP - 1;
/** Address-space numbers of the instruction TLB are below this. */
export const ITLB_SPACE_IDS = 128;

/** `mode`: bits 0-1 code size (0 = 16, 1 = 32, 2 = 64), bit 2 stack is 32-bit (SS.B), unused in 64-bit mode. */
export const MODE_CODE16 = 0;
export const MODE_CODE32 = 1;
export const MODE_CODE64 = 2;
export const MODE_STACK32 = 4;

/** Segment attributes: bits of the descriptor's second dword shifted right by 8 (SDM vol.3 figure 3-8). */
export const ATTR = {
  TYPE: 0xf,
  ACCESSED: 1,
  WRITABLE: 2, // data; readable for code
  EXPAND_DOWN: 4, // data; conforming for code
  CODE: 8,
  S: 0x10,
  DPL_SHIFT: 5,
  P: 0x80,
  AVL: 0x1000,
  L: 0x2000,
  DB: 0x4000,
  G: 0x8000,
  /** Not a descriptor bit: the register was loaded with a null selector or is unusable. */
  NULL: 0x10000,
} as const;

/**
 * P2M: one u32 per guest frame.
 *   bits 12-31 machine frame (address in WebAssembly memory & ~0xfff), bits 0-11 flags
 */
export const P2M = {
  PRESENT: 1,
  WRITABLE: 2,
  /** Decoded or translated code lies in the frame: stores take the slow path. */
  CODE: 4,
  /** Log the first store to the frame. */
  LOG_DIRTY: 8,
  /** Machine frame is shared: the first store copies it. */
  COW: 16,
  FLAGS: 0xfff,
} as const;

/**
 * Code page: what is decoded of one frame in one mode.
 *   +0 u32 frame number, +4 u32 mode, +8 u64 bitmap of 64-byte granules that hold decoded code,
 *   +16 u32 first chunk of records (linked list), +20 u32 next code page of the same frame,
 *   +24 u32 how often its records were dropped: what was made of them is good as long as this stays,
 *   +64 u32 entry[4096]: address of the record that starts at each byte offset, or 0
 */
export const CODE_PAGE = {
  FRAME: 0,
  MODE: 4,
  GRANULES: 8,
  CHUNK: 16,
  NEXT: 20,
  DROPS: 24,
  ENTRY: 64,
  SIZE: 64 + 4096 * 4,
} as const;

/** Where a translated region goes on when it is left before an instruction: 16 bytes, found by its number. */
export const REGION_EXIT = {
  /** u32 handler and record of the instruction. */
  HANDLER: 0,
  REC: 4,
  /** i32 instructions that the region counted and did not carry out. */
  BACK: 8,
  /** i32 offset of the record's page from that of the region's entry. */
  PAGE: 12,
  SIZE: 16,
} as const;

/** A page of a region other than its entry's, first in the table of its exits: the same size. */
export const REGION_PAGE = {
  /** u64 linear address at which it was found to be what was decoded, u64 jump_key then; as in JUMPS. */
  LINEAR: 0,
  KEY: 8,
} as const;

/**
 * Decoded record, 32 bytes. Register operands are offsets from `cpu`.
 *   +0 u16 handler (table index)     +2 u16 heat: jumps left until the translator hears of the record; where a region
 *      stands in for it, the interpreter's handler
 *   +4 u16 a: ModRM.reg operand      +6 u16 b: register in ModRM.rm or opcode
 *   +8 u16 base   +10 u16 index   +12 u8 scale (shift)   +13 u8 instruction length   +14 u16 segment base
 *   +16 i64 immediate (VEX forms: i32 immediate, then u16 c: VEX.vvvv operand at +20)
 *   +24 i32 displacement (branches: target offset from page_base)   +28 u16 offset of the instruction in its page
 *   +30 u16 instructions before this one in its trace
 * Branch records use +8 as a u32 link: the address of the target's record once known, else 0.
 */
export const REC = {
  HANDLER: 0,
  HEAT: 2,
  A: 4,
  B: 6,
  BASE: 8,
  INDEX: 10,
  SCALE: 12,
  LEN: 13,
  SEG: 14,
  IMM: 16,
  C: 20,
  DISP: 24,
  OFFSET: 28,
  COUNT: 30,
  LINK: 8,
  SIZE: 32,
} as const;

/** A value of `stop`: the guest has set its TSC, which whoever tells it the time has to know. */
export const STOP_TSC_WRITTEN = 2;

/** Why a chain of records returned (`exit_reason`). */
export const EXIT = {
  NONE: 0,
  HLT: 1,
  IO: 2,
  MMIO: 3,
  SHUTDOWN: 4,
  DEBUG: 5,
  INTERNAL: 6,
  HYPERCALL: 7,
  EVENT: 8,
} as const;

/** `exit_mode`: the host answers at once; the chain leaves before the access; the host has been told and carries it out. */
export const EXIT_MODE = { INLINE: 0, LEAVE: 1, CARRY_OUT: 2 } as const;
/** Not a vector: recorded instead of one, it makes an instruction leave with EXIT.IO, as if it had not begun. */
export const EXC_LEAVE = 0x100;

/** EFLAGS bits (SDM vol.1 figure 3-8). */
export const EFLAGS = {
  CF: 1 << 0,
  FIXED: 1 << 1,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
  /** The six flags that are kept lazily. */
  ARITH: 0x8d5,
} as const;

/** Exception vectors (SDM vol.3 table 6-1). */
export const EXC = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
} as const;

/** Control register bits (SDM vol.3 2.5) and IA32_EFER bits. */
export const CR0 = {
  PE: 1,
  MP: 2,
  EM: 4,
  TS: 8,
  ET: 16,
  NE: 32,
  WP: 1 << 16,
  AM: 1 << 18,
  NW: 1 << 29,
  CD: 1 << 30,
  PG: 0x80000000,
} as const;
export const CR4 = {
  VME: 1 << 0,
  PVI: 1 << 1,
  TSD: 1 << 2,
  DE: 1 << 3,
  PSE: 1 << 4,
  PAE: 1 << 5,
  MCE: 1 << 6,
  PGE: 1 << 7,
  PCE: 1 << 8,
  OSFXSR: 1 << 9,
  OSXMMEXCPT: 1 << 10,
  UMIP: 1 << 11,
  LA57: 1 << 12,
  VMXE: 1 << 13,
  FSGSBASE: 1 << 16,
  PCIDE: 1 << 17,
  OSXSAVE: 1 << 18,
  SMEP: 1 << 20,
  SMAP: 1 << 21,
} as const;
export const EFER = { SCE: 1 << 0, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11, SVME: 1 << 12, FFXSR: 1 << 14 } as const;
