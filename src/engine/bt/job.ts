/**
 * Regions to be written elsewhere: plans as plain data that can be posted to a worker, and what comes back. The worker
 * decodes the instructions again, so a job holds their bytes.
 */
import type { Decoder } from '../../isa/decoder.ts';
import type { CodeMode } from '../../isa/insn.ts';
import { cfgOf, type Reached, type RegionInsn } from './cfg.ts';
import { canTranslate, type RegionPlan, writeModule } from './compile.ts';

/** One region. */
interface RegionJob {
  readonly name: string;
  readonly entry: number;
  readonly mode: CodeMode;
  readonly leaders: Int32Array;
  /** By instruction: see INSN. */
  readonly insns: Int32Array;
  /** The instructions' bytes, one behind the other. */
  readonly code: Uint8Array;
  /** By page: see PAGE. */
  readonly pages: Int32Array;
}
const INSN = { AT: 0, LENGTH: 1, REC: 2, HANDLER: 3, COUNT: 4, SIZE: 5 } as const;
const PAGE = { NUMBER: 0, PAGE: 1, DROPS: 2, SIZE: 3 } as const;

/** What the vCPU's thread posts. */
export interface Job {
  readonly id: number;
  readonly regions: readonly RegionJob[];
  /** The module's bytes are wanted back, too. */
  readonly wantsBytes: boolean;
}

/** What comes back for a job: see WrittenModule. */
export interface JobResult {
  readonly id: number;
  /** Undefined when no region could be written or V8 refuses the module. */
  readonly module: WebAssembly.Module | undefined;
  readonly exits: readonly (Int32Array | undefined)[];
  /** Bytes of the module. */
  readonly size: number;
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  /** Milliseconds that it took. */
  readonly ms: number;
}

/** Someone who carries out jobs, on a thread of its own perhaps. */
export interface RegionCompiler {
  /** Takes a job; its result comes from `poll` when it is there. Jobs are carried out in their order. */
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

/** @param bytesOf the bytes of an instruction */
export function packRegion(plan: PackablePlan, bytesOf: (i: RegionInsn) => Uint8Array): RegionJob {
  const { reached } = plan;
  const all = [...reached.insns.values()];
  const code = new Uint8Array(all.reduce((n, { insn }) => n + insn.length, 0));
  const insns = new Int32Array(all.length * INSN.SIZE);
  let end = 0;
  all.forEach((i, n) => {
    const { at, insn, rec, handler, count } = i;
    insns.set([at, insn.length, rec, handler, count], n * INSN.SIZE);
    code.set(bytesOf(i), end);
    end += insn.length;
  });
  const pages = plan.pageNumbers.flatMap((d) => [d, plan.pages(d).page, plan.pages(d).drops]);
  return {
    name: plan.name,
    entry: reached.entry,
    mode: plan.mode,
    leaders: Int32Array.from(reached.leaders),
    insns,
    code,
    pages: Int32Array.from(pages),
  };
}

/** @throws Error for bytes that are not the instruction that was packed */
function unpackRegion(job: RegionJob, decoder: Decoder): RegionPlan {
  const insns = new Map<number, RegionInsn>();
  for (let n = 0, from = 0; n < job.insns.length; n += INSN.SIZE) {
    const field = (f: number): number => job.insns[n + f]!;
    const to = from + field(INSN.LENGTH);
    const insn = decoder.decode(job.code, from, to, job.mode);
    if ('failure' in insn || insn.length !== to - from) throw new Error('a job with other instructions');
    const at = field(INSN.AT);
    insns.set(at, {
      insn,
      at,
      rec: field(INSN.REC) >>> 0,
      handler: field(INSN.HANDLER),
      count: field(INSN.COUNT),
    });
    from = to;
  }
  const pages = new Map<number, { page: number; drops: number }>();
  for (let n = 0; n < job.pages.length; n += PAGE.SIZE) {
    const [d, page, drops] = job.pages.subarray(n, n + PAGE.SIZE);
    pages.set(d!, { page: page! >>> 0, drops: drops! >>> 0 });
  }
  const reached = { entry: job.entry, insns, leaders: new Set(job.leaders) };
  return { name: job.name, cfg: cfgOf(reached, canTranslate), pages: (d) => pages.get(d)! };
}

/** Carries out a job. `decoder` must be of the same rows as that of the vCPU. Does not throw. */
export function carryOut(job: Job, decoder: Decoder): JobResult {
  const started = performance.now();
  const none = { id: job.id, module: undefined, exits: job.regions.map(() => undefined), size: 0, bytes: undefined };
  try {
    const { bytes, exits } = writeModule(job.regions.map((r) => unpackRegion(r, decoder)));
    const module = bytes && new WebAssembly.Module(bytes);
    return {
      id: job.id,
      module,
      exits,
      size: bytes?.length ?? 0,
      bytes: job.wantsBytes ? bytes : undefined,
      ms: performance.now() - started,
    };
  } catch {
    return { ...none, ms: performance.now() - started };
  }
}
