// Lockstep over random code: short sequences from random states, in each mode, on the soft engine and on /dev/kvm.
import type { Regs, Sregs, Vcpu, Vm } from '../../src/hv/contract.ts';
import { CPU_MODELS } from '../../src/hv/cpu-model.ts';
import { cpuidEntries, filterCpuid } from '../../src/hv/cpuid-entries.ts';
import { loadEngineImage } from '../../src/hv/kvm/engine-files.ts';
import { KvmHypervisor } from '../../src/hv/kvm/hypervisor.ts';
import { type Found, Lockstep } from '../../src/hv/lockstep.ts';
import { AT, MODES, type ModeName, ODD_PAGES, setUpMode } from '../../src/hv/modes.ts';
import { SoftHypervisor } from '../../src/hv/soft/contract-vm.ts';
import { makeDecoder } from '../../src/isa/decoder.ts';
import type { CodeMode } from '../../src/isa/insn.ts';
import type { Row } from '../../src/isa/row.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { Random } from '../isa/random.ts';
import { initialXsave, runsPae } from './engines.ts';
import { knownDifference } from './lockstep-known.ts';
import { type CodeSource, makeCodeSource } from './random-code.ts';

const HLT = 0xf4;
/** Sequences for each instruction to be compared, at the most. */
const MOST_TRIES = 4;
const SEQUENCE = 12;
const STEPS = SEQUENCE;

export interface LockstepOptions {
  readonly count: number;
  readonly seed: number;
  readonly mode?: string | undefined;
  readonly only?: string | undefined;
}

/** How often a row came to the same on both engines: without a fault, and with one. */
export interface Agreement {
  through: number;
  faulted: number;
}
/** Rows whose work it is to go to a handler. */
const DELIVERS = /^int/;

export class Report {
  readonly rows = new Map<Row, Agreement>();
  compared = 0;
  unexplained = 0;
  readonly unsupported = new Map<string, number>();
  readonly endings = new Map<string, number>();
  readonly known = new Map<string, number>();
  readonly found: { mode: ModeName; found: Found }[] = [];
  readonly notes: string[] = [];
  readonly started = performance.now();

  agreed(row: Row | undefined, reason: string): void {
    if (!row) return;
    const a = this.rows.get(row) ?? { through: 0, faulted: 0 };
    if (reason === 'exception' && !DELIVERS.test(row.name)) a.faulted++;
    else a.through++;
    this.rows.set(row, a);
  }

  lines(show: number): string[] {
    const table = (m: Map<string, number>): string =>
      [...m].sort((x, y) => y[1] - x[1]).map(([k, n]) => `${k} ${n}`).join(', ') || 'none'; // biome-ignore format: one table
    const groups = new Map<string, { n: number; first: { mode: ModeName; found: Found } }>();
    for (const f of this.found) {
      const key = `${f.found.name}: ${f.found.differences.map((d) => d.what.replace(/ .*/, '')).join(' ')}`;
      const g = groups.get(key);
      if (g) g.n++;
      else groups.set(key, { n: 1, first: f });
    }
    const shown = [...groups]
      .slice(0, show)
      .flatMap(([key, { n, first }]) => [
        `${n} x ${key}`,
        `    ${first.mode} ${first.found.rip.toString(16)}: ${first.found.bytes}  ${first.found.text}`,
        ...first.found.differences.slice(0, 4).map((d) => `    ${d.what}: soft ${d.a}, kvm ${d.b}`),
      ]);
    const seconds = (performance.now() - this.started) / 1000;
    return [
      ...shown,
      ...this.notes,
      `${this.compared} instructions compared in ${seconds.toFixed(1)} s; ${this.unexplained} differ without a known reason`,
      `known differences: ${table(this.known)}`,
      `sequences ended by: ${table(this.endings)}`,
      `not carried out by KVM: ${table(this.unsupported)}`,
    ];
  }
}

const MODE_OF: Readonly<Record<ModeName, CodeMode>> = {
  real: { code: 16, stack: 16 },
  protected: { code: 32, stack: 32 },
  pae: { code: 32, stack: 32 },
  long: { code: 64, stack: 64 },
};

interface Pair {
  readonly soft: Vm;
  readonly kvm: Vm;
  readonly lockstep: Lockstep;
  readonly vcpus: readonly [Vcpu, Vcpu];
}

/** Both engines with the surroundings of one mode. */
class Bench {
  private readonly softEngine: SoftHypervisor;
  private readonly kvmEngine: KvmHypervisor;
  private readonly decoder = makeDecoder(ROWS.filter((r) => !r.feature || CPU_MODELS[0]!.features.has(r.feature)));
  private readonly mode: ModeName;
  private readonly random: Random;
  private pair: Pair;
  private sregs!: Sregs;
  private snapshot = new Uint8Array(0);
  readonly source: CodeSource;

  constructor(soft: SoftHypervisor, kvm: KvmHypervisor, mode: ModeName, random: Random, only: string | undefined) {
    this.softEngine = soft;
    this.kvmEngine = kvm;
    this.mode = mode;
    this.random = random;
    this.source = makeCodeSource(ROWS.filter((r) => !r.feature || CPU_MODELS[0]!.features.has(r.feature)), this.decoder, MODE_OF[mode], only); // biome-ignore format: one call
    this.pair = this.make();
  }

