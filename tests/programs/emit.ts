// What the pieces of a random program are written with: a few instructions in 32- and 64-bit form, addresses in the
// program's segments, labels.
import type { Random } from '../isa/random.ts';
import { type Assembler, CodeFull, Label } from './assembler.ts';
import type { Environment } from './environment.ts';
import type { Places } from './places.ts';
import { PAGE } from './places.ts';

/** A piece of a program: what kind, the seed of its choices, and the pieces inside. */
export interface Node {
  readonly kind: string;
  readonly seed: number;
  readonly children: readonly Node[];
}

export type ProgramMode = 'long' | 'compat' | 'legacy';

/** What pieces may know of the program they are in. */
export interface Surroundings {
  readonly mode: ProgramMode;
  readonly cpl: 0 | 3;
  readonly places: Places;
  readonly codeBase: number;
  readonly dataBase: number;
  readonly flat: boolean;
  /** CS of the program; its 16-bit segments: code for each group of pages, data. */
  readonly codeSelector: number;
  readonly narrow: { readonly code: readonly number[]; readonly data: number };
  /** Selector of data that begin a page higher than linear addresses do. */
  readonly shiftedData: number;
  /** rSP may be lost: faults have a stack of their own. */
  readonly safeStack: boolean;
  /** Bases of FS and GS. */
  readonly extraBases: readonly [number, number];
  readonly environment: Environment;
  /** Linear address of the entry of the large page, where there is one. */
  readonly largeEntry: number;
  /** Linear address of the table entry that maps a page, for a program that may write it. */
  readonly entryOf: (page: number) => number;
}

export const REG = { AX: 0, CX: 1, DX: 2, BX: 3, SP: 4, BP: 5, SI: 6, DI: 7 } as const;

/** Cells of a program, from `places.cells`: pointers and counters in the first half, anything behind. */
const CELL_COUNT = 64;

export class Emit {
  readonly asm: Assembler;
  readonly o: Surroundings;
  random: Random;
  /** Registers that count loops: bit n. */
  reserved = 1 << REG.SP;
  /** Places to go on at after a fault, in order. */
  readonly resumes: number[] = [];
  /** Those of them that are in 16-bit code. */
  readonly narrowResumes = new Set<number>();
  /** What is written now is 16-bit code. */
  narrow = false;
  /** Constants that differ in a page's twin. */
  readonly variable: number[] = [];
  /** Entries of the functions. */
  readonly functions: Label[] = [];
  readonly end = new Label();
  private cellsUsed = 0;
  private readonly write: (e: Emit, node: Node) => void;

  constructor(asm: Assembler, o: Surroundings, random: Random, write: (e: Emit, node: Node) => void) {
    this.asm = asm;
    this.o = o;
    this.random = random;
    this.write = write;
  }

  get long(): boolean {
    return this.o.mode === 'long';
  }
  get word(): 4 | 8 {
    return this.long ? 8 : 4;
  }
  /** Pieces inside this one. */
  children(node: Node): void {
    const { random } = this;
    for (const child of node.children) this.write(this, child);
    this.random = random;
  }

  /** Keeps a register from being written by the pieces inside `body`. */
  reserving(reg: number, body: () => void): void {
    const before = this.reserved;
    this.reserved |= 1 << reg;
    body();
    this.reserved = before;
  }
  /** Writes 16-bit code. */
  inNarrow(body: () => void): void {
    this.narrow = true;
    body();
    this.narrow = false;
  }
  /** A register that nobody counts with. */
  freeRegister(): number {
    const list = [0, 1, 2, 3, 5, 6, 7, ...(this.long ? [8, 9, 10, 11, 12, 13, 14, 15] : [])];
    return this.random.pick(list.filter((r) => !((this.reserved >> r) & 1)));
  }
  /** An address for a counter or pointer of this piece. */
  cell(): number {
    const n = this.cellsUsed++ % CELL_COUNT;
    return this.o.places.cells + n * 8;
  }

  /** Two cells that follow each other, 16 bytes. */
  cellPair(): readonly [number, number] {
    if (this.cellsUsed % CELL_COUNT === CELL_COUNT - 1) this.cellsUsed++;
    return [this.cell(), this.cell()];
  }

