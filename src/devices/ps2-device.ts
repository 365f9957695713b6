/**
 * What a PS/2 keyboard and a PS/2 mouse have in common: they take commands of one byte, some with an
 * argument, and send answers ahead of what the person does (IBM PS/2 Technical Reference, Keyboard, Mouse).
 */
import type { DeviceState, Snapshottable } from './device.ts';
import { stateNumber, stateNumbers } from './state.ts';

/** Answers that all devices give. */
export const PS2_ANSWER = { acknowledge: 0xfa, selfTestPassed: 0xaa, resend: 0xfe } as const;
/** Commands that all devices understand. */
export const PS2_COMMAND = { identify: 0xf2, enable: 0xf4, disable: 0xf5, defaults: 0xf6, resend: 0xfe, reset: 0xff };

/** Answers that nobody reads are cut off here, in bytes. */
const ANSWER_LIMIT = 16;

/** A device at one of the two ports of the keyboard controller. */
export abstract class Ps2Device implements Snapshottable {
  /** Called when there may be a byte to `take`. */
  onReady: () => void = () => {};
  /** Bytes from here on are commands even where an argument is expected. */
  protected abstract readonly firstCommand: number;
  #answers: number[] = [];
  /** The command whose argument comes next, 0 if none does. */
  #pending = 0;
  /** The byte sent last, for a host that asks for it again. */
  #last = 0;

  /** The next byte that the device sends, if there is one. */
  take(): number | undefined {
    const byte = this.#answers.shift() ?? this.nextEvent();
    if (byte !== undefined) this.#last = byte;
    return byte;
  }

  /** A byte from the host. */
  write(byte: number): void {
    const pending = this.#pending;
    this.#pending = 0;
    if (pending !== 0 && byte < this.firstCommand) this.argument(pending, byte);
    else this.command(byte);
    this.onReady();
  }

  /** The next byte of what the person did. */
  protected abstract nextEvent(): number | undefined;
  protected abstract command(byte: number): void;
  /** The argument of `command`, which asked for it with `expectArgument`. */
  protected abstract argument(command: number, byte: number): void;

  protected answer(...bytes: readonly number[]): void {
    for (const byte of bytes) if (this.#answers.length < ANSWER_LIMIT) this.#answers.push(byte);
  }

  protected acknowledge(...more: readonly number[]): void {
    this.answer(PS2_ANSWER.acknowledge, ...more);
  }

  /** Acknowledges `command` and takes the next byte as its argument. */
  protected expectArgument(command: number): void {
    this.#pending = command;
    this.acknowledge();
  }

  protected answerAgain(): void {
    this.answer(this.#last);
  }

  state(): DeviceState {
    return { answers: [...this.#answers], pending: this.#pending, last: this.#last };
  }

  restore(state: DeviceState): void {
    this.#answers = stateNumbers(state, 'answers', 0, ANSWER_LIMIT);
    this.#pending = stateNumber(state, 'pending', 0xff);
    this.#last = stateNumber(state, 'last', 0xff);
  }
}
