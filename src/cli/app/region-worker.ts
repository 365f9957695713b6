// The thread that writes and compiles regions: takes jobs, gives results (region-compiler.ts).

import { type MessagePort, workerData } from 'node:worker_threads';
import { carryOut, type Job } from '../../engine/bt/job.ts';
import { makeDecoder } from '../../isa/decoder.ts';
import { ROWS } from '../../isa/rows.ts';
import type { RegionWorkerData } from './region-compiler.ts';

const { port, features } = workerData as RegionWorkerData & { port: MessagePort };
const decoder = makeDecoder(ROWS, new Set(features));
port.on('message', (job: Job) => port.postMessage(carryOut(job, decoder)));
