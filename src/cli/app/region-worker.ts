// The thread that writes and compiles regions: takes jobs, gives results (region-compiler.ts).

import { getPriority, setPriority } from 'node:os';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { carryOut, type Job } from '../../engine/bt/job.ts';
import { makeDecoder } from '../../isa/decoder.ts';
import { ROWS } from '../../isa/rows.ts';
import type { RegionWorkerData } from './region-compiler.ts';
import { compileRegions } from './v8-flags.ts';

/**
 * Where there are fewer processors than threads with something to do, the guest's thread is to wait less than this one.
 * Only Linux has priorities of threads; elsewhere it would be the process's.
 */
const NICE = 2;
const MOST_NICE = 19;
if (process.platform === 'linux') setPriority(Math.min(MOST_NICE, getPriority() + NICE));

const { port, features } = workerData as RegionWorkerData & { port: MessagePort };
const decoder = makeDecoder(ROWS, new Set(features));

/** Jobs that have come, the newest last: that is carried out first, as it is of what the guest does now. */
const waiting: Job[] = [];
const takeAll = (): void => {
  for (let m = receiveMessageOnPort(port); m; m = receiveMessageOnPort(port)) waiting.push(m.message as Job);
};
port.on('message', (first: Job) => {
  waiting.push(first);
  takeAll();
  for (let job = waiting.pop(); job; job = waiting.pop()) {
    port.postMessage(carryOut(job, decoder, compileRegions));
    takeAll();
  }
});
