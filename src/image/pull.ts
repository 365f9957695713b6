// Makes an image: fetches its packages, takes kernel and busybox out of them, builds the initramfs, stores it all.

import { join } from 'node:path';
import { Apt, type FetchedPackage, type OnProgress, type PackageRecord } from './apt.ts';
import { cacheDir, describeFile, type Image, type Manifest, readImage, storeImage, withWorkDir } from './cache.ts';
import { defaultImageName, type ImageSource, imageSources } from './catalog.ts';
import { extractFromDeb, type PackagedFile } from './deb.ts';
import { ImageError } from './errors.ts';
import { buildInitramfs } from './initramfs.ts';

export type { OnProgress } from './apt.ts';
export { cacheDir, cachedNames, type Image, imagePath, type Manifest, readManifest } from './cache.ts';
export { defaultImageName, type ImageSource, imageSources } from './catalog.ts';

/** How a pull reports and where it stores. */
export interface PullOptions {
  readonly root?: string;
  readonly onProgress?: OnProgress;
  /** Ends the pull; it rejects with the signal's AbortError and leaves nothing behind. */
  readonly signal?: AbortSignal;
}

/** Finds an image's definition. @throws ImageError for a name that is not in the catalog. */
export function findSource(name: string): ImageSource {
  const source = imageSources.find((candidate) => candidate.name === name);
  if (source === undefined) {
    const names = imageSources.map((candidate) => candidate.name).join(', ');
    throw new ImageError(`there is no image named ${JSON.stringify(name)}`, `choose one of ${names}`);
  }
  return source;
}

/** A metapackage depends on the package with the kernel itself, at one version: returns `name=version`. */
export function kernelPackageOf(meta: PackageRecord): string {
  for (const dependency of meta.depends.split(',')) {
    const match = /^\s*(linux-image-\d[\w.+-]*)(?:\s*\(=\s*([^)\s]+)\s*\))?/.exec(dependency);
    if (match?.[1] !== undefined) return match[2] === undefined ? match[1] : `${match[1]}=${match[2]}`;
  }
  throw new ImageError(`${meta.package} names no kernel package`, 'check the sources in /etc/apt');
}

const isKernel = (path: string) =>
  /^(?:usr\/)?boot\/vmlinuz-/.test(path) || /^usr\/lib\/modules\/[^/]+\/vmlinuz$/.test(path);
const isBusybox = (path: string) => /^(?:usr\/)?bin\/busybox$/.test(path);

async function takeOut(fetched: FetchedPackage, accepts: (path: string) => boolean): Promise<PackagedFile> {
  try {
    const [file] = await extractFromDeb(fetched.deb, [accepts]);
    return file as PackagedFile;
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    throw new ImageError(`${fetched.record.package}: ${error.reason}`, error.advice, { cause: error });
  }
}

/**
 * Fetches an image and puts it into the cache, replacing an older version.
 * @throws ImageError when apt is missing or offline, a checksum is wrong, or the cache cannot be written
 */
export async function pullImage(name: string, options: PullOptions = {}): Promise<Manifest> {
  const { root = cacheDir(), onProgress, signal } = options;
  const source = findSource(name);
  return withWorkDir(root, async (directory) => {
    const apt = new Apt({
      architecture: source.architecture,
      stateDir: join(root, `apt-${source.architecture}`),
      ...(onProgress && { onProgress }),
      ...(signal && { signal }),
    });
    const kernelName = kernelPackageOf(await apt.show(source.kernel));
    const kernelPackage = await apt.fetch(kernelName, directory);
    const busyboxPackage = await apt.fetch(source.busybox, directory);
    onProgress?.('unpack', 0);
    const kernel = await takeOut(kernelPackage, isKernel);
    onProgress?.('unpack', 0.5);
    const busybox = await takeOut(busyboxPackage, isBusybox);
    onProgress?.('unpack', 1);
    signal?.throwIfAborted();
    const files = { vmlinuz: kernel.bytes, 'initramfs.cpio': buildInitramfs({ busybox: busybox.bytes }) };
    const manifest: Manifest = {
      format: 1,
      name,
      release: kernelPackage.record.package.replace(/^linux-image-/, ''),
      packages: [kernelPackage, busyboxPackage].map(({ record }) => ({
        package: record.package,
        version: record.version,
        architecture: record.architecture,
        sha256: record.sha256,
      })),
      files: { vmlinuz: describeFile(files.vmlinuz), 'initramfs.cpio': describeFile(files['initramfs.cpio']) },
    };
    await storeImage(manifest, files, directory, root);
    return manifest;
  });
}

/**
 * Gives an image's kernel and initrd, pulling it when it is not in the cache.
 * @throws ImageError as {@link pullImage}, or when the cached image is damaged
 */
export async function loadImage(name: string = defaultImageName, options: PullOptions = {}): Promise<Image> {
  findSource(name);
  const cached = await readImage(name, options.root);
  if (cached !== undefined) return cached;
  await pullImage(name, options);
  const pulled = await readImage(name, options.root);
  if (pulled === undefined) throw new ImageError(`the image ${name} vanished from the cache`, 'try again');
  return pulled;
}
