/**
 * What an instruction reads and writes, found by running its row with values that are nothing: flags for liveness,
 * registers, memory, helpers, in order. It also sees whether the row keeps the rule of `ops.ts` that nothing can
 * fault after the first write.
 */
import { condition } from './flags.ts';
import { HELPERS } from './helpers.ts';
import type { Insn, OperandValue } from './insn.ts';
import { FLAG_BIT, FLAGS, type Flag, type MemWidth, type Ops, type SegRef, type Width } from './ops.ts';

/** One effect, in the order in which the row asks for it. */
export interface Effect {
  readonly kind: 'read' | 'write' | 'load' | 'store' | 'probe' | 'fault' | 'call' | 'check' | 'transfer' | 'jump';
  /** Register (`rax`-number as `gpr 0`), flag, field, segment, fault or helper. */
  readonly what: string;
  /** Inside an `if`: it may not happen. */
  readonly conditional: boolean;
}

export interface Effects {
  readonly events: readonly Effect[];
  /** EFLAGS bits of arithmetic flags that may be read before the row writes them. */
  readonly flagsRead: number;
  /** EFLAGS bits of arithmetic flags that may be written; and those that are written on every path. */
  readonly flagsWritten: number;
  readonly flagsKilled: number;
  /** Bit n: general register n may be read or written, address registers included. */
  readonly gprRead: number;
  readonly gprWritten: number;
  /** Bit n: XMM register n. */
  readonly xmmRead: number;
  readonly xmmWritten: number;
  readonly loads: boolean;
  readonly stores: boolean;
  /** Helpers called. */
  readonly helpers: readonly string[];
  /** Faultable effects that come after a write, as text; empty for a sound row. */
  readonly violations: readonly string[];
}

const ALL_FLAGS = FLAGS.reduce((bits, f) => bits | (1 << FLAG_BIT[f]), 0);
/** Fields that are working storage inside one instruction: writing them loses nothing. */
const WORKING = new Set(['scratch', 'sse_fault']);

/** Helpers that look at the arithmetic flags, or may change them. */
const FLAG_HELPERS: ReadonlySet<string> = new Set(HELPERS.filter((h) => h.flags).map((h) => h.name));

type Nothing = null;
type RegOperand = Extract<OperandValue, { kind: 'reg' }>;

/** What has happened on the path being followed. */
interface Path {
  /** First write of a register, flag or field, as text. */
  wrote: string | undefined;
  stored: boolean;
  killed: number;
}

class Recorder implements Ops<Nothing> {
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly stack: 16 | 32 | 64;
  readonly long: boolean;
  readonly events: Effect[] = [];
  readonly violations: string[] = [];
  flagsRead = 0;
  flagsWritten = 0;
  readonly reads = { gpr: 0, xmm: 0 };
  readonly writes = { gpr: 0, xmm: 0 };
  path: Path = { wrote: undefined, stored: false, killed: 0 };
  private depth = 0;
  private readonly insn: Insn;

  constructor(insn: Insn) {
    this.insn = insn;
    this.w = insn.w;
    this.asize = insn.asize;
    this.stack = insn.mode.stack;
    this.long = insn.mode.code === 64;
  }

  private event(kind: Effect['kind'], what: string): void {
    this.events.push({ kind, what, conditional: this.depth > 0 });
  }

  /** Notes something that can raise a fault. A store may follow a store: the instruction is then done again. */
  private faultable(kind: Effect['kind'], what: string): void {
    const { wrote, stored } = this.path;
    if (wrote !== undefined) this.violations.push(`${kind} ${what} after ${wrote}`);
    else if (stored && kind !== 'store') this.violations.push(`${kind} ${what} after a store`);
    this.event(kind, what);
  }

  private written(what: string): void {
    this.event('write', what);
    this.path.wrote ??= what;
  }

  private readRegister(cls: 'gpr' | 'xmm', n: number): Nothing {
    this.reads[cls] |= 1 << n;
    this.event('read', `${cls} ${n}`);
    return null;
  }
  private writeRegister(cls: 'gpr' | 'xmm', n: number): void {
    this.writes[cls] |= 1 << n;
    this.written(`${cls} ${n}`);
  }

