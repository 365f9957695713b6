/**
 * The instruction decoder: bytes -> Insn (SDM vol.2 chapter 2). All tables come from the rows; what is here is
 * prefixes, ModRM, SIB, displacements and immediates. Operands that are registers or memory are shared objects,
 * so that an instruction costs little more than its Insn.
 */
import { type Form, makeForms, type Node, nodeIndex, vexIndex } from './decode-forms.ts';
import type { CodeMode, DecodeFailure, Insn, MemRef, OperandValue, RegClass } from './insn.ts';
import { SEG } from './layout.ts';
import type { MemWidth, Width } from './ops.ts';
import { type Operand, type Row, sizeBits } from './row.ts';

/** Most bytes an instruction may have (SDM vol.2 2.3.11). */
export const MAX_LENGTH = 15;

export interface Decoder {
  /**
   * Decodes the instruction at `bytes[at]`, reading nothing at or behind `end`. A failure is a value: `truncated`
   * when more bytes than `end - at` are needed to tell, `too-long` (#GP) above 15 bytes, `ud` (#UD) otherwise.
   */
  decode(bytes: Uint8Array, at: number, end: number, mode: CodeMode): Insn | DecodeFailure;
  /** Encodings that two rows claim with equal right; empty for a sound set of rows. */
  readonly conflicts: readonly string[];
}

/** Reads one operand; undefined means that its encoding is not valid (#UD). */
type Reader = (s: State) => OperandValue | undefined;

const UD: DecodeFailure = { failure: 'ud' };
const TOO_LONG: DecodeFailure = { failure: 'too-long' };
const TRUNCATED: DecodeFailure = { failure: 'truncated' };

/** ModRM.rm -> base and index in 16-bit addressing (SDM vol.2 table 2-1). */
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3] as const;
const INDEX16 = [6, 7, 6, 7, undefined, undefined, undefined, undefined] as const;

const REX_B = 1;
const REX_X = 2;
const REX_R = 4;
const REX_W = 8;

/** What one byte may be when it stands where a prefix can be. */
const NOT_PREFIX = 0;
const IS_PREFIX = 1;
const IS_REX = 2;
const PREFIX_KIND = new Uint8Array(256);
for (const b of [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]) PREFIX_KIND[b] = IS_PREFIX;
for (let b = 0x40; b < 0x50; b++) PREFIX_KIND[b] = IS_REX;

/** Everything known about the instruction being decoded. One object, used again for each instruction. */
class State {
  bytes: Uint8Array = new Uint8Array(0);
  pos = 0;
  limit = 0;
  long = false;
  /** REX byte directly in front of the opcode, or 0. */
  rex = 0;
  has66 = false;
  has67 = false;
  /** F3 or F2, the last one, or 0. */
  repeat = 0;
  lock = false;
  /** Segment override, or -1. */
  override = -1;
  w: Width = 32;
  asize: 16 | 32 | 64 = 32;
  opcode = 0;
  modrm = 0;
  /** VEX: register in vvvv, and whether vvvv was 1111b; L and W; map of the opcode; 0 for no VEX prefix. */
  vvvv = 0;
  vvvvFree = true;
  vexL = 0;
  vexW = 0;
  vexMap = 0;
  /** The index register is a vector register: index 4 is one too. */
  vsib = false;
  /** That register, or -1 when ModRM has no SIB byte. */
  vectorIndex = -1;
  mem: MemRef | undefined = undefined;

  /** Next byte; past the limit 0, which `pos > limit` tells afterwards. */
  u8(): number {
    const at = this.pos++;
    return at < this.limit ? this.bytes[at]! : 0;
  }
  s8(): number {
    return (this.u8() << 24) >> 24;
  }
  u16(): number {
    return this.u8() | (this.u8() << 8);
  }
  s16(): number {
    return (this.u16() << 16) >> 16;
  }
  s32(): number {
    return this.u16() | (this.u16() << 16);
  }
  u64(): bigint {
    const low = BigInt(this.s32() >>> 0);
    return low | (BigInt(this.s32() >>> 0) << 32n);
  }
  /** ModRM.reg and ModRM.rm as register numbers, REX counted. */
  get reg(): number {
    return ((this.modrm >> 3) & 7) | (this.rex & REX_R ? 8 : 0);
  }
  get rm(): number {
    return (this.modrm & 7) | (this.rex & REX_B ? 8 : 0);
  }

