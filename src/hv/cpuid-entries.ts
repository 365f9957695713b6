/** A CPU model as a list of CPUID leaves, the form in which a vCPU is told what it is. */
import type { CpuidEntry } from './contract.ts';
import { type CpuidResult, type CpuModel, cpuid, FEATURE_BITS } from './cpu-model.ts';

/** Leaves whose answer depends on ECX, with the highest subleaf that says something. */
const SUBLEAVES: Readonly<Record<number, number>> = { 4: 3, 7: 0, 11: 2, 13: 2 };
const LAST_BASIC = 0x16;
const HYPERVISOR_LEAVES = [0x4000_0000, 0x4000_0001, 0x4000_0010];
const FIRST_EXTENDED = 0x8000_0000;
const LAST_EXTENDED = 0x8000_0008;

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const LEAVES = [...range(0, LAST_BASIC), ...HYPERVISOR_LEAVES, ...range(FIRST_EXTENDED, LAST_EXTENDED)];

/** What CPUID answers for a model on vCPU `apicId` of `cpus`. The engine fills in OSXSAVE, the APIC bit and what depends on
 * XCR0 itself. */
export function cpuidEntries(model: CpuModel, apicId = 0, cpus = 1): CpuidEntry[] {
  const context = { apicId, cpus, osxsave: false, xcr0: 1n, apicEnabled: true };
  return LEAVES.flatMap((leaf): CpuidEntry[] => {
    const last = SUBLEAVES[leaf];
    if (last === undefined) return [{ leaf, subleaf: undefined, ...unsigned(cpuid(model, leaf, 0, context)) }];
    return range(0, last).map((subleaf) => ({ leaf, subleaf, ...unsigned(cpuid(model, leaf, subleaf, context)) }));
  });
}
const unsigned = (r: CpuidResult): CpuidResult => ({
  eax: r.eax >>> 0,
  ebx: r.ebx >>> 0,
  ecx: r.ecx >>> 0,
  edx: r.edx >>> 0,
});

/**
 * The entries without the features that `host` lacks, so that a VM with them can run there.
 * @returns also the names of the features taken away
 */
export function filterCpuid(
  entries: readonly CpuidEntry[],
  host: readonly CpuidEntry[],
): { entries: CpuidEntry[]; missing: string[] } {
  const missing: string[] = [];
  const out = entries.map((entry) => {
    const there = host.find((h) => h.leaf === entry.leaf && (h.subleaf ?? 0) === (entry.subleaf ?? 0));
    const result = { ...entry };
    for (const f of FEATURE_BITS) {
      if (f.leaf !== entry.leaf || (entry.subleaf ?? 0) !== f.subleaf || KEPT.has(f.name)) continue;
      const mask = (1 << f.bit) >>> 0;
      if (!(entry[f.register] & mask) || (there && there[f.register] & mask)) continue;
      result[f.register] = (result[f.register] & ~mask) >>> 0;
      missing.push(f.name);
    }
    return result;
  });
  return { entries: out, missing };
}
/** Features that the monitor provides or that cost the host nothing, whatever it says it supports. */
const KEPT: ReadonlySet<string> = new Set([
  'hypervisor',
  'arat',
  'tsc_deadline',
  'x2apic',
  'apic',
  'mtrr',
  'invariant_tsc',
]);