  private make(): Pair {
    const options = { ram: AT.ram, gpaTop: 4 << 20 };
    const soft = this.softEngine.createVm(options);
    const kvm = this.kvmEngine.createVm(options);
    const { entries } = filterCpuid(cpuidEntries(CPU_MODELS[0]!), this.kvmEngine.supportedCpuid());
    const vcpus = [soft, kvm].map((vm) => {
      vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
      this.sregs = setUpMode(vm.memory, this.mode, () => [HLT]);
      const vcpu = vm.createVcpu(0);
      vcpu.setCpuid(entries);
      return vcpu;
    }) as [Vcpu, Vcpu];
    const data = new Uint8Array(AT.stack + 0x1000 - AT.data).map(() => this.random.below(256));
    for (const vm of [soft, kvm]) vm.memory.write(AT.data, data);
    for (const vm of [soft, kvm]) vm.memory.fill(AT.code, 0x1000, HLT);
    this.snapshot = new Uint8Array(soft.memory.read(0, AT.ram));
    const value = (): number => this.random.below(256);
    const lockstep = new Lockstep({ vcpu: vcpus[0], memory: soft.memory }, { vcpu: vcpus[1], memory: kvm.memory }, this.decoder, value); // biome-ignore format: one call
    return { soft, kvm, lockstep, vcpus };
  }

  /** Back to the start; with new machines if a page table was changed, which KVM would not notice. */
  private restore(): void {
    const tables = (m: Uint8Array): Uint8Array => m.subarray(AT.tables, AT.tables + 0x4000);
    const now = this.pair.kvm.memory.read(0, AT.ram);
    if (this.mode !== 'real' && Buffer.compare(tables(now), tables(this.snapshot)) !== 0) {
      this.again();
    }
    for (const vm of [this.pair.soft, this.pair.kvm]) vm.memory.write(0, this.snapshot);
  }
  /** New machines, because the old ones have something unfinished. */
  private again(): void {
    this.close();
    this.pair = this.make();
  }
  close(): void {
    this.pair.soft.close();
    this.pair.kvm.close();
  }

  private value(): bigint {
    const { random } = this;
    switch (random.below(8)) {
      case 0:
        return BigInt(random.below(64));
      case 1:
        return random.u64();
      case 2:
        return BigInt.asUintN(64, -BigInt(random.below(256)));
      case 3:
        return BigInt(random.pick(Object.values(ODD_PAGES)) + random.below(0x1000));
      default:
        return BigInt(AT.data + random.below(0xf000));
    }
  }
  private regs(): Regs {
    const { random } = this;
    const v = (): bigint => (this.mode === 'long' ? this.value() : this.value() & 0xffff_ffffn);
    const real = this.mode === 'real';
    const flags = (random.u32() & 0x8d5) | 2 | (random.once(4) ? 0x200 : 0) | (random.once(8) ? 0x400 : 0);
    const rsp = BigInt((real ? 0x8000 : AT.stack) - random.below(64) * 8);
    return {
      rax: v(), rbx: v(), rcx: random.once(16) ? v() : BigInt(random.below(random.once(8) ? 1500 : 8)), rdx: v(), rsi: v(), rdi: v(), rsp, rbp: v(),
      r8: v(), r9: v(), r10: v(), r11: v(), r12: v(), r13: v(), r14: v(), r15: v(),
      rip: BigInt(AT.code), rflags: BigInt(flags),
    }; // biome-ignore format: a line a group
  }

  /** One sequence; returns how many instructions were compared. */
  sequence(report: Report): number {
    this.restore();
    const code = Array.from({ length: SEQUENCE }, () => [...this.source.next(this.random), HLT]).flat();
    const regs = this.regs();
    for (const [i, vcpu] of this.pair.vcpus.entries()) {
      [this.pair.soft, this.pair.kvm][i]!.memory.write(AT.code, Uint8Array.from(code));
      vcpu.setSregs(this.sregs);
      vcpu.setRegs(regs);
      vcpu.setEvents({ exception: undefined, interrupt: undefined, shadow: 0, nmiPending: false, nmiMasked: false });
      vcpu.setXsave(initialXsave());
      vcpu.setDebugRegs({ db: [0n, 0n, 0n, 0n], dr6: 0xffff0ff0n, dr7: 0x400n });
    }
    this.pair.lockstep.begin();
    for (let i = 0; i < STEPS; i++) {
      const result = this.pair.lockstep.step();
      if (result.kind === 'unsupported') {
        report.unsupported.set(result.name, (report.unsupported.get(result.name) ?? 0) + 1);
        return i;
      }
      if (result.kind === 'different') {
        this.note(report, result.found);
        return i + 1;
      }
      report.agreed(result.row, result.kind === 'ended' ? result.reason : '');
      if (result.kind === 'ended') {
        report.endings.set(result.reason, (report.endings.get(result.reason) ?? 0) + 1);
        if (result.reason === 'too many accesses') this.again();
        return i + 1;
      }
    }
    return STEPS;
  }
  private note(report: Report, found: Found): void {
    const why = knownDifference(found);
    if (why) report.known.set(why, (report.known.get(why) ?? 0) + 1);
    else {
      report.unexplained++;
      report.found.push({ mode: this.mode, found });
    }
  }
}

/** @throws HvError where there is no usable /dev/kvm */
export async function runLockstep(o: LockstepOptions): Promise<Report> {
  const soft = new SoftHypervisor({ image: await loadEngineImage() });
  const kvm = KvmHypervisor.open();
  const random = new Random(o.seed);
  const report = new Report();
  const pae = runsPae(kvm);
  if (!pae) report.notes.push('PAE mode left out: this host does not run 32-bit paging');
  const modes = MODES.filter((m) => (o.mode === undefined || m === o.mode) && (m !== 'pae' || pae));
  const benches = modes.map((m) => new Bench(soft, kvm, m, random, o.only));
  // KVM may carry none of what is asked for out.
  for (let tries = 0; report.compared < o.count && tries < MOST_TRIES * o.count; tries++) {
    for (const bench of benches) report.compared += bench.sequence(report);
  }
  for (const bench of benches) bench.close();
  kvm.close();
  return report;
}