  // Values.

  k(): Nothing {
    return null;
  }
  add = this.k;
  sub = this.k;
  mul = this.k;
  and = this.k;
  or = this.k;
  xor = this.k;
  shl = this.k;
  shr = this.k;
  sar = this.k;
  rotl = this.k;
  eqz = this.k;
  eq = this.k;
  ltu = this.k;
  lts = this.k;
  popcnt = this.k;
  clz = this.k;
  ctz = this.k;
  sext = this.k;
  zext = this.k;
  select = this.k;
  let = this.k;
  mulhu = this.k;
  mulhs = this.k;
  divu = this.k;
  remu = this.k;
  divs = this.k;
  rems = this.k;
  udiv128 = this.k;
  vec = this.k;
  vk = this.k;
  lane = this.k;
  withLane = this.k;
  shuffle = this.k;
  nextRip = this.k;
  thisRip = this.k;
  number = this.k;

  // Operands.

  private operand(n: number): OperandValue {
    const op = this.insn.operands[n];
    if (!op) throw new RangeError(`${this.insn.row.name}: no operand ${n}`);
    return op;
  }
  width(n: number): MemWidth {
    const op = this.operand(n);
    if (op.kind === 'rel' || op.kind === 'far') return this.w;
    if (op.width === 0 || op.width === 48) throw new Error(`${this.insn.row.name}: operand ${n} has no width`);
    return op.width;
  }
  isMem(n: number): boolean {
    return this.operand(n).kind === 'mem';
  }
  half(n: number): Nothing {
    return this.get(n);
  }
  setWide(n: number): void {
    this.set(n);
  }
  offset(n: number): Nothing {
    const where = this.insn.row.operands[n]?.where;
    if (where === 'X') return this.reg(this.asize, 6);
    if (where === 'Y') return this.reg(this.asize, 7);
    const { base, index } = this.insn.mem!;
    if (base !== undefined) this.readRegister('gpr', base);
    if (index !== undefined) this.readRegister('gpr', index);
    const bit = this.insn.row.bitOffset ? this.operand(1) : undefined;
    if (bit?.kind === 'reg') this.readRegister('gpr', bit.n);
    return null;
  }
  get(n: number): Nothing {
    const op = this.operand(n);
    if (op.kind === 'reg') return this.readOperand(op);
    if (op.kind === 'mem') {
      this.offset(n);
      this.faultable('load', `operand ${n}`);
    }
    return null;
  }
  private readOperand(op: RegOperand): Nothing {
    if (op.cls === 'gpr' || op.cls === 'xmm') return this.readRegister(op.cls, op.n);
    this.event('read', `${op.cls} ${op.n}`);
    return null;
  }
  set(n: number): void {
    const op = this.operand(n);
    if (op.kind === 'mem') {
      this.offset(n);
      this.stored(`operand ${n}`);
    } else if (op.kind === 'reg' && (op.cls === 'gpr' || op.cls === 'xmm')) {
      if (op.width < 32) this.reads.gpr |= 1 << op.n;
      this.writeRegister(op.cls, op.n);
    } else this.written(op.kind === 'reg' ? `${op.cls} ${op.n}` : `operand ${n}`);
  }
  private stored(what: string): void {
    this.faultable('store', what);
    this.path.stored = true;
  }

  // Registers, memory, fields.

  reg(_w: Width, r: number): Nothing {
    return this.readRegister('gpr', r);
  }
  setReg(w: Width, r: number): void {
    if (w < 32) this.reads.gpr |= 1 << r;
    this.writeRegister('gpr', r);
  }
  load(_w: Width, seg: SegRef): Nothing {
    this.faultable('load', seg);
    return null;
  }
  store(_w: Width, seg: SegRef): void {
    this.stored(seg);
  }
  linear(): Nothing {
    return null;
  }
  probeStore(_w: Width | 128, seg: SegRef): void {
    this.faultable('probe', seg);
  }
  field(name: string, index = 0): Nothing {
    this.event('read', `${name} ${index}`);
    return null;
  }
  setField(name: string, _v: Nothing, index = 0): void {
    if (WORKING.has(name)) this.event('write', `${name} ${index}`);
    else this.written(`${name} ${index}`);
  }
  xmm(r: number): Nothing {
    return this.readRegister('xmm', r);
  }
  setXmm(r: number): void {
    this.writeRegister('xmm', r);
  }
  setHigh(r: number): void {
    this.writeRegister('xmm', r);
  }

