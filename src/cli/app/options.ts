// Checks of the values that options take; each throws a UsageError that says what would be right.

import { InvalidArgumentError } from 'commander';
import { LOG_ITEM_NAMES, LOG_ITEMS } from '../../machine/log-items.ts';
import { MAX_RAM } from '../../machine/memory-map.ts';

/** Least guest memory in bytes: below it no kernel that Plinth boots gets anywhere. */
export const minMemory = 16 * 2 ** 20;
/** Most guest memory in bytes. */
export const maxMemory = MAX_RAM;

/** As the machine knows them (src/machine/engine-choice.ts), which help must not load. */
export const engines = ['kvm', 'bt', 'interp', 'auto'] as const;
export type EngineName = (typeof engines)[number];

/** Where /dev/kvm's interrupt controllers and timer are: in the kernel where it can (auto), always there, or never. */
export const irqchips = ['auto', 'kernel', 'user'] as const;
export type IrqchipName = (typeof irqchips)[number];

/** How to boot, as the machine knows it; stated here too because help must not load the machine. */
export const bootMethods = ['auto', 'bzimage', 'elf', 'pvh', 'multiboot'] as const;
export type BootMethodName = (typeof bootMethods)[number];

const unitShift = { '': 0, K: 10, M: 20, G: 30 } as const;

/** Writes a size in the largest unit that keeps it whole. */
export function formatSize(bytes: number): string {
  for (const [unit, shift] of Object.entries(unitShift).reverse()) {
    if (bytes >= 2 ** shift && bytes % 2 ** shift === 0) return `${bytes / 2 ** shift}${unit}`;
  }
  return String(bytes);
}

/**
 * Parses a memory size: a number with K, M or G (powers of 1024), or plain bytes.
 * @returns bytes, a multiple of 4 KiB within the limits
 */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?$/i.exec(text.trim());
  const limits = `between ${formatSize(minMemory)} and ${formatSize(maxMemory)}`;
  if (match === null) throw new InvalidArgumentError(`give a size such as 512M or 2G, ${limits}`);
  const unit = (match[2] ?? '').toUpperCase() as keyof typeof unitShift;
  const bytes = Number(match[1]) * 2 ** unitShift[unit];
  if (bytes < minMemory || bytes > maxMemory) throw new InvalidArgumentError(`give guest memory ${limits}`);
  if (bytes % 4096 !== 0) throw new InvalidArgumentError('give a multiple of 4K');
  return bytes;
}

/** Longest time a Node.js timer can wait, in seconds. */
const maxTimeout = Math.floor((2 ** 31 - 1) / 1000);

/** Parses a time limit in seconds, fractions allowed. */
export function parseTimeout(text: string): number {
  const seconds = Number(text);
  if (text.trim() === '' || !(seconds > 0) || seconds > maxTimeout) {
    throw new InvalidArgumentError(`give seconds above 0, at most ${maxTimeout}`);
  }
  return seconds;
}

/** What `--log help` prints: a line for each item. */
export const logHelp = LOG_ITEM_NAMES.map((name) => `${name.padEnd(8)}${LOG_ITEMS[name]}\n`).join('');

/** Parses a comma-separated list of trace items; `help` alone asks for what there is. */
export function parseLog(text: string): string[] {
  if (text.trim() === 'help') return ['help'];
  const items = text.split(',').map((item) => item.trim());
  const unknown = items.find((item) => !(LOG_ITEM_NAMES as readonly string[]).includes(item));
  if (unknown !== undefined) throw new InvalidArgumentError(`choose from ${LOG_ITEM_NAMES.join(',')}`);
  return [...new Set(items)];
}

/** Parses the range of --log-range: two hexadecimal linear addresses, or one for all up to the end of its page. */
export function parseLogRange(text: string): readonly [bigint, bigint] {
  const match = /^(?:0x)?([0-9a-f]{1,16})(?:-(?:0x)?([0-9a-f]{1,16}))?$/i.exec(text.trim());
  if (match === null)
    throw new InvalidArgumentError('give hexadecimal addresses such as ffffffff81000000-ffffffff81000fff');
  const first = BigInt(`0x${match[1]}`);
  const last = match[2] === undefined ? first | 0xfffn : BigInt(`0x${match[2]}`);
  if (last < first) throw new InvalidArgumentError('give the lower address first');
  return [first, last];
}

/** A file of the host and the absolute path it gets in the guest. */
export interface FileToCopy {
  readonly host: string;
  readonly guest: string;
}

/** Adds one `host:guest` of --copy to those before it. */
export function collectCopy(text: string, before: readonly FileToCopy[] = []): FileToCopy[] {
  const colon = text.lastIndexOf(':');
  const [host, guest] = [text.slice(0, colon), text.slice(colon + 1)];
  if (colon <= 0 || !/^\/[^/]/.test(guest) || guest.endsWith('/')) {
    throw new InvalidArgumentError('give a file and its absolute path in the guest, such as ./test:/root/test');
  }
  return [...before, { host, guest }];
}

/** Forms in which --stat prints what the machine did. */
export const statForms = ['table', 'json'] as const;
export type StatForm = (typeof statForms)[number];

/** Parses a seed: a whole number of up to 64 bits, decimal or hexadecimal with 0x. */
export function parseSeed(text: string): bigint {
  if (/^(\d{1,20}|0x[0-9a-f]{1,16})$/i.test(text) && BigInt(text) < 2n ** 64n) return BigInt(text);
  throw new InvalidArgumentError('give a whole number from 0 to 2^64 - 1');
}

/** What is typed at the serial console, and when: milliseconds of guest time since power-on. */
export interface Typed {
  readonly atMs: number;
  readonly bytes: Uint8Array;
}

/** What a letter behind a backslash stands for; a terminal sends a carriage return for the Enter key. */
const escapes: { readonly [letter: string]: string } = { n: '\r', r: '\r', t: '\t', '\\': '\\' };

/** Adds one `seconds:text` of --type to those before it. */
export function collectTyped(text: string, before: readonly Typed[] = []): Typed[] {
  const match = /^(\d+(?:\.\d+)?):(.*)$/s.exec(text);
  if (match === null) throw new InvalidArgumentError('give seconds of guest time and text, such as "12:uname -a\\n"');
  const typed = (match[2] ?? '').replace(/\\(x[0-9a-f]{2}|.)/gis, (whole, what: string) =>
    what.length === 3 ? String.fromCharCode(Number.parseInt(what.slice(1), 16)) : (escapes[what] ?? whole),
  );
  return [...before, { atMs: Number(match[1]) * 1000, bytes: new TextEncoder().encode(typed) }];
}
