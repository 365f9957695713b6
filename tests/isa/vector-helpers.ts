/**
 * The runtime's floating-point helpers for the reference: calls from bigints into build/runtime.wasm, on a copy of the
 * reference's state. Vectors cannot cross from JavaScript, so a small module between passes everything by memory.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReferenceHelper } from '../../src/engine/reference/ops.ts';
import { HELPERS, type HelperSpec } from '../../src/isa/helpers.ts';
import { CPU_SIZE } from '../../src/isa/layout.ts';
import { i32Const, type LoadOp, load, type StoreOp, type ValType } from '../../src/wasm/expr.ts';
import { ModuleBuilder } from '../../src/wasm/module.ts';

/** Helpers that need nothing but the vCPU's state. */
const PURE = /^(sse|x87|aes|sha1|sha256|bmi)_|_image$|^clmul$/;
const TYPE: Readonly<Record<string, ValType & LoadOp & StoreOp>> = { i: 'i32', l: 'i64', v: 'v128' };
/** Where the result, the arguments (16 bytes each) and the state lie; above what the runtime keeps for itself. */
const EXCHANGE = 0x2_0000;
const CPU = 0x3_0000;
const PAGES = 8;

function between(specs: readonly HelperSpec[]): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder();
  for (const h of specs) {
    const params = ['i32' as const, ...[...h.params].map((p) => TYPE[p]!)];
    m.importFunction('runtime', h.name, { params, results: h.result === '' ? [] : [TYPE[h.result]!] });
  }
  for (const h of specs) {
    const f = m.define(`by_memory_${h.name}`, { params: [], results: [] });
    m.export(f.name);
    const args = [...h.params].map((p, i) => load(TYPE[p]!, i32Const(EXCHANGE), 16 * (i + 1)));
    const value = f.call(h.name, i32Const(CPU), ...args);
    if (h.result === '') f.run(value);
    else f.store(TYPE[h.result]!, i32Const(EXCHANGE), 0, value);
  }
  return m.build({ maximumPages: 65536, shared: false });
}

/** The helpers by name. The build must have been run. */
export async function runtimeHelpers(): Promise<ReadonlyMap<string, ReferenceHelper>> {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: 65536 });
  const specs = HELPERS.filter((h) => PURE.test(h.name));
  const module = await WebAssembly.compile(readFileSync(join(import.meta.dirname, '../../build/runtime.wasm')));
  const host = Object.fromEntries(
    WebAssembly.Module.imports(module).map(({ name }) => [name, () => expectUnused(name)]),
  );
  const runtime = await WebAssembly.instantiate(module, { env: { ...host, memory } });
  const { instance } = await WebAssembly.instantiate(between(specs), {
    runtime: runtime.exports,
    env: { memory },
  });
  const bytes = new Uint8Array(memory.buffer);
  const view = new DataView(memory.buffer);
  const call = (h: HelperSpec): ReferenceHelper => {
    const run = instance.exports[`by_memory_${h.name}`] as () => void;
    return (state, _memory, ...args) => {
      bytes.set(state.bytes, CPU);
      view.setBigUint64(EXCHANGE, 0n, true);
      view.setBigUint64(EXCHANGE + 8, 0n, true);
      args.forEach((v, i) => {
        view.setBigUint64(EXCHANGE + 16 * (i + 1), BigInt.asUintN(64, v), true);
        view.setBigUint64(EXCHANGE + 16 * (i + 1) + 8, v >> 64n, true);
      });
      run();
      state.bytes.set(bytes.subarray(CPU, CPU + CPU_SIZE));
      return view.getBigUint64(EXCHANGE, true) | (view.getBigUint64(EXCHANGE + 8, true) << 64n);
    };
  };
  return new Map(specs.map((h) => [h.name, call(h)]));
}

function expectUnused(name: string): never {
  throw new Error(`a floating-point helper called the host function ${name}`);
}
