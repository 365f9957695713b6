/**
 * Decides what is translated, builds the regions in batches and puts them in the place of their entries' records.
 */

import type { Decoder } from '../../isa/decoder.ts';
import { HELPERS } from '../../isa/helpers.ts';
import type { Insn } from '../../isa/insn.ts';
import { CODE_PAGE, CPU, HOT, ITLB, REC } from '../../isa/layout.ts';
import { type FuncType, ModuleBuilder } from '../../wasm/module.ts';
import type { DecodeCache } from '../decode-cache.ts';
import { INTERPRETER_FUNCTIONS } from '../interp/module.ts';
import { SPECIAL } from '../interp/special.ts';
import { codeModeOf } from '../state.ts';
import { RegionOps } from './backend.ts';
import { buildCfg, type Cfg, isTranslatable, REGION_LIMITS, type RegionInsn, type RegionLimits } from './cfg.ts';
import { RegionWriter } from './region.ts';
import { rowUse } from './rowuse.ts';

/** Jumps to a record before it is translated, as its counter begins. */
export const HOT_THRESHOLD = 3000;
/** What a counter is set to after its record was dealt with; tests that translate everything at once ask again at once. */
const COUNTER_REST = 0xffff;
const EAGER_THRESHOLD = 16;
/** Modules after which everything is dropped and translated anew when it is hot again. */
const MAX_LIVE_MODULES = 4000;
const TABLE_STEP = 1024;
/** Regions that go into one module at the most. */
const MAX_BATCH = 32;

/** Sizes that tests make small, so that regions end and are dropped all the time. */
export interface TranslatorLimits extends RegionLimits {
  readonly maxLiveModules: number;
}
const LIMITS: TranslatorLimits = { ...REGION_LIMITS, maxLiveModules: MAX_LIVE_MODULES };

const WASM_TYPE = { i: 'i32', l: 'i64', v: 'v128' } as const;
const HELPER_BY_NAME = new Map(HELPERS.map((h) => [h.name, h]));
const RAM_FILL: FuncType = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] };
const FLAG_FUNCTION: FuncType = { params: ['i32'], results: ['i32'] };
const I64_OF_I64S = (n: number): FuncType => ({ params: new Array(n).fill('i64'), results: ['i64'] });

export interface TranslatorOptions {
  readonly memory: WebAssembly.Memory;
  readonly table: WebAssembly.Table;
  readonly cache: DecodeCache;
  readonly decoder: Decoder;
  /** Exports of the runtime and of the interpreter module. */
  readonly runtime: WebAssembly.Exports;
  readonly interpreter: WebAssembly.Exports;
  readonly limits?: Partial<TranslatorLimits> | undefined;
  /** Called with each region when tracing is on: rip of its entry, what it was made of. */
  readonly onRegion?: ((rip: bigint, cfg: Cfg) => void) | undefined;
  /** Called with each module; its functions are named region_<rip in hexadecimal>_<number>. */
  readonly onModule?: ((bytes: Uint8Array) => void) | undefined;
}

export interface TranslatorCounters {
  regions: number;
  insns: number;
  modules: number;
  bytes: number;
  /** Milliseconds spent making and compiling modules. */
  ms: number;
  refused: number;
  /** Regions that could not be written because of a mistake in the translator. */
  failed: number;
}

interface Pending {
  readonly cpu: number;
  readonly rec: number;
  readonly page: number;
  readonly at: number;
  readonly rip: bigint;
}

interface Plan {
  readonly entry: Pending;
  readonly cfg: Cfg;
}

/** Vocabulary that the region backend has. */
const METHODS = {
  has: (name: string): boolean => name in RegionOps.prototype,
};

export class Translator {
  readonly counters: TranslatorCounters = { regions: 0, insns: 0, modules: 0, bytes: 0, ms: 0, refused: 0, failed: 0 };
  private readonly o: TranslatorOptions;
  private readonly limits: TranslatorLimits;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  /** Places in the table behind the interpreter's handlers, used up to `nextSlot`. */
  private readonly firstSlot: number;
  private nextSlot: number;
  /** Modules that the table keeps alive. */
  private live = 0;
  private rest = COUNTER_REST;
  private pending = new Map<number, Pending>();
  /** The interpreter's handler of records that a region stands in for. */
  private readonly originals = new Map<number, number>();

  constructor(options: TranslatorOptions) {
    this.o = options;
    this.limits = { ...LIMITS, ...options.limits };
    this.view = new DataView(options.memory.buffer);
    this.bytes = new Uint8Array(options.memory.buffer);
    this.firstSlot = options.table.length;
    this.nextSlot = this.firstSlot;
  }

