/**
 * The keyboard controller of a PC, an 8042 with a keyboard and a mouse (IBM PS/2 Technical Reference,
 * Keyboard/Auxiliary Device Controller), and system control port A (92h), which shares the A20 gate and the
 * reset line with it. It comes up as firmware leaves it: self-test passed, scan codes translated, A20 open.
 */
import { BytePorts } from './byte-ports.ts';
import type { DeviceState, IrqLine, PortRange, Snapshottable } from './device.ts';
import { Ps2Keyboard } from './ps2-keyboard.ts';
import { Ps2Mouse } from './ps2-mouse.ts';
import { ScancodeTranslator } from './ps2-scancodes.ts';
import { stateBoolean, stateChild, stateNumber, stateNumbers } from './state.ts';

/**
 * Status: [0] output buffer full, [1] input buffer full (never), [2] self-test passed, [3] last write was a
 * command, [4] keyboard not locked, [5] output is the mouse's.
 */
const STATUS_OUTPUT_FULL = 1 << 0;
const STATUS_COMMAND = 1 << 3;
const STATUS_UNLOCKED = 1 << 4;
const STATUS_MOUSE = 1 << 5;

/**
 * Command byte, byte 0 of the controller's memory: [0] keyboard interrupt, [1] mouse interrupt, [2] self-test
 * passed (also status bit 2), [4] keyboard off, [5] mouse off, [6] translate scan codes.
 */
const MODE_KEYBOARD_INTERRUPT = 1 << 0;
const MODE_MOUSE_INTERRUPT = 1 << 1;
const MODE_SELF_TEST_PASSED = 1 << 2;
const MODE_KEYBOARD_OFF = 1 << 4;
const MODE_MOUSE_OFF = 1 << 5;
const MODE_TRANSLATE = 1 << 6;
const MODE_MASK = 0x7f;
const MODE_RESET = MODE_KEYBOARD_INTERRUPT | MODE_SELF_TEST_PASSED | MODE_MOUSE_OFF | MODE_TRANSLATE;

/** Commands; those of memory have the index in bits 4-0. */
const COMMAND = {
  readMemory: 0x20,
  writeMemory: 0x60,
  mouseOff: 0xa7,
  mouseOn: 0xa8,
  testMouse: 0xa9,
  selfTest: 0xaa,
  testKeyboard: 0xab,
  keyboardOff: 0xad,
  keyboardOn: 0xae,
  readInputPort: 0xc0,
  readOutputPort: 0xd0,
  writeOutputPort: 0xd1,
  writeKeyboardOutput: 0xd2,
  writeMouseOutput: 0xd3,
  writeMouse: 0xd4,
  a20Off: 0xdd,
  a20On: 0xdf,
  pulse: 0xf0,
} as const;
const MEMORY_SIZE = 32;
const MEMORY_GROUP = 0xe0;
const PULSE_GROUP = 0xf0;

const SELF_TEST_PASSED = 0x55;
const INTERFACE_OK = 0x00;
/** Input port: [7] keyboard not inhibited, [5] no manufacturing jumper. */
const INPUT_PORT = 0xa0;
/** Output port: [0] reset when zero, [1] A20, [4] keyboard interrupt, [5] mouse interrupt, the others idle lines. */
const OUTPUT_RESET_OFF = 1 << 0;
const OUTPUT_A20 = 1 << 1;
const OUTPUT_KEYBOARD_INTERRUPT = 1 << 4;
const OUTPUT_MOUSE_INTERRUPT = 1 << 5;
const OUTPUT_IDLE = 0xcc;

/** Port 92h: [0] reset, [1] A20. */
const PORT_A_RESET = 1 << 0;
const PORT_A_A20 = 1 << 1;

/** Replies of the controller that nobody reads are cut off here. */
const REPLY_LIMIT = 16;
/** In the queue of replies this marks one that appears to come from the mouse. */
const REPLY_FROM_MOUSE = 1 << 8;

/** What the keyboard controller is wired to. */
export interface I8042Options {
  /** PC: 0x60. */
  readonly dataPort: number;
  /** Status when read. PC: 0x64. */
  readonly commandPort: number;
  /** System control port A. PC: 0x92. */
  readonly portA: number;
  /** PC: IRQ 1. */
  readonly keyboardIrq: IrqLine;
  /** PC: IRQ 12. */
  readonly mouseIrq: IrqLine;
  /** The A20 gate changed: false forces address bit 20 to zero. It is open (true) at power-on, without a call. */
  readonly onA20: (level: boolean) => void;
  /** The guest resets the machine. */
  readonly onReset: () => void;
}

