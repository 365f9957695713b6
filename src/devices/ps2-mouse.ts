/**
 * A PS/2 mouse with three buttons and no wheel (IBM PS/2 Technical Reference, Mouse).
 */
import type { DeviceState } from './device.ts';
import { PS2_ANSWER, PS2_COMMAND, Ps2Device } from './ps2-device.ts';
import { stateBoolean, stateNumber, stateNumbers } from './state.ts';

/** Commands of mice only. */
const COMMAND = {
  scale1: 0xe6,
  scale2: 0xe7,
  resolution: 0xe8,
  status: 0xe9,
  streamMode: 0xea,
  readData: 0xeb,
  resetWrap: 0xec,
  wrapMode: 0xee,
  remoteMode: 0xf0,
  sampleRate: 0xf3,
} as const;
const FIRST_COMMAND = COMMAND.scale1;
const IDENTIFIER = 0x00;

/** Sample rate in packets per second (kept, means nothing here) and resolution (2: 4 counts per mm) after reset. */
const DEFAULT_RATE = 100;
const DEFAULT_RESOLUTION = 2;

/** First byte of a packet: [5] Y negative, [4] X negative, [3] one, [2] middle, [1] right, [0] left button. */
const PACKET_ONE = 1 << 3;
const PACKET_X_NEGATIVE = 1 << 4;
const PACKET_Y_NEGATIVE = 1 << 5;
const BUTTON_LEFT = 1 << 0;
const BUTTON_RIGHT = 1 << 1;
const BUTTON_MIDDLE = 1 << 2;
const BUTTONS = BUTTON_LEFT | BUTTON_RIGHT | BUTTON_MIDDLE;
/** First byte of the status: [6] remote mode, [5] reporting, [4] scaling 2:1, [2] left, [1] middle, [0] right. */
const STATUS_REMOTE = 1 << 6;
const STATUS_REPORTING = 1 << 5;
const STATUS_SCALED = 1 << 4;
const STATUS_LEFT = 1 << 2;
const STATUS_MIDDLE = 1 << 1;
const STATUS_RIGHT = 1 << 0;

const PACKET_BYTES = 3;
/** Packets that wait for the guest; beyond them movement adds up. */
const PACKET_LIMIT = 16;
/** Movement that adds up is limited to this many counts each way. */
const MOVEMENT_LIMIT = 0x7fff;
/** Most counts in a packet: what nine bits hold in both directions; half of it when scaling doubles it. */
const PACKET_MOVEMENT = 255;
const SCALED_PACKET_MOVEMENT = 127;
/** Scaling 2:1 of 0 to 5 counts; more are doubled. */
const SCALED = [0, 1, 1, 3, 6, 9] as const;

/** A mouse. */
export class Ps2Mouse extends Ps2Device {
  protected readonly firstCommand = FIRST_COMMAND;
  #events: number[] = [];
  #dx = 0;
  #dy = 0;
  #buttons = 0;
  #sentButtons = 0;
  #rate = DEFAULT_RATE;
  #resolution = DEFAULT_RESOLUTION;
  #scaled = false;
  #reporting = false;
  #remote = false;
  #wrap = false;

