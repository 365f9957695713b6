/**
 * The PC's board: devices at their addresses, wired to the interrupt controllers. It knows nothing of the CPU but
 * the lines that go to it.
 */
import { AcpiPm } from '../devices/acpi-pm.ts';
import { ApicBus } from '../devices/apic-bus.ts';
import { type BusEvent, MmioBus, PortBus } from '../devices/bus.ts';
import type { HostClock } from '../devices/clock.ts';
import { DebugPorts } from '../devices/debug-ports.ts';
import type { CancelTimer, Clock, IrqLine } from '../devices/device.ts';
import { I8042 } from '../devices/i8042.ts';
import { IoApic } from '../devices/io-apic.ts';
import { LocalApic } from '../devices/local-apic.ts';
import { PciHost } from '../devices/pci-host.ts';
import { PicPair } from '../devices/pic8259.ts';
import { Pit8254 } from '../devices/pit8254.ts';
import { RtcCmos } from '../devices/rtc-cmos.ts';
import { Serial16550 } from '../devices/serial16550.ts';
import { TSC_HZ, tscAt } from '../hv/cpu-model.ts';
import { IO_APIC_BASE, IO_APIC_ID, IRQ, type MemoryMap, PIT_GSI, PORT, RAM_ABOVE_4G_BASE } from './memory-map.ts';

/** How the board ended the machine. */
export type BoardEnd =
  | { readonly kind: 'poweroff' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'debug-exit'; readonly value: number };

export interface BoardOptions {
  readonly clock: HostClock;
  readonly map: MemoryMap;
  readonly serialOutput: (bytes: Uint8Array) => void;
  readonly debugOutput: (bytes: Uint8Array) => void;
  /** Milliseconds since 1970, for the real-time clock. */
  readonly wallClockMs: () => number;
  /** Takes a line for each bus access. */
  readonly trace: ((line: string) => void) | undefined;
  /** Frequency of the TSC in hertz. Default TSC_HZ. */
  readonly tscHz?: number | undefined;
  /** The I/O APIC is as the engines' own are, because one of them may take its place. */
  readonly engineIoApic?: boolean | undefined;
}

export class Board {
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly clock: HostClock;
  readonly apic: LocalApic;
  readonly ioApic: IoApic;
  readonly pic: PicPair;
  readonly serial: Serial16550;
  readonly rtc: RtcCmos;
  readonly pm: AcpiPm;
  readonly pci: PciHost;
  readonly keyboardController: I8042;
  readonly pit: Pit8254;
  /** Where interrupt lines go by GSI while an engine has the controllers and the timer itself. */
  lineSink: ((gsi: number, level: boolean) => void) | undefined;
  /** Levels of the lines of GSI 0 to 23 but the timer's, a bit each. */
  lineLevels = 0;
  /** The A20 gate is open. */
  a20Open = true;
  /** An interrupt request to the vCPU may have come or gone. */
  onInterruptChange: () => void = () => {};
  onNmi: () => void = () => {};
  /** A timer was set for `deadline` (ns). */
  onTimerSet: (deadline: bigint) => void = () => {};
  onEnd: (end: BoardEnd) => void = () => {};
  /** The vCPU's time-stamp counter, as the guest has set it. */
  tsc: () => bigint = () => tscAt(this.clock.now());
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** The A20 gate changed: false forces address bit 20 to zero. */
  onA20: (open: boolean) => void = () => {};

