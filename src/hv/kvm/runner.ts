/**
 * KVM_RUN on a thread: the caller's, or a worker's so that the caller's event loop goes on. A signal that does
 * nothing ends a KVM_RUN that is under way; `immediate_exit` ends one that has not begun.
 */
import { Worker } from 'node:worker_threads';
import { IOCTL } from './abi.ts';
import { ERRNO, type Libc } from './libc.ts';

/** A real-time signal that neither libc nor Node.js uses. */
const SIGNAL = 44;
/** A signal that came just before KVM_RUN began is lost, so the timer goes on; nanoseconds. */
const REPEAT_NS = 1_000_000;

/** Outcome of one KVM_RUN. */
export type RunResult = 'exit' | 'interrupted' | { readonly errno: number };

/** What worker and owner share, i32 each: command, thread id, where a KVM_RUN stands, its result and errno. */
const COMMAND = 0;
const THREAD = 1;
const STAGE = 2;
const RESULT = 3;
const ERRNO_AT = 4;
const SHARED_BYTES = 20;
const GO = 1;
const QUIT = 2;
const RUNS = 0;
const DONE = 1;
/** The owner has gone back to its event loop and wants a message. */
const TELL = 2;
/** The owner waits in place for so many milliseconds first: most exits come sooner than a message could. */
const WAIT_MS = 0.1;

let handlerSet = false;

function resultOf(result: number, errno: number): RunResult {
  if (result >= 0) return 'exit';
  return errno === ERRNO.EINTR || errno === ERRNO.EAGAIN ? 'interrupted' : { errno };
}

export class Runner {
  private readonly c: Libc;
  private readonly fd: number;
  private readonly timers = new Map<number, Uint8Array>();
  private worker: Worker | undefined;
  private shared: Int32Array | undefined;
  private waiting: ((r: RunResult) => void) | undefined;

  constructor(c: Libc, fd: number) {
    this.c = c;
    this.fd = fd;
    if (!handlerSet) c.ignoreWithInterrupt(SIGNAL);
    handlerSet = true;
  }

  /** Runs on this thread, at most about `nanoseconds` if given. */
  run(nanoseconds: number | undefined): RunResult {
    const timer = nanoseconds === undefined ? undefined : this.start(this.c.threadId(), nanoseconds);
    const result = this.c.ioctl(this.fd, IOCTL.RUN, 0);
    const errno = result < 0 ? this.c.errno() : 0;
    if (timer) this.c.setTimer(timer, 0, 0);
    return resultOf(result, errno);
  }

  /** Runs on the worker. One call at a time. */
  async runAsync(nanoseconds: number | undefined): Promise<RunResult> {
    if (this.waiting) throw new Error('this vCPU runs already');
    this.worker ??= await this.startWorker();
    const shared = this.shared!;
    this.worker.ref();
    const timer = nanoseconds === undefined ? undefined : this.start(shared[THREAD]!, nanoseconds);
    const done = new Promise<RunResult>((resolve) => {
      this.waiting = resolve;
    });
    Atomics.store(shared, STAGE, RUNS);
    Atomics.store(shared, COMMAND, GO);
    Atomics.notify(shared, COMMAND);
    Atomics.wait(shared, STAGE, RUNS, WAIT_MS);
    const early = Atomics.compareExchange(shared, STAGE, RUNS, TELL) === DONE;
    const result = early ? this.takeResult() : await done;
    if (timer) this.c.setTimer(timer, 0, 0);
    this.worker.unref();
    return result;
  }
  private takeResult(): RunResult {
    this.waiting = undefined;
    return resultOf(this.shared![RESULT]!, this.shared![ERRNO_AT]!);
  }

  /** Ends a KVM_RUN that is under way on the worker; the caller has set immediate_exit. */
  kick(): void {
    if (this.waiting) this.c.signalThread(this.shared![THREAD]!, SIGNAL);
  }

  private start(thread: number, nanoseconds: number): Uint8Array | undefined {
    let timer = this.timers.get(thread);
    if (!timer) {
      timer = this.c.createTimer(thread, SIGNAL);
      if (!timer) return undefined;
      this.timers.set(thread, timer);
    }
    this.c.setTimer(timer, Math.max(1000, nanoseconds), REPEAT_NS);
    return timer;
  }

  private startWorker(): Promise<Worker> {
    const shared = new Int32Array(new SharedArrayBuffer(SHARED_BYTES));
    this.shared = shared;
    const worker = new Worker(new URL('./run-worker.ts', import.meta.url), {
      workerData: { fd: this.fd, shared },
      name: 'vcpu',
    });
    return new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.on('message', (m: 'ready' | 'done') => {
        if (m === 'ready') {
          worker.unref();
          resolve(worker);
        } else this.waiting?.(this.takeResult());
      });
    });
  }

  close(): void {
    for (const timer of this.timers.values()) this.c.deleteTimer(timer);
    this.timers.clear();
    if (!this.shared) return;
    Atomics.store(this.shared, COMMAND, QUIT);
    Atomics.notify(this.shared, COMMAND);
    this.worker = undefined;
  }
}

/** The worker's side: waits for the command, runs, tells. Returns when told to quit. */
export function serve(c: Libc, fd: number, shared: Int32Array, tell: (m: unknown) => void): void {
  shared[THREAD] = c.threadId();
  tell('ready');
  for (;;) {
    Atomics.wait(shared, COMMAND, 0);
    if (Atomics.exchange(shared, COMMAND, 0) === QUIT) return;
    shared[RESULT] = c.ioctl(fd, IOCTL.RUN, 0);
    shared[ERRNO_AT] = shared[RESULT] < 0 ? c.errno() : 0;
    if (Atomics.exchange(shared, STAGE, DONE) === TELL) tell('done');
    else Atomics.notify(shared, STAGE);
  }
}
