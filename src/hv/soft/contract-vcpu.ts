/** The soft engine's vCPU in the shape of the contract: port, memory and MSR accesses come out as exits. */

import { EFLAGS, EXIT_MODE, MODE_CODE64 } from '../../isa/layout.ts';
import {
  type CpuidEntry,
  type Exit,
  type GuestDebug,
  HvError,
  type MpState,
  type RunOptions,
  type Vcpu,
  type VcpuEvents,
} from '../contract.ts';
import { TSC_HZ } from '../cpu-model.ts';
import type { IoHooks } from '../io-hooks.ts';
import { CarriedState } from './carried-state.ts';
import { CpuidTable } from './cpuid-table.ts';
import { hostTurn } from './host-turn.ts';
import { Replay } from './replay.ts';
import { SoftState } from './state.ts';
import { type SoftLeave, SoftVcpu, type SoftVcpuOptions, type VcpuHost } from './vcpu.ts';

/** Instructions between two looks at the clock, by the time left, and when there is no limit. */
const SLICE = 100_000;
const LEAST_SLICE = 200;
const PER_MS = 100_000;
const LONG_SLICE = 1 << 28;
/** runAsync gives the event loop its turn this often, milliseconds. */
const TURN_MS = 8;
const INTERRUPTED: Exit = { reason: 'intr' };
const DB = 1;
const IA32_TSC = 0x10;
/** DR6 after a single step: BS, and the bits that read as one. */
const DR6_STEP = 0xffff_4ff0n;
const DR7_FIXED = 0x400n;
/** Argument registers of a hypercall, in 64-bit mode and else. */
const ARGUMENTS64 = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'] as const;
const ARGUMENTS32 = ['rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'] as const;
const LOW32 = 0xffff_ffffn;

export class SoftContractVcpu extends CarriedState implements Vcpu {
  readonly id: number;
  readonly soft: SoftVcpu;
  protected readonly state: SoftState;
  private readonly replay: Replay;
  private readonly tscHz: number;
  private tscBase = 0n;
  private readonly cpuid = new CpuidTable();
  private last: Exit | undefined;
  /** The instruction at rip has left in the middle and waits for an answer, or to be carried out. */
  private begun = false;
  /** An instruction's stores are coming out; a single step ends behind the last. */
  private stepOwed = false;
  private queued: number | undefined;
  private exception: VcpuEvents['exception'];
  private exitWanted = false;
  private running = false;
  private stepping = false;
  private mpState: MpState = 'runnable';
  requestInterruptWindow = false;
  private windowOpen = false;
  private tprLowered = false;

  constructor(o: Omit<SoftVcpuOptions, 'host'>, hooks: IoHooks, tscHz = TSC_HZ) {
    super();
    this.id = o.id;
    this.tscHz = tscHz;
    this.replay = new Replay(hooks, () => this.state.set32('io_wait', 1));
    this.soft = new SoftVcpu({ ...o, host: this.host() });
    this.state = new SoftState(o.memory.memory, this.soft);
    this.state.set32('exit_mode', EXIT_MODE.LEAVE);
  }

  private host(): VcpuHost {
    const { replay } = this;
    return {
      mmio_read: (_, gpa, size) => (this.carriesOut ? replay.mmioRead(gpa, size) : ~0n),
      mmio_write: (_, gpa, size, value) => {
        if (this.carriesOut) replay.mmioWrite(gpa, size, value);
      },
      port_read: (_, port, size) => replay.portRead(port, size),
      port_write: (_, port, size, value) => replay.portWrite(port, size, value),
      msr_read: (_, index) => {
        const value = replay.msrRead(index);
        if (value === undefined) return 1;
        this.state.set64('scratch', value);
        return 0;
      },
      msr_write: (_, index, value) => (replay.msrWrite(index, value) ? 0 : 1),
      tsc_now: () => BigInt(Math.round((performance.now() * this.tscHz) / 1000)) + this.tscBase,
      cpuid_query: (_, leaf, subleaf) => {
        const r = this.cpuid.query(
          leaf,
          subleaf,
          this.state.get64('cr4'),
          this.state.get64('apic_base'),
          this.state.get64('xcr0'),
        );
        r.forEach((value, i) => {
          this.state.set32('scratch', value, i);
        });
      },
      set_cr8: (_, value) => {
        if (value < this.state.get64('cr8')) {
          this.tprLowered = true;
          this.soft.requestExit();
        }
        this.state.set64('cr8', value);
      },
      get_cr8: () => this.state.get64('cr8'),
      acknowledge: () => {
        this.windowOpen = true;
        this.soft.requestExit();
        return undefined;
      },
    };
  }
  /** Accesses of the processor itself (page tables, interrupt delivery) to what is not RAM have no effect. */
  private get carriesOut(): boolean {
    return this.state.get32('exit_mode') === EXIT_MODE.CARRY_OUT;
  }

