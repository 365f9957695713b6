// The power management registers as ACPI describes them and as Linux's ACPICA uses them.
import { describe, expect, it } from 'vitest';
import { AcpiPm, PM_TIMER_HZ } from '../../src/devices/acpi-pm.ts';
import { ManualClock } from '../../src/devices/clock.ts';
import { type Bench, checkAnyAccess, checkRefusesBrokenState, portAccess } from './any-access.ts';

const STATUS = 0x600;
const ENABLE = 0x602;
const CONTROL = 0x604;
const TIMER = 0x608;
const GPE_STATUS = 0x620;
const GPE_ENABLE = 0x622;
const BASES = { eventBase: STATUS, controlBase: CONTROL, timerBase: TIMER, gpeBase: GPE_STATUS };
const SECOND = 1_000_000_000n;
/** Nanoseconds after which bit 23 has changed for the first time, rounded up. */
const HALF_PERIOD = ((1n << 23n) * SECOND) / BigInt(PM_TIMER_HZ) + 1n;

class Rig {
  sci = false;
  powerOffs = 0;
  readonly clock = new ManualClock();
  readonly pm = new AcpiPm({
    ...BASES,
    clock: this.clock,
    sci: {
      set: (level) => {
        this.sci = level;
      },
    },
    onPowerOff: () => {
      this.powerOffs++;
    },
  });
}

describe('PM timer', () => {
  it('counts 3579545 ticks in a second and has 24 bits', () => {
    const { clock, pm } = new Rig();
    clock.advance(SECOND);
    expect(pm.read(TIMER, 4)).toBe(PM_TIMER_HZ);
    clock.advance(9n * SECOND);
    expect(pm.read(TIMER, 4)).toBe((10 * PM_TIMER_HZ) % 2 ** 24);
    expect(pm.read(TIMER + 2, 1)).toBe(((10 * PM_TIMER_HZ) >> 16) & 0xff);
  });

  it('cannot be written', () => {
    const { clock, pm } = new Rig();
    clock.advance(SECOND);
    pm.write(TIMER, 4, 0);
    expect(pm.read(TIMER, 4)).toBe(PM_TIMER_HZ);
  });

  it('sets TMR_STS whenever bit 23 changes, and interrupts if enabled', () => {
    const { clock, pm } = new Rig();
    clock.advance(HALF_PERIOD - 2n);
    expect(pm.read(STATUS, 2)).toBe(0);
    clock.advance(2n);
    expect(pm.read(STATUS, 2)).toBe(1);
    pm.write(STATUS, 2, 1);
    expect(pm.read(STATUS, 2)).toBe(0);
  });

  it('interrupts with TMR_EN at the change, and again after TMR_STS was cleared', () => {
    const rig = new Rig();
    rig.pm.write(ENABLE, 2, 1);
    for (let i = 0; i < 3; i++) {
      rig.clock.advance(HALF_PERIOD);
      expect(rig.sci).toBe(true);
      rig.pm.write(STATUS, 2, 1);
      expect(rig.sci).toBe(false);
    }
  });
});

describe('PM1 control', () => {
  it('is always in ACPI mode', () => {
    const { pm } = new Rig();
    expect(pm.read(CONTROL, 2)).toBe(1);
    pm.write(CONTROL, 2, 0);
    expect(pm.read(CONTROL, 2)).toBe(1);
  });

  it('powers off for SLP_TYP 5 with SLP_EN, as ACPICA writes them: type first, then both', () => {
    const rig = new Rig();
    rig.pm.write(CONTROL, 2, (5 << 10) | 1);
    expect(rig.powerOffs).toBe(0);
    expect(rig.pm.read(CONTROL, 2)).toBe((5 << 10) | 1);
    rig.pm.write(CONTROL, 2, (1 << 13) | (5 << 10) | 1);
    expect(rig.powerOffs).toBe(1);
    expect(rig.pm.read(CONTROL, 2)).toBe((5 << 10) | 1);
  });

  it('powers off for a byte written to the high half', () => {
    const rig = new Rig();
    rig.pm.write(CONTROL + 1, 1, 0x34);
    expect(rig.powerOffs).toBe(1);
  });

  it('does nothing for the other sleep types', () => {
    const rig = new Rig();
    for (const type of [0, 1, 2, 3, 4, 6, 7]) rig.pm.write(CONTROL, 2, (1 << 13) | (type << 10));
    expect(rig.powerOffs).toBe(0);
  });
});

describe('power button', () => {
  it('sets its status and interrupts only while enabled', () => {
    const rig = new Rig();
    rig.pm.pressPowerButton();
    expect(rig.pm.read(STATUS, 2)).toBe(0x100);
    expect(rig.sci).toBe(false);
    rig.pm.write(ENABLE, 2, 0x100);
    expect(rig.sci).toBe(true);
    rig.pm.write(STATUS, 2, 0x100);
    expect(rig.sci).toBe(false);
    expect(rig.pm.read(STATUS, 2)).toBe(0);
    expect(rig.pm.read(STATUS, 4)).toBe(0x1000000);
  });

  it('keeps the enable bits that ACPI defines', () => {
    const { pm } = new Rig();
    pm.write(ENABLE, 2, 0xffff);
    expect(pm.read(ENABLE, 2)).toBe(0x0721);
  });
});

describe('general-purpose events', () => {
  it('interrupt while status and enable meet', () => {
    const rig = new Rig();
    rig.pm.write(GPE_ENABLE, 2, 0x8002);
    rig.pm.raiseGpe(0);
    expect(rig.sci).toBe(false);
    rig.pm.raiseGpe(15);
    expect(rig.sci).toBe(true);
    expect(rig.pm.read(GPE_STATUS, 4)).toBe(0x80028001);
    rig.pm.write(GPE_STATUS + 1, 1, 0x80);
    expect(rig.sci).toBe(false);
    expect(rig.pm.read(GPE_STATUS, 2)).toBe(1);
  });

  it('are sixteen', () => {
    const rig = new Rig();
    rig.pm.raiseGpe(16);
    rig.pm.raiseGpe(-1);
    expect(rig.pm.read(GPE_STATUS, 2)).toBe(0);
  });
});

function bench(): Bench {
  const log: string[] = [];
  const clock = new ManualClock();
  const device = new AcpiPm({
    ...BASES,
    clock,
    sci: { set: (level) => log.push(`sci ${level}`) },
    onPowerOff: () => log.push('off'),
  });
  const pokes = [
    () => device.pressPowerButton(),
    (n: number) => device.raiseGpe(n),
    (n: number) => clock.advance(BigInt(n) * 40_000_000n),
  ];
  return { clock, device, log, ...portAccess(device), pokes };
}

it('bears any access and goes through a snapshot', () => checkAnyAccess(bench));
it('refuses a broken snapshot', () => checkRefusesBrokenState(bench));
