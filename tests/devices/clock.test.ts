// Timers fire once, in order, when their time has come.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HostClock, ManualClock } from '../../src/devices/clock.ts';
import { SnapshotError } from '../../src/devices/errors.ts';

describe('ManualClock', () => {
  it('fires timers in order of deadline, at their deadline', () => {
    const clock = new ManualClock();
    const fired: string[] = [];
    clock.at(30n, () => fired.push(`b${clock.now()}`));
    clock.at(10n, () => {
      fired.push(`a${clock.now()}`);
      clock.at(20n, () => fired.push(`c${clock.now()}`));
    });
    clock.advance(9n);
    expect(fired).toEqual([]);
    clock.advance(50n);
    expect(fired).toEqual(['a10', 'c20', 'b30']);
    expect(clock.now()).toBe(59n);
  });

  it('does not fire a cancelled timer, and cancelling twice is harmless', () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    const cancel = clock.at(10n, () => fired.push(1));
    clock.at(10n, () => fired.push(2));
    cancel();
    cancel();
    clock.advance(10n);
    cancel();
    expect(fired).toEqual([2]);
    expect(clock.nextDeadline()).toBeUndefined();
  });

  it('agrees with a sorted list for any timers and cancellations', () => {
    const timer = fc.record({ deadline: fc.bigInt(0n, 100n), cancelled: fc.boolean() });
    fc.assert(
      fc.property(fc.array(timer, { maxLength: 60 }), (timers) => {
        const clock = new ManualClock();
        const fired: number[] = [];
        const cancels = timers.map((t, i) => clock.at(t.deadline, () => fired.push(i)));
        for (const [i, t] of timers.entries()) if (t.cancelled) cancels[i]!();
        const expected = [...timers.entries()]
          .filter(([, t]) => !t.cancelled)
          .sort(([i, a], [j, b]) => Number(a.deadline - b.deadline) || i - j)
          .map(([i]) => i);
        clock.advance(100n);
        expect(fired).toEqual(expected);
      }),
    );
  });
});

describe('HostClock', () => {
  it('starts at zero and never runs backwards', () => {
    let host = 1000;
    const clock = new HostClock(() => host);
    expect(clock.now()).toBe(0n);
    host = 1500;
    expect(clock.now()).toBe(500n);
    host = 1200;
    expect(clock.now()).toBe(500n);
  });

  it('fires what is due and leaves what was set meanwhile to the next call', () => {
    let host = 0;
    const clock = new HostClock(() => host);
    const fired: string[] = [];
    clock.at(100n, () => {
      fired.push('a');
      clock.at(50n, () => fired.push('again'));
    });
    clock.at(150n, () => fired.push('b'));
    clock.at(900n, () => fired.push('late'));
    expect(clock.runDue()).toBe(false);
    host = 200;
    expect(clock.nextDeadline()).toBe(100n);
    expect(clock.runDue()).toBe(true);
    expect(fired).toEqual(['a', 'b']);
    clock.runDue();
    expect(fired).toEqual(['a', 'b', 'again']);
    expect(clock.nextDeadline()).toBe(900n);
  });

  it('goes on from the time of a snapshot', () => {
    let host = 5000;
    const clock = new HostClock(() => host);
    host = 5300;
    const state = clock.state();
    let otherHost = 9;
    const other = new HostClock(() => otherHost);
    other.restore(JSON.parse(JSON.stringify(state)));
    expect(other.now()).toBe(300n);
    otherHost = 10;
    expect(other.now()).toBe(301n);
    expect(() => other.restore({ now: 1 })).toThrow(SnapshotError);
  });

  it('tells how late its timers were', () => {
    let now = 0;
    const clock = new HostClock(() => now);
    expect(clock.timers).toEqual({ fired: 0, lateUs: 0, worstUs: 0 });
    clock.at(1_000n, () => {});
    clock.at(5_000n, () => {});
    now = 5_000;
    clock.runDue();
    expect(clock.timers).toEqual({ fired: 2, lateUs: 2, worstUs: 4 });
  });
});
