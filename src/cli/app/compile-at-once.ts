/** What V8 is told before translated code is compiled, on the thread that makes regions. */
import { setFlagsFromString } from 'node:v8';

/**
 * Bytes of machine code that a region runs through in V8's first tier before the second one compiles it. V8's own 13
 * million have nearly everything compiled twice while a guest warms up and other threads want the processors.
 */
const TIERING_BUDGET = 50_000_000;

/**
 * By itself V8 compiles a function when it is called first, which would be on the guest's thread. The choices go with the
 * module: those that were compiled before this call stay as they are.
 *
 * Every function and every turn of a loop asks by itself whether the stack has an end here, and whether V8 wants
 * something: two instructions and a branch. Nothing of Plinth's WebAssembly calls itself (`tests/wasm/call-depth.test.ts`),
 * and it comes back to JavaScript, which asks still, at the end of every slice.
 */
export function compileAtOnce(): void {
  const major = Number(process.versions.v8.split('.')[0]);
  if (major < 13) return;
  setFlagsFromString('--no-wasm-lazy-compilation');
  setFlagsFromString('--no-wasm-stack-checks');
  setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET}`);
}