  begin(bytes: Uint8Array, at: number, end: number, long: boolean): void {
    this.bytes = bytes;
    this.pos = at;
    this.limit = Math.min(end, at + MAX_LENGTH);
    this.long = long;
    this.rex = 0;
    this.has66 = false;
    this.has67 = false;
    this.repeat = 0;
    this.lock = false;
    this.override = -1;
    this.modrm = 0;
    this.vexMap = 0;
    this.vsib = false;
    this.mem = undefined;
  }

  /** Reads prefixes and returns the byte after them: the opcode's first. Ends at the limit, where `u8` gives 0. */
  prefixes(): number {
    for (;;) {
      const byte = this.u8();
      const kind = PREFIX_KIND[byte]!;
      if (kind === NOT_PREFIX) return byte;
      if (kind === IS_REX) {
        if (!this.long) return byte;
        this.rex = byte;
      } else {
        this.rex = 0; // a REX that is not the last prefix is ignored
        this.prefix(byte);
      }
    }
  }

  prefix(byte: number): void {
    if (byte === 0x66) this.has66 = true;
    else if (byte === 0x67) this.has67 = true;
    else if (byte === 0xf0) this.lock = true;
    else if (byte >= 0xf2) this.repeat = byte;
    else if (byte >= 0x64) this.override = byte - 0x60;
    else if (!this.long) this.override = (byte >> 3) & 3; // in 64-bit mode es, cs, ss and ds overrides do nothing
  }

  /** Whether C4 or C5, just read, starts a VEX prefix: outside 64-bit mode only before what would be mod = 3. */
  startsVex(opcode: number): boolean {
    if (opcode !== 0xc4 && opcode !== 0xc5) return false;
    return this.long || (this.pos < this.limit && this.bytes[this.pos]! >= 0xc0);
  }

  /**
   * Reads the VEX prefix whose first byte was `first`; returns its mandatory prefix as a prefix class, or -1 when it
   * is not valid. SDM vol.2 figure 2-9, all fields but L, m and p inverted:
   *   C5: R vvvv L pp     C4: R X B mmmmm, W vvvv L pp
   */
  vexPrefix(first: number): number {
    if (this.has66 || this.repeat !== 0 || this.lock || this.rex !== 0) return -1;
    const one = this.u8();
    const two = first === 0xc5 ? one : this.u8();
    const map = first === 0xc5 ? 1 : one & 31;
    const rxb = first === 0xc5 ? (~one >> 5) & REX_R : (~one >> 5) & (REX_R | REX_X | REX_B);
    this.vexW = first === 0xc5 ? 0 : two >> 7;
    this.vexL = (two >> 2) & 1;
    this.vvvvFree = (two & 0x78) === 0x78;
    this.vvvv = (~two >> 3) & (this.long ? 15 : 7);
    this.rex = this.long ? rxb | (this.vexW << 3) : 0;
    this.vexMap = map >= 1 && map <= 3 ? map : 0;
    return this.vexMap === 0 ? -1 : two & 3;
  }

  operandSize(mode: CodeMode, form: Form<Reader>): Width {
    if (this.vexMap !== 0) return form.vexSize && this.rex & REX_W ? 64 : 32;
    const has66 = this.has66 && !form.owns66;
    if (mode.code === 64) {
      if (this.rex & REX_W || form.size64 === 2) return 64;
      return has66 ? 16 : form.size64 === 1 ? 64 : 32;
    }
    return (mode.code === 32) !== has66 ? 32 : 16;
  }

  /** The memory operand of ModRM, whose byte has been read. */
  memory(): MemRef {
    return this.asize === 16 ? this.memory16() : this.memory32();
  }

  memory16(): MemRef {
    const mod = this.modrm >> 6;
    const rm = this.modrm & 7;
    const absolute = mod === 0 && rm === 6;
    const base = absolute ? undefined : BASE16[rm]!;
    const disp = mod === 1 ? this.s8() : mod === 2 || absolute ? this.s16() : 0;
    return this.ref(base, INDEX16[rm], 0, disp, false);
  }

