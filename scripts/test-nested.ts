// Linux on `--engine kvm` where the processor carries the guest's kernel out, shown on any machine: QEMU emulates a
// processor with SVM, a Debian with KVM runs on it, and Plinth boots Debian's cloud kernel there. Small guests in all modes
// and a Linux moved between the engines run there too.
//
//   npm run test:nested                         200 s of processor time
//   npm run test:nested -- --steps modules,doctor,exec
//   npm run test:nested -- --fresh              fetch the packages again
//   npm run test:nested -- --kvm-amd npt=0      options of the module kvm_amd
//   npm run test:nested -- --append ""          the inner kernel's whole log; the default is "quiet"
//
// Ends with 0 when every step came out as docs/nested.md says, else 1.

import { parseArgs } from 'node:util';
import { pullProgress } from '../src/cli/app/progress.ts';
import { PROGRAMS } from '../tests/hv/programs.ts';
import { outerParts } from './nested/packages.ts';
import {
  CLOCKS,
  type Clock,
  type OuterRun,
  qemuVersion,
  runOuterGuest,
  type StepResult,
  type Time,
} from './nested/qemu.ts';
import { buildOuterGuest } from './nested/root.ts';

/** What a step must show; returns what is wrong, or nothing. */
const CHECKS: Readonly<Record<string, (console: string) => string | undefined>> = {
  modules: (text) => missing(text, /^c.*\/dev\/kvm$/m, 'no /dev/kvm'),
  node: (text) => missing(text, /^v24\./m, 'no Node.js 24'),
  doctor: emulated,
  readme: (text) => missing(text, /^5\nhalted at 0x\w+ on the kvm engine$/m, 'the guest printed no 5'),
  programs: samePrograms,
  switch: rightOnBoth,
  exec: (text) => missing(text, /^Linux plinth \S*-cloud-amd64 /m, 'no uname of the inner kernel'),
  shell: (text) => missing(text, /^plinth:.*# uname -a\nLinux plinth \S*-cloud-amd64 /m, 'no uname typed at the shell'),
};

/** Times of a busy host say little, their ratio does: an emulated kernel takes a thousand times what user code takes. */
const EMULATED_RATIO = 20;

/** What is wrong with doctor's line about /dev/kvm when the processor is to run kernel code itself. */
function emulated(text: string): string | undefined {
  const [, kernel, user] = /^\w+ +\/dev\/kvm .*kernel code ([\d.]+) ns.*user code ([\d.]+) ns/m.exec(text) ?? [];
  if (kernel === undefined || user === undefined) return 'no times of /dev/kvm';
  if (Number(kernel) === 0) return 'the time of kernel code was not measured';
  return Number(kernel) < EMULATED_RATIO * Number(user) ? undefined : 'kernel code is emulated';
}

/** What is wrong with the lines of tests/hv/run-programs.ts, which must name all its guests and find no difference. */
function samePrograms(text: string): string | undefined {
  const lines = text.split('\n');
  const lacking = PROGRAMS.map(({ mode, name }) => `same: ${mode}: ${name}`).find((line) => !lines.includes(line));
  return lacking === undefined ? undefined : `no line "${lacking}"`;
}

/** What is wrong with the lines of tests/hv/run-switches.ts: right answers from both engines in turns, and the end. */
function rightOnBoth(text: string): string | undefined {
  const engines = [...text.matchAll(/^right on (bt|kvm): [1-9]\d* rounds more/gm)].map((match) => match[1]);
  const [, switches] = /^(\d+) switches, \d+ rounds, poweroff$/m.exec(text) ?? [];
  if (switches === undefined) return 'the guest did not power off';
  const turns = engines.every((engine, i) => engine === (i % 2 === 0 ? 'bt' : 'kvm'));
  return turns && engines.length >= 2 && engines.length === Number(switches) ? undefined : `answers: ${engines}`;
}

function missing(text: string, pattern: RegExp, what: string): string | undefined {
  return pattern.test(text) ? undefined : what;
}

/** The other one, a script in place of the shell, boots once more and shows little more. */
const DEFAULT_STEPS = ['modules', 'node', 'doctor', 'readme', 'programs', 'shell', 'switch'];

function fail(message: string, code = 1): never {
  console.error(`test:nested: ${message}`);
  process.exit(code);
}

interface Settings {
  readonly steps: readonly string[];
  readonly fresh: boolean;
  readonly clock: Clock;
  /** Seconds. */
  readonly limit: number;
  /** Words that init.sh reads. */
  readonly words: readonly string[];
}

const OPTIONS = {
  steps: { type: 'string', default: DEFAULT_STEPS.join(',') },
  fresh: { type: 'boolean', default: false },
  'kvm-amd': { type: 'string', default: '' },
  append: { type: 'string', default: 'quiet' },
  clock: { type: 'string', default: 'instructions' },
  minutes: { type: 'string', default: '60' },
} as const;

function parsed() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    const names = Object.keys(OPTIONS).map((name) => `--${name}`);
    fail(`${(error as Error).message.replace(/\.[\s\S]*$/, '')}; the options are ${names.join(', ')}`, 2);
  }
}

