// `plinth run`: builds a machine from files or an image, connects it to the terminal, ends with the guest's verdict.

import { readFile } from 'node:fs/promises';
import { SerialConsole, type Streams } from './console.ts';
import type { MachineFactory, MachineLike, MachineOptions, Outcome } from './contract.ts';
import { exitCode, HostError, UsageError } from './errors.ts';
import { defaultCommandLine } from './kernel.ts';
import {
  type BootMethodName,
  type EngineName,
  type FileToCopy,
  formatSize,
  type IrqchipName,
  type StatForm,
  type Typed,
} from './options.ts';
import { onEndingSignal } from './signals.ts';
import { statLines } from './stat.ts';

/** Options of the command line, parsed. */
export interface RunOptions {
  readonly image?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly boot?: BootMethodName;
  readonly memory: number;
  readonly engine: EngineName;
  /** The guest is told of what both engines can carry. */
  readonly switchable?: boolean;
  readonly irqchip?: IrqchipName;
  /** Seconds. */
  readonly timeout?: number;
  readonly log: string[];
  /** Guest linear addresses whose instructions are traced: `[first, last]`. */
  readonly logRange?: readonly [bigint, bigint];
  /** Files to put into the initial RAM disk. */
  readonly copy?: readonly FileToCopy[];
  /** Shell script for the image's /init to run instead of a shell. */
  readonly exec?: string;
  readonly cpu: string;
  /** False hides KVM's clock from the guest. */
  readonly kvmclock?: boolean;
  readonly deterministic?: boolean;
  readonly seed?: bigint;
  readonly type?: readonly Typed[];
  readonly stat?: StatForm;
}

/** Bytes of command line that Linux takes on x86. */
const maxLinuxCommandLine = 2047;

type Guest = Pick<MachineOptions, 'kernel' | 'initrd'>;

async function readUserFile(option: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const why = { ENOENT: 'does not exist', EISDIR: 'is a folder', EACCES: 'may not be read' }[code ?? ''];
    throw new HostError(`${option} ${path} ${why ?? `cannot be read (${code})`}`, 'give the path of a readable file', {
      cause: error,
    });
  }
}

async function readGuestFile(option: string, path: string, memory: number): Promise<Uint8Array> {
  const bytes = await readUserFile(option, path);
  if (bytes.length === 0) throw new HostError(`${option} ${path} is empty`, 'give another file');
  if (bytes.length > memory) {
    throw new HostError(
      `${option} ${path} (${Math.ceil(bytes.length / 2 ** 20)}M) is larger than the guest's memory (${formatSize(memory)})`,
      'give more with --memory',
    );
  }
  return bytes;
}

async function guestOf(options: RunOptions, signal: AbortSignal): Promise<Guest> {
  if (options.kernel !== undefined) {
    const kernel = await readGuestFile('--kernel', options.kernel, options.memory);
    if (options.initrd === undefined) return { kernel };
    return { kernel, initrd: await readGuestFile('--initrd', options.initrd, options.memory) };
  }
  const { loadImage } = await import('../../image/pull.ts');
  const { pullProgress } = await import('./progress.ts');
  const { kernel, initrd } = await loadImage(options.image, { signal, onProgress: pullProgress(process.stderr) });
  if (options.initrd === undefined) return { kernel, initrd };
  return { kernel, initrd: await readGuestFile('--initrd', options.initrd, options.memory) };
}

/** @throws UsageError when the script of --exec is too long for a kernel command line */
async function commandLine(kernel: Uint8Array, { append, exec }: RunOptions): Promise<string> {
  const words = defaultCommandLine(kernel, append);
  if (exec === undefined) return words;
  const { execWord } = await import('../../image/initramfs.ts');
  const line = `${words} ${execWord(exec)}`;
  if (line.length <= maxLinuxCommandLine) return line;
  throw new UsageError('the script of --exec is too long', 'put it into a file, and give that with --copy');
}

/** The RAM disk with the user's files behind it: Linux unpacks archives that follow one another. */
async function withCopies(initrd: Uint8Array | undefined, files: readonly FileToCopy[]): Promise<Uint8Array> {
  const { addFiles } = await import('../../image/initramfs.ts');
  const extra = await Promise.all(
    files.map(async ({ host, guest }) => ({ path: guest, bytes: await readUserFile('--copy', host), mode: 0o755 })),
  );
  try {
    return addFiles(initrd ?? new Uint8Array(), extra);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(error.message, 'give each --copy a path of its own', { cause: error });
  }
}

/** Why a run was stopped from outside, as the exit code to end with. */
interface Stop {
  readonly code: number;
  readonly message?: string;
}

/** Aborts with a `Stop` when a signal arrives or the launcher that started this process is gone. */
function stopOnSignals(stop: (reason: Stop) => void): () => void {
  const release = onEndingSignal((code) => stop({ code }));
  const launcher = Number(process.env.PLINTH_LAUNCHER);
  const watch = setInterval(() => {
    if (launcher > 0 && process.ppid !== launcher) stop({ code: exitCode.hostError });
  }, 1000);
  watch.unref();
  return () => {
    release();
    clearInterval(watch);
  };
}

function codeOf(outcome: Outcome, say: (line: string) => void): number {
  switch (outcome.kind) {
    case 'poweroff':
      return exitCode.poweroff;
    case 'reset':
      say('the guest asked for a reset, and Plinth does not start it again');
      return exitCode.crash;
    case 'triple-fault':
      say('the guest ended in a triple fault');
      return exitCode.crash;
    case 'debug-exit':
      return ((outcome.value << 1) | 1) & 0xff;
    case 'error':
      throw new HostError(`the machine stopped: ${outcome.message}`, 'run again with --log exec,int and report it');
    case 'stopped':
      throw new Error('the machine stopped without being asked to');
  }
}

