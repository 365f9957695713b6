// The images that can be pulled: which distribution packages each is made of.

/** One image by name. Package names are Debian's. */
export interface ImageSource {
  readonly name: string;
  /** One line for `plinth image ls`. */
  readonly description: string;
  /** Debian architecture of both packages. */
  readonly architecture: 'amd64' | 'i386';
  /** Kernel metapackage: it depends on the package that holds the current kernel. */
  readonly kernel: string;
  /** Package with a statically linked busybox. */
  readonly busybox: string;
}

export const defaultImageName = 'debian';

export const imageSources: readonly ImageSource[] = [
  {
    name: defaultImageName,
    description: "Debian's 64-bit kernel for clouds and a busybox shell",
    architecture: 'amd64',
    kernel: 'linux-image-cloud-amd64',
    busybox: 'busybox-static',
  },
  {
    name: 'debian-generic',
    description: "Debian's 64-bit kernel for real machines and a busybox shell",
    architecture: 'amd64',
    kernel: 'linux-image-amd64',
    busybox: 'busybox-static',
  },
  {
    name: 'debian-686',
    description: "Debian's 32-bit kernel without PAE and a busybox shell",
    architecture: 'i386',
    kernel: 'linux-image-686',
    busybox: 'busybox-static',
  },
  {
    name: 'debian-686-pae',
    description: "Debian's 32-bit kernel with PAE and a busybox shell",
    architecture: 'i386',
    kernel: 'linux-image-686-pae',
    busybox: 'busybox-static',
  },
];
