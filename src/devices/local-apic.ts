/**
 * The local APIC of one vCPU: xAPIC by memory page, x2APIC by MSRs (SDM vol.3 chapter 11). Interrupts of
 * the 8259 pair pass through its LINT0. Its page is at 0xfee00000; a guest that moves it reads the new
 * base back, but the page stays.
 */
import { type ApicBus, type ApicMessage, type ApicTarget, DELIVERY, DESTINATION_ALL } from './apic-bus.ts';
import { ApicLvt } from './apic-lvt.ts';
import {
  DFR_FIXED,
  DFR_FLAT,
  ERROR_RECEIVE_VECTOR,
  ERROR_REGISTER,
  ERROR_SEND_VECTOR,
  FIRST_VECTOR,
  ICR_ASSERT,
  ICR_DELIVERY_SHIFT,
  ICR_DESTINATION_SHIFT,
  ICR_LEVEL,
  ICR_LOGICAL,
  ICR_SHORTHAND_SHIFT,
  ICR_WRITABLE,
  ICR_X2APIC_RESERVED,
  LVT_TIMER_MODE_SHIFT,
  REG,
  SVR_ENABLED,
  SVR_MASK,
  VERSION,
} from './apic-registers.ts';
import { ApicTimer } from './apic-timer.ts';
import { extractLanes } from './byte-lanes.ts';
import type { AccessWidth, Clock, DeviceState, InterruptSource, MmioDevice, Snapshottable } from './device.ts';
import { stateBigint, stateBoolean, stateChild, stateNumber, stateNumbers } from './state.ts';
import { VectorSet } from './vector-set.ts';

/** MSRs that the APIC answers besides 0x800-0x8ff. */
export const MSR_APIC_BASE = 0x1b;
export const MSR_TSC_DEADLINE = 0x6e0;
export const MSR_X2APIC_FIRST = 0x800;
export const MSR_X2APIC_LAST = 0x8ff;

/** IA32_APIC_BASE: [8] bootstrap processor, [10] x2APIC mode, [11] enabled, [51:12] base. */
const BASE_BSP = 1n << 8n;
const BASE_X2APIC = 1n << 10n;
const BASE_ENABLED = 1n << 11n;
const BASE_ADDRESS = 0xf_ffff_ffff_f000n;
const BASE_MODE = BASE_X2APIC | BASE_ENABLED;

const PAGE_BASE = 0xfee00000;
const PAGE_SIZE = 0x1000;

/** What a local APIC is wired to. */
export interface LocalApicOptions {
  /** Initial APIC ID. */
  readonly id: number;
  readonly isBootstrap: boolean;
  /** The bus; the APIC puts itself on it. */
  readonly bus: ApicBus;
  readonly clock: Clock;
  readonly tsc: () => bigint;
  readonly tscHz: number;
  /** The 8259 pair, for the processor that LINT0 connects to it. Call `setLint(0, …)` with its output. */
  readonly pic?: InterruptSource;
  /** LINT0 starts as ExtINT, not masked, as firmware leaves it in virtual wire mode. */
  readonly virtualWire?: boolean;
  /** `pending` has changed. */
  readonly onChange: () => void;
  /** EOI of a level-triggered vector, for the I/O APIC. */
  readonly onEoi: (vector: number) => void;
  readonly onNmi: () => void;
  /** INIT: the vCPU is to be reset and to wait for start-up. The APIC has reset itself. */
  readonly onInit: () => void;
  /** Start-up: the vCPU, if it waits, begins at `vector << 12`. */
  readonly onStartUp: (vector: number) => void;
  readonly onSmi?: () => void;
}

/** A local APIC. */
export class LocalApic implements MmioDevice, InterruptSource, ApicTarget, Snapshottable {
  readonly base = PAGE_BASE;
  readonly size = PAGE_SIZE;
  readonly #options: LocalApicOptions;
  readonly #timer: ApicTimer;
  readonly #isr = new VectorSet();
  readonly #tmr = new VectorSet();
  readonly #irr = new VectorSet();
  readonly #lvt: ApicLvt;
  #apicBase: bigint;
  #tpr = 0;
  #ppr = 0;
  #ldr = 0;
  #dfr = 0xffffffff;
  #svr = 0xff;
  #esr = 0;
  /** Errors since the last write to ESR, which shows them. */
  #newErrors = 0;
  #icr = 0;
  #icrHigh = 0;
  /** An ExtINT message from the I/O APIC waits for the 8259's vector. */
  #extIntRequested = false;
  /** The vector to deliver next, -1 when priorities hold all back. */
  #deliverable = -1;
  #pending = false;

