// Where Intel's CPUs leave a user program something else than AMD's, within what the manuals allow. The engines were
// made beside AMD's; these rules hold where an Intel CPU is the host.
import { readFileSync } from 'node:fs';
import { EFLAGS, EXC } from '../../src/isa/layout.ts';
import type { Case, Result } from './case.ts';
import { differences } from './engine.ts';
import { FCW, FSW, MXCSR, ST, withFx, XMM } from './fx.ts';

const FOUR_GIB = 1n << 32n;
/** No operand of a generated case is longer: an XSAVE area. */
const LONGEST = 4096n;

/** Rows whose operand of 8 bytes counts as one of 16. */
const WIDE_LOADS = /^vcvt(ph2ps|ps2ph)$/;
const FSW_ES = 0x80;
const UNDERFLOW = 0x10;
const MXCSR_FLAGS = 0x3f;

let intel: boolean | undefined;
/** Whether the host's CPU is Intel's. */
function hostIsIntel(): boolean {
  intel ??=
    process.platform === 'linux' && /^vendor_id\s*:\s*GenuineIntel$/m.test(readFileSync('/proc/cpuinfo', 'utf8'));
  return intel;
}

interface Rule {
  /** What is done differently, and where the manual leaves it open. */
  readonly why: string;
  readonly rows: RegExp;
  readonly is: (c: Case, want: Result, got: Result) => boolean;
}

const faulted = (r: Result): boolean => r.vector >= 0;
/** Whether nothing differs once a result has the parts that a rule excuses. */
const restAgrees = (c: Case, want: Result, got: Result, excused: Partial<Result> = {}): boolean =>
  differences(c, want, { ...got, ...excused }).length === 0;

/** Whether results of a string instruction with 32-bit addresses differ only in the upper halves of RCX, RSI and RDI: 0 on the host. */
function upperHalvesCleared(c: Case, want: Result, got: Result): boolean {
  const gpr = got.gpr.slice();
  for (const r of [1, 6, 7]) if (want.gpr[r] === BigInt.asUintN(32, gpr[r]!)) gpr[r] = want.gpr[r]!;
  return c.insn.asize === 32 && restAgrees(c, want, got, { gpr });
}

/** Effective address of the memory operand in a 32-bit program. */
function address32({ insn, gpr }: Case): bigint | undefined {
  const { mem } = insn;
  if (insn.mode.code !== 32 || !mem) return undefined;
  const at = (r: number | undefined): bigint => (r === undefined ? 0n : gpr[r]!);
  return BigInt.asUintN(insn.asize, at(mem.base) + (at(mem.index) << BigInt(mem.scale)) + mem.disp);
}

/** `got` with the elements of `want` wherever both are not numbers. */
function nansAlike(want: Uint8Array, got: Uint8Array, size: 4 | 8): Uint8Array {
  const out = got.slice();
  const [a, b] = [new DataView(want.buffer, want.byteOffset), new DataView(got.buffer, got.byteOffset)];
  const isNan = (v: DataView, at: number): boolean =>
    Number.isNaN(size === 4 ? v.getFloat32(at, true) : v.getFloat64(at, true));
  for (let at = 0; at < want.length; at += size) {
    if (isNan(a, at) && isNan(b, at)) out.set(want.subarray(at, at + size), at);
  }
  return out;
}

/** Biased exponent of ST(0); 0 below the normal range. */
const st0Exponent = (fx: Uint8Array): number => (fx[ST + 8]! | (fx[ST + 9]! << 8)) & 0x7fff;

