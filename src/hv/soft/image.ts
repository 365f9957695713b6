/** The compiled parts of the soft engine, loaded once and given to every virtual machine. */

import { Fusion, type FusionIndex } from '../../engine/fusion.ts';

/** build/interpreter.json: which handler serves which shape of instruction. */
export interface HandlerIndex {
  /** Shape key and table index, alternating. */
  readonly pairs: readonly number[];
  readonly fusion: FusionIndex;
}

export interface EngineImage {
  readonly runtime: WebAssembly.Module;
  readonly interpreter: WebAssembly.Module;
  /** Table index by shape key, 0 where there is none. */
  readonly handlers: Uint16Array;
  readonly fusion: Fusion;
}

/**
 * Compiles what the build made.
 * @param runtime bytes of build/runtime.wasm
 * @param interpreter bytes of build/interpreter.wasm
 */
export function compileEngineImage(runtime: BufferSource, interpreter: BufferSource, index: HandlerIndex): EngineImage {
  const { pairs } = index;
  let lastKey = 0;
  for (let i = 0; i < pairs.length; i += 2) lastKey = Math.max(lastKey, pairs[i]!);
  const handlers = new Uint16Array(lastKey + 1);
  for (let i = 0; i < pairs.length; i += 2) handlers[pairs[i]!] = pairs[i + 1]!;
  return {
    runtime: new WebAssembly.Module(runtime),
    interpreter: new WebAssembly.Module(interpreter),
    handlers,
    fusion: new Fusion(index.fusion),
  };
}
