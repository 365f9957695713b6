/** Plans regions: follows the code from an entry through the decode cache, over the pages that the instruction TLB knows. */
import type { Decoder } from '../../isa/decoder.ts';
import type { Insn } from '../../isa/insn.ts';
import { CODE_PAGE, CPU, ITLB, REC } from '../../isa/layout.ts';
import type { DecodeCache } from '../decode-cache.ts';
import { codeModeOf } from '../state.ts';
import { type CodeSource, cfgOf, pageOf, type RegionInsn, type RegionLimits, reach } from './cfg.ts';
import { canTranslate } from './compile.ts';
import type { PackablePlan } from './job.ts';

/** Pages of a region at the most. */
const MAX_PAGES = 16;
/**
 * What is called or jumped to and has a region of more instructions is left to that; smaller functions and inner loops
 * become part of each region that goes there. What is on another page and going to have a region is left to that too.
 */
const REPEATED_INSNS = 16;

/** A place that is to be the entry of a region. */
export interface Entry {
  readonly cpu: number;
  readonly rec: number;
  readonly page: number;
  readonly at: number;
  readonly rip: bigint;
}

/** A page that a region runs through. */
export interface PlannedPage {
  /** Its code page, and how often that had been dropped. */
  readonly page: number;
  readonly drops: number;
  /** Address of the frame. */
  readonly host: number;
}

export interface Plan extends PackablePlan {
  readonly entry: Entry;
  pages(d: number): PlannedPage;
  /** By number from the entry's page; undefined where nothing is known. */
  pageAt(d: number): PlannedPage | undefined;
}

export interface PlannerOptions {
  readonly memory: WebAssembly.Memory;
  readonly cache: DecodeCache;
  readonly decoder: Decoder;
  readonly limits: RegionLimits;
  /** The interpreter's handler of a record that a region stands in for. */
  original(rec: number): number | undefined;
  /** Instructions of the region whose entry a record is. */
  sizeOf(rec: number): number | undefined;
  /** Was a record jumped to so seldom that a region is better without it? */
  isCold(rec: number): boolean;
  /** Was a record jumped to so often that it is going to have a region of its own? */
  isWarm(rec: number): boolean;
  /** Are accesses of a record often on another page than those that were looked up with them? */
  isAlone(rec: number): boolean;
}

export class Planner {
  private readonly o: PlannerOptions;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  /** By record, as regions overlap: a place that is decoded anew gets a new record. */
  private readonly insns = new Map<number, Insn>();
  private named = 0;

  constructor(options: PlannerOptions) {
    this.o = options;
    this.view = new DataView(options.memory.buffer);
    this.bytes = new Uint8Array(options.memory.buffer);
  }

  private u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** Records are being made anew from the start. */
  forget(): void {
    this.insns.clear();
  }

  /** The graph of an entry; undefined when it is gone, and without instructions in its first block if there is nothing to gain. */
  plan(p: Entry): Plan | undefined {
    const pages = this.pagesAround(p);
    if (!pages || !this.isEntry(p)) return undefined;
    const mode = codeModeOf(this.u32(p.page + CODE_PAGE.MODE));
    const insnAt = (at: number): RegionInsn | undefined => {
      const page = pages(pageOf(at));
      if (!page) return undefined;
      const within = at & 0xfff;
      const known = this.u32(page.page + CODE_PAGE.ENTRY + within * 4);
      const insn =
        this.insns.get(known) ?? this.o.decoder.decode(this.bytes, page.host + within, page.host + 4096, mode);
      if ('failure' in insn) return undefined;
      const rec = known !== 0 ? known : this.o.cache.recordAt(p.cpu, page.page, page.host, within);
      if (rec === 0) return undefined;
      this.insns.set(rec, insn);
      const handler = this.o.original(rec) ?? this.view.getUint16(rec + REC.HANDLER, true);
      const count = this.view.getUint16(rec + REC.COUNT, true);
      return { insn, at, rec, handler, count, alone: this.o.isAlone(rec) };
    };
    const recordAt = (at: number): number => {
      const page = pages(pageOf(at));
      return page === undefined ? 0 : this.u32(page.page + CODE_PAGE.ENTRY + (at & 0xfff) * 4);
    };
    const code: CodeSource = {
      insnAt,
      wasReached: (at) => {
        const rec = recordAt(at);
        return rec !== 0 && !this.o.isCold(rec);
      },
      isApart: (at) => {
        const rec = recordAt(at);
        return (this.o.sizeOf(rec) ?? 0) > REPEATED_INSNS || (pageOf(at) !== 0 && this.o.isWarm(rec));
      },
      canTranslate,
    };
    const reached = reach(p.at, code, this.o.limits);
    const name = `region_${p.rip.toString(16)}_${this.named++}`;
    const pageNumbers = [...new Set([...reached.insns.keys()].map(pageOf))];
    const cfg = cfgOf(reached, canTranslate);
    return { entry: p, name, mode, reached, cfg, pageNumbers, pages: (d) => pages(d)!, pageAt: pages };
  }

  private isEntry(p: Entry): boolean {
    return this.u32(p.page + CODE_PAGE.ENTRY + p.at * 4) === p.rec;
  }
  /** Is the code that was planned still there, and its entry the entry of its place? */
  holds({ entry, pageNumbers, pages }: Plan): boolean {
    if (!this.isEntry(entry)) return false;
    return pageNumbers.every((d) => this.u32(pages(d).page + CODE_PAGE.DROPS) === pages(d).drops);
  }
  /** Copies the bytes of an instruction of a plan. */
  copyBytes(plan: Plan, { at, insn }: RegionInsn, code: Uint8Array, to: number): void {
    const host = plan.pages(pageOf(at)).host + (at & 0xfff);
    for (let n = 0; n < insn.length; n++) code[to + n] = this.bytes[host + n]!;
  }

  /**
   * The pages around an entry, by number from its own: those that the instruction TLB knows, if the entry is mapped as
   * it was when it was noted. That is only a good guess: a region asks again before it enters another page.
   */
  private pagesAround(p: Entry): ((d: number) => PlannedPage | undefined) | undefined {
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
  codePageAt(cpu: number, rip: bigint): number {
    const mask = this.view.getBigUint64(cpu + CPU.code_mask!, true);
    const linear = BigInt.asUintN(64, rip + this.view.getBigUint64(cpu + CPU.code_base!, true)) & mask;
    const entry = cpu + ITLB.OFFSET + Number((linear >> 12n) & BigInt(ITLB.ENTRIES - 1)) * ITLB.ENTRY_SIZE;
    const tag = (linear & ~0xfffn) | BigInt(this.u32(cpu + CPU.itlb_ctx!));
    return this.view.getBigUint64(entry + ITLB.TAG, true) === tag ? this.u32(entry + ITLB.PAGE) : 0;
  }
}
