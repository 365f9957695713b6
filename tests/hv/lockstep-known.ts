// Differences between the soft engine and /dev/kvm that are not the soft engine's faults, each with its reason.
import type { Found } from '../../src/hv/lockstep.ts';

interface Known {
  readonly why: string;
  readonly is: (f: Found) => boolean;
}

export const KNOWN: readonly Known[] = [];

/** Why a difference is to be expected, or undefined. */
export function knownDifference(f: Found): string | undefined {
  return KNOWN.find((k) => k.is(f))?.why;
}
