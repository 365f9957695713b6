/**
 * ACPI power management hardware: PM1a event and control blocks, the power management timer and a
 * general-purpose event block. There is no SMI, so the machine is always in ACPI mode (SCI_EN is one), and
 * S5 is the only sleep state. Sections are those of the ACPI specification 6.5.
 */
import { extractLanes, readBytes, writeBytes } from './byte-lanes.ts';
import type {
  AccessWidth,
  CancelTimer,
  Clock,
  DeviceState,
  IrqLine,
  PortDevice,
  PortRange,
  Snapshottable,
} from './device.ts';
import { stateNumber } from './state.ts';

/** Frequency of the power management timer in Hz (4.8.2.1). */
export const PM_TIMER_HZ = 3579545;
const HZ = BigInt(PM_TIMER_HZ);
const NS_PER_SECOND = 1_000_000_000n;
const TIMER_MASK = 0xffffffn;
/** TMR_STS is set each time the highest of the 24 bits changes. */
const HALF_SHIFT = 23n;

/** Sizes of the register blocks in bytes. */
const EVENT_BYTES = 4;
const CONTROL_BYTES = 2;
const TIMER_BYTES = 4;
const GPE_BYTES = 4;

/** PM1 status and enable (4.8.4.1.1): [0] timer, [5] global lock released, [8] power button, [9] sleep button, [10] RTC. */
const PM1_TIMER = 1 << 0;
const PM1_GLOBAL = 1 << 5;
const PM1_POWER_BUTTON = 1 << 8;
const PM1_SLEEP_BUTTON = 1 << 9;
const PM1_RTC = 1 << 10;
const PM1_ENABLE_MASK = PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC;
/** The status that this hardware keeps: the timer's is computed, the others have no source here. */
const PM1_KEPT_STATUS = PM1_POWER_BUTTON;

/** PM1 control (4.8.4.2): [0] SCI_EN, [1] BM_RLD, [2] GBL_RLS (w/o), [12:10] SLP_TYP, [13] SLP_EN (w/o). */
const CONTROL_SCI_ENABLE = 1 << 0;
const CONTROL_BUS_MASTER_RELOAD = 1 << 1;
const CONTROL_SLEEP_TYPE_SHIFT = 10;
const CONTROL_SLEEP_TYPE = 7 << CONTROL_SLEEP_TYPE_SHIFT;
const CONTROL_SLEEP_ENABLE = 1 << 13;
const CONTROL_KEPT = CONTROL_BUS_MASTER_RELOAD | CONTROL_SLEEP_TYPE;

/** SLP_TYP of S5, soft off. The DSDT's \_S5 must say the same. */
export const ACPI_SLEEP_TYPE_S5 = 5;
/** General-purpose events 0 to 15. */
export const GPE_COUNT = 16;

/** What the power management hardware is wired to. */
export interface AcpiPmOptions {
  /** First of four ports: PM1a status and enable, two bytes each. */
  readonly eventBase: number;
  /** First of two ports: PM1a control. */
  readonly controlBase: number;
  /** First of four ports: the timer. */
  readonly timerBase: number;
  /** First of four ports: GPE0 status and enable, two bytes each. */
  readonly gpeBase: number;
  /** The system control interrupt, a level. */
  readonly sci: IrqLine;
  readonly clock: Clock;
  /** The guest entered S5. */
  readonly onPowerOff: () => void;
}

/** Power management registers of a PC. */
export class AcpiPm implements PortDevice, Snapshottable {
  readonly ports: readonly PortRange[];
  readonly #options: AcpiPmOptions;

  #pm1Status = 0;
  #pm1Enable = 0;
  /** Half periods of the timer that had gone by when TMR_STS was last cleared. */
  #halvesSeen = 0n;
  #control = 0;
  #gpeStatus = 0;
  #gpeEnable = 0;
  #cancel: CancelTimer = () => {};

  constructor(options: AcpiPmOptions) {
    this.#options = options;
    this.ports = [
      { base: options.eventBase, count: EVENT_BYTES },
      { base: options.controlBase, count: CONTROL_BYTES },
      { base: options.timerBase, count: TIMER_BYTES },
      { base: options.gpeBase, count: GPE_BYTES },
    ];
  }

  /** The person presses the power button: an event that an operating system takes as a wish to shut down. */
  pressPowerButton(): void {
    this.#pm1Status |= PM1_POWER_BUTTON;
    this.#update();
  }

  /**
   * Sets the status of general-purpose event `event`, which stays until the guest clears it.
   * Numbers from `GPE_COUNT` on do nothing.
   */
  raiseGpe(event: number): void {
    if (event >= 0 && event < GPE_COUNT) this.#gpeStatus |= 1 << event;
    this.#update();
  }

