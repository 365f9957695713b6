// A random program: drawn from a seed as a tree of pieces, then written as code, with the state from which it begins.
// The tree is what a mismatch is reduced by.
import { CPU, CR0 } from '../../src/isa/layout.ts';
import { awkward, awkwardExtended, awkwardVector } from '../differential/values.ts';
import { Random } from '../isa/random.ts';
import { Assembler, CodeFull, Label } from './assembler.ts';
import { Emit, type Node, type ProgramMode } from './emit.ts';
import { drawEnvironment, type Environment } from './environment.ts';
import { END } from './events.ts';
import { NARROW_SEGMENTS, SELECTOR } from './kernel.ts';
import { CHANGE_PIECES } from './kinds-changes.ts';
import { CONTROL_PIECES, type Piece } from './kinds-control.ts';
import { MEMORY_PIECES } from './kinds-memory.ts';
import { NARROW_PIECES } from './kinds-narrow.ts';
import { PAGING_PIECES } from './kinds-paging.ts';
import { SYSTEM_PIECES } from './kinds-system.ts';
import type { Machine } from './machine.ts';
import { entrySizeOf, largeEntryInWindow, leafSpanOf } from './paging.ts';
import { ALIAS, FAR_PLACES, NEAR_PLACES, narrowBase, narrowDataBase, PAGE, type Places } from './places.ts';

/** All that a program is made from. */
export interface Spec {
  readonly seed: number;
  /** Groups of pages 4 MiB apart. */
  readonly far: boolean;
  readonly main: readonly Node[];
  readonly functions: readonly Node[];
}

const PIECES: Readonly<Record<string, Piece>> = {
  ...CONTROL_PIECES,
  ...MEMORY_PIECES,
  ...SYSTEM_PIECES,
  ...PAGING_PIECES,
  ...NARROW_PIECES,
  ...CHANGE_PIECES,
};
/** How often each kind is drawn. */
const WEIGHTS: Readonly<Record<string, number>> = {
  straight: 20,
  loop: 9,
  branch: 7,
  shortBranch: 5,
  call: 7,
  oddReturn: 3,
  recursion: 2,
  table: 2,
  alias: 1,
  move: 3,
  localCalls: 4,
  patchAhead: 2,
  patchOpcode: 2,
  patchJump: 2,
  patchFunction: 1,
  dataInCode: 2,
  stringOverCode: 1,
  string: 3,
  nearby: 3,
  stack: 4,
  fault: 2,
  service: 2,
  pageTable: 2,
  invalidate: 1,
  space: 2,
  otherPage: 3,
  samePage: 3,
  cutBranch: 1,
  otherBase: 2,
  narrow: 5,
  protection: 2,
  userAccess: 5,
  flags: 2,
  trapFlag: 1,
  interrupts: 2,
  masked: 3,
  kernelGs: 2,
  systemCall: 2,
  ports: 2,
  processor: 2,
  segments: 2,
};
const KINDS = Object.entries(WEIGHTS).flatMap(([kind, n]) => new Array<string>(n).fill(kind));
const NESTING = new Set([
  'loop',
  'localCalls',
  'branch',
  'oddReturn',
  'recursion',
  'table',
  'patchAhead',
  'patchJump',
  'trapFlag',
  'userAccess',
  'masked',
  'narrow',
]);
const DEPTH = 3;

function drawNode(random: Random, depth: number): Node {
  const kind = random.pick(KINDS);
  const seed = random.u32();
  const n = NESTING.has(kind) && depth < DEPTH ? 1 + random.below(3) : 0;
  return { kind, seed, children: Array.from({ length: n }, () => drawNode(random, depth + 1)) };
}

export function drawSpec(seed: number, far: boolean): Spec {
  const random = new Random(seed);
  const nodes = (n: number, depth: number): Node[] => Array.from({ length: n }, () => drawNode(random, depth));
  const functions = Array.from({ length: 3 }, () => ({
    kind: 'function',
    seed: random.u32(),
    children: nodes(1 + random.below(3), 1),
  }));
  return { seed, far, main: nodes(6 + random.below(14), 0), functions };
}

function write(e: Emit, node: Node): void {
  e.random = new Random(node.seed);
  if (e.asm.room < 400) {
    const next = e.asm.nextGroup;
    if (next === undefined) throw new CodeFull();
    e.relocate();
  }
  PIECES[node.kind]!(e, node);
  e.resume();
}

export class Program {
  readonly seed: number;
  readonly mode: ProgramMode;
  readonly cpl: 0 | 3;
  readonly places: Places;
  readonly oddCode: number;
  readonly oddData: number;
  readonly flat: boolean;
  readonly ist: boolean;
  readonly environment: Environment;
  /** Data pages are neither accessed nor dirty at first. */
  readonly cleanPages: boolean;
  /** Bits of CR0 beyond the usual. */
  readonly cr0: number;
  readonly start: number;
  /** Places behind instructions and pieces, in order; where the program ends. */
  readonly resumes: readonly number[];
  /** Those of them that are in 16-bit code. */
  readonly narrowResumes: ReadonlySet<number>;
  readonly end: number;
  /** Bytes of code that were written. */
  readonly size: number;
  private readonly code: ReadonlyMap<number, number>;
  private readonly variable: ReadonlySet<number>;

