/** Prints functions of an encoded WebAssembly module as text, an instruction a line, for people who look at code. */
import { VAL_TYPE, type ValType } from './expr.ts';
import { OPCODES, OPCODES_FC, OPCODES_FD, type Opcode } from './opcodes.ts';

const SECTION = { custom: 0, type: 1, import: 2, function: 3, code: 10 } as const;
const IMPORT = { function: 0, table: 1, memory: 2, global: 3 } as const;
const FUNCTION_TYPE = 0x60;
/** Type of a block without operands and results. */
const EMPTY_BLOCK = 0x40;
/** Bytes of magic number and version. */
const HEADER = 8;
const TYPE_NAMES = new Map(Object.entries(VAL_TYPE).map(([name, code]) => [code, name as ValType]));

interface Signature {
  readonly params: readonly string[];
  readonly results: readonly string[];
}

class Reader {
  at: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
    this.end = end;
  }
  get more(): boolean {
    return this.at < this.end;
  }
  byte(): number {
    if (this.at >= this.end) throw new RangeError(`the module ends inside of something at ${this.at}`);
    return this.bytes[this.at++]!;
  }
  /** LEB128 (core specification 5.2.2). */
  private leb(signed: boolean): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte & 0x80) continue;
      return signed ? BigInt.asIntN(Number(shift) + 7, value) : value;
    }
  }
  u32(): number {
    return Number(this.leb(false));
  }
  signed(): bigint {
    return this.leb(true);
  }
  float(bytes: 4 | 8): number {
    const at = this.at;
    this.at += bytes;
    return bytes === 4 ? this.view.getFloat32(at, true) : this.view.getFloat64(at, true);
  }
  hex(n: number): string {
    const out = [...this.bytes.subarray(this.at, this.at + n)].map((b) => b.toString(16).padStart(2, '0'));
    this.at += n;
    return out.join(' ');
  }
  list<T>(item: () => T): T[] {
    return Array.from({ length: this.u32() }, item);
  }
  name(): string {
    const length = this.u32();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
  part(): Reader {
    const length = this.u32();
    const part = new Reader(this.bytes, this.at, this.at + length);
    this.at += length;
    if (this.at > this.end) throw new RangeError(`the module ends inside of something at ${this.end}`);
    return part;
  }
}

/** What of a module is needed to print its functions. */
class Module {
  private types: Signature[] = [];
  private readonly imports: { name: string; type: number }[] = [];
  private functions: number[] = [];
  private bodies: Reader[] = [];
  private readonly names = new Map<number, string>();

  constructor(bytes: Uint8Array) {
    const all = new Reader(bytes, HEADER, bytes.length);
    while (all.more) {
      const id = all.byte();
      this.section(id, all.part());
    }
  }

  private section(id: number, r: Reader): void {
    if (id === SECTION.type) this.types = r.list(() => signature(r));
    else if (id === SECTION.import) r.list(() => this.importOne(r));
    else if (id === SECTION.function) this.functions = r.list(() => r.u32());
    else if (id === SECTION.code) this.bodies = r.list(() => r.part());
    else if (id === SECTION.custom && r.name() === 'name') this.nameSection(r);
  }
  private importOne(r: Reader): void {
    const name = `${r.name()}.${r.name()}`;
    const kind = r.byte();
    if (kind === IMPORT.function) {
      this.imports.push({ name, type: r.u32() });
      return;
    }
    if (kind === IMPORT.global) {
      r.at += 2;
      return;
    }
    if (kind === IMPORT.table) reference(r);
    const limits = r.byte();
    r.u32();
    if (limits & 1) r.u32();
  }
  private nameSection(r: Reader): void {
    while (r.more) {
      const id = r.byte();
      const part = r.part();
      if (id === 1) part.list(() => this.names.set(part.u32(), part.name()));
    }
  }

  functionName(index: number): string {
    return this.names.get(index) ?? this.imports[index]?.name ?? `${index}`;
  }
  typeName(index: number): string {
    const t = this.types[index];
    return t ? `(${t.params.join(' ')}) -> (${t.results.join(' ')})` : `type ${index}`;
  }

