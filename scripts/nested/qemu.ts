// QEMU without hardware's help, emulating a processor with SVM: starts the outer guest and follows its console.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OuterGuest } from './root.ts';

const QEMU = 'qemu-system-x86_64';
/** Of 5-level paging the nested page tables would have to have five levels too. */
const CPU = 'max,+svm,-la57';
/** MiB; Node.js is a file in memory, and the inner guest's memory comes on top. */
const MEMORY = 3072;
/** MiB of translated code: Node.js and what it compiles are much code. */
const TRANSLATIONS = 512;

/** Carriage returns, and sequences for a terminal (ECMA-48 5.4), such as the shell's question for the cursor's place. */
const CONTROL = /\r|\x1b\[[0-?]*[ -/]*[@-~]/g;

/** One step of init.sh as it ended. */
export interface StepResult {
  readonly name: string;
  readonly code: number;
  readonly seconds: number;
  /** What it printed, line ends as LF. */
  readonly console: string;
}

export interface RunSettings {
  /** Words behind the kernel's own. */
  readonly words: readonly string[];
  /** Seconds after which QEMU is stopped. */
  readonly limit: number;
  readonly onLine: (line: string) => void;
}

/** How the outer guest ended. */
export interface OuterRun {
  readonly steps: readonly StepResult[];
  /** Name of a step that began and did not end. */
  readonly unfinished: string | undefined;
  readonly timedOut: boolean;
  /** Seconds from QEMU's start to the first step. */
  readonly boot: number;
  readonly seconds: number;
}

/** The version QEMU prints; undefined when there is no QEMU. */
export function qemuVersion(): string | undefined {
  const result = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  return result.status === 0 ? /version (\S+)/.exec(result.stdout)?.[1] : undefined;
}

/** Cuts the console into the steps that init.sh marks. */
class StepReader {
  readonly steps: StepResult[] = [];
  current: { name: string; began: number; lines: string[] } | undefined;
  boot = 0;
  private readonly started = performance.now();
  private rest = '';

  get seconds(): number {
    return (performance.now() - this.started) / 1000;
  }
  feed(text: string, onLine: (line: string) => void): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) this.line(line.replace(CONTROL, ''), onLine);
  }
  private line(line: string, onLine: (line: string) => void): void {
    const mark = /@@ (begin|end) (\w+)(?: (\d+))?$/.exec(line);
    if (mark?.[1] === 'begin') {
      if (this.boot === 0) this.boot = this.seconds;
      this.current = { name: mark[2]!, began: this.seconds, lines: [] };
    } else if (mark && this.current) {
      const { name, began, lines } = this.current;
      // The inner console may end in the middle of a line.
      lines.push(line.slice(0, mark.index));
      this.steps.push({ name, code: Number(mark[3]), seconds: this.seconds - began, console: lines.join('\n') });
      this.current = undefined;
    } else this.current?.lines.push(line);
    onLine(line);
  }
}

function start(folder: string, words: readonly string[]): ChildProcess {
  const kernelWords = ['console=ttyS0', 'panic=-1', 'quiet', 'mitigations=off', 'cryptomgr.notests', ...words];
  const args = [
    ...['-accel', `tcg,thread=multi,tb-size=${TRANSLATIONS}`],
    ...['-cpu', CPU, '-m', String(MEMORY)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-kernel', join(folder, 'vmlinuz'), '-initrd', join(folder, 'initramfs.cpio')],
    ...['-append', kernelWords.join(' ')],
  ];
  return spawn(QEMU, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Runs the outer guest to its end. The files it needs are in a temporary folder meanwhile. */
export async function runOuterGuest(guest: OuterGuest, settings: RunSettings): Promise<OuterRun> {
  const folder = await mkdtemp(join(tmpdir(), 'plinth-nested-'));
  try {
    await writeFile(join(folder, 'vmlinuz'), guest.kernel);
    await writeFile(join(folder, 'initramfs.cpio'), guest.initramfs);
    const reader = new StepReader();
    const child = start(folder, settings.words);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, settings.limit * 1000);
    const stop = (): void => {
      child.kill('SIGKILL');
    };
    process.once('exit', stop);
    child.stdout!.setEncoding('utf8').on('data', (text: string) => reader.feed(text, settings.onLine));
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    clearTimeout(timer);
    process.off('exit', stop);
    const { steps, boot, seconds, current } = reader;
    return { steps, unfinished: current?.name, timedOut, boot, seconds };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
