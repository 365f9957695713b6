/** Builds WebAssembly modules around function bodies (function.ts). */
import { ByteSink } from './bytes.ts';
import { type Expr, emitExpr, indexed, VAL_TYPE, type ValType } from './expr.ts';
import { type FuncType, FunctionBuilder } from './function.ts';

export { type FuncType, FunctionBuilder, type Label } from './function.ts';

/**
 * The table of a module: references to functions of one type, none of them null, and as many as there will ever be. So
 * a call through it compares the index with a constant, and nothing else.
 */
export interface TableUse {
  readonly type: FuncType;
  readonly size: number;
  /** Function of the module that all places have in the beginning: the table is the module's own. Absent: imported. */
  readonly filledWith?: string;
}

/** The surroundings of a module. */
export interface ModuleOptions {
  readonly maximumPages: number;
  readonly shared: boolean;
  readonly table?: TableUse;
}

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
 * A module: imports of functions and constants, one imported memory, one table, functions, element segments,
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
  /** Puts functions into the table from index `at`, a constant. */
  element(at: Expr, names: readonly string[]): void {
    this.elements.push({ at, names });
  }

  /**
   * The encoded module. `maximumPages` and `shared` describe the imported memory `env.memory`; the table is `env.table`,
   * or exported as `table`.
   */
  build(options: ModuleOptions): Uint8Array<ArrayBuffer> {
    const { table } = options;
    const code = this.functions.reduce((n, f) => n + f.size + 64, 0);
    const out = new ByteSink(code + 4096);
    // Types that imports and functions have; bodies have asked for theirs.
    for (const f of [...this.imports, ...this.functions, ...(table ? [table] : [])]) this.typeIndex(f.type);
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
    if (table?.filledWith !== undefined) section(out, 4, (s) => this.writeTable(s, table, table.filledWith!));
    section(out, 7, (s) => this.writeExports(s, table?.filledWith !== undefined));
    if (table && this.elements.length > 0) section(out, 9, (s) => this.writeElements(s, table));
    const hinted = this.functions.filter((f) => f.hintCount > 0).length;
    if (hinted > 0) section(out, 0, (s) => this.writeHints(s, hinted));
    section(out, 10, (s) => writeVector(s, this.functions, (f) => f.writeBody(s)), code);
    section(out, 0, (s) => this.writeNames(s));
    return out.copy();
  }

  private writeImports(s: ByteSink, { table, ...options }: ModuleOptions): void {
    const imported = table && table.filledWith === undefined ? table : undefined;
    s.uleb(this.imports.length + 1 + this.globals.length + (imported ? 1 : 0));
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
    if (!imported) return;
    writeName(s, 'env');
    writeName(s, 'table');
    s.push(1);
    this.writeTableType(s, imported);
  }
  private writeExports(s: ByteSink, withTable: boolean): void {
    s.uleb(this.exports.length + (withTable ? 1 : 0));
    for (const name of this.exports) {
      writeName(s, name);
      s.push(0);
      s.uleb(this.reference(name).index);
    }
    if (!withTable) return;
    writeName(s, 'table');
    s.append([1, 0]);
  }
  /** A table whose places all have the function `name` in the beginning (core specification 5.5.7). */
  private writeTable(s: ByteSink, table: TableUse, name: string): void {
    s.append([1, 0x40, 0]);
    this.writeTableType(s, table);
    this.writeReference(s, name);
  }
  /** (ref $type), and limits whose minimum is their maximum (core specification 5.3.9). */
  private writeTableType(s: ByteSink, { type, size }: TableUse): void {
    this.writeReferenceType(s, type);
    s.push(1);
    s.uleb(size);
    s.uleb(size);
  }
  private writeReferenceType(s: ByteSink, type: FuncType): void {
    s.push(0x64);
    s.uleb(this.typeIndex(type));
  }
  /** The constant expression `ref.func name`. */
  private writeReference(s: ByteSink, name: string): void {
    s.push(0xd2);
    s.uleb(this.reference(name).index);
    s.push(0x0b);
  }
  /** Active segments of expressions with their type (core specification 5.5.12, form 6). */
  private writeElements(s: ByteSink, table: TableUse): void {
    writeVector(s, this.elements, ({ at, names }) => {
      s.append([6, 0]);
      emitExpr(s, at);
      s.push(0x0b);
      this.writeReferenceType(s, table.type);
      writeVector(s, names, (name) => this.writeReference(s, name));
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
