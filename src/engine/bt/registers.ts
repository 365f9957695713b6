/**
 * Guest registers of a region, as WebAssembly locals or in the state, those that it uses and writes noted, and what is
 * known about their values on the path that is being written.
 */
import { CPU } from '../../isa/layout.ts';
import type { Width } from '../../isa/ops.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/module.ts';
import { VectorWasm } from '../interp/pure.ts';

type Expr = x.Expr;
const i64 = x.extendU;
const ONES = Array.from({ length: 65 }, (_, w) => (1n << BigInt(w)) - 1n);
/** A number of `w` bits, 64 at the most, that are all set. */
export const ones = (w: number): bigint => ONES[w]!;

const newOrigin = (): x.Origin => ({ of: {}, plus: 0 });

/** What is known about a register's value at this point. */
export interface Known {
  /** Number of low bits outside of which it is 0. */
  readonly bits: number;
  /** A local that is never written again and holds the value; and some for the low half and the low byte. */
  readonly value: Expr | undefined;
  readonly low32: Expr | undefined;
  readonly low8: Expr | undefined;
  /** The value is not where it belongs yet. */
  readonly isNew: boolean;
}
export const NOTHING: Known = { bits: 64, value: undefined, low32: undefined, low8: undefined, isNew: false };

type Lane0 = x.Lane0;

/** What is known about registers at a point of the code and holds only on the path to it. */
export interface RegisterKnowledge {
  readonly gprs: readonly Known[];
  /** What lane 0 of an XMM register was set to. */
  readonly lanes: ReadonlyMap<number, Lane0>;
}

const NO_LANES: ReadonlyMap<number, Lane0> = new Map();
/** Lane 0 of an XMM register as a loop carries it from one turn to the next: in a variable of its own. */
interface CarriedLane {
  readonly width: number;
  readonly rest: Lane0['rest'];
  readonly plain: boolean;
  readonly variable: number;
  /** The variable holds a number: the type of its bits. */
  readonly bitsOf: 'i64' | 'i32' | undefined;
}
/** What is known of the registers at the begin of each turn of a loop but its first. */
export interface CarriedRegisters {
  readonly bits: readonly number[];
  readonly lanes: ReadonlyMap<number, CarriedLane>;
}
/** i64.reinterpret_f64 and i32.reinterpret_f32. */
export const isReinterpretation = (e: Expr): boolean => e.code[0] === 0xbd || e.code[0] === 0xbc;
const numberOf = (bits: Expr, type: 'i64' | 'i32'): Expr => {
  if (isReinterpretation(bits)) return bits.args[0]!;
  return type === 'i64' ? x.inst('f64', [0xbf], i64(bits)) : x.inst('f32', [0xbe], x.wrap(bits));
};

/** The turns of a loop do not all end with the same lanes known apart: it cannot be written as turns. */
export class UnevenTurns extends Error {}

export abstract class RegionRegisters extends VectorWasm {
  long = false;
  /**
   * General-purpose registers and flags are in the state, not in locals: there is less to load, to store and for V8 to
   * find registers for; but loops are slower. A register that was written goes there before the region may be left.
   */
  inState = false;
  protected readonly cpu: Expr;
  protected known: Known[] = new Array(16).fill(NOTHING);
  /** Lane 0 of XMM registers where it is not in the register's local yet. */
  protected lanes = new Map<number, Lane0>();
  /** Counts the writes to each register: what an arm of a condition has changed is not known behind it. */
  protected readonly versions: number[] = new Array(16).fill(0);
  private readonly gprs: (number | undefined)[] = new Array(16).fill(undefined);
  /** Of the YMM registers the low and the high halves. */
  private readonly xmms: (number | undefined)[] = new Array(16).fill(undefined);
  private readonly highs: (number | undefined)[] = new Array(16).fill(undefined);
  private readonly gprWritten = new Set<number>();
  private readonly xmmWritten = new Set<number>();
  private readonly highWritten = new Set<number>();
  /** XMM registers, and high halves, that the loop being written sets. */
  private readonly xmmOfLoop = new Set<number>();
  private readonly highOfLoop = new Set<number>();
  /** Values at the begin of a turn, by local, as long as it can be gone back to. */
  private turnStart: { readonly local: number; readonly value: Expr }[] = [];
  private turnLanes: ReadonlyMap<number, Lane0> = new Map();
  private pageBase: number | undefined;
  private readonly pageOrigin = newOrigin();

  constructor(f: FunctionBuilder) {
    super(f);
    this.cpu = f.param(0);
  }

