// Builds the root file system of an image: a static busybox, its /init, and files that a caller adds.

import { buildCpio, type CpioEntry } from './cpio.ts';

/** A file to add. Missing parent directories are made. */
export interface ExtraFile {
  /** Absolute path in the guest, such as `/root/nano`. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Permission bits; 0644 when left out. */
  readonly mode?: number;
}

/** What an initramfs is made of. */
export interface InitramfsParts {
  /** The statically linked busybox, an ELF executable for the guest. */
  readonly busybox: Uint8Array;
  readonly files?: readonly ExtraFile[];
}

/** The word of the kernel command line that names a script to run instead of a shell; see {@link execWord}. */
const execPrefix = 'plinth.exec=';

/**
 * The word that makes /init run a shell script, then power the guest off. Linux reads 2048 bytes of command
 * line, so a script must stay below about 1400 bytes.
 */
export function execWord(script: string): string {
  return execPrefix + Buffer.from(script, 'utf8').toString('base64');
}

// Process 1. The shell runs in the background so that `wait` returns when a signal arrives: busybox's poweroff,
// halt and reboot without -f ask process 1 by SIGUSR2, SIGUSR1 and SIGTERM. cttyhack makes the serial console
// the controlling terminal, which job control needs and /dev/console cannot be.
const initScript = `#!/bin/sh
export PATH=/bin HOME=/root TERM=\${TERM:-linux}
/bin/busybox mkdir -p /proc /sys /dev /tmp /root /etc
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
exec </dev/console >/dev/console 2>&1
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts 2>/dev/null
hostname plinth

script=
for word in $(cat /proc/cmdline); do
  case $word in
    ${execPrefix}*) script=\${word#${execPrefix}} ;;
  esac
done
if [ -n "$script" ]; then
  echo "$script" | base64 -d >/tmp/exec.sh
  cd /root
  sh /tmp/exec.sh
  poweroff -f
fi

trap 'poweroff -f' USR1 USR2
trap 'reboot -f' TERM
cat /etc/motd
cd /root
while :; do
  setsid cttyhack sh -l </dev/console >/dev/console 2>&1 &
  wait $!
done
`;

const motd = `
Linux on Plinth, with a busybox shell. Everything here lives in memory and is gone at power-off.
"poweroff" ends the machine. Ctrl-A X leaves Plinth at once, Ctrl-A H lists its keys.

`;

const profile = `PS1='plinth:\\w# '
alias ll='ls -l'
`;

const encoder = new TextEncoder();

function base(busybox: Uint8Array): CpioEntry[] {
  const directories = ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'];
  const file = (path: string, text: string, mode = 0o644): CpioEntry => {
    return { kind: 'file', path, mode, bytes: encoder.encode(text) };
  };
  return [
    ...directories.map((path): CpioEntry => ({ kind: 'directory', path, mode: path === 'tmp' ? 0o1777 : 0o755 })),
    // The kernel opens the console before /init can mount devtmpfs (devices.txt: 5:1 console, 1:3 null).
    { kind: 'character-device', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'character-device', path: 'dev/null', mode: 0o666, major: 1, minor: 3 },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, bytes: busybox },
    { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
    file('init', initScript, 0o755),
    file('etc/motd', motd),
    file('etc/profile', profile),
    file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n'),
    file('etc/group', 'root:x:0:\n'),
  ];
}

/** Entries for files and those of their parent directories that are not in `taken` yet (path -> kind). */
function fileEntries(files: readonly ExtraFile[], taken: Map<string, CpioEntry['kind']>): CpioEntry[] {
  const entries: CpioEntry[] = [];
  for (const { path: absolute, bytes, mode } of files) {
    if (!absolute.startsWith('/')) throw new RangeError(`initramfs: ${absolute} is not an absolute path`);
    const path = absolute.slice(1);
    const parts = path.split('/');
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join('/');
      if (!taken.has(parent)) entries.push({ kind: 'directory', path: parent });
      else if (taken.get(parent) !== 'directory') throw new RangeError(`initramfs: /${parent} is not a directory`);
      taken.set(parent, 'directory');
    }
    if (taken.has(path)) throw new RangeError(`initramfs: ${absolute} is there already`);
    taken.set(path, 'file');
    entries.push({ kind: 'file', path, bytes, ...(mode === undefined ? {} : { mode }) });
  }
  return entries;
}

/**
 * Builds the initramfs as an uncompressed cpio archive: unpacking it is a copy for the guest.
 * @throws RangeError when a path is not absolute, or is given twice
 */
export function buildInitramfs({ busybox, files = [] }: InitramfsParts): Uint8Array {
  const entries = base(busybox);
  const taken = new Map(entries.map((entry) => [entry.path, entry.kind]));
  return buildCpio([...entries, ...fileEntries(files, taken)]);
}

/**
 * Adds files to an initramfs that is built already. Linux unpacks archives that follow one another: a later
 * file replaces an earlier one of the same path, and folders above added files get the mode 0755.
 * @throws RangeError when a path is not absolute, or is given twice
 */
export function addFiles(initramfs: Uint8Array, files: readonly ExtraFile[]): Uint8Array {
  const added = buildCpio(fileEntries(files, new Map()));
  const start = (initramfs.length + 3) & ~3;
  const bytes = new Uint8Array(start + added.length);
  bytes.set(initramfs);
  bytes.set(added, start);
  return bytes;
}
