// QEMU without hardware's help, emulating a processor with SVM: starts the outer guest and follows its console.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onEndingSignal } from '../../src/cli/app/signals.ts';
import type { OuterGuest } from './root.ts';

const QEMU = 'qemu-system-x86_64';
/** Of 5-level paging the nested page tables would have to have five levels too. */
const CPU = 'max,+svm,-la57';
/** MiB of translated code: Node.js and what it compiles are much code. */
const TRANSLATIONS = 512;
/**
 * How QEMU's clocks go: with the host's, or by the guest's instructions, 2 ns each, idle time skipped. With the host's, a
 * busy host has the guest do little but handle ticks.
 */
export const CLOCKS = {
  host: ['-accel', `tcg,thread=multi,tb-size=${TRANSLATIONS}`],
  // QEMU counts instructions on one thread only.
  instructions: [
    ...['-accel', `tcg,thread=single,tb-size=${TRANSLATIONS}`],
    ...['-icount', 'shift=1,sleep=off', '-rtc', 'clock=vm'],
  ],
} as const;
export type Clock = keyof typeof CLOCKS;

/** MiB; Node.js is a file in memory, and the inner guest's memory comes on top. */
const MEMORY = 3072;

/** no_timer_check: on a busy host the emulated timer may miss the ticks that the kernel waits for to trust it. */
const KERNEL_WORDS = [
  ...['console=ttyS0', 'panic=-1', 'quiet', 'mitigations=off', 'cryptomgr.notests', 'no_timer_check'],
  // Without a watchdog: a processor that others use stands still for seconds.
  ...['nowatchdog', 'rcupdate.rcu_cpu_stall_suppress=1'],
];
/** Carriage returns, and sequences for a terminal (ECMA-48 5.4), such as the shell's question for the cursor's place. */
const CONTROL = /\r|\x1b\[[0-?]*[ -/]*[@-~]/g;

/** Seconds by the clock, and of processor time that QEMU used, which a busy host changes less. */
export interface Time {
  readonly clock: number;
  readonly processor: number;
}

/** One step of init.sh as it ended. */
export interface StepResult {
  readonly name: string;
  readonly code: number;
  readonly time: Time;
  /** What it printed, line ends as LF. */
  readonly console: string;
}

export interface RunSettings {
  /** Words behind the kernel's own. */
  readonly words: readonly string[];
  readonly clock: Clock;
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
  /** From QEMU's start to the first step; undefined when there was none. */
  readonly boot: Time | undefined;
  /** To the last line. */
  readonly total: Time;
}

/** The version QEMU prints; undefined when there is no QEMU. */
export function qemuVersion(): string | undefined {
  const result = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  return result.status === 0 ? /version (\S+)/.exec(result.stdout)?.[1] : undefined;
}

/** Fields 14 and 15 of /proc/<pid>/stat, user and system time in ticks of 1/100 s (proc(5)); 0 when it is gone. */
function processorSeconds(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

/** Cuts the console into the steps that init.sh marks. */
class StepReader {
  readonly steps: StepResult[] = [];
  current: { name: string; began: Time; lines: string[] } | undefined;
  boot: Time | undefined;
  last: Time = { clock: 0, processor: 0 };
  private readonly started = performance.now();
  private readonly pid: number | undefined;
  private readonly onLine: (line: string) => void;
  private rest = '';

  constructor(pid: number | undefined, onLine: (line: string) => void) {
    this.pid = pid;
    this.onLine = onLine;
  }
  private now(): Time {
    return { clock: (performance.now() - this.started) / 1000, processor: processorSeconds(this.pid) };
  }
  feed(text: string): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    this.last = this.now();
    for (const line of lines) this.line(line.replace(CONTROL, ''));
  }
  private line(line: string): void {
    const mark = /@@ (begin|end) (\w+)(?: (\d+))?$/.exec(line);
    if (mark?.[1] === 'begin') {
      this.boot ??= this.last;
      this.current = { name: mark[2]!, began: this.last, lines: [] };
    } else if (mark && this.current) {
      const { name, began, lines } = this.current;
      // The inner console may end in the middle of a line.
      lines.push(line.slice(0, mark.index));
      const time = { clock: this.last.clock - began.clock, processor: this.last.processor - began.processor };
      this.steps.push({ name, code: Number(mark[3]), time, console: lines.join('\n') });
      this.current = undefined;
    } else this.current?.lines.push(line);
    this.onLine(line);
  }
}

function start(folder: string, { words, clock }: RunSettings): ChildProcess {
  const kernelWords = [...KERNEL_WORDS, ...words].join(' ');
  const args = [
    ...CLOCKS[clock],
    ...['-cpu', CPU, '-m', String(MEMORY)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ...['-kernel', join(folder, 'vmlinuz'), '-initrd', join(folder, 'initramfs.cpio')],
    ...['-append', kernelWords],
  ];
  return spawn(QEMU, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Follows the outer guest to its end. */
async function follow(child: ChildProcess, settings: RunSettings): Promise<OuterRun> {
  const reader = new StepReader(child.pid, settings.onLine);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGKILL');
  }, settings.limit * 1000);
  child.stdout!.setEncoding('utf8').on('data', (text: string) => reader.feed(text));
  try {
    await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
  } finally {
    clearTimeout(timer);
  }
  const { steps, last, boot, current } = reader;
  return { steps, unfinished: current?.name, timedOut, boot, total: last };
}

/**
 * Runs the outer guest to its end. The files it needs are in a temporary folder meanwhile; a signal that ends this
 * process ends QEMU too.
 */
export async function runOuterGuest(guest: OuterGuest, settings: RunSettings): Promise<OuterRun> {
  const folder = mkdtempSync(join(tmpdir(), 'plinth-nested-'));
  let child: ChildProcess | undefined;
  const cleanUp = (): void => {
    child?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', cleanUp);
  const release = onEndingSignal((code) => process.exit(code));
  try {
    writeFileSync(join(folder, 'vmlinuz'), guest.kernel);
    writeFileSync(join(folder, 'initramfs.cpio'), guest.initramfs);
    child = start(folder, settings);
    return await follow(child, settings);
  } finally {
    release();
    process.off('exit', cleanUp);
    cleanUp();
  }
}
