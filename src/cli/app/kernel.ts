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
 * The command line to boot with. Linux gets its console on the serial port and ends by a reset when it panics,
 * unless the user's words say otherwise; any other kernel gets the user's words as they are.
 */
export function defaultCommandLine(kernel: Uint8Array, append = ''): string {
  if (!looksLikeLinux(kernel)) return append;
  const has = (name: string) => append.split(/\s+/).some((word) => word.startsWith(`${name}=`));
  const defaults = [has('console') ? '' : 'console=ttyS0', has('panic') ? '' : 'panic=-1'];
  return [...defaults, append.trim()].filter((words) => words !== '').join(' ');
}
