/**
 * Decides what is translated, has the regions written in batches, here or by a compiler on another thread, and puts them
 * in the place of their entries' records.
 */

import type { Decoder } from '../../isa/decoder.ts';
import { CODE_PAGE, CPU, REC, REGION_EXIT } from '../../isa/layout.ts';
import type { DecodeCache } from '../decode-cache.ts';
import { EMPTY, FIRST_REGION, TABLE_SIZE } from '../interp/special.ts';
import { type Cfg, pageOf, REGION_LIMITS, type RegionLimits } from './cfg.ts';
import { countExits, LINK, unpackExit, writeModule } from './compile.ts';
import { Heat } from './heat.ts';
import { type JobResult, packJob, type RegionCompiler } from './job.ts';
import { type Installed, type LiveModule, LiveModules } from './live-modules.ts';
import { type Entry, type Plan, Planner } from './planner.ts';
import { rowUse } from './rowuse.ts';

/** Modules at the most: V8 fails near 16,000, and long before that most of them are cold. The oldest goes for a new one. */
const MAX_LIVE_MODULES = 4000;
/** Regions that go into one module at the most. */
const MAX_BATCH = 32;
/**
 * A compiler on another thread gets less at a time, so that the guest does not wait for the planning and soon has what is
 * hottest: no more regions after so many instructions, and no more jobs while so many are under way.
 */
const JOB_INSNS = 600;
const MAX_JOBS = 3;
/** Milliseconds between two looks at that thread, while something is hot. */
const FLUSH_MS = 1.5;

/** Sizes that tests make small, so that regions end and are dropped all the time. */
export interface TranslatorLimits extends RegionLimits {
  readonly maxLiveModules: number;
  /** Regions that go into one module. */
  readonly maxBatch: number;
  /** Places of the table for regions: at least as many as are made at once. */
  readonly tableSlots: number;
}
const LIMITS: TranslatorLimits = {
  ...REGION_LIMITS,
  maxLiveModules: MAX_LIVE_MODULES,
  maxBatch: MAX_BATCH,
  tableSlots: TABLE_SIZE - FIRST_REGION,
};

export interface TranslatorOptions {
  readonly memory: WebAssembly.Memory;
  readonly cache: DecodeCache;
  readonly decoder: Decoder;
  /** Exports of the runtime and of the interpreter module. */
  readonly runtime: WebAssembly.Exports;
  readonly interpreter: WebAssembly.Exports;
  readonly limits?: Partial<TranslatorLimits> | undefined;
  /** Writes and compiles regions while the guest goes on. Absent: they are made at once, by the caller's thread. */
  readonly compiler?: RegionCompiler | undefined;
  /** Called with each region when tracing is on: rip of its entry, what it was made of. */
  readonly onRegion?: ((rip: bigint, cfg: Cfg) => void) | undefined;
  /** Called with each module; its functions are named region_<rip in hexadecimal>_<number>. */
  readonly onModule?: ((bytes: Uint8Array) => void) | undefined;
}

export interface TranslatorCounters {
  regions: number;
  insns: number;
  modules: number;
  /** Modules that were dropped for new ones. */
  evicted: number;
  bytes: number;
  /** Milliseconds spent on regions by the vCPU's thread, and by the compiler's. */
  ms: number;
  workerMs: number;
  /** Mean time in milliseconds from when a job is planned until its regions are in their places. */
  latencyMs: number;
  /** Regions that the compiler made and that came too late: their code had been dropped. */
  late: number;
  refused: number;
  /** Regions that could not be written because of a mistake in the translator. */
  failed: number;
}

/** What is installed: see JobResult. */
type MadeModule = Pick<JobResult, 'module' | 'exits' | 'entries' | 'size' | 'bytes'>;

/** Plans that the compiler has. */
interface Underway {
  readonly plans: readonly Plan[];
  readonly generation: number;
  readonly since: number;
}

