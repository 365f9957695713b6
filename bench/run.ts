// Runs the guest programs of bench/guest on the host and in a guest and prints a table: time of the boot, then for
// each line of each program the seconds and the instructions per second.
//
//   node bench/run.ts [--engine interp|bt] [--image debian] [--bits 64,32] [--scale 1] [--append words]
//
// Times of the guest are the processor time of this process, not the clock on the wall: other work on the machine
// then matters less. The host runs each program right before the guest does, for the same reason.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CPU_MODELS } from '../src/hv/cpu-model.ts';
import { addFiles, execWord } from '../src/image/initramfs.ts';
import { loadImage } from '../src/image/pull.ts';
import { compileEngineImage, Machine } from '../src/machine/machine.ts';

const root = join(import.meta.dirname, '..');
const out = join(root, 'build/bench');
const PROGRAMS = ['loops', 'system'] as const;

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'bt' },
    image: { type: 'string', default: 'debian' },
    bits: { type: 'string', default: '64,32' },
    scale: { type: 'string', default: '1' },
    append: { type: 'string', default: 'quiet cryptomgr.notests' },
  },
});

interface Program {
  readonly name: string;
  readonly file: string;
}

/** Builds a program. @throws Error with what gcc said */
function build(program: string, bits: string): Program {
  mkdirSync(out, { recursive: true });
  const name = `${program}${bits}`;
  const file = join(out, name);
  const source = join(root, 'bench/guest', `${program}.c`);
  const gcc = spawnSync('gcc', ['-O2', '-static', `-m${bits}`, '-o', file, source], { encoding: 'utf8' });
  if (gcc.status !== 0) throw new Error(`gcc cannot build ${source} for ${bits} bits: ${gcc.stderr}`);
  return { name, file };
}

/** A line that a program printed: what was measured, its check, and the program's own time. */
interface Line {
  readonly key: string;
  readonly check: string;
  readonly time: number;
}
function parse(program: string, text: string): Line | undefined {
  const match = /^([a-z-]+) (\S+) ([\d.]+)\s*$/.exec(text);
  return match ? { key: `${program} ${match[1]}`, check: match[2]!, time: Number(match[3]) } : undefined;
}

function native(programs: readonly Program[]): Map<string, Line> {
  const lines = new Map<string, Line>();
  for (const { name, file } of programs) {
    for (const text of spawnSync(file, [values.scale], { encoding: 'utf8' }).stdout.split('\n')) {
      const line = parse(name, text);
      if (line) lines.set(line.key, line);
    }
  }
  return lines;
}

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

async function makeMachine(programs: readonly Program[], onLine: (text: string) => void): Promise<Machine> {
  const read = (name: string) => new Uint8Array(readFileSync(join(root, 'build', name)));
  const image = compileEngineImage(
    read('runtime.wasm'),
    read('interpreter.wasm'),
    JSON.parse(readFileSync(join(root, 'build/interpreter.json'), 'utf8')),
  );
  const { kernel, initrd } = await loadImage(values.image);
  const files = programs.map(({ name, file }) => ({ path: `/root/${name}`, bytes: readFileSync(file), mode: 0o755 }));
  const script = programs.map(({ name }) => `echo begin ${name}; ./${name} ${values.scale}`).join('; ');
  let text = '';
  return Machine.create({
    memory: 512 * 2 ** 20,
    kernel,
    initrd: addFiles(initrd, files),
    append: `console=ttyS0 panic=-1 ${values.append} ${execWord(script)}`,
    engine: values.engine === 'interp' ? 'interp' : 'bt',
    cpu: CPU_MODELS[0]!.name,
    log: [],
    logOutput: () => {},
    image,
    serialOutput: (bytes) => {
      text += new TextDecoder().decode(bytes);
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) onLine(line.trim());
    },
  });
}

const programs = values.bits.split(',').flatMap((bits) => PROGRAMS.map((program) => build(program, bits)));
const host = native(programs);
const cell = (value: string | number, width: number): string => String(value).padStart(width);

let machine: Machine | undefined;
let program = '';
let cpu = cpuSeconds();
let instructions = 0;
const wall = performance.now();
const wrong: string[] = [];
const booted = cpu;

machine = await makeMachine(programs, (text) => {
  const now = cpuSeconds();
  const retired = machine!.stats().instructions;
  const mips = ((retired - instructions) / (now - cpu) / 1e6).toFixed(0);
  const begin = /^begin (\S+)$/.exec(text);
  if (begin) {
    if (program === '') {
      const seconds = ((performance.now() - wall) / 1000).toFixed(1);
      console.log(`boot to user space: ${seconds} s, ${(now - booted).toFixed(1)} s of processor time,`);
      console.log(`  ${(retired / 1e6).toFixed(0)} million instructions, ${mips} million a second\n`);
      console.log(
        `${'program'.padEnd(28)}${cell('host', 12)}${cell('guest', 12)}${cell('ratio', 8)}${cell('MIPS', 7)}`,
      );
    }
    program = begin[1]!;
  }
  const line = parse(program, text);
  if (line) {
    const reference = host.get(line.key);
    if (reference?.check !== line.check) wrong.push(`${line.key}: ${line.check}, on the host ${reference?.check}`);
    const ratio = reference && reference.time > 0 ? (line.time / reference.time).toFixed(1) : '';
    const row = [cell(reference?.time ?? '', 12), cell(line.time, 12), cell(ratio, 8), cell(mips, 7)];
    console.log(`${line.key.padEnd(28)}${row.join('')}`);
  }
  cpu = now;
  instructions = retired;
});
const outcome = await machine.run();
if (outcome.kind !== 'poweroff') wrong.push(`the guest ended by ${outcome.kind}`);
for (const line of wrong) console.log(`WRONG ${line}`);
process.exitCode = wrong.length > 0 ? 1 : 0;
