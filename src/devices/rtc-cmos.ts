/**
 * The MC146818 real-time clock with its CMOS RAM (ports 70h and 71h). The date follows the host's wall
 * clock at a distance that the guest sets; interrupts are timed on the guest's clock.
 */
import { BytePorts } from './byte-ports.ts';
import type { CancelTimer, Clock, DeviceState, IrqLine, PortRange, Snapshottable } from './device.ts';
import { stateFinite, stateNumber, stateNumbers, stateOptionalBigint } from './state.ts';

const CMOS_SIZE = 128;
/** Index port: [7] NMI off, [6:0] index. */
const INDEX_MASK = 0x7f;

/** CMOS bytes of the clock. */
const REG = {
  seconds: 0x00,
  secondsAlarm: 0x01,
  minutes: 0x02,
  minutesAlarm: 0x03,
  hours: 0x04,
  hoursAlarm: 0x05,
  weekday: 0x06,
  day: 0x07,
  month: 0x08,
  year: 0x09,
  a: 0x0a,
  b: 0x0b,
  c: 0x0c,
  d: 0x0d,
  century: 0x32,
} as const;
const TIME_REGISTERS: readonly number[] = [
  REG.seconds,
  REG.minutes,
  REG.hours,
  REG.weekday,
  REG.day,
  REG.month,
  REG.year,
  REG.century,
];

/** A: [7] update in progress (r/o), [6:4] divider (010 runs at 32768 Hz, 11x holds), [3:0] periodic rate. */
const A_UPDATE_IN_PROGRESS = 1 << 7;
const A_DIVIDER_HOLD = 0x60;
const A_RATE = 0x0f;
const A_RESET = 0x26;
/** B: [7] SET halts updates, [6] periodic, [5] alarm, [4] update interrupt, [3] square wave, [2] binary, [1] 24 h, [0] DST. */
const B_SET = 1 << 7;
const B_PERIODIC = 1 << 6;
const B_ALARM = 1 << 5;
const B_UPDATE = 1 << 4;
const B_BINARY = 1 << 2;
const B_24_HOURS = 1 << 1;
/** C: [7] interrupt request, [6:4] as in B. Reading clears it. */
const C_REQUEST = 1 << 7;
const C_SOURCES = B_PERIODIC | B_ALARM | B_UPDATE;
/** D: [7] RAM and time valid. */
const D_VALID = 1 << 7;

/** Alarm bytes from 0xc0 on match anything. */
const ALARM_ANY = 0xc0;
const HOUR_PM = 1 << 7;

/** CMOS bytes that firmware fills: base memory in KiB, extended memory in KiB twice, memory above 16 MiB in 64 KiB. */
const CMOS_BASE_MEMORY = 0x15;
const CMOS_EXTENDED_MEMORY = 0x17;
const CMOS_EXTENDED_MEMORY_POST = 0x30;
const CMOS_MEMORY_ABOVE_16M = 0x34;
/** Memory above 4 GiB in units of 64 KiB, three bytes, as SeaBIOS reads it. */
const CMOS_MEMORY_ABOVE_4G = 0x5b;
const BASE_MEMORY_KIB = 640;

const MS_PER_SECOND = 1000;
const NS_PER_MS = 1_000_000;
/** UIP is set this long before an update (datasheet: t_BUC, 244 µs). */
const UPDATE_WARNING_MS = 0.244;
/** The first update comes half a second after the divider is let go. */
const DIVIDER_RELEASE_MS = 500;
/** Least time between two interrupts of the update cycle, so that a wall clock that jitters cannot loop. */
const LEAST_WAIT_NS = 1_000_000n;
/** Ticks of the 32768 Hz oscillator in ns. */
const NS_PER_SECOND = 1_000_000_000n;
const OSCILLATOR_HZ = 32768n;
/** Dates that `Date` can hold with room to spare. */
const LATEST_MS = 8e15;

