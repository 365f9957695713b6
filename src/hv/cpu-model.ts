/**
 * CPU models: which features a guest is told of, and the CPUID leaves that say so (SDM vol.2 CPUID). A feature is
 * one row here; the decoder leaves out instruction rows whose feature a model lacks, so what is not claimed is #UD.
 */

type Register = 'eax' | 'ebx' | 'ecx' | 'edx';
interface FeatureBit {
  readonly name: string;
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: Register;
  readonly bit: number;
}

const bits = (
  leaf: number,
  subleaf: number,
  register: Register,
  names: Readonly<Record<string, number>>,
): FeatureBit[] => Object.entries(names).map(([name, bit]) => ({ name, leaf, subleaf, register, bit }));

/** Feature names as Linux spells them in /proc/cpuinfo, with their place. */
export const FEATURE_BITS: readonly FeatureBit[] = [
  ...bits(1, 0, 'edx', {
    fpu: 0, de: 2, pse: 3, tsc: 4, msr: 5, pae: 6, cx8: 8, apic: 9, sep: 11, mtrr: 12, pge: 13, cmov: 15, pat: 16,
    pse36: 17, clflush: 19, mmx: 23, fxsr: 24, sse: 25, sse2: 26,
  }), // biome-ignore format: one line a register
  ...bits(1, 0, 'ecx', {
    sse3: 0, pclmulqdq: 1, monitor: 3, ssse3: 9, fma: 12, cx16: 13, pcid: 17, sse4_1: 19, sse4_2: 20, x2apic: 21,
    movbe: 22, popcnt: 23, tsc_deadline: 24, aes: 25, xsave: 26, avx: 28, f16c: 29, rdrand: 30, hypervisor: 31,
  }), // biome-ignore format: one line a register
  ...bits(6, 0, 'eax', { arat: 2 }),
  ...bits(7, 0, 'ebx', {
    fsgsbase: 0, tsc_adjust: 1, bmi1: 3, avx2: 5, smep: 7, bmi2: 8, erms: 9, invpcid: 10, rdseed: 18, adx: 19, smap: 20,
    clflushopt: 23, clwb: 24, sha: 29,
  }), // biome-ignore format: one line a register
  ...bits(7, 0, 'ecx', { umip: 2, vaes: 9, vpclmulqdq: 10, rdpid: 22 }),
  ...bits(7, 0, 'edx', { fsrm: 4, serialize: 14, arch_capabilities: 29 }),
  ...bits(0xd, 1, 'eax', { xsaveopt: 0, xsavec: 1, xgetbv1: 2, xsaves: 3 }),
  ...bits(0x8000_0001, 0, 'edx', { syscall: 11, nx: 20, pdpe1gb: 26, rdtscp: 27, lm: 29 }),
  ...bits(0x8000_0001, 0, 'ecx', { lahf_lm: 0, lzcnt: 5, prefetchw: 8 }),
  ...bits(0x8000_0007, 0, 'edx', { invariant_tsc: 8 }),
  // KVM_FEATURE_* of a KVM guest (the kernel's Documentation/virt/kvm/x86/cpuid.rst).
  ...bits(0x4000_0001, 0, 'eax', { kvmclock: 0, kvm_nopiodelay: 1, kvmclock2: 3, kvmclock_stable: 24 }),
];

const BASE =
  'fpu de pse tsc msr pae cx8 apic sep mtrr pge cmov pat pse36 clflush mmx fxsr sse sse2 cx16 pcid x2apic tsc_deadline ' +
  'hypervisor arat fsgsbase tsc_adjust smep invpcid smap umip arch_capabilities syscall nx pdpe1gb rdtscp lm lahf_lm prefetchw ' +
  'invariant_tsc';

export interface CpuModel {
  readonly name: string;
  readonly about: string;
  readonly features: ReadonlySet<string>;
}

const model = (name: string, about: string, features: string): CpuModel => ({
  name,
  about,
  features: new Set(features.split(/\s+/)),
});

/** What the levels of the x86-64 psABI add to the one before, and what no level asks for. */
const V2 = 'sse3 ssse3 sse4_1 sse4_2 popcnt';
const V3 = 'avx avx2 bmi1 bmi2 f16c fma lzcnt movbe xsave xsaveopt xsavec xgetbv1';
const BEYOND = 'aes pclmulqdq vaes vpclmulqdq sha adx rdrand rdseed rdpid clflushopt clwb erms fsrm serialize xsaves';

