/**
 * The decoder of LZ4 blocks (lz4_Block_format.md) as a WebAssembly function: a kernel unpacks to 50 MB and more while
 * somebody waits for it, and this takes half the time of the same in JavaScript, which copies byte by byte.
 */
import * as x from '../../../wasm/expr.ts';
import { type FunctionBuilder, ModuleBuilder } from '../../../wasm/module.ts';

const MIN_MATCH = 4;
/** A length nibble of 15 goes on in the next bytes. */
const LENGTH_CONTINUES = 15;
/** Bytes that are copied at a time: as many as that may be read and written behind the last byte. */
export const COPY_SLACK = 16;

/**
 * Decodes the block at `[from, end)` of the memory to `start`, at most to `limit`; matches may reach back to `start`
 * only. Returns the end of the output, 0 when the block is damaged. Overwrites up to COPY_SLACK bytes behind the end.
 */
export type DecodeBlock = (from: number, end: number, start: number, limit: number) => number;

const i32 = x.i32Const;
const atMost = (a: x.Expr, b: x.Expr): x.Expr => x.compare('le_u', a, b);

/** The variables of the function. */
class BlockBuilder {
  private readonly f: FunctionBuilder;
  private readonly end: x.Expr;
  private readonly start: x.Expr;
  private readonly limit: x.Expr;
  private readonly at: number;
  private readonly out: number;
  private readonly length: number;
  private readonly scratch: number;

  constructor(f: FunctionBuilder) {
    this.f = f;
    [this.end, this.start, this.limit] = [f.param(1), f.param(2), f.param(3)];
    [this.at, this.out] = [f.variable('i32'), f.variable('i32')];
    [this.length, this.scratch] = [f.variable('i32'), f.variable('i32')];
  }

  private get(variable: number): x.Expr {
    return this.f.get(variable);
  }
  private advance(variable: number, by: x.Expr): void {
    this.f.setVariable(variable, x.add(this.get(variable), by));
  }
  private refuseUnless(c: x.Expr): void {
    this.f.if(x.eqz(c), () => this.f.return(i32(0)), undefined, 0);
  }
  private inputLeft(): x.Expr {
    return x.sub(this.end, this.get(this.at));
  }
  private outputLeft(): x.Expr {
    return x.sub(this.limit, this.get(this.out));
  }

  /** `sequence: token ([7:4] literals, [3:0] match length - 4), literals, offset (2), more match length` */
  build(): void {
    const { f } = this;
    f.setVariable(this.at, f.param(0));
    f.setVariable(this.out, this.start);
    f.loop((sequence) => {
      this.refuseUnless(x.compare('lt_u', this.get(this.at), this.end));
      const token = this.byte();
      this.takeLength(x.binary('shr_u', token, i32(4)));
      this.literals();
      f.if(x.compare('eq', this.get(this.at), this.end), () => f.return(this.get(this.out)));
      this.match(x.and(token, i32(15)));
      f.br(sequence);
    });
    f.unreachable();
  }

  private byte(): x.Expr {
    const value = this.f.let(x.load('i32_8u', this.get(this.at), 0));
    this.advance(this.at, i32(1));
    return value;
  }

  /** Sets the length from a nibble and the bytes in which it goes on. No length is larger than what is left to fill. */
  private takeLength(nibble: x.Expr): void {
    const { f } = this;
    f.setVariable(this.length, nibble);
    f.if(x.compare('eq', this.get(this.length), i32(LENGTH_CONTINUES)), () => {
      f.loop((more) => {
        this.refuseUnless(x.compare('lt_u', this.get(this.at), this.end));
        const value = this.byte();
        this.advance(this.length, value);
        this.refuseUnless(atMost(this.get(this.length), this.outputLeft()));
        f.brIf(more, x.compare('eq', value, i32(255)));
      });
    });
  }

  private literals(): void {
    const { f } = this;
    this.refuseUnless(atMost(this.get(this.length), this.inputLeft()));
    this.refuseUnless(atMost(this.get(this.length), this.outputLeft()));
    const [from, to] = [f.let(this.get(this.at)), f.let(this.get(this.out))];
    this.copy(this.get(this.at), this.get(this.length));
    f.setVariable(this.at, x.add(from, this.get(this.length)));
    f.setVariable(this.out, x.add(to, this.get(this.length)));
  }

  private match(nibble: x.Expr): void {
    const { f } = this;
    this.refuseUnless(atMost(i32(2), this.inputLeft()));
    const offset = f.let(x.load('i32_16u', this.get(this.at), 0));
    this.advance(this.at, i32(2));
    this.takeLength(nibble);
    this.advance(this.length, i32(MIN_MATCH));
    this.refuseUnless(atMost(this.get(this.length), this.outputLeft()));
    // Offset 0 is more than any distance, less 1.
    const distance = x.sub(this.get(this.out), this.start);
    this.refuseUnless(x.compare('lt_u', x.sub(offset, i32(1)), distance));
    const end = f.let(x.add(this.get(this.out), this.get(this.length)));
    f.if(
      atMost(i32(COPY_SLACK), offset),
      () => this.copy(x.sub(this.get(this.out), offset), this.get(this.length)),
      () => this.repeat(offset),
    );
    f.setVariable(this.out, end);
  }

  /** Copies `length` bytes, rounded up, to `out`. The source is not less than COPY_SLACK before it, or elsewhere. */
  private copy(from: x.Expr, length: x.Expr): void {
    const { f } = this;
    const end = f.let(x.add(this.get(this.out), length));
    f.setVariable(this.scratch, from);
    f.loop((more) => {
      f.store('v128', this.get(this.out), 0, x.load('v128', this.get(this.scratch), 0));
      this.advance(this.scratch, i32(COPY_SLACK));
      this.advance(this.out, i32(COPY_SLACK));
      f.brIf(more, x.compare('lt_u', this.get(this.out), end));
    });
  }

  /**
   * A match that overlaps itself: the first bytes one by one; from then on the same bytes are also found at a multiple
   * of the offset, far enough back to copy many.
   */
  private repeat(offset: x.Expr): void {
    const { f } = this;
    const head = f.let(x.add(this.get(this.out), i32(COPY_SLACK)));
    f.loop((more) => {
      f.store('i32_8', this.get(this.out), 0, x.load('i32_8u', x.sub(this.get(this.out), offset), 0));
      this.advance(this.out, i32(1));
      f.brIf(more, x.compare('lt_u', this.get(this.out), head));
    });
    f.if(x.compare('lt_u', i32(COPY_SLACK), this.get(this.length)), () => {
      const times = x.binary('div_u', x.add(offset, i32(COPY_SLACK - 1)), offset);
      const back = x.binary('mul', offset, times);
      this.copy(x.sub(this.get(this.out), back), x.sub(this.get(this.length), i32(COPY_SLACK)));
    });
  }
}

/** Makes the function for a memory of at most so many pages. */
export function makeDecodeBlock(memory: WebAssembly.Memory, maximumPages: number): DecodeBlock {
  const module = new ModuleBuilder();
  const name = 'lz4_block';
  const f = module.define(name, { params: ['i32', 'i32', 'i32', 'i32'], results: ['i32'] });
  new BlockBuilder(f).build();
  module.export(name);
  const bytes = module.build({ maximumPages, shared: false });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return instance.exports[name] as unknown as DecodeBlock;
}
