/** A vCPU of /dev/kvm. */
import type {
  CpuidEntry,
  DebugRegs,
  Exit,
  GuestDebug,
  MpState,
  Regs,
  RunOptions,
  Sregs,
  Vcpu,
  VcpuEvents,
} from '../contract.ts';
import { HvError, XSAVE_BYTES } from '../contract.ts';
import type { IoHooks } from '../io-hooks.ts';
import { DEVICE_ATTR, EXIT_REASON, GUEST_DEBUG, IOCTL, MP_STATES, RUN, SIZE, XCRS } from './abi.ts';
import {
  cpuidList,
  readDebugRegs,
  readEvents,
  readRegs,
  readSregs,
  viewOf,
  writeDebugRegs,
  writeEvents,
  writeRegs,
  writeSregs,
} from './codec.ts';
import { need } from './errors.ts';
import { interrupted, RunPage } from './exits.ts';
import type { IrqchipKind } from './irqchip.ts';
import type { Libc, Mapping } from './libc.ts';
import { Runner, type RunResult } from './runner.ts';

const IF = 1n << 9n;
const IA32_TSC = 0x10;
/** Longest KVM_RUN while an interrupt waits for its window, where the kernel does not tell; nanoseconds. */
const WINDOW_NS = 200_000;

interface Turns {
  readonly options: RunOptions;
  immediate(): boolean;
  nanoseconds(): number | undefined;
  /** A KVM_RUN that was interrupted ends the run. */
  over(): boolean;
}

export interface KvmVcpuOptions {
  readonly c: Libc;
  readonly fd: number;
  readonly id: number;
  readonly mapping: Mapping;
  readonly hooks: IoHooks;
  readonly irqchip: IrqchipKind;
}

export class KvmVcpu implements Vcpu {
  readonly id: number;
  requestInterruptWindow = false;
  private readonly c: Libc;
  private readonly fd: number;
  private readonly mapping: Mapping;
  private readonly page: RunPage;
  private readonly runner: Runner;
  private readonly hooks: IoHooks;
  private readonly irqchip: IrqchipKind;
  private last: Exit | undefined;
  private running = false;
  private exitWanted = false;
  /** The run page tells the truth about readiness; not before the first run or after state was set. */
  private pageValid = false;
  private readonly regs = new Uint8Array(SIZE.regs);
  private readonly sregs = new Uint8Array(SIZE.sregs);

  constructor(o: KvmVcpuOptions) {
    this.id = o.id;
    this.c = o.c;
    this.fd = o.fd;
    this.mapping = o.mapping;
    this.page = new RunPage(o.mapping.buffer);
    this.runner = new Runner(o.c, o.fd);
    this.hooks = o.hooks;
    this.irqchip = o.irqchip;
  }

  private call(request: number, structure: Uint8Array, what: string): number {
    return need(this.c, this.c.ioctlStruct(this.fd, request, structure), what);
  }

  run(options: RunOptions = {}): Exit {
    this.begin();
    try {
      for (const turn = this.turns(options); ; ) {
        this.enter(turn.immediate());
        const exit = this.leave(this.runner.run(turn.nanoseconds()), turn);
        if (exit) return exit;
      }
    } finally {
      this.running = false;
    }
  }
  async runAsync(options: RunOptions = {}): Promise<Exit> {
    this.begin();
    try {
      for (const turn = this.turns(options); ; ) {
        this.enter(turn.immediate());
        const exit = this.leave(await this.runner.runAsync(turn.nanoseconds()), turn);
        if (exit) return exit;
      }
    } finally {
      this.running = false;
    }
  }

  /**
   * How each KVM_RUN of one `run` goes. With a window asked for, the first only finishes the last exit, so that an
   * open window shows, and the others are short, because a host that emulates guest kernel code does not look at the
   * request while it does.
   */
  private turns(options: RunOptions): Turns {
    const ends = options.nanoseconds === undefined ? undefined : performance.now() + options.nanoseconds / 1e6;
    const window = this.requestInterruptWindow;
    let first = window;
    return {
      options,
      immediate: () => {
        const immediate = options.immediate === true || first;
        first = false;
        return immediate;
      },
      nanoseconds: () => {
        const left = ends === undefined ? undefined : Math.max(0, (ends - performance.now()) * 1e6);
        return window ? Math.min(WINDOW_NS, left ?? WINDOW_NS) : left;
      },
      // Any signal to the thread ends a KVM_RUN, not only those that are meant to.
      over: () => options.immediate === true || (ends !== undefined && performance.now() >= ends),
    };
  }

