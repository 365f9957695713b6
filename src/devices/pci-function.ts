/**
 * One function on the PCI bus: 256 bytes of configuration space of which some bits can be written, base
 * address registers, capabilities and an INTx interrupt. Sections are those of the PCI Local Bus
 * Specification 3.0.
 */
import { readBytes, writeBytes } from './byte-lanes.ts';
import type { AccessWidth, DeviceState, IrqLine, Snapshottable } from './device.ts';
import { BusError } from './errors.ts';
import { stateBoolean, stateNumbers } from './state.ts';

export const PCI_CONFIG_SIZE = 256;

/** Offsets in the type 0 configuration header (6.1). */
export const PCI_CONFIG = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  class: 0x09,
  cacheLine: 0x0c,
  latencyTimer: 0x0d,
  headerType: 0x0e,
  bar0: 0x10,
  subsystemVendor: 0x2c,
  subsystem: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
  /** First byte behind the header. */
  deviceSpecific: 0x40,
} as const;

/** Command (6.2.2): [0] I/O decoded, [1] memory decoded, [2] bus master, [6] parity, [8] SERR#, [10] INTx disabled. */
const COMMAND_IO = 1 << 0;
const COMMAND_MEMORY = 1 << 1;
const COMMAND_BUS_MASTER = 1 << 2;
const COMMAND_PARITY = 1 << 6;
const COMMAND_SERR = 1 << 8;
const COMMAND_INTX_DISABLE = 1 << 10;
/** Status (6.2.3): [3] INTx asserted inside the function, [4] capability list. */
const STATUS_INTERRUPT = 1 << 3;
const STATUS_CAPABILITIES = 1 << 4;
const HEADER_MULTI_FUNCTION = 1 << 7;

const BAR_COUNT = 6;
/** Base address (6.2.5.1): [0] I/O; of memory: [2:1] 2 when 64 bits wide, [3] prefetchable. */
const BAR_IO = 1 << 0;
const BAR_WIDE = 2 << 1;
const BAR_PREFETCHABLE = 1 << 3;
const LEAST_IO_BAR = 4;
const LARGEST_IO_BAR = 256;
const LEAST_MEMORY_BAR = 16;
const LARGEST_MEMORY_BAR = 2 ** 31;
const TWO_32 = 2 ** 32;

/** A base address register. `size` in bytes is a power of two: 4 to 256 for I/O, 16 to 2^31 for memory. */
export interface PciBar {
  /** 0 to 5. A 64-bit BAR takes the next index too. */
  readonly index: number;
  readonly kind: 'io' | 'memory';
  readonly size: number;
  /** Of memory: the address has 64 bits. */
  readonly wide?: boolean;
  readonly prefetchable?: boolean;
}

/** Where a BAR makes the function answer: ports or gpa from `base`. */
export interface PciWindow {
  readonly bar: number;
  readonly kind: 'io' | 'memory';
  readonly base: number;
  readonly size: number;
}

/** What a function is. */
export interface PciFunctionOptions {
  readonly vendor: number;
  readonly device: number;
  /** 24 bits: base class, subclass, programming interface. */
  readonly classCode: number;
  readonly revision?: number;
  readonly subsystemVendor?: number;
  readonly subsystem?: number;
  readonly bars?: readonly PciBar[];
  /** Interrupt pin: 1 for INTA# to 4 for INTD#; 0 (none) if absent. */
  readonly interruptPin?: number;
  /** Where the pin goes. */
  readonly irq?: IrqLine;
  /** Command register after reset, and the bits of it that can be written. */
  readonly command?: number;
  readonly commandMask?: number;
  /** Status register after reset. */
  readonly status?: number;
  /**
   * The result of `windows()` changed. The guest lays windows wherever it likes, over others as well, so
   * check `isFree` on the bus before claiming one.
   */
  readonly onWindowsChange?: () => void;
}

/** A PCI function; devices extend it or own one. */
export class PciFunction implements Snapshottable {
  /** The configuration space as it reads. */
  protected readonly config = new Uint8Array(PCI_CONFIG_SIZE);
  /** Ones where the guest can write. */
  protected readonly writable = new Uint8Array(PCI_CONFIG_SIZE);
  readonly #bars: readonly PciBar[];
  readonly #irq: IrqLine | undefined;
  readonly #onWindowsChange: (() => void) | undefined;
  #interrupt = false;
  #capabilityEnd: number = PCI_CONFIG.deviceSpecific;
  #lastCapability: number = PCI_CONFIG.capabilities;

