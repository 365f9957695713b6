/** Function bodies, statement by statement. */
import { ByteSink } from './bytes.ts';
import {
  type Expr,
  emitExpr,
  indexed,
  localGet,
  named,
  STORES,
  type StoreOp,
  VAL_TYPE,
  type ValType,
  visitLocals,
} from './expr.ts';
import type { ModuleBuilder } from './module.ts';

export interface FuncType {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** A label that `br` may go to: its nesting depth when it was opened. */
export type Label = number;

/** Locals of temporaries of a type, the older first. */
interface Temporaries {
  readonly locals: number[];
  /** Those from here on have been given out or are kept. */
  free: number;
}

/** See FunctionBuilder.lateConstant. */
export class LateConstant {
  private readonly code: ByteSink;
  private readonly places: number[] = [];
  private value: number;

  constructor(code: ByteSink, value: number) {
    this.code = code;
    this.value = value;
  }
  set(value: number): void {
    this.value = value;
    for (const at of this.places) this.code.putSleb2(at, value);
  }
  /** Emits it as an i64. */
  emit(): void {
    this.code.push(0x42);
    this.places.push(this.code.length);
    this.code.append(TWO_BYTES);
    this.code.putSleb2(this.code.length - 2, this.value);
  }
}

/** One function body under construction. */
export class FunctionBuilder {
  readonly name: string;
  readonly type: FuncType;
  private readonly locals: ValType[] = [];
  private code = new ByteSink(4096);
  /** What comes before the code and its branch hints: see prepend. */
  private front: ByteSink | undefined;
  private frontHints: number[] = [];
  private depth = 0;
  private readonly temporaries: Readonly<Record<ValType, Temporaries>> = {
    i32: { locals: [], free: 0 },
    i64: { locals: [], free: 0 },
    f32: { locals: [], free: 0 },
    f64: { locals: [], free: 0 },
    v128: { locals: [], free: 0 },
  };
  /** By local, in which round of freeTemporaries it was kept last. */
  private readonly kept: number[] = [];
  private round = 0;
  private readonly keepLocal = (index: number): void => {
    this.kept[index] = this.round;
  };
  /** Conditional branches that are hardly ever (0) or nearly always (1) taken: position in the code, which of both. */
  private hints: number[] = [];
  private readonly module: ModuleBuilder;

  constructor(module: ModuleBuilder, name: string, type: FuncType) {
    this.module = module;
    this.name = name;
    this.type = type;
    for (let i = 0; i < type.params.length; i++) this.kept.push(0);
  }

