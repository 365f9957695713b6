/**
 * The port and memory buses: which device answers an access. Unclaimed reads are all ones, unclaimed
 * writes are dropped. An access that does not lie within one device is carried out byte by byte.
 */
import { readBytes, widthMask, writeBytes } from './byte-lanes.ts';
import type { AccessWidth, MmioDevice, PortDevice } from './device.ts';
import { BusError } from './errors.ts';

/** One access as `--log io` shows it, after it was carried out. */
export interface BusEvent {
  readonly kind: 'in' | 'out' | 'mmio-read' | 'mmio-write';
  /** Port number or gpa. */
  readonly address: number;
  readonly width: AccessWidth;
  readonly value: number;
  /** False when no device claims the first byte. */
  readonly claimed: boolean;
}

/** Receives every access while set. */
export type BusTrace = (event: BusEvent) => void;

const PORT_COUNT = 0x10000;
/** Table entries past the last port stay empty, so that a wide access there needs no check. */
const WIDEST_ACCESS = 4;

/** The 64 Ki I/O ports. */
export class PortBus {
  /** Sees every access when set. */
  trace: BusTrace | undefined;
  readonly #byPort: (PortDevice | undefined)[] = new Array(PORT_COUNT + WIDEST_ACCESS).fill(undefined);

  /** Claims all ports of `device`. Throws `BusError`, having claimed none, when a range is bad or taken. */
  register(device: PortDevice): void {
    for (const { base, count } of device.ports) {
      if (!Number.isInteger(base) || !Number.isInteger(count) || base < 0 || count < 1 || base + count > PORT_COUNT) {
        throw new BusError(`port range ${hex(base)}+${count} does not exist`, 'give ports from 0 to 0xffff');
      }
      for (let port = base; port < base + count; port++) {
        if (this.#byPort[port] !== undefined) {
          throw new BusError(`port ${hex(port)} is claimed by two devices`, 'move one of them');
        }
      }
    }
    for (const { base, count } of device.ports) this.#byPort.fill(device, base, base + count);
  }