/** The models `--cpu` takes. */
export const CPU_MODELS: readonly CpuModel[] = [
  model('v1', 'x86-64 baseline with what a hypervisor guest expects', BASE),
  model('v2', 'x86-64-v2: to SSE4.2', `${BASE} ${V2}`),
  model('v3', 'x86-64-v3: to AVX2 and FMA', `${BASE} ${V2} ${V3}`),
  model('max', 'everything that is there', `${BASE} ${V2} ${V3} ${BEYOND}`),
];
/** The model of a name, or undefined. */
export const cpuModel = (name: string): CpuModel | undefined => CPU_MODELS.find((m) => m.name === name);

/** What a machine that gives its guests KVM's clock adds to a model. */
const KVM_CLOCK = ['kvmclock', 'kvm_nopiodelay', 'kvmclock2', 'kvmclock_stable'] as const;
/** The model as a guest of KVM sees it: with the hypervisor's signature and its clock (src/machine/kvmclock.ts). */
export const withKvmClock = (m: CpuModel): CpuModel => ({ ...m, features: new Set([...m.features, ...KVM_CLOCK]) });

/** Guest TSC frequency: one tick a nanosecond, so that guest time needs no scaling. */
export const TSC_HZ = 1_000_000_000;
/** The TSC after so many nanoseconds of guest time. */
export const tscAt = <T extends bigint | number>(ns: T): T => ns;
/** Crystal of CPUID leaf 15H: the input clock of the local APIC timer (src/devices/apic-timer.ts). */
export const CRYSTAL_HZ = 1_000_000_000;

/** Family 6, a model number that no product has, stepping 1. */
const SIGNATURE = 0x000a06f1;
const VENDOR = 'GenuineIntel';
const BRAND = 'Plinth virtual CPU (x86-64)';
const MAX_BASIC = 0x16;
const MAX_EXTENDED = 0x8000_0008;
const MAX_HYPERVISOR = 0x4000_0010;

const text = (s: string, at: number): number =>
  [0, 1, 2, 3].reduce((n, i) => n | ((s.charCodeAt(at + i) || 0) << (8 * i)), 0) >>> 0;

