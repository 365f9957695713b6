/**
 * The PCI bus as the guest reaches it: configuration mechanism #1 of the PCI Local Bus Specification
 * (3.2.2.3.2) with the functions on bus 0, and the reset control register that lies in the same ports.
 */
import { readBytes, widthMask, writeBytes } from './byte-lanes.ts';
import type { AccessWidth, DeviceState, PortDevice, PortRange, Snapshottable } from './device.ts';
import { BusError, SnapshotError } from './errors.ts';
import { HostBridge, IsaBridge } from './pci-bridges.ts';
import type { PciFunction } from './pci-function.ts';
import { stateChild, stateNumber } from './state.ts';

const PORT_COUNT = 8;
/** Offsets from the first port. */
const RESET_CONTROL = 1;
const CONFIG_DATA = 4;

/** CONFIG_ADDRESS: [31] enable, [23:16] bus, [15:11] device, [10:8] function, [7:2] dword of its configuration. */
const ADDRESS_ENABLE = 0x80000000;
const ADDRESS_MASK = 0x80fffffc;
const ADDRESS_BUS_SHIFT = 16;
const ADDRESS_FUNCTION_SHIFT = 8;
const BUS_MASK = 0xff;
/** Device and function number together, as in "devfn". */
const SLOT_MASK = 0xff;
const REGISTER_MASK = 0xfc;

const DEVICE_COUNT = 32;
const FUNCTION_COUNT = 8;

/** Reset control of the PIIX3: [1] hard reset instead of soft, [2] reset now; [3] power cycle on later chips. */
const RESET_NOW = 1 << 2;
const RESET_KEPT = 0x0a;

/** What the PCI host is wired to. */
export interface PciHostOptions {
  /** First of eight ports. PC: 0xcf8. */
  readonly base: number;
  /** The guest resets the machine. */
  readonly onReset: () => void;
}

/** PCI bus 0 with its host bridge at 00:00.0 and ISA bridge at 00:01.0. Its state is that of all functions too. */
export class PciHost implements PortDevice, Snapshottable {
  readonly ports: readonly PortRange[];
  readonly hostBridge = new HostBridge();
  readonly isaBridge = new IsaBridge();
  readonly #base: number;
  readonly #onReset: () => void;
  /** By device and function number. */
  readonly #functions = new Map<number, PciFunction>();
  #address = 0;
  #resetControl = 0;

  constructor(options: PciHostOptions) {
    this.#base = options.base;
    this.#onReset = options.onReset;
    this.ports = [{ base: options.base, count: PORT_COUNT }];
    this.add(0, 0, this.hostBridge);
    this.add(1, 0, this.isaBridge);
  }

  /**
   * Puts a function on bus 0. Guests find functions 1 to 7 of a device only when it has a function 0.
   * @param device 0 to 31
   * @param number 0 to 7
   * Throws `BusError` when the place does not exist or is taken.
   */
  add(device: number, number: number, pciFunction: PciFunction): void {
    const name = `PCI function 00:${device.toString(16).padStart(2, '0')}.${number}`;
    if (!isBelow(device, DEVICE_COUNT) || !isBelow(number, FUNCTION_COUNT)) {
      throw new BusError(`${name} does not exist`, 'give a device from 0 to 31 and a function from 0 to 7');
    }
    const slot = device * FUNCTION_COUNT + number;
    if (this.#functions.has(slot)) throw new BusError(`${name} is there already`, 'give another device number');
    this.#functions.set(slot, pciFunction);
    const first = this.#functions.get(device * FUNCTION_COUNT);
    for (let i = 1; i < FUNCTION_COUNT; i++) {
      if (this.#functions.has(device * FUNCTION_COUNT + i)) first?.markMultiFunction();
    }
  }

  /** The least device number that no function uses, if there is one. */
  freeDevice(): number | undefined {
    for (let device = 0; device < DEVICE_COUNT; device++) {
      const base = device * FUNCTION_COUNT;
      if (![...this.#functions.keys()].some((slot) => slot >= base && slot < base + FUNCTION_COUNT)) return device;
    }
    return undefined;
  }

  read(port: number, width: AccessWidth): number {
    const offset = port - this.#base;
    if (offset === 0 && width === 4) return this.#address;
    if (offset === RESET_CONTROL && width === 1) return this.#resetControl;
    if (isData(offset, width)) return this.#readConfig(offset - CONFIG_DATA, width);
    // Only an aligned dword reaches the address; bytes that lie in the data do reach it.
    return readBytes(offset, width, (o) => (isData(o, 1) ? this.#readConfig(o - CONFIG_DATA, 1) : 0xff));
  }

  write(port: number, width: AccessWidth, value: number): void {
    const offset = port - this.#base;
    if (offset === 0 && width === 4) this.#address = (value & ADDRESS_MASK) >>> 0;
    else if (offset === RESET_CONTROL && width === 1) this.#writeResetControl(value);
    else if (isData(offset, width)) this.#writeConfig(offset - CONFIG_DATA, width, value);
    else {
      writeBytes(offset, width, value, (o, byte) => {
        if (isData(o, 1)) this.#writeConfig(o - CONFIG_DATA, 1, byte);
      });
    }
  }

  /** An absent function leaves the bus floating: all ones (6.1). */
  #readConfig(lane: number, width: AccessWidth): number {
    return this.#selected()?.readConfig(this.#register(lane), width) ?? widthMask(width);
  }

  #writeConfig(lane: number, width: AccessWidth, value: number): void {
    this.#selected()?.writeConfig(this.#register(lane), width, value);
  }

  #register(lane: number): number {
    return (this.#address & REGISTER_MASK) + lane;
  }

  #selected(): PciFunction | undefined {
    const address = this.#address;
    if (!(address & ADDRESS_ENABLE) || ((address >>> ADDRESS_BUS_SHIFT) & BUS_MASK) !== 0) return undefined;
    return this.#functions.get((address >>> ADDRESS_FUNCTION_SHIFT) & SLOT_MASK);
  }

  #writeResetControl(value: number): void {
    this.#resetControl = value & RESET_KEPT;
    if (value & RESET_NOW) this.#onReset();
  }

  state(): DeviceState {
    const functions = [...this.#functions].map(([slot, pciFunction]) => [String(slot), pciFunction.state()]);
    return { address: this.#address, resetControl: this.#resetControl, functions: Object.fromEntries(functions) };
  }

  restore(state: DeviceState): void {
    const functions = stateChild(state, 'functions');
    if (Object.keys(functions).length !== this.#functions.size) {
      throw new SnapshotError('functions', `an object of ${this.#functions.size} PCI functions`);
    }
    this.#address = (stateNumber(state, 'address') & ADDRESS_MASK) >>> 0;
    this.#resetControl = stateNumber(state, 'resetControl', 0xff) & RESET_KEPT;
    for (const [slot, pciFunction] of this.#functions) pciFunction.restore(stateChild(functions, String(slot)));
  }
}

/** True when the access lies in the configuration data ports. */
function isData(offset: number, width: AccessWidth): boolean {
  return offset >= CONFIG_DATA && offset + width <= PORT_COUNT;
}

function isBelow(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}
