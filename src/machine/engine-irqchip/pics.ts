/** The 8259 pair and the I/O APIC as an engine has them <-> the states of this project's models. */
import type { DeviceState } from '../../devices/device.ts';
import { stateBoolean, stateChild, stateNumber, stateNumbers } from '../../devices/state.ts';
import type { IoApicState, PicState } from '../../hv/contract.ts';

/** Inputs that may be level triggered (PIIX ELCR). */
const MASTER_ELCR_MASK = 0xf8;
const SLAVE_ELCR_MASK = 0xde;
const LEVEL_ENTRY = 1 << 15;
const ENTRY_LOW = 0x1efff;
const ENTRY_HIGH = 0xff000000;
const PINS = 24;
const INPUTS = 8;

export function picOf(state: DeviceState, isSlave: boolean): PicState {
  const flag = (key: string): number => (stateBoolean(state, key) ? 1 : 0);
  const byte = (key: string): number => stateNumber(state, key, 0xff);
  return {
    lastIrr: byte('lines'),
    irr: byte('irr'),
    imr: byte('imr'),
    isr: byte('isr'),
    priorityAdd: (byte('lowest') + 1) % INPUTS,
    irqBase: byte('vectorBase'),
    readRegSelect: flag('readsIsr'),
    poll: flag('isPolled'),
    specialMask: flag('isSpecialMask'),
    // The model counts from ICW2; the kernel counts the words after ICW1.
    initState: Math.max(0, byte('expect') - 1),
    autoEoi: flag('isAutoEoi'),
    rotateOnAutoEoi: flag('rotatesOnAutoEoi'),
    specialFullyNestedMode: flag('isSpecialFullyNested'),
    init4: flag('needsIcw4'),
    elcr: byte('elcr'),
    elcrMask: isSlave ? SLAVE_ELCR_MASK : MASTER_ELCR_MASK,
  };
}

export function picStateOf(p: PicState): DeviceState {
  return {
    lines: p.lastIrr,
    irr: p.irr,
    isr: p.isr,
    imr: p.imr,
    elcr: p.elcr,
    vectorBase: p.irqBase & 0xf8,
    lowest: (p.priorityAdd + INPUTS - 1) % INPUTS,
    expect: p.initState === 0 ? 0 : p.initState + 1,
    isSingle: false,
    needsIcw4: p.init4 !== 0,
    isAutoEoi: p.autoEoi !== 0,
    rotatesOnAutoEoi: p.rotateOnAutoEoi !== 0,
    isSpecialFullyNested: p.specialFullyNestedMode !== 0,
    isSpecialMask: p.specialMask !== 0,
    isPolled: p.poll !== 0,
    readsIsr: p.readRegSelect !== 0,
  };
}

/** Edges that the model has sent are not told again; levels are raised by the caller. */
export function ioApicOf(state: DeviceState, base: number): IoApicState {
  const low = stateNumbers(state, 'low', PINS, PINS, ENTRY_LOW);
  const high = stateNumbers(state, 'high', PINS, PINS, 0xffffffff);
  return {
    base: BigInt(base),
    select: stateNumber(state, 'select', 0xff),
    id: stateNumber(state, 'id', 15),
    irr: 0,
    redirection: low.map((bits, pin) => (BigInt(high[pin]!) << 32n) | BigInt(bits)),
  };
}

/** @param levels the lines at the pins, a bit each */
export function ioApicStateOf(s: IoApicState, levels: number): DeviceState {
  return {
    id: s.id & 15,
    select: s.select & 0xff,
    levels,
    low: s.redirection.map((entry) => Number(entry & BigInt(ENTRY_LOW))),
    high: s.redirection.map((entry) => (Number(entry >> 32n) & ENTRY_HIGH) >>> 0),
  };
}

/** Whether an input of the pair or the pin of the same number is level triggered. */
export function isLevelTriggered(pair: DeviceState, ioApic: DeviceState, line: number): boolean {
  const chip = stateChild(pair, line < INPUTS ? 'master' : 'slave');
  const elcr = stateNumber(chip, 'elcr', 0xff);
  const entry = stateNumbers(ioApic, 'low', PINS, PINS, ENTRY_LOW)[line]!;
  return (line < 2 * INPUTS && ((elcr >> (line % INPUTS)) & 1) !== 0) || (entry & LEVEL_ENTRY) !== 0;
}