  /** Lines of the functions whose names are wanted. */
  print(wants: (name: string) => boolean): string[] {
    return this.bodies.flatMap((body, i) => {
      const name = this.functionName(this.imports.length + i);
      if (!wants(name)) return [];
      return [`func ${name} ${this.typeName(this.functions[i]!)}`, ...this.body(body)];
    });
  }
  private body(r: Reader): string[] {
    const locals = r.list(() => `${r.u32()} ${typeName(r.byte())}`);
    const out = locals.length > 0 ? [`  locals ${locals.join(', ')}`] : [];
    let depth = 1;
    while (r.more) {
      const op = opcode(r);
      if (op.name === 'end' || op.name === 'else') depth--;
      out.push(`${'  '.repeat(Math.max(0, depth))}${op.name}${this.immediates(op, r)}`);
      if (op.immediate === 'block' || op.name === 'else') depth++;
    }
    return out;
  }

  private immediates(op: Opcode, r: Reader): string {
    switch (op.immediate) {
      case 'none':
        return '';
      case 'block': {
        const type = Number(r.signed());
        return type >= 0 ? ` ${this.typeName(type)}` : (type & 0x7f) === EMPTY_BLOCK ? '' : ` ${typeName(type & 0x7f)}`;
      }
      case 'call':
        return ` ${this.functionName(r.u32())}`;
      case 'indirect': {
        const type = this.typeName(r.u32());
        r.u32();
        return ` ${type}`;
      }
      case 'memory': {
        r.u32();
        return ` +0x${r.u32().toString(16)}`;
      }
      case 'memory+lane': {
        r.u32();
        return ` +0x${r.u32().toString(16)} ${r.byte()}`;
      }
      default:
        return ` ${values(op, r)}`.trimEnd();
    }
  }
}

/** Immediates that mean the same in every module. */
function values(op: Opcode, r: Reader): string {
  switch (op.immediate) {
    case 'labels':
      return `${r.list(() => r.u32()).join(' ')} ${r.u32()}`;
    case 'types':
      return r.list(() => typeName(r.byte())).join(' ');
    case 'i32':
    case 'i64':
      return `${r.signed()}`;
    case 'f32':
      return `${r.float(4)}`;
    case 'f64':
      return `${r.float(8)}`;
    case 'v128':
    case 'shuffle':
      return r.hex(16);
    case 'zero+zero':
      r.byte();
      r.byte();
      return '';
    case 'zero':
      r.byte();
      return '';
    default:
      return `${r.u32()}`;
  }
}

/** Skips a reference type (core specification 5.3.5): (ref null ht) and (ref ht) have a heap type behind them. */
function reference(r: Reader): void {
  const code = r.byte();
  if (code === 0x63 || code === 0x64) r.u32();
}
const typeName = (code: number): string => TYPE_NAMES.get(code) ?? `0x${code.toString(16)}`;

function signature(r: Reader): Signature {
  if (r.byte() !== FUNCTION_TYPE) throw new RangeError(`a type that is no function's at ${r.at - 1}`);
  const types = (): string[] => r.list(() => typeName(r.byte()));
  return { params: types(), results: types() };
}

function opcode(r: Reader): Opcode {
  const first = r.byte();
  const table = first === 0xfc ? OPCODES_FC : first === 0xfd ? OPCODES_FD : undefined;
  const code = table ? r.u32() : first;
  const op = (table ?? OPCODES).get(code);
  if (op) return op;
  throw new RangeError(`no instruction ${table ? `${first.toString(16)} ` : ''}${code.toString(16)} at ${r.at - 1}`);
}

/**
 * The functions of a module as text, an instruction a line, with the names of functions where the module has them.
 * @param wants says by its name whether a function is printed
 * @throws RangeError for bytes that are no module, or one with instructions that Plinth does not know
 */
export function printFunctions(bytes: Uint8Array, wants: (name: string) => boolean = () => true): string[] {
  return new Module(bytes).print(wants);
}
