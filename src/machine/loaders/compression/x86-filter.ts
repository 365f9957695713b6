/**
 * The inverse of xz's x86 filter. Before compression the filter turned the relative targets of CALL (E8h) and
 * JMP (E9h) into absolute ones, so that calls of one function look alike; here they become relative again.
 * Own code, because the xz package for browsers leaves this filter out.
 */
import { viewOf } from '../../bytes.ts';

/** A CALL or JMP with its 32-bit operand. */
const INSTRUCTION_LENGTH = 5;
/** What an encoder made settles after one flip; the bound is for damaged data. */
const MAX_ROUNDS = 4;

/**
 * Undoes the filter on a whole block, in place. Positions count from the start of `bytes`.
 *
 * `unconverted` has bit k set when the byte k + 1 before the current one was E8h or E9h and was left alone. Its
 * operand then overlaps the current instruction, and the encoder applied its rules with that in mind.
 */
export function undoX86Filter(bytes: Uint8Array): void {
  const view = viewOf(bytes);
  const last = bytes.length - INSTRUCTION_LENGTH;
  let unconverted = 0;
  for (let at = 0; at <= last; at++) {
    if ((bytes[at]! & 0xfe) !== 0xe8) {
      unconverted = (unconverted << 1) & 7;
      continue;
    }
    if (isConverted(bytes, at, unconverted)) {
      view.setUint32(at + 1, relativeTarget(view.getUint32(at + 1, true), at + INSTRUCTION_LENGTH, unconverted), true);
      at += INSTRUCTION_LENGTH - 1;
      unconverted = 0;
    } else {
      unconverted = ((unconverted << 1) | 1) & 7;
    }
  }
}

/** Top bytes of targets within 16 MiB: the only ones that the filter converts. */
function isNear(topByte: number): boolean {
  return topByte === 0 || topByte === 0xff;
}

/** Distance to the farthest of the left-alone opcodes in `unconverted`, 0 when there is none. */
function farthest(unconverted: number): number {
  return 32 - Math.clz32(unconverted);
}

/** True when the encoder converted the instruction at `at`. */
function isConverted(bytes: Uint8Array, at: number, unconverted: number): boolean {
  if (!isNear(bytes[at + 4]!)) return false;
  if (unconverted === 0) return true;
  const single = (unconverted & (unconverted - 1)) === 0;
  return single && !isNear(bytes[at + 4 - farthest(unconverted)]!);
}

/** The operand before conversion: sign-extended from 25 bits, as the encoder made it. */
function relativeTarget(absolute: number, next: number, unconverted: number): number {
  const distance = farthest(unconverted);
  const overlapShift = 24 - distance * 8;
  let source = absolute;
  let target = (source - next) | 0;
  // The byte that was the top of the overlapping operand must not become near, or the decoder would see that
  // operand otherwise than the encoder did; the encoder flipped the bits below it.
  for (let round = 0; round < MAX_ROUNDS && distance > 0 && isNear((target >>> overlapShift) & 0xff); round++) {
    source = target ^ (2 ** (32 - distance * 8) - 1);
    target = (source - next) | 0;
  }
  return ((target << 7) >> 7) >>> 0;
}
