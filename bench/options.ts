// The words of `npm run bench`.

import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { BENCHMARKS, CONTESTANTS, contestantName, DEFAULT_CONTESTANTS } from './benchmarks.ts';
import { type Choices, DEFAULT_CHOICES } from './contestants.ts';
import type { Clock } from './samples.ts';

export interface Options {
  /** Names of benchmarks. */
  readonly only: readonly string[];
  /** Names of contestants. */
  readonly contestants: readonly string[];
  readonly rounds: number;
  /** v86 boots for long: it takes part in the first rounds only. */
  readonly v86Rounds: number;
  /** Factor for the amount of work. */
  readonly scale: number;
  readonly clock: Clock;
  readonly json?: string;
  /** Folder in which programs and initramfs stay. */
  readonly keep?: string;
  readonly resume: boolean;
  /** Nothing is run: the document is made of the kept results again. */
  readonly report: boolean;
  /** The results are kept and the document is rewritten: everything was measured, or the user said so. */
  readonly kept: boolean;
  readonly choices: Choices;
}

const benchmarkNames = BENCHMARKS.map(({ name }) => name);
const groupNames = [...new Set(BENCHMARKS.map(({ group }) => group))].filter((group) => group !== 'boot');
const contestantNames = CONTESTANTS.map(contestantName);
const peerNames = [...new Set(CONTESTANTS.map(({ peer }) => peer))];

/** Reads a list of benchmarks and groups. */
function parseOnly(text: string): string[] {
  return text.split(',').flatMap((word) => {
    if (benchmarkNames.includes(word)) return [word];
    const members = BENCHMARKS.filter(({ group }) => group === word).map(({ name }) => name);
    if (members.length > 0) return members;
    throw new InvalidArgumentError(`It takes ${[...groupNames, ...benchmarkNames].join(', ')}.`);
  });
}

/** Reads a list of contestants; a peer alone means all that run by default. */
function parsePeers(text: string): string[] {
  return text.split(',').flatMap((word) => {
    if (contestantNames.includes(word)) return [word];
    const members = CONTESTANTS.filter(({ peer }) => peer === word).map(contestantName);
    const usual = members.filter((name) => DEFAULT_CONTESTANTS.includes(name));
    if (usual.length > 0) return usual;
    throw new InvalidArgumentError(`It takes ${[...peerNames, ...contestantNames].join(', ')}.`);
  });
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1000)) throw new InvalidArgumentError('It takes a number above 0, up to 1000.');
  return value;
}

function parseCount(text: string): number {
  const value = parsePositive(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError('It takes a whole number.');
  return value;
}

const help = `
Benchmarks: ${benchmarkNames.join(', ')}
Groups:     ${groupNames.join(', ')}
Peers:      ${contestantNames.join(', ')};
            without a number both widths, but qemu64 only, which the bars are about

A round starts every contestant once for each set of programs; rounds take turns so that what else the machine does
meets all alike. Every figure is the median of the rounds, taken twice: as the time that passed by the guest's clock
(by the host's where that one is off), and as the processor time of all threads of whoever ran it. On a machine that
does other things, look at the processor time.

A run keeps its results after every start, in build/bench/results.json or the file of --json. --resume goes on where
a run ended, with the same words. A complete run (no --only, --peers, --scale or --quick, 3 rounds at least)
ends by rewriting bench/results/latest.json, docs/performance.svg and the generated part of
docs/performance.md; --report makes the last two from the first again.

Examples:
  npm run bench                                          everything, about 12 minutes
  npm run bench -- --quick                               one round, a third of the work, nothing rewritten
  npm run bench -- --only loops --peers native64,plinth64,qemu64 --rounds 1 --clock cpu
  npm run bench -- --only syscall,exec --peers plinth64,qemu64
  npm run bench -- --plinth /tmp/other/src/cli/main.ts --peers plinth64   another work tree
`;

/** Reads the command line; ends the process with a message when it is wrong. */
export function readOptions(words: readonly string[]): Options {
  const command = new Command('npm run bench --')
    .description('measure Plinth against the host, QEMU and v86, and say which bars are met')
    .option('--only <names>', 'benchmarks or groups, with commas', parseOnly)
    .option('--peers <names>', 'who runs them, with commas', parsePeers)
    .option('--rounds <count>', 'how often each is measured', parseCount)
    .option('--v86-rounds <count>', 'rounds in which v86, which boots for long, takes part', parseCount)
    .option('--scale <factor>', 'amount of work', parsePositive)
    .option('--quick', 'one round with a third of the work')
    .addOption(new Option('--clock <name>', 'what the bars are judged by').choices(['time', 'cpu']).default('time'))
    .option('--json <file>', 'where the results go')
    .option('--keep <folder>', 'where the programs and the RAM disks stay, to run them by hand')
    .option('--resume', 'go on with an earlier run that did not end')
    .option('--record', 'keep the results and rewrite the document though the run is not complete')
    .option('--report', 'run nothing: make docs/performance.md again from bench/results/latest.json')
    .option('--engine <name>', "Plinth's engine", DEFAULT_CHOICES.engine)
    .option('--plinth <file>', "Plinth's main.ts of another work tree")
    .option('--qemu-cpu <model>', "QEMU's CPU model", DEFAULT_CHOICES.qemuCpu)
    .addHelpText('after', help)
    .configureHelp({ helpWidth: 110 });
  command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
  const values = command.parse(words, { from: 'user' }).opts();
  const quick = values.quick === true;
  const choices = { ...DEFAULT_CHOICES, engine: values.engine, qemuCpu: values.qemuCpu };
  const others = values.plinth !== undefined || JSON.stringify(choices) !== JSON.stringify(DEFAULT_CHOICES);
  const partial = quick || others || values.only || values.peers || values.scale || values.rounds < 3;
  const rounds = values.rounds ?? (quick ? 1 : 5);
  return {
    only: values.only ?? benchmarkNames,
    contestants: values.peers ?? DEFAULT_CONTESTANTS,
    rounds,
    v86Rounds: values.v86Rounds ?? Math.min(rounds, 2),
    scale: values.scale ?? (quick ? 0.35 : 1),
    clock: values.clock,
    ...(values.json !== undefined && { json: values.json }),
    ...(values.keep !== undefined && { keep: resolve(values.keep) }),
    resume: values.resume === true,
    report: values.report === true,
    kept: !partial || values.record === true,
    choices: values.plinth === undefined ? choices : { ...choices, plinth: values.plinth },
  };
}
