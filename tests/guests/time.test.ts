// Time on the whole machine: it keeps to the host's while the guest computes or rests, or counts instructions and gives
// the same run twice.
import { describe, expect, it } from 'vitest';
import { plinth, type Result } from '../cli/process.ts';
import { build } from './guest.ts';

const link = ['-nostdlib', '-Wl,-n,-Ttext=0x200000,--build-id=none,--no-warn-rwx-segments'];
const kernel = build('tests/guests/kernels/time.S', 32, ...link);

const run = (letter: string, ...options: string[]): Promise<Result> =>
  plinth(['run', '--kernel', kernel!, '--append', letter, '--memory', '32M', '--timeout', '60', ...options], {
    input: '',
  });
const statOf = ({ stderr }: Result) => JSON.parse(stderr.trim().split('\n').at(-1)!);

describe.skipIf(!kernel)('guest time', () => {
  it.each([
    ['i', 'interp'],
    ['b', 'interp'],
    ['b', 'bt'],
  ])('counts 50 ticks of 10 ms as half a second (%s, %s)', async (letter, engine) => {
    const result = await run(letter, '--engine', engine, '--stat=json');
    const stat = statOf(result);
    expect(result.code).toBe(0);
    // The first tick may have been waiting; those that a busy host was late with are made up for.
    expect(Number(result.stdout)).toBeGreaterThanOrEqual(489);
    expect(Number(result.stdout)).toBeLessThan(stat.seconds * 1000);
    expect(Math.abs(stat.guestSeconds - stat.seconds)).toBeLessThan(0.5);
    // A guest that halts lets the host rest.
    expect(stat.slices.hlt).toBeGreaterThanOrEqual(letter === 'i' ? 49 : 0);
    if (letter === 'i') expect(stat.time.idle * stat.seconds).toBeGreaterThan(0.3);
    else expect(stat.time.idle).toBe(0);
  });
});

describe.skipIf(!kernel)('--deterministic', () => {
  const options = ['--cpu', 'max', '--deterministic', '--stat=json', '--log', 'int', '--type', '0.0105:xy'];
  it.each(['interp', 'bt'])('gives the same run twice (%s)', async (engine) => {
    const [first, second] = [
      await run('d', '--engine', engine, ...options),
      await run('d', '--engine', engine, ...options),
    ];
    expect(first.code).toBe(0);
    expect(second.stdout).toBe(first.stdout);
    const trace = (r: Result): string => r.stderr.split('\n').slice(0, -2).join('\n');
    expect(trace(second)).toBe(trace(first));
    expect(trace(first).match(/interrupt 32/g)?.length).toBeGreaterThanOrEqual(40);
    const [a, b] = [statOf(first), statOf(second)];
    expect(a.digest).toMatch(/^[0-9a-f]{64}$/);
    expect([b.digest, b.instructions, b.exits]).toEqual([a.digest, a.instructions, a.exits]);
    // Typed at 10.5 ms: a letter is read at a tick, and they come every millisecond.
    const readAt = (letter: string): number => {
      const line = first.stdout.split('\n').find((l) => l.endsWith(letter));
      return Math.floor(Number(line?.split(' ')[1]) / 1e6);
    };
    expect([readAt('x'), readAt('y')]).toEqual([11, 12]);
    // The clock says the first second of the first minute.
    expect(first.stdout).toMatch(/\n0 $/);
  });
  it('gives another run for another seed', async () => {
    const [first, second] = [await run('d', ...options, '--seed', '1'), await run('d', ...options, '--seed', '0x2')];
    expect(first.code).toBe(0);
    expect(second.stdout).not.toBe(first.stdout);
    expect(statOf(second).digest).not.toBe(statOf(first).digest);
  });
});

describe.skipIf(!kernel)('what can be seen', () => {
  it('prints regions and their WebAssembly, within a range of addresses', async () => {
    // Long enough for the thread that makes regions to be there.
    const { stderr } = await run('c', '--engine', 'bt', '--log', 'region,wasm', '--log-range', '200000-2fffff');
    expect(stderr).toMatch(/region at 0000000000200\w{3}: \d+ instructions in \d+ blocks\n/);
    expect(stderr).toMatch(/block 0000000000200\w{3}, ends by branch\n.* inc edi\n/);
    expect(stderr).toMatch(/func region_200\w{3}_\d+ \(i32 i32\) -> \(\)\n/);
    expect(stderr).toMatch(/return_call_indirect \(i32 i32\) -> \(\)\n/);
    const other = await run('b', '--engine', 'bt', '--log', 'region,wasm', '--log-range', '100000-1fffff');
    expect(other.stderr).toBe('');
  });
  it('says what the machine did', async () => {
    const { stderr } = await run('c', '--engine', 'bt', '--stat');
    expect(stderr).toMatch(/^\[plinth\] mips: \d/m);
    expect(stderr).toMatch(/^\[plinth\] time: .*translated \d+\.\d %/m);
    expect(stderr).toMatch(/^\[plinth\] exits: port \d+, .*interrupt 30\d$/m);
    expect(stderr).toMatch(/^\[plinth\] memory: tlb \d+, codeTlb \d+/m);
    expect(stderr).toMatch(/^\[plinth\] translator: regions \d+/m);
    expect(stderr).not.toContain('digest');
  });
});
