/**
 * The few calls of libc that /dev/kvm needs, by FFI (koffi: prebuilt, no compiler at install). Everything that is a
 * pointer to the kernel is a Uint8Array here, passed in place; numbers of errors come from errno.
 */
import { createRequire } from 'node:module';
import type { LibraryHandle } from 'koffi';

type Koffi = typeof import('koffi');
type KoffiFunction = ReturnType<LibraryHandle['func']>;

export interface Libc {
  open(path: string, flags: number): number;
  close(fd: number): number;
  /** An ioctl whose argument is a number. */
  ioctl(fd: number, request: number, argument: number): number;
  /** An ioctl whose argument is a structure. */
  ioctlStruct(fd: number, request: number, structure: Uint8Array): number;
  /** Maps `length` bytes of a file shared, for reading and writing. Undefined when refused. */
  map(fd: number, length: number): Mapping | undefined;
  /** Where the bytes lie in this process. */
  addressOf(bytes: Uint8Array): bigint;
  /** Kernel id of the calling thread. */
  threadId(): number;
  /** Sends `signal` to one thread of this process. */
  signalThread(thread: number, signal: number): void;
  /** Gives `signal` a handler that does nothing, so that it only interrupts. */
  ignoreWithInterrupt(signal: number): void;
  /** A timer that sends `signal` to `thread`; undefined when refused. */
  createTimer(thread: number, signal: number): Uint8Array | undefined;
  /** Starts a timer: first after `nanoseconds`, then again every `again`; 0 stops it. */
  setTimer(timer: Uint8Array, nanoseconds: number, again: number): void;
  deleteTimer(timer: Uint8Array): void;
  errno(): number;
}

export interface Mapping {
  readonly buffer: ArrayBuffer;
  unmap(): void;
}

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const CLOCK_MONOTONIC = 1;
/** struct sigaction of x86-64 glibc: handler +0, mask 128 bytes +8, flags i32 +136, restorer +144. */
const SIGACTION_SIZE = 152;
const SIGACTION_FLAGS = 136;
const SA_RESTART = 0x1000_0000;
/** struct sigevent: value +0, signo i32 +8, notify i32 +12, thread id i32 +16; 64 bytes. */
const SIGEVENT_SIZE = 64;
const SIGEV_THREAD_ID = 4;

export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EAGAIN: 11,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
} as const;

let loaded: Libc | undefined;

/** Loads libc once. @throws Error where there is no glibc or koffi has no binary for this platform */
export function libc(): Libc {
  loaded ??= bind();
  return loaded;
}

function bind(): Libc {
  // Loaded only when needed: nothing else of Plinth depends on native code.
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const lib: LibraryHandle = koffi.load('libc.so.6');
  const f = (definition: string): KoffiFunction => lib.func(definition);
  const open = f('int open(const char *path, int flags)');
  const close = f('int close(int fd)');
  const ioctl = f('int ioctl(int fd, ulong request, uintptr_t argument)');
  const ioctlStruct = lib.func('ioctl', 'int', ['int', 'ulong', 'void *']);
  const mmap = f('void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)');
  const munmap = f('int munmap(void *address, size_t length)');
  // memcpy returns its destination: with length 0 that is all it does.
  const memcpy = f('uintptr_t memcpy(void *to, void *from, size_t length)');
  const gettid = f('int gettid()');
  const getpid = f('int getpid()');
  const tgkill = f('int tgkill(int process, int thread, int signal)');
  const sigaction = f('int sigaction(int signal, void *action, void *old)');
  const timerCreate = f('int timer_create(int clock, void *event, void *timer)');
  const timerSettime = f('int timer_settime(uintptr_t timer, int flags, void *value, void *old)');
  const timerDelete = f('int timer_delete(uintptr_t timer)');
  const dlsym = f('uintptr_t dlsym(uintptr_t handle, const char *name)');
  const timerId = (timer: Uint8Array): bigint => viewOf(timer).getBigUint64(0, true);
  const setting = new Uint8Array(32);
  const settingView = viewOf(setting);
  return {
    open: (path, flags) => open(path, flags),
    close: (fd) => close(fd),
    ioctl: (fd, request, argument) => ioctl(fd, request, argument),
    ioctlStruct: (fd, request, structure) => ioctlStruct(fd, request, structure),
    map: (fd, length) => {
      const pointer = mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0);
      if (BigInt.asIntN(64, BigInt(koffi.address(pointer))) === -1n) return undefined;
      const buffer = koffi.view(pointer, length) as ArrayBuffer;
      return { buffer, unmap: () => munmap(pointer, length) };
    },
    addressOf: (bytes) => BigInt(memcpy(bytes, bytes, 0)),
    threadId: () => gettid(),
    signalThread: (thread, signal) => tgkill(getpid(), thread, signal),
    ignoreWithInterrupt: (signal) => {
      const action = new Uint8Array(SIGACTION_SIZE);
      // Any function of libc that does nothing and may be called in a handler serves; code in JavaScript may not run there.
      viewOf(action).setBigUint64(0, BigInt(dlsym(0, 'getpid')), true);
      viewOf(action).setInt32(SIGACTION_FLAGS, SA_RESTART, true);
      sigaction(signal, action, null);
    },
    createTimer: (thread, signal) => {
      const event = new Uint8Array(SIGEVENT_SIZE);
      viewOf(event).setInt32(8, signal, true);
      viewOf(event).setInt32(12, SIGEV_THREAD_ID, true);
      viewOf(event).setInt32(16, thread, true);
      const timer = new Uint8Array(8);
      return timerCreate(CLOCK_MONOTONIC, event, timer) === 0 ? timer : undefined;
    },
    setTimer: (timer, nanoseconds, again) => {
      // struct itimerspec: interval, value; each seconds and nanoseconds as i64
      const put = (at: number, ns: number): void => {
        settingView.setBigInt64(at, BigInt(Math.floor(ns / 1e9)), true);
        settingView.setBigInt64(at + 8, BigInt(Math.floor(ns % 1e9)), true);
      };
      put(0, again);
      put(16, nanoseconds);
      timerSettime(timerId(timer), 0, setting, null);
    },
    deleteTimer: (timer) => timerDelete(timerId(timer)),
    errno: () => koffi.errno(),
  };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
