// Regions that are made while the guest goes on: random programs in lockstep, code that is gone when its region is
// there, the thread itself, and its end.
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openRegionCompiler } from '../../src/cli/app/region-compiler.ts';
import { packJob, type RegionCompiler } from '../../src/engine/bt/job.ts';
import type { TranslatorLimits } from '../../src/engine/bt/translator.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { CODE, CODE_PAGE, DATA } from '../differential/case.ts';
import { Guest, PTE } from '../differential/guest.ts';
import { LateCompiler } from './compiler.ts';
import { type ForcedMode, Lockstep } from './lockstep.ts';
import { drawSpec } from './program.ts';

const PROGRAMS = 4;
const TIMEOUT = 600_000;
const FEATURES = new Set(ROWS.flatMap((r) => r.feature ?? []));

// In small batches, places wait while they become entries of other regions.
describe.for([
  [1, 32],
  [6, 32],
  [1, 2],
] as const)('random programs, regions that are %i looks late, %i at once', ([delay, maxBatch]) => {
  it('agree with the interpreter', { timeout: TIMEOUT }, () => {
    const compiler = new LateCompiler(delay);
    const vcpu = { engine: 'bt', hotThreshold: 6, compiler, translatorLimits: { maxBatch } } as const;
    const mode: ForcedMode = { name: `${delay} looks late`, vcpu, slice: 40, flush: 8, drop: 30 };
    const lockstep = new Lockstep(mode);
    let regions = 0;
    for (let i = 0; i < PROGRAMS; i++) {
      const outcome = lockstep.run(drawSpec(40_000 + i, false));
      expect(outcome.wrong, `seed ${40_000 + i}`).toBeUndefined();
      regions += outcome.regions;
    }
    expect(regions).toBeGreaterThan(PROGRAMS);
    // Programs overwrite their code, and all code is dropped now and then.
    expect(regions).toBeLessThan(compiler.asked);
  });
});

/** add rax, 3; dec rcx; jnz; jmp to itself */
const ADDITIONS = [0x48, 0x83, 0xc0, 3, 0x48, 0xff, 0xc9, 0x75, 0xf7, 0xeb, 0xfe];

/** A loop that does something as often as RCX says, then waits for ever; usually it adds to RAX. */
class Loop {
  readonly guest: Guest;
  readonly frame: number;

  constructor(
    count: number,
    compiler: RegionCompiler,
    code: readonly number[] = ADDITIONS,
    translatorLimits?: Partial<TranslatorLimits>,
  ) {
    this.guest = new Guest({ vcpu: { engine: 'bt', hotThreshold: 50, compiler, translatorLimits } });
    const { guest } = this;
    this.frame = guest.frames(1);
    guest.map(CODE_PAGE, this.frame, PTE.P | PTE.US | PTE.RW);
    guest.memory.write(this.frame + Number(CODE - CODE_PAGE), Uint8Array.from(code));
    guest.enterMode(64, 3);
    guest.set64('rip', CODE);
    guest.set64('gpr', BigInt(count), 1);
  }
  /** Makes the loop add something else. */
  change(step: number): void {
    this.guest.memory.write(this.frame + Number(CODE - CODE_PAGE) + 3, Uint8Array.of(step));
  }
  run(instructions: number): void {
    expect(this.guest.vcpu.run(instructions)).toBe('budget');
  }
  get counters() {
    return this.guest.vcpu.translator!.counters;
  }
  get sum(): bigint {
    return this.guest.get64('gpr', 0);
  }
  get left(): number {
    return Number(this.guest.get64('gpr', 1));
  }
}

describe('a region that comes later', () => {
  const COUNT = 400_000;
  /** Runs the loop to its end, in slices. */
  const finish = (loop: Loop): void => {
    for (let n = 0; n < 4 * COUNT; n += 5000) loop.run(5000);
    expect(loop.left).toBe(0);
  };
  /** Runs the loop until its region was asked for. */
  const asked = (): { loop: Loop; compiler: LateCompiler } => {
    const compiler = new LateCompiler(Number.POSITIVE_INFINITY);
    const loop = new Loop(COUNT, compiler);
    while (compiler.asked === 0) loop.run(100);
    return { loop, compiler };
  };

  it('takes its place between two slices', () => {
    const { loop, compiler } = asked();
    loop.run(1000);
    expect(loop.counters.regions).toBe(0);
    expect(compiler.asked).toBe(1);
    compiler.delay = 0;
    loop.run(1000);
    expect(loop.counters).toMatchObject({ regions: 1, late: 0, failed: 0 });
    expect(loop.counters.workerMs).toBeGreaterThan(0);
    finish(loop);
    expect(loop.sum).toBe(3n * BigInt(COUNT));
  });

  it('is not put where other code is by then', () => {
    const { loop, compiler } = asked();
    const before = loop.left;
    loop.change(5);
    compiler.delay = 0;
    loop.run(100);
    expect(loop.counters).toMatchObject({ regions: 0, late: 1 });
    finish(loop);
    expect(loop.counters.regions).toBeGreaterThan(0);
    // A change may come between the addition and the countdown.
    const sum = 3n * BigInt(COUNT - before) + 5n * BigInt(before);
    expect([sum - 2n, sum, sum + 2n]).toContain(loop.sum);
  });

  it('is not put anywhere when everything was forgotten meanwhile', () => {
    const { loop, compiler } = asked();
    loop.guest.vcpu.dropCode();
    compiler.delay = 0;
    loop.run(10);
    expect(loop.counters).toMatchObject({ regions: 0, late: 1 });
    finish(loop);
    expect(loop.counters.regions).toBeGreaterThan(0);
    expect(loop.sum).toBe(3n * BigInt(COUNT));
  });

  it('is made here when the compiler ends', () => {
    const { loop, compiler } = asked();
    compiler.failed = true;
    loop.run(1000);
    expect(loop.counters).toMatchObject({ regions: 1, workerMs: 0 });
    finish(loop);
    expect(loop.sum).toBe(3n * BigInt(COUNT));
  });
});

