/**
 * The two ports for people who write kernels: a byte written to the debug console appears at the host, a
 * value written to the debug exit ends the machine.
 */
import { widthMask } from './byte-lanes.ts';
import type { AccessWidth, DeviceState, PortDevice, PortRange, Snapshottable } from './device.ts';

/** What the debug ports are wired to. */
export interface DebugPortsOptions {
  /** One port. Customary: 0xe9. */
  readonly console: number;
  /** Four ports, so that a 32-bit write arrives whole. Customary: 0xf4. */
  readonly exit: number;
  /** Takes what the guest writes to the console. The array is not used again afterwards. */
  readonly output: (bytes: Uint8Array) => void;
  /** Takes the value written to the first exit port: unsigned, as wide as the write was. */
  readonly onExit: (value: number) => void;
}

/** A read of the console port returns this, whatever the port: so a guest knows that the console is there. */
export const DEBUG_CONSOLE_PRESENT = 0xe9;
const EXIT_PORTS = 4;

/** Debug console and debug exit. */
export class DebugPorts implements PortDevice, Snapshottable {
  readonly ports: readonly PortRange[];
  readonly #options: DebugPortsOptions;

  constructor(options: DebugPortsOptions) {
    this.#options = options;
    this.ports = [
      { base: options.console, count: 1 },
      { base: options.exit, count: EXIT_PORTS },
    ];
  }

  read(port: number, width: AccessWidth): number {
    if (port !== this.#options.console) return widthMask(width);
    return ((widthMask(width) & ~0xff) | DEBUG_CONSOLE_PRESENT) >>> 0;
  }

  write(port: number, width: AccessWidth, value: number): void {
    if (port === this.#options.console) this.#options.output(Uint8Array.of(value & 0xff));
    else if (port === this.#options.exit) this.#options.onExit((value & widthMask(width)) >>> 0);
  }

  /** The ports keep nothing. */
  state(): DeviceState {
    return {};
  }

  restore(_state: DeviceState): void {}
}