  /** Gives up all ports of `device`; those it does not hold are left alone. */
  unregister(device: PortDevice): void {
    for (let port = 0; port < PORT_COUNT; port++) {
      if (this.#byPort[port] === device) this.#byPort[port] = undefined;
    }
  }

  /** True when no device claims any of `count` ports from `base`. */
  isFree(base: number, count: number): boolean {
    for (let port = base; port < base + count && port < PORT_COUNT; port++) {
      if (this.#byPort[port] !== undefined) return false;
    }
    return base >= 0 && base + count <= PORT_COUNT;
  }

  /** IN: the unsigned value of `width` bytes at `port` (0 to 0xffff). */
  read(port: number, width: AccessWidth): number {
    const device = this.#deviceFor(port, width);
    const value =
      device !== undefined
        ? device.read(port, width)
        : width === 1
          ? 0xff
          : readBytes(port, width, (p) => this.#byPort[p]?.read(p, 1) ?? 0xff);
    this.trace?.({ kind: 'in', address: port, width, value, claimed: this.#claimed(port, device) });
    return value;
  }

  /** OUT: writes the low `width` bytes of `value` at `port` (0 to 0xffff). */
  write(port: number, width: AccessWidth, value: number): void {
    const device = this.#deviceFor(port, width);
    const masked = (value & widthMask(width)) >>> 0;
    if (device !== undefined) device.write(port, width, masked);
    else if (width !== 1) writeBytes(port, width, masked, (p, byte) => this.#byPort[p]?.write(p, 1, byte));
    this.trace?.({ kind: 'out', address: port, width, value: masked, claimed: this.#claimed(port, device) });
  }

  /** The device that takes the access whole, if there is one. */
  #deviceFor(port: number, width: AccessWidth): PortDevice | undefined {
    const device = this.#byPort[port];
    if (width === 1 || device === undefined) return device;
    for (let i = 1; i < width; i++) {
      if (this.#byPort[port + i] !== device) return undefined;
    }
    return device;
  }

  #claimed(port: number, device: PortDevice | undefined): boolean {
    return device !== undefined || this.#byPort[port] !== undefined;
  }
}

const TWO_32 = 0x1_0000_0000n;

/** Memory windows of devices, by guest-physical address. */
export class MmioBus {
  /** Sees every access when set. */
  trace: BusTrace | undefined;
  /** In ascending order of base, not overlapping. */
  readonly #devices: MmioDevice[] = [];
  #last: MmioDevice | undefined;

  /** Claims `[base, base + size)`. Throws `BusError` when the window is bad or overlaps another. */
  register(device: MmioDevice): void {
    const { base, size } = device;
    if (!Number.isSafeInteger(base) || base < 0 || !Number.isSafeInteger(base + size) || size < 1) {
      throw new BusError(`memory window ${hex(base)}+${size} does not exist`, 'give a gpa below 2^53');
    }
    if (!this.isFree(base, size)) {
      throw new BusError(`memory window ${hex(base)}+${hex(size)} overlaps another device`, 'move one of them');
    }
    const index = this.#devices.findIndex((d) => d.base > base);
    this.#devices.splice(index === -1 ? this.#devices.length : index, 0, device);
  }

  /** Gives up the window of `device`, if it has one. */
  unregister(device: MmioDevice): void {
    const index = this.#devices.indexOf(device);
    if (index !== -1) this.#devices.splice(index, 1);
    this.#last = undefined;
  }

  /** True when no device claims a byte of `[base, base + size)`. */
  isFree(base: number, size: number): boolean {
    return !this.#devices.some((d) => base < d.base + d.size && d.base < base + size);
  }

  /** The device whose window has `gpa` in it. */
  deviceAt(gpa: number): MmioDevice | undefined {
    const last = this.#last;
    if (last !== undefined && gpa >= last.base && gpa < last.base + last.size) return last;
    let low = 0;
    let high = this.#devices.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#devices[middle]!.base <= gpa) low = middle + 1;
      else high = middle;
    }
    const device = this.#devices[low - 1];
    if (device === undefined || gpa >= device.base + device.size) return undefined;
    this.#last = device;
    return device;
  }

  /** The unsigned value of `width` bytes at `gpa`. */
  read(gpa: number, width: AccessWidth): number {
    const device = this.deviceAt(gpa);
    const value =
      device !== undefined && gpa + width <= device.base + device.size
        ? device.mmioRead(gpa - device.base, width)
        : readBytes(gpa, width, (a) => this.#readByte(a));
    this.trace?.({ kind: 'mmio-read', address: gpa, width, value, claimed: device !== undefined });
    return value;
  }

  /** Writes the low `width` bytes of `value` at `gpa`. */
  write(gpa: number, width: AccessWidth, value: number): void {
    const device = this.deviceAt(gpa);
    const masked = (value & widthMask(width)) >>> 0;
    if (device !== undefined && gpa + width <= device.base + device.size) {
      device.mmioWrite(gpa - device.base, width, masked);
    } else {
      writeBytes(gpa, width, masked, (a, byte) => this.#writeByte(a, byte));
    }
    this.trace?.({ kind: 'mmio-write', address: gpa, width, value: masked, claimed: device !== undefined });
  }

  /** Eight bytes at `gpa`, low dword first. */
  read64(gpa: number): bigint {
    const low = this.read(gpa, 4);
    return BigInt(low) + BigInt(this.read(gpa + 4, 4)) * TWO_32;
  }

  /** Writes eight bytes at `gpa`, low dword first. */
  write64(gpa: number, value: bigint): void {
    const unsigned = BigInt.asUintN(64, value);
    this.write(gpa, 4, Number(unsigned % TWO_32));
    this.write(gpa + 4, 4, Number(unsigned / TWO_32));
  }

  #readByte(gpa: number): number {
    const device = this.deviceAt(gpa);
    return device === undefined ? 0xff : device.mmioRead(gpa - device.base, 1);
  }

  #writeByte(gpa: number, byte: number): void {
    const device = this.deviceAt(gpa);
    device?.mmioWrite(gpa - device.base, 1, byte);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
