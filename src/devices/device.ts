/**
 * What a device is to the board: a set of port and memory windows, interrupt lines it raises, a clock it
 * reads and timers it sets. A device owns no I/O of its host: bytes reach it through sinks handed to its
 * constructor. Every device answers any access of any width with a number and never throws, because the
 * guest is hostile.
 */

/** Width of one port or memory access in bytes. The bus splits 8-byte MMIO into two 4-byte accesses. */
export type AccessWidth = 1 | 2 | 4;

/** An interrupt line from a device: level semantics, `set(true)` asserts. An edge is `set(true); set(false)`. */
export interface IrqLine {
  set(level: boolean): void;
}

/** A half-open range of I/O ports `[base, base + count)` that a device answers. */
export interface PortRange {
  readonly base: number;
  readonly count: number;
}

/** A device with I/O ports. `read` returns an unsigned value of `width` bytes. */
export interface PortDevice {
  readonly ports: readonly PortRange[];
  read(port: number, width: AccessWidth): number;
  write(port: number, width: AccessWidth, value: number): void;
}

/** A device with a memory window: offsets are relative to `base` (a gpa). `read` returns an unsigned value. */
export interface MmioDevice {
  readonly base: number;
  readonly size: number;
  mmioRead(offset: number, width: AccessWidth): number;
  mmioWrite(offset: number, width: AccessWidth, value: number): void;
}

/** State of a device as plain data (numbers, strings, booleans, arrays, objects): JSON both ways. */
export type DeviceState = { readonly [key: string]: unknown };

/**
 * A device whose state can be taken and put back: `restore(state())` changes nothing a guest can see.
 * `restore` sets the timers again and drives the output lines to the level they had, so the clock must be
 * restored before the devices. Throws `SnapshotError` when the state is not one that `state()` returns.
 */
export interface Snapshottable {
  state(): DeviceState;
  restore(state: DeviceState): void;
}

/** Cancels a timer; calling it after the timer fired or twice does nothing. */
export type CancelTimer = () => void;

/** Guest time: nanoseconds since the machine was powered on, and one-shot timers on it. */
export interface Clock {
  /** Nanoseconds since power-on, monotonic. */
  now(): bigint;
  /** The same as a number, exact for 104 days. */
  nowNs(): number;
  /** Calls `fire` once when `now() >= deadline` (absolute nanoseconds), between two guest instructions. */
  at(deadline: bigint, fire: () => void): CancelTimer;
}

/** What a vCPU asks of the interrupt controllers in front of it. */
export interface InterruptSource {
  /** True when an interrupt would be delivered now if RFLAGS.IF were set. */
  readonly pending: boolean;
  /** Interrupt acknowledge: the vector (0-255) to deliver; moves it to in-service. Call only while `pending`. */
  acknowledge(): number;
}
