// The property every device must have: whatever a guest does to it, it answers with a value of the width,
// keeps a state that goes through JSON, and a copy made from that state behaves as the original.
import fc from 'fast-check';
import { expect } from 'vitest';
import type { ManualClock } from '../../src/devices/clock.ts';
import type { AccessWidth, MmioDevice, PortDevice, Snapshottable } from '../../src/devices/device.ts';

/** One thing that happens to the device under test. */
export type Step =
  | { readonly kind: 'read'; readonly slot: number; readonly width: AccessWidth }
  | { readonly kind: 'write'; readonly slot: number; readonly width: AccessWidth; readonly value: number }
  | { readonly kind: 'advance'; readonly ns: bigint }
  | { readonly kind: 'poke'; readonly which: number; readonly argument: number };

/** A device and what it is wired to, fresh from the factory. */
export interface Bench {
  readonly clock: ManualClock;
  readonly device: Snapshottable;
  /** Everything the device did to the outside. */
  readonly log: string[];
  /** Addresses to try and how to reach them. */
  readonly slots: number;
  read(slot: number, width: AccessWidth): number;
  write(slot: number, width: AccessWidth, value: number): void;
  /** What the outside can do to the device, besides accesses. */
  readonly pokes: readonly ((argument: number) => void)[];
}

/** The accesses of a bench for a device with ports. */
export function portAccess(device: PortDevice): Pick<Bench, 'slots' | 'read' | 'write'> {
  const ports = device.ports.flatMap(({ base, count }) => Array.from({ length: count }, (_, i) => base + i));
  return {
    slots: ports.length,
    read: (slot, width) => device.read(ports[slot]!, width),
    write: (slot, width, value) => device.write(ports[slot]!, width, value),
  };
}

/** The accesses of a bench for a device with a memory window, of which the offsets in `offsets` are tried. */
export function mmioAccess(device: MmioDevice, offsets: readonly number[]): Pick<Bench, 'slots' | 'read' | 'write'> {
  return {
    slots: offsets.length,
    read: (slot, width) => device.mmioRead(offsets[slot]!, width),
    write: (slot, width, value) => device.mmioWrite(offsets[slot]!, width, value),
  };
}

const width = fc.constantFrom<AccessWidth>(1, 1, 2, 4);
/** Small and single-bit values reach more of a device than even ones. */
const value = fc.oneof(
  fc.nat(0xff),
  fc.nat(31).map((bit) => 2 ** bit),
  fc.integer({ min: 0, max: 0xffffffff }),
);
const ns = fc.oneof(fc.bigInt(0n, 3000n), fc.bigInt(0n, 3_000_000n), fc.bigInt(0n, 30_000_000n));

function steps(bench: Bench): fc.Arbitrary<Step[]> {
  const slot = fc.nat(bench.slots - 1);
  const choices: fc.Arbitrary<Step>[] = [
    fc.record({ kind: fc.constant('read' as const), slot, width }),
    fc.record({ kind: fc.constant('write' as const), slot, width, value }),
    fc.record({ kind: fc.constant('write' as const), slot, width, value }),
    fc.record({ kind: fc.constant('advance' as const), ns }),
  ];
  if (bench.pokes.length > 0) {
    choices.push(
      fc.record({ kind: fc.constant('poke' as const), which: fc.nat(bench.pokes.length - 1), argument: fc.nat(0xff) }),
    );
  }
  return fc.array(fc.oneof(...choices), { maxLength: 40, size: 'max' });
}

function perform(bench: Bench, step: Step): number | undefined {
  switch (step.kind) {
    case 'read': {
      const result = bench.read(step.slot, step.width);
      expect(Number.isInteger(result) && result >= 0 && result < 2 ** (8 * step.width)).toBe(true);
      return result;
    }
    case 'write':
      bench.write(step.slot, step.width, step.value % 2 ** (8 * step.width));
      return undefined;
    case 'advance':
      bench.clock.advance(step.ns);
      return undefined;
    case 'poke':
      bench.pokes[step.which]!(step.argument);
      return undefined;
  }
}

/** Checks the property for devices that `make` makes, all alike. PLINTH_DEVICE_RUNS says how often instead of `runs`. */
export function checkAnyAccess(make: () => Bench, runs = 150): void {
  const any = steps(make());
  fc.assert(
    fc.property(any, any, (before, after) => {
      const original = make();
      for (const step of before) perform(original, step);
      const state = original.device.state();
      const copy = make();
      copy.clock.restore(original.clock.state());
      copy.device.restore(JSON.parse(JSON.stringify(state)));
      expect(copy.device.state()).toEqual(state);
      original.log.length = 0;
      copy.log.length = 0;
      const results = after.map((step) => perform(original, step));
      expect(after.map((step) => perform(copy, step))).toEqual(results);
      expect(copy.log).toEqual(original.log);
      expect(copy.device.state()).toEqual(original.device.state());
    }),
    { numRuns: Number(process.env.PLINTH_DEVICE_RUNS ?? runs) },
  );
}

/** Throws while `restore` accepts a state with a field taken away or made nonsense. */
export function checkRefusesBrokenState(make: () => Bench): void {
  const state = make().device.state();
  for (const key of Object.keys(state)) {
    expect(() => make().device.restore({ ...state, [key]: 'nonsense' }), key).toThrow(/snapshot field/);
  }
}
