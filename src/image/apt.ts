// Finds and fetches distribution packages through the host's apt, without root and without touching its state.
//
// The system's package lists are used when they know the package. When they do not (no lists, another
// architecture, or lists so old that the file is gone), lists are fetched from the system's own sources into a
// private state directory. Nothing is ever installed.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ImageError } from './errors.ts';

/** One package as apt's index states it. */
export interface PackageRecord {
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
  /** Bytes of the .deb. */
  readonly size: number;
  /** Of the .deb, hexadecimal. */
  readonly sha256: string;
  readonly depends: string;
  /** What must be there before the package is unpacked; the same form. */
  readonly preDepends: string;
}

/** A fetched package: its record and the verified bytes of the .deb. */
export interface FetchedPackage {
  readonly record: PackageRecord;
  readonly deb: Uint8Array;
}

/** Told how far a download is: `done` in 0..1. */
export type OnProgress = (step: string, done: number) => void;

/** Where apt looks and who listens. */
export interface AptOptions {
  readonly architecture: 'amd64' | 'i386';
  /** Folder for private lists; made when needed, kept for the next time. */
  readonly stateDir: string;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function collect(stream: Readable): { text: string } {
  const collected = { text: '' };
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    collected.text += chunk;
  });
  return collected;
}

const aptMissing = () =>
  new ImageError(
    'apt is not on this machine, and images are made of packages that apt fetches',
    'use a Debian-based system, or give a kernel of your own with --kernel and --initrd',
  );

/** Runs an apt tool; descriptor 3 carries apt's machine-readable progress. */
async function runApt(
  tool: 'apt-get' | 'apt-cache',
  args: readonly string[],
  context: { cwd?: string; signal?: AbortSignal | undefined; onStatus?: (line: string) => void } = {},
): Promise<CommandResult> {
  const child = spawn(tool, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    ...(context.cwd === undefined ? {} : { cwd: context.cwd }),
    ...(context.signal === undefined ? {} : { signal: context.signal }),
  });
  const stdout = collect(child.stdout as Readable);
  const stderr = collect(child.stderr as Readable);
  let rest = '';
  (child.stdio[3] as Readable).setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) context.onStatus?.(line);
  });
  return new Promise((resolve, reject) => {
    let aborted: Error | undefined;
    child.on('error', (error: NodeJS.ErrnoException) => {
      // An aborted tool is still ending; whoever waits removes the folder it writes to.
      if (error.name === 'AbortError') aborted = error;
      else reject(error.code === 'ENOENT' ? aptMissing() : error);
    });
    child.on('close', (status) => {
      if (aborted === undefined) resolve({ status, stdout: stdout.text, stderr: stderr.text });
      else reject(aborted);
    });
  });
}

/** The first error apt printed, or else the first warning, which is what a failed update gives. */
function firstError(result: CommandResult): string {
  const line = /^E: (.*)$/m.exec(result.stderr)?.[1] ?? /^W: (.*)$/m.exec(result.stderr)?.[1];
  return (line ?? `exit status ${result.status}`).replace(/\s+/g, ' ').trim();
}

/** Parses one stanza of a Packages index (deb822(5)); continuation lines are joined. */
function parseStanza(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  let last = '';
  for (const line of text.split('\n')) {
    const field = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
    if (field !== null) {
      last = (field[1] ?? '').toLowerCase();
      fields.set(last, field[2] ?? '');
    } else if (/^\s/.test(line)) {
      fields.set(last, `${fields.get(last) ?? ''}\n${line.trim()}`);
    }
  }
  return fields;
}

/** Parses the first stanza of `apt-cache show`; undefined unless it says all that is needed to verify the package. */
export function parseRecord(text: string): PackageRecord | undefined {
  const fields = parseStanza(text.split(/\n\s*\n/)[0] ?? '');
  const get = (name: string) => fields.get(name) ?? '';
  const sha256 = get('sha256').toLowerCase();
  const size = Number(get('size'));
  if (!/^[0-9a-f]{64}$/.test(sha256) || !Number.isSafeInteger(size) || size <= 0) return undefined;
  if (get('package') === '' || get('version') === '') return undefined;
  return {
    package: get('package'),
    version: get('version'),
    architecture: get('architecture'),
    size,
    sha256,
    depends: get('depends'),
    preDepends: get('pre-depends'),
  };
}

/** Packages of one architecture, by the system's lists or by private ones. */
export class Apt {
  readonly #options: AptOptions;
  /** Arguments that choose the private lists, or none for the system's. */
  #config: readonly string[] | undefined;

  constructor(options: AptOptions) {
    this.#options = options;
  }

