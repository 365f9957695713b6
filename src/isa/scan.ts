/**
 * The bytes of an instruction, taken apart (SDM vol.2 chapter 2): prefixes, ModRM, SIB, displacement, immediates. All
 * of it are numbers in one object that is used again for each instruction, because most code is only decoded to be
 * written as records once; who wants an object for an instruction has it made of this (decode-operands.ts).
 */
import type { Form } from './decode-forms.ts';
import type { CodeMode } from './insn.ts';
import { SEG } from './layout.ts';
import type { Width } from './ops.ts';

/** Most bytes an instruction may have (SDM vol.2 2.3.11). */
export const MAX_LENGTH = 15;
/** No register: the value of `base`, `index` and `vectorIndex` where there is none. */
export const NO_REGISTER = -1;
/** More operands than any row has. */
const MAX_OPERANDS = 8;

/** ModRM.rm -> base and index in 16-bit addressing (SDM vol.2 table 2-1). */
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3] as const;
const INDEX16 = [6, 7, 6, 7, NO_REGISTER, NO_REGISTER, NO_REGISTER, NO_REGISTER] as const;

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

/** What gives the number of an operand's register. */
export const SOURCE = {
  NONE: 0,
  /** ModRM.reg and ModRM.rm, REX counted; the same without REX. */
  REG: 1,
  RM: 2,
  REG_LOW: 3,
  RM_LOW: 4,
  VVVV: 5,
  OPCODE: 6,
  /** Index of a vector SIB. */
  INDEX: 7,
  /** Bits 4-7 of a byte behind the displacement, which TAKE.REGISTER has read. */
  BYTE: 8,
} as const;

/** What stands behind the displacement for an operand. `S` sign-extends to the operand size. */
export const TAKE = {
  NOTHING: 0,
  U8: 1,
  S8: 2,
  U16: 3,
  U32: 4,
  U64: 5,
  /** 16 or 32 bits, sign-extended to the operand size; and 16, 32 or 64 bits. */
  Z: 6,
  V: 7,
  REL8: 8,
  REL: 9,
  FAR: 10,
  /** Address of the memory operand, as wide as the address size. */
  OFFSET: 11,
  REGISTER: 12,
} as const;

export class Scan {
  private bytes: Uint8Array = new Uint8Array(0);
  private start = 0;
  private pos = 0;
  private limit = 0;
  mode: CodeMode = { code: 64, stack: 64 };
  /** In 64-bit mode. */
  long = true;
  /** What the bytes select; only valid after a decoding that did not fail. */
  form!: Form;
  /** Bytes. */
  length = 0;
  /** REX byte directly in front of the opcode, or 0; with VEX, its inverted fields. */
  rex = 0;
  has66 = false;
  has67 = false;
  /** F3 or F2, the last one, or 0. */
  repeat = 0;
  lock = false;
  /** Segment override, or -1. */
  private override = -1;
  /** Operand size. */
  w: Width = 32;
  asize: 16 | 32 | 64 = 32;
  opcode = 0;
  /** ModRM byte, 0 when there is none. */
  modrm = 0;
  /** VEX: register in vvvv, and whether vvvv was 1111b; L and W; map of the opcode, 0 for no VEX prefix. */
  vvvv = 0;
  vvvvFree = true;
  vexL = 0;
  vexW = 0;
  vexMap = 0;
  /** Index register of a vector SIB. */
  vectorIndex = NO_REGISTER;

  /** There is a memory operand; the fields behind are its own (MemRef). */
  hasMem = false;
  base = NO_REGISTER;
  index = NO_REGISTER;
  scale = 0;
  ripRelative = false;
  /** Displacement: sign-extended 32 bits, or, where `absolute`, an unsigned number of 64 bits in two halves. */
  disp = 0;
  dispHigh = 0;
  absolute = false;
  private memorySegment = 0;