  /** Throws `BusError` for a BAR that cannot be. */
  constructor(options: PciFunctionOptions) {
    this.#bars = options.bars ?? [];
    this.#irq = options.irq;
    this.#onWindowsChange = options.onWindowsChange;
    this.setConfig(PCI_CONFIG.vendor, 2, options.vendor);
    this.setConfig(PCI_CONFIG.device, 2, options.device);
    this.setConfig(PCI_CONFIG.command, 2, options.command ?? 0, options.commandMask ?? this.#commandMask());
    this.setConfig(PCI_CONFIG.status, 2, options.status ?? 0);
    this.setConfig(PCI_CONFIG.revision, 4, ((options.classCode << 8) | (options.revision ?? 0)) >>> 0);
    this.setConfig(PCI_CONFIG.cacheLine, 1, 0, 0xff);
    this.setConfig(PCI_CONFIG.latencyTimer, 1, 0, 0xff);
    this.setConfig(PCI_CONFIG.subsystemVendor, 2, options.subsystemVendor ?? 0);
    this.setConfig(PCI_CONFIG.subsystem, 2, options.subsystem ?? 0);
    this.setConfig(PCI_CONFIG.interruptPin, 1, options.interruptPin ?? 0);
    if (options.interruptPin) this.setConfig(PCI_CONFIG.interruptLine, 1, 0, 0xff);
    for (const bar of this.#bars) this.#layBar(bar);
  }

  /** Reads `width` bytes of configuration space; bytes from 256 on read as ones. */
  readConfig(offset: number, width: AccessWidth): number {
    return readBytes(offset, width, (o) => this.config[o] ?? 0xff);
  }

  /** The guest writes `width` bytes of configuration space; bits that are not writable stay. */
  writeConfig(offset: number, width: AccessWidth, value: number): void {
    const before = this.windows();
    writeBytes(offset, width, value, (o, byte) => {
      const mask = this.writable[o];
      if (mask !== undefined) this.config[o] = (this.config[o]! & ~mask) | (byte & mask);
    });
    if (offset < PCI_CONFIG.status && offset + width > PCI_CONFIG.command) this.#driveInterrupt();
    if (!areSameWindows(before, this.windows())) this.#onWindowsChange?.();
  }

  /** The ports and addresses that the function answers now. BARs at 0 or from 2^53 on are not in use. */
  windows(): PciWindow[] {
    const command = this.config[PCI_CONFIG.command]!;
    const windows: PciWindow[] = [];
    for (const bar of this.#bars) {
      if (!(command & (bar.kind === 'io' ? COMMAND_IO : COMMAND_MEMORY))) continue;
      const base = this.#barBase(bar);
      if (base > 0 && Number.isSafeInteger(base + bar.size)) {
        windows.push({ bar: bar.index, kind: bar.kind, base, size: bar.size });
      }
    }
    return windows;
  }

  /** True when the guest lets the function reach memory. */
  get isBusMaster(): boolean {
    return (this.config[PCI_CONFIG.command]! & COMMAND_BUS_MASTER) !== 0;
  }

  /** Asserts or releases the function's INTx, which reaches its line unless the guest disabled it. */
  setInterrupt(level: boolean): void {
    this.#interrupt = level;
    this.#driveInterrupt();
  }

  /** Says in the header that the device has more functions than this one, function 0. */
  markMultiFunction(): void {
    this.config[PCI_CONFIG.headerType]! |= HEADER_MULTI_FUNCTION;
  }

  /**
   * Appends a capability (6.7): `body` without its first two bytes, the identifier and the link. `writable`
   * has ones where the guest can write the body; nowhere if absent. Call it in the constructor only.
   * @returns its offset in configuration space. Throws `BusError` when there is no room.
   */
  protected addCapability(id: number, body: Uint8Array, writable?: Uint8Array): number {
    const offset = this.#capabilityEnd;
    const end = offset + 2 + body.length;
    if (end > PCI_CONFIG_SIZE) throw new BusError('no room for a PCI capability', 'leave one out');
    this.config[this.#lastCapability] = offset;
    this.#lastCapability = offset + 1;
    this.#capabilityEnd = (end + 3) & ~3;
    this.config[offset] = id;
    this.config.set(body, offset + 2);
    if (writable !== undefined) this.writable.set(writable.subarray(0, body.length), offset + 2);
    this.config[PCI_CONFIG.status]! |= STATUS_CAPABILITIES;
    return offset;
  }

  /** Sets what a register reads, and with `mask` which of its bits the guest can write. */
  protected setConfig(offset: number, width: AccessWidth, value: number, mask = 0): void {
    writeBytes(offset, width, value, (o, byte) => {
      this.config[o] = byte;
    });
    writeBytes(offset, width, mask, (o, byte) => {
      this.writable[o] = byte;
    });
  }

  #commandMask(): number {
    let mask = COMMAND_BUS_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_DISABLE;
    for (const { kind } of this.#bars) mask |= kind === 'io' ? COMMAND_IO : COMMAND_MEMORY;
    return mask;
  }

  /** Sizing works by the mask alone: address bits below the size cannot be written and read as zero. */
  #layBar(bar: PciBar): void {
    const { index, kind, size } = bar;
    const isWide = bar.wide === true;
    const isIo = kind === 'io';
    const [least, largest] = isIo ? [LEAST_IO_BAR, LARGEST_IO_BAR] : [LEAST_MEMORY_BAR, LARGEST_MEMORY_BAR];
    const isPowerOfTwo = Number.isInteger(Math.log2(size));
    if (!isPowerOfTwo || size < least || size > largest) {
      throw new BusError(`BAR ${index} of ${size} bytes cannot be`, `give a power of two from ${least} to ${largest}`);
    }
    if (!Number.isInteger(index) || index < 0 || index + (isWide ? 2 : 1) > BAR_COUNT || (isWide && isIo)) {
      throw new BusError(`BAR ${index} does not exist`, 'give 0 to 5, to 4 for a 64-bit one, which only memory can be');
    }
    const offset = PCI_CONFIG.bar0 + 4 * index;
    const flags = isIo ? BAR_IO : (isWide ? BAR_WIDE : 0) | (bar.prefetchable === true ? BAR_PREFETCHABLE : 0);
    this.setConfig(offset, 4, flags, (TWO_32 - size) >>> 0);
    if (isWide) this.setConfig(offset + 4, 4, 0, 0xffffffff);
  }

  #barBase({ index, kind, size, wide }: PciBar): number {
    const offset = PCI_CONFIG.bar0 + 4 * index;
    const low = (this.#dword(offset) & (TWO_32 - size)) >>> 0;
    if (kind === 'io') return low & 0xffff;
    return wide === true ? this.#dword(offset + 4) * TWO_32 + low : low;
  }

  #dword(offset: number): number {
    return readBytes(offset, 4, (o) => this.config[o]!);
  }

  #driveInterrupt(): void {
    const status = this.config[PCI_CONFIG.status]! & ~STATUS_INTERRUPT;
    this.config[PCI_CONFIG.status] = status | (this.#interrupt ? STATUS_INTERRUPT : 0);
    const disabled = (this.config[PCI_CONFIG.command + 1]! << 8) & COMMAND_INTX_DISABLE;
    this.#irq?.set(this.#interrupt && !disabled);
  }

  state(): DeviceState {
    return { config: [...this.config], interrupt: this.#interrupt };
  }

  restore(state: DeviceState): void {
    const config = stateNumbers(state, 'config', PCI_CONFIG_SIZE);
    this.#interrupt = stateBoolean(state, 'interrupt');
    for (let o = 0; o < PCI_CONFIG_SIZE; o++) {
      const mask = this.writable[o]!;
      this.config[o] = (this.config[o]! & ~mask) | (config[o]! & mask);
    }
    this.#driveInterrupt();
    this.#onWindowsChange?.();
  }
}

function areSameWindows(a: readonly PciWindow[], b: readonly PciWindow[]): boolean {
  return a.length === b.length && a.every((window, i) => window.base === b[i]!.base && window.bar === b[i]!.bar);
}
