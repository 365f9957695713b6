// Starts Plinth once after a build, so that the code that is kept between starts (src/cli/main.ts) is there for the
// user's first. Nothing depends on it: a start that finds nothing kept makes it.

import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the kernel below is loaded, its header included. */
const LOAD_ADDRESS = 0x100000;
const MULTIBOOT_MAGIC = 0x1badb002;
/** The header says where the file goes. */
const FLAG_ADDRESSES = 1 << 16;
const HEADER_BYTES = 32;
/** `cli; hlt`. */
const HALT = 0xf4fa;
/** Seconds that the guest halts: until the thread that makes regions has loaded its code. */
const SECONDS = '0.7';
/** Exit code of a guest that the time limit ended. */
const TIME_LIMIT = 124;
/** Milliseconds after which the attempt is given up. */
const GIVE_UP = 20_000;

/** A multiboot kernel (Multiboot specification 3.1) that halts. */
function haltingKernel(): Uint8Array {
  const checksum = -(MULTIBOOT_MAGIC + FLAG_ADDRESSES);
  // Magic, flags, checksum; addresses of header, start, end of data and bss (0: the file's), entry.
  const header = [MULTIBOOT_MAGIC, FLAG_ADDRESSES, checksum, LOAD_ADDRESS, LOAD_ADDRESS, 0, 0];
  const bytes = new Uint8Array(HEADER_BYTES + 4);
  const view = new DataView(bytes.buffer);
  [...header, LOAD_ADDRESS + HEADER_BYTES, HALT].forEach((word, i) => void view.setUint32(i * 4, word, true));
  return bytes;
}

/** Starts Plinth of the folder `root`, unless what it would keep is there. Says what came of it. */
export function firstStart(root: string): void {
  if (existsSync(join(root, 'build/compile-cache'))) return;
  const kernel = join(root, `build/halt.${process.pid}`);
  writeFileSync(kernel, haltingKernel());
  const args = ['run', '--engine', 'bt', '--memory', '32M', '--kernel', kernel, '--timeout', SECONDS];
  const { status } = spawnSync(process.execPath, [join(root, 'src/cli/main.ts'), ...args], {
    stdio: 'ignore',
    timeout: GIVE_UP,
  });
  rmSync(kernel, { force: true });
  console.log(status === TIME_LIMIT ? 'build: started once' : `build: a start ended with ${status}; it may not matter`);
}