  constructor(options: LocalApicOptions) {
    this.#options = options;
    const { clock, tsc, tscHz } = options;
    this.#timer = new ApicTimer({ clock, tsc, tscHz, onExpire: () => this.#lvt.raise(REG.lvtTimer) });
    this.#lvt = new ApicLvt({
      acceptFixed: (vector, isLevel) => this.#acceptFixed(vector, isLevel),
      onNmi: () => options.onNmi(),
      onSmi: () => options.onSmi?.(),
      onInit: () => this.#init(),
    });
    this.#apicBase = BigInt(PAGE_BASE) | BASE_ENABLED | (options.isBootstrap ? BASE_BSP : 0n);
    if (options.virtualWire === true) this.#lvt.connectPic();
    options.bus.add(this);
  }

  /** The guest set the time-stamp counter that `tsc` reads. */
  tscWritten(): void {
    this.#timer.tscWritten();
  }

  get id(): number {
    return this.#options.id;
  }

  get isX2Apic(): boolean {
    return (this.#apicBase & BASE_X2APIC) !== 0n;
  }

  get #isHardwareEnabled(): boolean {
    return (this.#apicBase & BASE_ENABLED) !== 0n;
  }

  get isEnabled(): boolean {
    return (this.#svr & SVR_ENABLED) !== 0 && this.#isHardwareEnabled;
  }

  get processorPriority(): number {
    return this.#ppr;
  }

  // What the vCPU asks.

  get pending(): boolean {
    return this.#pending;
  }

  /** Interrupt acknowledge. An interrupt of the 8259 goes first. Gives the spurious vector when none is pending. */
  acknowledge(): number {
    const { pic } = this.#options;
    if (pic !== undefined && this.#isPicPending()) {
      this.#extIntRequested = false;
      const vector = pic.acknowledge();
      this.#update();
      return vector;
    }
    const vector = this.#deliverable;
    if (vector === -1) return this.#svr & 0xff;
    this.#irr.delete(vector);
    this.#isr.add(vector);
    this.#update();
    return vector;
  }

  /** CR8: bits [7:4] of the TPR (11.8.6). */
  get cr8(): number {
    return this.#tpr >> 4;
  }

  set cr8(value: number) {
    this.#writeTpr((value & 0xf) << 4);
  }

  /** RDMSR. Returns undefined for #GP. */
  readMsr(index: number): bigint | undefined {
    if (index === MSR_APIC_BASE) return this.#apicBase;
    if (index === MSR_TSC_DEADLINE) return this.#timer.tscDeadline;
    if (!this.isX2Apic || index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST) return undefined;
    const register = index - MSR_X2APIC_FIRST;
    if (register === REG.icr) return (BigInt(this.#icrHigh) << 32n) | BigInt(this.#icr);
    if (register === REG.eoi || register === REG.selfIpi || isXApicOnly(register)) return undefined;
    const value = this.#readRegister(register);
    return value === undefined ? undefined : BigInt(value);
  }

  /** WRMSR of a 64-bit value. Returns false for #GP. */
  writeMsr(index: number, value: bigint): boolean {
    if (index === MSR_TSC_DEADLINE) {
      this.#timer.setTscDeadline(value);
      return true;
    }
    if (index === MSR_APIC_BASE) return this.#writeApicBase(value);
    if (!this.isX2Apic || index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST) return false;
    const register = index - MSR_X2APIC_FIRST;
    if (register === REG.icr) return this.#writeX2Icr(value);
    if (value > 0xffffffffn || isXApicOnly(register)) return false;
    const low = Number(value);
    switch (register) {
      case REG.id:
      case REG.ldr:
        return false;
      case REG.eoi:
      case REG.esr:
        if (low !== 0) return false;
        break;
      case REG.tpr:
        if (low > 0xff) return false;
        break;
      case REG.selfIpi:
        if (low > 0xff) return false;
        this.#sendIpi((1 << ICR_SHORTHAND_SHIFT) | ICR_ASSERT | low, this.id);
        return true;
    }
    return this.#writeRegister(register, low);
  }

  /** IA32_APIC_BASE: from disabled only to xAPIC, from x2APIC only to disabled (11.12.5). */
  #writeApicBase(value: bigint): boolean {
    if (value & ~(BASE_ADDRESS | BASE_MODE | BASE_BSP)) return false;
    const from = this.#apicBase & BASE_MODE;
    const to = value & BASE_MODE;
    if (to === BASE_X2APIC) return false;
    if (from === 0n && to === BASE_MODE) return false;
    if (from === BASE_MODE && to === BASE_ENABLED) return false;
    this.#apicBase = value;
    if (to === 0n && from !== 0n) this.#reset();
    if (to === BASE_MODE && from !== to) {
      // Logical x2APIC ID (11.12.10.2): cluster in the high half, a bit of 16 in the low one.
      this.#ldr = (((this.id >>> 4) << 16) | (1 << (this.id & 0xf))) >>> 0;
      this.#icrHigh = 0;
    }
    this.#update();
    return true;
  }

  // The page.

  mmioRead(offset: number, width: AccessWidth): number {
    if (!this.#isHardwareEnabled || this.isX2Apic) return extractLanes(0xffffffff, 0, width);
    if ((offset & 0xf) + width > 4) return 0;
    const register = (offset >> 4) & 0xff;
    let value = this.#readRegister(register);
    if (value === undefined || register === REG.selfIpi) {
      this.#error(ERROR_REGISTER);
      value = 0;
    }
    return extractLanes(value, offset, width);
  }

  /** Only aligned dwords are accesses that the APIC defines (11.4.1); others do nothing. */
  mmioWrite(offset: number, width: AccessWidth, value: number): void {
    if (!this.#isHardwareEnabled || this.isX2Apic || width !== 4 || (offset & 0xf) !== 0) return;
    const register = (offset >> 4) & 0xff;
    switch (register) {
      case REG.icr:
        this.#icr = value & ICR_WRITABLE;
        this.#sendIpi(this.#icr, widenDestination(this.#icrHigh >>> ICR_DESTINATION_SHIFT, value));
        return;
      case REG.icrHigh:
        this.#icrHigh = (value & 0xff000000) >>> 0;
        return;
      case REG.ldr:
        this.#ldr = (value & 0xff000000) >>> 0;
        return;
      case REG.dfr:
        this.#dfr = (value | DFR_FIXED) >>> 0;
        return;
      case REG.id:
        return;
    }
    if (!this.#writeRegister(register, value)) this.#error(ERROR_REGISTER);
  }

  /** Registers that page and MSRs share. Returns undefined for one that does not exist. */
  #readRegister(register: number): number | undefined {
    if (register >= REG.isr && register < REG.esr) return this.#readVectors(register);
    if (register >= REG.lvtTimer && register <= REG.lvtError) return this.#lvt.read(register);
    switch (register) {
      case REG.id:
        return this.isX2Apic ? this.id : (this.id << 24) >>> 0;
      case REG.version:
        return VERSION;
      case REG.tpr:
        return this.#tpr;
      case REG.ppr:
        return this.#ppr;
      case REG.apr:
      case REG.eoi:
      case REG.remoteRead:
        return 0;
      case REG.ldr:
        return this.#ldr;
      case REG.dfr:
        return this.#dfr;
      case REG.svr:
        return this.#svr;
      case REG.esr:
        return this.#esr;
      case REG.icr:
        return this.#icr;
      case REG.icrHigh:
        return this.#icrHigh;
      case REG.initialCount:
        return this.#timer.initialCount;
      case REG.currentCount:
        return this.#timer.currentCount;
      case REG.divide:
        return this.#timer.divide;
      default:
        return undefined;
    }
  }

  #readVectors(register: number): number {
    const set = register >= REG.irr ? this.#irr : register >= REG.tmr ? this.#tmr : this.#isr;
    return set.word(register & 7);
  }

  /** Returns false for a register that does not exist or cannot be written. */
  #writeRegister(register: number, value: number): boolean {
    switch (register) {
      case REG.eoi:
        this.#endOfInterrupt();
        return true;
      case REG.tpr:
        this.#writeTpr(value & 0xff);
        return true;
      case REG.initialCount:
        this.#timer.setInitialCount(value);
        return true;
      case REG.divide:
        this.#timer.setDivide(value);
        return true;
      case REG.svr:
        this.#writeSvr(value & SVR_MASK);
        return true;
      case REG.esr:
        this.#esr = this.#newErrors;
        this.#newErrors = 0;
        return true;
    }
    if (register < REG.lvtTimer || register > REG.lvtError) return false;
    const entry = this.#lvt.write(register, value, (this.#svr & SVR_ENABLED) !== 0);
    if (register === REG.lvtTimer) this.#timer.setMode(entry >> LVT_TIMER_MODE_SHIFT);
    this.#update();
    return true;
  }

  #writeTpr(value: number): void {
    this.#tpr = value;
    this.#update();
  }

  #endOfInterrupt(): void {
    const vector = this.#isr.highest;
    if (vector === -1) return;
    this.#isr.delete(vector);
    this.#update();
    if (this.#tmr.has(vector)) {
      this.#options.onEoi(vector);
      this.#lvt.endOfInterrupt(vector);
    }
  }

  #writeSvr(value: number): void {
    this.#svr = value;
    if (!(value & SVR_ENABLED)) this.#lvt.maskAll();
    this.#update();
  }

  // Sources next to the processor.

  /** Level of the pin LINT0 or LINT1. The 8259 pair's output goes to LINT0. */
  setLint(pin: 0 | 1, level: boolean): void {
    this.#lvt.setLint(pin, level);
    this.#update();
  }

  /** A performance counter overflowed. */
  raisePerformance(): void {
    this.#lvt.raise(REG.lvtPerformance);
  }

  /** The thermal sensor tripped. */
  raiseThermal(): void {
    this.#lvt.raise(REG.lvtThermal);
  }

  #error(bit: number): void {
    const isNew = !(this.#newErrors & bit);
    this.#newErrors |= bit;
    // The vector of the error entry may be illegal itself: an error is raised once until ESR is written.
    if (isNew) this.#lvt.raise(REG.lvtError);
  }

  // Messages.

  /** @param destination 32 bits, see `ApicMessage` */
  #sendIpi(icr: number, destination: number): void {
    const vector = icr & 0xff;
    const delivery = (icr >> ICR_DELIVERY_SHIFT) & 7;
    const isFixed = delivery === DELIVERY.fixed || delivery === DELIVERY.lowestPriority;
    if (isFixed && vector < FIRST_VECTOR) {
      this.#error(ERROR_SEND_VECTOR);
      return;
    }
    const isLevel = (icr & ICR_LEVEL) !== 0;
    this.#options.bus.sendIpi(this, (icr >> ICR_SHORTHAND_SHIFT) & 3, {
      vector,
      delivery,
      isLogical: (icr & ICR_LOGICAL) !== 0,
      destination,
      // Interprocessor interrupts are edges whatever the trigger bit says; it matters for INIT only.
      isLevel: isLevel && !isFixed,
      isAssert: !isLevel || (icr & ICR_ASSERT) !== 0,
    });
  }

  #writeX2Icr(value: bigint): boolean {
    if (value & ICR_X2APIC_RESERVED) return false;
    this.#icr = Number(value & BigInt(ICR_WRITABLE));
    this.#icrHigh = Number(value >> 32n);
    this.#sendIpi(this.#icr, this.#icrHigh);
    return true;
  }

  matches(destination: number, isLogical: boolean): boolean {
    if (destination === DESTINATION_ALL) return true;
    if (!isLogical) return destination === this.id;
    if (this.isX2Apic) {
      return destination >>> 16 === this.#ldr >>> 16 && (destination & this.#ldr & 0xffff) !== 0;
    }
    const own = this.#ldr >>> 24;
    if (this.#dfr >>> 28 === DFR_FLAT) return (destination & own) !== 0;
    const cluster = (destination >> 4) & 0xf;
    return (cluster === 0xf || cluster === own >> 4) && (destination & own & 0xf) !== 0;
  }

  accept(message: ApicMessage): boolean {
    if (!this.#isHardwareEnabled) return false;
    switch (message.delivery) {
      case DELIVERY.fixed:
      case DELIVERY.lowestPriority:
        return this.#acceptFixed(message.vector, message.isLevel);
      case DELIVERY.nmi:
        this.#options.onNmi();
        return true;
      case DELIVERY.smi:
        this.#options.onSmi?.();
        return true;
      case DELIVERY.init:
        if (message.isAssert) this.#init();
        return true;
      case DELIVERY.startUp:
        this.#options.onStartUp(message.vector);
        return true;
      case DELIVERY.extInt:
        this.#extIntRequested = true;
        this.#update();
        return true;
      default:
        return false;
    }
  }

  #acceptFixed(vector: number, isLevel: boolean): boolean {
    if (!this.isEnabled) return false;
    if (vector < FIRST_VECTOR) {
      this.#error(ERROR_RECEIVE_VECTOR);
      return false;
    }
    this.#irr.add(vector);
    if (isLevel) this.#tmr.add(vector);
    else this.#tmr.delete(vector);
    this.#update();
    return true;
  }

  #init(): void {
    this.#reset();
    this.#update();
    this.#options.onInit();
  }

  /** Power-on and INIT state; the ID and IA32_APIC_BASE stay (11.4.7.3). */
  #reset(): void {
    this.#isr.clear();
    this.#tmr.clear();
    this.#irr.clear();
    this.#lvt.reset();
    this.#timer.reset();
    this.#tpr = 0;
    if (!this.isX2Apic) this.#ldr = 0;
    this.#dfr = 0xffffffff;
    this.#svr = 0xff;
    this.#esr = 0;
    this.#newErrors = 0;
    this.#icr = 0;
    this.#icrHigh = 0;
    this.#extIntRequested = false;
  }

  // Priorities.

  /** Whether the 8259 pair has an interrupt that reaches the processor: directly if the APIC is disabled. */
  #isPicPending(): boolean {
    if (this.#options.pic?.pending !== true) return false;
    return !this.#isHardwareEnabled || this.#extIntRequested || this.#lvt.isPicConnected;
  }

  /** Recomputes PPR (11.8.3.1) and what is pending. */
  #update(): void {
    const inService = Math.max(0, this.#isr.highest);
    this.#ppr = this.#tpr >> 4 >= inService >> 4 ? this.#tpr : inService & 0xf0;
    const requested = this.#irr.highest;
    this.#deliverable = requested >> 4 > this.#ppr >> 4 && this.isEnabled ? requested : -1;
    const pending = this.#deliverable !== -1 || this.#isPicPending();
    if (pending === this.#pending) return;
    this.#pending = pending;
    this.#options.onChange();
  }

  state(): DeviceState {
    return {
      apicBase: this.#apicBase.toString(),
      timer: this.#timer.state(),
      isr: this.#isr.words(),
      tmr: this.#tmr.words(),
      irr: this.#irr.words(),
      lvt: this.#lvt.state(),
      tpr: this.#tpr,
      ldr: this.#ldr,
      dfr: this.#dfr,
      svr: this.#svr,
      esr: this.#esr,
      newErrors: this.#newErrors,
      icr: this.#icr,
      icrHigh: this.#icrHigh,
      extIntRequested: this.#extIntRequested,
    };
  }

  /** The 8259 pair must be restored before. */
  restore(state: DeviceState): void {
    this.#apicBase = stateBigint(state, 'apicBase') & (BASE_ADDRESS | BASE_MODE | BASE_BSP);
    this.#timer.restore(stateChild(state, 'timer'));
    this.#isr.load(stateNumbers(state, 'isr', 8, 8, 0xffffffff));
    this.#tmr.load(stateNumbers(state, 'tmr', 8, 8, 0xffffffff));
    this.#irr.load(stateNumbers(state, 'irr', 8, 8, 0xffffffff));
    this.#lvt.restore(stateChild(state, 'lvt'));
    this.#tpr = stateNumber(state, 'tpr', 0xff);
    this.#ldr = stateNumber(state, 'ldr');
    this.#dfr = stateNumber(state, 'dfr');
    this.#svr = stateNumber(state, 'svr', SVR_MASK);
    this.#esr = stateNumber(state, 'esr', 0xff);
    this.#newErrors = stateNumber(state, 'newErrors', 0xff);
    this.#icr = stateNumber(state, 'icr', ICR_WRITABLE);
    this.#icrHigh = stateNumber(state, 'icrHigh');
    this.#extIntRequested = stateBoolean(state, 'extIntRequested');
    this.#update();
  }
}

/** Registers that the page has and x2APIC mode has not. */
function isXApicOnly(register: number): boolean {
  return register === REG.apr || register === REG.remoteRead || register === REG.dfr || register === REG.icrHigh;
}

/** The 8-bit physical destination 0xff means all, as 0xffffffff does with 32 bits. */
function widenDestination(destination: number, icr: number): number {
  return destination === 0xff && !(icr & ICR_LOGICAL) ? DESTINATION_ALL : destination;
}
