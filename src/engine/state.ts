/** Small readings of the vCPU state that several parts of the engine need. */
import type { CodeMode } from '../isa/insn.ts';
import { MODE_CODE32, MODE_CODE64, MODE_STACK32 } from '../isa/layout.ts';

const MODES: readonly CodeMode[] = Array.from({ length: 8 }, (_, mode) => {
  const size = mode & 3;
  if (size === MODE_CODE64) return { code: 64, stack: 64 };
  return { code: size === MODE_CODE32 ? 32 : 16, stack: mode & MODE_STACK32 ? 32 : 16 };
});

/** Code and stack size by the field `mode`. */
export const codeModeOf = (mode: number): CodeMode => MODES[mode & 7]!;
