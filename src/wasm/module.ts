/** Builds WebAssembly modules: function bodies statement by statement, and the module around them. */
import {
  ByteSink,
  type Expr,
  emitExpr,
  localGet,
  localsOf,
  STORES,
  type StoreOp,
  uleb,
  VAL_TYPE,
  type ValType,
} from './expr.ts';

export interface FuncType {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** A label that `br` may go to: its nesting depth when it was opened. */
export type Label = number;

/** One function body under construction. */
export class FunctionBuilder {
  readonly name: string;
  readonly type: FuncType;
  private readonly locals: ValType[] = [];
  private readonly code = new ByteSink();
  private depth = 0;
  /** Locals of temporaries, and those of them that are free, by type. */
  private readonly temporaries: number[] = [];
  private readonly free = new Map<ValType, number[]>();
  /** Positions of conditional branches in the code that are hardly ever (0) or nearly always (1) taken. */
  private hints: { at: number; likely: 0 | 1 }[] = [];
  private readonly module: ModuleBuilder;

  constructor(module: ModuleBuilder, name: string, type: FuncType) {
    this.module = module;
    this.name = name;
    this.type = type;
  }

  /** Puts what `body` emits in front of everything emitted so far. `body` must not open labels that stay open. */
  prepend(body: () => void): void {
    const rest = this.code.cut(0);
    const hints = this.hints.splice(0);
    body();
    const shift = this.code.length;
    this.code.append(rest);
    this.hints.push(...hints.map((h) => ({ ...h, at: h.at + shift })));
  }
  param(i: number): Expr {
    return localGet(i, this.type.params[i]!);
  }
  /** A new local variable that may be set more than once; read it with `get`. */
  variable(type: ValType): number {
    this.locals.push(type);
    return this.type.params.length + this.locals.length - 1;
  }
  get(index: number): Expr {
    const type = this.type.params[index] ?? this.locals[index - this.type.params.length]!;
    return localGet(index, type, false);
  }
  setVariable(index: number, e: Expr): void {
    emitExpr(this.code, e);
    this.code.append([0x21, ...uleb(index)]);
  }
  /** A local for a value that is needed until keepTemporaries says otherwise. */
  temporary(type: ValType): number {
    const free = this.free.get(type)?.pop();
    if (free !== undefined) return free;
    const i = this.variable(type);
    this.temporaries.push(i);
    return i;
  }
  /** Lets the locals of temporaries be used again, but those that `live` reads. */
  keepTemporaries(live: Iterable<Expr>): void {
    const kept = new Set<number>();
    for (const e of live) localsOf(e, kept);
    for (const list of this.free.values()) list.length = 0;
    for (const i of this.temporaries) {
      if (kept.has(i)) continue;
      const type = this.locals[i - this.type.params.length]!;
      const list = this.free.get(type);
      if (list) list.push(i);
      else this.free.set(type, [i]);
    }
  }
  /** Evaluates `e` now and names the value: the result can be used any number of times. */
  let(e: Expr): Expr {
    if (e.cheap) return e;
    const i = this.temporary(e.type);
    this.setVariable(i, e);
    const { bits, plain, lane0, origin } = e;
    return {
      ...localGet(i, e.type),
      ...(bits !== undefined && { bits }),
      ...(plain && { plain }),
      ...(lane0 && { lane0 }),
      ...(origin && { origin }),
    };
  }
  store(op: StoreOp, address: Expr, offset: number, value: Expr): void {
    emitExpr(this.code, address);
    emitExpr(this.code, value);
    this.code.append([...STORES[op], 0, ...uleb(offset)]);
  }
  /** Evaluates for the effect; `e` must be of a call without result or is dropped when `drop` is set. */
  run(e: Expr, drop = false): void {
    emitExpr(this.code, e);
    if (drop) this.code.push(0x1a);
  }
  if(c: Expr, then: () => void, otherwise?: () => void, likely?: 0 | 1): void {
    emitExpr(this.code, c);
    if (likely !== undefined) this.hints.push({ at: this.code.length, likely });
    this.code.append([0x04, 0x40]);
    this.nested(then);
    if (otherwise) {
      this.code.push(0x05);
      this.nested(otherwise);
    }
    this.code.push(0x0b);
  }
  block(body: (label: Label) => void): void {
    this.code.append([0x02, 0x40]);
    this.nested(() => body(this.depth));
    this.code.push(0x0b);
  }
  loop(body: (label: Label) => void): void {
    this.code.append([0x03, 0x40]);
    this.nested(() => body(this.depth));
    this.code.push(0x0b);
  }
  private nested(body: () => void): void {
    this.depth++;
    body();
    this.depth--;
  }
  br(label: Label): void {
    this.code.append([0x0c, ...uleb(this.depth - label)]);
  }
  brIf(label: Label, c: Expr, likely?: 0 | 1): void {
    emitExpr(this.code, c);
    if (likely !== undefined) this.hints.push({ at: this.code.length, likely });
    this.code.append([0x0d, ...uleb(this.depth - label)]);
  }
  /** Branches to labels[index], or to `otherwise`. */
  brTable(labels: readonly Label[], otherwise: Label, index: Expr): void {
    emitExpr(this.code, index);
    this.code.append([0x0e, ...uleb(labels.length)]);
    for (const l of labels) this.code.append([...uleb(this.depth - l)]);
    this.code.append([...uleb(this.depth - otherwise)]);
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
    return { type: type.results[0] ?? 'i32', code: [0x10, ...uleb(index)], args };
  }
  returnCall(name: string, ...args: Expr[]): void {
    for (const a of args) emitExpr(this.code, a);
    this.code.append([0x12, ...uleb(this.module.reference(name).index)]);
  }
  returnCallIndirect(type: FuncType, index: Expr, ...args: Expr[]): void {
    for (const a of args) emitExpr(this.code, a);
    emitExpr(this.code, index);
    this.code.append([0x13, ...uleb(this.module.typeIndex(type)), 0]);
  }
  callIndirect(type: FuncType, index: Expr, ...args: Expr[]): void {
    for (const a of args) emitExpr(this.code, a);
    emitExpr(this.code, index);
    this.code.append([0x11, ...uleb(this.module.typeIndex(type)), 0]);
  }

