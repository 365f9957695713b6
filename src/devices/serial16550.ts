/**
 * The 16550A UART: eight byte registers, two 16-byte FIFOs. The transmitter is infinitely fast, the line
 * to the other end is always up (CTS, DSR and DCD asserted), and baud rates are kept but mean nothing.
 * Sections are those of the National PC16550D datasheet.
 */
import { BytePorts } from './byte-ports.ts';
import type { DeviceState, IrqLine, PortRange, Snapshottable } from './device.ts';
import { stateBoolean, stateNumber, stateNumbers } from './state.ts';

const REGISTER_COUNT = 8;
/** Register offsets; with LCR.DLAB set, 0 and 1 are the divisor latch. */
const REG = { data: 0, ier: 1, iirFcr: 2, lcr: 3, mcr: 4, lsr: 5, msr: 6, scr: 7 } as const;

/** IER: [0] received data, [1] THR empty, [2] line status, [3] modem status. */
const IER_RECEIVED_DATA = 1 << 0;
const IER_THR_EMPTY = 1 << 1;
const IER_LINE_STATUS = 1 << 2;
const IER_MODEM_STATUS = 1 << 3;
const IER_MASK = 0x0f;

/** IIR: [7:6] FIFOs enabled, [3:1] source, [0] nothing pending. From highest to lowest priority: */
const IIR_LINE_STATUS = 0x06;
const IIR_RECEIVED_DATA = 0x04;
const IIR_CHARACTER_TIMEOUT = 0x0c;
const IIR_THR_EMPTY = 0x02;
const IIR_MODEM_STATUS = 0x00;
const IIR_NONE = 0x01;
const IIR_FIFOS_ENABLED = 0xc0;

/** FCR: [0] enable FIFOs, [1] clear receiver, [2] clear transmitter, [3] DMA mode, [7:6] trigger level. */
const FCR_ENABLE = 1 << 0;
const FCR_CLEAR_RECEIVER = 1 << 1;
const FCR_TRIGGER_SHIFT = 6;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;

const LCR_DLAB = 1 << 7;

/** MCR: [0] DTR, [1] RTS, [2] OUT1, [3] OUT2, [4] loopback. */
const MCR_DTR = 1 << 0;
const MCR_RTS = 1 << 1;
const MCR_OUT1 = 1 << 2;
const MCR_OUT2 = 1 << 3;
const MCR_LOOP = 1 << 4;
const MCR_MASK = 0x1f;

/** LSR: [0] data ready, [1] overrun, [4:2] parity, framing, break, [5] THR empty, [6] transmitter empty. */
const LSR_DATA_READY = 1 << 0;
const LSR_OVERRUN = 1 << 1;
const LSR_THR_EMPTY = 1 << 5;
const LSR_TRANSMITTER_EMPTY = 1 << 6;

/** MSR: [7:4] DCD, RI, DSR, CTS; [3:0] that they changed (RI: that it ended). */
const MSR_CTS = 1 << 4;
const MSR_DSR = 1 << 5;
const MSR_RI = 1 << 6;
const MSR_DCD = 1 << 7;
const MSR_DELTA_SHIFT = 4;
const MSR_TRAILING_RI = 1 << 2;
const MSR_LINE_UP = MSR_CTS | MSR_DSR | MSR_DCD;

const FIFO_SIZE = 16;
/** Host input that waits for room in the FIFO is cut off here, in bytes. */
export const SERIAL_INPUT_LIMIT = 64 * 1024;
/** Divisor after reset; undefined on the chip, this is 9600 baud. */
const RESET_DIVISOR = 12;

/** What a UART is wired to. */
export interface Serial16550Options {
  /** First of eight ports. */
  readonly base: number;
  readonly irq: IrqLine;
  /** Takes what the guest sends. The array is not used again afterwards. */
  readonly output: (bytes: Uint8Array) => void;
}

/** A 16550A UART. */
export class Serial16550 extends BytePorts implements Snapshottable {
  readonly ports: readonly PortRange[];
  readonly #base: number;
  readonly #irq: IrqLine;
  readonly #output: (bytes: Uint8Array) => void;

  #ier = 0;
  #lcr = 0;
  #mcr = 0;
  #scr = 0;
  #divisor = RESET_DIVISOR;
  #fifosEnabled = false;
  #trigger = 0;
  #overrun = false;
  #msrDelta = 0;
  /** The THR-empty interrupt is a latch of its own: reading it from IIR clears it (8.5). */
  #thrEmptyPending = false;
  #receiver: number[] = [];
  /** Host input not yet in the FIFO is `#input` from `#inputStart` on. */
  #input: number[] = [];
  #inputStart = 0;

