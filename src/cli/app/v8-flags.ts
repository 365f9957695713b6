// What V8 is told about WebAssembly. A choice holds for what is compiled behind it. A flag that V8 does not know changes
// nothing but a line on stderr, so each is set for the versions that are known to have it.

import { setFlagsFromString } from 'node:v8';

const major = Number(process.versions.v8.split('.')[0]);

/**
 * Bytes of machine code that a region runs through in V8's first tier before the second one compiles it. V8's own 13
 * million have nearly everything compiled twice while a guest warms up and other threads want the processors.
 */
const TIERING_BUDGET = 50_000_000;

/**
 * Before the engine's own modules are compiled.
 *
 * - Hints say which branches are hardly ever taken, so that what happens then is kept out of the way: loops run about a
 *   tenth faster. V8 14 reads them by itself.
 * - Every function and every turn of a loop asks whether the stack has an end here, and whether V8 wants something: two
 *   instructions and a branch; loops take 0.87 of the time without. Nothing of Plinth's WebAssembly calls itself
 *   (`tests/wasm/call-depth.test.ts`), nor do unpackers, and it comes back to JavaScript, which goes on to ask, at the
 *   end of every slice.
 */
export function setFlagsOfModules(): void {
  if (major === 13) setFlagsFromString('--experimental-wasm-branch-hinting');
  if (major >= 13) setFlagsFromString('--no-wasm-stack-checks');
}

/**
 * Before the first region is compiled, on the thread that makes them. By itself V8 compiles a function when it is called
 * first, which would be on the guest's thread. And it spills what a way out needs where the value is made, in front of the
 * loop's next turn, unless it is told to look for a later place: loops take 0.9 to 1 of the time.
 */
export function setFlagsOfRegions(): void {
  if (major < 13) return;
  setFlagsFromString('--no-wasm-lazy-compilation');
  if (major === 13) setFlagsFromString('--stress-turbo-late-spilling');
  setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET}`);
}