  private begin(): void {
    if (this.running) throw new HvError(`vCPU ${this.id} runs already`, 'wait for its exit first');
    this.running = true;
    if (this.last) this.page.finish(this.last);
    this.last = undefined;
  }
  private enter(immediate: boolean): void {
    const v = this.page.view;
    v.setUint8(RUN.IMMEDIATE_EXIT, immediate || this.exitWanted ? 1 : 0);
    // So that a return without a reason does not look like the last exit again.
    v.setUint32(RUN.EXIT_REASON, EXIT_REASON.UNKNOWN, true);
    v.setUint8(RUN.REQUEST_INTERRUPT_WINDOW, this.requestInterruptWindow ? 1 : 0);
  }
  /** The exit of a KVM_RUN; undefined when a hook has answered it and the guest goes on. */
  private leave(result: RunResult, turn: Turns): Exit | undefined {
    this.pageValid = true;
    if (typeof result === 'object') {
      throw new HvError(`KVM_RUN failed with errno ${result.errno}`, 'use --engine bt and report it');
    }
    if (result === 'interrupted') {
      const wanted = this.exitWanted;
      this.exitWanted = false;
      if (this.requestInterruptWindow && this.readyForInterrupt) return { reason: 'irq-window-open' };
      return wanted || turn.over() ? interrupted() : undefined;
    }
    const exit = this.page.exit();
    if ((exit.reason === 'io' || exit.reason === 'mmio') && !turn.options.immediate && this.hooks.answer(exit)) {
      return undefined;
    }
    this.last = exit;
    return exit;
  }

  requestExit(): void {
    this.exitWanted = true;
    if (!this.running) return;
    this.page.view.setUint8(RUN.IMMEDIATE_EXIT, 1);
    this.runner.kick();
  }

  get readyForInterrupt(): boolean {
    if (this.pageValid) return this.page.view.getUint8(RUN.READY_FOR_INTERRUPT) !== 0;
    const e = this.getEvents();
    return (this.getRegs().rflags & IF) !== 0n && e.shadow === 0 && e.interrupt === undefined;
  }
  interrupt(vector: number): void {
    if (!this.readyForInterrupt) {
      throw new HvError('the vCPU cannot take an interrupt now', 'wait for irq-window-open');
    }
    const bytes = new Uint8Array(SIZE.u32);
    viewOf(bytes).setUint32(0, vector & 0xff, true);
    this.call(IOCTL.INTERRUPT, bytes, 'KVM_INTERRUPT');
    this.page.view.setUint8(RUN.READY_FOR_INTERRUPT, 0);
    this.pageValid = true;
  }
  get cr8(): number {
    return Number(this.page.view.getBigUint64(RUN.CR8, true)) & 15;
  }
  set cr8(value: number) {
    this.page.view.setBigUint64(RUN.CR8, BigInt(value & 15), true);
  }
  nmi(): void {
    need(this.c, this.c.ioctl(this.fd, IOCTL.NMI, 0), 'KVM_NMI');
  }

  getRegs(): Regs {
    this.call(IOCTL.GET_REGS, this.regs, 'KVM_GET_REGS');
    return readRegs(this.regs);
  }
  setRegs(regs: Regs): void {
    writeRegs(this.regs, regs);
    this.call(IOCTL.SET_REGS, this.regs, 'KVM_SET_REGS');
    this.pageValid = false;
  }
  getSregs(): Sregs {
    this.call(IOCTL.GET_SREGS, this.sregs, 'KVM_GET_SREGS');
    return readSregs(this.sregs);
  }
  setSregs(sregs: Sregs): void {
    writeSregs(this.sregs, sregs);
    this.call(IOCTL.SET_SREGS, this.sregs, 'KVM_SET_SREGS');
    // Without an in-kernel local APIC every KVM_RUN takes CR8 from the page.
    this.page.view.setBigUint64(RUN.CR8, sregs.cr8, true);
    this.pageValid = false;
  }

  getXsave(): Uint8Array {
    const area = new Uint8Array(XSAVE_BYTES);
    this.call(IOCTL.GET_XSAVE, area, 'KVM_GET_XSAVE');
    return area;
  }
  setXsave(area: Uint8Array): void {
    if (area.length !== XSAVE_BYTES) {
      throw new HvError(`an XSAVE area of ${area.length} bytes`, `give ${XSAVE_BYTES} bytes in standard form`);
    }
    this.call(IOCTL.SET_XSAVE, area, 'KVM_SET_XSAVE');
  }
  getXcr0(): bigint {
    const bytes = new Uint8Array(SIZE.xcrs);
    this.call(IOCTL.GET_XCRS, bytes, 'KVM_GET_XCRS');
    return viewOf(bytes).getBigUint64(XCRS.FIRST_VALUE, true);
  }
  setXcr0(value: bigint): void {
    const bytes = new Uint8Array(SIZE.xcrs);
    viewOf(bytes).setUint32(XCRS.COUNT, 1, true);
    viewOf(bytes).setBigUint64(XCRS.FIRST_VALUE, value, true);
    this.call(IOCTL.SET_XCRS, bytes, 'KVM_SET_XCRS');
  }