/** What the clock is wired to. */
export interface RtcCmosOptions {
  /** Index port; data is the next one. PC: 0x70. */
  readonly base: number;
  /** IRQ 8. */
  readonly irq: IrqLine;
  readonly clock: Clock;
  /** Wall-clock time in milliseconds since 1970, as the date to show (UTC or local). Fractions are used. */
  readonly wallMs: () => number;
}

/** Fields of a date as the registers have them, in binary. */
interface Fields {
  readonly seconds: number;
  readonly minutes: number;
  readonly hours: number;
  /** 1 is Sunday. */
  readonly weekday: number;
  readonly day: number;
  /** 1 to 12. */
  readonly month: number;
  /** With the century. */
  readonly year: number;
}

/** Real-time clock and CMOS RAM. */
export class RtcCmos extends BytePorts implements Snapshottable {
  readonly ports: readonly PortRange[];
  readonly #options: RtcCmosOptions;
  /** All bytes; those of `TIME_REGISTERS` hold the time only while it stands still. */
  readonly #cmos = new Uint8Array(CMOS_SIZE);
  #index = 0;
  /** Guest time minus wall time in ms. */
  #offsetMs = 0;
  /** Second of guest time that the last update cycle showed. */
  #lastSecond = 0;
  #updateDeadline: bigint | undefined;
  #cancelUpdate: CancelTimer = () => {};
  #periodicDeadline: bigint | undefined;
  #cancelPeriodic: CancelTimer = () => {};

  constructor(options: RtcCmosOptions) {
    super();
    this.#options = options;
    this.ports = [{ base: options.base, count: 2 }];
    this.#cmos[REG.a] = A_RESET;
    this.#cmos[REG.b] = B_24_HOURS;
    this.#cmos[REG.d] = D_VALID;
    this.#lastSecond = this.#guestSecond();
  }

  /** Byte `index` (0 to 127) of the CMOS RAM as firmware or the board's owner sees it. */
  getByte(index: number): number {
    return this.#cmos[index & INDEX_MASK]!;
  }

  /** Sets byte `index` (14 to 127 but not 0x32) of the CMOS RAM, as firmware does. Others are ignored. */
  setByte(index: number, value: number): void {
    if (index > REG.d && index < CMOS_SIZE && index !== REG.century) this.#cmos[index] = value;
  }

  /**
   * Fills the bytes that tell the size of memory.
   * @param below4G bytes of RAM below 4 GiB, from address 0
   * @param above4G bytes of RAM above 4 GiB
   */
  setMemorySize(below4G: number, above4G: number): void {
    const clamp16 = (n: number) => Math.min(0xffff, Math.max(0, Math.floor(n)));
    const extendedKib = clamp16((below4G - 0x100000) / 1024);
    const above16M = clamp16((below4G - 0x1000000) / 0x10000);
    this.#setWord(CMOS_BASE_MEMORY, BASE_MEMORY_KIB);
    this.#setWord(CMOS_EXTENDED_MEMORY, extendedKib);
    this.#setWord(CMOS_EXTENDED_MEMORY_POST, extendedKib);
    this.#setWord(CMOS_MEMORY_ABOVE_16M, above16M);
    const high = Math.min(0xffffff, Math.floor(above4G / 0x10000));
    this.#setWord(CMOS_MEMORY_ABOVE_4G, high & 0xffff);
    this.setByte(CMOS_MEMORY_ABOVE_4G + 2, high >> 16);
  }

