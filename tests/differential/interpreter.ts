// A soft vCPU as an engine for differential cases. A case runs in user mode until its instruction faults, or meets
// the int3 behind it or at the target of its jump; the handler halts, and the state before is read off its frame.

import type { SoftVcpuOptions } from '../../src/hv/soft/vcpu.ts';
import { CPU, EFLAGS, SEG } from '../../src/isa/layout.ts';
import {
  type Batch,
  CODE,
  CODE_PAGE,
  DATA,
  DATA_SIZE,
  LDT,
  PAGE,
  REQUEST_SIZE,
  REQUEST_VALUES,
  RESULT,
  RESULT_SIZE,
  RESULT_VALUES,
  Results,
  STUCK,
  VALUES,
  WINDOW,
  WINDOW_SIZE,
} from './case.ts';
import type { BatchEngine } from './engine.ts';
import { Guest, HANDLERS, PTE } from './guest.ts';

/** Instructions that a case may take before it counts as stuck: iterations of REP are some of them. */
const BUDGET = 4096;
const INT3 = 0xcc;
/** Bytes from the kernel's stack top down to what delivery in long mode pushes (SDM vol.3 figure 6-9). */
const FRAME = { RIP: 40, RFLAGS: 24, RSP: 16, ERROR: 48 } as const;
/** Vectors with an error code: #DF #TS #NP #SS #GP #PF #AC. */
const WITH_ERROR = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);
const RSP = 4;
const BASES = (CPU.seg_base! + 8 * SEG.fs) / 4;
/** Words of an FXSAVE image. */
const FX = { FCW: 0, TAG: 1, MXCSR: 6, ST: 8, XMM: 40 } as const;
const TOP_SHIFT = 11;
const TOP_MASK = 7 << TOP_SHIFT;

export class SoftEngine implements BatchEngine {
  readonly name: string;
  private readonly guest: Guest;
  private readonly words: Int32Array;
  private readonly codeAt: number;
  private readonly dataAt: number;
  private readonly stackAt: number;
  private image: Uint8Array | undefined;
  private installed = new Uint8Array(0);
  private long = false;

  /** `name` for reports; `vcpu` has options beyond those of an interpreter. */
  constructor(name = 'interpreter', vcpu: Partial<SoftVcpuOptions> = {}) {
    this.name = name;
    const guest = new Guest({ vcpu });
    guest.setLdt(LDT);
    this.guest = guest;
    this.words = new Int32Array(guest.bytes.buffer);
    const [code, data] = [guest.frames(1), guest.frames(3)];
    const user = PTE.P | PTE.US;
    guest.map(CODE_PAGE, code, user | PTE.RW);
    for (let i = 0; i < 3; i++) {
      guest.map(DATA + BigInt(i * PAGE), data + i * PAGE, user | PTE.NX | (i < 2 ? PTE.RW : 0n));
    }
    this.codeAt = code;
    this.dataAt = guest.ram + data;
    this.stackAt = guest.ram + guest.kernelStack;
    guest.memory.fill(code, PAGE, INT3);
  }

  /** Regions translated so far. */
  get regions(): number {
    return this.guest.vcpu.translator?.counters.regions ?? 0;
  }

  /** Puts the vCPU into the mode of a batch; the state is then set by copying. */
  private enterMode(code: 16 | 32 | 64): void {
    this.long = code === 64;
    const base = code === 16 ? { code: CODE_PAGE, data: DATA } : { code: 0n, data: 0n };
    this.guest.enterMode(code, 3, base);
    this.guest.set64('rip', code === 16 ? CODE - CODE_PAGE : CODE);
    for (const field of ['fip', 'fdp'] as const) this.guest.set64(field, 0n);
    for (const field of ['fop', 'fcs', 'fds'] as const) this.guest.set32(field, 0);
    this.image = this.guest.snapshot();
  }

  runAll(batch: Batch, code?: 16 | 32 | 64): Results {
    const results = new Results(batch.count);
    const mode = code ?? batch.insns[0]!.mode.code;
    this.enterMode(mode);
    for (let i = 0; i < batch.count; i++) this.runOne(batch, i, results);
    results.normalize(mode === 16 ? CODE_PAGE : 0n);
    return results;
  }

  private runOne(batch: Batch, i: number, results: Results): void {
    this.install(batch.code(i));
    this.load(batch, (i * REQUEST_SIZE + REQUEST_VALUES) / 4);
    const { vcpu } = this.guest;
    vcpu.runtime.update_context(vcpu.cpu);
    const exit = vcpu.run(BUDGET);
    if (exit === 'shutdown') throw new Error(`${this.name}: triple fault`);
    this.store(results, (i * RESULT_SIZE) / 4, exit === 'hlt');
  }

  /** Writes the instruction's bytes, with int3 behind, unless they are there. */
  private install(code: Uint8Array): void {
    const { installed } = this;
    if (installed.length === code.length && installed.every((b, i) => b === code[i])) return;
    const bytes = new Uint8Array(Math.max(code.length, installed.length)).fill(INT3);
    bytes.set(code);
    this.guest.memory.write(this.codeAt + Number(CODE - CODE_PAGE), bytes);
    this.installed = code.slice();
  }