  /** Puts what `body` emits in front of all that is and will be emitted; once. */
  prepend(body: () => void): void {
    if (this.front) throw new Error('there is something in front already');
    const { code, hints } = this;
    this.front = new ByteSink();
    this.code = this.front;
    this.hints = this.frontHints;
    body();
    this.code = code;
    this.hints = hints;
  }
  param(i: number): Expr {
    return localGet(i, this.type.params[i]!);
  }
  /** A new local variable that may be set more than once; read it with `get`. */
  variable(type: ValType): number {
    this.locals.push(type);
    this.kept.push(0);
    return this.kept.length - 1;
  }
  get(index: number): Expr {
    const type = this.type.params[index] ?? this.locals[index - this.type.params.length]!;
    return localGet(index, type, false);
  }
  setVariable(index: number, e: Expr): void {
    emitExpr(this.code, e);
    this.code.push(0x21);
    this.code.uleb(index);
  }
  /** A local for a value that is needed until freeTemporaries says otherwise. */
  temporary(type: ValType): number {
    const t = this.temporaries[type];
    while (t.free > 0) {
      const local = t.locals[--t.free]!;
      if (this.kept[local] !== this.round) return local;
    }
    const local = this.variable(type);
    t.locals.push(local);
    return local;
  }
  /** Lets the locals of temporaries be used again, but those that are kept right behind this. */
  freeTemporaries(): void {
    const { i32, i64, f32, f64, v128 } = this.temporaries;
    for (const t of [i32, i64, f32, f64, v128]) t.free = t.locals.length;
    this.round++;
  }
  /** Keeps the temporaries that `e` reads. */
  keep(e: Expr): void {
    visitLocals(e, this.keepLocal);
  }
  /** Evaluates `e` now and names the value: the result can be used any number of times. */
  let(e: Expr): Expr {
    if (e.cheap) return e;
    const i = this.temporary(e.type);
    this.setVariable(i, e);
    return named(i, e);
  }
  /** A constant whose value may change until the function is complete; from -8192 to 8191. */
  lateConstant(value: number): LateConstant {
    return new LateConstant(this.code, value);
  }
  /** Evaluates the i64 `e` plus a late constant and names the sum. */
  plusLate(e: Expr, constant: LateConstant): Expr {
    const sum = this.temporary('i64');
    emitExpr(this.code, e);
    constant.emit();
    this.code.append(ADD_AND_SET);
    this.code.uleb(sum);
    return localGet(sum, 'i64');
  }
  store(op: StoreOp, address: Expr, offset: number, value: Expr): void {
    emitExpr(this.code, address);
    emitExpr(this.code, value);
    this.code.append(STORES[op]);
    this.code.uleb(offset);
  }
  /** Evaluates for the effect; `e` must be of a call without result or is dropped when `drop` is set. */
  run(e: Expr, drop = false): void {
    emitExpr(this.code, e);
    if (drop) this.code.push(0x1a);
  }
  if(c: Expr, then: () => void, otherwise?: () => void, likely?: 0 | 1): void {
    emitExpr(this.code, c);
    if (likely !== undefined) this.hints.push(this.code.length, likely);
    this.code.append(IF);
    this.nested(then);
    if (otherwise) {
      this.code.push(0x05);
      this.nested(otherwise);
    }
    this.code.push(0x0b);
  }
  block(body: (label: Label) => void): void {
    this.code.append(BLOCK);
    this.nested(() => body(this.depth));
    this.code.push(0x0b);
  }
  loop(body: (label: Label) => void): void {
    this.code.append(LOOP);
    this.nested(() => body(this.depth));
    this.code.push(0x0b);
  }
  private nested(body: () => void): void {
    this.depth++;
    body();
    this.depth--;
  }
  br(label: Label): void {
    this.indexed(0x0c, this.depth - label);
  }
  brIf(label: Label, c: Expr, likely?: 0 | 1): void {
    emitExpr(this.code, c);
    if (likely !== undefined) this.hints.push(this.code.length, likely);
    this.indexed(0x0d, this.depth - label);
  }
  /** Branches to labels[index], or to `otherwise`. */
  brTable(labels: readonly Label[], otherwise: Label, index: Expr): void {
    emitExpr(this.code, index);
    this.indexed(0x0e, labels.length);
    for (const l of labels) this.code.uleb(this.depth - l);
    this.code.uleb(this.depth - otherwise);
  }
  return(value?: Expr): void {
    if (value) emitExpr(this.code, value);
    this.code.push(0x0f);
  }
  unreachable(): void {
    this.code.push(0x00);
  }
  /** Call of a function known by name (defined or imported, now or later) as an expression. */
  call(name: string, ...args: Expr[]): Expr {
    const { index, type } = this.module.reference(name);
    return indexed(type.results[0] ?? 'i32', CALL, index, args);
  }
  returnCall(name: string, ...args: Expr[]): void {
    for (const a of args) emitExpr(this.code, a);
    this.indexed(0x12, this.module.reference(name).index);
  }
  returnCallIndirect(type: FuncType, index: Expr, ...args: Expr[]): void {
    for (const a of args) emitExpr(this.code, a);
    emitExpr(this.code, index);
    this.indexed(0x13, this.module.typeIndex(type));
    this.code.push(0);
  }
  callIndirect(type: FuncType, index: Expr, ...args: Expr[]): void {
    for (const a of args) emitExpr(this.code, a);
    emitExpr(this.code, index);
    this.indexed(0x11, this.module.typeIndex(type));
    this.code.push(0);
  }

  /** `if` whose condition is hardly ever true: an engine keeps it out of the way of the rest. */
  unlikely(c: Expr, then: () => void): void {
    this.if(c, then, undefined, 0);
  }

  /** How many branch hints there are. */
  get hintCount(): number {
    return (this.frontHints.length + this.hints.length) / 2;
  }
  /** Branch hints, each as offset from the start of the locals' declaration and value (branch hinting proposal). */
  writeHints(out: ByteSink): void {
    const write = (hints: readonly number[], start: number): void => {
      for (let n = 0; n < hints.length; n += 2) {
        out.uleb(start + hints[n]!);
        out.push(1);
        out.push(hints[n + 1]!);
      }
    };
    const head = this.localDeclarations().length;
    write(this.frontHints, head);
    write(this.hints, head + (this.front?.length ?? 0));
  }
  /** The encoded function (core specification 5.5.13). */
  writeBody(out: ByteSink): void {
    const head = this.localDeclarations();
    out.uleb(head.length + this.size + 1);
    out.appendBytes(head);
    if (this.front) out.appendBytes(this.front.view());
    out.appendBytes(this.code.view());
    out.push(0x0b);
  }
  /** Bytes of the code, without the declaration of locals. */
  get size(): number {
    return this.code.length + (this.front?.length ?? 0);
  }
  /** The encoded function by itself. */
  body(): Uint8Array {
    const out = new ByteSink(this.size + 64);
    this.writeBody(out);
    return out.view();
  }
  private localDeclarations(): Uint8Array {
    const runs = new ByteSink(64);
    const { locals } = this;
    let count = 0;
    for (let from = 0, to = 0; from < locals.length; from = to) {
      while (to < locals.length && locals[to] === locals[from]) to++;
      runs.uleb(to - from);
      runs.push(VAL_TYPE[locals[from]!]);
      count++;
    }
    const out = new ByteSink(runs.length + 5);
    out.uleb(count);
    out.appendBytes(runs.view());
    return out.view();
  }
  private indexed(op: number, index: number): void {
    this.code.push(op);
    this.code.uleb(index);
  }
}
const [IF, BLOCK, LOOP, CALL] = [[0x04, 0x40], [0x02, 0x40], [0x03, 0x40], [0x10]] as const;
const [ADD_AND_SET, TWO_BYTES] = [
  [0x7c, 0x21],
  [0, 0],
] as const;
