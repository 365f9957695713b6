// A Linux that computes while it is moved between /dev/kvm and the translator, where there is no test runner.
//
//   node tests/hv/run-switches.ts [--switches 6] [--irqchip auto|user] [--timeout 300]
//
// A loop in the guest's background counts its rounds and steps a generator of numbers with each. It is asked for both
// after each switch; how many rounds there were tells which number is right. Ends with 0 when all answers are right and
// the guest powered off, else with 1.
import { parseArgs } from 'node:util';
import { defaultCommandLine } from '../../src/cli/app/kernel.ts';
import { filterCpuid } from '../../src/hv/cpuid-entries.ts';
import { loadEngineImage } from '../../src/hv/kvm/engine-files.ts';
import type { KvmHypervisor } from '../../src/hv/kvm/hypervisor.ts';
import { loadImage } from '../../src/image/pull.ts';
import { Machine } from '../../src/machine/machine.ts';
import { openKvm } from './engines.ts';

/** s' = (s * FACTOR + SUMMAND) mod 2^31; a product fits into the shell's signed 64 bits. */
const FACTOR = 1103515245;
const SUMMAND = 12345;
const LAST_BITS = 0x7fffffff;
/** Between commands the shell handles signals; count and number are one command, so they belong together. */
const LOOP =
  `(i=0 s=1; trap 'echo round $i is $s.' USR1; echo from round $i; ` +
  `while :; do s=$(((s * ${FACTOR} + ${SUMMAND}) & ${LAST_BITS})) i=$((i + 1)); done) &`;
/** Milliseconds for which the guest computes on an engine before it is asked. */
const COMPUTE_MS = 300;
const POLL_MS = 20;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function fail(message: string): never {
  console.error(`\nrun-switches: ${message}`);
  process.exit(1);
}

/** What the guest printed, and how to wait for more of it. */
class Console {
  private text = '';
  private readonly decoder = new TextDecoder();

  add(bytes: Uint8Array): void {
    const piece = this.decoder.decode(bytes, { stream: true });
    this.text += piece;
    process.stdout.write(piece);
  }
  /** Waits for the match number `nth`, from 0. */
  async match(pattern: RegExp, nth: number): Promise<RegExpExecArray> {
    for (;;) {
      const match = [...this.text.matchAll(pattern)][nth];
      if (match) return match;
      await pause(POLL_MS);
    }
  }
}

/** The generator, as far as it was followed. */
class Generator {
  private round = 0;
  private number = 1;

  /** Its number after so many rounds, not fewer than the last time. */
  after(rounds: number): number {
    for (; this.round < rounds; this.round++) {
      this.number = (Math.imul(this.number, FACTOR) + SUMMAND) & LAST_BITS;
    }
    return this.number;
  }
}

async function makeMachine(kvm: KvmHypervisor, engineIrqchip: boolean, screen: Console): Promise<Machine> {
  const { kernel, initrd } = await loadImage('debian');
  return Machine.create({
    memory: 256 << 20,
    kernel,
    initrd,
    append: defaultCommandLine(kernel, 'quiet'),
    engine: 'kvm',
    openVm: (memory) => ({
      vm: kvm.createVmOn(memory),
      filterCpuid: (entries) => filterCpuid(entries, kvm.supportedCpuid()),
      engineIrqchip,
    }),
    cpu: 'v1',
    log: [],
    serialOutput: (bytes) => screen.add(bytes),
    logOutput: () => {},
    image: await loadEngineImage(),
  });
}

/** Moves the machine to the other engine and asks, for the time number `nth`, how far the loop is; returns the rounds. */
async function switchAndAsk(machine: Machine, screen: Console, nth: number, before: number, right: Generator) {
  const began = performance.now();
  await machine.switchEngine(machine.engine === 'kvm' ? 'bt' : 'kvm');
  await pause(COMPUTE_MS);
  // A program of its own, so that the engine also makes and ends a process.
  type(machine, 'kill -USR1 $!; echo up $(cat /proc/uptime).');
  const [, count = '', number = ''] = await screen.match(/round (\d+) is (\d+)\./g, nth);
  const [, up] = await screen.match(/up (\d+\.\d+) [\d.]+\./g, nth);
  const rounds = Number(count);
  if (rounds <= before) fail(`no round on ${machine.engine} since round ${before}`);
  const wanted = right.after(rounds);
  if (Number(number) !== wanted) fail(`round ${rounds} on ${machine.engine} gave ${number}, not ${wanted}`);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`\nright on ${machine.engine}: ${rounds - before} rounds more, up ${up} s, answered after ${seconds} s`);
  return rounds;
}

function type(machine: Machine, line: string): void {
  machine.serialInput(new TextEncoder().encode(`${line}\n`));
}

const { values } = parseArgs({
  options: {
    switches: { type: 'string', default: '6' },
    irqchip: { type: 'string', default: 'auto' },
    timeout: { type: 'string', default: '300' },
  },
});
const kvm = openKvm();
if (typeof kvm === 'string') fail(kvm);
const screen = new Console();
const machine = await makeMachine(kvm, values.irqchip !== 'user', screen);
setTimeout(
  () => fail(`not done after ${values.timeout} s, on ${machine.engine}`),
  Number(values.timeout) * 1000,
).unref();
const outcome = machine.run();
outcome.then(({ kind }) => {
  if (kind !== 'poweroff') fail(`the guest ended: ${kind}`);
});
await screen.match(/^plinth:.*# /gm, 0);
type(machine, LOOP);
await screen.match(/from round 0/g, 0);
const right = new Generator();
let rounds = 0;
for (let i = 0; i < Number(values.switches); i++) rounds = await switchAndAsk(machine, screen, i, rounds, right);
type(machine, 'kill $!; poweroff -f');
const { kind } = await outcome;
console.log(`\n${values.switches} switches, ${rounds} rounds, ${kind}`);
machine.close();
kvm.close();
