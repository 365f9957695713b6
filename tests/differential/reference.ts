// The reference as an engine for differential cases: a user program with flat segments.
import { FlatMemory } from '../../src/engine/reference/flat.ts';
import { GuestFault } from '../../src/engine/reference/memory.ts';
import type { ReferenceHelper } from '../../src/engine/reference/ops.ts';
import { ReferencePure } from '../../src/engine/reference/pure.ts';
import { ReferenceState } from '../../src/engine/reference/state.ts';
import { step } from '../../src/engine/reference/step.ts';
import { ATTR, CR0, CR4, EFLAGS, EXC, SEG } from '../../src/isa/layout.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { type Case, CODE, CODE_PAGE, DATA, DATA_SIZE, PAGE, type Result, WINDOW } from './case.ts';
import type { Engine } from './engine.ts';
import { loadFx, storeFx, storeYmmh } from './fx.ts';

const USER_DATA = ATTR.P | ATTR.S | ATTR.WRITABLE | ATTR.ACCESSED | (3 << ATTR.DPL_SHIFT);
const CS = 1;
const WINDOW_AT = Number(WINDOW - DATA);
const pure = new ReferencePure();

/**
 * A state as a program in user mode has it: protected mode, paging, CPL 3, flat segments; in 16-bit cases segments of
 * 64 KiB, data at DATA and code at CODE_PAGE.
 */
export function userState(c: Case): ReferenceState {
  const state = new ReferenceState();
  const { code } = c.insn.mode;
  for (let seg = 0; seg < 6; seg++) {
    const big = seg === CS && code === 64 ? 0 : code === 16 ? 0 : ATTR.DB | ATTR.G;
    const type = seg === CS ? ATTR.CODE | (code === 64 ? ATTR.L : 0) : 0;
    state.set('seg_attr', BigInt(USER_DATA | big | type), seg);
    state.set('seg_limit', code === 16 ? 0xffffn : 0xffff_ffffn, seg);
    if (code === 16) state.set('seg_base', seg === CS ? CODE_PAGE : DATA, seg);
  }
  state.set('cpl', 3n);
  state.set('cr0', BigInt((CR0.PE | CR0.PG | CR0.NE | CR0.ET | CR0.WP | CR0.MP | CR0.AM) >>> 0));
  state.set('cr4', BigInt(CR4.PAE | CR4.OSFXSR | CR4.OSXMMEXCPT | CR4.FSGSBASE | CR4.OSXSAVE));
  state.set('xcr0', 7n);
  if (code === 64) for (const i of [0, 1]) state.set('seg_base', c.bases[i]!, SEG.fs + i);
  state.set('rip', code === 16 ? CODE - CODE_PAGE : CODE);
  c.gpr.forEach((v, i) => {
    state.set('gpr', v, i);
  });
  state.set('eflags', BigInt(c.rflags & ~EFLAGS.ARITH));
  state.setArith(BigInt(c.rflags));
  loadFx(state, c.fx, c.ymmh);
  return state;
}

/** Memory that raises #AC (SDM vol.3 table 6-7), after page faults. */
class CheckedMemory extends FlatMemory {
  /** Alignment of all accesses, if it is not that of their size. */
  own: number | undefined;

  private align(address: bigint, bytes: number): void {
    const n = bytes === 32 ? 16 : bytes === 10 ? 8 : bytes;
    const to = this.own ?? n;
    if (address % BigInt(to) !== 0n) throw new GuestFault(EXC.AC);
  }
  override read(address: bigint, bytes: number): bigint {
    const value = super.read(address, bytes);
    this.align(address, bytes);
    return value;
  }
  override write(address: bigint, bytes: number, value: bigint): void {
    this.probe(address, bytes);
    super.write(address, bytes, value);
  }
  override probe(address: bigint, bytes: number): void {
    super.probe(address, bytes);
    this.align(address, bytes);
  }
}

/** Every feature that a row names. */
export const allFeatures = (): ReadonlySet<string> => new Set(ROWS.flatMap((r) => r.feature ?? []));

/** The reference; `helpers` are the runtime helpers it may use. */
export function referenceEngine(helpers: ReadonlyMap<string, ReferenceHelper> = new Map()): Engine {
  return {
    name: 'reference',
    run(c: Case): Result {
      const state = userState(c);
      const bytes = new Uint8Array(DATA_SIZE);
      bytes.set(c.window, WINDOW_AT);
      const checked = (c.rflags & EFLAGS.AC) !== 0;
      const memory = new (checked ? CheckedMemory : FlatMemory)([
        { start: DATA, bytes, writable: true },
        { start: DATA + BigInt(DATA_SIZE), bytes: new Uint8Array(PAGE), writable: false },
      ]);
      const { aligns } = c.insn.row;
      if (memory instanceof CheckedMemory && aligns) memory.own = aligns === 'none' ? 1 : c.insn.w === 16 ? 2 : 4;
      const result = step(c.insn, state, memory, helpers);
      const fault = result.kind === 'fault' ? result : undefined;
      return {
        vector: fault ? fault.vector : -1,
        error: Number(fault?.error ?? 0n),
        cr2: fault?.cr2 ?? 0n,
        rip: state.get('rip'),
        gpr: Array.from({ length: 16 }, (_, i) => state.get('gpr', i)),
        rflags: Number(state.get('eflags') | state.arith(pure)),
        fx: storeFx(state),
        ymmh: storeYmmh(state),
        window: bytes.slice(WINDOW_AT, WINDOW_AT + c.window.length),
        bases: c.insn.mode.code === 64 ? [SEG.fs, SEG.gs].map((seg) => state.get('seg_base', seg)) : [0n, 0n],
      };
    },
  };
}
