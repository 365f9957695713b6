// A whole machine changes engine while its guest computes, takes interrupts of three devices, and sleeps: what it
// computes is right, and no timer stops.
import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { filterCpuid } from '../../src/hv/cpuid-entries.ts';
import { loadEngineImage } from '../../src/hv/kvm/engine-files.ts';
import { Machine, type Outcome } from '../../src/machine/machine.ts';
import { build } from '../guests/guest.ts';
import { Random, seedOf } from '../isa/random.ts';
import { openKvm } from './engines.ts';

const kvm = openKvm();
if (typeof kvm === 'string') console.log(`machines that change engine skipped: ${kvm}`);
afterAll(() => {
  if (typeof kvm !== 'string') kvm.close();
});
// The kernel is 64-bit code in the 32-bit ELF file that multiboot asks for.
const link = [
  '-nostdlib',
  '-no-pie',
  '-Wl,-n,-Ttext=0x200000,--build-id=none,--no-warn-rwx-segments,--oformat=elf32-i386',
];
const kernel = typeof kvm === 'string' ? undefined : build('tests/guests/kernels/switch.S', 64, ...link);
const image = await loadEngineImage();

const TABLE = 0x1000;
const PRIME = 0x01000193;
const HZ = 50;
const ECHO_EVERY = 10;

/** What the guest computes in so many rounds. */
function digest(rounds: number): number {
  const table = new Int32Array(TABLE);
  let eax = 0;
  for (let ecx = 0; ecx < rounds; ecx++) {
    eax ^= table[ecx % TABLE]!;
    eax = Math.imul((eax << 5) | (eax >>> 27), PRIME) + ecx;
    table[ecx % TABLE] = eax;
    eax |= 0;
  }
  return eax >>> 0;
}

interface Running {
  readonly machine: Machine;
  readonly outcome: Promise<Outcome>;
  readonly output: () => string;
}
async function start(engine: 'bt' | 'kvm', engineIrqchip: boolean): Promise<Running> {
  if (typeof kvm === 'string') throw new Error(kvm);
  let text = '';
  const machine = await Machine.create({
    memory: 16 << 20,
    kernel: readFileSync(kernel!),
    append: '',
    engine,
    openVm: (memory) => ({
      vm: kvm.createVmOn(memory),
      filterCpuid: (entries) => filterCpuid(entries, kvm.supportedCpuid()),
      engineIrqchip,
    }),
    cpu: 'v1',
    log: [],
    serialOutput: (bytes) => {
      text += new TextDecoder().decode(bytes);
    },
    logOutput: () => {},
    image,
  });
  return { machine, outcome: machine.run(), output: () => text };
}
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Moves the machine to and fro at random moments. @returns how often */
async function shuffle({ machine }: Running, random: Random, times: number, each: (i: number) => void): Promise<void> {
  for (let i = 0; i < times; i++) {
    await sleep(1 + random.below(machine.engine === 'kvm' ? 12 : 5));
    const to = machine.engine === 'kvm' ? 'bt' : 'kvm';
    await machine.switchEngine(to);
    expect(machine.engine).toBe(to);
    each(i);
  }
}

describe.skipIf(!kernel).for([
  ['bt', true],
  ['kvm', false],
] as const)('a machine that starts on %s, controllers in the kernel: %s', ([engine, engineIrqchip]) => {
  it('computes right and keeps its timers', { timeout: 600_000 }, async () => {
    const random = new Random(seedOf(`machine ${engine}`));
    const running = await start(engine, engineIrqchip);
    const began = performance.now();
    const { machine, output } = running;
    await sleep(300);
    let typed = '';
    await shuffle(running, random, 100, (i) => {
      if (i % ECHO_EVERY !== 0) return;
      const letter = String.fromCharCode(97 + ((i / ECHO_EVERY) % 16));
      typed += letter;
      machine.serialInput(new TextEncoder().encode(letter));
    });
    machine.serialInput(new TextEncoder().encode('q'));
    // It sleeps now, for 400 ms of its timer.
    await shuffle(running, random, 10, () => {});
    const outcome = await Promise.race([running.outcome, sleep(300_000).then(() => 'no end' as const)]);
    const seconds = (performance.now() - began) / 1000;
    expect({ outcome, output: output() }).toMatchObject({ outcome: { kind: 'debug-exit', value: 0x21 } });
    const [echo, rounds, sum, pit, apic] = output().split(' ');
    expect(echo).toBe(typed);
    expect(sum).toBe(digest(Number.parseInt(rounds!, 16)).toString(16).padStart(8, '0'));
    // A busy host loses some, but of both alike.
    const [byPit, byApic] = [pit, apic].map((count) => Number.parseInt(count!, 16) / HZ) as [number, number];
    console.log(`${engine} first: ${seconds.toFixed(2)} s, ${byPit} by the PIT, ${byApic} by the APIC`);
    for (const [counted, other] of [
      [byPit, byApic],
      [byApic, byPit],
    ] as const) {
      expect(counted).toBeGreaterThan(Math.max(seconds * 0.2, other * 0.7));
      expect(counted).toBeLessThan(seconds * 1.1);
    }
    machine.close();
  });
});

it('has one engine when it was made so', async () => {
  if (!kernel) return;
  const machine = await Machine.create({
    memory: 16 << 20,
    kernel: readFileSync(kernel),
    append: '',
    engine: 'bt',
    cpu: 'v1',
    log: [],
    serialOutput: () => {},
    logOutput: () => {},
    image,
  });
  await expect(machine.switchEngine('kvm')).rejects.toThrow('one engine');
});
