// What V8 is told about WebAssembly. A choice holds for what is compiled behind it. A flag that V8 does not know changes
// nothing but a line on stderr, so each is set for the versions that are known to have it.

import { setFlagsFromString } from 'node:v8';

const major = Number(process.versions.v8.split('.')[0]);

/**
 * Before the engine's own modules are compiled.
 *
 * - Hints say which branches are hardly ever taken, so that what happens then is kept out of the way: loops run about a
 *   tenth faster. V8 14 reads them by itself.
 * - Every function and every turn of a loop asks whether the stack has an end here, and whether V8 wants something: two
 *   instructions and a branch; loops take 0.87 to 0.97 of the time without. Nothing of Plinth's WebAssembly calls itself
 *   (`tests/wasm/call-depth.test.ts`), nor does the unpacker of xz, and it comes back to JavaScript, which goes on to ask, at the
 *   end of every slice.
 */
export function setFlagsOfModules(): void {
  if (major === 13) setFlagsFromString('--experimental-wasm-branch-hinting');
  if (major >= 13) setFlagsFromString('--no-wasm-stack-checks');
}

/**
 * Before the first region is compiled.
 *
 * - By itself V8 compiles a function when it is called first, which would be on the guest's thread.
 * - Of V8's own threads one at a time compiles: the guest's thread wants a processor too, and so may others.
 * - What a way out needs is put on the stack where it is made, often in each turn of a loop, unless V8 is told to look for
 *   a later place: loops take 0.9 to 1 of the time.
 */
export function setFlagsOfRegions(): void {
  if (major < 13) return;
  setFlagsFromString('--no-wasm-lazy-compilation');
  setFlagsFromString('--wasm-num-compilation-tasks=1');
  if (major === 13) setFlagsFromString('--stress-turbo-late-spilling');
}

/**
 * Compiles regions by V8's second tier at once: what the first makes of them is no faster than the interpreter. That is for
 * them only, as what is left of the interpreter is compiled on the guest's thread when it is called first.
 */
export function compileRegions(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  setFlagsFromString('--no-liftoff');
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    setFlagsFromString('--liftoff');
  }
}
