// Sources of guest time: slices, the time in which a guest is halted, random bits; and sleeping without work.
import { describe, expect, it } from 'vitest';
import { HostTime, INSTRUCTION_NS, InstructionTime } from '../../src/machine/time.ts';
import { Wait } from '../../src/machine/wait.ts';

describe('time that counts instructions', () => {
  it('goes on by instructions and jumps while the guest is halted', async () => {
    let executed = 1000;
    const time = new InstructionTime(1n);
    time.executed = () => executed;
    expect(time.nowNs()).toBe(1000 * INSTRUCTION_NS);
    const start = time.wallMs();
    expect(await time.halted(5_000_000, new Wait())).toBe(false);
    executed += 100_000;
    expect(time.nowNs()).toBe(101_000 * INSTRUCTION_NS + 5_000_000);
    expect(time.wallMs() - start).toBeCloseTo(5 + (100_000 * INSTRUCTION_NS) / 1e6, 3);
    expect(new Date(start).toISOString()).toMatch(/^2026-01-01T00:00:00/);
  });
  it('ends a slice at the instruction at which a timer is due', () => {
    const time = new InstructionTime(1n);
    expect(time.plan(12_345)).toEqual({ budget: 1235, ns: 12_350 });
    expect(time.plan(0).budget).toBe(1);
    const { budget } = time.plan(undefined);
    time.ran();
    expect(time.plan(1e12).budget).toBe(budget);
  });
  it('gives the random bits of its seed, also after a restore', () => {
    const bits = (time: InstructionTime): bigint[] => Array.from({ length: 4 }, () => time.random64());
    const time = new InstructionTime(0n);
    // The first values of splitmix64 for seed 0.
    expect(bits(time).slice(0, 2)).toEqual([0xe220a8397b1dcdafn, 0x6e789e6aa1b965f4n]);
    const later = new InstructionTime(9n);
    later.restore(JSON.parse(JSON.stringify(time.state())));
    expect(bits(later)).toEqual(bits(time));
    expect(bits(new InstructionTime(1n))).not.toEqual(bits(new InstructionTime(2n)));
  });
});

describe('time that follows the host', () => {
  it('makes slices of about a millisecond, at most up to the next timer', () => {
    const time = new HostTime();
    for (let i = 0; i < 100; i++) time.ran(500_000, 1e6);
    expect(time.plan(undefined).ns).toBe(1_000_000);
    expect(time.plan(undefined).budget).toBeGreaterThan(450_000);
    expect(time.plan(200_000).budget).toBeLessThan(110_000);
    expect(time.plan(-5).budget).toBeGreaterThan(0);
  });
  it('makes slices shorter at once behind a guest that was faster, and longer bit by bit', () => {
    const time = new HostTime();
    for (let i = 0; i < 100; i++) time.ran(2_000_000, 1e6);
    for (let i = 0; i < 4; i++) time.ran(100_000, 1e6);
    const short = time.plan(undefined).budget;
    expect(short).toBeLessThan(250_000);
    time.ran(2_000_000, 1e6);
    expect(time.plan(undefined).budget).toBeLessThan(short + 250_000);
  });
  it('does not wait for a timer that is due', async () => {
    const before = performance.now();
    expect(await new HostTime().halted(0, new Wait())).toBe(false);
    expect(performance.now() - before).toBeLessThan(500);
  });
});

describe('a wait', () => {
  it('takes little of the processor, also where the event loop cannot be exact', async () => {
    const wait = new Wait();
    const cpu = process.cpuUsage();
    const started = performance.now();
    for (let i = 0; i < 200; i++) await wait.sleep(1.5);
    const took = performance.now() - started;
    const { user, system } = process.cpuUsage(cpu);
    expect(took).toBeGreaterThanOrEqual(299);
    expect((user + system) / 1000).toBeLessThan(0.3 * took);
  });
  it('lets the event loop run in a long sleep, and ends early when it is woken', async () => {
    const wait = new Wait();
    const started = performance.now();
    setTimeout(() => wait.wake(), 20);
    expect(await wait.sleep(10_000)).toBe(true);
    expect(performance.now() - started).toBeLessThan(5000);
    wait.wake();
  });
});
