/** The compiled parts of the soft engine, loaded once and given to every virtual machine. */

/** build/interpreter.json: which handler serves which shape of instruction. */
export interface HandlerIndex {
  /** Shape key and table index, alternating. */
  readonly pairs: readonly number[];
}

export interface EngineImage {
  readonly runtime: WebAssembly.Module;
  readonly interpreter: WebAssembly.Module;
  readonly handlers: ReadonlyMap<number, number>;
}

/**
 * Compiles what the build made.
 * @param runtime bytes of build/runtime.wasm
 * @param interpreter bytes of build/interpreter.wasm
 */
export function compileEngineImage(runtime: BufferSource, interpreter: BufferSource, index: HandlerIndex): EngineImage {
  const handlers = new Map<number, number>();
  for (let i = 0; i < index.pairs.length; i += 2) handlers.set(index.pairs[i]!, index.pairs[i + 1]!);
  return {
    runtime: new WebAssembly.Module(runtime),
    interpreter: new WebAssembly.Module(interpreter),
    handlers,
  };
}