  constructor(options: Serial16550Options) {
    super();
    this.#base = options.base;
    this.#irq = options.irq;
    this.#output = options.output;
    this.ports = [{ base: options.base, count: REGISTER_COUNT }];
  }

  /** Bytes that `receive` would take now. */
  get room(): number {
    return SERIAL_INPUT_LIMIT - (this.#input.length - this.#inputStart);
  }

  /**
   * Bytes that arrive on the line: into the FIFO as far as there is room, the rest as the guest drains it.
   * @returns how many bytes were taken; those beyond `room` are dropped
   */
  receive(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, this.room);
    for (let i = 0; i < taken; i++) this.#input.push(bytes[i]!);
    this.#refill();
    this.#updateIrq();
    return taken;
  }

  protected override readByte(port: number): number {
    switch (port - this.#base) {
      case REG.data:
        return this.#lcr & LCR_DLAB ? this.#divisor & 0xff : this.#readReceiver();
      case REG.ier:
        return this.#lcr & LCR_DLAB ? this.#divisor >> 8 : this.#ier;
      case REG.iirFcr:
        return this.#readInterruptIdentification();
      case REG.lcr:
        return this.#lcr;
      case REG.mcr:
        return this.#mcr;
      case REG.lsr:
        return this.#readLineStatus();
      case REG.msr:
        return this.#readModemStatus();
      case REG.scr:
        return this.#scr;
      default:
        return 0xff;
    }
  }

  protected override writeByte(port: number, value: number): void {
    switch (port - this.#base) {
      case REG.data:
        if (this.#lcr & LCR_DLAB) this.#divisor = (this.#divisor & 0xff00) | value;
        else this.#transmit(value);
        return;
      case REG.ier:
        if (this.#lcr & LCR_DLAB) this.#divisor = (this.#divisor & 0xff) | (value << 8);
        else this.#writeInterruptEnable(value & IER_MASK);
        return;
      case REG.iirFcr:
        this.#writeFifoControl(value);
        return;
      case REG.lcr:
        this.#lcr = value;
        return;
      case REG.mcr:
        this.#writeModemControl(value & MCR_MASK);
        return;
      case REG.scr:
        this.#scr = value;
        return;
      default:
        // LSR is for factory tests and MSR read only: writes do nothing.
        return;
    }
  }

  #readReceiver(): number {
    const byte = this.#receiver.shift() ?? 0;
    this.#refill();
    this.#updateIrq();
    return byte;
  }

  #transmit(byte: number): void {
    if (this.#mcr & MCR_LOOP) this.#loopBack(byte);
    else this.#output(Uint8Array.of(byte));
    // The byte is gone at once, so the holding register is empty again: a new event.
    this.#thrEmptyPending = true;
    this.#updateIrq();
  }

  #loopBack(byte: number): void {
    if (this.#receiver.length < this.#capacity()) {
      this.#receiver.push(byte);
    } else {
      // Without FIFOs the new byte replaces the old one; with them it is lost in the shift register (8.4).
      if (!this.#fifosEnabled) this.#receiver[0] = byte;
      this.#overrun = true;
    }
  }

  #writeInterruptEnable(value: number): void {
    const rising = value & ~this.#ier;
    this.#ier = value;
    // Enabling the interrupt while the register is empty raises it, what Linux's THRE test looks for.
    if (rising & IER_THR_EMPTY) this.#thrEmptyPending = true;
    this.#updateIrq();
  }

  #readInterruptIdentification(): number {
    const source = this.#interruptSource();
    if (source === IIR_THR_EMPTY) {
      this.#thrEmptyPending = false;
      this.#updateIrq();
    }
    return source | (this.#fifosEnabled ? IIR_FIFOS_ENABLED : 0);
  }

  #writeFifoControl(value: number): void {
    const enable = (value & FCR_ENABLE) !== 0;
    if (enable !== this.#fifosEnabled || (enable && value & FCR_CLEAR_RECEIVER)) this.#receiver = [];
    this.#fifosEnabled = enable;
    // The other bits are programmed only together with the enable bit (8.6).
    this.#trigger = enable ? value >> FCR_TRIGGER_SHIFT : 0;
    this.#refill();
    this.#updateIrq();
  }

