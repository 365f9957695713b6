// What is measured: the names, in the order of the table, which program of bench/guest measures each, and the bars
// that the project holds itself to.

/** A program in the guest, and how many times the clock runs out if it hangs. */
export type ProgramName = 'kernels' | 'system' | 'dispersed' | 'packages';

/** One line of the table. */
export interface Benchmark {
  readonly name: string;
  readonly group: 'loops' | 'system' | 'dispersed' | 'boot';
  /** Undefined for the boot, which every start of a guest measures. */
  readonly program?: ProgramName;
  /** One operation, for the table's column. */
  readonly unit: string;
  readonly description: string;
}

const loop = (name: string, unit: string, description: string): Benchmark => {
  return { name, group: 'loops', program: 'kernels', unit, description };
};
const system = (name: string, unit: string, description: string): Benchmark => {
  return { name, group: 'system', program: 'system', unit, description };
};

export const BENCHMARKS: readonly Benchmark[] = [
  loop('crc', 'byte', 'CRC-32 by table, 1 MiB a hundred times'),
  loop('spmv', 'term', 'sparse matrix row times vector, SSE2 doubles'),
  loop('sieve', 'number', 'primes below a million'),
  loop('fib', 'unit', 'recursive Fibonacci numbers'),
  system('syscall', 'call', 'getppid'),
  system('page-fault', 'page', 'mmap, touch, munmap'),
  system('context-switch', 'switch', 'a byte to and fro through two pipes'),
  system('fork-exit-wait', 'process', 'fork, exit, wait'),
  system('exec', 'process', 'vfork, exec of a static program, wait'),
  system('protect-trap', 'trap', 'store to a read-only page, signal handler'),
  system('random-page', 'load', 'random loads over 64 MiB'),
  {
    name: 'blocks',
    group: 'dispersed',
    program: 'dispersed',
    unit: 'block',
    description: '2,000 distinct hot blocks over 200 pages',
  },
  {
    name: 'python',
    group: 'dispersed',
    program: 'packages',
    unit: 'start',
    description: "Debian's python3 -c, from start to end",
  },
  { name: 'gzip', group: 'dispersed', program: 'packages', unit: 'byte', description: "Debian's gzip of 20 MB" },
  { name: 'boot', group: 'boot', unit: 'boot', description: 'power-on to the first line of /init' },
];

export type Peer = 'native' | 'plinth' | 'qemu' | 'v86';
export type Bits = 64 | 32;

/** Who runs the programs: a peer with a 64- or 32-bit kernel. */
export interface Contestant {
  readonly peer: Peer;
  readonly bits: Bits;
}

/** `plinth64` and the like: how results and options name a contestant. */
export function contestantName({ peer, bits }: Contestant): string {
  return `${peer}${bits}`;
}

/** In the order in which a round runs them. v86 has no 64-bit mode. QEMU with 32 bits decides no bar: only if asked. */
export const CONTESTANTS: readonly Contestant[] = [
  { peer: 'native', bits: 64 },
  { peer: 'plinth', bits: 64 },
  { peer: 'qemu', bits: 64 },
  { peer: 'native', bits: 32 },
  { peer: 'plinth', bits: 32 },
  { peer: 'qemu', bits: 32 },
  { peer: 'v86', bits: 32 },
];
export const DEFAULT_CONTESTANTS = 'native64,plinth64,qemu64,native32,plinth32,v8632'.split(',');

/**
 * A bar: Plinth's time over another's, for one benchmark or the geometric mean or the worst of several. Met when the
 * ratio is at most `must`. "1.8 times faster" is a ratio of 1 / 1.8.
 */
export interface Bar {
  readonly name: string;
  readonly over: string;
  readonly bits: Bits;
  readonly benchmarks: readonly string[];
  readonly combine: 'mean' | 'worst';
  readonly must: number;
  readonly aim?: number;
  /** The bar is stated as how many times faster. */
  readonly faster?: boolean;
}

const named = (group: Benchmark['group']): string[] => {
  return BENCHMARKS.filter((benchmark) => benchmark.group === group).map(({ name }) => name);
};
const single = (name: string, over: string, must: number, aim: number): Bar => {
  return { name, over, bits: 64, benchmarks: [name], combine: 'mean', must, aim };
};
const fasterMean = (name: string, over: string, group: Benchmark['group'], must: number, aim?: number): Bar => {
  const bits = over.endsWith('32') ? 32 : 64;
  const bar = { name, over, bits, benchmarks: named(group), combine: 'mean', must: 1 / must, faster: true } as const;
  return aim === undefined ? bar : { ...bar, aim: 1 / aim };
};

export const BARS: readonly Bar[] = [
  single('crc', 'native64', 2.2, 1.5),
  single('sieve', 'native64', 2.5, 1.5),
  single('fib', 'native64', 4.5, 3),
  single('spmv', 'native64', 5, 3),
  fasterMean('four loops, mean', 'qemu64', 'loops', 1.8, 3),
  fasterMean('four loops, mean', 'v8632', 'loops', 4, 7),
  fasterMean('seven system operations, mean', 'qemu64', 'system', 1.5),
  {
    name: 'seven system operations, slowest',
    over: 'qemu64',
    bits: 64,
    benchmarks: named('system'),
    combine: 'worst',
    must: 1.2,
  },
  fasterMean('seven system operations, mean', 'v8632', 'system', 5),
  single('boot', 'qemu64', 1.3, 0.8),
  ...named('dispersed').map((name) => single(name, 'qemu64', 1.3, 0.8)),
];