  // --- bytes -------------------------------------------------------------------------------------------------
  private rex(reg: number, rm: number, wide: boolean): void {
    const bits = (wide ? 8 : 0) | (reg > 7 ? 4 : 0) | (rm > 7 ? 1 : 0);
    if (this.long && bits !== 0) this.asm.bytes(0x40 | bits);
    if (this.narrow && wide) this.asm.bytes(0x66);
  }
  /** `op` with two registers, at the full width. */
  regReg(op: number, reg: number, rm: number, wide = true): void {
    this.rex(reg, rm, wide);
    this.asm.bytes(op, 0xc0 | ((reg & 7) << 3) | (rm & 7));
  }
  /** `op` with a register or digit and a memory operand at a linear address, through DS. */
  regAt(op: readonly number[], reg: number, linear: number, wide = true): void {
    this.rex(reg, 0, wide);
    if (this.narrow) this.asm.bytes(0x67);
    this.asm.bytes(...op, ((reg & 7) << 3) | (this.long ? 4 : 5));
    if (this.long) this.asm.bytes(0x25);
    this.asm.u32(linear - this.o.dataBase);
  }
  /** `op` with `[reg]`. */
  regMem(op: readonly number[], reg: number, base: number, wide = true): void {
    this.rex(reg, base, wide);
    this.asm.bytes(...op, 0x40 | ((reg & 7) << 3) | (base & 7));
    if ((base & 7) === 4) this.asm.bytes(0x24);
    this.asm.bytes(0);
  }
  /** mov reg, value. Its lowest byte may differ in the page's twin. */
  movImm(reg: number, value: bigint, varies = false): void {
    this.rex(0, reg, true);
    this.asm.bytes(0xb8 | (reg & 7));
    if (varies) this.variable.push(this.asm.at);
    if (this.long) this.asm.u64(value);
    else this.asm.u32(Number(BigInt.asUintN(32, value)));
  }
  /** mov dword (or qword) [linear], value: a value of at most 31 bits. */
  storeImm(linear: number, value: number): void {
    this.regAt([0xc7], 0, linear);
    this.asm.u32(value);
  }
  /** The same with a label's offset in the code segment. */
  storeLabel(linear: number, label: Label): void {
    this.regAt([0xc7], 0, linear);
    this.asm.pointer(label, 4, this.o.codeBase);
  }
  movLabel(reg: number, label: Label): void {
    this.rex(0, reg, true);
    this.asm.bytes(0xb8 | (reg & 7));
    this.asm.pointer(label, this.word, this.o.codeBase);
  }
  /** Jcc with a near distance; `cc` is the condition's number. */
  jcc(cc: number, label: Label): void {
    this.asm.bytes(0x0f, 0x80 | cc);
    this.asm.rel(label, 4);
  }
  jccShort(cc: number, label: Label): void {
    this.asm.bytes(0x70 | cc);
    this.asm.rel(label, 1);
  }
  jmp(label: Label): void {
    this.asm.bytes(0xe9);
    this.asm.rel(label, 4);
  }
  call(label: Label): void {
    this.asm.bytes(0xe8);
    this.asm.rel(label, 4);
  }
  /** Behind this place it makes sense to go on after a fault. */
  resume(): void {
    if (this.resumes.at(-1) === this.asm.at) return;
    this.resumes.push(this.asm.at);
    if (this.narrow) this.narrowResumes.add(this.asm.at);
  }
  /** Puts rSP back to where it was at the beginning. */
  resetStack(): void {
    this.movImm(REG.SP, BigInt(this.o.places.stack - this.o.dataBase));
  }

  // --- places ------------------------------------------------------------------------------------------------
  /** Somewhere in the code, also in the middle of instructions. */
  codeAddress(): number {
    const g = this.random.pick(this.o.places.code);
    return g.at + this.random.below(g.bytes);
  }
  /** Goes on elsewhere: often so that what follows crosses the end of a page. */
  relocate(): void {
    const { asm, random } = this;
    const pageEnd = Math.floor(asm.at / PAGE + 1) * PAGE;
    const next = random.once(3) ? asm.nextGroup : undefined;
    const to = next === undefined ? pageEnd - 1 - random.below(40) : next + random.below(PAGE);
    if (asm.room < 16) throw new CodeFull();
    if (to < asm.at + 8) return;
    const target = new Label();
    this.jmp(target);
    if (!asm.moveTo(to)) return void asm.here(target);
    asm.here(target);
  }
}
