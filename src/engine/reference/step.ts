/** One instruction by the reference: repetition, faults that leave the state as it was, and the new rip. */
import type { Insn } from '../../isa/insn.ts';
import { CR0, CR4, EXC } from '../../isa/layout.ts';
import type { Row } from '../../isa/row.ts';
import { GuestFault, type ReferenceMemory } from './memory.ts';
import { type ReferenceHelper, ReferenceOps } from './ops.ts';
import type { ReferenceState } from './state.ts';

/** What an instruction came to. After a fault the state is as before it (of the iteration, when it repeats). */
export type StepResult =
  | { readonly kind: 'done' }
  | { readonly kind: 'fault'; readonly vector: number; readonly error: bigint; readonly cr2: bigint };

const NO_HELPERS: ReadonlyMap<string, ReferenceHelper> = new Map();
/** Iterations of a repeated instruction before `step` returns with rip still on it. */
const MAX_ITERATIONS = 1 << 16;

/** Error summary bit of the x87 status word: an unmasked exception is pending. */
const FSW_ES = 0x80n;
/** XCR0: SSE and AVX. */
const XCR0_AVX = 6n;

/** Is the unit that a row uses there (SDM vol.3 table 2-2, 13.1, 13.7; vol.2 2.4)? Throws GuestFault if not. */
function checkUnit(unit: NonNullable<Row['unit']>, state: ReferenceState): void {
  const low = (name: string): number => Number(BigInt.asUintN(32, state.get(name)));
  const [cr0, cr4] = [low('cr0'), low('cr4')];
  const raise = (vector: number): never => {
    throw new GuestFault(vector);
  };
  if (unit === 'avx') {
    if (!(cr4 & CR4.OSXSAVE) || (state.get('xcr0') & XCR0_AVX) !== XCR0_AVX) raise(EXC.UD);
    if (cr0 & CR0.TS) raise(EXC.NM);
    return;
  }
  const x87 = unit === 'x87' || unit === 'x87-nowait';
  if (cr0 & CR0.EM) raise(x87 ? EXC.NM : EXC.UD);
  if (unit === 'sse' && !(cr4 & CR4.OSFXSR)) raise(EXC.UD);
  if (cr0 & CR0.TS) raise(EXC.NM);
  const waits = unit === 'x87' || unit === 'mmx';
  if (waits && cr0 & CR0.NE && (state.get('fsw') & FSW_ES) !== 0n) raise(EXC.MF);
}

/** Runs a row once; the caller puts the state back when it throws. */
function execute(
  insn: Insn,
  state: ReferenceState,
  memory: ReferenceMemory,
  helpers: ReadonlyMap<string, ReferenceHelper>,
): bigint {
  const { unit } = insn.row;
  if (unit) checkUnit(unit, state);
  const ops = new ReferenceOps(insn, state, memory, helpers);
  insn.row.exec<bigint>(ops);
  return ops.target;
}

/** One iteration, with the state put back if it faults. */
function attempt(state: ReferenceState, run: () => void): StepResult {
  const before = state.copy();
  try {
    run();
    return { kind: 'done' };
  } catch (e) {
    const mxcsr = state.get('mxcsr');
    state.restore(before);
    if (!(e instanceof GuestFault)) throw e;
    // The flags of the exceptions that made #XM stay (SDM vol.1 11.5.2).
    if (e.vector === EXC.XM) state.set('mxcsr', mxcsr);
    return { kind: 'fault', vector: e.vector, error: e.error, cr2: e.cr2 };
  }
}

/** True when a repeated compare or scan ends because of ZF (SDM vol.2 REP). */
function zfEnds(insn: Insn, state: ReferenceState, ops: ReferenceOps): boolean {
  if (insn.row.rep !== 'zf') return false;
  const zf = (state.arith(ops) >> 6n) & 1n;
  return (zf === 1n) !== (insn.rep === 'rep');
}

/**
 * Carries out one decoded instruction at the field `rip` and moves `rip` on. Privilege and mode are the state's.
 * Faults are returned, not delivered. Throws NoReference when the row needs a helper that `helpers` does not have.
 */
export function step(
  insn: Insn,
  state: ReferenceState,
  memory: ReferenceMemory,
  helpers: ReadonlyMap<string, ReferenceHelper> = NO_HELPERS,
): StepResult {
  if (insn.rep === 'none') {
    return attempt(state, () => {
      state.set('rip', execute(insn, state, memory, helpers));
    });
  }
  const { asize } = insn;
  const ops = new ReferenceOps(insn, state, memory, helpers);
  const next = ops.nextRip();
  for (let i = 0; i < MAX_ITERATIONS; i++) {
    if (state.reg(asize, 1) === 0n) {
      state.set('rip', next);
      return { kind: 'done' };
    }
    const result = attempt(state, () => {
      execute(insn, state, memory, helpers);
      state.setReg(asize, 1, state.reg(asize, 1) - 1n);
    });
    if (result.kind === 'fault') return result;
    if (zfEnds(insn, state, ops)) {
      state.set('rip', next);
      return { kind: 'done' };
    }
  }
  return { kind: 'done' };
}

/** The result of bytes that are no instruction: #UD, or #GP(0) when they are too long (SDM vol.3 6.15). */
export const decodeFault = (failure: 'ud' | 'too-long'): StepResult => ({
  kind: 'fault',
  vector: failure === 'ud' ? EXC.UD : EXC.GP,
  error: 0n,
  cr2: 0n,
});
