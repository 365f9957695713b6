/** The compiled soft engine from this package's build folder, for programs on Node.js. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HvError } from '../contract.ts';
import { compileEngineImage, type EngineImage } from '../soft/image.ts';

const BUILD = join(import.meta.dirname, '../../../build');

/** @throws HvError when the package is not built */
export async function loadEngineImage(): Promise<EngineImage> {
  const read = async (name: string): Promise<Uint8Array<ArrayBuffer>> => {
    try {
      return new Uint8Array(await readFile(join(BUILD, name)));
    } catch (cause) {
      throw new HvError(`build/${name} is missing`, 'run "npm run build" in Plinth\'s folder', { cause });
    }
  };
  const [runtime, interpreter, index] = await Promise.all(
    ['runtime.wasm', 'interpreter.wasm', 'interpreter.json'].map(read),
  );
  return compileEngineImage(runtime!, interpreter!, JSON.parse(new TextDecoder().decode(index)));
}