  constructor(spec: Spec) {
    const random = new Random(spec.seed ^ 0x2545f491);
    this.seed = spec.seed;
    this.places = spec.far ? FAR_PLACES : NEAR_PLACES;
    this.mode = random.pick(['long', 'long', 'long', 'compat', 'legacy', 'legacy']);
    this.cpl = random.pick([0, 3, 3]);
    this.flat = this.mode === 'long' || !random.once(3);
    this.oddCode = this.flat && this.mode !== 'long' ? 0 : 0x0001_2340 + random.below(0x40);
    this.oddData = this.flat && this.mode !== 'long' ? 0 : 0x0034_5678 + random.below(0x100);
    // Without a stack of its own a fault of 32-bit code at level 0 would be pushed where SS has no base.
    this.ist = (this.mode === 'compat' && this.cpl === 0) || random.once(2);
    const global = random.once(2);
    const pcid = this.mode !== 'legacy' && random.once(3);
    this.cleanPages = random.once(4);
    this.cr0 = (random.once(8) ? CR0.AM : 0) | 0;
    const long = this.mode !== 'legacy';
    this.environment = drawEnvironment(spec.seed, { long, far: spec.far, cpl: this.cpl, global, pcid });
    const g = this.places.code[0]!;
    const e = new Emit(
      new Assembler(this.places.code, this.drawStart(g.at, random)),
      this.surroundings(),
      random,
      write,
    );
    this.start = e.asm.at;
    this.emit(e, spec);
    e.asm.resolve(e.end);
    this.resumes = e.resumes;
    this.narrowResumes = e.narrowResumes;
    this.end = e.end.at!;
    this.code = e.asm.written;
    this.size = this.code.size;
    this.variable = new Set(e.variable);
  }

  private drawStart(at: number, random: Random): number {
    return at + (random.once(2) ? PAGE - 1 - random.below(200) : random.below(PAGE / 2));
  }

  private surroundings(): Emit['o'] {
    const { mode, cpl, places, flat } = this;
    // Leaf tables come in the order of the addresses that they cover, as the machine shows them.
    const { paging } = this.environment;
    const span = leafSpanOf(paging);
    const tables = tablesOf(places, span);
    return {
      mode,
      cpl,
      places,
      flat,
      codeSelector: this.selectors.code,
      narrow: { code: places.code.map((_, i) => this.narrowSelector(i)), data: this.narrowSelector(NARROW_SEGMENTS) },
      shiftedData: this.narrowSelector(NARROW_SEGMENTS + 1),
      codeBase: this.codeBase,
      dataBase: this.dataBase,
      safeStack: cpl === 3 || (this.ist && mode !== 'legacy'),
      extraBases: mode === 'long' ? [this.oddData, this.oddCode] : [this.dataBase, this.dataBase],
      environment: this.environment,
      largeEntry: places.tables + largeEntryInWindow(paging),
      entryOf: (page) =>
        places.tables + tables.indexOf(Math.floor(page / span)) * PAGE + ((page % span) / PAGE) * entrySizeOf(paging),
    };
  }

  /** Base of CS and of the other segments as code sees them. */
  get codeBase(): number {
    return this.mode === 'long' ? 0 : this.oddCode;
  }
  get dataBase(): number {
    return this.mode === 'long' ? 0 : this.oddData;
  }
  /** Bases of the segments from SELECTOR.NARROW on: 16-bit code for each group of pages, data, shifted data. */
  get narrowBases(): number[] {
    return [...this.places.code.map((_, i) => narrowBase(this.places, i)), narrowDataBase(this.places), PAGE];
  }
  private narrowSelector(i: number): number {
    return SELECTOR.NARROW + i * 8 + this.cpl;
  }
  /** CS and its base for a place of the program. */
  segmentAt(linear: number): readonly [selector: number, base: number] {
    if (!this.narrowResumes.has(linear)) return [this.selectors.code, this.codeBase];
    const group = this.places.code.findIndex((g) => linear >= g.at && linear < g.at + g.bytes);
    return [this.narrowSelector(group), narrowBase(this.places, group)];
  }
  /** Base of a code segment of the program by its selector; 0 for others. */
  baseOf(selector: number): number {
    if (selector === this.selectors.code) return this.codeBase;
    return this.isNarrow(selector) ? this.narrowBases[(selector - SELECTOR.NARROW) >> 3]! : 0;
  }
  /** Is a selector one of the 16-bit code segments? */
  isNarrow(selector: number): boolean {
    return selector >= SELECTOR.NARROW && selector < SELECTOR.NARROW + NARROW_SEGMENTS * 8;
  }
  get stackPointer(): number {
    return this.places.stack - this.dataBase;
  }
  get selectors(): { readonly code: number; readonly data: number } {
    if (this.mode === 'long') {
      if (this.cpl === 0) return { code: SELECTOR.KERNEL_CODE, data: SELECTOR.KERNEL_DATA };
      return { code: SELECTOR.USER_CODE64, data: SELECTOR.USER_DATA };
    }
    if (!this.flat) {
      if (this.cpl === 0) return { code: SELECTOR.ODD_KERNEL_CODE, data: SELECTOR.ODD_KERNEL_DATA };
      return { code: SELECTOR.ODD_USER_CODE, data: SELECTOR.ODD_USER_DATA };
    }
    if (this.cpl === 0) return { code: SELECTOR.KERNEL_CODE32, data: SELECTOR.KERNEL_DATA };
    return { code: SELECTOR.USER_CODE32, data: SELECTOR.USER_DATA };
  }