  /** `if` whose condition is hardly ever true: an engine keeps it out of the way of the rest. */
  unlikely(c: Expr, then: () => void): void {
    this.if(c, then, undefined, 0);
  }

  /** Branch hints, each as offset from the start of the locals' declaration and value (branch hinting proposal). */
  branchHints(): number[][] {
    const head = this.localDeclarations().length;
    return this.hints.map((h) => [...uleb(head + h.at), 1, h.likely]);
  }
  /** The encoded function (core specification 5.5.13). */
  body(): Uint8Array {
    const head = this.localDeclarations();
    const front = [...uleb(head.length + this.code.length + 1), ...head];
    const out = new Uint8Array(front.length + this.code.length + 1);
    out.set(front);
    out.set(this.code.view(), front.length);
    out[out.length - 1] = 0x0b;
    return out;
  }
  private localDeclarations(): number[] {
    const runs: [number, ValType][] = [];
    for (const t of this.locals) {
      const last = runs.at(-1);
      if (last && last[1] === t) last[0]++;
      else runs.push([1, t]);
    }
    return [...uleb(runs.length), ...runs.flatMap(([n, t]) => [...uleb(n), VAL_TYPE[t]])];
  }
}

interface FunctionImport {
  readonly module: string;
  readonly name: string;
  readonly type: FuncType;
}
/** Where a function comes from that a body may call without its having been imported before. */
export type ImportSource = (name: string) => Omit<FunctionImport, 'name'> | undefined;

const vec = (items: readonly (readonly number[])[]): number[] => [...uleb(items.length), ...items.flat()];
const text = (s: string): number[] => {
  const bytes = new TextEncoder().encode(s);
  return [...uleb(bytes.length), ...bytes];
};

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
    return { type: 'i32', code: [0x23, ...uleb(index)], args: [], cheap: true };
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
    const bodies = this.functions.map((f) => f.body());
    const index = (name: string): number[] => uleb(this.reference(name).index);
    const limits = options.shared ? [3, 1, ...uleb(options.maximumPages)] : [1, 1, ...uleb(options.maximumPages)];
    const imports = [
      ...this.imports.map((i) => [...text(i.module), ...text(i.name), 0, ...uleb(this.typeIndex(i.type))]),
      [...text('env'), ...text('memory'), 2, ...limits],
      ...this.globals.map((g) => [...text(g.module), ...text(g.name), 3, VAL_TYPE.i32, 0]),
      ...(options.tableSize === undefined ? [] : [[...text('env'), ...text('table'), 1, 0x70, 0, ...uleb(0)]]),
    ];
    const functionTypes = this.functions.map((f) => uleb(this.typeIndex(f.type)));
    const types = this.types.map((t) => [
      0x60,
      ...vec(t.params.map((p) => [VAL_TYPE[p]])),
      ...vec(t.results.map((r) => [VAL_TYPE[r]])),
    ]);
    const elements = this.elements.map((e) => [0, ...e.at.code, 0x0b, ...vec(e.names.map(index))]);
    const parts: number[][] = [
      section(1, vec(types)),
      section(2, vec(imports)),
      section(3, vec(functionTypes)),
      section(7, vec(this.exports.map((n) => [...text(n), 0, ...index(n)]))),
      ...(elements.length > 0 ? [section(9, vec(elements))] : []),
      this.hintSection(),
    ];
    const total = bodies.reduce((n, b) => n + b.length, 0);
    const count = uleb(bodies.length);
    const out: ArrayLike<number>[] = [
      [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...parts,
      [10, ...uleb(total + count.length), ...count],
    ];
    return join([...out, ...bodies, this.nameSection()]);
  }

  /** Custom section `metadata.code.branch_hint`, which engines that do not know it pass over. */
  private hintSection(): number[] {
    const hinted = this.functions.flatMap((f, i) => {
      const hints = f.branchHints();
      return hints.length > 0 ? [[...uleb(this.imports.length + i), ...vec(hints)]] : [];
    });
    return hinted.length > 0 ? section(0, [...text('metadata.code.branch_hint'), ...vec(hinted)]) : [];
  }

  /** Custom section `name` (core specification 7.4.1), so that profiles show handlers by name. */
  private nameSection(): number[] {
    const names = this.functions.map((f, i) => [...uleb(this.imports.length + i), ...text(f.name)]);
    return section(0, [...text('name'), ...section(1, vec(names))]);
  }
}

function section(id: number, content: readonly number[]): number[] {
  const out = [id, ...uleb(content.length)];
  for (const b of content) out.push(b);
  return out;
}
function join(parts: readonly ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}