  #writeModemControl(value: number): void {
    const before = this.#modemLines();
    this.#mcr = value;
    const after = this.#modemLines();
    let delta = (before ^ after) >> MSR_DELTA_SHIFT;
    if (after & MSR_RI) delta &= ~MSR_TRAILING_RI;
    this.#msrDelta |= delta;
    this.#refill();
    this.#updateIrq();
  }

  #readLineStatus(): number {
    let status = LSR_THR_EMPTY | LSR_TRANSMITTER_EMPTY;
    if (this.#receiver.length > 0) status |= LSR_DATA_READY;
    if (this.#overrun) {
      status |= LSR_OVERRUN;
      this.#overrun = false;
      this.#updateIrq();
    }
    return status;
  }

  #readModemStatus(): number {
    const status = this.#modemLines() | this.#msrDelta;
    this.#msrDelta = 0;
    this.#updateIrq();
    return status;
  }

  /** MSR[7:4]: the line's, or in loopback the modem control outputs (8.7). */
  #modemLines(): number {
    const mcr = this.#mcr;
    if (!(mcr & MCR_LOOP)) return MSR_LINE_UP;
    return (
      (mcr & MCR_RTS ? MSR_CTS : 0) |
      (mcr & MCR_DTR ? MSR_DSR : 0) |
      (mcr & MCR_OUT1 ? MSR_RI : 0) |
      (mcr & MCR_OUT2 ? MSR_DCD : 0)
    );
  }

  #capacity(): number {
    return this.#fifosEnabled ? FIFO_SIZE : 1;
  }

  /** Moves host input into the receiver. In loopback the line is cut off, so it waits. */
  #refill(): void {
    if (this.#mcr & MCR_LOOP) return;
    const capacity = this.#capacity();
    while (this.#receiver.length < capacity && this.#inputStart < this.#input.length) {
      this.#receiver.push(this.#input[this.#inputStart++]!);
    }
    if (this.#inputStart === this.#input.length || this.#inputStart > SERIAL_INPUT_LIMIT) {
      this.#input = this.#input.slice(this.#inputStart);
      this.#inputStart = 0;
    }
  }

  /** The pending source of highest priority, or `IIR_NONE`. */
  #interruptSource(): number {
    const ier = this.#ier;
    if (ier & IER_LINE_STATUS && this.#overrun) return IIR_LINE_STATUS;
    if (ier & IER_RECEIVED_DATA && this.#receiver.length > 0) {
      // Below the trigger level the chip waits four character times; here they are over at once.
      const isTriggered = !this.#fifosEnabled || this.#receiver.length >= TRIGGER_LEVELS[this.#trigger]!;
      return isTriggered ? IIR_RECEIVED_DATA : IIR_CHARACTER_TIMEOUT;
    }
    if (ier & IER_THR_EMPTY && this.#thrEmptyPending) return IIR_THR_EMPTY;
    if (ier & IER_MODEM_STATUS && this.#msrDelta !== 0) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  /** The line is not gated by OUT2, as PC boards do it, because simple guests never set OUT2. */
  #updateIrq(): void {
    this.#irq.set(this.#interruptSource() !== IIR_NONE);
  }

  state(): DeviceState {
    return {
      ier: this.#ier,
      lcr: this.#lcr,
      mcr: this.#mcr,
      scr: this.#scr,
      divisor: this.#divisor,
      fifosEnabled: this.#fifosEnabled,
      trigger: this.#trigger,
      overrun: this.#overrun,
      msrDelta: this.#msrDelta,
      thrEmptyPending: this.#thrEmptyPending,
      receiver: [...this.#receiver],
      input: this.#input.slice(this.#inputStart),
    };
  }

  restore(state: DeviceState): void {
    this.#ier = stateNumber(state, 'ier', IER_MASK);
    this.#lcr = stateNumber(state, 'lcr', 0xff);
    this.#mcr = stateNumber(state, 'mcr', MCR_MASK);
    this.#scr = stateNumber(state, 'scr', 0xff);
    this.#divisor = stateNumber(state, 'divisor', 0xffff);
    this.#fifosEnabled = stateBoolean(state, 'fifosEnabled');
    this.#trigger = stateNumber(state, 'trigger', TRIGGER_LEVELS.length - 1);
    this.#overrun = stateBoolean(state, 'overrun');
    this.#msrDelta = stateNumber(state, 'msrDelta', 0x0f);
    this.#thrEmptyPending = stateBoolean(state, 'thrEmptyPending');
    this.#receiver = stateNumbers(state, 'receiver', 0, FIFO_SIZE);
    this.#input = stateNumbers(state, 'input', 0, SERIAL_INPUT_LIMIT);
    this.#inputStart = 0;
    this.#updateIrq();
  }
}
