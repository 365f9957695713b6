/** Devices whose ports are byte registers. */
import { readBytes, writeBytes } from './byte-lanes.ts';
import type { AccessWidth, PortDevice, PortRange } from './device.ts';

/** Wide accesses come to `readByte` and `writeByte` as byte accesses at ascending ports. */
export abstract class BytePorts implements PortDevice {
  abstract readonly ports: readonly PortRange[];
  protected abstract readByte(port: number): number;
  /** `value` is a byte. */
  protected abstract writeByte(port: number, value: number): void;

  read(port: number, width: AccessWidth): number {
    return width === 1 ? this.readByte(port) : readBytes(port, width, (p) => this.readByte(p));
  }
  write(port: number, width: AccessWidth, value: number): void {
    if (width === 1) this.writeByte(port, value & 0xff);
    else writeBytes(port, width, value, (p, byte) => this.writeByte(p, byte));
  }
}