  /**
   * The mouse moves and its buttons are as given.
   * @param dx counts to the right
   * @param dy counts away from the person (up on a screen)
   * @param buttons [0] left, [1] right, [2] middle
   */
  move(dx: number, dy: number, buttons: number): void {
    this.#buttons = buttons & BUTTONS;
    if (!this.#reporting && !this.#remote) return;
    this.#dx = clamp(this.#dx + Math.trunc(dx), MOVEMENT_LIMIT);
    this.#dy = clamp(this.#dy + Math.trunc(dy), MOVEMENT_LIMIT);
    if (this.#events.length < PACKET_LIMIT * PACKET_BYTES) this.#queuePacket();
    this.onReady();
  }

  protected nextEvent(): number | undefined {
    if (this.#wrap) return undefined;
    if (this.#events.length === 0) this.#queuePacket();
    return this.#events.shift();
  }

  /** Queues a packet if there is something to report and the mouse reports by itself. */
  #queuePacket(): void {
    const isChanged = this.#dx !== 0 || this.#dy !== 0 || this.#buttons !== this.#sentButtons;
    if (!isChanged || !this.#reporting || this.#remote || this.#wrap) return;
    this.#events.push(...this.#packet(this.#scaled));
  }

  /** A packet of the movement so far; what does not fit stays for the next. */
  #packet(isScaled: boolean): number[] {
    const limit = isScaled ? SCALED_PACKET_MOVEMENT : PACKET_MOVEMENT;
    const dx = clamp(this.#dx, limit);
    const dy = clamp(this.#dy, limit);
    this.#dx -= dx;
    this.#dy -= dy;
    this.#sentButtons = this.#buttons;
    const x = isScaled ? scale(dx) : dx;
    const y = isScaled ? scale(dy) : dy;
    const signs = (x < 0 ? PACKET_X_NEGATIVE : 0) | (y < 0 ? PACKET_Y_NEGATIVE : 0);
    return [PACKET_ONE | this.#buttons | signs, x & 0xff, y & 0xff];
  }

  protected command(byte: number): void {
    if (this.#wrap && byte !== COMMAND.resetWrap && byte !== PS2_COMMAND.reset) {
      this.answer(byte);
      return;
    }
    switch (byte) {
      case COMMAND.resolution:
      case COMMAND.sampleRate:
        this.expectArgument(byte);
        return;
      case COMMAND.status:
        this.acknowledge(this.#status(), this.#resolution, this.#rate);
        return;
      case COMMAND.readData:
        this.acknowledge(...this.#packet(false));
        return;
      case PS2_COMMAND.identify:
        this.acknowledge(IDENTIFIER);
        return;
      case PS2_COMMAND.resend:
        this.answerAgain();
        return;
      case PS2_COMMAND.reset:
        this.#setDefaults();
        this.acknowledge(PS2_ANSWER.selfTestPassed, IDENTIFIER);
        return;
      default:
        if (this.#changeMode(byte)) this.acknowledge();
        else this.answer(PS2_ANSWER.resend);
        return;
    }
  }

  /** Commands that only change how the mouse works. @returns false when `byte` is none. */
  #changeMode(byte: number): boolean {
    if (byte === COMMAND.scale1) this.#scaled = false;
    else if (byte === COMMAND.scale2) this.#scaled = true;
    else if (byte === COMMAND.streamMode) this.#remote = false;
    else if (byte === COMMAND.remoteMode) this.#remote = true;
    else if (byte === COMMAND.wrapMode) this.#wrap = true;
    else if (byte === COMMAND.resetWrap) this.#wrap = false;
    else if (byte === PS2_COMMAND.enable) this.#reporting = true;
    else if (byte === PS2_COMMAND.disable) this.#reporting = false;
    else if (byte === PS2_COMMAND.defaults) this.#setDefaults();
    else return false;
    this.#forgetMovement();
    return true;
  }

  protected argument(command: number, byte: number): void {
    if (command === COMMAND.resolution) this.#resolution = byte & 3;
    else this.#rate = byte;
    this.acknowledge();
  }

  #status(): number {
    return (
      (this.#remote ? STATUS_REMOTE : 0) |
      (this.#reporting ? STATUS_REPORTING : 0) |
      (this.#scaled ? STATUS_SCALED : 0) |
      (this.#buttons & BUTTON_LEFT ? STATUS_LEFT : 0) |
      (this.#buttons & BUTTON_MIDDLE ? STATUS_MIDDLE : 0) |
      (this.#buttons & BUTTON_RIGHT ? STATUS_RIGHT : 0)
    );
  }

  #setDefaults(): void {
    this.#rate = DEFAULT_RATE;
    this.#resolution = DEFAULT_RESOLUTION;
    this.#scaled = false;
    this.#reporting = false;
    this.#remote = false;
    this.#wrap = false;
    this.#forgetMovement();
  }

  #forgetMovement(): void {
    this.#events = [];
    this.#dx = 0;
    this.#dy = 0;
    this.#sentButtons = this.#buttons;
  }

  override state(): DeviceState {
    return {
      ...super.state(),
      events: [...this.#events],
      dx: this.#dx,
      dy: this.#dy,
      buttons: this.#buttons,
      sentButtons: this.#sentButtons,
      rate: this.#rate,
      resolution: this.#resolution,
      scaled: this.#scaled,
      reporting: this.#reporting,
      remote: this.#remote,
      wrap: this.#wrap,
    };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    this.#events = stateNumbers(state, 'events', 0, (PACKET_LIMIT + 1) * PACKET_BYTES);
    this.#dx = stateNumber(state, 'dx', MOVEMENT_LIMIT, -MOVEMENT_LIMIT);
    this.#dy = stateNumber(state, 'dy', MOVEMENT_LIMIT, -MOVEMENT_LIMIT);
    this.#buttons = stateNumber(state, 'buttons', BUTTONS);
    this.#sentButtons = stateNumber(state, 'sentButtons', BUTTONS);
    this.#rate = stateNumber(state, 'rate', 0xff);
    this.#resolution = stateNumber(state, 'resolution', 3);
    this.#scaled = stateBoolean(state, 'scaled');
    this.#reporting = stateBoolean(state, 'reporting');
    this.#remote = stateBoolean(state, 'remote');
    this.#wrap = stateBoolean(state, 'wrap');
  }
}

function clamp(value: number, limit: number): number {
  return Math.max(-limit, Math.min(limit, value));
}

function scale(counts: number): number {
  const size = Math.abs(counts);
  return Math.sign(counts) * (SCALED[size] ?? 2 * size);
}