export class Translator {
  readonly counters: TranslatorCounters = {
    regions: 0,
    insns: 0,
    modules: 0,
    evicted: 0,
    bytes: 0,
    ms: 0,
    workerMs: 0,
    latencyMs: 0,
    late: 0,
    refused: 0,
    failed: 0,
  };
  private readonly o: TranslatorOptions;
  private readonly limits: TranslatorLimits;
  private readonly view: DataView;
  private readonly planner: Planner;
  private readonly modules: LiveModules;
  private readonly heat: Heat;
  private pending = new Map<number, Entry>();
  /** Records of entries, certain and possible ones, of regions that are being made; with the place if it got hot since. */
  private readonly making = new Map<number, Entry | undefined>();
  private compiler: RegionCompiler | undefined;
  private readonly underway = new Map<number, Underway>();
  /** When `flush` was called last. */
  private flushedAt = 0;
  private nextJob = 0;
  /** Counts how often everything was forgotten: a plan of another generation is worth nothing. */
  private generation = 0;
  /** The interpreter's handler of records that a region stands in for. */
  private readonly originals = new Map<number, number>();
  /** Instructions of regions, by their entries' records. */
  private readonly sizes = new Map<number, number>();
  /** The same of regions that are being made. */
  private readonly sizesToBe = new Map<number, number>();
  /** Records whose accesses are looked up alone, and how often regions were left at their first record because of that. */
  private readonly alone = new Set<number>();
  private readonly crossings = new Map<number, number>();

  constructor(options: TranslatorOptions) {
    this.o = options;
    this.limits = { ...LIMITS, ...options.limits };
    this.view = new DataView(options.memory.buffer);
    this.heat = new Heat(options.memory, options.compiler === undefined);
    const original = (rec: number): number | undefined => this.originals.get(rec);
    const sizeOf = (rec: number): number | undefined => this.sizes.get(rec) ?? this.sizesToBe.get(rec);
    const isCold = (rec: number): boolean => !this.originals.has(rec) && this.heat.isCold(rec);
    const isWarm = (rec: number): boolean => !this.originals.has(rec) && this.heat.isWarm(rec);
    const isAlone = (rec: number): boolean => this.alone.has(rec);
    this.planner = new Planner({ ...options, limits: this.limits, original, sizeOf, isCold, isWarm, isAlone });
    this.modules = new LiveModules({
      ...this.limits,
      table: options.interpreter.table as WebAssembly.Table,
      empty: options.interpreter[EMPTY],
      onEvict: ({ regions }) => {
        for (const r of regions) this.remove(r);
        this.counters.evicted++;
      },
    });
    this.compiler = options.compiler;
  }

  /** How often what is decoded from now on is jumped to before it is translated (1-65535); undefined: as is usual. */
  setThreshold(jumps?: number): void {
    this.heat.setHotAt(jumps);
    this.o.cache.heat = this.heat.hotAt;
  }
  /** Forgets everything about records: they are being dropped. Modules go with their functions' places in the table. */
  forget(): void {
    this.generation++;
    this.planner.forget();
    this.pending.clear();
    this.making.clear();
    this.originals.clear();
    this.sizes.clear();
    this.sizesToBe.clear();
    this.alone.clear();
    this.crossings.clear();
    this.modules.clear();
  }
  /**
   * `flush` should be called soon: there is something to do with the compiler's thread, and the last time was longer ago
   * than a slice takes. Never so where everything is done here, as a slice's length is not to depend on the host then.
   */
  get isOverdue(): boolean {
    return this.compiler !== undefined && this.hasPending && performance.now() - this.flushedAt > FLUSH_MS;
  }
  /** There is something for `flush` to do. */
  get hasPending(): boolean {
    return this.pending.size > 0 || this.underway.size > 0;
  }
  /** Ends the compiler's thread; what is hot is translated here from now on. */
  close(): void {
    this.compiler?.close();
    this.goOnHere();
  }

