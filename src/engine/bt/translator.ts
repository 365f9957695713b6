/**
 * Decides what is translated, builds the regions in batches and puts them in the place of their entries' records.
 */

import type { Decoder } from '../../isa/decoder.ts';
import { HELPERS } from '../../isa/helpers.ts';
import { CODE_PAGE, CPU, HOT, ITLB, REC, REGION_EXIT } from '../../isa/layout.ts';
import { type FuncType, ModuleBuilder } from '../../wasm/module.ts';
import type { DecodeCache } from '../decode-cache.ts';
import { INTERPRETER_FUNCTIONS } from '../interp/module.ts';
import { SPECIAL } from '../interp/special.ts';
import { codeModeOf } from '../state.ts';
import { RegionOps } from './backend.ts';
import {
  buildCfg,
  type Cfg,
  type CodeSource,
  isTranslatable,
  pageOf,
  REGION_LIMITS,
  type RegionInsn,
  type RegionLimits,
} from './cfg.ts';
import { type RegionExit, type RegionLinks, RegionWriter } from './region.ts';
import { rowUse } from './rowuse.ts';

/** Jumps to a record before it is translated, as its counter begins. */
export const HOT_THRESHOLD = 8000;
/** What a counter is set to after its record was dealt with; tests that translate everything at once ask again at once. */
const COUNTER_REST = 0xffff;
const EAGER_THRESHOLD = 16;
/** Modules after which everything is dropped and translated anew when it is hot again. */
const MAX_LIVE_MODULES = 4000;
const TABLE_STEP = 1024;
/** Pages of a region at the most. */
const MAX_PAGES = 16;
/** Regions that go into one module at the most. */
const MAX_BATCH = 32;

/** Sizes that tests make small, so that regions end and are dropped all the time. */
export interface TranslatorLimits extends RegionLimits {
  readonly maxLiveModules: number;
}
const LIMITS: TranslatorLimits = { ...REGION_LIMITS, maxLiveModules: MAX_LIVE_MODULES };

const WASM_TYPE = { i: 'i32', l: 'i64', v: 'v128' } as const;
const HELPER_BY_NAME = new Map(HELPERS.map((h) => [h.name, h]));
const RECENT_FILL: FuncType = { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: ['i32'] };
const PAGE_HOLDS: FuncType = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] };
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

/** A page that a region runs through. */
interface PlannedPage {
  /** Its code page, and how often that had been dropped. */
  readonly page: number;
  readonly drops: number;
  /** Address of the frame. */
  readonly host: number;
}

