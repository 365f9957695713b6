// Where a CPU may differ from another within the architecture, or where the manual leaves a result undefined that is
// not a flag. A rule takes over from what was expected the part that it excuses; everything else must still agree.
import { EFLAGS, EXC } from '../../src/isa/layout.ts';
import { decidesUnderflow, ordinalOf, UNDERFLOW } from '../softfloat/ordinal.ts';
import type { Case, Result } from './case.ts';
import { differences } from './engine.ts';
import { FSW, ST, withFx, XMM } from './fx.ts';
import { intelDiffers } from './intel.ts';

/** Count of a shift, from its immediate or CL, cut as for operands of up to 32 bits. */
function shiftCount(c: Case): number {
  const imm = c.insn.operands.at(-1);
  return Number((imm?.kind === 'imm' ? imm.value : c.gpr[1]!) & 31n);
}

type Rule = (c: Case, want: Result, got: Result) => Result;
const faulted = (r: Result): boolean => r.vector >= 0;

/** Byte of an FXSAVE image with C1 of FSW, and its bit. */
const C1_BYTE = 3;
const C1 = 0x02;
const ignoreC1: Rule = (_c, want, got) => withFx(got, want, C1_BYTE, C1_BYTE + 1, C1);

/** A register of an FXSAVE image as an integer whose steps are units in the last place. */
function ordinal(fx: Uint8Array, at: number): bigint {
  const view = new DataView(fx.buffer, fx.byteOffset + at);
  return ordinalOf(view.getUint16(8, true), view.getBigUint64(0, true));
}

/**
 * Transcendental functions are accurate to one unit in the last place at most (SDM vol.1 8.3.10): two CPUs may round
 * to neighbours, and C1 tells which way. Where the neighbour is denormal, that may be an underflow.
 */
const transcendental: Rule = (c, want, got) => {
  let near = ignoreC1(c, want, got);
  for (const i of [0, 1]) {
    const at = ST + 16 * i;
    const [a, b] = [ordinal(want.fx, at), ordinal(got.fx, at)];
    const edge = decidesUnderflow(a, b);
    if (edge || (a - b >= -2n && a - b <= 2n)) near = withFx(near, want, at, at + 10);
    if (!edge) continue;
    near = withFx(near, want, FSW, FSW + 1, UNDERFLOW & 0xff);
    near = withFx(near, want, FSW + 1, FSW + 2, UNDERFLOW >> 8);
  }
  return near;
};

/** FYL2XP1 outside -(1 - sqrt(1/2)) ... sqrt(2) - 1 is undefined (SDM vol.2 FYL2XP1). */
const fyl2xp1: Rule = (c, want, got) => {
  const view = new DataView(c.fx.buffer, c.fx.byteOffset);
  const exponent = view.getUint16(ST + 8, true) & 0x7fff;
  // 2^-2 is inside, 2^-1 is not; between them the limit is looked at no closer than its exponent.
  if (exponent < 0x3ffd) return transcendental(c, want, got);
  return withFx(got, want, 0, XMM);
};

/** RCP and RSQRT have a relative error of at most 1.5 * 2^-12 (SDM vol.2 RCPPS); both CPUs may be off by that. */
const APPROXIMATE = 2 * 1.5 * 2 ** -12;
function approximateHalves(want: Uint8Array, got: Uint8Array): Uint8Array {
  const near = got.slice();
  const [a, b] = [new DataView(want.buffer, want.byteOffset), new DataView(got.buffer, got.byteOffset)];
  for (let at = 0; at < want.length; at += 4) {
    const [x, y] = [a.getFloat32(at, true), b.getFloat32(at, true)];
    const tiny = Math.abs(x) <= 2 ** -126 && Math.abs(y) <= 2 ** -126;
    if (tiny || Math.abs(x - y) <= APPROXIMATE * Math.abs(x)) near.set(want.subarray(at, at + 4), at);
  }
  return near;
}

