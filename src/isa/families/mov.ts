/** Data movement: MOV MOVZX MOVSX MOVSXD LEA XCHG XADD CMPXCHG CMPXCHG8B/16B CMOVcc SETcc XLAT, and the sign extensions. */
import { CONDITION_NAMES } from '../flags.ts';
import { SEG } from '../layout.ts';
import type { Ops, Width } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { minus, plus } from './alu.ts';
import { behind, negate, num, privileged } from './common.ts';

const move: Row['exec'] = (s) => s.set(0, s.get(1));

const PLAIN: readonly Row[] = [
  row('mov', '=Eb, Gb', '88 /r', move),
  row('mov', '=Ev, Gv', '89 /r', move),
  row('mov', '=Gb, Eb', '8A /r', move),
  row('mov', '=Gv, Ev', '8B /r', move),
  row('mov', '=AL, Ob', 'A0', move),
  row('mov', '=rAX, Ov', 'A1', move),
  row('mov', '=Ob, AL', 'A2', move),
  row('mov', '=Ov, rAX', 'A3', move),
  row('mov', '=Zb, Ib', 'B0+r', move),
  row('mov', '=Zv, Iv', 'B8+r', move),
  row('mov', '=Eb, Ib', 'C6 /0', move),
  row('mov', '=Ev, Iz', 'C7 /0', move),
];

/** Segments that MOV and POP load; a new SS may change the stack size and starts an interrupt shadow. */
const LOADABLE = [SEG.es, SEG.ss, SEG.ds, SEG.fs, SEG.gs] as const;
const READABLE = [SEG.es, SEG.cs, SEG.ss, SEG.ds, SEG.fs, SEG.gs] as const;

// To a register the selector is zero-extended to the operand size; to memory it is always 16 bits (SDM vol.2 MOV).
const SEGMENT: readonly Row[] = [
  ...READABLE.flatMap((seg) => {
    const exec: Row['exec'] = (s) => s.set(0, s.field('seg_sel', seg));
    return [
      row('mov', '=Rv, Sw', `8C /${seg}`, exec, { user: false }),
      row('mov', '=Mw, Sw', `8C /${seg}`, exec, { user: false }),
    ];
  }),
  ...LOADABLE.map((seg) =>
    row('mov', '=Sw, Ew', `8E /${seg}`, (s) => s.check('load_segment', num(s, seg), s.get(1)), {
      user: false,
      ends: seg === SEG.ss,
    }),
  ),
];

/** Which control and debug registers exist is the decoder's knowledge. */
const CONTROL: readonly Row[] = [
  row(
    'mov',
    '=Rn, Cn',
    '0F 20 /r',
    (s) => {
      const n = s.let(s.number(1));
      privileged(s);
      s.set(0, s.call('read_cr', n));
    },
    { user: false },
  ),
  row(
    'mov',
    '=Cn, Rn',
    '0F 22 /r',
    (s) => {
      const n = s.let(s.number(0));
      privileged(s);
      s.check('write_cr', n, s.get(1));
    },
    { user: false, ends: true },
  ),
  row(
    'mov',
    '=Rn, Dn',
    '0F 21 /r',
    (s) => {
      s.check('read_dr', s.number(1));
      s.set(0, s.field('scratch', 0));
    },
    { user: false },
  ),
  row('mov', '=Dn, Rn', '0F 23 /r', (s) => s.check('write_dr', s.number(0), s.get(1)), { user: false, ends: true }),
];

const signExtend =
  (from: Width): Row['exec'] =>
  (s) =>
    s.set(0, s.zext(s.w, s.sext(from, s.get(1))));

/** The operand size's half, from which CBW, CWDE and CDQE extend. */
const half = (w: Width): Width => (w === 64 ? 32 : w === 32 ? 16 : 8);

