/** Lets V8 compile whole modules where they are made, on the thread that makes regions. */
import { setFlagsFromString } from 'node:v8';

/**
 * By itself V8 compiles a function when it is called first, which would be on the guest's thread. The choice goes with
 * the module: those that were compiled before this call stay as they are.
 */
export function compileAtOnce(): void {
  const major = Number(process.versions.v8.split('.')[0]);
  if (major >= 13) setFlagsFromString('--no-wasm-lazy-compilation');
}