  /** What is known here, to be returned to when another path is written. */
  protected registerKnowledge(): RegisterKnowledge {
    return { gprs: this.known.slice(), lanes: this.lanes.size > 0 ? new Map(this.lanes) : NO_LANES };
  }
  protected returnToRegisters({ gprs, lanes }: RegisterKnowledge): void {
    this.known = gprs.slice();
    this.lanes = new Map(lanes.size > 0 ? lanes : undefined);
  }
  /** Paths come together here: registers are in their locals. */
  forget(): void {
    this.known.fill(NOTHING);
    this.lanes.clear();
  }
  /** Before the first turn of a loop. */
  protected openRegisters(): void {
    this.xmmOfLoop.clear();
    this.highOfLoop.clear();
  }
  /** At the begin of another turn: what it may write is kept, so that it can be gone back to. */
  protected markRegisters(written: ReadonlySet<number>): void {
    const kept = (local: number, value: Expr): void => {
      this.turnStart.push({ local, value });
    };
    this.turnStart = [];
    for (const r of written) kept(this.gprVar(r), this.gpr(r));
    for (const r of this.xmmOfLoop) kept(this.xmmVar(r), this.f.let(this.f.get(this.xmmVar(r))));
    for (const r of this.highOfLoop) kept(this.highVar(r), this.high(r));
    this.turnLanes = new Map(this.lanes);
  }
  /** Goes back to the values at the begin of the turn. */
  protected restoreRegisters(): void {
    for (const { local, value } of this.turnStart) this.f.setVariable(local, value);
    this.known.fill(NOTHING);
    this.lanes = new Map(this.turnLanes);
  }
  protected closeRegisters(): void {
    this.turnStart = [];
    this.turnLanes = new Map();
  }
  /** Behind the first turn of a loop: what the next ones begin with. */
  protected carryRegisters(): CarriedRegisters {
    const lanes = new Map<number, CarriedLane>();
    for (const [r, { width, value, rest }] of this.lanes) {
      const isNumber = isReinterpretation(value);
      const variable = this.f.variable(isNumber ? value.args[0]!.type : value.type);
      const bitsOf = isNumber ? (value.type as 'i64' | 'i32') : undefined;
      lanes.set(r, { width, rest, plain: value.plain, variable, bitsOf });
    }
    const carried = { bits: this.known.map((k) => k.bits), lanes };
    this.putCarriedRegisters(carried);
    return carried;
  }
  /** At the end of a turn: puts what the next one begins with into its place. */
  protected putCarriedRegisters(c: CarriedRegisters): void {
    const { f } = this;
    this.checkCarried(c);
    // The vector of a register whose lane is carried stays as it is in all turns.
    const values = [...c.lanes].map(([r, carried]) => {
      const value = this.lanes.get(r)?.value ?? super.lane(carried.width as Width, f.get(this.xmmVar(r)), 0);
      const bits = f.get(carried.variable).type === 'i64' ? i64(value) : x.wrap(value);
      const held = carried.bitsOf ? numberOf(value, carried.bitsOf) : bits;
      const copy = f.temporary(held.type);
      f.setVariable(copy, held);
      return [carried.variable, x.localGet(copy, held.type)] as const;
    });
    for (const [variable, value] of values) f.setVariable(variable, value);
  }
  /** @throws UnevenTurns when the lanes that are known apart now are not those that are carried */
  private checkCarried(c: CarriedRegisters): void {
    for (const [r, lane] of this.lanes) {
      const carried = c.lanes.get(r);
      if (carried?.width !== lane.width || carried.rest !== lane.rest) throw new UnevenTurns(`lane 0 of XMM${r}`);
    }
    for (const [r, { rest }] of c.lanes) {
      if (rest === 'zero' && !this.lanes.has(r)) throw new UnevenTurns(`the rest of XMM${r}`);
    }
  }
  protected takeCarriedRegisters(c: CarriedRegisters): void {
    this.known = c.bits.map((bits) => ({ ...NOTHING, bits }));
    this.lanes.clear();
    for (const [r, { width, rest, plain, variable, bitsOf }] of c.lanes) {
      const held = this.f.get(variable);
      const bits = bitsOf ? x.inst(bitsOf, [bitsOf === 'i64' ? 0xbd : 0xbc], x.asNumberBits(held, false)) : held;
      this.lanes.set(r, { width, rest, value: x.asNumberBits(bits, plain) });
    }
  }
  /** Keeps the temporaries that what is known refers to. */
  keepKnown(): void {
    const { f } = this;
    for (const k of this.known) {
      if (k.value) f.keep(k.value);
      if (k.low32) f.keep(k.low32);
      if (k.low8) f.keep(k.low8);
    }
    for (const { value } of this.turnStart) f.keep(value);
    for (const lanes of [this.lanes, this.turnLanes]) {
      for (const { value } of lanes.values()) {
        f.keep(value);
        if (value.high) f.keep(value.high);
      }
    }
  }
  /** Loads what the region uses; emitted last, put first. */
  prologue(): void {
    const { f, cpu } = this;
    this.gprs.forEach((v, n) => {
      if (v !== undefined) f.setVariable(v, x.load('i64', cpu, CPU.gpr! + n * 8));
    });
    this.xmms.forEach((v, n) => {
      if (v !== undefined) f.setVariable(v, x.load('v128', cpu, CPU.ymm! + n * 32));
    });
    this.highs.forEach((v, n) => {
      if (v !== undefined) f.setVariable(v, x.load('v128', cpu, CPU.ymm! + n * 32 + 16));
    });
    if (this.pageBase !== undefined) f.setVariable(this.pageBase, x.load('i64', cpu, CPU.page_base!));
  }
  /** Stores what the region may have written. */
  epilogue(): void {
    const { f, cpu } = this;
    for (const n of this.gprWritten) f.store('i64', cpu, CPU.gpr! + n * 8, f.get(this.gprs[n]!));
    for (const n of this.xmmWritten) f.store('v128', cpu, CPU.ymm! + n * 32, f.get(this.xmms[n]!));
    for (const n of this.highWritten) f.store('v128', cpu, CPU.ymm! + n * 32 + 16, f.get(this.highs[n]!));
  }