  run(options: RunOptions = {}): Exit {
    return this.once(() => this.enter(options, deadlineOf(options)) ?? INTERRUPTED);
  }
  async runAsync(options: RunOptions = {}): Promise<Exit> {
    const deadline = deadlineOf(options);
    for (;;) {
      const turnEnds = performance.now() + TURN_MS;
      const exit = this.once(() => this.enter(options, Math.min(deadline, turnEnds)));
      if (exit) return exit;
      if (performance.now() >= deadline) return INTERRUPTED;
      await hostTurn();
    }
  }
  private once<T>(f: () => T): T {
    if (this.running) throw new HvError(`vCPU ${this.id} runs already`, 'wait for its exit first');
    this.running = true;
    try {
      return f();
    } finally {
      this.running = false;
    }
  }
  requestExit(): void {
    this.exitWanted = true;
    if (this.running) this.soft.requestExit();
  }

  /** The next exit; undefined when the time limit (of performance.now()) came first. */
  private enter(options: RunOptions, deadline: number): Exit | undefined {
    this.finishLast();
    const left = this.goOn();
    if (left) return this.note(left);
    if (options.immediate || this.exitWanted) {
      this.exitWanted = false;
      return INTERRUPTED;
    }
    this.inject();
    this.state.set32('halted', 0);
    for (;;) {
      if (this.requestInterruptWindow && this.readyForInterrupt) return this.note({ reason: 'irq-window-open' });
      const exit = this.stepping ? this.singleStep() : this.slice(deadline);
      if (exit) return this.note(exit);
      if (this.exitWanted) {
        this.exitWanted = false;
        return INTERRUPTED;
      }
      if (performance.now() >= deadline) return undefined;
    }
  }
  private note(exit: Exit): Exit {
    this.last = exit;
    return exit;
  }

  /** What the caller put into the last exit takes effect. */
  private finishLast(): void {
    const last = this.last;
    this.last = undefined;
    if (last?.reason === 'hypercall') {
      this.state.set64('gpr', last.longMode ? last.result : last.result & LOW32);
    } else this.replay.answered();
  }
  /** Finishes an instruction that has begun, and hands out what it stored. */
  private goOn(): Exit | undefined {
    const store = this.replay.takeStore();
    if (store) return store;
    if (this.begun) {
      const exit = this.carryOut();
      if (exit) return exit;
    } else if (!this.stepOwed) return undefined;
    this.stepOwed = false;
    return this.stepping ? this.debugExit() : undefined;
  }
  /** Runs the instruction at rip with the answers known so far. */
  private carryOut(): Exit | undefined {
    this.replay.begin();
    this.state.set32('io_wait', 0);
    this.state.set32('exit_mode', EXIT_MODE.CARRY_OUT);
    const why = this.soft.stepOne();
    this.state.set32('exit_mode', EXIT_MODE.LEAVE);
    this.state.set32('io_wait', 0);
    this.begun = why === 'io';
    if (this.begun) return this.replay.question;
    this.replay.end();
    const store = this.replay.takeStore();
    this.stepOwed = store !== undefined;
    return store ?? this.exitOf(why);
  }

