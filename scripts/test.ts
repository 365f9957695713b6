// The one gate: format and lint, types, layers, build, tests. Stops at the first step that fails.
//
//   npm test                          everything
//   npm test -- --only=types,layers   some steps
//   npm test -- tests/devices         arguments that are no option go to vitest

import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';

const root = join(import.meta.dirname, '..');
const bin = join(root, 'node_modules/.bin');

interface Step {
  readonly name: string;
  readonly command: readonly string[];
}

const steps: readonly Step[] = [
  { name: 'format', command: ['biome', 'check', '--error-on-warnings', '.'] },
  { name: 'types', command: ['tsc', '-p', '.'] },
  { name: 'layers', command: ['node', 'scripts/check-layers.ts'] },
  { name: 'build', command: ['node', 'scripts/build.ts'] },
  { name: 'tests', command: ['vitest', 'run'] },
];

function chosenSteps(args: readonly string[]): Step[] {
  const only = args
    .find((arg) => arg.startsWith('--only='))
    ?.slice('--only='.length)
    .split(',');
  const unknown = only?.filter((name) => !steps.some((step) => step.name === name)) ?? [];
  if (unknown.length > 0) {
    console.error(`test: no step named ${unknown.join(', ')}; the steps are ${steps.map((s) => s.name).join(', ')}`);
    process.exit(2);
  }
  return steps.filter((step) => only === undefined || only.includes(step.name));
}

/** Runs one step with the tools and the Node of node_modules first in PATH. */
function runStep(step: Step, extra: readonly string[]): void {
  console.log(`\n▶ ${step.name}: ${[...step.command, ...extra].join(' ')}`);
  const started = performance.now();
  const [program = '', ...args] = step.command;
  const result = spawnSync(join(bin, program), [...args, ...extra], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ''}` },
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (result.status !== 0) {
    const why = result.error ? `: ${result.error.message}` : '';
    console.error(`✗ ${step.name} failed after ${seconds} s${why}`);
    process.exit(1);
  }
  console.log(`✓ ${step.name} ${seconds} s`);
}

const args = process.argv.slice(2);
const started = performance.now();
for (const step of chosenSteps(args)) {
  runStep(step, step.name === 'tests' ? args.filter((arg) => !arg.startsWith('--only=')) : []);
}
console.log(`\nall green in ${((performance.now() - started) / 1000).toFixed(1)} s`);