  /** Sets all counters of a vCPU to the threshold (1-65535). */
  resetCounters(cpu: number, threshold = HOT_THRESHOLD): void {
    this.rest = threshold < EAGER_THRESHOLD ? threshold : COUNTER_REST;
    for (let i = 0; i < HOT.ENTRIES; i++) this.view.setUint16(cpu + HOT.OFFSET + i * 2, threshold, true);
  }
  /** Forgets everything about records: they are being dropped. Modules go with their functions' places in the table. */
  forget(): void {
    this.pending.clear();
    this.originals.clear();
    for (let i = this.firstSlot; i < this.nextSlot; i++) this.o.table.set(i, null);
    this.nextSlot = this.firstSlot;
    this.live = 0;
  }
  get hasPending(): boolean {
    return this.pending.size > 0;
  }

  private u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** A record's counter has run down: it is a candidate if it is the entry of its position in the current page. */
  hot(cpu: number, rec: number): void {
    const counter = cpu + HOT.OFFSET + ((rec >>> 4) & ((HOT.ENTRIES - 1) * 2));
    this.view.setUint16(counter, this.rest, true);
    if (this.originals.has(rec) || this.pending.has(rec)) return;
    const at = this.view.getUint16(rec + REC.OFFSET, true);
    const pageBase = this.view.getBigUint64(cpu + CPU.page_base!, true);
    const mask = this.view.getBigUint64(cpu + CPU.code_mask!, true);
    const linear = BigInt.asUintN(64, pageBase + this.view.getBigUint64(cpu + CPU.code_base!, true)) & mask;
    const entry = cpu + ITLB.OFFSET + Number((linear >> 12n) & BigInt(ITLB.ENTRIES - 1)) * ITLB.ENTRY_SIZE;
    const tag = (linear & ~0xfffn) | BigInt(this.u32(cpu + CPU.itlb_ctx!));
    if (this.view.getBigUint64(entry + ITLB.TAG, true) !== tag) return;
    const page = this.u32(entry + ITLB.PAGE);
    if (this.u32(page + CODE_PAGE.ENTRY + at * 4) !== rec) return;
    this.pending.set(rec, { cpu, rec, page, at, rip: pageBase + BigInt(at) });
  }

  /** Translates what is waiting; called between chains. */
  flush(): void {
    const started = performance.now();
    const first = this.pending.values().next().value;
    // V8 fails near 16,000 modules; long before that most of them are cold.
    if (first && this.live >= this.limits.maxLiveModules) this.o.cache.dropAll(first.cpu);
    const batch = [...this.pending.values()].slice(0, MAX_BATCH);
    const plans: Plan[] = [];
    const taken = new Set<number>();
    const covered = new Set<number>();
    for (const p of batch) {
      this.pending.delete(p.rec);
      // What another region of the batch contains is seldom jumped to from outside once that is there.
      if (covered.has(p.page * 4096 + p.at)) continue;
      const plan = this.plan(p, taken);
      if (!plan) continue;
      plans.push(plan);
      for (const at of plan.cfg.blocks.keys()) covered.add(p.page * 4096 + at);
    }
    const m = this.newModule(plans);
    const made = plans.filter((plan) => this.tryRegion(m, plan)).map((plan) => plan.entry);
    if (made.length > 0) this.install(m, made);
    this.counters.ms += performance.now() - started;
  }

  /** The graph of an entry; undefined when there is nothing to gain or the entry is gone. `taken`: other entries of the batch. */
  private plan(p: Pending, taken: ReadonlySet<number>): Plan | undefined {
    const host = this.o.cache.frameAddress(p.cpu, this.u32(p.page + CODE_PAGE.FRAME));
    if (host === undefined || this.u32(p.page + CODE_PAGE.ENTRY + p.at * 4) !== p.rec) return undefined;
    const mode = codeModeOf(this.u32(p.page + CODE_PAGE.MODE));
    const insnAt = (at: number): RegionInsn | undefined => {
      const insn = this.o.decoder.decode(this.bytes, host + at, host + 4096, mode);
      if ('failure' in insn) return undefined;
      const rec = this.o.cache.recordAt(p.cpu, p.page, host, at);
      if (rec === 0) return undefined;
      const handler = this.originals.get(rec) ?? this.u32(rec + REC.HANDLER);
      return { insn, at, rec, handler, count: this.view.getUint16(rec + REC.COUNT, true) };
    };
    const isEntry = (at: number): boolean => {
      const rec = this.u32(p.page + CODE_PAGE.ENTRY + at * 4);
      return process.env.STOP ? this.originals.has(rec) || taken.has(rec) : false;
    };
    const cfg = buildCfg(p.at, insnAt, (insn) => this.canTranslate(insn), isEntry, this.limits);
    if ((cfg.blocks.get(p.at)?.insns.length ?? 0) > 0) return { entry: p, cfg };
    this.counters.refused++;
    return undefined;
  }

