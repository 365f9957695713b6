/** Two vCPUs' states side by side: what differs, by name, leaving out what the architecture leaves open. */
import type { Regs, Segment, Sregs, Vcpu } from './contract.ts';

export interface Difference {
  readonly what: string;
  readonly a: string;
  readonly b: string;
}

/** MSRs that both engines hold and guests set. */
export const COMPARED_MSRS = [
  0x174, 0x175, 0x176, 0x277, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084, 0xc000_0102,
];

const SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const;
const CONTROL = ['cr0', 'cr2', 'cr3', 'cr4', 'efer'] as const;
/** RF is set and cleared around single steps in ways of each engine's own; TF is the debugger's. */
const OWN_FLAGS = 0x1_0100n;

// Bytes of an XSAVE area that say something about the guest: FCW FSW FTW, MXCSR, ST0-ST7 (10 bytes each), XMM0-15.
// FOP, FIP and FDP are only kept by some CPUs, and only at unmasked exceptions.
const XSAVE_PARTS: readonly (readonly [name: string, at: number, length: number])[] = [
  ['fcw', 0, 2],
  ['fsw', 2, 2],
  ['ftw', 4, 1],
  ['mxcsr', 24, 4],
  ...Array.from({ length: 8 }, (_, i) => [`st${i}`, 32 + 16 * i, 10] as const),
  ...Array.from({ length: 16 }, (_, i) => [`xmm${i}`, 160 + 16 * i, 16] as const),
];

const LMA = 0x400n;
const LOW32 = 0xffff_ffffn;
const hex = (v: bigint | number): string => `0x${v.toString(16)}`;
const bytesText = (b: Uint8Array): string => [...b].map((v) => v.toString(16).padStart(2, '0')).join('');

/** Flags in `ignored` may differ; outside 64-bit code only the low 32 bits of a register are there to be seen. */
export function compareRegs(a: Regs, b: Regs, ignored = 0n, wide = true): Difference[] {
  const out: Difference[] = [];
  for (const name of Object.keys(a) as (keyof Regs)[]) {
    const mask = name === 'rflags' ? ~(ignored | OWN_FLAGS) : wide ? -1n : LOW32;
    if ((a[name] ^ b[name]) & mask) out.push({ what: name, a: hex(a[name]), b: hex(b[name]) });
  }
  return out;
}

function segmentText(s: Segment, bases: boolean, nulls: boolean): string {
  // What is behind an unusable register can only be seen where its base counts.
  if (nulls && (s.selector & ~3) === 0) return `null ${hex(s.selector)}${bases ? ` base ${hex(s.base)}` : ''}`;
  if (s.unusable) return `${hex(s.selector)} unusable${bases ? ` base ${hex(s.base)}` : ''}`;
  // The accessed bit of a loaded segment's register has no meaning once loaded.
  const type = s.s ? s.type | 1 : s.type;
  return `${hex(s.selector)} base ${hex(s.base)} limit ${hex(s.limit)} type ${type} s${s.s} dpl${s.dpl} p${s.present} db${s.db} l${s.l} g${s.g} avl${s.avl}`;
}
export function compareSregs(a: Sregs, b: Sregs): Difference[] {
  const out: Difference[] = [];
  const add = (what: string, x: string, y: string): void => {
    if (x !== y) out.push({ what, a: x, b: y });
  };
  for (const n of SEGMENTS) {
    const bases = n === 'fs' || n === 'gs';
    // In 64-bit mode null selectors are loaded and used; what else such a register holds is each engine's own.
    const nulls = (a.efer & b.efer & LMA) !== 0n && n !== 'tr';
    add(n, segmentText(a[n], bases, nulls), segmentText(b[n], bases, nulls));
  }
  for (const n of CONTROL) add(n, hex(a[n]), hex(b[n]));
  for (const n of ['gdt', 'idt'] as const) {
    add(n, `${hex(a[n].base)} ${hex(a[n].limit)}`, `${hex(b[n].base)} ${hex(b[n].limit)}`);
  }
  return out;
}
export function compareXsave(a: Uint8Array, b: Uint8Array): Difference[] {
  return XSAVE_PARTS.flatMap(([what, at, length]) => {
    const [x, y] = [bytesText(a.subarray(at, at + length)), bytesText(b.subarray(at, at + length))];
    return x === y ? [] : [{ what, a: x, b: y }];
  });
}
function compareMsrs(a: Vcpu, b: Vcpu): Difference[] {
  const [x, y] = [a.getMsrs(COMPARED_MSRS), b.getMsrs(COMPARED_MSRS)];
  return COMPARED_MSRS.flatMap((index, i) =>
    x[i] === y[i] ? [] : [{ what: `msr ${hex(index)}`, a: hex(x[i]!), b: hex(y[i]!) }],
  );
}

export interface CompareOptions {
  /** RFLAGS bits that may differ. */
  readonly ignoredFlags?: bigint;
  /** All 64 bits of the general registers. Default true. */
  readonly wide?: boolean;
  /** Also floating point, vectors, MSRs and debug registers. */
  readonly all?: boolean;
}

/** What differs between two vCPUs that do not run. */
export function compareVcpus(a: Vcpu, b: Vcpu, o: CompareOptions = {}): Difference[] {
  const out = [
    ...compareRegs(a.getRegs(), b.getRegs(), o.ignoredFlags ?? 0n, o.wide ?? true),
    ...compareSregs(a.getSregs(), b.getSregs()),
  ];
  if (!o.all) return out;
  out.push(...compareXsave(a.getXsave(), b.getXsave()), ...compareMsrs(a, b));
  const [x, y] = [a.getDebugRegs(), b.getDebugRegs()];
  x.db.forEach((value, i) => {
    if (value !== y.db[i]) out.push({ what: `dr${i}`, a: hex(value), b: hex(y.db[i]!) });
  });
  if (x.dr7 !== y.dr7) out.push({ what: 'dr7', a: hex(x.dr7), b: hex(y.dr7) });
  return out;
}
