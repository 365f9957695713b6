// Which words a kernel's command line gets when the user does not say.

/** Offset of the magic "HdrS" in a bzImage (Linux: Documentation/x86/boot.rst, "The real-mode kernel header"). */
const setupMagicOffset = 0x202;
const setupMagic = 0x53726448;
const elfMagic = 0x464c457f;
/** A multiboot header lies 4-byte aligned in the first 8 KiB (Multiboot specification 3.1). */
const multibootMagic = 0x1badb002;
const multibootSearch = 8192;

/** True for what looks like a Linux kernel: a bzImage, or an ELF file that is no multiboot kernel. */
export function looksLikeLinux(kernel: Uint8Array): boolean {
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  const word = (at: number) => (at + 4 <= kernel.length ? view.getUint32(at, true) : 0);
  if (word(setupMagicOffset) === setupMagic) return true;
  if (word(0) !== elfMagic) return false;
  for (let at = 0; at < Math.min(multibootSearch, kernel.length); at += 4)
    if (word(at) === multibootMagic) return false;
  return true;
}

/**
 * Words that Linux gets unless the user's own name the same parameter: the console on the serial port, a reset when
 * it panics; no work against speculative execution, which this CPU does not have; no self-tests of ciphers, which
 * are half of the boot of a distribution's kernel.
 */
const linuxDefaults = ['console=ttyS0', 'panic=-1', 'mitigations=off', 'cryptomgr.notests'];

/** The command line to boot with: Linux's defaults before the user's words; any other kernel gets those as they are. */
export function defaultCommandLine(kernel: Uint8Array, append = ''): string {
  if (!looksLikeLinux(kernel)) return append;
  const nameOf = (word: string) => word.replace(/=.*/, '');
  const named = new Set(append.split(/\s+/).map(nameOf));
  return [...linuxDefaults.filter((word) => !named.has(nameOf(word))), append.trim()].filter((w) => w !== '').join(' ');
}
