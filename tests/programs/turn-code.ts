// Machine code of random loops of one block, for 32- and 64-bit mode: BP counts the turns, BX, SI and DI are bases, AX,
// CX and DX indexes and values.
import { CPU } from '../../src/isa/layout.ts';
import type { Random } from '../isa/random.ts';

const [AX, CX, DX, BX, BP, SI, DI] = [0, 1, 2, 3, 5, 6, 7] as const;
const HLT = 0xf4;

export class LoopCode {
  readonly bytes: Uint8Array;
  readonly entry: number;
  readonly offsets = { ymm: CPU.ymm! };
  private readonly random: Random;
  private readonly bits: 32 | 64;
  private readonly code: number[] = [];

  constructor(random: Random, bits: 32 | 64) {
    this.random = random;
    this.bits = bits;
    this.entry = random.below(0xf00);
    const length = 1 + random.below(random.pick([3, 6, 10]));
    if (random.once(3)) this.sums();
    else for (let i = 0; i < length; i++) this.body();
    this.end();
    // A privileged instruction: its handler halts.
    this.code.push(HLT);
    this.bytes = new Uint8Array(4096).fill(HLT);
    this.bytes.set(this.code.slice(0, 4096 - this.entry), this.entry);
  }

  private get value(): number {
    return this.random.pick([AX, CX, DX]);
  }
  private get xmm(): number {
    return this.random.below(3);
  }
  private get isWide(): boolean {
    return this.bits === 64 && this.random.once(2);
  }
  private insn(prefix: readonly number[], opcode: readonly number[], operand: readonly number[], wide = false): void {
    this.code.push(...prefix, ...(wide ? [0x48] : []), ...opcode, ...operand);
  }
  /** ModRM and what follows: a register. */
  private reg(reg: number, rm: number): number[] {
    return [0xc0 | (reg << 3) | rm];
  }
  /** ModRM and what follows: a base, perhaps an index, perhaps a displacement. */
  private mem(reg: number): number[] {
    const { random } = this;
    const base = random.pick([BX, SI, DI]);
    const disp = random.once(2) ? [] : [random.below(256)];
    const mod = disp.length > 0 ? 0x40 : 0;
    if (random.once(3)) return [mod | (reg << 3) | base, ...disp];
    const sib = (random.below(4) << 6) | (this.value << 3) | base;
    return [mod | (reg << 3) | 4, sib, ...disp];
  }
  private rm(reg: number, other: number): number[] {
    return this.random.once(2) ? this.mem(reg) : this.reg(reg, other);
  }