  private slice(deadline: number): Exit | undefined {
    this.windowOpen = false;
    this.replay.begin();
    // With a request pending the chain comes back as soon as interrupts are allowed.
    this.state.set32('irq_pending', this.requestInterruptWindow ? 1 : 0);
    const why = this.soft.runToExit(sliceFor(deadline));
    this.state.set32('irq_pending', 0);
    if (why === 'io') return this.left();
    const exit = this.exitOf(why) ?? this.takeTpr();
    if (exit || !this.windowOpen) return exit;
    return { reason: 'irq-window-open' };
  }
  /** An instruction left: it asked for something, or wants memory that is not RAM. */
  private left(): Exit | undefined {
    this.begun = true;
    this.state.set32('io_wait', 0);
    return this.replay.question ?? this.carryOut();
  }
  private takeTpr(): Exit | undefined {
    const lowered = this.tprLowered;
    this.tprLowered = false;
    return lowered ? { reason: 'set-tpr' } : undefined;
  }
  private singleStep(): Exit | undefined {
    this.replay.begin();
    const why = this.soft.stepOne();
    this.tprLowered = false;
    if (why === 'io') {
      const exit = this.left();
      if (this.begun || exit) return exit;
    }
    return (why === 'io' ? undefined : this.exitOf(why)) ?? this.debugExit();
  }
  private debugExit(): Exit {
    const rip = this.state.get64('rip');
    const pc = BigInt.asUintN(64, rip + this.state.get64('code_base')) & this.state.get64('code_mask');
    return { reason: 'debug', exception: DB, pc, dr6: DR6_STEP, dr7: DR7_FIXED };
  }

  private exitOf(why: SoftLeave): Exit | undefined {
    switch (why) {
      case 'hlt':
        this.state.set32('halted', 0);
        return { reason: 'hlt' };
      case 'shutdown':
        return { reason: 'shutdown' };
      case 'hypercall':
        return this.hypercall();
      case 'internal':
        return { reason: 'internal-error', suberror: 0, data: [] };
      default:
        return undefined;
    }
  }
  private hypercall(): Exit {
    const regs = this.getRegs();
    const longMode = (this.state.get32('mode') & MODE_CODE64) !== 0;
    const cut = (v: bigint): bigint => (longMode ? v : v & LOW32);
    const args = (longMode ? ARGUMENTS64 : ARGUMENTS32).map((n) => cut(regs[n]));
    return { reason: 'hypercall', number: cut(regs.rax), args, longMode, result: 0n };
  }

  // --- interrupts ------------------------------------------------------------------------------------------
  get readyForInterrupt(): boolean {
    const open = (this.state.get32('eflags') & EFLAGS.IF) !== 0;
    return open && this.state.get32('shadow') === 0 && this.queued === undefined && !this.begun;
  }
  interrupt(vector: number): void {
    if (!this.readyForInterrupt) {
      throw new HvError('the vCPU cannot take an interrupt now', 'wait for irq-window-open');
    }
    this.queued = vector & 0xff;
  }
  get cr8(): number {
    return Number(this.state.get64('cr8'));
  }
  set cr8(value: number) {
    this.state.set64('cr8', BigInt(value & 15));
  }
  nmi(): void {
    this.soft.nmi();
  }
  /** Delivers what is queued. */
  private inject(): void {
    const { exception, queued } = this;
    if (exception) this.exception = undefined;
    else this.queued = undefined;
    this.deliver({ exception, interrupt: queued });
  }

  // --- state -----------------------------------------------------------------------------------------------
  protected override setTsc(value: bigint): void {
    this.tscBase += value - this.state.msr(IA32_TSC);
  }
  getLapic(): Uint8Array {
    throw new HvError('the soft engine has no local APIC of its own', 'use the one of src/devices');
  }
  setLapic(_page: Uint8Array): void {
    this.getLapic();
  }
  getEvents(): VcpuEvents {
    return { ...this.state.events(), interrupt: this.queued, exception: this.exception };
  }
  setEvents(events: VcpuEvents): void {
    this.queued = events.interrupt;
    this.exception = events.exception;
    this.state.setEvents(events);
  }
  getMpState(): MpState {
    return this.mpState;
  }
  setMpState(state: MpState): void {
    this.mpState = state;
  }
  setCpuid(entries: readonly CpuidEntry[]): void {
    this.cpuid.set(entries);
    this.state.set64('xcr0_mask', this.cpuid.xcr0Mask);
  }
  setGuestDebug(debug: GuestDebug): void {
    this.stepping = debug.singleStep;
  }
  close(): void {
    this.soft.dropCode();
  }
}

/** Milliseconds of performance.now() at which a run has to come back. */
function deadlineOf(options: RunOptions): number {
  return options.nanoseconds === undefined ? Number.POSITIVE_INFINITY : performance.now() + options.nanoseconds / 1e6;
}

function sliceFor(deadline: number): number {
  if (deadline === Number.POSITIVE_INFINITY) return LONG_SLICE;
  return Math.round(Math.min(SLICE, Math.max(LEAST_SLICE, (deadline - performance.now()) * PER_MS)));
}