  memory32(): MemRef {
    const mod = this.modrm >> 6;
    let base: number | undefined = this.modrm & 7;
    let index: number | undefined;
    let scale = 0;
    let ripRelative = false;
    if (base === 4) {
      const sib = this.u8();
      scale = sib >> 6;
      index = ((sib >> 3) & 7) | (this.rex & REX_X ? 8 : 0);
      if (index === 4 && !this.vsib) index = undefined;
      base = sib & 7;
      if (base === 5 && mod === 0) base = undefined;
    } else if (base === 5 && mod === 0) {
      base = undefined;
      ripRelative = this.long;
    }
    const disp = mod === 1 ? this.s8() : mod === 2 || base === undefined ? this.s32() : 0;
    if (base !== undefined && this.rex & REX_B) base |= 8;
    if (this.vsib) this.vectorIndex = index ?? -1;
    return this.ref(base, index, scale, disp, ripRelative);
  }

  ref(base: number | undefined, index: number | undefined, scale: number, disp: number, ripRelative: boolean): MemRef {
    const stack = base === 4 || base === 5;
    const seg = this.override >= 0 ? this.override : stack ? SEG.ss : SEG.ds;
    if (this.vsib) return { base, index: undefined, scale, disp: BigInt(disp), ripRelative, seg };
    return { base, index, scale: index === undefined ? 0 : scale, disp: BigInt(disp), ripRelative, seg };
  }
}

// Operands that recur are made once.

type RegOperand = Extract<OperandValue, { kind: 'reg' }>;
const registers = (cls: RegClass, width: MemWidth, count: number, high = false): readonly RegOperand[] =>
  Array.from({ length: count }, (_, n) => ({ kind: 'reg', cls, n, width, high }) as const);
const GPR: Readonly<Record<number, readonly RegOperand[]>> = Object.fromEntries(
  ([8, 16, 32, 64] as const).map((width) => [width, registers('gpr', width, 16)]),
);
const HIGH = registers('gpr', 8, 4, true);
const SEGMENT = registers('seg', 16, 6);
const CONTROL = registers('cr', 64, 16);
const DEBUG = registers('dr', 64, 8);
const XMM = registers('xmm', 128, 16);
const YMM = registers('xmm', 256, 16);
const MM = registers('mm', 64, 8);
const ST = registers('st', 80, 8);
type MemOperand = Extract<OperandValue, { kind: 'mem' }>;
const MEMORY: Readonly<Record<number, MemOperand>> = Object.fromEntries(
  ([0, 8, 16, 32, 48, 64, 80, 128, 256] as const).map((width) => [width, { kind: 'mem', width } as const]),
);

/**
 * Width of an operand by operand size, indexed `w >> 5` (16, 32, 64) plus 3 in 64-bit mode. Registers and memory of
 * size z are at most 32 bits wide; immediates of size z are extended to the operand size.
 */
function widths(op: Operand): readonly number[] {
  const at = (w: Width, long: boolean): number =>
    sizeBits(op.size, op.size === 'z' && op.where !== 'I' && w === 64 ? 32 : w, long);
  return [16, 32, 64, 16, 32, 64].map((w, i) => at(w as Width, i >= 3));
}

const general = (width: number, n: number, rex: number): RegOperand | undefined =>
  width === 8 && rex === 0 && n >= 4 ? HIGH[n - 4] : GPR[width]![n];

/** Readers for operands in general registers or memory. */
function generalReader(op: Operand): Reader {
  const width = widths(op);
  const at = (s: State): number => width[(s.w >> 5) + (s.long ? 3 : 0)]!;
  switch (op.where) {
    case 'G':
      return (s) => general(at(s), s.reg, s.rex);
    case 'R':
      return (s) => general(at(s), s.rm, s.rex);
    case 'B':
      return (s) => general(at(s), s.vvvv, s.rex);
    case 'Z':
      return (s) => general(at(s), (s.opcode & 7) | (s.rex & REX_B ? 8 : 0), s.rex);
    case 'fixed':
      if (op.text === '1') return () => ({ kind: 'imm', value: 1n, width: 8 });
      return (s) => GPR[at(s)]![op.fixed!];
    case 'M':
    case 'X':
    case 'Y':
      return (s) => MEMORY[at(s)];
    default:
      return (s) => (s.mem ? MEMORY[at(s)] : general(at(s), s.rm, s.rex));
  }
}

/** CR0, CR2, CR3, CR4 and CR8 exist; the others are #UD (SDM vol.2 MOV to/from control registers). */
const EXISTING_CR = 0b1_0001_1101;

