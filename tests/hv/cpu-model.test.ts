// CPU models as CPUID tells of them: nothing that has no rows, sizes of the XSAVE area, what depends on the guest.
import { describe, expect, it } from 'vitest';
import { CPU_MODELS, type CpuidContext, cpuid, cpuModel, FEATURE_BITS, xcr0Mask } from '../../src/hv/cpu-model.ts';
import { cpuidEntries } from '../../src/hv/cpuid-entries.ts';
import { CpuidTable } from '../../src/hv/soft/cpuid-table.ts';
import { ROWS } from '../../src/isa/rows.ts';

const context: CpuidContext = { apicId: 0, cpus: 1, osxsave: false, xcr0: 1n, apicEnabled: true };
const model = (name: string) => cpuModel(name)!;

/** Instruction features by the manual: a model that claims one needs rows for it. */
const WITH_ROWS =
  'cx8 cmov mmx fxsr sse sse2 sse3 pclmulqdq ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx f16c rdrand ' +
  'fsgsbase bmi1 avx2 bmi2 invpcid rdseed adx smap clflushopt clwb sha rdpid vaes vpclmulqdq serialize xsaveopt ' +
  'xsavec xsaves rdtscp lzcnt clflush';
/** Of these the rows do not name the feature, because every model has it. */
const ALWAYS = new Set(['cx8', 'cmov', 'cx16']);

describe('models', () => {
  const features = new Set(ROWS.flatMap((r) => r.feature ?? []));
  it('claim only what CPUID can say, and instructions only with rows', () => {
    const known = new Set(FEATURE_BITS.map((f) => f.name));
    for (const m of CPU_MODELS) {
      expect([...m.features].filter((f) => !known.has(f))).toEqual([]);
      const missing = WITH_ROWS.split(' ').filter((f) => m.features.has(f) && !features.has(f) && !ALWAYS.has(f));
      expect(missing).toEqual([]);
    }
  });
  it('name the features of all rows, so that a model can have them', () => {
    const known = new Set(FEATURE_BITS.map((f) => f.name));
    expect([...features].filter((f) => !known.has(f))).toEqual([]);
  });
  it('grow from level to level', () => {
    for (const [less, more] of [
      ['v1', 'v2'],
      ['v2', 'v3'],
      ['v3', 'max'],
    ] as const) {
      expect([...model(less).features].filter((f) => !model(more).features.has(f))).toEqual([]);
    }
  });
});

describe('leaf 0DH', () => {
  it('is empty without XSAVE', () => {
    expect(cpuid(model('v2'), 0xd, 0, context)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
    expect(xcr0Mask(model('v2').features)).toBe(0n);
  });
  it('tells the area in use, the largest area and where AVX state lies', () => {
    expect(cpuid(model('v3'), 0xd, 0, context)).toEqual({ eax: 7, ebx: 576, ecx: 832, edx: 0 });
    expect(cpuid(model('v3'), 0xd, 0, { ...context, xcr0: 7n }).ebx).toBe(832);
    expect(cpuid(model('v3'), 0xd, 1, { ...context, xcr0: 7n })).toMatchObject({ eax: 7, ebx: 832 });
    expect(cpuid(model('max'), 0xd, 1, context).eax).toBe(15);
    expect(cpuid(model('v3'), 0xd, 2, context)).toEqual({ eax: 256, ebx: 576, ecx: 0, edx: 0 });
  });
  it('comes out of a list of leaves the same', () => {
    const table = new CpuidTable();
    table.set(cpuidEntries(model('v3')));
    expect(table.xcr0Mask).toBe(7n);
    expect(table.query(0xd, 0, 0n, 0n, 7n)).toEqual([7, 832, 832, 0]);
    expect(table.query(0xd, 2, 0n, 0n, 7n)).toEqual([256, 576, 0, 0]);
    table.set(cpuidEntries(model('v1')));
    expect(table.xcr0Mask).toBe(0n);
  });
});
