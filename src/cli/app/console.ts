// The guest's serial port on the user's terminal: raw input with the console's own keys, output with
// back-pressure, and the terminal put back however the program ends.

import type { ReadStream, WriteStream } from 'node:tty';
import { type ConsoleAction, EscapeFilter, keyHelp } from './escape.ts';

/** The streams of a process, or stand-ins. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

/** What the console asks of its owner. */
export interface ConsoleHandlers {
  /** Bytes for the guest's serial port. */
  readonly input: (bytes: Uint8Array) => void;
  readonly quit: () => void;
  /** Lines to show for the statistics key. */
  readonly stats: () => string[];
  /** Goes on with the other engine; the result says what came of it, in a line. */
  readonly switchEngine: () => Promise<string>;
  /** Output is queued beyond the limit: the guest must pause until {@link SerialConsole.drained}. */
  readonly congested: () => void;
  /** The reader of stdout is gone. */
  readonly outputClosed: () => void;
}

/** Bytes of output that may wait for a slow reader before the guest is paused. */
const outputLimit = 1 << 20;

export class SerialConsole {
  readonly #streams: Streams;
  readonly #handlers: ConsoleHandlers;
  readonly #filter = new EscapeFilter();
  readonly #isTerminal: boolean;
  #closed = false;

  constructor(streams: Streams, handlers: ConsoleHandlers) {
    this.#streams = streams;
    this.#handlers = handlers;
    this.#isTerminal = streams.stdin.isTTY === true;
  }

  /** Starts to read input; on a terminal, switches it to raw mode. */
  open(): void {
    const { stdin, stdout } = this.#streams;
    stdout.on('error', this.#onOutputError);
    stdin.on('data', this.#onInput);
    // A failing stdin is one that gives nothing more; the guest goes on.
    stdin.on('error', () => {});
    if (!this.#isTerminal) return;
    process.on('exit', this.#restore);
    process.on('SIGCONT', this.#setRaw);
    this.#setRaw();
    this.say('Ctrl-A X quits, Ctrl-A H lists the keys');
  }

  /** Stops reading and puts the terminal back. Calling it twice does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#restore();
    process.off('exit', this.#restore);
    process.off('SIGCONT', this.#setRaw);
    const { stdin } = this.#streams;
    stdin.off('data', this.#onInput);
    stdin.pause();
  }

  /** Writes what the guest sent. */
  output(bytes: Uint8Array): void {
    const { stdout } = this.#streams;
    // The machine may use its buffer again as soon as this returns.
    stdout.write(Uint8Array.from(bytes));
    if (this.isCongested) this.#handlers.congested();
  }

  /** True while more output waits than the limit. */
  get isCongested(): boolean {
    return this.#streams.stdout.writableLength > outputLimit;
  }

  /** Resolves when all output so far is written, or can no longer be. */
  drained(): Promise<void> {
    const { stdout } = this.#streams;
    if (stdout.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      stdout.once('close', resolve);
      stdout.write('', () => {
        stdout.off('close', resolve);
        resolve();
      });
    });
  }

  /** A line from Plinth itself, set apart from the guest's output. */
  say(line: string): void {
    // Node's raw mode still makes carriage return and line feed of a line feed.
    this.#streams.stderr.write(`[plinth] ${line}\n`);
  }

  /** A line for programs, as it is. */
  sayPlain(line: string): void {
    this.#streams.stderr.write(`${line}\n`);
  }

  readonly #setRaw = (): void => {
    if (!this.#closed) (this.#streams.stdin as ReadStream).setRawMode?.(true);
  };

  readonly #restore = (): void => {
    if (!this.#isTerminal) return;
    (this.#streams.stdin as ReadStream).setRawMode?.(false);
    // The guest may have left the cursor hidden or colours on.
    const { stdout } = this.#streams;
    if ((stdout as WriteStream).isTTY && !stdout.destroyed) stdout.write('\x1b[0m\x1b[?25h');
  };

  readonly #onOutputError = (): void => this.#handlers.outputClosed();

  readonly #onInput = (bytes: Uint8Array): void => {
    if (!this.#isTerminal) {
      this.#handlers.input(bytes);
      return;
    }
    for (const part of this.#filter.feed(bytes)) {
      if (typeof part === 'string') this.#act(part);
      else this.#handlers.input(part);
    }
  };

  #act(action: ConsoleAction): void {
    if (action === 'quit') this.#handlers.quit();
    else if (action === 'help') for (const line of keyHelp) this.say(line);
    else if (action === 'stats') {
      for (const line of this.#handlers.stats()) this.say(line);
    } else if (action === 'engine') void this.#handlers.switchEngine().then((line) => this.say(line));
    else this.say('no such key; Ctrl-A H lists them');
  }
}
