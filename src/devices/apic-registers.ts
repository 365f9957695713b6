/**
 * Registers of the local APIC and the layouts of their bits (SDM vol.3 chapter 11).
 */

/** Register numbers: page offset / 16, MSR - 0x800 (table 11-6). */
export const REG = {
  id: 0x02,
  version: 0x03,
  tpr: 0x08,
  apr: 0x09,
  ppr: 0x0a,
  eoi: 0x0b,
  remoteRead: 0x0c,
  ldr: 0x0d,
  dfr: 0x0e,
  svr: 0x0f,
  isr: 0x10,
  tmr: 0x18,
  irr: 0x20,
  esr: 0x28,
  icr: 0x30,
  icrHigh: 0x31,
  lvtTimer: 0x32,
  lvtThermal: 0x33,
  lvtPerformance: 0x34,
  lvtLint0: 0x35,
  lvtLint1: 0x36,
  lvtError: 0x37,
  initialCount: 0x38,
  currentCount: 0x39,
  divide: 0x3e,
  selfIpi: 0x3f,
} as const;

/** Version: [23:16] highest LVT entry, [7:0] 0x14 integrated APIC. No EOI-broadcast suppression, no CMCI. */
export const LVT_ENTRIES = 6;
export const VERSION = ((LVT_ENTRIES - 1) << 16) | 0x14;

/** SVR: [7:0] vector, [8] enabled by software, [9] no focus checking. */
export const SVR_ENABLED = 1 << 8;
export const SVR_MASK = 0x3ff;

/** LVT: [7:0] vector, [10:8] delivery, [12] status, [13] polarity, [14] remote IRR, [15] level, [16] mask, [18:17] timer mode. */
export const LVT_DELIVERY_SHIFT = 8;
export const LVT_REMOTE_IRR = 1 << 14;
export const LVT_LEVEL = 1 << 15;
export const LVT_MASKED = 1 << 16;
export const LVT_TIMER_MODE_SHIFT = 17;
/** Writable bits by entry, from the timer on. */
export const LVT_WRITABLE = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff] as const;

/** ICR: [7:0] vector, [10:8] delivery, [11] logical, [12] status, [14] assert, [15] level, [19:18] shorthand. */
export const ICR_DELIVERY_SHIFT = 8;
export const ICR_LOGICAL = 1 << 11;
export const ICR_ASSERT = 1 << 14;
export const ICR_LEVEL = 1 << 15;
export const ICR_SHORTHAND_SHIFT = 18;
export const ICR_WRITABLE = 0xccfff;
export const ICR_X2APIC_RESERVED = 0xfff32000n;
export const ICR_DESTINATION_SHIFT = 24;

/** ESR: [5] illegal vector sent, [6] received, [7] illegal register. */
export const ERROR_SEND_VECTOR = 1 << 5;
export const ERROR_RECEIVE_VECTOR = 1 << 6;
export const ERROR_REGISTER = 1 << 7;
/** Vectors 0-15 are illegal in fixed interrupts (11.5.2). */
export const FIRST_VECTOR = 16;

export const DFR_FIXED = 0x0fffffff;
export const DFR_FLAT = 0xf;