  constructor(o: BoardOptions) {
    this.clock = o.clock;
    this.wallMs = o.wallClockMs;
    const clock = this.watchedClock();
    const apicBus = new ApicBus();
    this.pic = new PicPair({
      masterBase: PORT.pic1,
      slaveBase: PORT.pic2,
      elcrBase: PORT.elcr,
      onOutput: (level) => this.apic.setLint(0, level),
    });
    this.ioApic = new IoApic({
      base: IO_APIC_BASE,
      id: IO_APIC_ID,
      hasEoi: !o.engineIoApic,
      deliver: (message) => apicBus.send(message),
    });
    this.apic = new LocalApic({
      id: 0,
      isBootstrap: true,
      bus: apicBus,
      clock,
      tsc: () => this.tsc(),
      tscHz: o.tscHz ?? TSC_HZ,
      pic: this.pic,
      virtualWire: true,
      onChange: () => this.onInterruptChange(),
      onEoi: (vector) => this.ioApic.endOfInterrupt(vector),
      onNmi: () => this.onNmi(),
      onInit: () => {},
      onStartUp: () => {},
    });
    this.serial = new Serial16550({ base: PORT.com1, irq: this.isaLine(IRQ.com1), output: o.serialOutput });
    const debug = new DebugPorts({
      console: PORT.debugConsole,
      exit: PORT.debugExit,
      output: o.debugOutput,
      onExit: (value) => this.onEnd({ kind: 'debug-exit', value }),
    });
    this.pit = new Pit8254({ base: PORT.pit, portB: PORT.systemControlB, irq: this.pitLine(), clock });
    this.rtc = new RtcCmos({ base: PORT.rtc, irq: this.isaLine(IRQ.rtc), clock, wallMs: o.wallClockMs });
    this.rtc.setMemorySize(o.map.lowRamEnd, o.map.highRamEnd - RAM_ABOVE_4G_BASE);
    this.pm = this.makePowerManagement(clock);
    this.pci = new PciHost({ base: PORT.pciConfigAddress, onReset: () => this.reset() });
    this.keyboardController = this.makeKeyboardController();
    const { pic, pit, serial, rtc, pm, pci, keyboardController } = this;
    for (const device of [pic, pit, serial, rtc, pm, pci, keyboardController, debug]) this.ports.register(device);
    for (const device of [this.apic, this.ioApic]) this.mmio.register(device);
    if (o.trace) this.traceTo(o.trace);
  }

  private makePowerManagement(clock: Clock): AcpiPm {
    return new AcpiPm({
      eventBase: PORT.pm1aEvent,
      controlBase: PORT.pm1aControl,
      timerBase: PORT.pmTimer,
      gpeBase: PORT.gpe0,
      sci: this.isaLine(IRQ.sci),
      clock,
      onPowerOff: () => this.onEnd({ kind: 'poweroff' }),
    });
  }

  private makeKeyboardController(): I8042 {
    return new I8042({
      dataPort: PORT.i8042Data,
      commandPort: PORT.i8042Command,
      portA: PORT.systemControlA,
      keyboardIrq: this.isaLine(IRQ.keyboard),
      mouseIrq: this.isaLine(IRQ.mouse),
      onA20: (open) => {
        this.a20Open = open;
        this.onA20(open);
      },
      onReset: () => this.reset(),
    });
  }

  /** A guest asked for a reset by one of the PC's ways. */
  private reset(): void {
    this.onEnd({ kind: 'reset' });
  }

  /** The clock, telling the vCPU's loop of every timer so that a running slice does not go past it. */
  private watchedClock(): Clock {
    return {
      now: () => this.clock.now(),
      nowNs: () => this.clock.nowNs(),
      at: (deadline: bigint, fire: () => void): CancelTimer => {
        this.onTimerSet(deadline);
        return this.clock.at(deadline, fire);
      },
    };
  }

  /** An ISA interrupt goes to the 8259 and to the I/O APIC pin of the same number. */
  private isaLine(irq: number): IrqLine {
    return {
      set: (level) => {
        const bit = 1 << irq;
        this.lineLevels = level ? this.lineLevels | bit : this.lineLevels & ~bit;
        if (this.lineSink) {
          this.lineSink(irq, level);
          return;
        }
        this.pic.setIrq(irq, level);
        this.ioApic.setPin(irq, level);
      },
    };
  }
  /** The timer is IRQ 0 at the 8259 and pin 2 of the I/O APIC, as the MADT says. */
  private pitLine(): IrqLine {
    return {
      set: (level) => {
        if (this.lineSink) return;
        this.pic.setIrq(IRQ.pit, level);
        this.ioApic.setPin(PIT_GSI, level);
      },
    };
  }

  private traceTo(out: (line: string) => void): void {
    const trace = (e: BusEvent): void => {
      const value = e.value.toString(16).padStart(e.width * 2, '0');
      out(`io ${e.kind} ${e.address.toString(16)} ${value}${e.claimed ? '' : ' (nothing there)'}`);
    };
    this.ports.trace = trace;
    this.mmio.trace = trace;
  }
}