  private u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  /**
   * A record's counter has run down: it is a candidate if it is the entry of its position in the current page.
   * `crossed`: a region was left here as what it looks up at once is on two pages. For the first record of a region that
   * is told each time.
   */
  hot(cpu: number, rec: number, crossed = false): void {
    if (crossed && this.keepApart(rec)) return;
    if (this.originals.has(rec)) return;
    this.heat.rest(rec);
    const place = this.pending.has(rec) ? undefined : this.placeOf(cpu, rec);
    if (!place) return;
    if (this.making.has(rec)) this.making.set(rec, place);
    else this.pending.set(rec, place);
  }
  /** Where a record is, if it is the entry of its position in the current page. */
  private placeOf(cpu: number, rec: number): Entry | undefined {
    const at = this.view.getUint16(rec + REC.OFFSET, true);
    const pageBase = this.view.getBigUint64(cpu + CPU.page_base!, true);
    const page = this.planner.codePageAt(cpu, pageBase);
    if (page === 0 || this.u32(page + CODE_PAGE.ENTRY + at * 4) !== rec) return undefined;
    return { cpu, rec, page, at, rip: pageBase + BigInt(at) };
  }

  /**
   * Regions were left at a record, again and again, because accesses that are looked up together were on two pages, as
   * those of a stack frame may be: they are written again, with the accesses of its block looked up one by one.
   * @returns whether there is nothing else to do
   */
  private keepApart(rec: number): boolean {
    if (this.originals.has(rec)) {
      const count = (this.crossings.get(rec) ?? 0) + 1;
      this.crossings.set(rec, count);
      if (count < this.heat.hotAt) return true;
      this.crossings.delete(rec);
    } else this.heat.rest(rec);
    const left = this.modules.takeRegionsWith(rec);
    for (const { blocks } of left) {
      for (const recs of blocks) if (recs.includes(rec)) for (const r of recs) this.alone.add(r);
    }
    for (const r of left) {
      this.remove(r);
      if (!this.isKnown(r.entry.rec)) this.pending.set(r.entry.rec, r.entry);
    }
    return left.length > 0;
  }
  /** Puts the interpreter's handlers into a region's places; it is hot again after as many jumps as at first. */
  private remove({ places }: Installed): void {
    for (const { rec, at, page } of places) {
      const original = this.originals.get(rec);
      this.originals.delete(rec);
      this.sizes.delete(rec);
      if (original === undefined || this.u32(page + CODE_PAGE.ENTRY + at * 4) !== rec) continue;
      this.view.setUint16(rec + REC.HANDLER, original, true);
      this.heat.restart(rec);
    }
  }
  /** A record that is a region's entry, or is going to be. */
  private isKnown(rec: number): boolean {
    return this.originals.has(rec) || this.pending.has(rec) || this.making.has(rec);
  }

  /** Translates what is waiting, or has it translated and takes what is ready; called between chains. */
  flush(): void {
    const started = performance.now();
    this.flushedAt = started;
    if (this.compiler) this.exchange(this.compiler);
    else this.translate();
    this.counters.ms += performance.now() - started;
  }
  private translate(): void {
    const plans = this.planBatch(Number.POSITIVE_INFINITY);
    if (plans.length === 0) return;
    const written = writeModule(plans);
    // Where everything is translated at once, in tests, a mistake of the translator is not passed over.
    if (written.error !== undefined && this.heat.isEager) throw written.error;
    const module = written.bytes && new WebAssembly.Module(written.bytes);
    this.made(plans, { ...written, module, size: written.bytes?.length ?? 0 });
  }
  private exchange(compiler: RegionCompiler): void {
    for (let r = compiler.poll(); r; r = compiler.poll()) this.take(r);
    if (compiler.failed) {
      this.goOnHere();
      this.translate();
      return;
    }
    if (this.underway.size >= MAX_JOBS) return;
    const plans = this.planBatch(JOB_INSNS);
    if (plans.length === 0) return;
    const id = this.nextJob++;
    this.underway.set(id, { plans, generation: this.generation, since: performance.now() });
    const wantsBytes = this.o.onModule !== undefined;
    compiler.post(packJob(id, plans, (plan, i, code, to) => this.planner.copyBytes(plan, i, code, to), wantsBytes));
  }
  private take(result: JobResult): void {
    const job = this.underway.get(result.id);
    if (!job) return;
    this.underway.delete(result.id);
    this.counters.workerMs += result.ms;
    if (job.generation === this.generation) this.made(job.plans, result);
    else this.counters.late += job.plans.length;
    this.counters.latencyMs += (performance.now() - job.since - this.counters.latencyMs) / (result.id + 1);
  }
  /** Without the compiler; what it had is planned again. */
  private goOnHere(): void {
    for (const { plans, generation } of this.underway.values()) {
      if (generation === this.generation) for (const { entry } of plans) this.pending.set(entry.rec, entry);
    }
    this.underway.clear();
    this.making.clear();
    this.sizesToBe.clear();
    this.compiler = undefined;
  }

