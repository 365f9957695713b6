// Builds what is not run from source: the AssemblyScript runtime, src/runtime/index.ts -> build/runtime.wasm.
//
// The build is skipped when its inputs (sources, compiler options, compiler version) have the hash that the
// last build recorded, and its output appears by rename, so builds that run side by side do not hurt each other.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { firstStart } from './first-start.ts';

const root = join(import.meta.dirname, '..');
const sourceDir = join(root, 'src/runtime');
const entry = join(sourceDir, 'index.ts');
const outDir = join(root, 'build');
const output = join(outDir, 'runtime.wasm');
const stamp = join(outDir, 'runtime.hash');
const compiler = join(root, 'node_modules/assemblyscript');

/** First byte of machine memory that the runtime's own static data may use. */
const RUNTIME_MEMORY_BASE = 1024;

const options = [
  '--importMemory',
  ...['--runtime', 'stub'],
  ...['--enable', 'simd'],
  '-O3',
  '--noAssert',
  // AS112: v128 values cannot pass to JavaScript; they pass between WebAssembly modules only.
  ...['--disableWarning', '112'],
  ...['--memoryBase', String(RUNTIME_MEMORY_BASE)],
];

/** Every file below `dir`, sorted by path, so that the hash does not depend on the file system's order. */
function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile())
    .map((item) => join(item.parentPath, item.name))
    .sort();
}

function inputHash(): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify(options));
  hash.update(readFileSync(join(compiler, 'package.json')));
  for (const file of filesBelow(sourceDir)) {
    hash.update(`\0${relative(root, file)}\0`);
    hash.update(readFileSync(file));
  }
  return hash.digest('hex');
}

function buildRuntime(): void {
  if (!existsSync(entry)) {
    console.log('build: no src/runtime/index.ts, nothing to compile');
    return;
  }
  const hash = inputHash();
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) {
    console.log('build: build/runtime.wasm is up to date');
    return;
  }
  mkdirSync(outDir, { recursive: true });
  const started = performance.now();
  const temporary = join(outDir, `runtime.${process.pid}.wasm`);
  const result = spawnSync(
    process.execPath,
    [join(compiler, 'bin/asc.js'), relative(root, entry), '--outFile', relative(root, temporary), ...options],
    { cwd: root, stdio: 'inherit' },
  );
  if (result.status !== 0) {
    rmSync(temporary, { force: true });
    console.error('build: the AssemblyScript compiler refused src/runtime; its messages are above');
    process.exit(1);
  }
  renameSync(temporary, output);
  writeFileSync(`${stamp}.${process.pid}`, hash);
  renameSync(`${stamp}.${process.pid}`, stamp);
  console.log(`build: build/runtime.wasm in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

/** The interpreter: a module generated from the instruction rows, and the index of its handlers. */
async function buildInterpreterModule(): Promise<void> {
  const hash = createHash('sha256');
  for (const dir of ['src/isa', 'src/wasm', 'src/engine']) {
    for (const file of filesBelow(join(root, dir))) hash.update(readFileSync(file));
  }
  const digest = hash.digest('hex');
  const stampFile = join(outDir, 'interpreter.hash');
  const wasm = join(outDir, 'interpreter.wasm');
  if (existsSync(wasm) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === digest) {
    console.log('build: build/interpreter.wasm is up to date');
    return;
  }
  mkdirSync(outDir, { recursive: true });
  const started = performance.now();
  const { ROWS } = await import('../src/isa/rows.ts');
  const { buildInterpreter } = await import('../src/engine/interp/module.ts');
  const built = buildInterpreter(ROWS, { maximumPages: 65536, shared: false });
  const { handlers, fusion } = built;
  replace(join(outDir, 'interpreter.json'), JSON.stringify({ pairs: [...handlers].flat(), fusion }));
  replace(wasm, built.bytes);
  replace(stampFile, digest);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const size = (built.bytes.length / 1024).toFixed(0);
  console.log(`build: build/interpreter.wasm in ${seconds} s, ${built.handlers.size} shapes, ${size} KiB`);
}

/** Writes a file so that it appears whole or not at all. */
function replace(file: string, content: string | Uint8Array): void {
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, content);
  renameSync(temporary, file);
}

await import('./gen-layout.ts');
buildRuntime();
await buildInterpreterModule();
firstStart(root);
