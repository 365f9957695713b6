/**
 * Finds or makes the record at the current rip: the slow path of every jump. Decodes straight-line traces of a
 * page into records, links them to their code page, fills the instruction TLB.
 */
import { type Decoder, repeatOf } from '../isa/decoder.ts';
import type { DecodeFailure, Insn } from '../isa/insn.ts';
import { CODE_PAGE, CPU, EXC, ITLB, ITLB_CTX_NEVER, P2M, REC } from '../isa/layout.ts';
import type { Row } from '../isa/row.ts';
import type { Fusion } from './fusion.ts';
import { SPECIAL } from './interp/special.ts';
import { MAX_RECORDS, MAX_TRACE, RecordWriter } from './lower.ts';
import type { RuntimeExports } from './runtime.ts';
import { codeModeOf } from './state.ts';

const ALL_ONES = 0xffff_ffff_ffff_ffffn;

export interface DecodeCacheOptions {
  readonly memory: WebAssembly.Memory;
  readonly runtime: RuntimeExports;
  readonly decoder: Decoder;
  readonly rowIds: ReadonlyMap<Row, number>;
  /** Table index by shape key, 0 where there is none. */
  readonly handlers: Uint16Array;
  readonly fusion: Fusion;
  /** Address of room for the records of one instruction that is run alone: 8 records. */
  readonly aloneAt: number;
  /** Bytes that records may take. */
  readonly recordsBytes: number;
  /** Called with each decoded trace when tracing is on. */
  readonly onTrace?: ((rip: bigint, insns: readonly Insn[]) => void) | undefined;
}

export class DecodeCache {
  private readonly o: DecodeCacheOptions;
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly words: Int32Array;
  private readonly fetch = new Uint8Array(16);
  private readonly writer: RecordWriter;
  /** Set: the next instruction is decoded on its own and the chain comes back after it. */
  alone = false;
  /** The instruction decoded on its own last repeats: it may not have ended. */
  aloneRepeats = false;

  constructor(options: DecodeCacheOptions) {
    this.o = options;
    this.view = new DataView(options.memory.buffer);
    this.bytes = new Uint8Array(options.memory.buffer);
    this.words = new Int32Array(options.memory.buffer);
    this.writer = new RecordWriter(options.rowIds, options.handlers, options.fusion);
  }

  /** How often a record that is decoded from now on is jumped to before the translator hears of it (1-65535). */
  set heat(jumps: number) {
    this.writer.heat = jumps;
  }
  private u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  /** The record at the field rip, or 0 when the chain must return (a fault was delivered, or the vCPU must look). */
  resolve(cpu: number): number {
    const page = this.knownPage(cpu);
    if (page === 0) return this.resolveSlowly(cpu);
    const host = this.frameAddress(cpu, this.u32(page + CODE_PAGE.FRAME));
    if (host === undefined) return this.resolveSlowly(cpu);
    const within = this.u32(cpu + CPU.rip!) & 0xfff;
    const known = this.u32(page + CODE_PAGE.ENTRY + within * 4);
    return known !== 0 ? known : this.decodeTrace(cpu, within, host, page);
  }

  /**
   * The code page of the field rip if the instruction TLB has it, in 64-bit mode; else 0. Whoever asks for a record has
   * looked there before (fetch_record), so this is how most pages are found. Numbers: bigints take several times longer.
   */
  private knownPage(cpu: number): number {
    const ctx = this.u32(cpu + CPU.itlb_ctx!);
    if (this.alone || ctx & ITLB_CTX_NEVER || codeModeOf(this.u32(cpu + CPU.mode!)).code !== 64) return 0;
    const low = this.u32(cpu + CPU.rip!);
    const entry = cpu + ITLB.OFFSET + ((low >>> 12) & (ITLB.ENTRIES - 1)) * ITLB.ENTRY_SIZE;
    const tag = ((low & ~0xfff) | ctx) >>> 0;
    if (this.u32(entry + ITLB.TAG) !== tag || this.u32(entry + ITLB.TAG + 4) !== this.u32(cpu + CPU.rip! + 4)) return 0;
    return this.u32(entry + ITLB.PAGE);
  }

