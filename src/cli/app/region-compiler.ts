// Regions are written and compiled on a thread of their own (region-worker.ts), while the guest is interpreted.

import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { JobResult, RegionCompiler } from '../../engine/bt/job.ts';
import { setFlagsOfRegions } from './v8-flags.ts';

/** What the thread is started with, besides its port. */
export interface RegionWorkerData {
  /** Those of the CPU model: what the guest's bytes mean depends on them. */
  readonly features: readonly string[];
}

/**
 * Starts the thread. It does not keep the process from ending, and ends with it.
 * @param warn is told, once, when the thread has died; regions are made by the caller's thread then
 * @param worker the thread's program, for tests
 */
export function openRegionCompiler(
  features: ReadonlySet<string>,
  warn: (line: string) => void,
  worker: URL = new URL('./region-worker.ts', import.meta.url),
): RegionCompiler {
  const { port1: port, port2 } = new MessageChannel();
  let failed = false;
  const fail = (why: string): void => {
    if (!failed) warn(`the thread that translates has ended (${why}); the guest's own goes on with it`);
    failed = true;
  };
  const workerData = { port: port2, features: [...features] } satisfies RegionWorkerData & { port: unknown };
  const thread = new Worker(worker, { workerData, transferList: [port2], name: 'regions' });
  thread.unref();
  thread.on('error', (error) => fail(error instanceof Error ? error.message : String(error)));
  thread.on('exit', (code) => fail(`exit code ${code}`));
  let isFirst = true;
  return {
    post: (job) => {
      // Not before the machine is made: while V8 compiles a whole module in the background, as that of an unpacker,
      // nothing keeps Node from ending.
      if (isFirst) setFlagsOfRegions();
      isFirst = false;
      port.postMessage(job);
    },
    poll: () => receiveMessageOnPort(port)?.message as JobResult | undefined,
    get failed() {
      return failed;
    },
    close: () => {
      failed = true;
      port.close();
      void thread.terminate();
    },
  };
}