  // --- the region's frame ----------------------------------------------------------------------------------
  protected gprVar(n: number): number {
    this.gprs[n] ??= this.f.variable('i64');
    return this.gprs[n];
  }
  private xmmVar(n: number): number {
    this.xmms[n] ??= this.f.variable('v128');
    return this.xmms[n];
  }
  private highVar(n: number): number {
    this.highs[n] ??= this.f.variable('v128');
    return this.highs[n];
  }
  /** rip of the first byte of the region's page. */
  page(): Expr {
    this.pageBase ??= this.f.variable('i64');
    return x.known(this.f.get(this.pageBase), 64, this.pageOrigin);
  }
  /** rip of a position. */
  ripOf(at: number): Expr {
    return this.cutRip(x.add(this.page(), x.i64Const(at)));
  }
  /** Linear address that instructions at a position are fetched from: regions outside 64-bit mode are of flat segments. */
  fetchAddress(at: number): Expr {
    return this.ripOf(at);
  }
  /** The whole register, in a local that stays as it is. */
  protected gpr(r: number): Expr {
    const known = this.known[r]!;
    if (known.value) return known.value;
    const held = this.inState ? this.gprOfState(r) : this.f.get(this.gprVar(r));
    const value = x.known(this.f.let(held), known.bits, newOrigin());
    this.known[r] = { ...known, value, isNew: false };
    return value;
  }
  private gprOfState(r: number): Expr {
    return x.load('i64', this.cpu, CPU.gpr! + r * 8);
  }
  protected noteWrite(r: number): void {
    if (!this.inState) this.gprWritten.add(r);
    this.versions[r]!++;
  }
  /** A helper has written a register in the state. */
  protected takeFromState(r: number): void {
    this.noteWrite(r);
    if (!this.inState) this.f.setVariable(this.gprVar(r), this.gprOfState(r));
    this.known[r] = NOTHING;
  }
  /** Puts a register where a helper finds it. */
  protected putInState(r: number): void {
    if (!this.inState) this.f.store('i64', this.cpu, CPU.gpr! + r * 8, this.gpr(r));
    else if (this.known[r]!.isNew) this.storeNew(r);
  }
  private storeNew(r: number): void {
    this.f.store('i64', this.cpu, CPU.gpr! + r * 8, this.known[r]!.value!);
  }
  /** Puts registers where they belong, on a path that leads away. */
  protected storeWritten(): void {
    for (let r = 0; r < 16; r++) if (this.known[r]!.isNew) this.storeNew(r);
  }
  /** The same where the path may also go on. */
  protected putWritten(): void {
    for (let r = 0; r < 16; r++) this.putWrittenOne(r);
  }
  private putWrittenOne(r: number): void {
    const k = this.known[r]!;
    if (!k.isNew) return;
    this.storeNew(r);
    this.known[r] = { ...k, isNew: false };
  }
  reg(w: Width, r: number): Expr {
    const known = w === 8 ? this.known[r]!.low8 : w === 32 ? this.known[r]!.low32 : undefined;
    if (known) return known;
    const value = this.f.let(this.zext(w, this.gpr(r)));
    if (w === 32) this.known[r] = { ...this.known[r]!, low32: value };
    return value;
  }
  setReg(w: Width, r: number, v: Expr): void {
    if (w < 32) this.insert(r, 0, w, v);
    else {
      this.noteWrite(r);
      const named = this.f.let(w === 32 ? this.zext(32, i64(v)) : i64(v));
      const value = named.origin ? named : x.known(named, named.bits, newOrigin());
      if (!this.inState) this.f.setVariable(this.gprVar(r), value);
      this.known[r] = { ...NOTHING, bits: x.bitsOf(value), value, isNew: this.inState };
    }
  }
  /** Replaces `w` bits at `shift` of a register (SDM vol.1 3.4.1.1: 8- and 16-bit writes keep the rest). */
  protected insert(r: number, shift: number, w: number, v: Expr): void {
    const { f } = this;
    const field = ones(w) << BigInt(shift);
    const old = this.known[r]!.bits;
    const value = f.let(x.bitsOf(i64(v)) <= w ? i64(v) : x.and(i64(v), x.i64Const(ones(w))));
    const low8 = w === 8 && shift === 0 ? value : undefined;
    const put = x.binary('shl', value, x.i64Const(shift));
    const whole = old <= w && shift === 0 ? put : x.or(x.and(this.gpr(r), x.i64Const(~field)), put);
    this.noteWrite(r);
    const bits = Math.max(old, shift + w);
    if (!this.inState) f.setVariable(this.gprVar(r), whole);
    // Not stored as a part: a processor would make the next load of the whole wait for that.
    const kept = this.inState ? x.known(f.let(whole), bits, newOrigin()) : undefined;
    this.known[r] = { ...NOTHING, bits, value: kept, low8, isNew: this.inState };
  }
  /**
   * The vector of a register. If only lane 0 was written, that is put into it here, in a tree that is worth something
   * only before the register's next write: rows read their operands first.
   */
  xmm(r: number): Expr {
    const lane = this.lanes.get(r);
    const local = this.f.get(this.xmmVar(r));
    if (!lane) return x.withLane0(this.f.let(local), { width: 0, value: local, rest: r });
    const rest = lane.rest === 'zero' ? this.vk(0n) : local;
    return x.withLane0(super.withLane(lane.width as Width, rest, 0, lane.value), lane);
  }
  setXmm(r: number, v: Expr): void {
    const { lane0 } = v;
    this.xmmOfLoop.add(r);
    const old = this.lanes.get(r);
    if (lane0 && lane0.width > 0 && (lane0.rest === 'zero' || lane0.rest === r)) {
      if (lane0.rest === r && old && old.width > lane0.width) this.settleLane(r, old);
      const rest = lane0.rest === r && old?.rest === 'zero' && old.width <= lane0.width ? 'zero' : lane0.rest;
      this.lanes.set(r, { ...lane0, rest });
      return;
    }
    this.xmmWritten.add(r);
    this.f.setVariable(this.xmmVar(r), v);
    this.lanes.delete(r);
  }
  /** Bits 128-255 of a YMM register, in a local that stays as it is. */
  protected high(r: number): Expr {
    return this.f.let(this.f.get(this.highVar(r)));
  }
  setHigh(r: number, v: Expr): void {
    this.highOfLoop.add(r);
    this.highWritten.add(r);
    this.f.setVariable(this.highVar(r), v);
  }
  protected settleLane(r: number, lane: Lane0): void {
    this.xmmWritten.add(r);
    const local = this.f.get(this.xmmVar(r));
    const rest = lane.rest === 'zero' ? this.vk(0n) : local;
    this.f.setVariable(this.xmmVar(r), super.withLane(lane.width as Width, rest, 0, lane.value));
  }
  override lane(w: Width, v: Expr, i: number): Expr {
    return i === 0 && v.lane0?.width === w ? v.lane0.value : super.lane(w, v, i);
  }
  override withLane(w: Width, v: Expr, i: number, value: Expr): Expr {
    if (i !== 0) return super.withLane(w, v, i, value);
    const named = this.f.let(value);
    const zero = v.code[0] === 0xfd && v.code[1] === 12 && v.code.slice(2).every((b) => b === 0);
    // A narrower lane leaves a part of the wider one.
    const known = v.lane0 && v.lane0.width <= w ? v.lane0.rest : undefined;
    return x.withLane0(super.withLane(w, v, 0, named), { width: w, value: named, rest: zero ? 'zero' : known });
  }
  protected cutRip(rip: Expr): Expr {
    return this.f.let(this.long ? rip : this.zext(32, rip));
  }
}