/** Runs the machine until it ends by itself or by `stop`; pauses it while output cannot be written. */
async function runToEnd(
  machine: MachineLike,
  console: SerialConsole,
  stop: AbortSignal,
  pauses: { current: AbortController },
): Promise<Outcome> {
  for (;;) {
    pauses.current = new AbortController();
    const outcome = await machine.run({ signal: AbortSignal.any([stop, pauses.current.signal]) });
    if (outcome.kind !== 'stopped' || stop.aborted) return outcome;
    const stopped = new Promise<void>((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([console.drained(), stopped]);
    if (stop.aborted) return outcome;
  }
}

/** Goes on with the other engine. @returns what came of it, a line for the user */
async function switchEngine(machine: MachineLike | undefined): Promise<string> {
  const to = machine?.engine === 'kvm' ? 'bt' : 'kvm';
  try {
    await machine?.switchEngine?.(to);
    return `goes on with the engine ${machine?.engine}`;
  } catch (error) {
    const { message, advice } = error as Error & { advice?: string };
    return advice === undefined || message.endsWith(advice) ? message : `${message}; ${advice}`;
  }
}

/** What --stat asks for: lines for people, or one line of JSON. */
async function tellStats(machine: MachineLike, options: RunOptions, console: SerialConsole): Promise<void> {
  if (options.stat === undefined) return;
  const digest = options.deterministic ? { digest: await machine.digest?.() } : {};
  const stats = { ...machine.stats(), ...digest };
  if (options.stat === 'json') console.sayPlain(JSON.stringify(stats));
  else for (const line of statLines(stats)) console.say(line);
}

/**
 * Runs a machine on the given streams.
 * @param loadFactory loads what builds machines; called at once, waited for when the guest's files are there
 * @returns the exit code
 * @throws errors with advice for what the user can mend
 */
export async function runMachine(
  options: RunOptions,
  loadFactory: () => Promise<MachineFactory>,
  streams: Streams,
): Promise<number> {
  const stop = new AbortController();
  const end = (reason: Stop) => stop.abort(reason);
  const releaseSignals = stopOnSignals(end);
  const pauses = { current: new AbortController() };
  let machine: MachineLike | undefined;
  const console = new SerialConsole(streams, {
    input: (bytes) => machine?.serialInput(bytes),
    quit: () => end({ code: exitCode.poweroff, message: 'quit' }),
    stats: () => (machine ? statLines(machine.stats()) : []),
    switchEngine: () => switchEngine(machine),
    congested: () => pauses.current.abort(),
    outputClosed: () => end({ code: exitCode.hostError }),
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    // The engine loads while the files are read; a wrong file is told first.
    const loading = loadFactory();
    loading.catch(() => {});
    const files = await guestOf(options, stop.signal);
    const guest = options.copy?.length ? { ...files, initrd: await withCopies(files.initrd, options.copy) } : files;
    machine = await (await loading).create({
      ...guest,
      append: await commandLine(guest.kernel, options),
      ...(options.boot && { boot: options.boot }),
      memory: options.memory,
      engine: options.engine,
      cpu: options.cpu,
      kvmclock: options.kvmclock ?? true,
      ...(options.deterministic && { deterministic: { seed: options.seed ?? 0n } }),
      ...(options.type && { typed: options.type }),
      log: options.log,
      ...(options.logRange && { logRange: options.logRange }),
      serialOutput: (bytes) => console.output(bytes),
      logOutput: (line) => console.say(line),
    });
    const { timeout } = options;
    if (timeout !== undefined) {
      const message = `stopped after ${timeout} s, the time limit`;
      timer = setTimeout(() => end({ code: exitCode.timeout, message }), timeout * 1000);
    }
    console.open();
    if (options.deterministic && streams.stdin.isTTY) {
      console.say('a deterministic guest gets no keys from the terminal; give its input with --type');
    }
    const outcome = await runToEnd(machine, console, stop.signal, pauses);
    await tellStats(machine, options, console);
    const say = (line: string) => console.say(line);
    if (outcome.kind !== 'stopped') return codeOf(outcome, say);
    const reason = stop.signal.reason as Stop;
    if (reason.message !== undefined) say(reason.message);
    return reason.code;
  } catch (error) {
    if (stop.signal.aborted) return (stop.signal.reason as Stop).code;
    throw error;
  } finally {
    clearTimeout(timer);
    console.close();
    releaseSignals();
    await console.drained();
  }
}

/** The command itself. @throws UsageError for options that do not go together. */
export async function runCommand(options: RunOptions): Promise<number> {
  if (options.image !== undefined && options.kernel !== undefined) {
    throw new UsageError('an image and --kernel were both given', 'give one of them');
  }
  if (options.seed !== undefined && !options.deterministic) {
    throw new UsageError('--seed was given without --deterministic', 'give both');
  }
  if (options.deterministic && (options.engine === 'kvm' || options.switchable)) {
    throw new UsageError('--deterministic cannot run on the engine kvm', 'use --engine bt or interp');
  }
  if (options.image !== undefined) {
    const { checkImageName } = await import('./image.ts');
    checkImageName(options.image, 'command or image');
  }
  return runMachine(options, async () => (await import('./engine.ts')).machineFactory(options), process);
}