interface Plan {
  readonly entry: Pending;
  readonly cfg: Cfg;
  /** By number from the entry's page; for all pages that the graph has blocks in. */
  pages(d: number): PlannedPage | undefined;
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
    const page = this.codePageAt(cpu, pageBase);
    if (page === 0) return;
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
    const covered = new Set<number>();
    for (const p of batch) {
      this.pending.delete(p.rec);
      // What another region of the batch contains is seldom jumped to from outside once that is there.
      if (covered.has(p.rec)) continue;
      const plan = this.plan(p);
      if (!plan) continue;
      plans.push(plan);
      for (const b of plan.cfg.blocks.values()) if (b.insns[0]) covered.add(b.insns[0].rec);
    }
    const m = this.newModule(plans);
    const made = plans.filter((plan) => this.tryRegion(m, plan)).map((plan) => plan.entry);
    if (made.length > 0) this.install(m, made);
    this.counters.ms += performance.now() - started;
  }

  /** The graph of an entry; undefined when there is nothing to gain or the entry is gone. */
  private plan(p: Pending): Plan | undefined {
    const pages = this.pagesAround(p);
    if (!pages || this.u32(p.page + CODE_PAGE.ENTRY + p.at * 4) !== p.rec) return undefined;
    const mode = codeModeOf(this.u32(p.page + CODE_PAGE.MODE));
    const insnAt = (at: number): RegionInsn | undefined => {
      const page = pages(pageOf(at));
      if (!page) return undefined;
      const within = at & 0xfff;
      const insn = this.o.decoder.decode(this.bytes, page.host + within, page.host + 4096, mode);
      if ('failure' in insn) return undefined;
      const rec = this.o.cache.recordAt(p.cpu, page.page, page.host, within);
      if (rec === 0) return undefined;
      const handler = this.originals.get(rec) ?? this.u32(rec + REC.HANDLER);
      return { insn, at, rec, handler, count: this.view.getUint16(rec + REC.COUNT, true) };
    };
    const code: CodeSource = {
      insnAt,
      wasReached: (at) => {
        const page = pages(pageOf(at));
        return page !== undefined && this.u32(page.page + CODE_PAGE.ENTRY + (at & 0xfff) * 4) !== 0;
      },
      canTranslate: (insn) => isTranslatable(insn, METHODS),
    };
    const cfg = buildCfg(p.at, code, this.limits);
    if ((cfg.blocks.get(p.at)?.insns.length ?? 0) > 0) return { entry: p, cfg, pages };
    this.counters.refused++;
    return undefined;
  }

  /**
   * The pages around an entry, by number from its own: those that the instruction TLB knows, if the entry is mapped as
   * it was when it was noted. That is only a good guess: a region asks again before it enters another page.
   */
  private pagesAround(p: Pending): ((d: number) => PlannedPage | undefined) | undefined {
    const known = new Map<number, PlannedPage | undefined>();
    const planned = (page: number): PlannedPage | undefined => {
      const host = this.o.cache.frameAddress(p.cpu, this.u32(page + CODE_PAGE.FRAME));
      return host === undefined ? undefined : { page, host, drops: this.u32(page + CODE_PAGE.DROPS) };
    };
    const own = planned(p.page);
    if (!own) return undefined;
    known.set(0, own);
    const base = p.rip - BigInt(p.at);
    const isMapped = this.codePageAt(p.cpu, base) === p.page;
    return (d) => {
      if (known.has(d)) return known.get(d);
      const page = isMapped && known.size < MAX_PAGES ? this.codePageAt(p.cpu, base + BigInt(d) * 4096n) : 0;
      const found = page === 0 ? undefined : planned(page);
      if (found || known.size < MAX_PAGES) known.set(d, found);
      return found;
    };
  }
  /** The code page that the instruction TLB has for the page that starts at `rip`, or 0. */
  private codePageAt(cpu: number, rip: bigint): number {
    const mask = this.view.getBigUint64(cpu + CPU.code_mask!, true);
    const linear = BigInt.asUintN(64, rip + this.view.getBigUint64(cpu + CPU.code_base!, true)) & mask;
    const entry = cpu + ITLB.OFFSET + Number((linear >> 12n) & BigInt(ITLB.ENTRIES - 1)) * ITLB.ENTRY_SIZE;
    const tag = (linear & ~0xfffn) | BigInt(this.u32(cpu + CPU.itlb_ctx!));
    return this.view.getBigUint64(entry + ITLB.TAG, true) === tag ? this.u32(entry + ITLB.PAGE) : 0;
  }

  /** A module that imports what the regions to be written call. */
  private newModule(plans: readonly Plan[]): ModuleBuilder {
    const m = new ModuleBuilder();
    m.importFunction('runtime', 'ram_fill', RAM_FILL);
    m.importFunction('runtime', 'recent_fill', RECENT_FILL);
    m.importFunction('runtime', 'page_holds', PAGE_HOLDS);
    const used = new Set<string>();
    for (const { cfg } of plans)
      for (const b of cfg.blocks.values())
        for (const i of b.insns) for (const h of rowUse(i.insn.row, i.insn.mode.code === 64).helpers) used.add(h);
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
  private addRegion(m: ModuleBuilder, plan: Plan): boolean {
    const { entry: p, cfg } = plan;
    const links: RegionLinks = {
      join: (from, target) => this.o.cache.joinRecord(plan.pages(from)!.page, target - from * 4096),
      joinHandler: SPECIAL.join,
      pages: (d) => plan.pages(d)!,
      exitTable: (exits) => this.writeExits(p.page, exits),
    };
    const name = `region_${p.rip.toString(16)}_${this.counters.regions}`;
    if (!new RegionWriter(m, name, cfg, links).write()) {
      m.dropLast();
      return false;
    }
    this.counters.regions++;
    let insns = 0;
    for (const b of cfg.blocks.values()) insns += b.insns.length;
    this.counters.insns += insns;
    this.continueBehind(plan);
    this.o.onRegion?.(p.rip, cfg);
    return true;
  }

  /** Puts a region's exits where it finds them; 0 when there is no room. */
  private writeExits(page: number, exits: readonly RegionExit[]): number {
    const bytes = exits.length * REGION_EXIT.SIZE;
    const start = this.o.cache.roomFor(page, Math.ceil(bytes / REC.SIZE));
    if (start === 0 || exits.some((e) => e.rec === 0)) return 0;
    exits.forEach((e, i) => {
      const at = start + i * REGION_EXIT.SIZE;
      this.view.setUint32(at + REGION_EXIT.HANDLER, e.handler, true);
      this.view.setUint32(at + REGION_EXIT.REC, e.rec, true);
      this.view.setInt32(at + REGION_EXIT.BACK, e.back, true);
      this.view.setInt32(at + REGION_EXIT.PAGE, e.page * 4096, true);
    });
    return start;
  }

  /** What comes behind an instruction that a hot region leaves to the interpreter is hot too. */
  private continueBehind({ entry: p, cfg, pages }: Plan): void {
    for (const { end } of cfg.blocks.values()) {
      if (end.kind !== 'interpret') continue;
      const { insn } = end.insn;
      if (rowUse(insn.row, insn.mode.code === 64).methods.has('transfer')) continue;
      const at = end.insn.at + insn.length;
      const page = pages(pageOf(at));
      const rec = page ? this.o.cache.recordAt(p.cpu, page.page, page.host, at & 0xfff) : 0;
      if (!page || rec === 0 || this.originals.has(rec)) continue;
      const rip = p.rip + BigInt(at - p.at);
      this.pending.set(rec, { cpu: p.cpu, rec, page: page.page, at: at & 0xfff, rip });
    }
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
  if (name === 'yield_at') return { params: ['i32', 'i32'], results: [] };
  if (name === 'goto') return { params: ['i32', 'i64'], results: [] };
  if (name === 'explicit' || name === 'goto_events') return { params: ['i32'], results: [] };
  if (name.startsWith('mulh')) return I64_OF_I64S(2);
  if (name === 'udiv128') return I64_OF_I64S(3);
  return FLAG_FUNCTION;
}
