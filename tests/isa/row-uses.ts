/**
 * The vocabulary without values: runs a row's meaning and notes what it does, in order. The tests read from it which
 * operands, fields, helpers and segments a row uses and whether it writes before it can still fault.
 */
import { cpuField } from '../../src/isa/layout.ts';
import type { MemWidth, Ops, SegRef, Width } from '../../src/isa/ops.ts';
import { type Operand, type Row, sizeBits } from '../../src/isa/row.ts';

/** Where a form of a row runs: sizes, and whether an operand that may be either is in memory. */
export interface Shape {
  readonly w: Width;
  readonly asize: 16 | 32 | 64;
  readonly stack: 16 | 32 | 64;
  readonly long: boolean;
  readonly inMemory: boolean;
}

export interface Uses {
  readonly gets: Set<number>;
  readonly sets: Set<number>;
  /** Operands whose address is asked for. */
  readonly offsets: Set<number>;
  readonly segments: Set<SegRef>;
  readonly fields: Set<string>;
  readonly recipes: Set<string>;
  /** Flags written one by one, and `all` for recipes and setArith. */
  readonly flagsWritten: Set<string>;
  readonly helpers: { name: string; args: number; how: 'call' | 'check' | 'transfer' }[];
  /** rip changes: branch and jump. */
  branches: number;
  jumps: number;
  /** What could fault although something had been written before. */
  readonly late: string[];
  /** Vector operations, by name. */
  readonly vectors: Set<string>;
}

/** Fields that are working storage inside one instruction: writing them loses nothing. */
const WORKING = new Set(['scratch', 'sse_fault']);

type Token = { readonly token: true };
const TOKEN: Token = { token: true };

/** Memory or not, for an operand in a shape. */
export function operandInMemory(op: Operand, inMemory: boolean): boolean {
  if ('MXYO'.includes(op.where)) return true;
  return 'EWQ'.includes(op.where) && inMemory;
}

/** Runs the row in one shape and says what it did. Throws for a field that does not exist. */
export function usesOf(row: Row, shape: Shape): Uses {
  const fx: Uses = {
    gets: new Set(),
    sets: new Set(),
    offsets: new Set(),
    segments: new Set(),
    fields: new Set(),
    recipes: new Set(),
    flagsWritten: new Set(),
    helpers: [],
    branches: 0,
    jumps: 0,
    late: [],
    vectors: new Set(),
  };
  let written = '';
  const write = (what: string): void => {
    written ||= what;
  };
  const mayFault = (what: string): void => {
    if (written) fx.late.push(`${what} after ${written}`);
  };
  const operand = (n: number): Operand => {
    const op = row.operands[n];
    if (!op) throw new RangeError(`${row.name} ${row.enc.text}: no operand ${n}`);
    return op;
  };
  const isMem = (n: number): boolean => operandInMemory(operand(n), shape.inMemory);
  const value = (): Token => TOKEN;
  const pure = Object.fromEntries(
    (
      'k add sub mul and or xor shl shr sar rotl eqz eq ltu lts popcnt clz ctz sext zext select let mulhu mulhs divu ' +
      'remu divs rems udiv128 vk lane withLane shuffle'
    )
      .split(' ')
      .map((name) => [name, value]),
  ) as unknown as Ops<Token>;
  const helper = (how: 'call' | 'check' | 'transfer', name: string, args: Token[]): void => {
    fx.helpers.push({ name, args: args.length, how });
    if (how !== 'call') mayFault(`${how} ${name}`);
  };
  const fieldUsed = (name: string, index = 0): void => {
    cpuField(name, index);
    fx.fields.add(name);
  };
  const ops: Ops<Token> = {
    ...pure,
    w: shape.w,
    asize: shape.asize,
    stack: shape.stack,
    long: shape.long,
    width: (n) => (sizeBits(operand(n).size, shape.w, shape.long) || shape.w) as MemWidth,
    isMem,
    get(n) {
      fx.gets.add(n);
      if (isMem(n)) mayFault(`get(${n})`);
      return TOKEN;
    },
    set(n) {
      fx.sets.add(n);
      if (isMem(n)) mayFault(`set(${n})`);
      else write(`set(${n})`);
    },
    half: (n) => ops.get(n),
    setWide: (n) => ops.set(n, TOKEN),
    offset(n) {
      if (!isMem(n)) throw new Error(`${row.name} ${row.enc.text}: offset of operand ${n}, which is not memory`);
      fx.offsets.add(n);
      return TOKEN;
    },
    number: value,
    reg: value,
    setReg: (_w, r) => write(`setReg(${r})`),
    load(_w, seg) {
      fx.segments.add(seg);
      mayFault(`load ${seg}`);
      return TOKEN;
    },
    store(_w, seg) {
      fx.segments.add(seg);
      mayFault(`store ${seg}`);
    },
    linear: (seg) => {
      fx.segments.add(seg);
      return TOKEN;
    },
    probeStore(_w, seg) {
      fx.segments.add(seg);
      mayFault(`probeStore ${seg}`);
    },
    field(name, index) {
      fieldUsed(name, index);
      return TOKEN;
    },
    setField(name, _v, index) {
      fieldUsed(name, index);
      if (!WORKING.has(name)) write(`setField ${name}`);
    },
    flag: value,
    cond: value,
    flags(recipe) {
      fx.recipes.add(recipe);
      fx.flagsWritten.add('all');
      write('flags');
    },
    setFlag(f, v) {
      v();
      fx.flagsWritten.add(f);
      write(`setFlag ${f}`);
    },
    arith: value,
    setArith() {
      fx.flagsWritten.add('all');
      write('setArith');
    },
    if(_c, then, otherwise) {
      const before = written;
      then();
      const after = written;
      written = before;
      otherwise?.();
      written ||= after;
    },
    fault: (_c, name) => mayFault(`fault ${name}`),
    nextRip: value,
    thisRip: value,
    checkBranch: () => mayFault('checkBranch'),
    branch() {
      fx.branches++;
    },
    jump() {
      fx.jumps++;
    },
    call(name, ...args) {
      helper('call', name, args);
      return TOKEN;
    },
    check: (name, ...args) => helper('check', name, args),
    transfer: (name, ...args) => helper('transfer', name, args),
    vec(op) {
      fx.vectors.add(op);
      return TOKEN;
    },
    xmm: value,
    setXmm: (r) => write(`setXmm(${r})`),
    setHigh: (r) => write(`setHigh(${r})`),
  };
  row.exec(ops);
  return fx;
}

/** The shapes in which a row can run. */
export function shapesOf(row: Row): Shape[] {
  const memory = row.operands.some((op) => 'EWQ'.includes(op.where)) ? [false, true] : [false];
  const sizes: Omit<Shape, 'inMemory'>[] = [];
  if (!row.no64) {
    const widths: Width[] = row.size64 === 'f64' ? [64] : row.size64 === 'd64' ? [16, 64] : [16, 32, 64];
    for (const w of widths) for (const asize of [32, 64] as const) sizes.push({ w, asize, stack: 64, long: true });
  }
  if (!row.only64) {
    for (const w of [16, 32] as const)
      for (const size of [16, 32] as const) sizes.push({ w, asize: size, stack: size, long: false });
  }
  return sizes.flatMap((size) => memory.map((inMemory) => ({ ...size, inMemory })));
}
