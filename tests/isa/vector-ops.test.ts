/** Every operation of src/isa/vector-ops.ts: the bigint reference against the host's WebAssembly, bit for bit. */
import { describe, expect, it } from 'vitest';
import { lanesOf, VECTOR_OPS, type VectorOp, type VectorType, vectorOp } from '../../src/isa/vector-ops.ts';

const leb = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
const section = (id: number, items: number[][]): number[] => {
  const body = [...leb(items.length), ...items.flat()];
  return [id, ...leb(body.length), ...body];
};
const text = (s: string): number[] => [s.length, ...new TextEncoder().encode(s)];

const LOAD: Record<VectorType, number[]> = { v: [0xfd, 0, 0], l: [0x29, 0], i: [0x28, 0] };
const STORE: Record<VectorType, number[]> = { v: [0xfd, 11, 0], l: [0x37, 0], i: [0x36, 0] };

/** A function that takes its arguments from bytes 16, 32, ... of memory and leaves its result at 0. */
function body(op: VectorOp): number[] {
  const code = [0, 0x41, 0];
  op.params.forEach((type, i) => {
    code.push(0x41, 16 * (i + 1), ...LOAD[type], 0);
  });
  code.push(0xfd, ...leb(op.opcode), ...STORE[op.result], 0, 0x0b);
  return [...leb(code.length), ...code];
}

const ops = [...VECTOR_OPS.values()];
const module = new WebAssembly.Module(
  new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [[0x60, 0, 0]]),
    ...section(
      3,
      ops.map(() => [0]),
    ),
    ...section(5, [[0, 1]]),
    ...section(7, [[...text('m'), 2, 0], ...ops.map((op, i) => [...text(op.name), 0, ...leb(i)])]),
    ...section(10, ops.map(body)),
  ]),
);
const { m, ...run } = new WebAssembly.Instance(module).exports as { m: WebAssembly.Memory } & Record<
  string,
  () => void
>;
const memory = new DataView(m.buffer);

const WIDTH: Record<VectorType, number> = { v: 128, l: 64, i: 32 };
function put(at: number, value: bigint): void {
  memory.setBigUint64(at, BigInt.asUintN(64, value), true);
  memory.setBigUint64(at + 8, value >> 64n, true);
}
function wasm(op: VectorOp, args: bigint[]): bigint {
  put(0, 0n);
  args.forEach((value, i) => {
    put(16 * (i + 1), value);
  });
  run[op.name]!();
  return memory.getBigUint64(0, true) | (memory.getBigUint64(8, true) << 64n);
}

/** Bits that are extremes at some lane width, and floats at the edges of their ranges. */
const EDGES64 = [
  ...[0n, 0x8000000000000000n, 0xffffffffffffffffn, 0x7fff8000_80007fffn, 0x80ff7f00_0180fe01n, 0x0001000100010001n],
  ...[0x3ff0000000000000n, 0x7ff0000000000000n, 0x7ff4000000000000n, 0x0000000000000001n, 0xc1e0000000200000n],
  ...[0x7f800000_ff800000n, 0x7fa00000_00000001n, 0x3f800000_bf800000n, 0x4f000000_cf000000n, 0x3f000000_c0200000n],
];
let seed = 0x2545f491n;
function random64(): bigint {
  seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
  const high = seed >> 32n;
  seed = BigInt.asUintN(64, seed * 6364136223846793005n + 1442695040888963407n);
  const value = (high << 32n) | (seed >> 32n);
  return value % 3n === 0n ? EDGES64[Number((value >> 8n) % BigInt(EDGES64.length))]! : value;
}
const random = (type: VectorType): bigint => BigInt.asUintN(WIDTH[type], random64() | (random64() << 64n));

/** Replaces NaNs in the lanes of a float result by one NaN, since WebAssembly leaves their payload open. */
function canonical(op: VectorOp, value: bigint): string {
  const w = /^f64|^f32/.test(op.name) ? Number(op.name.slice(1, 3)) : 0;
  if (w === 0 || op.result !== 'v') return value.toString(16);
  const [exponent, rest] = w === 32 ? [0x7f800000n, 0x7fffffffn] : [0x7ff0000000000000n, 0x7fffffffffffffffn];
  return lanesOf(w, value)
    .map((x) => ((x & rest) > exponent && !isMask(op) ? 'nan' : x.toString(16)))
    .join();
}
const isMask = (op: VectorOp): boolean => /\.(eq|ne|lt|gt|le|ge|pmin|pmax|abs|neg)$/.test(op.name);

describe('vector operations', () => {
  it('has every name and every opcode once', () => {
    expect(new Set(ops.map((op) => op.opcode)).size).toBe(ops.length);
    expect(ops.length).toBeGreaterThan(190);
    expect(() => vectorOp('i8x16.mul')).toThrow('no vector operation i8x16.mul');
  });

  for (const op of ops) {
    it(`${op.name} computes what WebAssembly does`, () => {
      for (let n = 0; n < 400; n++) {
        const args = op.params.map((type) => random(type));
        const expected = canonical(op, wasm(op, args));
        const said = `${op.name}(${args.map((a) => a.toString(16)).join(', ')})`;
        expect(`${said} = ${canonical(op, op.ref(...args))}`).toBe(`${said} = ${expected}`);
      }
    });
  }
});