/** Readers for operands in registers of other files. */
function registerReader(op: Operand): Reader {
  const memory = MEMORY[sizeBits(op.size, 32, false)];
  const xmm = op.size === 'qq' ? YMM : XMM;
  switch (op.where) {
    case 'S': // CS cannot be loaded by MOV
      return (s) => (op.write && (s.modrm & 0x38) === 8 ? undefined : SEGMENT[(s.modrm >> 3) & 7]);
    case 'C':
      return (s) => (EXISTING_CR & (1 << s.reg) ? CONTROL[s.reg] : undefined);
    case 'D':
      return (s) => DEBUG[s.reg];
    case 'V':
      return (s) => xmm[s.reg];
    case 'U':
      return (s) => xmm[s.rm];
    case 'W':
      return (s) => (s.mem ? memory : xmm[s.rm]);
    case 'H':
      return (s) => xmm[s.vvvv];
    case 'L':
      return (s) => xmm[(s.u8() >> 4) & (s.long ? 15 : 7)];
    case 'K':
      return (s) => (validGather(s) ? xmm[s.vectorIndex] : undefined);
    case 'P':
      return (s) => MM[(s.modrm >> 3) & 7];
    case 'N':
      return (s) => MM[s.modrm & 7];
    case 'Q':
      return (s) => (s.mem ? memory : MM[s.modrm & 7]);
    default:
      return (s) => ST[s.modrm & 7];
  }
}

/** A gather needs a SIB byte, and its destination, mask and index must be three registers (SDM vol.2 VGATHER). */
function validGather(s: State): boolean {
  const index = s.vectorIndex;
  return index >= 0 && s.asize !== 16 && index !== s.reg && index !== s.vvvv && s.reg !== s.vvvv;
}

function immediateReader(op: Operand): Reader {
  const imm = (value: number, width: Width): OperandValue => ({
    kind: 'imm',
    value: value >= 0 ? BigInt(value) : BigInt.asUintN(width, BigInt(value)),
    width,
  });
  switch (op.size) {
    case 'b':
      return (s) => imm(s.u8(), 8);
    case 'bs':
      return (s) => imm(s.s8(), s.w);
    case 'w':
      return (s) => imm(s.u16(), 16);
    case 'd':
      return (s) => imm(s.s32(), 32);
    case 'q':
      return (s) => ({ kind: 'imm', value: s.u64(), width: 64 });
    case 'z':
      return (s) => imm(s.w === 16 ? s.s16() : s.s32(), s.w);
    case 'v':
      return (s) =>
        s.w === 64 ? { kind: 'imm', value: s.u64(), width: 64 } : imm(s.w === 16 ? s.s16() : s.s32(), s.w);
    default:
      throw new Error(`operand ${op.text}: an immediate has no size '${op.size}'; use b bs w d q z or v`);
  }
}

function farReader(s: State): OperandValue {
  const offset = s.w === 16 ? s.u16() : s.s32() >>> 0;
  return { kind: 'far', offset: BigInt(offset), selector: s.u16() };
}

/** Memory by absolute offset: the offset is as wide as the address size (SDM vol.2 MOV, moffs). */
function offsetReader(op: Operand): Reader {
  const width = widths(op);
  return (s) => {
    const disp = s.asize === 64 ? s.u64() : BigInt(s.asize === 32 ? s.s32() >>> 0 : s.u16());
    const seg = s.override >= 0 ? s.override : SEG.ds;
    s.mem = { base: undefined, index: undefined, scale: 0, disp, ripRelative: false, seg };
    return MEMORY[width[(s.w >> 5) + (s.long ? 3 : 0)]!];
  };
}

function makeReader(row: Row, i: number): Reader {
  const op = row.operands[i]!;
  switch (op.where) {
    case 'I':
      return immediateReader(op);
    case 'J':
      if (op.size === 'b') return (s) => ({ kind: 'rel', value: s.s8() });
      return (s) => ({ kind: 'rel', value: s.w === 16 ? s.s16() : s.s32() });
    case 'A':
      return farReader;
    case 'O':
      return offsetReader(op);
    default:
      if (!row.enc.vex && 'BHLK'.includes(op.where)) {
        throw new Error(`row ${row.name}: operand ${op.text} needs a VEX prefix, which ${row.enc.text} does not have`);
      }
      return 'SCDVUWHLKPNQT'.includes(op.where) ? registerReader(op) : generalReader(op);
  }
}

