// The host CPU as an engine: harness.c, compiled at test time into build/, is fed with files of cases.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Batch, LDT, RESULT_SIZE, Results } from './case.ts';
import type { BatchEngine } from './engine.ts';

const SOURCE = join(import.meta.dirname, 'harness.c');
const BUILD = join(import.meta.dirname, '../../build');

/** Builds the harness, if it is older than its source. Gives the program's path, or why there is none. */
export function buildHarness(bits: 32 | 64): { path: string } | { missing: string } {
  if (process.platform !== 'linux' || process.arch !== 'x64') return { missing: 'the host is not x86-64 Linux' };
  const path = join(BUILD, `harness${bits}`);
  if (existsSync(path) && statSync(path).mtimeMs > statSync(SOURCE).mtimeMs) return { path };
  mkdirSync(BUILD, { recursive: true });
  const made = `${path}.${process.pid}`;
  try {
    execFileSync('gcc', [`-m${bits}`, '-O2', '-Wall', '-fno-pie', '-no-pie', '-o', made, SOURCE], { stdio: 'pipe' });
    execFileSync('mv', [made, path]);
  } catch (e) {
    return { missing: `gcc -m${bits}: ${e instanceof Error ? e.message.split('\n')[0] : e}` };
  }
  return { path };
}

const LDT_ARGUMENTS = LDT.map((d) => `=${d.toString(16)}`);

/** Whether the host's kernel lets programs have an LDT; the harness cannot run without the descriptors otherwise. */
let hasLdt: boolean | undefined;
function ldtArguments(): readonly string[] {
  if (hasLdt === undefined) {
    const built = buildHarness(64);
    hasLdt = 'path' in built && spawnSync(built.path, LDT_ARGUMENTS, { stdio: 'ignore' }).status === 0;
  }
  return hasLdt ? LDT_ARGUMENTS : [];
}

/** Flags of /proc/cpuinfo, with the names that the rows use; `ldt` where programs may have one. */
export function hostFeatures(): ReadonlySet<string> {
  const line = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  const flags = new Set(line.trim().split(/\s+/));
  if (flags.has('pni')) flags.add('sse3');
  if (flags.has('abm')) flags.add('lzcnt');
  if (flags.has('sha_ni')) flags.add('sha');
  if (flags.has('cx16')) flags.add('cmpxchg16b');
  if (flags.has('lahf_lm')) flags.add('lahf');
  if (flags.has('pclmulqdq')) flags.add('pclmul');
  if (ldtArguments().length > 0) flags.add('ldt');
  for (const name of [...flags]) if (name.includes('_')) flags.add(name.replaceAll('_', '.'));
  for (const name of [...flags]) if (name.includes('_')) flags.add(name.replaceAll('_', ''));
  return flags;
}

/** The harness reads and writes files, because pipes cost more than the cases. In memory where the host has that. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** Runs the harness on the records of a batch; gives how many results there are, and why not more. */
function runHarness(
  path: string,
  batch: Batch,
  results: Results,
  args: readonly string[],
  timeout: number,
): [number, string] {
  const name = join(SCRATCH, `plinth-${process.pid}-${Math.random().toString(36).slice(2)}`);
  writeFileSync(`${name}.in`, batch.bytes);
  const [input, output] = [openSync(`${name}.in`, 'r'), openSync(`${name}.out`, 'w+')];
  try {
    const { status, signal, error } = spawnSync(path, args, { stdio: [input, output, 'inherit'], timeout });
    const bytes = readSync(output, results.bytes, 0, results.bytes.length, 0);
    return [Math.floor(bytes / RESULT_SIZE), `${error?.message ?? signal ?? status}`];
  } finally {
    for (const fd of [input, output]) closeSync(fd);
    for (const file of [`${name}.in`, `${name}.out`]) rmSync(file, { force: true });
  }
}

/** The host CPU, by a harness that `buildHarness` made. A batch may take `timeout` milliseconds. */
export function hostEngine(path: string, timeout = 60_000): BatchEngine {
  const ldt = ldtArguments();
  return {
    name: 'host CPU',
    runAll(batch: Batch): Results {
      const results = new Results(batch.count);
      const [done] = runHarness(path, batch, results, ldt, timeout);
      if (done < batch.count) {
        // Once more with nothing kept in buffers, to find the case.
        const [last, why] = runHarness(path, batch, results, [...ldt, 'unbuffered'], timeout);
        const code = Buffer.from(batch.code(Math.min(last, batch.count - 1))).toString('hex');
        throw new Error(`harness ended (${why}) at case ${last} of ${batch.count}, bytes ${code}`);
      }
      results.normalize();
      return results;
    },
  };
}