  /**
   * Looks a package up; an exact version may follow as `name=version`.
   * @throws ImageError when apt is missing, offline, or its sources lack the package
   */
  async show(name: string): Promise<PackageRecord> {
    if (this.#config === undefined) {
      const record = await this.#lookUp(name, []);
      if (record?.architecture === this.#options.architecture) {
        this.#config = [];
        return record;
      }
      await this.#usePrivateLists();
    }
    const record = await this.#lookUp(name, this.#config ?? []);
    if (record === undefined) {
      throw new ImageError(
        `apt's sources have no package ${name} for ${this.#options.architecture}`,
        'add a Debian source to /etc/apt/sources.list, or give a kernel with --kernel',
      );
    }
    return record;
  }

  /**
   * Fetches a package and checks it against the SHA-256 of apt's index.
   * @param name as for {@link show}
   * @param directory an existing folder for temporary files
   */
  async fetch(name: string, directory: string): Promise<FetchedPackage> {
    let record = await this.show(name);
    let result = await this.#download(record, directory);
    if (result.status !== 0 && this.#config?.length === 0) {
      // The system's lists may name a version that the mirror has replaced since.
      await this.#usePrivateLists();
      record = await this.show(name.replace(/=.*/, ''));
      result = await this.#download(record, directory);
    }
    if (result.status !== 0) {
      throw new ImageError(
        `apt could not fetch ${record.package} (${firstError(result)})`,
        'check the network and try again',
      );
    }
    return { record, deb: await verifiedDeb(record, directory) };
  }

  async #lookUp(name: string, config: readonly string[]): Promise<PackageRecord | undefined> {
    const args = [...config, 'show', '--no-all-versions', name];
    const result = await runApt('apt-cache', args, { signal: this.#options.signal });
    return parseRecord(result.stdout);
  }

  /** Fetches lists into the private state directory, and uses them from here on, old ones too when offline. */
  async #usePrivateLists(): Promise<void> {
    const { stateDir, architecture, onProgress, signal } = this.#options;
    const lists = join(stateDir, 'state/lists');
    await mkdir(join(lists, 'partial'), { recursive: true });
    await mkdir(join(stateDir, 'cache/archives/partial'), { recursive: true });
    await writeFile(join(stateDir, 'status'), '', { flag: 'a' });
    const config = [
      `Dir::State=${join(stateDir, 'state')}`,
      `Dir::State::status=${join(stateDir, 'status')}`,
      `Dir::Cache=${join(stateDir, 'cache')}`,
      `APT::Architecture=${architecture}`,
      `APT::Architectures=${architecture}`,
      'Acquire::Languages=none',
    ].flatMap((setting) => ['-o', setting]);
    const step = `package lists for ${architecture}`;
    onProgress?.(step, 0);
    const onStatus = statusListener(step, onProgress);
    const update = await runApt('apt-get', [...config, ...sandbox, ...statusFd, 'update'], { signal, onStatus });
    onProgress?.(step, 1);
    const have = (await readdir(lists)).some((file) => file.includes('_Packages'));
    if (!have) {
      throw new ImageError(
        `apt could not fetch package lists (${firstError(update)})`,
        'check the network and the sources in /etc/apt, then try again',
      );
    }
    this.#config = config;
  }

  async #download(record: PackageRecord, directory: string): Promise<CommandResult> {
    const { onProgress, signal } = this.#options;
    const step = `${record.package} ${record.version}`;
    onProgress?.(step, 0);
    const wanted = `${record.package}=${record.version}`;
    const args = [...(this.#config ?? []), ...sandbox, ...statusFd, 'download', wanted];
    const result = await runApt('apt-get', args, {
      cwd: directory,
      signal,
      onStatus: statusListener(step, onProgress),
    });
    if (result.status === 0) onProgress?.(step, 1);
    return result;
  }
}

const statusFd = ['-o', 'APT::Status-Fd=3'];

// As root, apt fetches as the user _apt, who may not enter a private cache directory.
const sandbox = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];

/** Reads apt's status lines, `dlstatus:<file>:<percent>:<text>` (apt's README.progress-reporting). */
function statusListener(step: string, onProgress: OnProgress | undefined): (line: string) => void {
  return (line) => {
    const percent = /^dlstatus:\d+:([\d.]+):/.exec(line)?.[1];
    if (percent !== undefined) onProgress?.(step, Math.min(1, Number(percent) / 100));
  };
}

/** Reads the one .deb in a folder, removes it, and checks its size and hash. */
async function verifiedDeb(record: PackageRecord, directory: string): Promise<Uint8Array> {
  const file = (await readdir(directory)).find((name) => name.endsWith('.deb'));
  if (file === undefined) throw new ImageError(`apt fetched no file for ${record.package}`, 'try again');
  const deb = await readFile(join(directory, file));
  await rm(join(directory, file));
  const sha256 = createHash('sha256').update(deb).digest('hex');
  if (deb.length !== record.size || sha256 !== record.sha256) {
    throw new ImageError(
      `${record.package} has SHA-256 ${sha256.slice(0, 16)}…, not ${record.sha256.slice(0, 16)}… as apt's index says`,
      'try again; if it stays so, the mirror is damaged',
    );
  }
  return deb;
}
