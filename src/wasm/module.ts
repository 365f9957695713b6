/** Builds WebAssembly modules: function bodies statement by statement, and the module around them. */
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

interface FunctionImport {
  readonly module: string;
  readonly name: string;
  readonly type: FuncType;
}
/** Where a function comes from that a body may call without its having been imported before. */
export type ImportSource = (name: string) => Omit<FunctionImport, 'name'> | undefined;

/** A name (core specification 5.2.4), of ASCII characters. */
function writeName(out: ByteSink, s: string): void {
  out.uleb(s.length);
  for (let i = 0; i < s.length; i++) out.push(s.charCodeAt(i));
}
function writeVector<T>(out: ByteSink, items: readonly T[], write: (item: T) => void): void {
  out.uleb(items.length);
  for (const item of items) write(item);
}
function writeTypes(out: ByteSink, types: readonly ValType[]): void {
  writeVector(out, types, (t) => out.push(VAL_TYPE[t]));
}

/**
 * A module: imports of functions and constants, one imported memory, one imported table, functions, element segment,
 * exports. Functions must all be imported before the first call of a function of the module itself, because they share
 * its numbering.
 */
export class ModuleBuilder {
  private readonly types: FuncType[] = [];
  private readonly typeByKey = new Map<string, number>();
  private readonly typeOf = new Map<FuncType, number>();
  private readonly imports: FunctionImport[] = [];
  private readonly functions: FunctionBuilder[] = [];
  private readonly globals: { module: string; name: string }[] = [];
  private readonly imported = new Map<string, { index: number; type: FuncType }>();
  private readonly defined = new Map<string, { n: number; type: FuncType }>();
  /** A function of the module has been referred to: its number must not change. */
  private numbered = false;
  private readonly exports: string[] = [];
  private readonly elements: { at: Expr; names: readonly string[] }[] = [];
  private readonly source: ImportSource;

  constructor(source: ImportSource = () => undefined) {
    this.source = source;
  }

  typeIndex(t: FuncType): number {
    const known = this.typeOf.get(t);
    if (known !== undefined) return known;
    const key = `${t.params.join()}>${t.results.join()}`;
    let index = this.typeByKey.get(key);
    if (index === undefined) {
      index = this.types.push(t) - 1;
      this.typeByKey.set(key, index);
    }
    this.typeOf.set(t, index);
    return index;
  }
  importFunction(module: string, name: string, type: FuncType): void {
    if (this.numbered) throw new Error('imports come before calls');
    this.imported.set(name, { index: this.imports.length, type });
    this.imports.push({ module, name, type });
  }
  /** An i32 that is known when the module is instantiated. */
  importConstant(module: string, name: string): Expr {
    const index = this.globals.push({ module, name }) - 1;
    return indexed('i32', GLOBAL_GET, index, [], true);
  }
  /** Reserves a name so that bodies may call a function before it is built. */
  define(name: string, type: FuncType): FunctionBuilder {
    if (this.has(name)) throw new Error(`function ${name} is defined twice`);
    const f = new FunctionBuilder(this, name, type);
    this.defined.set(name, { n: this.functions.length, type });
    this.functions.push(f);
    return f;
  }
  /** Takes back the function defined last; nothing may have called it. */
  dropLast(): void {
    const f = this.functions.pop();
    if (f) this.defined.delete(f.name);
  }
  reference(name: string): { index: number; type: FuncType } {
    const own = this.defined.get(name);
    if (own) {
      this.numbered = true;
      return { index: this.imports.length + own.n, type: own.type };
    }
    const wanted = this.imported.has(name) ? undefined : this.source(name);
    if (wanted) this.importFunction(wanted.module, name, wanted.type);
    const found = this.imported.get(name);
    if (!found) throw new Error(`no function ${name}`);
    return found;
  }
  has(name: string): boolean {
    return this.imported.has(name) || this.defined.has(name);
  }
  /** Names of the functions defined so far, in order. */
  get functionNames(): string[] {
    return this.functions.map((f) => f.name);
  }
  export(name: string): void {
    this.exports.push(name);
  }
  /** Puts functions into the imported table from index `at`, a constant. */
  element(at: Expr, names: readonly string[]): void {
    this.elements.push({ at, names });
  }