const approximate: Rule = (_c, want, got) => {
  let near = got;
  const [a, b] = [new DataView(want.fx.buffer, want.fx.byteOffset), new DataView(got.fx.buffer, got.fx.byteOffset)];
  const tiny = 2 ** -126;
  // Upper halves of YMM are parts of their own.
  near = { ...near, ymmh: approximateHalves(want.ymmh, got.ymmh) };
  for (let at = XMM; at < XMM + 256; at += 4) {
    const [x, y] = [a.getFloat32(at, true), b.getFloat32(at, true)];
    const close = Math.abs(x - y) <= APPROXIMATE * Math.abs(x);
    // Where the result is denormal some CPUs give zero.
    if (close || (Math.abs(x) <= tiny && Math.abs(y) <= tiny)) near = withFx(near, want, at, at + 4);
  }
  return near;
};

/** A fault whose address within the operand, or whose trace in memory, is open. */
const openFault: Rule = (_c, want, got) =>
  faulted(want) && want.vector === got.vector ? { ...got, error: want.error, cr2: want.cr2, window: want.window } : got;

/** Operand bytes 28-31 of an FXSAVE image tell which bits of MXCSR exist; AMD's CPUs have bit 17. */
const mxcsrMask: Rule = (c, want, got) => {
  const open = openFault(c, want, got);
  const window = open.window.slice();
  for (let i = 2; i < window.length; i++) {
    if (want.window[i] === 2 && window[i] === 0 && want.window[i - 1] === 0xff) window[i] = 2;
  }
  return { ...open, window };
};

/**
 * Conversions between MMX and SSE registers that raise #XM: AMD's CPUs have put the x87 into its MMX state by then.
 */
const mmxThenXm: Rule = (_c, want, got) => (want.vector === 19 ? withFx(withFx(got, want, 2, 5), want, ST, XMM) : got);

/** AMD's CPUs have bit 17 of MXCSR (misaligned accesses), others raise #GP; either side may be the host's CPU. */
const misalignedMode: Rule = (_c, want, got) => {
  const differs = (has: typeof want, refuses: typeof want): boolean => has.fx[26] === 2 && refuses.vector === 13;
  return differs(want, got) || differs(got, want) ? want : got;
};

/** Both operands fault in two ways: either fault may be the one that is reported. */
const eitherFault: Rule = (_c, want, got) => (faulted(want) && faulted(got) ? { ...want } : got);

/** RDSEED and RDRAND where the host has no number ready: zero with CF clear (SDM vol.2 RDSEED). Plinth always has one. */
const noNumberReady = (c: Case, want: Result): boolean => {
  const to = c.insn.operands[0];
  if (!/^rdrand|^rdseed/.test(c.insn.row.name) || to?.kind !== 'reg') return false;
  return !faulted(want) && (want.rflags & EFLAGS.CF) === 0 && BigInt.asUintN(c.insn.w, want.gpr[to.n]!) === 0n;
};

/**
 * Rows whose result is the machine's or the moment's: time, CPUID, the components of XCR0, random numbers, the number of
 * the CPU. How wide it is, the flags and all else are compared all the same.
 */
export const MACHINE_OWN = /^(rdtscp?|rdpid|cpuid|xgetbv|rdrand|rdseed)$/;
const OWN_REGISTERS: Readonly<Record<string, readonly number[]>> = {
  rdtsc: [0, 2],
  rdtscp: [0, 1, 2],
  cpuid: [0, 1, 2, 3],
  xgetbv: [0, 2],
};
const machineOwn: Rule = (c, want, got) => {
  const { row, operands, w } = c.insn;
  const named = operands[0]?.kind === 'reg' ? [operands[0].n] : [];
  const bits = /^rdrand|^rdseed/.test(row.name) ? w : 32;
  const gpr = got.gpr.slice();
  for (const r of OWN_REGISTERS[row.name] ?? named) {
    gpr[r] = (gpr[r]! & ~((1n << BigInt(bits)) - 1n)) | BigInt.asUintN(bits, want.gpr[r]!);
  }
  return { ...got, gpr, rflags: noNumberReady(c, want) ? got.rflags & ~EFLAGS.CF : got.rflags };
};

