/**
 * The x87 FPU (SDM vol.1 chapter 8): rows that work on its registers. They load and store memory operands; everything
 * else is in the runtime's `x87_` helpers (src/runtime/x87/index.ts). Control words and environments are in fpstate.ts.
 *
 * An unmasked exception becomes pending and is raised by the next waiting instruction, so nothing here faults after
 * its memory access; `settle` keeps the field that makes engines look. FIP, FCS and FOP are recorded by every
 * instruction, but FDP and FDS are not, which is what CPUs that report FDP_EXCPTN_ONLY do while exceptions are masked;
 * in FOP the mod and r/m fields of memory forms read as 0.
 */
import { SEG } from '../layout.ts';
import type { Ops, Width } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { behind } from './common.ts';
import { settle } from './fpstate.ts';

const X87: RowAttrs = { unit: 'x87' };
const hex = (n: number): string => n.toString(16).toUpperCase();

/** Records the instruction's address and the 11 bits of its opcode: low 3 bits of the first byte, then ModRM. */
function recordPointers<V>(s: Ops<V>, opcode: number, modrm: V): void {
  s.setField('fop', s.or(s.k(BigInt((opcode & 7) << 8)), modrm));
  s.setField('fip', s.thisRip());
  s.setField('fcs', s.field('seg_sel', SEG.cs));
}

/** Row of a fixed ModRM byte. */
function plain(name: string, opcode: number, modrm: number, exec: <V>(s: Ops<V>) => void): Row {
  return row(
    name,
    '',
    `${hex(opcode)} ${hex(modrm)}`,
    (s) => {
      recordPointers(s, opcode, s.k(BigInt(modrm)));
      exec(s);
      settle(s);
    },
    X87,
  );
}

/** Row with ST(i) in ModRM.rm; `exec` is given its number. */
function stack(
  name: string,
  opcode: number,
  digit: number,
  exec: <V>(s: Ops<V>, i: V) => void,
  attrs: RowAttrs = X87,
): Row {
  return row(
    name,
    'Tt',
    `${hex(opcode)} /${digit}`,
    (s) => {
      const i = s.let(s.number(0));
      recordPointers(s, opcode, s.or(s.k(BigInt(0xc0 | (digit << 3))), i));
      exec(s, i);
      settle(s);
    },
    attrs,
  );
}

/** Row that takes an operand of up to 64 bits from memory. */
function memory(
  name: string,
  size: 'w' | 'd' | 'q',
  opcode: number,
  digit: number,
  exec: <V>(s: Ops<V>, x: V) => void,
): Row {
  return row(
    name,
    `M${size}`,
    `${hex(opcode)} /${digit}`,
    (s) => {
      const x = s.let(s.get(0));
      recordPointers(s, opcode, s.k(BigInt(digit << 3)));
      exec(s, x);
      settle(s);
    },
    X87,
  );
}

/** Bytes 8 and 9 of an 80-bit memory operand. */
const highOffset = <V>(s: Ops<V>, offset: V): V => behind(s, offset, 8);

/** Row that takes an operand of 80 bits from memory: `exec` is given the low 64 and the high 16. */
function memory80(name: string, opcode: number, digit: number, exec: <V>(s: Ops<V>, low: V, high: V) => void): Row {
  return row(
    name,
    'Mt',
    `${hex(opcode)} /${digit}`,
    (s) => {
      const offset = s.let(s.offset(0));
      const low = s.let(s.load(64, 'insn', offset));
      const high = s.let(s.load(16, 'insn', highOffset(s, offset)));
      recordPointers(s, opcode, s.k(BigInt(digit << 3)));
      exec(s, low, high);
      settle(s);
    },
    X87,
  );
}

/** Ends a store: nothing of the state has changed before, so that a store that faults can be restarted. */
function endStore<V>(s: Ops<V>, opcode: number, digit: number, pops: bigint): void {
  s.call('x87_store_commit', s.k(pops));
  recordPointers(s, opcode, s.k(BigInt(digit << 3)));
  settle(s);
}

