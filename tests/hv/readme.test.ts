// The example of the README runs as it stands there, on every engine that the host has; examples/ has the same.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openKvm } from './engines.ts';

const root = join(import.meta.dirname, '../..');
const read = (name: string): string => readFileSync(join(root, name), 'utf8');
const blocks = [...read('README.md').matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((m) => m[1]!);
const example = blocks.find((code) => code.includes('openHypervisor')) ?? '';

const kvm = openKvm();
if (typeof kvm === 'string') console.log(`the README's example on /dev/kvm skipped: ${kvm}`);
else kvm.close();
const END = /halted at 0x[0-9a-f]+ on the (\w+) engine/;

describe('the example of the README', () => {
  it('is about 30 lines', () => {
    expect(example.split('\n').length).toBeGreaterThan(10);
    expect(example.split('\n').length).toBeLessThan(35);
  });
  it('is the one in examples/', () => {
    // Without comments on their own lines, formatters' marks, and with the path that a file in the repository takes.
    const bare = (code: string): string =>
      code
        .replace('../src/hv/index.ts', 'plinth/hv')
        .replace(/^\/\/.*\n/gm, '')
        .replace(/ \/\/ biome-ignore.*$/gm, '')
        .trim();
    expect(bare(read('examples/hv-hello.ts'))).toBe(bare(example));
  });
  it.for(['soft', 'kvm'])('runs on %s', (engine) => {
    if (engine === 'kvm' && typeof kvm === 'string') return;
    // As a module of this package, so that its name resolves; -e leaves the script's place in argv to the caller.
    const args = ['--input-type=module-typescript', '--eval', example, 'example', engine];
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^5\n/);
    expect(END.exec(stdout)?.[1]).toBe(engine);
  });
});
