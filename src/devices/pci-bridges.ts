/**
 * The two bridges of a PC with the Intel 440FX chipset: the host bridge (82441FX) and the ISA bridge of the
 * PIIX3 (82371SB). Guests know the board by them and read how interrupts are routed. Registers that nothing
 * here acts on are left out and read as zero.
 */
import { PciFunction } from './pci-function.ts';

const VENDOR_INTEL = 0x8086;

const HOST_BRIDGE_DEVICE = 0x1237;
const HOST_BRIDGE_CLASS = 0x060000;
const HOST_BRIDGE_REVISION = 2;
/** PCICMD of the 82441FX: memory and bus master always on; SERR# can be enabled. */
const HOST_BRIDGE_COMMAND = 0x0006;
const HOST_BRIDGE_COMMAND_MASK = 0x0100;
/** PCISTS: medium DEVSEL# timing, fast back to back. */
const HOST_BRIDGE_STATUS = 0x0280;
/**
 * PAM0 to PAM6, what is behind 0xc0000-0xfffff: [5:4] write and read enable of the upper area, [1:0] of the
 * lower. PAM0 has only the upper one. On this board it is RAM always, as these registers say after reset.
 */
const PAM_FIRST = 0x59;
const PAM_COUNT = 7;
const PAM_MASK = 0x33;
const PAM0_MASK = 0x30;
/** SMRAM: [2:0] the base segment, always 0xa0000; SMM space is closed for good. */
const SMRAM = 0x72;
const SMRAM_VALUE = 0x02;

/** The host bridge, 00:00.0. */
export class HostBridge extends PciFunction {
  constructor() {
    super({
      vendor: VENDOR_INTEL,
      device: HOST_BRIDGE_DEVICE,
      classCode: HOST_BRIDGE_CLASS,
      revision: HOST_BRIDGE_REVISION,
      command: HOST_BRIDGE_COMMAND,
      commandMask: HOST_BRIDGE_COMMAND_MASK,
      status: HOST_BRIDGE_STATUS,
    });
    for (let i = 0; i < PAM_COUNT; i++) {
      const mask = i === 0 ? PAM0_MASK : PAM_MASK;
      this.setConfig(PAM_FIRST + i, 1, mask, mask);
    }
    this.setConfig(SMRAM, 1, SMRAM_VALUE);
  }
}

const ISA_BRIDGE_DEVICE = 0x7000;
const ISA_BRIDGE_CLASS = 0x060100;
/** PCICMD of the PIIX3: I/O, memory and bus master always on; special cycles can be enabled. */
const ISA_BRIDGE_COMMAND = 0x0007;
const ISA_BRIDGE_COMMAND_MASK = 0x0008;
const ISA_BRIDGE_STATUS = 0x0200;
/** PIRQRCA to PIRQRCD: [7] not routed, [3:0] ISA interrupt. */
const PIRQ_FIRST = 0x60;
const PIRQ_COUNT = 4;
const PIRQ_DISABLED = 1 << 7;
const PIRQ_IRQ_MASK = 0x0f;
/** DLC, deterministic latency control: [3:0] kinds of delayed and passive cycles. Linux sets one of them. */
const LATENCY_CONTROL = 0x82;
const LATENCY_CONTROL_MASK = 0x0f;

/** The ISA bridge, 00:01.0. */
export class IsaBridge extends PciFunction {
  constructor() {
    super({
      vendor: VENDOR_INTEL,
      device: ISA_BRIDGE_DEVICE,
      classCode: ISA_BRIDGE_CLASS,
      command: ISA_BRIDGE_COMMAND,
      commandMask: ISA_BRIDGE_COMMAND_MASK,
      status: ISA_BRIDGE_STATUS,
    });
    for (let i = 0; i < PIRQ_COUNT; i++) {
      this.setConfig(PIRQ_FIRST + i, 1, PIRQ_DISABLED, PIRQ_DISABLED | PIRQ_IRQ_MASK);
    }
    this.setConfig(LATENCY_CONTROL, 1, 0, LATENCY_CONTROL_MASK);
  }

  /** The ISA interrupt (0-15) to which the guest routed PIRQ `pin` (0 for A to 3 for D), if it did. */
  pirqRoute(pin: number): number | undefined {
    const route = this.config[PIRQ_FIRST + (pin & (PIRQ_COUNT - 1))]!;
    return route & PIRQ_DISABLED ? undefined : route & PIRQ_IRQ_MASK;
  }
}
