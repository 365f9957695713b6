// Builds what the softfloat tests compare: the AssemblyScript helpers (as Wasm) and a C program that runs the same
// instructions on the host CPU. Both are cached under build/softfloat by the hash of their inputs.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const cache = join(root, 'build/softfloat');

function hashOf(parts: readonly (string | Buffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 20);
}

function sourcesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile() && item.name.endsWith('.ts'))
    .map((item) => join(item.parentPath, item.name))
    .sort();
}

function run(program: string, args: readonly string[]): void {
  const result = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${program} failed: ${result.stderr || result.error?.message}`);
}

/** Compiles an entry file of src/runtime, given relative to it, and instantiates it with `pages` of memory. */
export async function loadRuntime(entry: string, pages = 4): Promise<{ memory: WebAssembly.Memory; exports: Exports }> {
  mkdirSync(cache, { recursive: true });
  const runtime = join(root, 'src/runtime');
  const files = ['softfloat', 'x87', 'gen'].flatMap((dir) => sourcesBelow(join(runtime, dir)));
  const wasm = join(cache, `${entry.replaceAll('/', '-')}-${hashOf(files.map((file) => readFileSync(file)))}.wasm`);
  if (!existsSync(wasm)) {
    const temporary = `${wasm}.${process.pid}`;
    const options = ['--importMemory', '--runtime', 'stub', '--noAssert', '-O3', '--enable', 'simd'];
    const compiler = join(root, 'node_modules/assemblyscript/bin/asc.js');
    run(process.execPath, [compiler, join('src/runtime', entry), ...options, '--outFile', temporary]);
    renameSync(temporary, wasm);
  }
  const memory = new WebAssembly.Memory({ initial: pages });
  const { instance } = await WebAssembly.instantiate(readFileSync(wasm), { env: { memory } });
  return { memory, exports: instance.exports as unknown as Exports };
}

/** The exported functions by name. */
export type Exports = Readonly<Record<string, (...args: (number | bigint)[]) => number | bigint>>;

/** Why the host cannot be the oracle, or undefined when it can. */
export function hostUnavailable(): string | undefined {
  if (process.arch !== 'x64') return `the host is ${process.arch}, not x64`;
  if (spawnSync('gcc', ['--version']).status !== 0) return 'gcc is missing';
  return undefined;
}

/** Compiles a C program and returns a function that runs it: standard input to standard output. */
export function compileHost(source: string): (input: Buffer) => Buffer {
  mkdirSync(cache, { recursive: true });
  const program = join(cache, `host-${hashOf([source])}`);
  if (!existsSync(program)) {
    writeFileSync(`${program}.c`, source);
    const temporary = `${program}.${process.pid}`;
    run('gcc', ['-O1', '-mno-red-zone', '-mfma', '-mavx', '-w', '-o', temporary, `${program}.c`]);
    renameSync(temporary, program);
  }
  return (input) => {
    const result = spawnSync(program, { input, maxBuffer: 1 << 30 });
    if (result.status !== 0) throw new Error(`host program ended with ${result.status ?? result.signal}`);
    return result.stdout;
  };
}
