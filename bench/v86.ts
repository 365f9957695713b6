// Boots a kernel in v86 with the serial console on stdout, as a process of its own.
//
//   node bench/v86.ts BIOS KERNEL INITRD MEGABYTES WORDS

import { readFileSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';

const [bios, kernel, initrd, megabytes, words] = process.argv.slice(2);
if (words === undefined) {
  console.error('usage: node bench/v86.ts BIOS KERNEL INITRD MEGABYTES WORDS');
  process.exit(2);
}
const read = (path: string): { buffer: ArrayBuffer } => {
  const bytes = readFileSync(path);
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) };
};

const emulator = new V86({
  wasm_path: fileURLToPath(import.meta.resolve('v86')).replace(/libv86\.mjs$/, 'v86.wasm'),
  memory_size: Number(megabytes) * 2 ** 20,
  vga_memory_size: 2 * 2 ** 20,
  bios: read(bios!),
  bzimage: read(kernel!),
  initrd: read(initrd!),
  cmdline: words,
  acpi: true,
  disable_speaker: true,
  disable_keyboard: true,
  disable_mouse: true,
  autostart: true,
});

let line: number[] = [];
emulator.add_listener('serial0-output-byte', (byte: number) => {
  line.push(byte);
  if (byte !== 10) return;
  writeSync(1, Uint8Array.from(line));
  line = [];
});
