/**
 * KVM's clock for guests (the kernel's Documentation/virt/kvm/x86/msr.rst): by writing MSRs a guest names two places in
 * its memory, in which it then finds how its TSC becomes nanoseconds since power-on, and what date it was then. A
 * kernel that uses it times nothing by loops. One object a vCPU.
 */
import type { Clock, DeviceState, Snapshottable } from '../devices/device.ts';
import { stateBigint } from '../devices/state.ts';
import type { GuestMemory } from '../hv/contract.ts';
import { TSC_HZ } from '../hv/cpu-model.ts';

/** The MSRs, and those of the same meaning that guests from before 2010 use. */
export const MSR_KVM_WALL_CLOCK_NEW = 0x4b56_4d00;
export const MSR_KVM_SYSTEM_TIME_NEW = 0x4b56_4d01;
export const MSR_KVM_WALL_CLOCK = 0x11;
export const MSR_KVM_SYSTEM_TIME = 0x12;

/** MSR_KVM_SYSTEM_TIME: [0] keep the structure up to date; the rest is its address, of 4 bytes' alignment. */
const ENABLE = 1n;
const ADDRESS = ~3n;

/**
 * struct pvclock_vcpu_time_info, 32 bytes:
 *   +0 u32 version, odd while the host writes   +8 u64 TSC at the moment described   +16 u64 its nanoseconds
 *   +24 u32 multiplier, a fraction of 2^32, of TSC ticks shifted left by +28 s8   +29 u8 flags
 */
const TIME = { version: 0, tsc: 8, ns: 16, multiplier: 24, shift: 28, flags: 29, size: 32 } as const;
/** All vCPUs see the same time; the vCPU did not run for a while, so that its watchdogs do not bark. */
const FLAG_TSC_STABLE = 1;
const FLAG_GUEST_STOPPED = 2;
/** struct pvclock_wall_clock: u32 version, u32 seconds, u32 nanoseconds since 1970 at power-on. */
const WALL = { version: 0, seconds: 4, nanoseconds: 8, size: 12 } as const;

const NS_PER_SECOND = 1_000_000_000n;
/** A date in nanoseconds is too much for a number: it is rounded to microseconds. */
const US_PER_MS = 1000;
const NS_PER_US = 1000n;
/** At TSC_HZ half of a tick shifted left by one: a tick a nanosecond, exactly. */
const multiplierOf = (tscHz: number): number => Math.round((2 ** 31 * 1e9) / tscHz);
const SHIFT = 1;

export interface KvmClockOptions {
  readonly memory: GuestMemory;
  readonly clock: Clock;
  /** The vCPU's time-stamp counter as the guest reads it. */
  readonly tsc: () => bigint;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** Frequency of the TSC in hertz, at least 500 MHz. Default TSC_HZ. */
  readonly tscHz?: number | undefined;
}

/** The clock of one vCPU. */
export class KvmClock implements Snapshottable {
  readonly #o: KvmClockOptions;
  #systemTime = 0n;
  #wallClock = 0n;
  #version = 0;

  constructor(options: KvmClockOptions) {
    this.#o = options;
  }

  /** Value of an MSR; undefined when it is none of these. */
  readMsr(index: number): bigint | undefined {
    if (index === MSR_KVM_SYSTEM_TIME_NEW || index === MSR_KVM_SYSTEM_TIME) return this.#systemTime;
    if (index === MSR_KVM_WALL_CLOCK_NEW || index === MSR_KVM_WALL_CLOCK) return this.#wallClock;
    return undefined;
  }

  /** @returns false when the MSR is none of these */
  writeMsr(index: number, value: bigint): boolean {
    if (index === MSR_KVM_SYSTEM_TIME_NEW || index === MSR_KVM_SYSTEM_TIME) {
      this.#systemTime = value;
      this.update();
      return true;
    }
    if (index !== MSR_KVM_WALL_CLOCK_NEW && index !== MSR_KVM_WALL_CLOCK) return false;
    this.#wallClock = value;
    this.#tellWallClock();
    return true;
  }

  /** Wall-clock time in nanoseconds since 1970, and the guest's TSC at that moment. */
  pair(): { readonly wallNs: bigint; readonly tsc: bigint } {
    return { wallNs: this.#wallNs(), tsc: this.#o.tsc() };
  }

  /**
   * Writes the time anew: the TSC was set, or (`stopped`) the machine did not run for a while.
   */
  update(stopped = false): void {
    if ((this.#systemTime & ENABLE) === 0n) return;
    const bytes = new Uint8Array(TIME.size);
    const view = new DataView(bytes.buffer);
    this.#version = (this.#version + 2) >>> 0;
    view.setBigUint64(TIME.tsc, BigInt.asUintN(64, this.#o.tsc()), true);
    view.setBigUint64(TIME.ns, this.#o.clock.now(), true);
    view.setUint32(TIME.multiplier, multiplierOf(this.#o.tscHz ?? TSC_HZ), true);
    view.setInt8(TIME.shift, SHIFT);
    view.setUint8(TIME.flags, FLAG_TSC_STABLE | (stopped ? FLAG_GUEST_STOPPED : 0));
    this.#publish(this.#systemTime & ADDRESS, bytes, this.#version);
  }

  #tellWallClock(): void {
    const at = this.#wallClock & ADDRESS;
    const old = at === 0n ? undefined : this.#read(at, 4);
    if (!old) return;
    // The guest's other vCPUs may read it meanwhile; the version goes on from what the guest has there.
    const version = (new DataView(old.buffer).getUint32(0, true) | 1) + 1;
    const bytes = new Uint8Array(WALL.size);
    const view = new DataView(bytes.buffer);
    const start = this.#wallNs() - this.#o.clock.now();
    view.setUint32(WALL.seconds, Number(BigInt.asUintN(32, start / NS_PER_SECOND)), true);
    view.setUint32(WALL.nanoseconds, Number(start % NS_PER_SECOND), true);
    this.#publish(at, bytes, version >>> 0);
  }

  #wallNs(): bigint {
    return BigInt(Math.round(this.#o.wallMs() * US_PER_MS)) * NS_PER_US;
  }

  /** Writes a structure whose first word is its version: odd, then the rest, then the even one. */
  #publish(at: bigint, bytes: Uint8Array, version: number): void {
    const word = (n: number): Uint8Array => new Uint8Array(Uint32Array.of(n).buffer);
    if (!this.#write(at, word((version - 1) >>> 0))) return;
    if (this.#write(at + 4n, bytes.subarray(4))) this.#write(at, word(version));
  }

  /** A place that is not RAM gets nothing, as with KVM. */
  #write(at: bigint, bytes: Uint8Array): boolean {
    try {
      this.#o.memory.write(Number(at), bytes);
      return true;
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
  }
  #read(at: bigint, length: number): Uint8Array | undefined {
    try {
      return this.#o.memory.read(Number(at), length);
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  }

  state(): DeviceState {
    return {
      systemTime: this.#systemTime.toString(),
      wallClock: this.#wallClock.toString(),
      version: this.#version.toString(),
    };
  }

  /** Puts the MSRs back and tells the guest the time, and that it did not run. The clock and the TSC come first. */
  restore(state: DeviceState): void {
    this.#systemTime = BigInt.asUintN(64, stateBigint(state, 'systemTime'));
    this.#wallClock = BigInt.asUintN(64, stateBigint(state, 'wallClock'));
    this.#version = Number(BigInt.asUintN(32, stateBigint(state, 'version')) & ~1n);
    this.update(true);
  }
}
