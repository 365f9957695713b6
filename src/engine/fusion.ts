/** Which pairs of instructions one handler carries out (interp/fused.ts): looked up when the second is decoded. */
import { FIRST_REGION } from './interp/special.ts';

/** As it is in build/interpreter.json. */
export interface FusionIndex {
  /** Alternating: a comparison's place (fusionPlace), and the place in the table of its handler for condition 0. */
  readonly bases: readonly number[];
  /** Alternating: the place in the table of a conditional branch's handler, and its condition. */
  readonly conditions: readonly number[];
}

/** Number of a comparison's handler in code of a mode (by its place in ENVS), as modes may share handlers. */
export const fusionPlace = (handler: number, env: number): number => env * FIRST_REGION + handler;

export class Fusion {
  private readonly bases = new Uint16Array(3 * FIRST_REGION);
  /** Condition + 1, or 0. */
  private readonly conditions = new Uint8Array(FIRST_REGION);

  constructor({ bases, conditions }: FusionIndex) {
    for (let i = 0; i < bases.length; i += 2) this.bases[bases[i]!] = bases[i + 1]!;
    for (let i = 0; i < conditions.length; i += 2) this.conditions[conditions[i]!] = conditions[i + 1]! + 1;
  }
  /** The handler of an instruction with handler `first` in front of one with handler `second`; 0 if there is none. */
  handlerOf(first: number, second: number, env: number): number {
    const condition = this.conditions[second]!;
    if (condition === 0) return 0;
    const base = this.bases[fusionPlace(first, env)]!;
    return base === 0 ? 0 : base + condition - 1;
  }
}
