/** The thread that a vCPU runs on when its caller must stay responsive (runner.ts). */
import { parentPort, workerData } from 'node:worker_threads';
import { libc } from './libc.ts';
import { serve } from './runner.ts';

const { fd, shared } = workerData as { fd: number; shared: Int32Array };
serve(libc(), fd, shared, (m) => parentPort?.postMessage(m));