export interface CpuidResult {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** The bits by leaf: programs ask for dozens of leaves when they start, most of which have none. */
const BITS_OF_LEAF = Map.groupBy(FEATURE_BITS, (f) => f.leaf);
function featureRegisters(m: CpuModel, leaf: number, subleaf: number): CpuidResult {
  const out: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  for (const f of BITS_OF_LEAF.get(leaf) ?? []) {
    // Only leaves 7 and 0DH of these look at ECX.
    const matches = (leaf !== 7 && leaf !== 0xd) || f.subleaf === subleaf;
    if (matches && m.features.has(f.name)) out[f.register] |= 1 << f.bit;
  }
  return out;
}

/** Bytes of a cache line, as CLFLUSH sees it, and the caches of leaf 4: 32 KiB data, 32 KiB code, 2 MiB unified. */
const LINE = 64;
function cacheLeaf(subleaf: number): CpuidResult {
  const caches = [
    { type: 1, level: 1, ways: 8, sets: 64 },
    { type: 2, level: 1, ways: 8, sets: 64 },
    { type: 3, level: 2, ways: 16, sets: 2048 },
  ];
  const c = caches[subleaf];
  if (!c) return { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  return { eax: c.type | (c.level << 5) | (1 << 8), ebx: (LINE - 1) | ((c.ways - 1) << 22), ecx: c.sets - 1, edx: 0 };
}

/** Components of XCR0: 0 x87, 1 SSE, 2 AVX. */
const XCR0_BASE = 3n;
const XCR0_AVX = 4n;
/** Where the upper halves of YMM lie in an XSAVE area, and their size (SDM vol.1 13.4.3). */
const AVX_OFFSET = 576;
const AVX_SIZE = 256;

/** Components of XCR0 that a model has; 0 without XSAVE. The vCPU's field xcr0_mask. */
export function xcr0Mask(features: ReadonlySet<string>): bigint {
  if (!features.has('xsave')) return 0n;
  return features.has('avx') ? XCR0_BASE | XCR0_AVX : XCR0_BASE;
}
/** Bytes of an XSAVE area with some components; compacted areas have the same size. */
export const xsaveSize = (components: bigint): number => (components & XCR0_AVX ? AVX_OFFSET + AVX_SIZE : AVX_OFFSET);

/** Leaf 0DH: `mask` are the components there are, `xcr0` those in use. */
function xsaveLeaf(m: CpuModel, subleaf: number, xcr0: bigint): CpuidResult {
  const mask = xcr0Mask(m.features);
  if (mask === 0n) return { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  if (subleaf === 0) return { eax: Number(mask), ebx: xsaveSize(xcr0), ecx: xsaveSize(mask), edx: 0 };
  if (subleaf === 1) return { ...featureRegisters(m, 0xd, 1), ebx: xsaveSize(xcr0) };
  if (subleaf === 2 && mask & XCR0_AVX) return { eax: AVX_SIZE, ebx: AVX_OFFSET, ecx: 0, edx: 0 };
  return { eax: 0, ebx: 0, ecx: 0, edx: 0 };
}

/** What the guest's system state adds to CPUID. */
export interface CpuidContext {
  readonly apicId: number;
  readonly cpus: number;
  /** CR4.OSXSAVE. */
  readonly osxsave: boolean;
  /** Components in use; 1 after reset. */
  readonly xcr0: bigint;
  /** IA32_APIC_BASE says that the local APIC is on. */
  readonly apicEnabled: boolean;
}

/** Registers that CPUID gives for a leaf. Leaves above the maximum give the highest basic leaf's (SDM vol.2). */
export function cpuid(m: CpuModel, leaf: number, subleaf: number, c: CpuidContext): CpuidResult {
  const f = featureRegisters(m, leaf, subleaf);
  switch (leaf) {
    case 0:
      return { eax: MAX_BASIC, ebx: text(VENDOR, 0), edx: text(VENDOR, 4), ecx: text(VENDOR, 8) };
    case 1: {
      const ebx = (c.apicId << 24) | (c.cpus << 16) | ((LINE / 8) << 8);
      const edx = c.apicEnabled ? f.edx : f.edx & ~(1 << 9);
      return { eax: SIGNATURE, ebx, ecx: f.ecx | (c.osxsave ? 1 << 27 : 0), edx: c.cpus > 1 ? edx | (1 << 28) : edx };
    }
    case 2:
      return { eax: 0x00feff01, ebx: 0, ecx: 0, edx: 0 };
    case 4:
      return cacheLeaf(subleaf);
    case 0xd:
      return xsaveLeaf(m, subleaf, c.xcr0);
    case 0xb:
      return topology(subleaf, c);
    case 0x15:
      return { eax: 1, ebx: TSC_HZ / CRYSTAL_HZ, ecx: CRYSTAL_HZ, edx: 0 };
    case 0x16:
      return { eax: TSC_HZ / 1e6, ebx: TSC_HZ / 1e6, ecx: CRYSTAL_HZ / 1e6, edx: 0 };
    case 0x4000_0000: {
      const signature = m.features.has('kvmclock') ? 'KVMKVMKVM' : 'PlinthPlinth';
      return { eax: MAX_HYPERVISOR, ebx: text(signature, 0), ecx: text(signature, 4), edx: text(signature, 8) };
    }
    case 0x4000_0010:
      return { eax: TSC_HZ / 1e3, ebx: CRYSTAL_HZ / 1e3, ecx: 0, edx: 0 };
    case 0x8000_0000:
      return { eax: MAX_EXTENDED, ebx: 0, ecx: 0, edx: 0 };
    case 0x8000_0002:
    case 0x8000_0003:
    case 0x8000_0004: {
      const at = (leaf - 0x8000_0002) * 16;
      return { eax: text(BRAND, at), ebx: text(BRAND, at + 4), ecx: text(BRAND, at + 8), edx: text(BRAND, at + 12) };
    }
    case 0x8000_0006:
      return { eax: 0, ebx: 0, ecx: (2048 << 16) | (8 << 12) | LINE, edx: 0 };
    case 0x8000_0008:
      return { eax: PHYSICAL_BITS | (48 << 8), ebx: 0, ecx: 0, edx: 0 };
    default:
      return f;
  }
}

/** Physical address bits that the models have. */
export const PHYSICAL_BITS = 40;

function topology(subleaf: number, c: CpuidContext): CpuidResult {
  const shift = Math.ceil(Math.log2(Math.max(1, c.cpus)));
  if (subleaf === 0) return { eax: 0, ebx: 1, ecx: (1 << 8) | 0, edx: c.apicId };
  if (subleaf === 1) return { eax: shift, ebx: c.cpus, ecx: (2 << 8) | 1, edx: c.apicId };
  return { eax: 0, ebx: 0, ecx: subleaf, edx: c.apicId };
}

/**
 * IA32_ARCH_CAPABILITIES: what speculative leaks this CPU does not have; translated or interpreted code never reads
 * ahead of its checks. Bits (SDM vol.4 table 2-2): 0 RDCL_NO, 3 SKIP_L1DFL_VMENTRY, 4 SSB_NO, 5 MDS_NO,
 * 6 IF_PSCHANGE_MC_NO, 8 TAA_NO, 13 SBDR_SSDP_NO, 14 FBSDP_NO, 15 PSDP_NO, 20 BHI_NO, 26 GDS_NO, 27 RFDS_NO.
 */
export const ARCH_CAPABILITIES = [0, 3, 4, 5, 6, 8, 13, 14, 15, 20, 26, 27].reduce((v, b) => v | (1n << BigInt(b)), 0n);