/** Row that stores ST(0) as up to 64 bits. `value` names the helper that gives them. */
function store(
  name: string,
  size: 'w' | 'd' | 'q',
  opcode: number,
  digit: number,
  pops: bigint,
  value: <V>(s: Ops<V>) => V,
  attrs: RowAttrs = X87,
): Row {
  const w: Width = size === 'w' ? 16 : size === 'd' ? 32 : 64;
  return row(
    name,
    `+M${size}`,
    `${hex(opcode)} /${digit}`,
    (s) => {
      const x = s.let(value(s));
      // The address is checked also when an unmasked exception prevents the store.
      s.let(s.get(0));
      s.if(s.call('x87_store_ok'), () => s.set(0, s.zext(w, x)));
      endStore(s, opcode, digit, pops);
    },
    attrs,
  );
}

/** Row that stores ST(0) as 80 bits and pops it. */
function store80(name: string, opcode: number, digit: number, helper: string): Row {
  return row(
    name,
    'Mt',
    `${hex(opcode)} /${digit}`,
    (s) => {
      const low = s.let(s.call(helper));
      const high = s.let(s.call('x87_store_high'));
      const offset = s.let(s.offset(0));
      // Neither part is stored if one of them cannot be.
      s.probeStore(64, 'insn', offset);
      s.probeStore(16, 'insn', highOffset(s, offset));
      s.if(s.call('x87_store_ok'), () => {
        s.store(64, 'insn', offset, low);
        s.store(16, 'insn', highOffset(s, offset), high);
      });
      endStore(s, opcode, digit, 1n);
    },
    X87,
  );
}

/** ModRM.reg of the arithmetic groups. */
const OPERATIONS = ['add', 'mul', 'com', 'comp', 'sub', 'subr', 'div', 'divr'];
/** In DC and DE the manual's mnemonics of 4 and 5, and of 6 and 7, change places; what ModRM.reg means does not. */
const REVERSED = ['add', 'mul', 'com', 'comp', 'subr', 'sub', 'divr', 'div'];
const isCompare = (op: number): boolean => op === 2 || op === 3;

const arithmetic = OPERATIONS.flatMap((name, op): Row[] => {
  const number = BigInt(op);
  return [
    memory(`f${name}`, 'd', 0xd8, op, (s, x) => s.call('x87_arith_m32', s.k(number), x)),
    memory(`f${name}`, 'q', 0xdc, op, (s, x) => s.call('x87_arith_m64', s.k(number), x)),
    memory(`fi${name}`, 'd', 0xda, op, (s, x) => s.call('x87_arith_int', s.k(number), x)),
    memory(`fi${name}`, 'w', 0xde, op, (s, x) => s.call('x87_arith_int', s.k(number), s.sext(16, x))),
    stack(`f${name}`, 0xd8, op, (s, i) => s.call('x87_arith_st0', s.k(number), i)),
  ];
});
const intoStack = REVERSED.flatMap((name, op): Row[] => {
  if (isCompare(op)) return [];
  const number = BigInt(op);
  return [
    stack(`f${name}`, 0xdc, op, (s, i) => s.call('x87_arith_sti', s.k(number), i, s.k(0n))),
    stack(`f${name}p`, 0xde, op, (s, i) => s.call('x87_arith_sti', s.k(number), i, s.k(1n))),
  ];
});

/** FCOM and FUCOM (signal 0) with ST(i), popping `pops` times. */
const compare = (name: string, opcode: number, digit: number, signal: bigint, pops: bigint): Row =>
  stack(name, opcode, digit, (s, i) => s.call('x87_fcom_st', i, s.k(signal), s.k(pops)));
const compareBoth = (name: string, opcode: number, modrm: number, signal: bigint): Row =>
  plain(name, opcode, modrm, (s) => s.call('x87_fcom_st', s.k(1n), s.k(signal), s.k(2n)));
/** FCOMI ...: ZF, PF and CF from the comparison, the others 0. */
const compareFlags = (name: string, opcode: number, digit: number, signal: bigint, pops: bigint): Row =>
  stack(name, opcode, digit, (s, i) => s.setArith(s.let(s.call('x87_fcomi', i, s.k(signal), s.k(pops)))), {
    ...X87,
    feature: 'cmov',
  });

