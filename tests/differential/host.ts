// The host CPU as an engine: harness.c, compiled at test time into build/, is fed with cases through its stdin.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, REQUEST_SIZE, RESULT_SIZE, type Result, readResult, writeRequest } from './case.ts';
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

/** Flags of /proc/cpuinfo, with the names that the rows use. */
export function hostFeatures(): ReadonlySet<string> {
  const line = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  const flags = new Set(line.trim().split(/\s+/));
  if (flags.has('pni')) flags.add('sse3');
  if (flags.has('abm')) flags.add('lzcnt');
  if (flags.has('cx16')) flags.add('cmpxchg16b');
  if (flags.has('lahf_lm')) flags.add('lahf');
  if (flags.has('pclmulqdq')) flags.add('pclmul');
  for (const name of [...flags]) if (name.includes('_')) flags.add(name.replaceAll('_', '.'));
  for (const name of [...flags]) if (name.includes('_')) flags.add(name.replaceAll('_', ''));
  return flags;
}

/** The host CPU, by a harness that `buildHarness` made. A batch may take `timeout` milliseconds. */
export function hostEngine(path: string, timeout = 60_000): BatchEngine {
  return {
    name: 'host CPU',
    runAll(cases: readonly Omit<Case, 'insn'>[]): Result[] {
      const input = new Uint8Array(cases.length * REQUEST_SIZE);
      cases.forEach((c, i) => {
        writeRequest(input, i * REQUEST_SIZE, c);
      });
      const maxBuffer = cases.length * RESULT_SIZE + 1024;
      const { stdout, status, signal, error } = spawnSync(path, [], { input, maxBuffer, timeout });
      const done = Math.floor(stdout.length / RESULT_SIZE);
      if (done < cases.length) {
        const at = cases[done]!;
        const code = Buffer.from(at.code).toString('hex');
        throw new Error(`harness ended (${error?.message ?? signal ?? status}) at case ${done}, bytes ${code}`);
      }
      return cases.map((_, i) => readResult(stdout, i * RESULT_SIZE));
    },
  };
}