  /** A module that imports what the regions to be written call. */
  private newModule(plans: readonly Plan[]): ModuleBuilder {
    const m = new ModuleBuilder();
    m.importFunction('runtime', 'ram_fill', RAM_FILL);
    const used = new Set<string>();
    for (const { cfg } of plans)
      for (const b of cfg.blocks.values())
        for (const i of b.insns) for (const h of rowUse(i.insn.row).helpers) used.add(h);
    for (const name of used) {
      const h = HELPER_BY_NAME.get(name)!;
      const params = ['i32' as const, ...[...h.params].map((p) => WASM_TYPE[p as 'i'])];
      m.importFunction('runtime', name, { params, results: h.result === '' ? [] : [WASM_TYPE[h.result as 'i']] });
    }
    for (const name of INTERPRETER_FUNCTIONS) {
      if (name !== 'enter') m.importFunction('interpreter', name, functionType(name));
    }
    return m;
  }

  /**
   * Writes a region. A mistake of the translator costs the guest speed, not its life: the place stays the
   * interpreter's and is counted. Where everything is translated at once, in tests, it is thrown on.
   */
  private tryRegion(m: ModuleBuilder, plan: Plan): boolean {
    const before = m.functionNames.length;
    try {
      return this.addRegion(m, plan);
    } catch (error) {
      if (this.rest !== COUNTER_REST) throw error;
      while (m.functionNames.length > before) m.dropLast();
      this.counters.failed++;
      return false;
    }
  }

  /** Writes a region; false when there is no room for its records. */
  private addRegion(m: ModuleBuilder, { entry: p, cfg }: Plan): boolean {
    const joins = new Map<number, number>();
    const join = (target: number): number => {
      let rec = joins.get(target);
      if (rec === undefined) {
        rec = this.o.cache.joinRecord(p.page, target);
        joins.set(target, rec);
      }
      return rec;
    };
    const name = `region_${p.rip.toString(16)}_${this.counters.regions}`;
    new RegionWriter(m, name, cfg, { join, joinHandler: SPECIAL.join }).write();
    if ([...joins.values()].includes(0)) {
      m.dropLast();
      return false;
    }
    this.counters.regions++;
    let insns = 0;
    for (const b of cfg.blocks.values()) insns += b.insns.length;
    this.counters.insns += insns;
    this.continueBehind(p, cfg);
    this.o.onRegion?.(p.rip, cfg);
    return true;
  }

  /** What comes behind an instruction that a hot region leaves to the interpreter is hot too. */
  private continueBehind(p: Pending, cfg: Cfg): void {
    const host = this.o.cache.frameAddress(p.cpu, this.u32(p.page + CODE_PAGE.FRAME))!;
    for (const { end } of cfg.blocks.values()) {
      if (end.kind !== 'interpret' || rowUse(end.insn.insn.row).methods.has('transfer')) continue;
      const at = end.insn.at + end.insn.insn.length;
      const rec = at < 4096 ? this.o.cache.recordAt(p.cpu, p.page, host, at) : 0;
      if (rec === 0 || this.originals.has(rec)) continue;
      this.pending.set(rec, { cpu: p.cpu, rec, page: p.page, at, rip: p.rip + BigInt(at - p.at) });
    }
  }

  private canTranslate(insn: Insn): boolean {
    return isTranslatable(insn, METHODS);
  }

  private install(m: ModuleBuilder, made: readonly Pending[]): void {
    const { table } = this.o;
    const base = this.nextSlot;
    if (base + made.length > table.length) table.grow(Math.max(made.length, TABLE_STEP));
    this.nextSlot += made.length;
    this.live++;
    m.element(base, m.functionNames);
    const bytes = m.build({ maximumPages: 65536, shared: false, tableSize: 0 });
    this.o.onModule?.(bytes);
    const module = new WebAssembly.Module(bytes);
    new WebAssembly.Instance(module, {
      env: { memory: this.o.memory, table },
      runtime: this.o.runtime as WebAssembly.ModuleImports,
      interpreter: this.o.interpreter as WebAssembly.ModuleImports,
    });
    this.counters.modules++;
    this.counters.bytes += bytes.length;
    made.forEach((p, i) => {
      // Making room for records may have dropped the page meanwhile.
      if (this.u32(p.page + CODE_PAGE.ENTRY + p.at * 4) !== p.rec) return;
      this.originals.set(p.rec, this.u32(p.rec + REC.HANDLER));
      this.view.setUint32(p.rec + REC.HANDLER, base + i, true);
    });
  }
}

function functionType(name: string): FuncType {
  if (name === 'goto') return { params: ['i32', 'i64'], results: [] };
  if (name === 'explicit') return { params: ['i32'], results: [] };
  if (name.startsWith('mulh')) return I64_OF_I64S(2);
  if (name === 'udiv128') return I64_OF_I64S(3);
  return FLAG_FUNCTION;
}