const RULES: readonly Rule[] = [
  {
    why: 'whether vector operands that are not aligned raise #AC (SDM vol.2 MOVUPS)',
    rows: /^/,
    is: ({ rflags, insn }, want, got) =>
      (rflags & EFLAGS.AC) !== 0 &&
      (insn.row.unit === 'sse' || insn.row.unit === 'avx') &&
      insn.operands.some((o) => o.kind === 'mem' && (o.width >= 128 || WIDE_LOADS.test(insn.row.name))) &&
      (want.vector === EXC.AC || got.vector === EXC.AC),
  },
  {
    why: 'whether an operand may wrap around at 4 GiB (SDM vol.3 5.3)',
    rows: /^/,
    is(c, want, got) {
      const at = address32(c);
      const limit = (r: Result): boolean => r.vector === EXC.GP || r.vector === EXC.SS;
      // Each element of a gather has an address of its own.
      const near = /^vp?gather/.test(c.insn.row.name) || (at !== undefined && at > FOUR_GIB - LONGEST);
      return c.insn.mode.code === 32 && near && limit(want) !== limit(got);
    },
  },
  {
    why: 'how much MOVSXD reads with a 16-bit operand (SDM vol.2 MOVSXD: 16 bits; AMD: 32)',
    rows: /^movsxd$/,
    is: (c, want, got) => c.insn.w === 16 && c.insn.mem !== undefined && (faulted(want) || faulted(got)),
  },
  {
    why: 'whether a string instruction with 32-bit addresses that faults has cleared the upper halves of its registers',
    rows: /^(movs|cmps|stos|lods|scas)[bwdq]/,
    is: (c, want, got) => faulted(want) && upperHalvesCleared(c, want, got),
  },
  {
    why: 'whether MOVS and STOS with 32-bit addresses have cleared the upper halves when they are not repeated once',
    rows: /^(movs|stos)[bwdq]/,
    is: (c, want, got) =>
      c.insn.rep !== 'none' && (c.gpr[1]! & 0xffff_ffffn) === 0n && upperHalvesCleared(c, want, got),
  },
  {
    why: 'a store whose operand raises an unmasked exception does not look at memory',
    rows: /^f(b?stp?|istt?p?)$/,
    is: (_c, want, got) => faulted(want) !== faulted(got) && ((faulted(want) ? got : want).fx[FSW]! & FSW_ES) !== 0,
  },
  {
    why: 'a CALL to where it may not go has stored its return address',
    rows: /^call$/,
    is: (c, want, got) => want.vector === EXC.GP && restAgrees(c, want, got, { window: want.window }),
  },
  {
    why: 'in which order four products are added, so whose NaN it is (SDM vol.2 DPPS)',
    rows: /^v?dpp[sd]$/,
    is(c, want, got) {
      const size = /s$/.test(c.insn.row.name) ? 4 : 8;
      const fx = got.fx.slice();
      fx.set(nansAlike(want.fx.slice(XMM, XMM + 256), got.fx.slice(XMM, XMM + 256), size), XMM);
      return restAgrees(c, want, got, { fx, ymmh: nansAlike(want.ymmh.slice(), got.ymmh.slice(), size) });
    },
  },
  {
    why: 'whether an exact result below the normal range underflows if that is unmasked',
    rows: /^(fprem1?|fscale)$/,
    is: (c, want, got) =>
      (c.fx[FCW]! & UNDERFLOW) === 0 &&
      st0Exponent(want.fx) === 0 &&
      restAgrees(c, want, withFx(withFx(got, want, FSW, FSW + 2), want, ST, ST + 10)),
  },
  {
    why: 'an MMX store that faults has put the x87 into its MMX state',
    rows: /^/,
    is: (c, want, got) =>
      c.insn.row.unit === 'mmx' &&
      faulted(want) &&
      restAgrees(c, want, withFx(withFx(got, want, FSW, FSW + 3), want, ST, XMM)),
  },
  {
    why: 'XSAVE tells of the components that only the host has',
    rows: /^xsave/,
    is(c, want, got) {
      const asked = (c.gpr[0]! & 0xffff_ffffn) | ((c.gpr[2]! & 0xffff_ffffn) << 32n);
      return asked >> 3n !== 0n && restAgrees(c, want, got, { window: want.window });
    },
  },
  {
    why: 'which of two faults comes first: a stack address that is not canonical, or not aligned',
    rows: /^(fx|x)(save|rstor)/,
    is: (_c, want, got) =>
      (want.vector === EXC.SS && got.vector === EXC.GP) || (want.vector === EXC.GP && got.vector === EXC.SS),
  },
  {
    why: 'which of two faults a conversion that stores reports, and whether the flags of MXCSR are set by then',
    rows: /^vcvtps2ph$/,
    is: (c, want, got) =>
      faulted(want) &&
      faulted(got) &&
      (want.vector !== got.vector || restAgrees(c, want, withFx(got, want, MXCSR, MXCSR + 1, MXCSR_FLAGS))),
  },
  {
    why: 'which byte of an element behind a mask is told of',
    rows: /^vp?maskmov/,
    is: (c, want, got) => faulted(want) && restAgrees(c, want, got, { cr2: want.cr2, error: want.error }),
  },
];

/** Why a difference is one that an Intel host explains, or undefined. */
export function intelDiffers(c: Case, want: Result, got: Result): string | undefined {
  if (!hostIsIntel()) return undefined;
  return RULES.find(({ rows, is }) => rows.test(c.insn.row.name) && is(c, want, got))?.why;
}
