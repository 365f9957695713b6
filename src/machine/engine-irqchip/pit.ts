/**
 * The 8254 as an engine has it <-> the state of this project's model. The kernel starts counter 0 over when it gets a
 * state, so a count under way is told as what is left of it where it does not repeat.
 */
import type { DeviceState } from '../../devices/device.ts';
import { PIT_HZ } from '../../devices/pit8254.ts';
import { stateBoolean, stateChildren, stateFinite, stateNumber, stateNumbers } from '../../devices/state.ts';
import type { PitChannelState, PitState } from '../../hv/contract.ts';

const COUNTERS = 3;
const MODULUS = 0x10000;
/** Which byte comes next, as the kernel writes it (`enum` in its i8254.c): low, high, low of two, high of two. */
const FIRST_OF_TWO = 3;
const SECOND_OF_TWO = 4;
const PORT_B_GATE2 = 1;
const PORT_B_SPEAKER = 2;
const NS = 1_000_000_000n;
const HZ = BigInt(PIT_HZ);

const tickAt = (ns: bigint): number => Number((ns * HZ) / NS);
export const repeats = (mode: number): boolean => mode === 2 || mode === 3;
/** Nanoseconds that a channel's count takes. */
export const periodNs = (c: PitChannelState): number => (c.count * 1e9) / PIT_HZ;

function channelOf(c: DeviceState, tick: number, restarts: boolean): PitChannelState {
  const mode = stateNumber(c, 'mode', 5);
  const rwMode = stateNumber(c, 'access', 3, 1);
  const count = stateNumber(c, 'count', MODULUS, 1);
  const paused = stateFinite(c, 'paused');
  const done = !stateBoolean(c, 'isArmed') ? 0 : Math.max(0, paused !== -1 ? paused : tick - stateFinite(c, 'start'));
  const left = restarts && !repeats(mode) && done < count ? count - done : count;
  const latch = stateNumbers(c, 'latch', 0, 2);
  const lowByte = stateNumber(c, 'lowByte', 0xff, -1);
  const status = stateNumber(c, 'status', 0xff, -1);
  return {
    count: left,
    latchedCount:
      latch.length === 2 ? latch[0]! | (latch[1]! << 8) : rwMode === 1 ? (latch[0] ?? 0) : (latch[0] ?? 0) << 8,
    countLatched: latch.length === 2 ? FIRST_OF_TWO : latch.length === 0 ? 0 : rwMode === 1 ? 1 : 2,
    statusLatched: status === -1 ? 0 : 1,
    status: Math.max(0, status),
    readState: rwMode < FIRST_OF_TWO ? rwMode : stateBoolean(c, 'readsHighNext') ? SECOND_OF_TWO : FIRST_OF_TWO,
    writeState: rwMode < FIRST_OF_TWO ? rwMode : lowByte === -1 ? FIRST_OF_TWO : SECOND_OF_TWO,
    writeLatch: Math.max(0, lowByte),
    rwMode,
    mode,
    bcd: stateBoolean(c, 'isBcd') ? 1 : 0,
    gate: stateBoolean(c, 'gate') ? 1 : 0,
    age: restarts ? 0 : Number((BigInt(done) * NS) / HZ),
  };
}

/** @param now guest time in nanoseconds */
export function pitOf(state: DeviceState, now: bigint): PitState {
  const tick = tickAt(now);
  const [a, b, c] = stateChildren(state, 'counters', COUNTERS) as [DeviceState, DeviceState, DeviceState];
  return {
    channels: [channelOf(a, tick, true), channelOf(b, tick, false), channelOf(c, tick, false)],
    speaker: (stateNumber(state, 'portB', 0xff) & PORT_B_SPEAKER) !== 0,
  };
}

function counterState(c: PitChannelState, tick: number): DeviceState {
  const mode = c.mode > 5 ? 3 : c.mode;
  const done = Math.floor((c.age * PIT_HZ) / 1e9);
  const gateStops = !c.gate && mode !== 1 && mode !== 5;
  return {
    mode,
    isBcd: c.bcd !== 0,
    access: c.rwMode >= 1 && c.rwMode <= FIRST_OF_TWO ? c.rwMode : FIRST_OF_TWO,
    gate: c.gate !== 0,
    count: Math.min(MODULUS, Math.max(1, c.count)),
    start: tick - done,
    // Before the first control word nothing counts.
    isArmed: c.mode <= 5,
    paused: gateStops ? done : -1,
    next: 0,
    switchTick: 0,
    isRetriggered: false,
    idleValue: 0,
    lowByte: c.writeState === SECOND_OF_TWO ? c.writeLatch : -1,
    readsHighNext: c.readState === SECOND_OF_TWO,
    latch: latchOf(c),
    status: c.statusLatched ? c.status : -1,
  };
}
function latchOf(c: PitChannelState): number[] {
  const bytes = [c.latchedCount & 0xff, c.latchedCount >> 8];
  if (c.countLatched === 0) return [];
  return c.countLatched >= FIRST_OF_TWO ? bytes : [bytes[c.countLatched - 1]!];
}

/** When counter 0 makes its next interrupt, in ticks of the model; undefined when it will not. */
function nextRise(c: PitChannelState, tick: number): number | undefined {
  if (c.mode > 4) return undefined;
  const done = Math.floor((c.age * PIT_HZ) / 1e9);
  if (repeats(c.mode)) return tick - (done % c.count) + c.count;
  return done < c.count ? tick - done + c.count : undefined;
}

/** The parts of a model's state that say when its interrupt comes. @param rise guest time in nanoseconds */
export const riseAt = (rise: bigint): DeviceState => ({ riseTick: tickAt(rise), deadline: rise.toString() });

/** @param now guest time in nanoseconds; @param line level of the interrupt line, which only matters for edges */
export function pitStateOf(s: PitState, now: bigint): DeviceState {
  const tick = tickAt(now);
  const rise = nextRise(s.channels[0], tick);
  return {
    counters: s.channels.map((c) => counterState(c, tick)),
    portB: (s.channels[2].gate ? PORT_B_GATE2 : 0) | (s.speaker ? PORT_B_SPEAKER : 0),
    line: false,
    riseTick: rise ?? 0,
    deadline: rise === undefined ? null : ((BigInt(rise) * NS + HZ - 1n) / HZ).toString(),
  };
}
