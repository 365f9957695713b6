// The x87 instructions under test: the assembly that the host runs and the helper calls a row would make.

import type { Exports } from './build.ts';
import { binary32, binary64, extended, integer, type Random } from './operands.ts';

/** Memory operand and flags of one instruction, before and after. */
export interface Case {
  readonly low: bigint;
  readonly high: number;
  readonly eflags: number;
}

export interface Op {
  /** `%[m]` is the memory operand. */
  readonly asm: string;
  /** Memory operand generator: low 64 bits and bits 64-79. */
  readonly memory?: (random: Random) => { low: bigint; high: number };
  readonly run: (x: Exports, cpu: number, given: Case) => Partial<Case> | undefined;
  /** Status word bits in which processors differ. */
  readonly ignoredStatus?: number;
  /** Allowed difference of results in units of the last place. */
  readonly ulps?: number;
  /** Registers that go to particular operand ranges. */
  readonly range?: 'exp' | 'log' | 'logp1' | 'trig';
}

const m = '%[m]';
const word = (bits: bigint, high = 0) => ({ low: bits, high });
const m32 = (random: Random) => word(binary32(random));
const m64 = (random: Random) => word(binary64(random));
const int = (bits: number) => (random: Random) => word(integer(random, bits));
const m80 = (random: Random) => {
  const { sig, se } = extended(random);
  return word(sig, se);
};
/** Mostly valid packed BCD. */
const bcd = (random: Random) => {
  let low = 0n;
  for (let digit = 0n; digit < 16n; digit++) low |= BigInt(random.below(10)) << (4n * digit);
  return word(low, random.below(10) | (random.below(10) << 4) | (random.below(2) << 15));
};

const done = (_status: unknown): undefined => undefined;
const plain = (asm: string, call: string, ...args: number[]): Op => ({
  asm,
  run: (x, cpu) => {
    x[call]!(cpu, ...args);
  },
});

/** A store: value, memory, commit, as a row does it. */
function stored(bits: number, call: string, pops: number, ...args: number[]): Op['run'] {
  return (x, cpu, given) => {
    const value = BigInt.asUintN(bits === 80 ? 64 : bits, BigInt(x[call]!(cpu, ...args)));
    const high = Number(x.x87_store_high!(cpu)) & 0xffff;
    const ok = x.x87_store_ok!(cpu);
    x.x87_store_commit!(cpu, pops);
    if (!ok) return {};
    const kept = bits >= 64 ? 0n : (given.low >> BigInt(bits)) << BigInt(bits);
    return { low: value | kept, ...(bits === 80 ? { high } : {}) };
  };
}

export const basicOps: Op[] = [
  { asm: `flds ${m}`, memory: m32, run: (x, cpu, c) => done(x.x87_fld_m32!(cpu, Number(c.low) | 0)) },
  { asm: `fldl ${m}`, memory: m64, run: (x, cpu, c) => done(x.x87_fld_m64!(cpu, c.low)) },
  { asm: `fldt ${m}`, memory: m80, run: (x, cpu, c) => done(x.x87_fld_m80!(cpu, c.low, c.high)) },
  { asm: `filds ${m}`, memory: int(16), run: (x, cpu, c) => done(x.x87_fild!(cpu, BigInt.asIntN(16, c.low))) },
  { asm: `fildl ${m}`, memory: int(32), run: (x, cpu, c) => done(x.x87_fild!(cpu, BigInt.asIntN(32, c.low))) },
  { asm: `fildll ${m}`, memory: int(64), run: (x, cpu, c) => done(x.x87_fild!(cpu, c.low)) },
  { asm: `fbld ${m}`, memory: bcd, run: (x, cpu, c) => done(x.x87_fbld!(cpu, c.low, c.high)) },
  plain('fld %%st(0)', 'x87_fld_st', 0),
  plain('fld %%st(3)', 'x87_fld_st', 3),
  ...['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'].map((asm, n) =>
    plain(asm, 'x87_fld_constant', n),
  ),
  { asm: `fsts ${m}`, memory: m32, run: stored(32, 'x87_fst_m32', 0) },
  { asm: `fstps ${m}`, memory: m32, run: stored(32, 'x87_fst_m32', 1) },
  { asm: `fstl ${m}`, memory: m64, run: stored(64, 'x87_fst_m64', 0) },
  { asm: `fstpl ${m}`, memory: m64, run: stored(64, 'x87_fst_m64', 1) },
  { asm: `fstpt ${m}`, memory: m80, run: stored(80, 'x87_fst_m80', 1) },
  { asm: `fists ${m}`, memory: m64, run: stored(16, 'x87_fist', 0, 16) },
  { asm: `fistl ${m}`, memory: m64, run: stored(32, 'x87_fist', 0, 32) },
  { asm: `fistps ${m}`, memory: m64, run: stored(16, 'x87_fist', 1, 16) },
  { asm: `fistpl ${m}`, memory: m64, run: stored(32, 'x87_fist', 1, 32) },
  { asm: `fistpll ${m}`, memory: m64, run: stored(64, 'x87_fist', 1, 64) },
  { asm: `fisttps ${m}`, memory: m64, run: stored(16, 'x87_fistt', 1, 16) },
  { asm: `fisttpl ${m}`, memory: m64, run: stored(32, 'x87_fistt', 1, 32) },
  { asm: `fisttpll ${m}`, memory: m64, run: stored(64, 'x87_fistt', 1, 64) },
  { asm: `fbstp ${m}`, memory: m80, run: stored(80, 'x87_fbstp', 1) },
  plain('fst %%st(2)', 'x87_fst_st', 2, 0),
  plain('fstp %%st(0)', 'x87_fst_st', 0, 1),
  plain('fstp %%st(5)', 'x87_fst_st', 5, 1),
  plain('fxch %%st(1)', 'x87_fxch', 1),
  plain('fxch %%st(6)', 'x87_fxch', 6),
  plain('ffree %%st(2)', 'x87_ffree', 2, 0),
  plain('fchs', 'x87_sign', 1),
  plain('fabs', 'x87_sign', 0),
  plain('ftst', 'x87_ftst'),
  plain('fxam', 'x87_fxam'),
  plain('fsqrt', 'x87_fsqrt'),
  plain('frndint', 'x87_frndint'),
  plain('fscale', 'x87_fscale'),
  plain('fxtract', 'x87_fxtract'),
  plain('fprem', 'x87_fprem', 0),
  plain('fprem1', 'x87_fprem', 1),
  plain('fincstp', 'x87_rotate', 1),
  plain('fdecstp', 'x87_rotate', -1),
  plain('fnclex', 'x87_fnclex'),
  plain('fninit', 'x87_fninit'),
  plain('emms', 'x87_emms'),
  plain('fcom %%st(1)', 'x87_fcom_st', 1, 1, 0),
  plain('fcomp %%st(3)', 'x87_fcom_st', 3, 1, 1),
  plain('fcompp', 'x87_fcom_st', 1, 1, 2),
  plain('fucom %%st(1)', 'x87_fcom_st', 1, 0, 0),
  plain('fucomp %%st(2)', 'x87_fcom_st', 2, 0, 1),
  plain('fucompp', 'x87_fcom_st', 1, 0, 2),
  { asm: `fldcw ${m}`, memory: int(16), run: (x, cpu, c) => done(x.x87_fldcw!(cpu, Number(c.low))) },
  {
    asm: `movq ${m},%%mm3`,
    memory: int(64),
    run: (x, cpu, c) => {
      x.x87_mmx_enter!(cpu);
      x.x87_mmx_write!(cpu, 3, c.low);
      return undefined;
    },
  },
  {
    asm: `fnstenv %[e]`,
    run: (x, cpu) => {
      x.x87_fnstenv!(cpu, 0, 3);
      x.x87_fnstenv_commit!(cpu);
      return undefined;
    },
  },
];