/** Keyboard controller, keyboard and mouse. */
export class I8042 extends BytePorts implements Snapshottable {
  readonly ports: readonly PortRange[];
  readonly keyboard = new Ps2Keyboard();
  readonly mouse = new Ps2Mouse();
  readonly #options: I8042Options;
  readonly #translator = new ScancodeTranslator();
  #memory: number[] = new Array(MEMORY_SIZE).fill(0);
  /** The command whose argument comes to the data port next, 0 if none does. */
  #pending = 0;
  #lastWasCommand = false;
  #replies: number[] = [];
  #output = 0;
  #isFull = false;
  #isFromMouse = false;
  #a20 = true;

  constructor(options: I8042Options) {
    super();
    this.#options = options;
    this.ports = [options.dataPort, options.commandPort, options.portA].map((base) => ({ base, count: 1 }));
    this.#memory[0] = MODE_RESET;
    this.keyboard.onReady = () => this.#refill();
    this.mouse.onReady = () => this.#refill();
  }

  /** Level of the A20 gate. */
  get a20(): boolean {
    return this.#a20;
  }

  protected override readByte(port: number): number {
    if (port === this.#options.dataPort) return this.#readData();
    if (port === this.#options.commandPort) return this.#status();
    if (port === this.#options.portA) return this.#a20 ? PORT_A_A20 : 0;
    return 0xff;
  }

  protected override writeByte(port: number, value: number): void {
    if (port === this.#options.dataPort) this.#writeData(value);
    else if (port === this.#options.commandPort) this.#writeCommand(value);
    else if (port === this.#options.portA) {
      this.#setA20((value & PORT_A_A20) !== 0);
      if (value & PORT_A_RESET) this.#options.onReset();
    }
  }

  get #mode(): number {
    return this.#memory[0]!;
  }

  #status(): number {
    return (
      STATUS_UNLOCKED |
      (this.#mode & MODE_SELF_TEST_PASSED) |
      (this.#isFull ? STATUS_OUTPUT_FULL : 0) |
      (this.#isFull && this.#isFromMouse ? STATUS_MOUSE : 0) |
      (this.#lastWasCommand ? STATUS_COMMAND : 0)
    );
  }

  #readData(): number {
    const value = this.#output;
    if (this.#isFull) {
      this.#isFull = false;
      // The interrupt falls before the next byte raises it again: each byte is an edge.
      this.#driveIrqs();
      this.#refill();
    }
    return value;
  }

  #writeData(value: number): void {
    const command = this.#pending;
    this.#pending = 0;
    this.#lastWasCommand = false;
    switch (command) {
      case COMMAND.writeOutputPort:
        this.#setA20((value & OUTPUT_A20) !== 0);
        if (!(value & OUTPUT_RESET_OFF)) this.#options.onReset();
        return;
      case COMMAND.writeKeyboardOutput:
        this.#reply(value);
        return;
      case COMMAND.writeMouseOutput:
        this.#reply(value | REPLY_FROM_MOUSE);
        return;
      case COMMAND.writeMouse:
        this.#setMode(this.#mode & ~MODE_MOUSE_OFF);
        this.mouse.write(value);
        return;
      case 0:
        // What is sent to a device switches its port on, or the answer could not come back.
        this.#setMode(this.#mode & ~MODE_KEYBOARD_OFF);
        this.keyboard.write(value);
        return;
      default:
        this.#writeMemory(command & ~MEMORY_GROUP, value);
        return;
    }
  }

  #writeMemory(index: number, value: number): void {
    if (index === 0) this.#setMode(value & MODE_MASK);
    else this.#memory[index] = value;
  }

  #writeCommand(command: number): void {
    this.#lastWasCommand = true;
    this.#pending = 0;
    if ((command & PULSE_GROUP) === COMMAND.pulse) {
      // Zeros in bits 3-0 pulse lines of the output port; only that of the reset does something.
      if (!(command & OUTPUT_RESET_OFF)) this.#options.onReset();
      return;
    }
    const group = command & MEMORY_GROUP;
    if (group === COMMAND.readMemory) this.#reply(this.#memory[command & ~MEMORY_GROUP]!);
    else if (group === COMMAND.writeMemory) this.#pending = command;
    else this.#doCommand(command);
  }

  #doCommand(command: number): void {
    switch (command) {
      case COMMAND.mouseOff:
        this.#setMode(this.#mode | MODE_MOUSE_OFF);
        return;
      case COMMAND.mouseOn:
        this.#setMode(this.#mode & ~MODE_MOUSE_OFF);
        return;
      case COMMAND.keyboardOff:
        this.#setMode(this.#mode | MODE_KEYBOARD_OFF);
        return;
      case COMMAND.keyboardOn:
        this.#setMode(this.#mode & ~MODE_KEYBOARD_OFF);
        return;
      case COMMAND.testMouse:
      case COMMAND.testKeyboard:
        this.#reply(INTERFACE_OK);
        return;
      case COMMAND.selfTest:
        this.#selfTest();
        return;
      case COMMAND.readInputPort:
        this.#reply(INPUT_PORT);
        return;
      case COMMAND.readOutputPort:
        this.#reply(this.#outputPort());
        return;
      case COMMAND.writeOutputPort:
      case COMMAND.writeKeyboardOutput:
      case COMMAND.writeMouseOutput:
      case COMMAND.writeMouse:
        this.#pending = command;
        return;
      case COMMAND.a20Off:
      case COMMAND.a20On:
        this.#setA20(command === COMMAND.a20On);
        return;
      default:
        // The controller ignores what it does not know.
        return;
    }
  }

  #selfTest(): void {
    this.#replies = [];
    this.#isFull = false;
    this.#translator.breakPending = false;
    this.#memory[0] = this.#mode | MODE_SELF_TEST_PASSED;
    this.#driveIrqs();
    this.#reply(SELF_TEST_PASSED);
  }

  #outputPort(): number {
    return (
      OUTPUT_IDLE |
      OUTPUT_RESET_OFF |
      (this.#a20 ? OUTPUT_A20 : 0) |
      (this.#keyboardInterrupt() ? OUTPUT_KEYBOARD_INTERRUPT : 0) |
      (this.#mouseInterrupt() ? OUTPUT_MOUSE_INTERRUPT : 0)
    );
  }

  #setMode(mode: number): void {
    this.#memory[0] = mode;
    this.#driveIrqs();
    this.#refill();
  }

  #setA20(level: boolean): void {
    if (level === this.#a20) return;
    this.#a20 = level;
    this.#options.onA20(level);
  }

  #reply(value: number): void {
    if (this.#replies.length < REPLY_LIMIT) this.#replies.push(value);
    this.#refill();
  }

  /** Fills the output buffer if it is empty: from the controller itself, the keyboard, the mouse. */
  #refill(): void {
    if (this.#isFull) return;
    const reply = this.#replies.shift();
    if (reply !== undefined) {
      this.#fill(reply & 0xff, (reply & REPLY_FROM_MOUSE) !== 0);
      return;
    }
    const key = this.#mode & MODE_KEYBOARD_OFF ? undefined : this.#takeKey();
    if (key !== undefined) {
      this.#fill(key, false);
      return;
    }
    const motion = this.#mode & MODE_MOUSE_OFF ? undefined : this.mouse.take();
    if (motion !== undefined) this.#fill(motion, true);
  }

  #fill(value: number, isFromMouse: boolean): void {
    this.#output = value;
    this.#isFull = true;
    this.#isFromMouse = isFromMouse;
    this.#driveIrqs();
  }

  /** The next byte of the keyboard, translated if wanted; a break prefix is swallowed then. */
  #takeKey(): number | undefined {
    for (;;) {
      const byte = this.keyboard.take();
      if (byte === undefined || !(this.#mode & MODE_TRANSLATE)) return byte;
      const code = this.#translator.translate(byte);
      if (code !== undefined) return code;
    }
  }

  #keyboardInterrupt(): boolean {
    return this.#isFull && !this.#isFromMouse && (this.#mode & MODE_KEYBOARD_INTERRUPT) !== 0;
  }

  #mouseInterrupt(): boolean {
    return this.#isFull && this.#isFromMouse && (this.#mode & MODE_MOUSE_INTERRUPT) !== 0;
  }

