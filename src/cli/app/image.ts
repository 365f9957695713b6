// `plinth image ls | pull | path`: the images in the cache.

import { cachedNames, defaultImageName, imagePath, imageSources, pullImage, readManifest } from '../../image/pull.ts';
import { exitCode, HostError, UsageError } from './errors.ts';
import { pullProgress } from './progress.ts';
import { onEndingSignal } from './signals.ts';

/** @throws UsageError for a name that is not in the catalog; `kind` says what the user may have meant. */
export function checkImageName(name: string, kind = 'image'): void {
  if (imageSources.some((source) => source.name === name)) return;
  const names = imageSources.map((source) => source.name).join(', ');
  throw new UsageError(`there is no ${kind} named ${JSON.stringify(name)}`, `the images are ${names}`);
}

/** One line for each image of the catalog: its name, what is in the cache, what it is. */
export async function listImages(): Promise<number> {
  const cached = await cachedNames();
  const rows = await Promise.all(
    imageSources.map(async ({ name, description }) => {
      const manifest = cached.includes(name) ? await readManifest(name).catch(() => 'damaged' as const) : undefined;
      const state = manifest === undefined ? 'not pulled' : manifest === 'damaged' ? manifest : manifest.release;
      return [name, state, description] as const;
    }),
  );
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length));
  for (const [name, state, description] of rows) {
    process.stdout.write(`${name.padEnd(width(0))}  ${state.padEnd(width(1))}  ${description}\n`);
  }
  return 0;
}

/** Fetches an image; an interrupt ends it and leaves the cache as it was. */
export async function pull(name: string = defaultImageName): Promise<number> {
  checkImageName(name);
  const abort = new AbortController();
  let code: number = exitCode.poweroff;
  const release = onEndingSignal((signalCode) => {
    code = signalCode;
    abort.abort();
  });
  try {
    const manifest = await pullImage(name, { signal: abort.signal, onProgress: pullProgress(process.stderr) });
    process.stdout.write(`${name} ${manifest.release} is in ${imagePath(name)}\n`);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
  } finally {
    release();
  }
  return code;
}

/** Prints the folder of an image that is in the cache. */
export async function printPath(name: string = defaultImageName): Promise<number> {
  checkImageName(name);
  if ((await readManifest(name)) === undefined) {
    throw new HostError(`the image ${name} is not in the cache`, `run "plinth image pull ${name}"`);
  }
  process.stdout.write(`${imagePath(name)}\n`);
  return 0;
}
