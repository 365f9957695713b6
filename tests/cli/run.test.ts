// `plinth run` around a stand-in for the machine: exit codes, signals, timeouts, files, back-pressure.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { afterAll, describe, expect, it } from 'vitest';
import type { Streams } from '../../src/cli/app/console.ts';
import type { MachineFactory, MachineOptions, Outcome } from '../../src/cli/app/contract.ts';
import { type RunOptions, runMachine } from '../../src/cli/app/run.ts';
import { root, start } from './process.ts';

const folder = mkdtempSync(join(tmpdir(), 'plinth-run-'));
const kernel = join(folder, 'kernel');
writeFileSync(kernel, 'not a kernel, but the stand-in does not mind');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fakeRun = join(root, 'tests/cli/fixtures/fake-run.ts');

describe('a run as a process', () => {
  it.each([
    ['p', 0],
    ['r', 3],
    ['t', 3],
    ['d', 11],
  ])('ends after %j with %i', async (input, code) => {
    const result = await start(fakeRun, [kernel], { input });
    expect(result).toMatchObject({ code, stdout: `running\n${input.toUpperCase()}` });
  });

  it('goes on at the end of input and stops at the time limit', async () => {
    const result = await start(fakeRun, [kernel, '0.2'], { input: 'hello \x01x\n' });
    expect(result).toMatchObject({ code: 124, stdout: 'running\nHELLO \x01X\n' });
    expect(result.stderr).toBe('[plinth] stopped after 0.2 s, the time limit\n');
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('ends on %s with %i', async (signal, code) => {
    let sent = false;
    const result = await start(fakeRun, [kernel], {
      onOutput: (text, child) => {
        if (!sent && text.includes('running')) sent = child.kill(signal);
      },
    });
    expect(result).toMatchObject({ code, stdout: 'running\n', stderr: '' });
  });

  it('reports a bug in one line', async () => {
    const result = await start(fakeRun, [kernel], { input: '!', env: { PLINTH_DEBUG: '' } });
    expect(result.code).toBe(1);
    expect(result.stderr).toBe('plinth: internal error: a bug; set PLINTH_DEBUG=1 and report what it prints\n');
  });

  it('ends when the reader of its output is gone', async () => {
    const child = spawn(process.execPath, [fakeRun, kernel], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.stdout.destroy();
    child.stdin.write('echo');
    expect((await once(child, 'exit'))[0]).toBe(1);
  });

  it.each([
    [['/nonexistent/k'], 'plinth: --kernel /nonexistent/k does not exist; give the path of a readable file\n'],
    [[folder], `plinth: --kernel ${folder} is a folder; give the path of a readable file\n`],
  ])('refuses %j', async (args, line) => {
    const { code, stderr, stdout } = await start(fakeRun, args, { input: '', env: { PLINTH_DEBUG: '' } }).catch(
      (e) => e,
    );
    expect({ code, stderr, stdout }).toEqual({ code: 1, stderr: line, stdout: '' });
  });
});

/** Streams of a test: what is written is collected; `hold` keeps stdout from taking anything until `release`. */
function makeStreams(hold = false) {
  const written: Buffer[] = [];
  let release = () => {};
  const gate = hold ? new Promise<void>((resolve) => (release = resolve)) : Promise.resolve();
  const stdout = new Writable({
    highWaterMark: 1024,
    write(chunk: Buffer, _encoding, callback) {
      gate.then(() => {
        written.push(chunk);
        callback();
      });
    },
  });
  const stdin = new PassThrough();
  const streams = { stdin, stdout, stderr: new PassThrough() } as unknown as Streams;
  return { streams, stdin, written, release: () => release() };
}

const defaults: RunOptions = { kernel, memory: 2 ** 26, engine: 'interp', log: ['int'], cpu: 'default' };

describe('a run in this process', () => {
  it('hands the options to the machine', async () => {
    let seen: MachineOptions | undefined;
    const factory: MachineFactory = {
      create: async (options) => {
        seen = options;
        return { serialInput() {}, run: async () => ({ kind: 'poweroff' }), stats: () => ({}) };
      },
    };
    const options = { ...defaults, initrd: kernel, append: 'a b' };
    expect(await runMachine(options, async () => factory, makeStreams().streams)).toBe(0);
    expect(seen).toMatchObject({ memory: 2 ** 26, engine: 'interp', log: ['int'], cpu: 'default', append: 'a b' });
    expect(seen?.initrd).toEqual(seen?.kernel);
  });

  it('pauses the guest while nobody reads, and loses nothing', async () => {
    const { streams, written, release } = makeStreams(true);
    const piece = new Uint8Array(1 << 18).fill(0x2e);
    let sent = 0;
    let runs = 0;
    const total = 32;
    const factory: MachineFactory = {
      create: async (options) => ({
        serialInput() {},
        stats: () => ({}),
        async run({ signal }): Promise<Outcome> {
          runs++;
          while (sent < total) {
            if (signal?.aborted) return { kind: 'stopped' };
            options.serialOutput(piece);
            sent++;
          }
          return { kind: 'poweroff' };
        },
      }),
    };
    const ended = runMachine(defaults, async () => factory, streams);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sent).toBeLessThan(8);
    release();
    expect(await ended).toBe(0);
    expect(runs).toBeGreaterThan(1);
    expect(written.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(total * piece.length);
  });

  it('refuses files larger than the memory, and empty ones', async () => {
    const big = join(folder, 'big');
    writeFileSync(big, new Uint8Array(2 ** 24 + 1));
    const empty = join(folder, 'empty');
    writeFileSync(empty, '');
    const never = async (): Promise<MachineFactory> => ({
      create: () => Promise.reject(new Error('must not be reached')),
    });
    const run = (options: Partial<RunOptions>) => runMachine({ ...defaults, ...options }, never, makeStreams().streams);
    await expect(run({ initrd: big, memory: 2 ** 24 })).rejects.toThrow(/--initrd .* is larger than .*16M.*--memory/);
    await expect(run({ kernel: empty })).rejects.toThrow(/is empty; /);
  });

  it('turns a machine that gives up into a host error with advice', async () => {
    const factory: MachineFactory = {
      create: async () => ({
        serialInput() {},
        run: async () => ({ kind: 'error', message: 'no such opcode' }),
        stats: () => ({}),
      }),
    };
    await expect(runMachine(defaults, async () => factory, makeStreams().streams)).rejects.toThrow('no such opcode; ');
  });
});