  /** Plans of what waits: none after so many instructions. */
  private planBatch(maxInsns: number): Plan[] {
    const plans: Plan[] = [];
    const covered = new Set<number>();
    let insns = 0;
    for (const p of [...this.pending.values()].slice(0, this.limits.maxBatch)) {
      if (insns >= maxInsns) break;
      this.pending.delete(p.rec);
      // It has become an entry of another region while it waited.
      if (this.originals.has(p.rec)) continue;
      // What another region of the batch contains is seldom jumped to from outside once that is there.
      if (covered.has(p.rec)) {
        this.heat.restart(p.rec);
        continue;
      }
      const plan = this.planner.plan(p);
      if (!plan) continue;
      if (!plan.cfg.blocks.get(p.at)?.insns.length) {
        this.counters.refused++;
        continue;
      }
      plans.push(plan);
      this.sizesToBe.set(p.rec, plan.reached.insns.size);
      insns += plan.reached.insns.size;
      for (const b of plan.cfg.blocks.values()) if (b.insns[0]) covered.add(b.insns[0].rec);
    }
    for (const { entry } of plans) this.making.set(entry.rec, undefined);
    for (const plan of plans) {
      for (const { rec } of placesOf(plan, plan.cfg.resumes)) if (!this.isKnown(rec)) this.making.set(rec, undefined);
      this.continueBehind(plan);
    }
    return plans;
  }

  /** Puts a region's exits where it finds them; 0 when there is no room. */
  private writeExits(plan: Plan, exits: Int32Array): number {
    const count = countExits(exits);
    const start = this.o.cache.roomFor(plan.entry.page, Math.ceil((count * REGION_EXIT.SIZE) / REC.SIZE));
    if (start === 0) return 0;
    for (let n = 0; n < count; n++) {
      const e = unpackExit(exits, n);
      const at = start + n * REGION_EXIT.SIZE;
      this.view.setUint32(at + REGION_EXIT.HANDLER, e.handler, true);
      this.view.setUint32(at + REGION_EXIT.REC, e.rec, true);
      this.view.setInt32(at + REGION_EXIT.BACK, e.back, true);
      this.view.setInt32(at + REGION_EXIT.PAGE, e.page * 4096, true);
    }
    return start;
  }

  /** What comes behind an instruction that a hot region leaves to the interpreter is hot too. */
  private continueBehind({ entry: p, cfg, pageAt }: Plan): void {
    for (const { end } of cfg.blocks.values()) {
      if (end.kind !== 'interpret') continue;
      const { insn } = end.insn;
      if (rowUse(insn.row, insn.mode.code === 64).methods.has('transfer')) continue;
      const at = end.insn.at + insn.length;
      if (cfg.resumes.includes(at)) continue;
      const page = pageAt(pageOf(at));
      const rec = page ? this.o.cache.recordAt(p.cpu, page.page, page.host, at & 0xfff) : 0;
      if (!page || rec === 0 || this.isKnown(rec)) continue;
      const rip = p.rip + BigInt(at - p.at);
      this.pending.set(rec, { cpu: p.cpu, rec, page: page.page, at: at & 0xfff, rip });
    }
  }