const comparisons: readonly Row[] = [
  compare('fucom', 0xdd, 4, 0n, 0n),
  compare('fucomp', 0xdd, 5, 0n, 1n),
  compareBoth('fucompp', 0xda, 0xe9, 0n),
  compareBoth('fcompp', 0xde, 0xd9, 1n),
  compareFlags('fucomi', 0xdb, 5, 0n, 0n),
  compareFlags('fcomi', 0xdb, 6, 1n, 0n),
  compareFlags('fucomip', 0xdf, 5, 0n, 1n),
  compareFlags('fcomip', 0xdf, 6, 1n, 1n),
  // Encodings that the manual leaves out and CPUs carry out as their documented twins.
  compare('fcom', 0xdc, 2, 1n, 0n),
  compare('fcomp', 0xdc, 3, 1n, 1n),
  compare('fcomp', 0xde, 2, 1n, 1n),
];

/** FCMOVcc: conditions B, E, BE, U are 2, 4, 6, 10; their negations follow them. */
const conditionalMoves = ['b', 'e', 'be', 'u'].flatMap((name, digit): Row[] => {
  const cc = [2, 4, 6, 10][digit]!;
  const move = (opcode: number, text: string, condition: number): Row =>
    stack(`fcmov${text}`, opcode, digit, (s, i) => s.call('x87_fcmov', i, s.cond(condition)), {
      ...X87,
      feature: 'cmov',
    });
  return [move(0xda, name, cc), move(0xdb, `n${name}`, cc + 1)];
});

const SSE3: RowAttrs = { ...X87, feature: 'sse3' };
const toInteger =
  (helper: string, bits: bigint) =>
  <V>(s: Ops<V>): V =>
    s.call(helper, s.k(bits));

const transfers: readonly Row[] = [
  memory('fld', 'd', 0xd9, 0, (s, x) => s.call('x87_fld_m32', x)),
  memory('fld', 'q', 0xdd, 0, (s, x) => s.call('x87_fld_m64', x)),
  memory80('fld', 0xdb, 5, (s, low, high) => s.call('x87_fld_m80', low, high)),
  stack('fld', 0xd9, 0, (s, i) => s.call('x87_fld_st', i)),
  memory('fild', 'w', 0xdf, 0, (s, x) => s.call('x87_fild', s.sext(16, x))),
  memory('fild', 'd', 0xdb, 0, (s, x) => s.call('x87_fild', s.sext(32, x))),
  memory('fild', 'q', 0xdf, 5, (s, x) => s.call('x87_fild', x)),
  memory80('fbld', 0xdf, 4, (s, low, high) => s.call('x87_fbld', low, high)),
  store('fst', 'd', 0xd9, 2, 0n, (s) => s.call('x87_fst_m32')),
  store('fstp', 'd', 0xd9, 3, 1n, (s) => s.call('x87_fst_m32')),
  store('fst', 'q', 0xdd, 2, 0n, (s) => s.call('x87_fst_m64')),
  store('fstp', 'q', 0xdd, 3, 1n, (s) => s.call('x87_fst_m64')),
  store80('fstp', 0xdb, 7, 'x87_fst_m80'),
  store80('fbstp', 0xdf, 6, 'x87_fbstp'),
  store('fist', 'w', 0xdf, 2, 0n, toInteger('x87_fist', 16n)),
  store('fist', 'd', 0xdb, 2, 0n, toInteger('x87_fist', 32n)),
  store('fistp', 'w', 0xdf, 3, 1n, toInteger('x87_fist', 16n)),
  store('fistp', 'd', 0xdb, 3, 1n, toInteger('x87_fist', 32n)),
  store('fistp', 'q', 0xdf, 7, 1n, toInteger('x87_fist', 64n)),
  store('fisttp', 'w', 0xdf, 1, 1n, toInteger('x87_fistt', 16n), SSE3),
  store('fisttp', 'd', 0xdb, 1, 1n, toInteger('x87_fistt', 32n), SSE3),
  store('fisttp', 'q', 0xdd, 1, 1n, toInteger('x87_fistt', 64n), SSE3),
  stack('fst', 0xdd, 2, (s, i) => s.call('x87_fst_st', i, s.k(0n))),
  stack('fstp', 0xdd, 3, (s, i) => s.call('x87_fst_st', i, s.k(1n))),
  stack('fxch', 0xd9, 1, (s, i) => s.call('x87_fxch', i)),
  stack('ffree', 0xdd, 0, (s, i) => s.call('x87_ffree', i, s.k(0n))),
  // Twins, as above.
  // FSTPNCE: an empty ST(0) is popped and not stored.
  stack('fstp', 0xd9, 3, (s, i) => s.call('x87_fstpnce', i)),
  stack('fstp', 0xdf, 2, (s, i) => s.call('x87_fst_st', i, s.k(1n))),
  stack('fstp', 0xdf, 3, (s, i) => s.call('x87_fst_st', i, s.k(1n))),
  stack('fxch', 0xdd, 1, (s, i) => s.call('x87_fxch', i)),
  stack('fxch', 0xdf, 1, (s, i) => s.call('x87_fxch', i)),
  stack('ffreep', 0xdf, 0, (s, i) => s.call('x87_ffree', i, s.k(1n))),
];