const EXTEND: readonly Row[] = [
  row('movzx', '=Gv, Eb', '0F B6 /r', move),
  row('movzx', '=Gv, Ew', '0F B7 /r', move),
  row('movsx', '=Gv, Eb', '0F BE /r', signExtend(8)),
  row('movsx', '=Gv, Ew', '0F BF /r', signExtend(16)),
  row('movsxd', '=Gv, Ed', '63 /r', signExtend(32), { only64: true }),
  row('cbw/cwde/cdqe', '', '98', (s) => s.setReg(s.w, 0, s.zext(s.w, s.sext(half(s.w), s.reg(half(s.w), 0))))),
  row('cwd/cdq/cqo', '', '99', (s) => s.setReg(s.w, 2, s.zext(s.w, s.sar(s.sext(s.w, s.reg(s.w, 0)), s.k(63n))))),
];

const exchange: Row['exec'] = (s) => {
  const a = s.let(s.get(0));
  const b = s.let(s.get(1));
  s.set(0, b);
  s.set(1, a);
};

const xadd =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const d = s.let(s.get(0));
    const { r, flags } = plus(s, size === 'b' ? 8 : s.w, d, s.let(s.get(1)));
    // With two registers the sum is written last, because they may be the same one; a store comes before any register.
    if (s.isMem(0)) {
      s.set(0, r);
      s.set(1, d);
    } else {
      s.set(1, d);
      s.set(0, r);
    }
    flags();
  };

/**
 * Memory is written back even when the comparison fails (SDM vol.2 CMPXCHG); a register is then left alone, its
 * upper half too.
 */
const cmpxchg =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = size === 'b' ? 8 : s.w;
    const acc = s.let(s.reg(w, 0));
    const d = s.let(s.get(0));
    const same = s.let(s.eq(acc, d));
    const { flags } = minus(s, w, acc, d);
    if (s.isMem(0)) s.set(0, s.select(same, s.get(1), d));
    s.if(
      same,
      () => {
        if (!s.isMem(0)) s.set(0, s.get(1));
      },
      () => s.setReg(w, 0, d),
    );
    flags();
  };

const pair = <V>(s: Ops<V>, hi: V, lo: V): V => s.let(s.or(s.shl(hi, s.k(32n)), lo));

/** CMPXCHG8B: EDX:EAX with 64 bits of memory, ECX:EBX to it. */
function cmpxchg8b<V>(s: Ops<V>): void {
  const at = s.let(s.offset(0));
  const want = pair(s, s.reg(32, 2), s.reg(32, 0));
  const fresh = pair(s, s.reg(32, 1), s.reg(32, 3));
  s.probeStore(64, 'insn', at);
  const old = s.let(s.load(64, 'insn', at));
  const same = s.let(s.eq(old, want));
  s.store(64, 'insn', at, s.select(same, fresh, old));
  s.if(s.eqz(same), () => {
    s.setReg(32, 0, s.zext(32, old));
    s.setReg(32, 2, s.shr(old, s.k(32n)));
  });
  s.setFlag('zf', () => same);
}

/** CMPXCHG16B: RDX:RAX with 128 bits of memory, which must be aligned, RCX:RBX to it. */
function cmpxchg16b<V>(s: Ops<V>): void {
  const at = s.let(s.offset(0));
  const above = s.let(behind(s, at, 8));
  s.fault(s.eqz(s.eqz(s.and(s.linear('insn', at), s.k(15n)))), 'gp', s.k(0n));
  s.probeStore(64, 'insn', at);
  const lo = s.let(s.load(64, 'insn', at));
  const hi = s.let(s.load(64, 'insn', above));
  const same = s.let(s.and(s.eq(lo, s.reg(64, 0)), s.eq(hi, s.reg(64, 2))));
  s.store(64, 'insn', at, s.select(same, s.reg(64, 3), lo));
  s.store(64, 'insn', above, s.select(same, s.reg(64, 1), hi));
  s.if(s.eqz(same), () => {
    s.setReg(64, 0, lo);
    s.setReg(64, 2, hi);
  });
  s.setFlag('zf', () => same);
}