  read(port: number, width: AccessWidth): number {
    // One look at the clock for all bytes, or a wide read of the timer could mix two values.
    const tick = this.#tick();
    const offset = port - this.#options.timerBase;
    if (offset >= 0 && offset + width <= TIMER_BYTES) return extractLanes(timerValue(tick), offset, width);
    return readBytes(port, width, (p) => this.#readByte(p, tick));
  }

  write(port: number, width: AccessWidth, value: number): void {
    const { controlBase } = this.#options;
    if (port === controlBase && width >= CONTROL_BYTES) {
      // As a whole, because SLP_TYP and SLP_EN take effect together with the other byte in place.
      this.#writeControl(value & 0xffff);
      return;
    }
    writeBytes(port, width, value, (p, byte) => this.#writeByte(p, byte));
    this.#update();
  }

  #readByte(port: number, tick: bigint): number {
    const { eventBase, controlBase, timerBase, gpeBase } = this.#options;
    if (isWithin(port, eventBase, EVENT_BYTES)) {
      return byteOf(this.#status(tick) | (this.#pm1Enable << 16), port - eventBase);
    }
    if (isWithin(port, controlBase, CONTROL_BYTES)) {
      return byteOf(this.#control | CONTROL_SCI_ENABLE, port - controlBase);
    }
    if (isWithin(port, timerBase, TIMER_BYTES)) return byteOf(timerValue(tick), port - timerBase);
    if (isWithin(port, gpeBase, GPE_BYTES)) return byteOf(this.#gpeStatus | (this.#gpeEnable << 16), port - gpeBase);
    return 0xff;
  }

  #writeByte(port: number, byte: number): void {
    const { eventBase, controlBase, gpeBase } = this.#options;
    if (isWithin(port, eventBase, EVENT_BYTES)) this.#writeEvent(port - eventBase, byte);
    else if (isWithin(port, controlBase, CONTROL_BYTES)) {
      const shift = 8 * (port - controlBase);
      this.#writeControl((this.#control & ~(0xff << shift)) | (byte << shift));
    } else if (isWithin(port, gpeBase, GPE_BYTES)) this.#writeGpe(port - gpeBase, byte);
    // The timer is read only.
  }

  /** Status bits are cleared by writing ones (4.8.4.1.1), enable bits are kept. */
  #writeEvent(offset: number, byte: number): void {
    const bits = byte << (8 * (offset & 1));
    if (offset < EVENT_BYTES / 2) {
      this.#pm1Status &= ~bits;
      if (bits & PM1_TIMER) this.#halvesSeen = this.#tick() >> HALF_SHIFT;
    } else {
      this.#pm1Enable = replaceByte(this.#pm1Enable, offset & 1, byte) & PM1_ENABLE_MASK;
    }
  }

  #writeGpe(offset: number, byte: number): void {
    if (offset < GPE_BYTES / 2) this.#gpeStatus &= ~(byte << (8 * (offset & 1)));
    else this.#gpeEnable = replaceByte(this.#gpeEnable, offset & 1, byte);
  }

  #writeControl(value: number): void {
    this.#control = value & CONTROL_KEPT;
    const sleepType = (value & CONTROL_SLEEP_TYPE) >> CONTROL_SLEEP_TYPE_SHIFT;
    if (value & CONTROL_SLEEP_ENABLE && sleepType === ACPI_SLEEP_TYPE_S5) this.#options.onPowerOff();
  }

  /** PM1 status with the timer's bit. */
  #status(tick: bigint): number {
    return this.#pm1Status | (tick >> HALF_SHIFT !== this.#halvesSeen ? PM1_TIMER : 0);
  }

  /** Drives SCI, and waits for the timer's next status change when that may change SCI. */
  #update(): void {
    const tick = this.#tick();
    const status = this.#status(tick);
    this.#cancel();
    if (this.#pm1Enable & PM1_TIMER && !(status & PM1_TIMER)) {
      const next = ((tick >> HALF_SHIFT) + 1n) << HALF_SHIFT;
      this.#cancel = this.#options.clock.at(timeOfTick(next), () => this.#update());
    }
    this.#options.sci.set((status & this.#pm1Enable) !== 0 || (this.#gpeStatus & this.#gpeEnable) !== 0);
  }

  #tick(): bigint {
    return (this.#options.clock.now() * HZ) / NS_PER_SECOND;
  }

  state(): DeviceState {
    return {
      pm1Status: this.#pm1Status,
      pm1Enable: this.#pm1Enable,
      halvesSeen: Number(this.#halvesSeen),
      control: this.#control,
      gpeStatus: this.#gpeStatus,
      gpeEnable: this.#gpeEnable,
    };
  }

  restore(state: DeviceState): void {
    this.#pm1Status = stateNumber(state, 'pm1Status', 0xffff) & PM1_KEPT_STATUS;
    this.#pm1Enable = stateNumber(state, 'pm1Enable', 0xffff) & PM1_ENABLE_MASK;
    this.#halvesSeen = BigInt(stateNumber(state, 'halvesSeen', Number.MAX_SAFE_INTEGER));
    this.#control = stateNumber(state, 'control', 0xffff) & CONTROL_KEPT;
    this.#gpeStatus = stateNumber(state, 'gpeStatus', 0xffff);
    this.#gpeEnable = stateNumber(state, 'gpeEnable', 0xffff);
    this.#update();
  }
}

function timerValue(tick: bigint): number {
  return Number(tick & TIMER_MASK);
}

/** The first nanosecond at which `tick` ticks are done. */
function timeOfTick(tick: bigint): bigint {
  return (tick * NS_PER_SECOND + HZ - 1n) / HZ;
}

function isWithin(port: number, base: number, count: number): boolean {
  return port >= base && port < base + count;
}

function byteOf(value: number, index: number): number {
  return (value >>> (8 * index)) & 0xff;
}

/** The 16-bit `register` with byte `index` replaced. */
function replaceByte(register: number, index: number, byte: number): number {
  return (register & ~(0xff << (8 * index)) & 0xffff) | (byte << (8 * index));
}
