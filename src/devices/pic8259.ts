/**
 * The two 8259A interrupt controllers of a PC: the slave on input 2 of the master, and the edge/level
 * control registers of the PIIX. Section names are those of the Intel 8259A datasheet.
 */
import { BytePorts } from './byte-ports.ts';
import type { AccessWidth, DeviceState, InterruptSource, PortRange, Snapshottable } from './device.ts';
import { stateBoolean, stateChild, stateNumber } from './state.ts';

const INPUTS = 8;
const CASCADE_INPUT = 2;
const SPURIOUS_INPUT = 7;

/** ICW1: [4] is 1, [3] level triggered (the ELCR decides instead), [1] single, [0] ICW4 follows. */
const ICW1 = 1 << 4;
const ICW1_SINGLE = 1 << 1;
const ICW1_NEEDS_ICW4 = 1 << 0;
/** ICW2: [7:3] of the vector. */
const ICW2_VECTOR = 0xf8;
/** ICW4: [4] special fully nested, [3:2] buffered, [1] automatic EOI, [0] 8086 mode. */
const ICW4_SPECIAL_FULLY_NESTED = 1 << 4;
const ICW4_AUTO_EOI = 1 << 1;
/** OCW2: [7:5] command, [2:0] level. */
const OCW2_LEVEL = 7;
const OCW2_COMMAND = {
  rotateOnAutoEoiOff: 0,
  eoi: 1,
  specificEoi: 3,
  rotateOnAutoEoiOn: 4,
  rotateOnEoi: 5,
  setPriority: 6,
  rotateOnSpecificEoi: 7,
} as const;
/** OCW3: [6:5] special mask (10 reset, 11 set), [3] is 1, [2] poll, [1:0] what to read (10 IRR, 11 ISR). */
const OCW3 = 1 << 3;
const OCW3_SPECIAL_MASK_CHANGE = 1 << 6;
const OCW3_SPECIAL_MASK = 1 << 5;
const OCW3_POLL = 1 << 2;
const OCW3_READ_CHANGE = 1 << 1;
const OCW3_READ_ISR = 1 << 0;
const POLL_PENDING = 0x80;

/** Which word the data port expects next. */
const EXPECT = { ocw1: 0, icw2: 2, icw3: 3, icw4: 4 } as const;

/** One 8259A. `isSlave` says what its cascade input means, which on the chip is the SP/EN pin. */
class Pic8259Chip implements Snapshottable {
  readonly #isSlave: boolean;
  /** Levels of the inputs. */
  #lines = 0;
  #irr = 0;
  #isr = 0;
  #imr = 0;
  /** Inputs that are level triggered. */
  elcr = 0;
  #vectorBase = 0;
  /** The input of lowest priority; the next one up is the highest. */
  #lowest = INPUTS - 1;
  #expect: number = EXPECT.ocw1;
  #isSingle = false;
  #needsIcw4 = false;
  #isAutoEoi = false;
  #rotatesOnAutoEoi = false;
  #isSpecialFullyNested = false;
  #isSpecialMask = false;
  #isPolled = false;
  #readsIsr = false;

  constructor(isSlave: boolean) {
    this.#isSlave = isSlave;
  }

