/** The in-kernel interrupt controllers and timer of a virtual machine. */
import { type GsiRoute, HvError, type IrqchipState, type PitState } from '../contract.ts';
import { CAP, ENABLE_CAP, IO_APIC, IOCTL, IRQCHIP, MSI, PIT_SPEAKER, SIZE } from './abi.ts';
import { viewOf } from './codec.ts';
import { need } from './errors.ts';
import {
  irqchipOf,
  readIoApic,
  readPic,
  readPit,
  routeList,
  writeIoApic,
  writePic,
  writePit,
} from './irqchip-codec.ts';
import type { Libc } from './libc.ts';

/** Which controllers are in the kernel: none, the local APICs, all. */
export type IrqchipKind = 'none' | 'split' | 'whole';

export class KernelIrqchip {
  kind: IrqchipKind = 'none';
  private readonly c: Libc;
  private readonly vm: number;

  /** @param vm the virtual machine's descriptor */
  constructor(c: Libc, vm: number) {
    this.c = c;
    this.vm = vm;
  }

  private call(request: number, structure: Uint8Array, what: string): number {
    return need(this.c, this.c.ioctlStruct(this.vm, request, structure), what);
  }
  private needWhole(): void {
    if (this.kind !== 'whole') throw new HvError('the interrupt controllers are in user space', 'call createIrqchip');
  }

  create(split: boolean): void {
    if (split) {
      const bytes = new Uint8Array(SIZE.enableCap);
      viewOf(bytes).setUint32(ENABLE_CAP.CAP, CAP.SPLIT_IRQCHIP, true);
      viewOf(bytes).setBigUint64(ENABLE_CAP.ARG0, BigInt(IO_APIC.PINS), true);
      this.call(IOCTL.ENABLE_CAP, bytes, 'KVM_CAP_SPLIT_IRQCHIP');
    } else need(this.c, this.c.ioctl(this.vm, IOCTL.CREATE_IRQCHIP, 0), 'KVM_CREATE_IRQCHIP');
    this.kind = split ? 'split' : 'whole';
  }
  createPit(): void {
    this.needWhole();
    const config = new Uint8Array(SIZE.pitConfig);
    viewOf(config).setUint32(0, PIT_SPEAKER, true);
    this.call(IOCTL.CREATE_PIT2, config, 'KVM_CREATE_PIT2');
  }

  setLine(gsi: number, level: boolean): void {
    const bytes = new Uint8Array(SIZE.irqLevel);
    viewOf(bytes).setUint32(0, gsi, true);
    viewOf(bytes).setUint32(4, level ? 1 : 0, true);
    this.call(IOCTL.IRQ_LINE, bytes, 'KVM_IRQ_LINE');
  }
  setRoutes(routes: readonly GsiRoute[]): void {
    this.call(IOCTL.SET_GSI_ROUTING, routeList(routes), 'KVM_SET_GSI_ROUTING');
  }
  signalMsi(address: number, data: number): boolean {
    const bytes = new Uint8Array(SIZE.msi);
    viewOf(bytes).setUint32(MSI.ADDRESS, address, true);
    viewOf(bytes).setUint32(MSI.DATA, data, true);
    return this.call(IOCTL.SIGNAL_MSI, bytes, 'KVM_SIGNAL_MSI') > 0;
  }

  private chip(number: number): Uint8Array {
    const bytes = irqchipOf(number);
    this.call(IOCTL.GET_IRQCHIP, bytes, 'KVM_GET_IRQCHIP');
    return bytes;
  }
  state(): IrqchipState {
    this.needWhole();
    const { MASTER, SLAVE, IO_APIC: io } = IRQCHIP;
    return { master: readPic(this.chip(MASTER)), slave: readPic(this.chip(SLAVE)), ioApic: readIoApic(this.chip(io)) };
  }
  setState(state: IrqchipState): void {
    this.needWhole();
    for (let gsi = 0; gsi < IO_APIC.PINS; gsi++) this.setLine(gsi, false);
    const put = (number: number, write: (bytes: Uint8Array) => void): void => {
      const bytes = irqchipOf(number);
      write(bytes);
      this.call(IOCTL.SET_IRQCHIP, bytes, 'KVM_SET_IRQCHIP');
    };
    put(IRQCHIP.MASTER, (bytes) => writePic(bytes, state.master));
    put(IRQCHIP.SLAVE, (bytes) => writePic(bytes, state.slave));
    put(IRQCHIP.IO_APIC, (bytes) => writeIoApic(bytes, state.ioApic));
  }

  /** Load times of the timer are CLOCK_MONOTONIC, and so is hrtime. */
  pit(): PitState {
    this.needWhole();
    const bytes = new Uint8Array(SIZE.pitState);
    this.call(IOCTL.GET_PIT2, bytes, 'KVM_GET_PIT2');
    return readPit(bytes, process.hrtime.bigint());
  }
  setPit(state: PitState): void {
    this.needWhole();
    const bytes = new Uint8Array(SIZE.pitState);
    writePit(bytes, state, process.hrtime.bigint());
    this.call(IOCTL.SET_PIT2, bytes, 'KVM_SET_PIT2');
  }
}