  /** The encoded module. `memoryPages` and `shared` describe the imported memory `env.memory`. */
  build(options: { maximumPages: number; shared: boolean; tableSize?: number }): Uint8Array<ArrayBuffer> {
    const code = this.functions.reduce((n, f) => n + f.size + 64, 0);
    const out = new ByteSink(code + 4096);
    // Types that imports and functions have; bodies have asked for theirs.
    for (const f of [...this.imports, ...this.functions]) this.typeIndex(f.type);
    out.append([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    section(out, 1, (s) =>
      writeVector(s, this.types, (t) => {
        s.push(0x60);
        writeTypes(s, t.params);
        writeTypes(s, t.results);
      }),
    );
    section(out, 2, (s) => this.writeImports(s, options));
    section(out, 3, (s) => writeVector(s, this.functions, (f) => s.uleb(this.typeIndex(f.type))));
    section(out, 7, (s) =>
      writeVector(s, this.exports, (name) => {
        writeName(s, name);
        s.push(0);
        s.uleb(this.reference(name).index);
      }),
    );
    if (this.elements.length > 0) section(out, 9, (s) => this.writeElements(s));
    const hinted = this.functions.filter((f) => f.hintCount > 0).length;
    if (hinted > 0) section(out, 0, (s) => this.writeHints(s, hinted));
    section(out, 10, (s) => writeVector(s, this.functions, (f) => f.writeBody(s)), code);
    section(out, 0, (s) => this.writeNames(s));
    return out.copy();
  }

  private writeImports(s: ByteSink, options: { maximumPages: number; shared: boolean; tableSize?: number }): void {
    const table = options.tableSize === undefined ? 0 : 1;
    s.uleb(this.imports.length + 1 + this.globals.length + table);
    for (const i of this.imports) {
      writeName(s, i.module);
      writeName(s, i.name);
      s.push(0);
      s.uleb(this.typeIndex(i.type));
    }
    writeName(s, 'env');
    writeName(s, 'memory');
    s.append([2, options.shared ? 3 : 1, 1]);
    s.uleb(options.maximumPages);
    for (const g of this.globals) {
      writeName(s, g.module);
      writeName(s, g.name);
      s.append([3, VAL_TYPE.i32, 0]);
    }
    if (table === 0) return;
    writeName(s, 'env');
    writeName(s, 'table');
    s.append([1, 0x70, 0, 0]);
  }
  private writeElements(s: ByteSink): void {
    writeVector(s, this.elements, ({ at, names }) => {
      s.push(0);
      emitExpr(s, at);
      s.push(0x0b);
      writeVector(s, names, (name) => s.uleb(this.reference(name).index));
    });
  }
  /** Custom section `metadata.code.branch_hint`, which engines that do not know it pass over. */
  private writeHints(s: ByteSink, hinted: number): void {
    writeName(s, 'metadata.code.branch_hint');
    s.uleb(hinted);
    this.functions.forEach((f, i) => {
      if (f.hintCount === 0) return;
      s.uleb(this.imports.length + i);
      s.uleb(f.hintCount);
      f.writeHints(s);
    });
  }
  /** Custom section `name` (core specification 7.4.1), so that profiles show handlers by name. */
  private writeNames(s: ByteSink): void {
    writeName(s, 'name');
    section(s, 1, (names) => {
      names.uleb(this.functions.length);
      this.functions.forEach((f, i) => {
        names.uleb(this.imports.length + i);
        writeName(names, f.name);
      });
    });
  }
}
const GLOBAL_GET = [0x23];

/** `room`: about how many bytes there will be. */
function section(out: ByteSink, id: number, write: (content: ByteSink) => void, room = 1024): void {
  const content = new ByteSink(room);
  write(content);
  out.push(id);
  out.uleb(content.length);
  out.appendBytes(content.view());
}
