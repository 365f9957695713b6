/**
 * Regions to be written elsewhere: plans as plain data that can be posted to a worker, and what comes back. The worker
 * decodes the instructions again, so a job holds their bytes.
 */
import type { Decoder } from '../../isa/decoder.ts';
import type { CodeMode } from '../../isa/insn.ts';
import { cfgOf, type Reached, type RegionInsn } from './cfg.ts';
import { canTranslate, type RegionPlan, writeModule } from './compile.ts';

/** What the vCPU's thread posts. In few pieces: each costs something to copy to another thread. */
export interface Job {
  readonly id: number;
  /** The regions' names. */
  readonly names: readonly string[];
  /**
   * By region: position of the entry, sizes of code and stack, how many instructions, block starts and pages there are;
   * the instructions (position, length, record, handler, COUNT, whether its accesses are looked up alone), the starts, the
   * pages (number, code page, drops).
   */
  readonly numbers: Int32Array;
  /** The instructions' bytes, one behind the other. */
  readonly code: Uint8Array;
  /** The module's bytes are wanted back, too. */
  readonly wantsBytes: boolean;
}

/** What comes back for a job: see WrittenModule. */
export interface JobResult {
  readonly id: number;
  /** Undefined when no region could be written or V8 refuses the module. */
  readonly module: WebAssembly.Module | undefined;
  readonly exits: readonly (Int32Array | undefined)[];
  readonly entries: readonly Int32Array[];
  /** Bytes of the module. */
  readonly size: number;
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  /** Milliseconds that it took. */
  readonly ms: number;
}

/** Someone who carries out jobs, on a thread of its own perhaps. */
export interface RegionCompiler {
  /** Takes a job; its result comes from `poll` when it is there. Jobs are carried out in any order. */
  post(job: Job): void;
  /** The next result, if there is one. */
  poll(): JobResult | undefined;
  /** Nothing will come any more, whatever was posted. */
  readonly failed: boolean;
  /** Ends the thread. */
  close(): void;
}

/** A plan with what is needed to make it again. */
export interface PackablePlan extends RegionPlan {
  readonly mode: CodeMode;
  readonly reached: Reached;
  /** Numbers of the pages that may be asked for. */
  readonly pageNumbers: readonly number[];
}

/** @param copyBytes copies the bytes of an instruction of a plan to a place in `code` */
export function packJob<P extends PackablePlan>(
  id: number,
  plans: readonly P[],
  copyBytes: (plan: P, i: RegionInsn, code: Uint8Array, to: number) => void,
  wantsBytes: boolean,
): Job {
  const numbers: number[] = [];
  let size = 0;
  for (const { reached, mode, pageNumbers, pages } of plans) {
    const { entry, insns, leaders } = reached;
    numbers.push(entry, mode.code, mode.stack, insns.size, leaders.size, pageNumbers.length);
    for (const { at, insn, rec, handler, count, alone } of insns.values()) {
      numbers.push(at, insn.length, rec, handler, count, alone ? 1 : 0);
      size += insn.length;
    }
    numbers.push(...leaders);
    for (const d of pageNumbers) numbers.push(d, pages(d).page, pages(d).drops);
  }
  const code = new Uint8Array(size);
  let end = 0;
  for (const plan of plans) {
    for (const i of plan.reached.insns.values()) {
      copyBytes(plan, i, code, end);
      end += i.insn.length;
    }
  }
  return { id, names: plans.map((p) => p.name), numbers: new Int32Array(numbers), code, wantsBytes };
}

/** @throws Error for bytes that are not the instructions that were packed */
function unpackJob(job: Job, decoder: Decoder): RegionPlan[] {
  const { numbers, code } = job;
  let n = 0;
  let end = 0;
  const next = (): number => numbers[n++]!;
  const address = (): number => next() >>> 0;
  const instruction = (mode: CodeMode): RegionInsn => {
    const at = next();
    const start = end;
    end += next();
    const insn = decoder.decode(code, start, end, mode);
    if ('failure' in insn || insn.length !== end - start) throw new Error('a job with other instructions');
    return { insn, at, rec: address(), handler: next(), count: next(), alone: next() !== 0 };
  };
  return job.names.map((name) => {
    const entry = next();
    const mode = { code: next(), stack: next() } as CodeMode;
    const counts = { insns: next(), leaders: next(), pages: next() };
    const insns = new Map<number, RegionInsn>();
    for (let k = 0; k < counts.insns; k++) {
      const i = instruction(mode);
      insns.set(i.at, i);
    }
    const leaders = new Set<number>();
    for (let k = 0; k < counts.leaders; k++) leaders.add(next());
    const pages = new Map<number, { page: number; drops: number }>();
    for (let k = 0; k < counts.pages; k++) pages.set(next(), { page: address(), drops: address() });
    return { name, cfg: cfgOf({ entry, insns, leaders }, canTranslate), pages: (d) => pages.get(d)! };
  });
}

/**
 * Carries out a job. Does not throw.
 * @param decoder must be of the same rows as that of the vCPU
 * @param compile makes the module
 */
export function carryOut(
  job: Job,
  decoder: Decoder,
  compile: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module,
): JobResult {
  const started = performance.now();
  const nothing = { exits: job.names.map(() => undefined), entries: job.names.map(() => new Int32Array()) };
  const none = { id: job.id, module: undefined, ...nothing, size: 0, bytes: undefined };
  try {
    const { bytes, exits, entries } = writeModule(unpackJob(job, decoder));
    const module = bytes && compile(bytes);
    return {
      id: job.id,
      module,
      exits,
      entries,
      size: bytes?.length ?? 0,
      bytes: job.wantsBytes ? bytes : undefined,
      ms: performance.now() - started,
    };
  } catch {
    return { ...none, ms: performance.now() - started };
  }
}
