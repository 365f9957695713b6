/**
 * The local APIC's register page as an engine has it (`struct kvm_lapic_state`) <-> the state of this project's model.
 * Registers are at 16 times their number (SDM vol.3 table 11-1).
 */
import { ICR_WRITABLE, LVT_ENTRIES, REG, SVR_MASK, VERSION } from '../../devices/apic-registers.ts';
import { TIMER_MODE } from '../../devices/apic-timer.ts';
import type { DeviceState } from '../../devices/device.ts';
import { stateBigint, stateChild, stateNumber, stateNumbers, stateOptionalBigint } from '../../devices/state.ts';

export const LAPIC_PAGE = 1024;
const ID_SHIFT = 24;
const TIMER_MODE_SHIFT = 17;
const TIMER_MODES = 3;
const DIVIDE_MASK = 0xb;
const WORDS = 8;
const WORD_MAX = 0xffffffff;
const LVT_MAX = 0x7ffff;

/** What is known besides the page. */
export interface LapicSurroundings {
  /** Guest time in nanoseconds. */
  readonly now: bigint;
  /** IA32_APIC_BASE. */
  readonly apicBase: bigint;
  /** IA32_TSC_DEADLINE, 0 when disarmed. */
  readonly tscDeadline: bigint;
  /** The guest's TSC at `now`, and its frequency in hertz. */
  readonly tsc: bigint;
  readonly tscHz: number;
}

/** Logarithm of the divisor that the divide configuration register selects (SDM vol.3 figure 11-10). */
const shiftOf = (divide: number): bigint => BigInt((((divide & 3) | ((divide >> 1) & 4)) + 1) & 7);

/** @param id the APIC ID, 0-255; @param now guest time in nanoseconds */
export function lapicPage(state: DeviceState, id: number, now: bigint): Uint8Array {
  const page = new Uint8Array(LAPIC_PAGE);
  const view = new DataView(page.buffer);
  const put = (register: number, value: number): void => view.setUint32(register * 16, value >>> 0, true);
  const words = (key: string, register: number): void =>
    stateNumbers(state, key, WORDS, WORDS, WORD_MAX).forEach((word, i) => {
      put(register + i, word);
    });
  put(REG.id, id << ID_SHIFT);
  put(REG.version, VERSION);
  put(REG.tpr, stateNumber(state, 'tpr'));
  put(REG.ldr, stateNumber(state, 'ldr'));
  put(REG.dfr, stateNumber(state, 'dfr'));
  put(REG.svr, stateNumber(state, 'svr'));
  words('isr', REG.isr);
  words('tmr', REG.tmr);
  words('irr', REG.irr);
  put(REG.esr, stateNumber(state, 'esr'));
  put(REG.icr, stateNumber(state, 'icr'));
  put(REG.icrHigh, stateNumber(state, 'icrHigh'));
  stateNumbers(stateChild(state, 'lvt'), 'entries', LVT_ENTRIES, LVT_ENTRIES, LVT_MAX).forEach((entry, i) => {
    put(REG.lvtTimer + i, entry);
  });
  const timer = stateChild(state, 'timer');
  const { initial, current } = countsOf(timer, now);
  put(REG.initialCount, initial);
  put(REG.currentCount, current);
  put(REG.divide, stateNumber(timer, 'divide'));
  return page;
}

/** Initial and current count. A count that has ended is told as none: the kernel would let it end again. */
function countsOf(timer: DeviceState, now: bigint): { initial: number; current: number } {
  const deadline = stateOptionalBigint(timer, 'deadline');
  const initial = stateNumber(timer, 'initialCount');
  if (deadline === undefined || stateNumber(timer, 'mode', TIMER_MODES) === TIMER_MODE.tscDeadline) {
    return { initial: 0, current: 0 };
  }
  const left = deadline > now ? Number((deadline - now) >> shiftOf(stateNumber(timer, 'divide'))) : 0;
  return { initial, current: Math.max(1, Math.min(initial, left)) };
}

/** The value of IA32_TSC_DEADLINE in a model's state. */
export const tscDeadlineOf = (state: DeviceState): bigint => stateBigint(stateChild(state, 'timer'), 'tscDeadline');

/** @param lint0 level of the 8259 pair's output */
export function lapicState(page: Uint8Array, at: LapicSurroundings, lint0: boolean): DeviceState {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const get = (register: number): number => view.getUint32(register * 16, true);
  const list = (register: number, length: number): number[] => Array.from({ length }, (_, i) => get(register + i));
  return {
    apicBase: at.apicBase.toString(),
    timer: timerState(get(REG.lvtTimer), get(REG.divide), get(REG.initialCount), get(REG.currentCount), at),
    isr: list(REG.isr, WORDS),
    tmr: list(REG.tmr, WORDS),
    irr: list(REG.irr, WORDS),
    lvt: { entries: list(REG.lvtTimer, LVT_ENTRIES).map((entry) => entry & LVT_MAX), lintLevels: lint0 ? 1 : 0 },
    tpr: get(REG.tpr) & 0xff,
    ldr: get(REG.ldr),
    dfr: get(REG.dfr),
    svr: get(REG.svr) & SVR_MASK,
    esr: get(REG.esr) & 0xff,
    newErrors: 0,
    icr: get(REG.icr) & ICR_WRITABLE,
    icrHigh: get(REG.icrHigh),
    extIntRequested: false,
  };
}

function timerState(
  lvt: number,
  divideRegister: number,
  initialCount: number,
  current: number,
  at: LapicSurroundings,
): DeviceState {
  const mode = (lvt >> TIMER_MODE_SHIFT) & TIMER_MODES;
  const divide = divideRegister & DIVIDE_MASK;
  const shift = shiftOf(divide);
  const state = { mode, divide, initialCount, start: at.now.toString(), tscDeadline: '0', deadline: null };
  if (mode === TIMER_MODE.tscDeadline) {
    if (at.tscDeadline === 0n) return { ...state, initialCount: 0 };
    const left = at.tscDeadline > at.tsc ? ((at.tscDeadline - at.tsc) * 1_000_000_000n) / BigInt(at.tscHz) : 0n;
    return {
      ...state,
      initialCount: 0,
      tscDeadline: at.tscDeadline.toString(),
      deadline: (at.now + left).toString(),
    };
  }
  if (initialCount === 0 || (current === 0 && mode !== TIMER_MODE.periodic)) return state;
  const start = at.now - (BigInt(initialCount - Math.min(initialCount, current)) << shift);
  return { ...state, start: start.toString(), deadline: (at.now + (BigInt(current) << shift)).toString() };
}
