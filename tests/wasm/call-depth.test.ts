// Nothing of Plinth's WebAssembly calls itself, so its stack has a known end: V8 is told to leave out its checks
// (src/cli/app/v8-flags.ts). Tail calls take no stack.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ModuleBuilder } from '../../src/wasm/module.ts';
import { printFunctions } from '../../src/wasm/text.ts';

const root = join(import.meta.dirname, '../..');
execFileSync(process.execPath, [join(root, 'scripts/build.ts')], { cwd: root, stdio: 'pipe' });

/** How deep calls go inside of a module. @throws Error naming the way round when a function calls itself */
function callDepth(module: Uint8Array): number {
  const calls = new Map<string, Set<string>>();
  let callees = new Set<string>();
  for (const line of printFunctions(module)) {
    const [word, name] = line.trim().split(' ');
    if (word === 'func') {
      callees = new Set();
      calls.set(name!, callees);
    }
    if (word === 'call') callees.add(name!);
    if (word === 'call_indirect') throw new Error('a call whose target is not known');
  }
  const depths = new Map<string, number>();
  const depth = (name: string, callers: readonly string[]): number => {
    if (callers.includes(name)) throw new Error([...callers, name].join(' calls '));
    const known = depths.get(name);
    if (known !== undefined) return known;
    const inner = [...(calls.get(name) ?? [])].map((callee) => depth(callee, [...callers, name]));
    depths.set(name, 1 + Math.max(0, ...inner));
    return depths.get(name)!;
  };
  return Math.max(...[...calls.keys()].map((name) => depth(name, [])));
}

/** A module of functions each of which calls another that stands in front of it, or itself. */
function module(calls: readonly (readonly [string, string])[]): Uint8Array {
  const m = new ModuleBuilder();
  m.define('leaf', { params: [], results: [] });
  for (const [name, callee] of calls) {
    const f = m.define(name, { params: [], results: [] });
    f.run(f.call(callee));
  }
  return m.build({ maximumPages: 1, shared: false, table: { type: { params: [], results: [] }, size: 4 } });
}

describe('calls', () => {
  it('are counted, and one that goes round is found', () => {
    const straight = ['b', 'leaf'] as const;
    expect(callDepth(module([straight, ['a', 'b']]))).toBe(3);
    expect(() => callDepth(module([straight, ['a', 'a']]))).toThrow('a calls a');
  });
  it.each(['runtime.wasm', 'interpreter.wasm'])('of %s do not go round', (file) => {
    const depth = callDepth(readFileSync(join(root, 'build', file)));
    expect(depth).toBeGreaterThan(1);
    expect(depth).toBeLessThan(40);
  });
});