  /** Sets state and memory from the values at a word of the batch. */
  private load(batch: Batch, from: number): void {
    const { guest, words } = this;
    guest.bytes.set(this.image!, guest.vcpu.cpu);
    const cpu = guest.vcpu.cpu / 4;
    const source = batch.words;
    for (let i = 0; i < 32; i++) words[cpu + CPU.gpr! / 4 + i] = source[from + i]!;
    const rflags = source[from + VALUES.RFLAGS / 4]!;
    words[cpu + CPU.eflags! / 4] = rflags & ~EFLAGS.ARITH;
    words[cpu + CPU.cc_x! / 4] = rflags & EFLAGS.ARITH;
    if (this.long) for (let i = 0; i < 4; i++) words[cpu + BASES + i] = source[from + VALUES.BASES / 4 + i]!;
    this.loadFx(source, from + VALUES.FX / 4, from + VALUES.YMMH / 4);
    guest.bytes.fill(0, this.dataAt, this.dataAt + DATA_SIZE);
    const window = from * 4 + VALUES.WINDOW;
    guest.bytes.set(batch.bytes.subarray(window, window + WINDOW_SIZE), this.dataAt + Number(WINDOW - DATA));
  }

  private loadFx(source: Int32Array, fx: number, upper: number): void {
    const { words } = this;
    const cpu = this.guest.vcpu.cpu / 4;
    const control = source[fx + FX.FCW]!;
    const fsw = control >>> 16;
    const top = (fsw & TOP_MASK) >> TOP_SHIFT;
    words[cpu + CPU.fcw! / 4] = control & 0xffff;
    words[cpu + CPU.fsw! / 4] = fsw & ~TOP_MASK;
    words[cpu + CPU.ftop! / 4] = top;
    words[cpu + CPU.fempty! / 4] = ~source[fx + FX.TAG]! & 0xff;
    words[cpu + CPU.mxcsr! / 4] = source[fx + FX.MXCSR]!;
    for (let i = 0; i < 8; i++) {
      const to = cpu + CPU.fpr! / 4 + ((top + i) & 7) * 4;
      for (let k = 0; k < 3; k++) words[to + k] = source[fx + FX.ST + 4 * i + k]!;
    }
    for (let i = 0; i < 16; i++) {
      const to = cpu + CPU.ymm! / 4 + i * 8;
      for (let k = 0; k < 4; k++) {
        words[to + k] = source[fx + FX.XMM + 4 * i + k]!;
        words[to + 4 + k] = source[upper + 4 * i + k]!;
      }
    }
  }

  /** Reads the result off the state; `ended` is false when the instruction did not end. */
  private store(results: Results, to: number, ended: boolean): void {
    const { guest, words } = this;
    const cpu = guest.vcpu.cpu / 4;
    const out = results.words;
    const vector = ended ? (words[cpu + CPU.rip! / 4]! - Number(BigInt.asIntN(32, HANDLERS))) >> 4 : STUCK;
    const values = to + RESULT_VALUES / 4;
    for (let i = 0; i < 32; i++) out[values + i] = words[cpu + CPU.gpr! / 4 + i]!;
    out[to] = vector;
    if (ended) {
      const frame = (bytes: number, word: number): number => words[(this.stackAt - bytes) / 4 + word]!;
      if (vector < 32 && (WITH_ERROR >> vector) & 1) out[to + RESULT.ERROR / 4] = frame(FRAME.ERROR, 0);
      for (let k = 0; k < 2; k++) {
        out[to + RESULT.RIP / 4 + k] = frame(FRAME.RIP, k);
        out[values + RSP * 2 + k] = frame(FRAME.RSP, k);
        out[to + RESULT.CR2 / 4 + k] = words[cpu + CPU.cr2! / 4 + k]!;
      }
      out[values + VALUES.RFLAGS / 4] = frame(FRAME.RFLAGS, 0);
    }
    if (this.long) for (let i = 0; i < 4; i++) out[values + VALUES.BASES / 4 + i] = words[cpu + BASES + i]!;
    this.storeFx(out, values + VALUES.FX / 4, values + VALUES.YMMH / 4);
    const window = this.dataAt + Number(WINDOW - DATA);
    results.bytes.set(guest.bytes.subarray(window, window + WINDOW_SIZE), values * 4 + VALUES.WINDOW);
  }

  private storeFx(out: Int32Array, fx: number, upper: number): void {
    const { words } = this;
    const cpu = this.guest.vcpu.cpu / 4;
    const top = words[cpu + CPU.ftop! / 4]!;
    const fsw = words[cpu + CPU.fsw! / 4]! | (top << TOP_SHIFT);
    out[fx + FX.FCW] = words[cpu + CPU.fcw! / 4]! | (fsw << 16);
    out[fx + FX.TAG] = ~words[cpu + CPU.fempty! / 4]! & 0xff;
    out[fx + FX.MXCSR] = words[cpu + CPU.mxcsr! / 4]!;
    for (let i = 0; i < 8; i++) {
      const from = cpu + CPU.fpr! / 4 + ((top + i) & 7) * 4;
      for (let k = 0; k < 2; k++) out[fx + FX.ST + 4 * i + k] = words[from + k]!;
      out[fx + FX.ST + 4 * i + 2] = words[from + 2]! & 0xffff;
    }
    for (let i = 0; i < 16; i++) {
      const from = cpu + CPU.ymm! / 4 + i * 8;
      for (let k = 0; k < 4; k++) {
        out[fx + FX.XMM + 4 * i + k] = words[from + k]!;
        out[upper + 4 * i + k] = words[from + 4 + k]!;
      }
    }
  }
}