const CONSTANTS = ['fld1', 'fldl2t', 'fldl2e', 'fldpi', 'fldlg2', 'fldln2', 'fldz'];
const constants = CONSTANTS.map((name, n) =>
  plain(name, 0xd9, 0xe8 + n, (s) => s.call('x87_fld_constant', s.k(BigInt(n)))),
);

const functions: readonly Row[] = [
  plain('fnop', 0xd9, 0xd0, () => {}),
  plain('fchs', 0xd9, 0xe0, (s) => s.call('x87_sign', s.k(1n))),
  plain('fabs', 0xd9, 0xe1, (s) => s.call('x87_sign', s.k(0n))),
  plain('ftst', 0xd9, 0xe4, (s) => s.call('x87_ftst')),
  plain('fxam', 0xd9, 0xe5, (s) => s.call('x87_fxam')),
  plain('f2xm1', 0xd9, 0xf0, (s) => s.call('x87_f2xm1')),
  plain('fyl2x', 0xd9, 0xf1, (s) => s.call('x87_fyl2x')),
  plain('fptan', 0xd9, 0xf2, (s) => s.call('x87_fptan')),
  plain('fpatan', 0xd9, 0xf3, (s) => s.call('x87_fpatan')),
  plain('fxtract', 0xd9, 0xf4, (s) => s.call('x87_fxtract')),
  plain('fprem1', 0xd9, 0xf5, (s) => s.call('x87_fprem', s.k(1n))),
  plain('fdecstp', 0xd9, 0xf6, (s) => s.call('x87_rotate', s.k(0xffff_ffffn))),
  plain('fincstp', 0xd9, 0xf7, (s) => s.call('x87_rotate', s.k(1n))),
  plain('fprem', 0xd9, 0xf8, (s) => s.call('x87_fprem', s.k(0n))),
  plain('fyl2xp1', 0xd9, 0xf9, (s) => s.call('x87_fyl2xp1')),
  plain('fsqrt', 0xd9, 0xfa, (s) => s.call('x87_fsqrt')),
  plain('fsincos', 0xd9, 0xfb, (s) => s.call('x87_fsincos')),
  plain('frndint', 0xd9, 0xfc, (s) => s.call('x87_frndint')),
  plain('fscale', 0xd9, 0xfd, (s) => s.call('x87_fscale')),
  plain('fsin', 0xd9, 0xfe, (s) => s.call('x87_fsin')),
  plain('fcos', 0xd9, 0xff, (s) => s.call('x87_fcos')),
];

export const X87_ROWS: readonly Row[] = [
  ...arithmetic,
  ...intoStack,
  ...comparisons,
  ...conditionalMoves,
  ...transfers,
  ...constants,
  ...functions,
];