  /** Plans were written: their regions take their places. */
  private made(plans: readonly Plan[], made: MadeModule): void {
    for (const { entry } of plans) {
      this.making.delete(entry.rec);
      this.sizesToBe.delete(entry.rec);
    }
    this.counters.failed += made.exits.filter((e) => e === undefined).length;
    const tables = plans.map((plan, i) => {
      const exits = made.exits[i];
      if (!exits) return 0;
      if (!this.originals.has(plan.entry.rec) && this.planner.holds(plan)) return this.writeExits(plan, exits);
      this.counters.late++;
      return 0;
    });
    this.install(plans, made, tables);
    // Places that did not become entries and were waiting for that.
    for (const { rec } of plans.flatMap((plan) => placesOf(plan, plan.cfg.resumes))) {
      const hot = this.making.get(rec);
      this.making.delete(rec);
      if (hot && !this.isKnown(rec)) this.pending.set(rec, hot);
    }
  }
  private install(plans: readonly Plan[], made: MadeModule, tables: readonly number[]): void {
    if (!made.module || tables.every((at) => at === 0)) return;
    const live = this.instantiate(made.module, made.exits, tables);
    let slot = live.first;
    plans.forEach((plan, i) => {
      if (!made.exits[i]) return;
      const place = slot++;
      // A function without exits is in the table and nobody goes there.
      if (tables[i] === 0) return;
      const { rip } = plan.entry;
      const places = placesOf(plan, made.entries[i]!).filter(
        ({ rec, at, page }) => !this.originals.has(rec) && this.u32(page + CODE_PAGE.ENTRY + at * 4) === rec,
      );
      for (const { rec } of places) {
        const original = this.view.getUint16(rec + REC.HANDLER, true);
        this.originals.set(rec, original);
        this.sizes.set(rec, plan.reached.insns.size);
        this.view.setUint16(rec + REC.HEAT, original, true);
        this.view.setUint16(rec + REC.HANDLER, place, true);
      }
      const blocks = [...plan.cfg.blocks.values()].map((b) => Uint32Array.from(b.insns, ({ rec }) => rec));
      live.regions.push({ entry: plan.entry, places, blocks });
      this.counters.regions++;
      for (const b of plan.cfg.blocks.values()) this.counters.insns += b.insns.length;
      this.o.onRegion?.(rip, plan.cfg);
    });
    this.counters.bytes += made.size;
    if (made.bytes) this.o.onModule?.(made.bytes);
  }

  /** Puts a module's functions into the table. */
  private instantiate(
    module: WebAssembly.Module,
    exits: readonly (Int32Array | undefined)[],
    tables: readonly number[],
  ): LiveModule {
    const { memory, runtime, interpreter } = this.o;
    const count = exits.filter((e) => e !== undefined).length;
    const live = this.modules.add(count);
    this.counters.modules++;
    const link: Record<string, number> = { table: live.first };
    tables.forEach((at, i) => {
      link[`exits${i}`] = at;
    });
    new WebAssembly.Instance(module, {
      env: { memory, table: interpreter.table as WebAssembly.Table },
      [LINK]: link,
      runtime: runtime as WebAssembly.ModuleImports,
      interpreter: interpreter as WebAssembly.ModuleImports,
    });
    return live;
  }
}

/** Block starts of a plan's first page as places. */
function placesOf({ entry, cfg }: Plan, starts: Iterable<number>): Entry[] {
  return Array.from(starts, (at) => {
    const { rec } = cfg.blocks.get(at)!.insns[0]!;
    return { cpu: entry.cpu, rec, page: entry.page, at, rip: entry.rip + BigInt(at - entry.at) };
  });
}