const RULES: readonly (readonly [RegExp, Rule])[] = [
  [/^(f2xm1|fyl2x|fptan|fpatan|fsin|fcos|fsincos)$/, transcendental],
  [/^fyl2xp1$/, fyl2xp1],
  [MACHINE_OWN, machineOwn],
  // C1 is cleared by Intel's manual and left alone by AMD's CPUs.
  [/^fu?comip?$/, ignoreC1],
  [/^v?(rcp|rsqrt)[ps]s$/, approximate],
  [/^cvt(t?p[sd]2pi|pi2p[sd])$/, mmxThenXm],
  [/^(fxsave|xsave)/, mxcsrMask],
  [/^v?ldmxcsr/, misalignedMode],
  [/^cmps[bwdq]/, eitherFault],
  [/^(enter|fnstenv|fnsave|fxrstor|xrstor.*)$/, openFault],
  // In which pieces an environment is read, and so which of several faults comes first.
  [/^(fldenv|frstor)$/, eitherFault],
];

/**
 * Whether an address may belong to the harness itself: its image with the heap behind it, and in a 32-bit program the
 * stack and the vDSO at the top. There the host finds memory where the guest has none.
 */
const insideHarness = (code: 16 | 32 | 64, address: bigint): boolean =>
  code === 32
    ? (address >= 0x0804_8000n && address < 0x0c00_0000n) || address >= 0xf000_0000n
    : address >= 0x40_0000n && address < 0x400_0000n;

const eitherOf = (a: number, b: number, x: Result, y: Result): boolean =>
  (x.vector === a && y.vector === b) || (x.vector === b && y.vector === a);

/** True when a difference is one that the manuals allow. */
export function knownDifference(c: Case, want: Result, got: Result): boolean {
  const { row, w, opcode, modrm } = c.insn;
  // SHLD and SHRD of 16 bits by more than 16: destination and flags are undefined (SDM vol.2 SHLD).
  if (/^sh[lr]d$/.test(row.name) && w === 16 && shiftCount(c) > 16 && want.vector === got.vector) return true;
  // 0F 0D with a register: NOP on Intel's CPUs, #UD on AMD's.
  if (row.enc.map === 1 && opcode === 0x0d && modrm >= 0xc0) return true;
  // MASKMOV with a mask of zeros may fault or not (SDM vol.2 MASKMOVQ).
  if (/^v?maskmov/.test(row.name) && (faulted(want) || faulted(got))) return true;
  // AMD's CPUs take unaligned operands of the SHA instructions, for Intel's they are #GP (exceptions type 4).
  if (/^sha(1|256)/.test(row.name) && (got.vector === 13) !== (want.vector === 13)) return true;
  // A gather that faults keeps what it has finished; the rows do all of it anew (src/isa/families/avx-masked.ts).
  if (/^vp?gather/.test(row.name) && faulted(want) && want.vector === got.vector) return true;
  // An element of a gather may lie anywhere, so also in the harness itself.
  if (/^vp?gather/.test(row.name) && faulted(want) !== faulted(got) && c.insn.mode.code === 32) return true;
  // At the addresses of the host's kernel a page is present, but not for user programs: error code bit P is its own.
  if (want.vector === 14 && got.vector === 14 && want.cr2 === got.cr2 && want.cr2 >> 47n !== 0n) return true;
  if (got.vector === 14 && insideHarness(c.insn.mode.code, got.cr2)) return true;
  // The alignment check comes after page faults in SDM vol.3 table 6-2; AMD's CPUs make it first.
  if (c.rflags & EFLAGS.AC && eitherOf(EXC.AC, EXC.PF, want, got)) return true;
  // A CALL to where it may not go over a stack that it may not write: AMD's CPUs push first.
  const stackFault = want.vector === EXC.AC || want.vector === EXC.PF || want.vector === EXC.SS;
  if (row.name === 'call' && stackFault && got.vector === EXC.GP) return true;
  // FXSAVE and FXRSTOR may raise #AC for less than 16 bytes (SDM vol.2 FXSAVE); here they raise #GP always.
  if (/^(fx|x)(save|rstor)/.test(row.name) && eitherOf(EXC.AC, EXC.GP, want, got)) return true;
  const rule = RULES.find(([name]) => name.test(row.name))?.[1];
  if (rule !== undefined && differences(c, want, rule(c, want, got)).length === 0) return true;
  return intelDiffers(c, want, got) !== undefined;
}