const EXCHANGE: readonly Row[] = [
  row('xchg', '+Eb, +Gb', '86 /r', exchange, { lock: true, implicitLock: true }),
  row('xchg', '+Ev, +Gv', '87 /r', exchange, { lock: true, implicitLock: true }),
  row('xchg', '+Zv, +rAX', '90+r', exchange),
  row('xadd', '+Eb, +Gb', '0F C0 /r', xadd('b'), { lock: true }),
  row('xadd', '+Ev, +Gv', '0F C1 /r', xadd('v'), { lock: true }),
  row('cmpxchg', '+Eb, Gb', '0F B0 /r', cmpxchg('b'), { lock: true }),
  row('cmpxchg', '+Ev, Gv', '0F B1 /r', cmpxchg('v'), { lock: true }),
  row(
    'cmpxchg8b/cmpxchg8b/cmpxchg16b',
    '+M',
    '0F C7 /1',
    (s) => {
      if (s.w === 64) cmpxchg16b(s);
      else cmpxchg8b(s);
    },
    { lock: true },
  ),
];

const CONDITIONAL: readonly Row[] = CONDITION_NAMES.flatMap((name, cc) => [
  // The source is read and the destination written also when the condition is false: 32 bits clear the upper half.
  row(`cmov${name}`, '+Gv, Ev', `0F 4${cc.toString(16).toUpperCase()} /r`, (s) => {
    const v = s.let(s.get(1));
    s.set(0, s.select(s.cond(cc), v, s.get(0)));
  }),
  row(`set${name}`, '=Eb', `0F 9${cc.toString(16).toUpperCase()} /r`, (s) => s.set(0, s.cond(cc))),
]);

/** `x` with its `w` / 8 bytes in reverse order. For 16 bits the result of BSWAP is undefined; CPUs give 0. */
export function reverseBytes<V>(s: Ops<V>, w: Width, x: V): V {
  const swap = (v: V, low: bigint, n: bigint): V =>
    s.let(s.or(s.shl(s.and(v, s.k(low)), s.k(n)), s.and(s.shr(v, s.k(n)), s.k(low))));
  const bytes = swap(x, 0x00ff_00ff_00ff_00ffn, 8n);
  if (w === 16) return bytes;
  const words = swap(bytes, 0x0000_ffff_0000_ffffn, 16n);
  return w === 32 ? words : s.rotl(words, s.k(32n));
}

const OTHER: readonly Row[] = [
  row('lea', '=Gv, M', '8D /r', (s) => s.set(0, s.zext(s.w, s.offset(1))), { noAccess: true }),
  row(
    'xlatb',
    '',
    'D7',
    (s) => s.setReg(8, 0, s.load(8, 'insn', s.zext(s.asize, s.add(s.reg(s.asize, 3), s.reg(8, 0))))),
    {
      asize: true,
    },
  ),
  row('bswap', '+Zv', '0F C8+r', (s) => s.set(0, s.w === 16 ? s.k(0n) : reverseBytes(s, s.w, s.let(s.get(0))))),
  row('movbe', '=Gv, Mv', 'NFx 0F 38 F0 /r', (s) => s.set(0, reverseBytes(s, s.w, s.let(s.get(1)))), {
    feature: 'movbe',
  }),
  row('movbe', '=Mv, Gv', 'NFx 0F 38 F1 /r', (s) => s.set(0, reverseBytes(s, s.w, s.let(s.get(1)))), {
    feature: 'movbe',
  }),
  row('salc', '', 'D6', (s) => s.setReg(8, 0, s.zext(8, negate(s, s.flag('cf')))), { no64: true }),
];

export const MOV_ROWS: readonly Row[] = [
  ...PLAIN,
  ...SEGMENT,
  ...CONTROL,
  ...EXTEND,
  ...EXCHANGE,
  ...CONDITIONAL,
  ...OTHER,
];