describe('a place that waits for a region of its own', () => {
  // jmp a; a: call rdi; behind: dec rcx; jnz a; jmp to itself; f: jmp g; g: jmp h; h: ret
  const CODE_OF_CALLS = [0xeb, 0, 0xff, 0xd7, 0x48, 0xff, 0xc9, 0x75, 0xf9, 0xeb, 0xfe, 0xeb, 0, 0xeb, 0, 0xc3];
  const F = 11n;

  it('gets none if it has become the entry of another meanwhile', () => {
    const compiler = new LateCompiler(Number.POSITIVE_INFINITY);
    const loop = new Loop(2 ** 40, compiler, CODE_OF_CALLS, { maxBatch: 1 });
    loop.guest.map(DATA, loop.guest.frames(1), PTE.P | PTE.US | PTE.RW);
    loop.guest.set64('gpr', CODE + F, 7);
    loop.guest.set64('gpr', DATA + 0x800n, 4);
    // All is decoded, and the compiler's thread not looked at for a while: five places are hot before one is planned.
    loop.run(100);
    loop.guest.vcpu.translator!.flush();
    // Three jobs are the most that are under way: those of a, f and g.
    for (let n = 0; n < 8; n++) loop.run(1000);
    expect(compiler.asked).toBe(3);
    compiler.delay = 0;
    // That of a has what is behind the call as an entry.
    for (let n = 0; n < 8; n++) loop.run(1000);
    expect(compiler.asked).toBe(4);
    expect(loop.counters).toMatchObject({ regions: 4, late: 0 });
  });
});

describe('the thread that makes regions', () => {
  const COUNT = 2 ** 52;
  /** Runs a loop without an end until it has a region, and lets the event loop have its turns. */
  const untilRegion = async (loop: Loop): Promise<void> => {
    while (loop.counters.regions === 0) {
      loop.run(1000);
      await sleep(1);
    }
    loop.run(30_000);
    expect(loop.sum).toBe(3n * BigInt(COUNT - loop.left));
  };

  it('makes them', async () => {
    const said: string[] = [];
    const compiler = openRegionCompiler(FEATURES, (line) => said.push(line));
    const loop = new Loop(COUNT, compiler);
    await untilRegion(loop);
    expect(loop.counters.workerMs).toBeGreaterThan(0);
    expect(loop.counters.latencyMs).toBeGreaterThan(0);
    loop.guest.vcpu.translator!.close();
    await sleep(50);
    expect(said).toEqual([]);
  });

  it('does the newest job first', async () => {
    const compiler = openRegionCompiler(FEATURES, () => {});
    // All of them are there before the thread has begun.
    for (const id of [0, 1, 2]) compiler.post(packJob(id, [], () => {}, false));
    const done: number[] = [];
    while (done.length < 3) {
      const result = compiler.poll();
      if (result) done.push(result.id);
      else await sleep(1);
    }
    expect(done).toEqual([2, 1, 0]);
    compiler.close();
  });

  it.for([
    ['throws at its start', 'throw new Error("no")'],
    [
      'throws at its first job',
      'import { workerData } from "node:worker_threads"; workerData.port.on("message", () => { throw new Error("no"); })',
    ],
    ['ends', 'process.exit(3)'],
  ] as const)('is done without when it %s', async ([, program]) => {
    const said: string[] = [];
    const worker = new URL(`data:text/javascript,${encodeURIComponent(program)}`);
    const compiler = openRegionCompiler(FEATURES, (line) => said.push(line), worker);
    const loop = new Loop(COUNT, compiler);
    await untilRegion(loop);
    expect(loop.counters.workerMs).toBe(0);
    expect(said).toEqual([expect.stringContaining('the thread that translates has ended')]);
    compiler.close();
  });
});