function settings(): Settings {
  const values = parsed();
  const steps = values.steps.split(',');
  const unknown = steps.filter((name) => !Object.hasOwn(CHECKS, name));
  if (unknown.length > 0) {
    fail(`no step named ${unknown.join(', ')}; the steps are ${Object.keys(CHECKS).join(', ')}`, 2);
  }
  const clock = (Object.keys(CLOCKS) as Clock[]).find((name) => name === values.clock);
  if (!clock) fail(`no clock ${values.clock}; the clocks are ${Object.keys(CLOCKS).join(', ')}`, 2);
  const limit = Number(values.minutes) * 60;
  if (!(limit > 0)) fail('--minutes takes a number above 0', 2);
  // A machine that hangs is ended before the outer guest is, so that its console is seen.
  const word = { steps: steps.join('+'), timeout: String(Math.ceil(limit * 0.7)) };
  const joined = (text: string): string => text.trim().replace(/\s+/g, '+');
  const more = { kvm_amd: joined(values['kvm-amd']), append: joined(values.append) };
  const words = Object.entries({ ...word, ...more }).filter(([, value]) => value !== '');
  return { steps, fresh: values.fresh, clock, limit, words: words.map(([name, value]) => `nested.${name}=${value}`) };
}

const seconds = ({ clock, processor }: Time): string =>
  `${clock.toFixed(0)} s (${processor.toFixed(0)} s of processor)`;

/** One line for a step; false when it failed. */
function report(step: StepResult): boolean {
  const wrong = step.code === 0 ? CHECKS[step.name]?.(step.console) : `exit code ${step.code}`;
  console.log(`${wrong ? '✗' : '✓'} ${step.name} ${seconds(step.time)}${wrong ? `: ${wrong}` : ''}`);
  return wrong === undefined;
}

function verdict(run: OuterRun, wanted: readonly string[]): number {
  console.log(run.boot ? `\n  outer guest up after ${seconds(run.boot)}` : '\n✗ the outer guest did not come up');
  const good = run.steps.filter(report).map((step) => step.name);
  const bad = wanted.filter((name) => !good.includes(name));
  if (bad.length === 0) {
    console.log(`test:nested: all green in ${seconds(run.total)}`);
    return 0;
  }
  const why = run.timedOut ? `, stopped in ${run.unfinished ?? 'the boot'} by the time limit` : '';
  console.error(`test:nested: failed: ${bad.join(', ')}${why}`);
  return 1;
}

const { steps, fresh, clock, limit, words } = settings();
const version = qemuVersion();
if (!version) fail('no qemu-system-x86_64 here; install the package qemu-system-x86');
const onProgress = pullProgress(process.stderr);
try {
  const parts = await outerParts(onProgress, fresh);
  const guest = await buildOuterGuest(parts, onProgress);
  const size = (guest.initramfs.length / 2 ** 20).toFixed(0);
  console.log(`QEMU ${version}, outer guest of ${parts.packages.join(', ')}; initramfs ${size} MiB`);
  const started = performance.now();
  const onLine = (line: string): void => {
    console.log(`${((performance.now() - started) / 1000).toFixed(0).padStart(5)} | ${line}`);
  };
  process.exitCode = verdict(await runOuterGuest(guest, { words, clock, limit, onLine }), steps);
} catch (error) {
  fail((error as Error).message);
}