  /** Linear address of the field rip. */
  private linear(cpu: number): bigint {
    const v = this.view;
    const sum = v.getBigUint64(cpu + CPU.rip!, true) + v.getBigUint64(cpu + CPU.code_base!, true);
    return BigInt.asUintN(64, sum) & v.getBigUint64(cpu + CPU.code_mask!, true);
  }

  private resolveSlowly(cpu: number): number {
    // A trap may be due after every instruction: the vCPU takes them one by one.
    if (!this.alone && this.everyFetchLooked(cpu)) return 0;
    const rip = this.view.getBigUint64(cpu + CPU.rip!, true);
    const linear = this.linear(cpu);
    const limit = this.fetchLimit(cpu, rip);
    if (limit <= 0) return this.fault(cpu, EXC.GP, 0);
    const gpa = BigInt.asUintN(64, this.o.runtime.exec_translate(cpu, linear));
    if (gpa === ALL_ONES) return this.deliver(cpu);
    const within = Number(linear & 0xfffn);
    const frame = Number(gpa >> 12n);
    const host = this.frameAddress(cpu, frame);
    if (host === undefined || this.alone || limit < 4096 - within) {
      return this.resolveAlone(cpu, linear, within, host, limit);
    }
    const page = this.codePage(cpu, frame);
    this.fillItlb(cpu, linear, frame, page);
    const known = this.u32(page + CODE_PAGE.ENTRY + within * 4);
    return known !== 0 ? known : this.decodeTrace(cpu, within, host, page);
  }

  private everyFetchLooked(cpu: number): boolean {
    return (this.u32(cpu + CPU.itlb_ctx!) & ITLB_CTX_NEVER) !== 0;
  }

  /** Bytes from rip to the code segment's limit; a page and more in 64-bit mode. */
  private fetchLimit(cpu: number, rip: bigint): number {
    if (codeModeOf(this.u32(cpu + CPU.mode!)).code === 64) return 8192;
    return this.u32(cpu + CPU.seg_limit! + 4) - Number(rip) + 1;
  }

  /** Address in machine memory of a guest frame, undefined where there is no RAM. */
  frameAddress(cpu: number, frame: number): number | undefined {
    if (frame >= this.u32(cpu + CPU.p2m_frames!)) return undefined;
    const entry = this.u32(this.u32(cpu + CPU.p2m!) + frame * 4);
    return entry & P2M.PRESENT ? (entry & ~P2M.FLAGS) >>> 0 : undefined;
  }

  private codePage(cpu: number, frame: number): number {
    const mode = this.u32(cpu + CPU.mode!);
    const page = this.o.runtime.code_page(frame, mode);
    if (page !== 0) return page;
    this.dropAll(cpu);
    return this.o.runtime.code_page(frame, mode);
  }

  /** Set by the owner: told before everything decoded is dropped. */
  onDrop: () => void = () => {};
  /** Drops everything that is decoded and translated. No chain may be in the middle of a trace. */
  dropAll(cpu: number): void {
    this.onDrop();
    this.o.runtime.code_reset(cpu);
    // Data stays where it is: only the instruction TLB knows code pages.
    this.o.runtime.itlb_clear(cpu);
  }

  private fillItlb(cpu: number, linear: bigint, frame: number, page: number): void {
    this.o.runtime.itlb_fill(cpu, BigInt.asIntN(64, linear), frame, page, this.u32(cpu + CPU.exec_global!));
  }

