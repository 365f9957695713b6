// Where a CPU may differ from another within the architecture, or where the manual leaves a result undefined that is
// not a flag.
import type { Case, Result } from './case.ts';

/** Count of a shift, from its immediate or CL, cut as for operands of up to 32 bits. */
function shiftCount(c: Case): number {
  const imm = c.insn.operands.at(-1);
  return Number((imm?.kind === 'imm' ? imm.value : c.gpr[1]!) & 31n);
}

/** Fault whose place or trace in memory the manuals leave open, by mnemonic. */
const OPEN_FAULTS: readonly (readonly [RegExp, string])[] = [
  [/^cmps/, 'both operands fault: either may be the one that is reported'],
  [/^enter/, 'whether the frame pointer was stored before the end of the new frame was found missing'],
  [/^fn(stenv|save)/, 'which byte of the page that cannot be written is reported'],
  [/^call/, 'whether the return address was stored before a non-canonical target was found'],
];

/** True when a difference is one that the manuals allow. */
export function knownDifference(c: Case, want: Result, got: Result): boolean {
  const { row, w, opcode, modrm } = c.insn;
  // SHLD and SHRD of 16 bits by more than 16: destination and flags are undefined (SDM vol.2 SHLD).
  if (/^sh[lr]d$/.test(row.name) && w === 16 && shiftCount(c) > 16) return want.vector === got.vector;
  // 0F 0D with a register: NOP on Intel's CPUs, #UD on AMD's.
  if (row.enc.map === 1 && opcode === 0x0d && modrm >= 0xc0) return true;
  // MASKMOV with a mask of zeros may fault or not (SDM vol.2 MASKMOVQ).
  if (/^maskmov/.test(row.name) && (want.vector >= 0 || got.vector >= 0)) return true;
  // At the addresses of the host's kernel a page is present, but not for user programs: error code bit P is its own.
  if (want.vector === 14 && got.vector === 14 && want.cr2 === got.cr2 && want.cr2 >> 47n !== 0n) return true;
  const faulted = want.vector >= 0 && want.vector === got.vector && want.rip === got.rip;
  return faulted && OPEN_FAULTS.some(([name]) => name.test(row.name));
}
