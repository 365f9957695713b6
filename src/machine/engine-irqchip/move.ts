/**
 * Interrupt controllers and timer from the board's models into an engine, and back. While they are in the engine the
 * models stand still and lines go to the engine by GSI.
 */
import type { DeviceState } from '../../devices/device.ts';
import { stateChild, stateOptionalBigint } from '../../devices/state.ts';
import type { GsiRoute, Vcpu, Vm } from '../../hv/contract.ts';
import type { Board } from '../board.ts';
import { IO_APIC_BASE, PIT_GSI } from '../memory-map.ts';
import { lapicPage, lapicState, tscDeadlineOf } from './local-apic.ts';
import { ioApicOf, ioApicStateOf, isLevelTriggered, picOf, picStateOf } from './pics.ts';
import { periodNs, pitOf, pitStateOf, repeats, riseAt } from './pit.ts';

const IA32_TSC = 0x10;
const IA32_TSC_DEADLINE = 0x6e0;
const PINS = 24;
const ISA_LINES = 16;
const CASCADE = 2;
const TIMER_GSI = 0;
/** The board's clock and the engine's are read at different moments, nanoseconds. */
const CLOCKS_DIFFER_NS = 1_000_000;

/** The wires of a PC: ISA lines to the 8259 pair and the I/O APIC, the timer's GSI 0 to pin 2 there, as the MADT says. */
export const PC_ROUTES: readonly GsiRoute[] = Array.from({ length: PINS }, (_, gsi): GsiRoute[] => {
  const chip = gsi < 8 ? 'master' : 'slave';
  const pic: GsiRoute[] = gsi < ISA_LINES && gsi !== CASCADE ? [{ gsi, to: chip, pin: gsi % 8 }] : [];
  return gsi === CASCADE ? [] : [...pic, { gsi, to: 'io-apic', pin: gsi === 0 ? PIT_GSI : gsi }];
}).flat();

/** A timer's state with nothing to wait for. */
const still = (state: DeviceState): DeviceState => ({ ...state, deadline: null });

/** The controllers of one board and one virtual machine. */
export class EngineIrqchip {
  private readonly board: Board;
  private readonly vm: Vm;
  private readonly vcpu: Vcpu;
  /** The engine's timer began in the middle of a period, which ends at `rise` (guest time, ns). */
  private odd: { readonly rise: bigint; readonly began: bigint; readonly cancel: () => void } | undefined;

  constructor(board: Board, vm: Vm, vcpu: Vcpu) {
    this.board = board;
    this.vm = vm;
    this.vcpu = vcpu;
  }

  /** Puts the board's controllers into the engine. IA32_APIC_BASE is part of the vCPU's special registers. */
  moveIn(): void {
    const { board, vm, vcpu } = this;
    const now = board.clock.now();
    const [pair, ioApic, apic] = [board.pic.state(), board.ioApic.state(), board.apic.state()];
    vm.setIrqchip({
      master: picOf(stateChild(pair, 'master'), false),
      slave: picOf(stateChild(pair, 'slave'), true),
      ioApic: ioApicOf(ioApic, IO_APIC_BASE),
    });
    this.moveTimerIn(now);
    vcpu.setLapic(lapicPage(apic, board.apic.id, now));
    const deadline = tscDeadlineOf(apic);
    if (deadline !== 0n) vcpu.setMsrs([[IA32_TSC_DEADLINE, deadline]]);
    board.apic.restore({ ...apic, timer: still(stateChild(apic, 'timer')) });
    board.lineSink = (gsi, level) => vm.setIrqLine(gsi, level);
    for (let line = 0; line < PINS; line++) {
      if ((board.lineLevels >> line) & 1 && isLevelTriggered(pair, ioApic, line)) vm.setIrqLine(line, true);
    }
  }

  /**
   * The engine starts a period over. So the end of the one under way is told from here, and the engine's timer started
   * then once more.
   */
  private moveTimerIn(now: bigint): void {
    const { board, vm } = this;
    const state = board.pit.state();
    const pit = pitOf(state, now);
    vm.setPit(pit);
    board.pit.restore(still(state));
    const rise = stateOptionalBigint(state, 'deadline');
    if (rise === undefined || !repeats(pit.channels[0].mode)) return;
    const cancel = board.clock.at(rise, () => {
      if (!this.isOdd()) return;
      this.odd = undefined;
      vm.setIrqLine(TIMER_GSI, false);
      vm.setIrqLine(TIMER_GSI, true);
      vm.setIrqLine(TIMER_GSI, false);
      vm.setPit(vm.getPit());
    });
    this.odd = { rise, began: now, cancel };
  }
  /** Whether the odd period is still under way: the guest has not set the timer since. */
  private isOdd(): boolean {
    if (!this.odd) return false;
    const { age } = this.vm.getPit().channels[0];
    return age >= Number(this.board.clock.now() - this.odd.began) - CLOCKS_DIFFER_NS;
  }

  /** Gives them back to the board. The vCPU does not run. */
  moveOut(): void {
    const { board, vm, vcpu } = this;
    const chips = vm.getIrqchip();
    const page = vcpu.getLapic();
    const [tsc, tscDeadline] = vcpu.getMsrs([IA32_TSC, IA32_TSC_DEADLINE]) as [bigint, bigint];
    const now = board.clock.now();
    const { apicBase } = vcpu.getSregs();
    board.lineSink = undefined;
    board.pic.restore({ master: picStateOf(chips.master), slave: picStateOf(chips.slave) });
    board.ioApic.restore(ioApicStateOf(chips.ioApic, board.lineLevels));
    board.apic.restore(lapicState(page, { now, apicBase, tscDeadline, tsc, tscHz: vm.tscHz }, board.pic.pending));
    board.pit.restore(this.timerState(now));
  }
  private timerState(now: bigint): DeviceState {
    const pit = this.vm.getPit();
    const { odd } = this;
    const isOdd = this.isOdd();
    odd?.cancel();
    this.odd = undefined;
    if (!odd || !isOdd) return pitStateOf(pit, now);
    const [first, ...others] = pit.channels;
    const age = Math.max(0, periodNs(first) - Number(odd.rise - now));
    // The end of the period may have passed, and then nobody has been told of it.
    const { rise } = odd;
    return { ...pitStateOf({ ...pit, channels: [{ ...first, age }, ...others] }, now), ...riseAt(rise) };
  }
}
