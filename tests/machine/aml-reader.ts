// A reader of the AML subset that our DSDT uses, written apart from the writer so that the two check each other.
// It throws when a length does not add up or an opcode is unknown.

/** A decoded term: objects by name, data as plain values. */
export type AmlValue =
  | bigint
  | string
  | Uint8Array
  | AmlValue[]
  | { kind: 'scope' | 'device' | 'method' | 'if'; children: Map<string, AmlValue> }
  | { kind: 'ref'; path: string }
  | { kind: 'statement'; op: string; operands: AmlValue[] };

/** The named objects of a block of AML. */
export function readAml(bytes: Uint8Array): Map<string, AmlValue> {
  const reader = new Reader(bytes);
  return reader.block(bytes.length);
}

class Reader {
  #at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  block(end: number): Map<string, AmlValue> {
    const children = new Map<string, AmlValue>();
    while (this.#at < end) {
      const [key, value] = this.#term(children.size);
      if (children.has(key)) throw new Error(`${key} is defined twice`);
      children.set(key, value);
    }
    if (this.#at !== end) throw new Error(`a term runs over the end of its package at ${this.#at}`);
    return children;
  }

  #term(ordinal: number): [string, AmlValue] {
    const op = this.#u8();
    if (op === 0x08) return [this.#path(), this.#value()];
    if (op === 0x10) return this.#object('scope', 0);
    if (op === 0x14) return this.#object('method', 1);
    if (op === 0x5b && this.#u8() === 0x82) return this.#object('device', 0);
    if (op === 0xa0) {
      const end = this.#packageEnd();
      const predicate = this.#value();
      const children = this.block(end);
      children.set('predicate', predicate);
      return [`#${ordinal}`, { kind: 'if', children }];
    }
    if (op === 0xa4) return [`#${ordinal}`, { kind: 'statement', op: 'return', operands: [this.#value()] }];
    if (op === 0x70) {
      return [`#${ordinal}`, { kind: 'statement', op: 'store', operands: [this.#value(), this.#value()] }];
    }
    throw new Error(`unknown opcode ${op.toString(16)} at ${this.#at - 1}`);
  }

  #object(kind: 'scope' | 'device' | 'method', flagBytes: number): [string, AmlValue] {
    const end = this.#packageEnd();
    const path = this.#path();
    this.#at += flagBytes;
    return [path, { kind, children: this.block(end) }];
  }

  #value(): AmlValue {
    const op = this.#u8();
    if (op === 0x00) return 0n;
    if (op === 0x01) return 1n;
    if (op === 0x0a) return this.#integer(1);
    if (op === 0x0b) return this.#integer(2);
    if (op === 0x0c) return this.#integer(4);
    if (op === 0x0e) return this.#integer(8);
    if (op === 0x0d) return this.#string();
    if (op === 0x11) return this.#buffer();
    if (op === 0x12) return this.#package();
    if (op >= 0x68 && op <= 0x6e) return { kind: 'ref', path: `Arg${op - 0x68}` };
    this.#at--;
    return { kind: 'ref', path: this.#path() };
  }

  #package(): AmlValue[] {
    const end = this.#packageEnd();
    const elements = Array.from({ length: this.#u8() }, () => this.#value());
    if (this.#at !== end) throw new Error('package elements do not fill the package');
    return elements;
  }

  #buffer(): Uint8Array {
    const end = this.#packageEnd();
    const size = this.#value();
    if (typeof size !== 'bigint' || this.#at + Number(size) !== end) throw new Error('buffer size is wrong');
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  #string(): string {
    let text = '';
    for (let c = this.#u8(); c !== 0; c = this.#u8()) text += String.fromCharCode(c);
    return text;
  }

  #path(): string {
    const root = this.#bytes[this.#at] === 0x5c ? '\\' : '';
    if (root) this.#at++;
    let count = 1;
    if (this.#bytes[this.#at] === 0x2e) {
      count = 2;
      this.#at++;
    } else if (this.#bytes[this.#at] === 0x2f) {
      this.#at++;
      count = this.#u8();
    }
    const segments = Array.from({ length: count }, () => String.fromCharCode(...this.#take(4)));
    if (!segments.every((s) => /^[A-Z_][A-Z0-9_]{3}$/.test(s))) throw new Error(`not a name: ${segments}`);
    return root + segments.join('.');
  }

  #packageEnd(): number {
    const start = this.#at;
    const lead = this.#u8();
    const following = lead >> 6;
    let length = following === 0 ? lead & 0x3f : lead & 0x0f;
    for (let i = 0; i < following; i++) length += this.#u8() * 2 ** (4 + 8 * i);
    if (start + length > this.#bytes.length) throw new Error('package runs over the end of the table');
    return start + length;
  }

  #integer(width: number): bigint {
    return this.#take(width).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  }

  #take(count: number): Uint8Array {
    const taken = this.#bytes.subarray(this.#at, this.#at + count);
    if (taken.length !== count) throw new Error('table ends within a term');
    this.#at += count;
    return taken;
  }

  #u8(): number {
    return this.#take(1)[0]!;
  }
}