// D8-DF arithmetic: every operation by ModRM.reg, in all operand forms.
const arithmetic = ['fadd', 'fmul', 'fcom', 'fcomp', 'fsub', 'fsubr', 'fdiv', 'fdivr'];
for (const [op, name] of arithmetic.entries()) {
  const i = name.replace('f', 'fi');
  basicOps.push(
    { asm: `${name}s ${m}`, memory: m32, run: (x, cpu, c) => done(x.x87_arith_m32!(cpu, op, Number(c.low) | 0)) },
    { asm: `${name}l ${m}`, memory: m64, run: (x, cpu, c) => done(x.x87_arith_m64!(cpu, op, c.low)) },
    {
      asm: `${i}s ${m}`,
      memory: int(16),
      run: (x, cpu, c) => done(x.x87_arith_int!(cpu, op, Number(BigInt.asIntN(16, c.low)))),
    },
    {
      asm: `${i}l ${m}`,
      memory: int(32),
      run: (x, cpu, c) => done(x.x87_arith_int!(cpu, op, Number(BigInt.asIntN(32, c.low)))),
    },
    plain(`.byte 0xd8,${0xc0 + op * 8 + 1}`, 'x87_arith_st0', op, 1),
    plain(`.byte 0xd8,${0xc0 + op * 8}`, 'x87_arith_st0', op, 0),
  );
  if (op === 2 || op === 3) continue;
  basicOps.push(
    plain(`.byte 0xdc,${0xc0 + op * 8 + 1}`, 'x87_arith_sti', op, 1, 0),
    plain(`.byte 0xde,${0xc0 + op * 8 + 2}`, 'x87_arith_sti', op, 2, 1),
    plain(`.byte 0xde,${0xc0 + op * 8}`, 'x87_arith_sti', op, 0, 1),
  );
}

/** FCOMI and its relatives. C1: the Intel manual clears it, AMD processors keep it unless the stack underflows. */
function comi(asm: string, i: number, signal: number, pops: number): Op {
  return {
    asm,
    ignoredStatus: 0x200,
    run: (x, cpu) => ({ eflags: Number(x.x87_fcomi!(cpu, i, signal, pops)) }),
  };
}
basicOps.push(
  comi('fcomi %%st(1),%%st', 1, 1, 0),
  comi('fcomip %%st(2),%%st', 2, 1, 1),
  comi('fucomi %%st(1),%%st', 1, 0, 0),
  comi('fucomip %%st(2),%%st', 2, 0, 1),
);
for (const [cc, holds] of [
  ['b', (f: number) => (f & 1) !== 0],
  ['e', (f: number) => (f & 0x40) !== 0],
  ['nbe', (f: number) => (f & 0x41) === 0],
  ['u', (f: number) => (f & 4) !== 0],
] as const) {
  basicOps.push({
    asm: `fcmov${cc} %%st(2),%%st`,
    run: (x, cpu, c) => done(x.x87_fcmov!(cpu, 2, holds(c.eflags) ? 1 : 0)),
  });
}

/** Transcendental instructions: the approximations of processors differ in the last place. */
export const transcendentalOps: Op[] = (
  [
    ['f2xm1', 'exp'],
    ['fyl2x', 'log'],
    ['fyl2xp1', 'logp1'],
    ['fpatan', undefined],
    ['fsin', 'trig'],
    ['fcos', 'trig'],
    ['fsincos', 'trig'],
    ['fptan', 'trig'],
  ] as const
).map(([name, range]) => ({ ...plain(name, `x87_${name}`), ulps: 1, ...(range ? { range } : {}) }));