/** Map after an 0F escape: 0F 38 and 0F 3A have their own. */
const escapeMap = (byte: number): 1 | 2 | 3 => (byte === 0x38 ? 2 : byte === 0x3a ? 3 : 1);

function byRexB(form: Form<Reader>, s: State): Form<Reader> | undefined {
  if (!(s.rex & REX_B)) return form;
  return form.withRexB === 'none' ? undefined : form.withRexB;
}

function choose(node: Node<Reader>, s: State): Form<Reader> | undefined {
  const { only, choices } = node;
  if (only) {
    if (only.modrm) s.modrm = s.u8();
    return only.withRexB === undefined ? only : byRexB(only, s);
  }
  if (!choices) return undefined;
  s.modrm = s.u8();
  const form = choices[choices.length === 256 ? s.modrm : ((s.modrm >> 2) & 14) | (s.modrm >= 0xc0 ? 1 : 0)];
  return form?.withRexB === undefined ? form : byRexB(form, s);
}

function repeatOf(row: Row, repeat: number): Insn['rep'] {
  if (repeat === 0 || row.rep === undefined) return 'none';
  return repeat === 0xf3 || row.rep === 'plain' ? 'rep' : 'repne';
}

/**
 * Makes a decoder for the rows. With `features`, rows of a CPU feature that is not in the set are not there; without,
 * all are. Throws at start-up when a row's notation makes no sense.
 */
export function makeDecoder(rows: readonly Row[], features?: ReadonlySet<string>): Decoder {
  const there = rows.filter((r) => !features || r.feature === undefined || features.has(r.feature));
  const { nodes, conflicts } = makeForms(there, makeReader);
  const s = new State();
  const short = (at: number): DecodeFailure => (s.limit === at + MAX_LENGTH ? TOO_LONG : TRUNCATED);

  const decode = (bytes: Uint8Array, at: number, end: number, mode: CodeMode): Insn | DecodeFailure => {
    s.begin(bytes, at, end, mode.code === 64);
    let map = 0;
    let prefix = -1;
    let opcode = s.prefixes();
    if (s.startsVex(opcode)) {
      prefix = s.vexPrefix(opcode);
      if (s.pos > s.limit) return short(at);
      if (prefix < 0) return UD;
      opcode = s.u8();
    } else if (opcode === 0x0f) {
      opcode = s.u8();
      map = escapeMap(opcode);
      if (map > 1) opcode = s.u8();
    }
    if (s.pos > s.limit) return short(at);
    s.opcode = opcode;
    if (prefix < 0) prefix = s.repeat === 0 ? (s.has66 ? 1 : 0) : s.repeat === 0xf3 ? 2 : 3;
    const index =
      s.vexMap === 0
        ? nodeIndex(map, opcode, prefix, s.long)
        : vexIndex(s.vexMap, opcode, s.vexL, s.vexW, prefix, s.long);
    const node = nodes[index];
    const form = node && choose(node, s);
    if (s.pos > s.limit) return short(at);
    if (!form || (s.vexMap !== 0 && !form.usesVvvv && !s.vvvvFree)) return UD;
    s.vsib = form.vsib;
    s.vectorIndex = -1;
    s.asize = mode.code === 64 ? (s.has67 ? 32 : 64) : (mode.code === 32) !== s.has67 ? 32 : 16;
    s.w = s.operandSize(mode, form);
    if (form.modrm && s.modrm < 0xc0 && !form.registerOnly) s.mem = s.memory();
    const operands = new Array<OperandValue>(form.readers.length);
    for (let i = 0; i < operands.length; i++) {
      const operand = form.readers[i]!(s);
      if (operand === undefined) return UD;
      operands[i] = operand;
    }
    if (s.pos > s.limit) return short(at);
    if (s.lock && !(form.row.lock && operands[0]?.kind === 'mem')) return UD;
    return {
      row: form.row,
      length: s.pos - at,
      w: s.w,
      asize: s.asize,
      mode,
      operands,
      mem: s.mem,
      modrm: s.modrm,
      opcode,
      lock: s.lock,
      rep: repeatOf(form.row, s.repeat),
      seg: s.mem ? s.mem.seg : s.override >= 0 ? s.override : SEG.ds,
    };
  };
  return { decode, conflicts };
}