  /** Writes main pieces, the end, the functions. Where the code pages are full the rest is left out. */
  private emit(e: Emit, spec: Spec): void {
    const { asm } = e;
    for (const _ of spec.functions) e.functions.push(new Label());
    try {
      for (const node of spec.main) {
        write(e, node);
        if (!e.o.safeStack) e.resetStack();
      }
    } catch (error) {
      if (!(error instanceof CodeFull)) throw error;
    }
    try {
      spec.functions.forEach((node, i) => {
        if (i === 0) e.jmp(e.end);
        asm.here(e.functions[i]!);
        e.random = new Random(node.seed);
        e.movImm(e.freeRegister(), BigInt(e.random.u32()), true);
        e.children(node);
        asm.bytes(0xc3);
      });
    } catch (error) {
      if (!(error instanceof CodeFull)) throw error;
    }
    this.finish(e);
  }
  /** int END, for ever: in the last bytes of the code, which nothing else reaches. */
  private finish(e: Emit): void {
    const last = this.places.code.at(-1)!;
    const tail = new Assembler([last], last.at + last.bytes - 4);
    tail.here(e.end);
    tail.bytes(0xcd, END, 0xeb, 0xfc);
    e.asm.merge(tail);
  }

  /** What is in a page at first; `twin`: in the frame that another address space has there. */
  page(at: number, twin: boolean): Uint8Array {
    const random = new Random(this.seed ^ at);
    const bytes = new Uint8Array(PAGE);
    const isCode = this.places.code.some((g) => at >= g.at && at < g.at + g.bytes);
    if (isCode) {
      bytes.fill(0xcc);
      for (let i = 0; i < PAGE; i++) {
        const b = this.code.get(at + i);
        if (b !== undefined) bytes[i] = twin && this.variable.has(at + i) ? b ^ 0x11 : b;
      }
      return bytes;
    }
    const words = new Int32Array(bytes.buffer);
    for (let i = 0; i < words.length; i += 4) awkwardVector(words, i, random);
    return bytes;
  }

  /** Registers, flags and floating point at the start. */
  registers(m: Machine): void {
    const random = new Random(this.seed ^ 0x7f4a7c15);
    const long = this.mode === 'long';
    for (let i = 0; i < (long ? 16 : 8); i++) {
      m.set64('gpr', BigInt.asUintN(long ? 64 : 32, awkward(random)), i);
    }
    m.set64('gpr', BigInt(this.stackPointer), 4);
    m.set64('rip', BigInt(this.start - this.codeBase));
    const iopl = random.once(2) ? 0x3000 : 0;
    m.set32('eflags', 2 | iopl | (random.once(2) ? 0x200 : 0));
    m.set64('cc_x', BigInt(random.u32() & 0x8d5));
    m.set32('cc_op', 0);
    const words = new Int32Array(m.bytes.buffer);
    const cpu = m.vcpu.cpu / 4;
    for (let i = 0; i < 32; i++) awkwardVector(words, cpu + CPU.ymm! / 4 + i * 4, random);
    for (let i = 0; i < 8; i++) awkwardExtended(words, cpu + CPU.fpr! / 4 + i * 4, random);
    m.set32('mxcsr', random.pick([0x1f80, 0x1f80, 0x1f80, 0x9fc0, 0x7f80, 0x1d00]));
    m.set32('fcw', random.pick([0x37f, 0x37f, 0x27f, 0x37a]));
    m.set32('fempty', random.below(256));
    if (random.once(12)) this.breakpoints(m, random);
  }
  private breakpoints(m: Machine, random: Random): void {
    m.set64('dr', BigInt(random.pick([this.start, ...this.resumes])), 0);
    m.set64('dr', BigInt(random.pick(this.places.data) + random.below(PAGE)), 1);
    m.set64('dr', BigInt(random.pick([0x0d0405, 0xd00404, 0x401, 0x700404])), 7);
  }
}

/** Numbers of the leaf tables that map the pages and their aliases, in order. */
function tablesOf(places: Places, span: number): number[] {
  const set = new Set(places.pages.flatMap((p) => [p.at, p.at + ALIAS].map((at) => Math.floor(at / span))));
  return [...set].sort((a, b) => a - b);
}