  /**
   * What was read for operand i: an immediate of 64 bits, extended to the operand's width and zero above; or the
   * distance; or offset and selector; or a register number.
   */
  readonly low = new Int32Array(MAX_OPERANDS);
  readonly high = new Int32Array(MAX_OPERANDS);

  begin(bytes: Uint8Array, at: number, end: number, mode: CodeMode): void {
    this.bytes = bytes;
    this.start = at;
    this.pos = at;
    this.limit = Math.min(end, at + MAX_LENGTH);
    this.mode = mode;
    this.long = mode.code === 64;
    this.rex = 0;
    this.has66 = false;
    this.has67 = false;
    this.repeat = 0;
    this.lock = false;
    this.override = -1;
    this.modrm = 0;
    this.vexMap = 0;
    this.vectorIndex = NO_REGISTER;
    this.hasMem = false;
  }

  /** Notes that all of the instruction was read. */
  finish(): void {
    this.length = this.pos - this.start;
  }
  /** More bytes were asked for than there are. */
  get isPastEnd(): boolean {
    return this.pos > this.limit;
  }
  /** The end is that of the longest instruction, not of the bytes given. */
  get isEndOfLongest(): boolean {
    return this.limit === this.start + MAX_LENGTH;
  }
  /** Segment of accesses: that of the memory operand, else the override, else ds. */
  get seg(): number {
    return this.hasMem ? this.memorySegment : this.override >= 0 ? this.override : SEG.ds;
  }

  /** Next byte; past the limit 0, which `isPastEnd` tells afterwards. */
  u8(): number {
    const at = this.pos++;
    return at < this.limit ? this.bytes[at]! : 0;
  }
  private s8(): number {
    return (this.u8() << 24) >> 24;
  }
  private u16(): number {
    return this.u8() | (this.u8() << 8);
  }
  private s16(): number {
    return (this.u16() << 16) >> 16;
  }
  private s32(): number {
    return this.u16() | (this.u16() << 16);
  }

  /** ModRM.reg and ModRM.rm as register numbers, REX counted. */
  get reg(): number {
    return ((this.modrm >> 3) & 7) | (this.rex & REX_R ? 8 : 0);
  }
  private get rm(): number {
    return (this.modrm & 7) | this.highBit;
  }
  private get highBit(): number {
    return this.rex & REX_B ? 8 : 0;
  }
  get hasRexB(): boolean {
    return (this.rex & REX_B) !== 0;
  }