  // Flags.

  private readFlags(bits: number): Nothing {
    this.flagsRead |= bits & ~this.path.killed;
    for (const f of FLAGS) if (bits & (1 << FLAG_BIT[f])) this.event('read', f);
    return null;
  }
  private writeFlags(bits: number): void {
    this.flagsWritten |= bits;
    this.path.killed |= bits;
    for (const f of FLAGS) if (bits & (1 << FLAG_BIT[f])) this.written(f);
  }
  flag(f: Flag): Nothing {
    return this.readFlags(1 << FLAG_BIT[f]);
  }
  cond(cc: number): Nothing {
    return condition<Nothing>(this, (f) => this.flag(f), cc);
  }
  flags(): void {
    this.writeFlags(ALL_FLAGS);
  }
  setFlag(f: Flag, v: () => Nothing): void {
    v();
    this.writeFlags(1 << FLAG_BIT[f]);
  }
  arith(): Nothing {
    return this.readFlags(ALL_FLAGS);
  }
  setArith(): void {
    this.writeFlags(ALL_FLAGS);
  }

  // Control.

  if(_c: Nothing, then: () => void, otherwise?: () => void): void {
    const before = this.path;
    this.depth++;
    this.path = { ...before };
    then();
    const yes = this.path;
    this.path = { ...before };
    otherwise?.();
    const no = this.path;
    this.depth--;
    this.path = {
      wrote: yes.wrote ?? no.wrote,
      stored: yes.stored || no.stored,
      killed: yes.killed & no.killed,
    };
  }
  fault(_c: Nothing, name: string): void {
    this.faultable('fault', name);
  }
  checkBranch(): void {
    this.faultable('fault', 'gp');
  }
  branch(): void {
    this.event('jump', 'relative');
  }
  jump(): void {
    this.event('jump', 'absolute');
  }
  private helper(name: string): void {
    if (FLAG_HELPERS.has(name)) this.flagsRead |= ALL_FLAGS & ~this.path.killed;
  }
  call(name: string): Nothing {
    this.helper(name);
    this.event('call', name);
    return null;
  }
  check(name: string): void {
    this.helper(name);
    this.faultable('check', name);
  }
  transfer(name: string): void {
    this.helper(name);
    this.faultable('transfer', name);
  }
}

/** Bit of rCX, which counts repetitions. */
const RCX = 1 << 1;

/** Effects of a decoded instruction, of one iteration when it repeats; rCX and ZF as the repetition uses them. */
export function effectsOf(insn: Insn): Effects {
  const s = new Recorder(insn);
  if (insn.rep !== 'none') s.reads.gpr |= RCX;
  insn.row.exec<Nothing>(s);
  if (insn.rep !== 'none') s.writes.gpr |= RCX;
  const has = (...kinds: Effect['kind'][]): boolean => s.events.some((e) => kinds.includes(e.kind));
  return {
    events: s.events,
    flagsRead: s.flagsRead,
    flagsWritten: s.flagsWritten,
    // A repetition of none writes no flag.
    flagsKilled: insn.rep === 'none' ? s.path.killed : 0,
    gprRead: s.reads.gpr,
    gprWritten: s.writes.gpr,
    xmmRead: s.reads.xmm,
    xmmWritten: s.writes.xmm,
    loads: has('load'),
    stores: has('store'),
    helpers: s.events.filter((e) => ['call', 'check', 'transfer'].includes(e.kind)).map((e) => e.what),
    violations: s.violations,
  };
}