  #setWord(index: number, value: number): void {
    this.setByte(index, value & 0xff);
    this.setByte(index + 1, value >> 8);
  }

  protected override readByte(port: number): number {
    // The index port is write only.
    if (port !== this.#options.base + 1) return 0xff;
    const index = this.#index;
    if (index === REG.a) return this.#cmos[REG.a]! | (this.#isUpdating() ? A_UPDATE_IN_PROGRESS : 0);
    if (index === REG.c) return this.#readC();
    if (TIME_REGISTERS.includes(index) && !this.#isHalted()) return this.#timeByte(index, this.#now());
    return this.#cmos[index]!;
  }

  protected override writeByte(port: number, value: number): void {
    if (port === this.#options.base) this.#index = value & INDEX_MASK;
    else if (port === this.#options.base + 1) this.#writeRegister(this.#index, value);
  }

  #writeRegister(index: number, value: number): void {
    if (index === REG.c || index === REG.d) return;
    if (index === REG.a || index === REG.b) {
      this.#writeControl(index, value);
      return;
    }
    if (!TIME_REGISTERS.includes(index) || this.#isHalted()) {
      this.#cmos[index] = value;
      return;
    }
    // A time byte while the clock runs: the others are what they are now.
    this.#latchTime();
    this.#cmos[index] = value;
    this.#startFromRegisters(this.#guestMs() % MS_PER_SECOND);
    this.#scheduleUpdate();
  }

  /** A and B together say whether the clock runs and which interrupts it gives. */
  #writeControl(index: number, value: number): void {
    const wasHalted = this.#isHalted();
    const wasHeld = this.#isDividerHeld();
    if (!wasHalted) this.#latchTime();
    const oldRate = this.#cmos[REG.a]! & A_RATE;
    const oldB = this.#cmos[REG.b]!;
    this.#cmos[index] = index === REG.a ? value & ~A_UPDATE_IN_PROGRESS : value;
    // SET clears the update interrupt enable (datasheet, register B).
    if (this.#cmos[REG.b]! & B_SET) this.#cmos[REG.b]! &= ~B_UPDATE;
    const isHalted = this.#isHalted();
    if (wasHalted && !isHalted) {
      this.#startFromRegisters(wasHeld ? MS_PER_SECOND - DIVIDER_RELEASE_MS : 0);
    }
    if ((this.#cmos[REG.a]! & A_RATE) !== oldRate || ((oldB ^ this.#cmos[REG.b]!) & B_PERIODIC) !== 0) {
      this.#startPeriodic();
    }
    this.#scheduleUpdate();
    this.#updateIrq();
  }

  // Time.

  #isDividerHeld(): boolean {
    return (this.#cmos[REG.a]! & A_DIVIDER_HOLD) === A_DIVIDER_HOLD;
  }

  /** Whether the registers stand still and hold the time. */
  #isHalted(): boolean {
    return (this.#cmos[REG.b]! & B_SET) !== 0 || this.#isDividerHeld();
  }

  #guestMs(): number {
    const ms = this.#options.wallMs() + this.#offsetMs;
    return Number.isFinite(ms) ? Math.min(LATEST_MS, Math.max(-LATEST_MS, ms)) : 0;
  }

  #guestSecond(): number {
    return Math.floor(this.#guestMs() / MS_PER_SECOND);
  }

  #isUpdating(): boolean {
    if (this.#isHalted()) return false;
    const phase = this.#guestMs() % MS_PER_SECOND;
    return (phase < 0 ? phase + MS_PER_SECOND : phase) >= MS_PER_SECOND - UPDATE_WARNING_MS;
  }

  #now(): Fields {
    const date = new Date(Math.floor(this.#guestMs() / MS_PER_SECOND) * MS_PER_SECOND);
    return {
      seconds: date.getUTCSeconds(),
      minutes: date.getUTCMinutes(),
      hours: date.getUTCHours(),
      weekday: date.getUTCDay() + 1,
      day: date.getUTCDate(),
      month: date.getUTCMonth() + 1,
      year: date.getUTCFullYear(),
    };
  }

  #timeByte(index: number, fields: Fields): number {
    switch (index) {
      case REG.seconds:
        return this.#encode(fields.seconds);
      case REG.minutes:
        return this.#encode(fields.minutes);
      case REG.hours:
        return this.#encodeHours(fields.hours);
      case REG.weekday:
        return this.#encode(fields.weekday);
      case REG.day:
        return this.#encode(fields.day);
      case REG.month:
        return this.#encode(fields.month);
      case REG.year:
        return this.#encode(modulo(fields.year, 100));
      default:
        // The century is BCD in both modes, as firmware and ACPI have it.
        return toBcd(modulo(Math.floor(fields.year / 100), 100));
    }
  }

  #latchTime(): void {
    const fields = this.#now();
    for (const index of TIME_REGISTERS) this.#cmos[index] = this.#timeByte(index, fields);
  }

  /** Makes guest time what the registers say, `phaseMs` into the second. Impossible dates roll over. */
  #startFromRegisters(phaseMs: number): void {
    const at = (index: number) => this.#decode(this.#cmos[index]!);
    const year = fromBcd(this.#cmos[REG.century]!) * 100 + at(REG.year);
    const date = new Date(0);
    date.setUTCFullYear(year, at(REG.month) - 1, at(REG.day));
    date.setUTCHours(this.#decodeHours(this.#cmos[REG.hours]!), at(REG.minutes), at(REG.seconds));
    this.#offsetMs = date.getTime() + phaseMs - this.#options.wallMs();
    this.#lastSecond = this.#guestSecond();
  }

  #encode(value: number): number {
    return this.#cmos[REG.b]! & B_BINARY ? value : toBcd(value);
  }

  #decode(value: number): number {
    return this.#cmos[REG.b]! & B_BINARY ? value : fromBcd(value);
  }

  #encodeHours(hours: number): number {
    if (this.#cmos[REG.b]! & B_24_HOURS) return this.#encode(hours);
    return this.#encode(hours % 12 === 0 ? 12 : hours % 12) | (hours >= 12 ? HOUR_PM : 0);
  }

  #decodeHours(value: number): number {
    if (this.#cmos[REG.b]! & B_24_HOURS) return this.#decode(value);
    return (this.#decode(value & ~HOUR_PM) % 12) + (value & HOUR_PM ? 12 : 0);
  }

  // Interrupts.

  #readC(): number {
    this.#catchUp();
    const value = this.#cmos[REG.c]!;
    this.#cmos[REG.c] = 0;
    this.#scheduleUpdate();
    this.#updateIrq();
    return value;
  }

  /** Flags whatever update cycles have passed: they raise flags also when their interrupt is off. */
  #catchUp(): void {
    if (this.#isHalted()) return;
    const second = this.#guestSecond();
    if (second === this.#lastSecond) return;
    const isAlarm = this.#matchesAlarmBetween(this.#lastSecond + 1, second);
    this.#lastSecond = second;
    this.#cmos[REG.c]! |= B_UPDATE | (isAlarm ? B_ALARM : 0);
  }

  /** Whether the alarm matches one of the seconds `first` to `last`, of which at most a day's is looked at. */
  #matchesAlarmBetween(first: number, last: number): boolean {
    const SECONDS_PER_DAY = 86400;
    const alarm = [REG.secondsAlarm, REG.minutesAlarm, REG.hoursAlarm].map((index) => this.#cmos[index]!);
    const [s, m, h] = alarm as [number, number, number];
    const wantedSecond = s >= ALARM_ANY ? -1 : this.#decode(s);
    const wantedMinute = m >= ALARM_ANY ? -1 : this.#decode(m);
    const wantedHour = h >= ALARM_ANY ? -1 : this.#decodeHours(h);
    for (let t = Math.max(first, last - SECONDS_PER_DAY + 1); t <= last; t++) {
      const inDay = modulo(t, SECONDS_PER_DAY);
      if (wantedSecond !== -1 && inDay % 60 !== wantedSecond) continue;
      if (wantedMinute !== -1 && Math.floor(inDay / 60) % 60 !== wantedMinute) continue;
      if (wantedHour !== -1 && Math.floor(inDay / 3600) !== wantedHour) continue;
      return true;
    }
    return false;
  }

  /** Waits for the next update cycle, but only while one could interrupt. */
  #scheduleUpdate(): void {
    this.#cancelUpdate();
    this.#updateDeadline = undefined;
    if (!(this.#cmos[REG.b]! & (B_UPDATE | B_ALARM)) || this.#isHalted()) return;
    const toNext = (this.#lastSecond + 1) * MS_PER_SECOND - this.#guestMs();
    const wait = BigInt(Math.ceil(Math.min(MS_PER_SECOND, Math.max(0, toNext)) * NS_PER_MS));
    this.#waitForUpdate(this.#options.clock.now() + (wait > LEAST_WAIT_NS ? wait : LEAST_WAIT_NS));
  }

  #waitForUpdate(deadline: bigint): void {
    this.#updateDeadline = deadline;
    this.#cancelUpdate = this.#options.clock.at(deadline, () => {
      this.#catchUp();
      this.#updateIrq();
      this.#scheduleUpdate();
    });
  }

  /** Length of the periodic interrupt's period in ns, undefined when it is off. Rates 1 and 2 are as 8 and 9. */
  #period(): bigint | undefined {
    const rate = this.#cmos[REG.a]! & A_RATE;
    if (rate === 0 || !(this.#cmos[REG.b]! & B_PERIODIC) || this.#isDividerHeld()) return undefined;
    const shift = rate <= 2 ? rate + 6 : rate - 1;
    return (NS_PER_SECOND << BigInt(shift)) / OSCILLATOR_HZ;
  }

  #startPeriodic(): void {
    this.#cancelPeriodic();
    this.#periodicDeadline = undefined;
    const period = this.#period();
    if (period !== undefined) this.#waitForPeriod(this.#options.clock.now() + period);
  }

  #waitForPeriod(deadline: bigint): void {
    this.#periodicDeadline = deadline;
    this.#cancelPeriodic = this.#options.clock.at(deadline, () => {
      this.#periodicDeadline = undefined;
      const period = this.#period();
      if (period === undefined) return;
      this.#cmos[REG.c]! |= B_PERIODIC;
      this.#updateIrq();
      const now = this.#options.clock.now();
      const missed = (now - deadline) / period;
      this.#waitForPeriod(deadline + (missed + 1n) * period);
    });
  }

  /** C[7] and the line: a source that is flagged and enabled. */
  #updateIrq(): void {
    const c = this.#cmos[REG.c]! & ~C_REQUEST;
    const isRequested = (c & this.#cmos[REG.b]! & C_SOURCES) !== 0;
    this.#cmos[REG.c] = c | (isRequested ? C_REQUEST : 0);
    this.#options.irq.set(isRequested);
  }

  state(): DeviceState {
    return {
      cmos: [...this.#cmos],
      index: this.#index,
      offsetMs: this.#offsetMs,
      lastSecond: this.#lastSecond,
      updateDeadline: this.#updateDeadline?.toString() ?? null,
      periodicDeadline: this.#periodicDeadline?.toString() ?? null,
    };
  }

  restore(state: DeviceState): void {
    this.#cmos.set(stateNumbers(state, 'cmos', CMOS_SIZE));
    this.#index = stateNumber(state, 'index', INDEX_MASK);
    this.#offsetMs = stateFinite(state, 'offsetMs');
    this.#lastSecond = stateFinite(state, 'lastSecond');
    this.#cancelUpdate();
    this.#cancelPeriodic();
    this.#updateDeadline = stateOptionalBigint(state, 'updateDeadline');
    this.#periodicDeadline = stateOptionalBigint(state, 'periodicDeadline');
    if (this.#updateDeadline !== undefined) this.#waitForUpdate(this.#updateDeadline);
    if (this.#periodicDeadline !== undefined) this.#waitForPeriod(this.#periodicDeadline);
    this.#updateIrq();
  }
}

function modulo(a: number, n: number): number {
  return ((a % n) + n) % n;
}

function toBcd(value: number): number {
  return (Math.floor(value / 10) << 4) | (value % 10);
}

/** Digits above 9 count as what they are worth. */
function fromBcd(value: number): number {
  return (value >> 4) * 10 + (value & 0xf);
}
