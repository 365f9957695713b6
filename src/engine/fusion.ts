/** Which pairs of instructions one handler carries out (interp/fused.ts): looked up when the second is decoded. */
import { FIRST_REGION } from './interp/special.ts';

/** As it is in build/interpreter.json: places in the table of two handlers and of the one for both, one triple behind the other. */
export type FusionIndex = readonly number[];

const keyOf = (first: number, second: number): number => first * FIRST_REGION + second;

export class Fusion {
  private readonly handlers = new Map<number, number>();
  /** Handlers that are first, and second, of some pair: most instructions are not asked for. */
  private readonly isFirst = new Uint8Array(FIRST_REGION);
  private readonly isSecond = new Uint8Array(FIRST_REGION);

  constructor(index: FusionIndex) {
    for (let i = 0; i < index.length; i += 3) {
      const [first, second] = [index[i]!, index[i + 1]!];
      this.isFirst[first] = 1;
      this.isSecond[second] = 1;
      this.handlers.set(keyOf(first, second), index[i + 2]!);
    }
  }
  /** The handler of an instruction with handler `first` in front of one with handler `second`; 0 if there is none. */
  handlerOf(first: number, second: number): number {
    if (!this.isFirst[first] || !this.isSecond[second]) return 0;
    return this.handlers.get(keyOf(first, second)) ?? 0;
  }
}
