// Compilers of regions that are late in a way a test can say, in the test's own thread. Jobs and results are copied as
// if they went to another.
import { carryOut, type Job, type JobResult, type RegionCompiler } from '../../src/engine/bt/job.ts';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { ROWS } from '../../src/isa/rows.ts';

const decoder = makeDecoder(ROWS);

export class LateCompiler implements RegionCompiler {
  failed = false;
  /** Regions that were asked for. */
  asked = 0;
  /** A result is there after so many times that it was looked for. */
  delay: number;
  private readonly jobs: { readonly job: Job; looks: number }[] = [];

  constructor(delay: number) {
    this.delay = delay;
  }
  post(job: Job): void {
    this.asked += job.names.length;
    this.jobs.push({ job: structuredClone(job), looks: 0 });
  }
  poll(): JobResult | undefined {
    const first = this.jobs[0];
    if (!first || first.looks++ < this.delay) return undefined;
    this.jobs.shift();
    return structuredClone(carryOut(first.job, decoder, (bytes) => new WebAssembly.Module(bytes)));
  }
  close(): void {
    this.failed = true;
  }
}