  /** Number of the register of operand `i`, whose `source` is one of SOURCE. */
  register(source: number, i: number): number {
    switch (source) {
      case SOURCE.REG:
        return this.reg;
      case SOURCE.RM:
        return this.rm;
      case SOURCE.REG_LOW:
        return (this.modrm >> 3) & 7;
      case SOURCE.RM_LOW:
        return this.modrm & 7;
      case SOURCE.VVVV:
        return this.vvvv;
      case SOURCE.OPCODE:
        return (this.opcode & 7) | this.highBit;
      case SOURCE.INDEX:
        return this.vectorIndex;
      default:
        return this.low[i]!;
    }
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

  private prefix(byte: number): void {
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

  /** Sets operand and address size, which `form` has a say in. */
  sizes(form: Form): void {
    const { code } = this.mode;
    this.asize = code === 64 ? (this.has67 ? 32 : 64) : (code === 32) !== this.has67 ? 32 : 16;
    this.w = this.operandSize(code, form);
  }
  private operandSize(code: CodeMode['code'], form: Form): Width {
    if (this.vexMap !== 0) return form.vexSize && this.rex & REX_W ? 64 : 32;
    const has66 = this.has66 && !form.owns66;
    if (code === 64) {
      if (this.rex & REX_W || form.size64 === 2) return 64;
      return has66 ? 16 : form.size64 === 1 ? 64 : 32;
    }
    return (code === 32) !== has66 ? 32 : 16;
  }

  /** Reads the memory operand of ModRM, whose byte has been read. `vsib`: its index is a vector register. */
  memory(vsib: boolean): void {
    this.hasMem = true;
    this.absolute = false;
    this.ripRelative = false;
    this.index = NO_REGISTER;
    this.scale = 0;
    if (this.asize === 16) this.memory16();
    else this.memory32(vsib);
    const isStack = this.base === 4 || this.base === 5;
    this.memorySegment = this.override >= 0 ? this.override : isStack ? SEG.ss : SEG.ds;
  }

  private memory16(): void {
    const mod = this.modrm >> 6;
    const rm = this.modrm & 7;
    const isAbsolute = mod === 0 && rm === 6;
    this.base = isAbsolute ? NO_REGISTER : BASE16[rm]!;
    this.index = INDEX16[rm]!;
    this.disp = mod === 1 ? this.s8() : mod === 2 || isAbsolute ? this.s16() : 0;
  }

  private memory32(vsib: boolean): void {
    const mod = this.modrm >> 6;
    let base = this.modrm & 7;
    if (base === 4) base = this.sib(vsib, mod);
    else if (base === 5 && mod === 0) {
      base = NO_REGISTER;
      this.ripRelative = this.long;
    }
    this.disp = mod === 1 ? this.s8() : mod === 2 || base < 0 ? this.s32() : 0;
    this.base = base < 0 ? base : base | this.highBit;
  }

  /** Reads the SIB byte and returns the base, without REX. */
  private sib(vsib: boolean, mod: number): number {
    const sib = this.u8();
    const index = ((sib >> 3) & 7) | (this.rex & REX_X ? 8 : 0);
    if (vsib) this.vectorIndex = index;
    else if (index !== 4) this.index = index;
    if (vsib || index !== 4) this.scale = sib >> 6;
    const base = sib & 7;
    return base === 5 && mod === 0 ? NO_REGISTER : base;
  }

  /** Reads what stands behind the displacement for operand `i`; `take` is one of TAKE. */
  take(take: number, i: number): void {
    switch (take) {
      case TAKE.U8:
        this.taken(i, this.u8(), 0);
        break;
      case TAKE.S8:
        this.extended(i, this.s8());
        break;
      case TAKE.U16:
        this.taken(i, this.u16(), 0);
        break;
      case TAKE.U32:
        this.taken(i, this.s32(), 0);
        break;
      case TAKE.U64:
        this.taken(i, this.s32(), this.s32());
        break;
      case TAKE.V:
      case TAKE.Z:
        if (this.w === 16) this.extended(i, this.s16());
        else if (this.w === 64 && take === TAKE.V) this.taken(i, this.s32(), this.s32());
        else this.extended(i, this.s32());
        break;
      case TAKE.REL8:
        this.taken(i, this.s8(), 0);
        break;
      case TAKE.REL:
        this.taken(i, this.w === 16 ? this.s16() : this.s32(), 0);
        break;
      case TAKE.FAR:
        this.taken(i, this.w === 16 ? this.u16() : this.s32(), this.u16());
        break;
      case TAKE.OFFSET:
        this.offset();
        break;
      default:
        this.taken(i, (this.u8() >> 4) & (this.long ? 15 : 7), 0);
    }
  }
  private taken(i: number, low: number, high: number): void {
    this.low[i] = low;
    this.high[i] = high;
  }
  /** A signed number, extended to the operand size. */
  private extended(i: number, value: number): void {
    if (this.w === 64) this.taken(i, value, value >> 31);
    else this.taken(i, this.w === 32 ? value : value & 0xffff, 0);
  }

  /** Memory by absolute offset: the offset is as wide as the address size (SDM vol.2 MOV, moffs). */
  private offset(): void {
    this.hasMem = true;
    this.absolute = true;
    this.ripRelative = false;
    this.base = NO_REGISTER;
    this.index = NO_REGISTER;
    this.scale = 0;
    this.disp = this.asize === 16 ? this.u16() : this.s32();
    this.dispHigh = this.asize === 64 ? this.s32() : 0;
    this.memorySegment = this.override >= 0 ? this.override : SEG.ds;
  }
}