  #driveIrqs(): void {
    this.#options.keyboardIrq.set(this.#keyboardInterrupt());
    this.#options.mouseIrq.set(this.#mouseInterrupt());
  }

  state(): DeviceState {
    return {
      memory: [...this.#memory],
      pending: this.#pending,
      lastWasCommand: this.#lastWasCommand,
      replies: [...this.#replies],
      output: this.#output,
      isFull: this.#isFull,
      isFromMouse: this.#isFromMouse,
      breakPending: this.#translator.breakPending,
      a20: this.#a20,
      keyboard: this.keyboard.state(),
      mouse: this.mouse.state(),
    };
  }

  restore(state: DeviceState): void {
    const memory = stateNumbers(state, 'memory', MEMORY_SIZE);
    memory[0] = memory[0]! & MODE_MASK;
    this.#memory = memory;
    this.#pending = stateNumber(state, 'pending', 0xff);
    this.#lastWasCommand = stateBoolean(state, 'lastWasCommand');
    this.#replies = stateNumbers(state, 'replies', 0, REPLY_LIMIT, REPLY_FROM_MOUSE | 0xff);
    this.#output = stateNumber(state, 'output', 0xff);
    this.#isFull = stateBoolean(state, 'isFull');
    this.#isFromMouse = stateBoolean(state, 'isFromMouse');
    this.#translator.breakPending = stateBoolean(state, 'breakPending');
    this.#a20 = stateBoolean(state, 'a20');
    this.keyboard.restore(stateChild(state, 'keyboard'));
    this.mouse.restore(stateChild(state, 'mouse'));
    this.#options.onA20(this.#a20);
    this.#driveIrqs();
  }
}