  private fault(cpu: number, vector: number, error: number): number {
    this.o.runtime.raise(cpu, vector, error);
    return this.deliver(cpu);
  }
  /** Delivers a recorded fault of the fetch and lets the vCPU's loop go on from there. */
  private deliver(cpu: number): number {
    const v = this.view;
    v.setInt32(cpu + CPU.budget!, v.getInt32(cpu + CPU.budget!, true) - 1, true);
    this.explicitFlags(cpu);
    this.o.runtime.deliver_exception(cpu);
    return 0;
  }
  /** Set by the owner: makes lazy flags explicit. */
  explicitFlags: (cpu: number) => void = () => {};
  /** Set by the owner: uses up the budget so that the chain returns after the next instruction. */
  endBudget: (cpu: number) => void = () => {};

  /** Decodes from `within` to the end of the trace, at most to the end of the page. `ahead`: not at the field rip. */
  private decodeTrace(cpu: number, within: number, host: number, page: number, ahead = false): number {
    const mode = codeModeOf(this.u32(page + CODE_PAGE.MODE));
    const { writer } = this;
    const { decoder, onTrace } = this.o;
    const insns: Insn[] = [];
    let at = within;
    let vector: number | undefined;
    writer.begin(mode);
    while (at < 4096 && writer.count < MAX_TRACE) {
      if (at !== within && this.u32(page + CODE_PAGE.ENTRY + at * 4) !== 0) break;
      const failed = decoder.scan(this.bytes, host + at, host + 4096, mode);
      if (failed !== undefined) {
        if (failed.failure === 'truncated') {
          if (writer.count === 0) return ahead ? 0 : this.decodeStraddling(cpu, within, host, page);
        } else vector = exceptionOf(failed);
        break;
      }
      if (onTrace) insns.push(decoder.insn());
      const ends = writer.insn(decoder.found, at);
      at += decoder.found.length;
      if (ends) break;
    }
    onTrace?.(ahead ? 0n : this.view.getBigUint64(cpu + CPU.rip!, true), insns);
    return this.writeTrace(cpu, page, within, at, vector);
  }

  /** The record that interprets the instruction at an offset of a page, made if need be; 0 when there is no room. */
  recordAt(cpu: number, page: number, host: number, at: number): number {
    const known = this.u32(page + CODE_PAGE.ENTRY + at * 4);
    if (known !== 0) return known;
    const rest = this.runtimeRoom();
    if (rest < MAX_RECORDS * REC.SIZE) return 0;
    this.decodeTrace(cpu, at, host, page, true);
    return this.u32(page + CODE_PAGE.ENTRY + at * 4);
  }
  /** Room of `count` records that lasts as long as those of a page; 0 when there is none. */
  roomFor(page: number, count: number): number {
    return this.o.runtime.code_records(page, count) >>> 0;
  }
  private runtimeRoom(): number {
    return this.o.recordsBytes - this.o.runtime.code_bytes();
  }

  private records(cpu: number, page: number, count: number): number {
    const at = this.o.runtime.code_records(page, count);
    if (at !== 0) return at >>> 0;
    this.dropAll(cpu);
    return 0;
  }

  /** Ends the trace in the writer, which came of the bytes `[from, to)` of the page. */
  private writeTrace(cpu: number, page: number, from: number, to: number, vector: number | undefined): number {
    const { writer } = this;
    if (vector === undefined) writer.special(SPECIAL.join, to, { disp: to });
    else writer.special(SPECIAL.invalid, to, { a: vector });
    const start = this.records(cpu, page, writer.records);
    // Everything was dropped to make room, the code page with it: begin again.
    if (start === 0) return this.resolve(cpu);
    writer.copyTo(this.words, start);
    const entries = page + CODE_PAGE.ENTRY;
    if (writer.count === 0) this.view.setUint32(entries + to * 4, start, true);
    for (let i = 0; i < writer.count; i++) {
      this.view.setUint32(entries + writer.offsets[i]! * 4, start + writer.starts[i]!, true);
    }
    this.o.runtime.code_mark(cpu, page, from, Math.max(Math.min(to + (vector === undefined ? 0 : 15), 4096), from + 1));
    return start;
  }

