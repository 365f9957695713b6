/**
 * A PS/2 keyboard with scan code sets 1 and 2 (IBM PS/2 Technical Reference, 101/102-Key Keyboard).
 */
import type { DeviceState } from './device.ts';
import { PS2_ANSWER, PS2_COMMAND, Ps2Device } from './ps2-device.ts';
import { ScancodeTranslator } from './ps2-scancodes.ts';
import { stateBoolean, stateNumber, stateNumbers } from './state.ts';

/** Commands of keyboards only. */
const COMMAND = { leds: 0xed, echo: 0xee, scancodeSet: 0xf0, typematic: 0xf3 } as const;
const FIRST_COMMAND = COMMAND.leds;
const ECHO = 0xee;
/** Identifier of keyboards with 101 keys and more. */
const IDENTIFIER = [0xab, 0x83] as const;

/** LEDs: [0] scroll lock, [1] num lock, [2] caps lock. */
const LED_MASK = 0x07;
/** Typematic: [6:5] delay, [4:0] rate; 500 ms and 10.9 per second after reset. */
const TYPEMATIC_MASK = 0x7f;
const TYPEMATIC_RESET = 0x2b;
const DEFAULT_SET = 2;

/** Scan codes that wait for the guest are limited to this many bytes. */
export const KEYBOARD_EVENT_LIMIT = 1024;

/** A keyboard. Held keys repeat only if whoever calls `sendScancodes` repeats them. */
export class Ps2Keyboard extends Ps2Device {
  protected readonly firstCommand = FIRST_COMMAND;
  #events: number[] = [];
  #scanning = true;
  #set = DEFAULT_SET;
  #leds = 0;
  #typematic = TYPEMATIC_RESET;

  /** LEDs that are lit: [0] scroll lock, [1] num lock, [2] caps lock. */
  get leds(): number {
    return this.#leds;
  }

  /**
   * Keys go down and up: `bytes` are whole make and break codes of scan code set 2 (break is F0 and the
   * code, E0 comes first for the keys added to the AT's). The guest gets them in the set it chose.
   * @returns false when none were taken, because the guest switched scanning off or leaves too many unread
   */
  sendScancodes(bytes: Iterable<number>): boolean {
    if (!this.#scanning) return false;
    const codes = this.#set === 1 ? toSet1(bytes) : Array.from(bytes, (byte) => byte & 0xff);
    if (this.#events.length + codes.length > KEYBOARD_EVENT_LIMIT) return false;
    this.#events.push(...codes);
    this.onReady();
    return true;
  }

  protected nextEvent(): number | undefined {
    return this.#scanning ? this.#events.shift() : undefined;
  }

  protected command(byte: number): void {
    switch (byte) {
      case COMMAND.leds:
      case COMMAND.scancodeSet:
      case COMMAND.typematic:
        this.expectArgument(byte);
        return;
      case COMMAND.echo:
        this.answer(ECHO);
        return;
      case PS2_COMMAND.identify:
        this.acknowledge(...IDENTIFIER);
        return;
      case PS2_COMMAND.enable:
        this.#events = [];
        this.#scanning = true;
        this.acknowledge();
        return;
      case PS2_COMMAND.disable:
        this.#setDefaults();
        this.#scanning = false;
        this.acknowledge();
        return;
      case PS2_COMMAND.defaults:
        this.#setDefaults();
        this.acknowledge();
        return;
      case PS2_COMMAND.resend:
        this.answerAgain();
        return;
      case PS2_COMMAND.reset:
        this.#setDefaults();
        this.#scanning = true;
        this.#leds = 0;
        this.acknowledge(PS2_ANSWER.selfTestPassed);
        return;
      default:
        // Not a command, or one for scan code set 3.
        this.answer(PS2_ANSWER.resend);
        return;
    }
  }

  protected argument(command: number, byte: number): void {
    if (command === COMMAND.leds) this.#leds = byte & LED_MASK;
    else if (command === COMMAND.typematic) this.#typematic = byte & TYPEMATIC_MASK;
    else if (byte === 0) {
      this.acknowledge(this.#set);
      return;
    } else if (byte === 1 || byte === 2) this.#set = byte;
    else {
      this.answer(PS2_ANSWER.resend);
      return;
    }
    this.acknowledge();
  }

  #setDefaults(): void {
    this.#events = [];
    this.#set = DEFAULT_SET;
    this.#typematic = TYPEMATIC_RESET;
  }

  override state(): DeviceState {
    return {
      ...super.state(),
      events: [...this.#events],
      scanning: this.#scanning,
      set: this.#set,
      leds: this.#leds,
      typematic: this.#typematic,
    };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    this.#events = stateNumbers(state, 'events', 0, KEYBOARD_EVENT_LIMIT);
    this.#scanning = stateBoolean(state, 'scanning');
    this.#set = stateNumber(state, 'set', 2, 1);
    this.#leds = stateNumber(state, 'leds', LED_MASK);
    this.#typematic = stateNumber(state, 'typematic', TYPEMATIC_MASK);
  }
}

function toSet1(bytes: Iterable<number>): number[] {
  const translator = new ScancodeTranslator();
  const codes: number[] = [];
  for (const byte of bytes) {
    const code = translator.translate(byte & 0xff);
    if (code !== undefined) codes.push(code);
  }
  return codes;
}