  /** Sums and products of numbers that lie behind each other. */
  private sums(): void {
    const { random } = this;
    for (let i = 1 + random.below(3); i > 0; i--) {
      const load = random.once(2);
      if (load) this.insn([0xf2], [0x0f, 0x10], [random.pick([BX, SI, DI])]);
      this.insn(
        [0xf2],
        [0x0f, random.pick([0x58, 0x59, 0x5c])],
        load ? this.reg(1, 0) : [8 | random.pick([BX, SI, DI])],
      );
      if (random.once(4)) this.insn([0xf2], [0x0f, 0x11], [8 | random.pick([BX, SI, DI])]);
    }
    for (const base of [BX, SI, DI]) this.insn([], [0x83], [...this.reg(0, base), 8], this.bits === 64);
  }
  private body(): void {
    const { random } = this;
    const { integers, steps, numbers, vectors, wide } = this;
    const forms = [integers, integers, steps, steps, numbers, numbers, vectors, wide];
    if (random.once(12)) this.rare();
    else random.pick(forms).call(this);
  }
  private integers(): void {
    const { random, value, isWide } = this;
    switch (random.below(8)) {
      case 0: // mov r, [m]; and r, imm
        this.insn([], [0x8b], this.mem(value), isWide);
        this.insn([], [0x81], [...this.reg(4, value), 0xff, random.pick([3, 7, 31]), 0, 0]);
        break;
      case 1: // movzx r, byte [m]
        this.insn([], [0x0f, 0xb6], this.mem(value));
        break;
      case 2: // mov [m], r
        this.insn([], [0x89], this.mem(value), isWide);
        break;
      case 3: // mov byte [m], imm
        this.insn([], [0xc6], [...this.mem(0), random.below(256)]);
        break;
      case 4: // add, or, adc, sbb, and, sub, xor, cmp: both ways
        this.insn([], [random.below(8) * 8 + random.pick([1, 3])], this.mem(value), isWide);
        break;
      case 5: // inc, dec [m]
        this.insn([], [0xff], this.mem(random.below(2)), isWide);
        break;
      case 6: // cmovcc r, [m]
        this.insn([], [0x0f, 0x40 + random.below(16)], this.mem(value), isWide);
        break;
      default: // setcc [m]
        this.insn([], [0x0f, 0x90 + random.below(16)], this.mem(0));
    }
  }
  /** Indexes and bases go on. */
  private steps(): void {
    const { random, value, isWide } = this;
    const long = [0x40, 0x200, 0x1000, 0x1008].map((n) => n * random.pick([1, -1]));
    switch (random.below(6)) {
      case 0: // add r, imm8
        this.insn([], [0x83], [...this.reg(0, value), random.pick([1, 2, 8, 0xf8, 0xff])], isWide);
        break;
      case 1: {
        const n = random.pick(long);
        this.insn(
          [],
          [0x81],
          [...this.reg(0, random.pick([BX, SI, DI, value])), n & 255, (n >> 8) & 255, n < 0 ? 255 : 0, n < 0 ? 255 : 0],
          this.bits === 64,
        );
        break;
      }
      case 2: // add base, imm8
        this.insn(
          [],
          [0x83],
          [...this.reg(0, random.pick([BX, SI, DI])), random.pick([1, 4, 8, 16, 0xf8])],
          this.bits === 64,
        );
        break;
      case 3: // lea r, [m]
        this.insn([], [0x8d], this.mem(value), isWide);
        this.insn([], [0x81], [...this.reg(4, value), 0xff, 15, 0, 0]);
        break;
      case 4: // add r, r and the like
        this.insn([], [random.below(8) * 8 + 1], this.reg(value, this.value), isWide);
        break;
      default: // shl, shr, sar r, imm
        this.insn([], [0xc1], [...this.reg(random.pick([4, 5, 7]), value), random.below(4)], isWide);
    }
  }
  private numbers(): void {
    const { random, xmm } = this;
    const format = random.pick([0xf2, 0xf2, 0xf2, 0xf3]);
    switch (random.below(6)) {
      case 0: // movsd x, [m]
      case 1:
        this.insn([format], [0x0f, 0x10], this.rm(xmm, this.xmm));
        break;
      case 2: // movsd [m], x
        this.insn([format], [0x0f, 0x11], this.rm(xmm, this.xmm));
        break;
      default: // add, mul, sub, div, min, max, sqrt
        this.insn(
          [format],
          [0x0f, random.pick([0x58, 0x58, 0x59, 0x59, 0x5c, 0x5e, 0x5d, 0x5f, 0x51])],
          this.rm(xmm, this.xmm),
        );
    }
  }
  private vectors(): void {
    const { random, xmm } = this;
    switch (random.below(7)) {
      case 0: // movdqu x, [m]
        this.insn([0xf3], [0x0f, 0x6f], this.mem(xmm));
        break;
      case 1: // movdqu [m], x
        this.insn([0xf3], [0x0f, 0x7f], this.mem(xmm));
        break;
      case 2: // movapd
        this.insn([0x66], [0x0f, 0x28], this.rm(xmm, this.xmm));
        break;
      case 3: // xorpd, andpd, unpcklpd, addpd
        this.insn([0x66], [0x0f, random.pick([0x57, 0x54, 0x14, 0x58, 0x59, 0x5c])], this.reg(xmm, this.xmm));
        break;
      case 4: // ucomisd, comisd
        this.insn([0x66], [0x0f, random.pick([0x2e, 0x2f])], this.rm(xmm, this.xmm));
        break;
      case 5: // cvtsi2sd
        this.insn([0xf2], [0x0f, 0x2a], this.reg(xmm, this.value));
        break;
      default: // paddq, pxor
        this.insn([0x66], [0x0f, random.pick([0xd4, 0xef])], this.rm(xmm, this.xmm));
    }
  }
  /** AVX, mostly of 256 bits. */
  private wide(): void {
    const { random, xmm } = this;
    const is256 = !random.once(3);
    /** A 2-byte VEX prefix; `source` is the register that it names. */
    const vex = (mandatory: number, source = 0): number[] => [
      0xc5,
      0x80 | ((~source & 15) << 3) | (is256 ? 4 : 0) | mandatory,
    ];
    const [single, double, scalar] = [0, 1, 3] as const;
    switch (random.below(7)) {
      case 0: // vmovupd x, [m]
        this.insn(vex(double), [0x10], this.mem(xmm));
        break;
      case 1: // vmovupd [m], x
        this.insn(vex(double), [0x11], this.mem(xmm));
        break;
      case 2: // vaddsd and the like
        this.insn(vex(scalar, xmm), [random.pick([0x58, 0x59, 0x5c, 0x5e])], this.rm(xmm, this.xmm));
        break;
      case 3: // vxorpd, vandpd, vunpcklpd
        this.insn(vex(double, xmm), [random.pick([0x57, 0x54, 0x14])], this.rm(xmm, this.xmm));
        break;
      case 4: // vzeroupper
        this.insn([0xc5, 0xf8], [0x77], []);
        break;
      default: // vaddpd, vmulps and the like
        this.insn(
          vex(random.pick([single, double, double]), xmm),
          [random.pick([0x58, 0x58, 0x59, 0x5c, 0x5e])],
          this.rm(xmm, this.xmm),
        );
    }
  }
  private rare(): void {
    const { random, value, xmm } = this;
    switch (random.below(5)) {
      case 0: // push r; pop r
        this.code.push(0x50 + value, 0x58 + this.value);
        break;
      case 1: // bts [m], r: the index is no further than the guest's pages
        this.insn([], [0x0f, 0xab], this.mem(value));
        break;
      case 2: // div byte [m]
        this.insn([], [0xf6], this.mem(6));
        break;
      case 3: // movd
        this.insn([0x66], [0x0f, 0x6e], this.reg(xmm, value));
        break;
      default: // mov r, [sp]
        this.insn([], [0x8b], [(value << 3) | 0x44, 0x24, 8]);
    }
  }
  /** Counts and goes back. */
  private end(): void {
    const { random } = this;
    switch (random.below(4)) {
      case 0: // dec ebp
        this.insn([], [0xff], this.reg(1, BP));
        break;
      case 1: // sub ebp, 1
        this.insn([], [0x83], [...this.reg(5, BP), 1]);
        break;
      case 2: // lea ebp, [ebp - 1]; test ebp, ebp
        this.insn([], [0x8d], [0x6d, 0xff]);
        this.insn([], [0x85], this.reg(BP, BP));
        break;
      default: // lea ebp, [ebp - 1]; cmp ebp, 0
        this.insn([], [0x8d], [0x6d, 0xff]);
        this.insn([], [0x83], [...this.reg(7, BP), 0]);
    }
    const back = -(this.code.length + 2);
    if (back >= -128) this.code.push(0x75, back & 255);
    else {
      const far = back - 4;
      this.code.push(0x0f, 0x85, far & 255, (far >> 8) & 255, 255, 255);
    }
  }
}