  /** Fetches an instruction that may cross into the next page. Returns how many bytes there are, at most 15. */
  private gather(cpu: number, linear: bigint, within: number, host: number | undefined): number {
    const here = Math.min(15, 4096 - within);
    if (host === undefined) this.fetch.fill(0xff);
    else this.fetch.set(this.bytes.subarray(host + within, host + within + here));
    if (here === 15) return 15;
    return here + this.gatherNext(cpu, linear, here);
  }
  private gatherNext(cpu: number, linear: bigint, here: number): number {
    const mask = this.view.getBigUint64(cpu + CPU.code_mask!, true);
    const next = ((linear & ~0xfffn) + 4096n) & mask;
    const gpa = BigInt.asUintN(64, this.o.runtime.exec_translate(cpu, next));
    if (gpa === ALL_ONES) return 0;
    const frame = Number(gpa >> 12n);
    const host = this.frameAddress(cpu, frame);
    if (host === undefined) this.fetch.fill(0xff, here);
    else {
      this.fetch.set(this.bytes.subarray(host, host + 15 - here), here);
      if (!this.everyFetchLooked(cpu)) this.fillItlb(cpu, next, frame, this.codePage(cpu, frame));
    }
    return 15 - here;
  }

  /** An instruction that crosses the end of its page: guarded by a comparison of the bytes behind it. */
  private decodeStraddling(cpu: number, within: number, host: number, page: number): number {
    const { decoder } = this.o;
    const { writer } = this;
    const got = this.gather(cpu, this.linear(cpu), within, host);
    const mode = codeModeOf(this.u32(cpu + CPU.mode!));
    const failed = decoder.scan(this.fetch, 0, got, mode);
    if (failed !== undefined) {
      // Recorded by exec_translate when the next page is missing and the instruction needs it.
      if (failed.failure === 'truncated') return this.deliver(cpu);
      return this.fault(cpu, exceptionOf(failed), 0);
    }
    const { length } = decoder.found;
    const end = within + length;
    const behind = end - 4096;
    writer.begin(mode);
    writer.special(SPECIAL.guard, within, { a: behind });
    const data = writer.special(0, within);
    writer.insn(decoder.found, within);
    writer.special(SPECIAL.join, end, { disp: end });
    const start = this.records(cpu, page, writer.records);
    if (start === 0) return this.resolve(cpu);
    writer.copyTo(this.words, start);
    this.bytes.set(this.fetch.subarray(length - behind, length), start + data);
    this.view.setUint32(start + data + 16, page, true);
    this.view.setUint32(page + CODE_PAGE.ENTRY + within * 4, start, true);
    this.o.runtime.code_mark(cpu, page, within, 4096);
    return start;
  }

  /** One instruction outside the cache; the chain returns after it. */
  private resolveAlone(cpu: number, linear: bigint, within: number, host: number | undefined, limit: number): number {
    const got = Math.min(this.gather(cpu, linear, within, host), limit);
    const { decoder } = this.o;
    const mode = codeModeOf(this.u32(cpu + CPU.mode!));
    const failed = decoder.scan(this.fetch, 0, got, mode);
    if (failed !== undefined) {
      if (failed.failure === 'truncated') return got === limit ? this.fault(cpu, EXC.GP, 0) : this.deliver(cpu);
      return this.fault(cpu, exceptionOf(failed), 0);
    }
    this.o.onTrace?.(this.view.getBigUint64(cpu + CPU.rip!, true), [decoder.insn()]);
    this.endBudget(cpu);
    const { found } = decoder;
    this.aloneRepeats = repeatOf(found.form.row, found.repeat) !== 'none';
    const { writer } = this;
    writer.begin(mode);
    writer.insn(found, within);
    writer.special(SPECIAL.alone, within + found.length);
    writer.copyTo(this.words, this.o.aloneAt);
    return this.o.aloneAt;
  }
}

/** Vector of the exception for bytes that are no instruction. */
const exceptionOf = ({ failure }: DecodeFailure): number => (failure === 'ud' ? EXC.UD : EXC.GP);