  private msrs(request: number, values: readonly (readonly [number, bigint])[], what: string): Uint8Array {
    const bytes = new Uint8Array(SIZE.msrsHead + values.length * SIZE.msrEntry);
    const v = viewOf(bytes);
    v.setUint32(0, values.length, true);
    values.forEach(([index, value], i) => {
      v.setUint32(SIZE.msrsHead + i * SIZE.msrEntry, index, true);
      v.setBigUint64(SIZE.msrsHead + i * SIZE.msrEntry + 8, BigInt.asUintN(64, value), true);
    });
    // The result is how many were done before the first that could not be.
    const done = this.call(request, bytes, what);
    if (done < values.length) {
      throw new HvError(`${what} refuses MSR 0x${values[done]![0].toString(16)}`, 'leave it out');
    }
    return bytes;
  }
  getMsrs(indices: readonly number[]): bigint[] {
    const bytes = this.msrs(IOCTL.GET_MSRS, indices.map((i) => [i, 0n] as const), 'KVM_GET_MSRS'); // biome-ignore format: one call
    return indices.map((_, i) => viewOf(bytes).getBigUint64(SIZE.msrsHead + i * SIZE.msrEntry + 8, true));
  }
  setMsrs(values: readonly (readonly [index: number, value: bigint])[]): void {
    const others = values.filter(([index, value]) => index !== IA32_TSC || !this.setTsc(value));
    if (others.length > 0) this.msrs(IOCTL.SET_MSRS, others, 'KVM_SET_MSRS');
  }
  /**
   * Sets the TSC by its offset to the host's: a write of the MSR that is within a second of what the kernel expects
   * counts as an attempt to synchronise, and sets something else. False where the kernel has no such attribute.
   */
  private setTsc(value: bigint): boolean {
    const offset = new Uint8Array(SIZE.u64);
    const attribute = new Uint8Array(SIZE.deviceAttr);
    viewOf(attribute).setBigUint64(DEVICE_ATTR.ADDRESS, this.c.addressOf(offset), true);
    if (this.c.ioctlStruct(this.fd, IOCTL.GET_DEVICE_ATTR, attribute) < 0) return false;
    const change = value - this.getMsrs([IA32_TSC])[0]!;
    viewOf(offset).setBigUint64(0, BigInt.asUintN(64, viewOf(offset).getBigUint64(0, true) + change), true);
    return this.c.ioctlStruct(this.fd, IOCTL.SET_DEVICE_ATTR, attribute) >= 0;
  }

  private needLapic(): void {
    if (this.irqchip === 'none') {
      throw new HvError(
        'the local APIC is in user space',
        'call createIrqchip before createVcpu to have it in the kernel',
      );
    }
  }
  getLapic(): Uint8Array {
    this.needLapic();
    const page = new Uint8Array(SIZE.lapic);
    this.call(IOCTL.GET_LAPIC, page, 'KVM_GET_LAPIC');
    return page;
  }
  setLapic(page: Uint8Array): void {
    this.needLapic();
    if (page.length !== SIZE.lapic) throw new HvError(`a local APIC page of ${page.length} bytes`, 'give 1024 bytes');
    this.call(IOCTL.SET_LAPIC, page, 'KVM_SET_LAPIC');
  }

  getEvents(): VcpuEvents {
    const bytes = new Uint8Array(SIZE.events);
    this.call(IOCTL.GET_VCPU_EVENTS, bytes, 'KVM_GET_VCPU_EVENTS');
    return readEvents(bytes);
  }
  setEvents(events: VcpuEvents): void {
    const bytes = new Uint8Array(SIZE.events);
    writeEvents(bytes, events);
    this.call(IOCTL.SET_VCPU_EVENTS, bytes, 'KVM_SET_VCPU_EVENTS');
    this.pageValid = false;
  }
  getDebugRegs(): DebugRegs {
    const bytes = new Uint8Array(SIZE.debugregs);
    this.call(IOCTL.GET_DEBUGREGS, bytes, 'KVM_GET_DEBUGREGS');
    return readDebugRegs(bytes);
  }
  setDebugRegs(regs: DebugRegs): void {
    const bytes = new Uint8Array(SIZE.debugregs);
    writeDebugRegs(bytes, regs);
    this.call(IOCTL.SET_DEBUGREGS, bytes, 'KVM_SET_DEBUGREGS');
  }
  getMpState(): MpState {
    const bytes = new Uint8Array(SIZE.u32);
    this.call(IOCTL.GET_MP_STATE, bytes, 'KVM_GET_MP_STATE');
    return MP_STATES[viewOf(bytes).getUint32(0, true)] ?? 'runnable';
  }
  setMpState(state: MpState): void {
    const bytes = new Uint8Array(SIZE.u32);
    viewOf(bytes).setUint32(0, MP_STATES.indexOf(state), true);
    this.call(IOCTL.SET_MP_STATE, bytes, 'KVM_SET_MP_STATE');
  }
  setCpuid(entries: readonly CpuidEntry[]): void {
    this.call(IOCTL.SET_CPUID2, cpuidList(entries), 'KVM_SET_CPUID2');
  }
  setGuestDebug(debug: GuestDebug): void {
    const bytes = new Uint8Array(SIZE.guestDebug);
    viewOf(bytes).setUint32(0, debug.singleStep ? GUEST_DEBUG.ENABLE | GUEST_DEBUG.SINGLE_STEP : 0, true);
    this.call(IOCTL.SET_GUEST_DEBUG, bytes, 'KVM_SET_GUEST_DEBUG');
  }

  close(): void {
    this.runner.close();
    this.mapping.unmap();
    this.c.close(this.fd);
  }
}