  /** Sets input `n`. An edge latches a request; a level-triggered request lasts as long as the level. */
  setLine(n: number, level: boolean): void {
    const bit = 1 << n;
    if (this.elcr & bit) {
      this.#irr = level ? this.#irr | bit : this.#irr & ~bit;
    } else if (level && !(this.#lines & bit)) {
      this.#irr |= bit;
    }
    this.#lines = level ? this.#lines | bit : this.#lines & ~bit;
  }

  setElcr(value: number): void {
    this.elcr = value;
    // What is now level triggered follows its line.
    this.#irr = (this.#irr & ~value) | (this.#lines & value);
  }

  /** The input that would be acknowledged, or -1: the INT output is high unless it is -1 (Priority Resolver). */
  request(): number {
    const candidates = this.#irr & ~this.#imr;
    if (candidates === 0) return -1;
    for (let i = 1; i <= INPUTS; i++) {
      const n = (this.#lowest + i) & 7;
      const bit = 1 << n;
      if (candidates & bit && !(this.#isSpecialMask && this.#isr & bit)) return n;
      if (this.#isr & bit && this.#blocks(n)) return -1;
    }
    return -1;
  }

  /** Whether input `n`, being in service, holds off itself and what is below it. */
  #blocks(n: number): boolean {
    if (this.#isSpecialMask) return false;
    // Special fully nested: the slave may interrupt its own service, which is up to its priorities.
    return !(this.#isSpecialFullyNested && !this.#isSlave && n === CASCADE_INPUT);
  }

  /** INTA: puts the request in service. Returns its input, or 7 with nothing in service when there is none. */
  acknowledge(): number {
    const n = this.request();
    if (n === -1) return SPURIOUS_INPUT;
    const bit = 1 << n;
    if (!(this.elcr & bit)) this.#irr &= ~bit;
    if (this.#isAutoEoi) {
      if (this.#rotatesOnAutoEoi) this.#lowest = n;
    } else {
      this.#isr |= bit;
    }
    return n;
  }

  vector(n: number): number {
    return this.#vectorBase | n;
  }

  readCommand(): number {
    return this.#isPolled ? this.#poll() : this.#readsIsr ? this.#isr : this.#irr;
  }

  readData(): number {
    return this.#isPolled ? this.#poll() : this.#imr;
  }

  /** Poll command: the read is the acknowledge. */
  #poll(): number {
    this.#isPolled = false;
    if (this.request() === -1) return 0;
    return POLL_PENDING | this.acknowledge();
  }

  writeCommand(value: number): void {
    if (value & ICW1) this.#initialize(value);
    else if (value & OCW3) this.#writeOcw3(value);
    else this.#writeOcw2(value >> 5, value & OCW2_LEVEL);
  }

  writeData(value: number): void {
    switch (this.#expect) {
      case EXPECT.icw2:
        this.#vectorBase = value & ICW2_VECTOR;
        this.#expect = this.#isSingle ? this.#afterIcw3() : EXPECT.icw3;
        return;
      case EXPECT.icw3:
        // The cascade is wired: the word is taken and not needed.
        this.#expect = this.#afterIcw3();
        return;
      case EXPECT.icw4:
        this.#isSpecialFullyNested = (value & ICW4_SPECIAL_FULLY_NESTED) !== 0;
        this.#isAutoEoi = (value & ICW4_AUTO_EOI) !== 0;
        this.#expect = EXPECT.ocw1;
        return;
      default:
        this.#imr = value;
    }
  }

  #afterIcw3(): number {
    return this.#needsIcw4 ? EXPECT.icw4 : EXPECT.ocw1;
  }

  /** ICW1 (Initialization Command Words): edges before it are forgotten, levels are not. */
  #initialize(value: number): void {
    this.#expect = EXPECT.icw2;
    this.#isSingle = (value & ICW1_SINGLE) !== 0;
    this.#needsIcw4 = (value & ICW1_NEEDS_ICW4) !== 0;
    this.#irr &= this.elcr;
    this.#isr = 0;
    this.#imr = 0;
    this.#lowest = INPUTS - 1;
    this.#isAutoEoi = false;
    this.#rotatesOnAutoEoi = false;
    this.#isSpecialFullyNested = false;
    this.#isSpecialMask = false;
    this.#isPolled = false;
    this.#readsIsr = false;
  }

  #writeOcw3(value: number): void {
    if (value & OCW3_SPECIAL_MASK_CHANGE) this.#isSpecialMask = (value & OCW3_SPECIAL_MASK) !== 0;
    if (value & OCW3_READ_CHANGE) this.#readsIsr = (value & OCW3_READ_ISR) !== 0;
    this.#isPolled = (value & OCW3_POLL) !== 0;
  }

  #writeOcw2(command: number, level: number): void {
    switch (command) {
      case OCW2_COMMAND.eoi:
      case OCW2_COMMAND.rotateOnEoi: {
        const n = this.#highestInService();
        if (n === -1) return;
        this.#isr &= ~(1 << n);
        if (command === OCW2_COMMAND.rotateOnEoi) this.#lowest = n;
        return;
      }
      case OCW2_COMMAND.specificEoi:
        this.#isr &= ~(1 << level);
        return;
      case OCW2_COMMAND.rotateOnSpecificEoi:
        this.#isr &= ~(1 << level);
        this.#lowest = level;
        return;
      case OCW2_COMMAND.setPriority:
        this.#lowest = level;
        return;
      case OCW2_COMMAND.rotateOnAutoEoiOn:
        this.#rotatesOnAutoEoi = true;
        return;
      case OCW2_COMMAND.rotateOnAutoEoiOff:
        this.#rotatesOnAutoEoi = false;
        return;
      default:
        // 010 is "no operation".
        return;
    }
  }

  /** What a non-specific EOI ends. In special mask mode a masked input is passed over (Special Mask Mode). */
  #highestInService(): number {
    const inService = this.#isSpecialMask ? this.#isr & ~this.#imr : this.#isr;
    for (let i = 1; i <= INPUTS; i++) {
      const n = (this.#lowest + i) & 7;
      if (inService & (1 << n)) return n;
    }
    return -1;
  }

  state(): DeviceState {
    return {
      lines: this.#lines,
      irr: this.#irr,
      isr: this.#isr,
      imr: this.#imr,
      elcr: this.elcr,
      vectorBase: this.#vectorBase,
      lowest: this.#lowest,
      expect: this.#expect,
      isSingle: this.#isSingle,
      needsIcw4: this.#needsIcw4,
      isAutoEoi: this.#isAutoEoi,
      rotatesOnAutoEoi: this.#rotatesOnAutoEoi,
      isSpecialFullyNested: this.#isSpecialFullyNested,
      isSpecialMask: this.#isSpecialMask,
      isPolled: this.#isPolled,
      readsIsr: this.#readsIsr,
    };
  }

  restore(state: DeviceState): void {
    this.#lines = stateNumber(state, 'lines', 0xff);
    this.#irr = stateNumber(state, 'irr', 0xff);
    this.#isr = stateNumber(state, 'isr', 0xff);
    this.#imr = stateNumber(state, 'imr', 0xff);
    this.elcr = stateNumber(state, 'elcr', 0xff);
    this.#vectorBase = stateNumber(state, 'vectorBase', 0xff) & ICW2_VECTOR;
    this.#lowest = stateNumber(state, 'lowest', INPUTS - 1);
    this.#expect = stateNumber(state, 'expect', EXPECT.icw4);
    this.#isSingle = stateBoolean(state, 'isSingle');
    this.#needsIcw4 = stateBoolean(state, 'needsIcw4');
    this.#isAutoEoi = stateBoolean(state, 'isAutoEoi');
    this.#rotatesOnAutoEoi = stateBoolean(state, 'rotatesOnAutoEoi');
    this.#isSpecialFullyNested = stateBoolean(state, 'isSpecialFullyNested');
    this.#isSpecialMask = stateBoolean(state, 'isSpecialMask');
    this.#isPolled = stateBoolean(state, 'isPolled');
    this.#readsIsr = stateBoolean(state, 'readsIsr');
  }
}

/** Inputs that may be made level triggered: not the timer, keyboard, cascade, RTC and coprocessor. */
const MASTER_ELCR_MASK = 0xf8;
const SLAVE_ELCR_MASK = 0xde;

/** Where the pair is and what its INT output does. */
export interface PicPairOptions {
  /** Command port of the master; its data port is the next one. PC: 0x20. */
  readonly masterBase: number;
  /** Command port of the slave. PC: 0xa0. */
  readonly slaveBase: number;
  /** First of the two edge/level control registers. PC: 0x4d0. */
  readonly elcrBase: number;
  /** Called with the level of the master's INT output when it changes. */
  readonly onOutput: (level: boolean) => void;
}

/** Both 8259A of a PC, 16 inputs of which number 2 is the cascade. */
export class PicPair extends BytePorts implements InterruptSource, Snapshottable {
  readonly ports: readonly PortRange[];
  readonly #options: PicPairOptions;
  readonly #master = new Pic8259Chip(false);
  readonly #slave = new Pic8259Chip(true);
  #output = false;

  constructor(options: PicPairOptions) {
    super();
    this.#options = options;
    this.ports = [
      { base: options.masterBase, count: 2 },
      { base: options.slaveBase, count: 2 },
      { base: options.elcrBase, count: 2 },
    ];
  }

  /** The INT output. */
  get pending(): boolean {
    return this.#output;
  }

  /** Sets interrupt input `n`, 0 to 15; 2 is the cascade and ignored, as are numbers outside. */
  setIrq(n: number, level: boolean): void {
    if (n === CASCADE_INPUT || n < 0 || n >= 2 * INPUTS) return;
    if (n < INPUTS) this.#master.setLine(n, level);
    else this.#slave.setLine(n - INPUTS, level);
    this.#update();
  }

  /** The two INTA cycles: the vector, 0 to 255. A request that has gone away gives input 7 of its chip. */
  acknowledge(): number {
    const n = this.#master.acknowledge();
    let vector = this.#master.vector(n);
    if (n === CASCADE_INPUT) {
      vector = this.#slave.vector(this.#slave.acknowledge());
      // INT of the slave goes low with the acknowledge, so that its next request is an edge at the master.
      this.#master.setLine(CASCADE_INPUT, false);
    }
    this.#update();
    return vector;
  }

  override read(port: number, width: AccessWidth): number {
    const value = super.read(port, width);
    this.#update();
    return value;
  }

  override write(port: number, width: AccessWidth, value: number): void {
    super.write(port, width, value);
    this.#update();
  }

  protected override readByte(port: number): number {
    const { masterBase, slaveBase, elcrBase } = this.#options;
    switch (port) {
      case masterBase:
        return this.#master.readCommand();
      case masterBase + 1:
        return this.#master.readData();
      case slaveBase:
        return this.#slave.readCommand();
      case slaveBase + 1:
        return this.#slave.readData();
      case elcrBase:
        return this.#master.elcr;
      case elcrBase + 1:
        return this.#slave.elcr;
      default:
        return 0xff;
    }
  }

  protected override writeByte(port: number, value: number): void {
    const { masterBase, slaveBase, elcrBase } = this.#options;
    switch (port) {
      case masterBase:
        this.#master.writeCommand(value);
        return;
      case masterBase + 1:
        this.#master.writeData(value);
        return;
      case slaveBase:
        this.#slave.writeCommand(value);
        return;
      case slaveBase + 1:
        this.#slave.writeData(value);
        return;
      case elcrBase:
        this.#master.setElcr(value & MASTER_ELCR_MASK);
        return;
      case elcrBase + 1:
        this.#slave.setElcr(value & SLAVE_ELCR_MASK);
        return;
    }
  }

  /** Carries the slave's INT to the master and the master's to the outside. */
  #update(): void {
    this.#master.setLine(CASCADE_INPUT, this.#slave.request() !== -1);
    const output = this.#master.request() !== -1;
    if (output === this.#output) return;
    this.#output = output;
    this.#options.onOutput(output);
  }

  state(): DeviceState {
    return { master: this.#master.state(), slave: this.#slave.state() };
  }

  restore(state: DeviceState): void {
    this.#master.restore(stateChild(state, 'master'));
    this.#slave.restore(stateChild(state, 'slave'));
    this.#output = this.#master.request() !== -1;
    this.#options.onOutput(this.#output);
  }
}
