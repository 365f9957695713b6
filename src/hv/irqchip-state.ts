/** State of the interrupt controllers and the timer that an engine can hold (KVM's `irqchip` and `pit`). */

/** One 8259A (`struct kvm_pic_state`), each field 0-255. */
export interface PicState {
  /** Levels of the inputs, for telling edges. */
  readonly lastIrr: number;
  readonly irr: number;
  readonly imr: number;
  readonly isr: number;
  /** The input of highest priority, 0-7. */
  readonly priorityAdd: number;
  /** Vector of input 0. */
  readonly irqBase: number;
  /** 1: the command port reads ISR. */
  readonly readRegSelect: number;
  readonly poll: number;
  readonly specialMask: number;
  /** The word that the data port expects: 0 OCW1, 1 ICW2, 2 ICW3, 3 ICW4. */
  readonly initState: number;
  readonly autoEoi: number;
  readonly rotateOnAutoEoi: number;
  readonly specialFullyNestedMode: number;
  /** 1: ICW4 follows. */
  readonly init4: number;
  readonly elcr: number;
  /** Inputs that may be level triggered. */
  readonly elcrMask: number;
}

/** The I/O APIC (`struct kvm_ioapic_state`). */
export interface IoApicState {
  /** gpa of its window. */
  readonly base: bigint;
  /** The select register. */
  readonly select: number;
  readonly id: number;
  /** Pins whose interrupt is still to be delivered, a bit each. */
  readonly irr: number;
  /** 24 redirection entries (82093AA 3.2.4), remote IRR in bit 14. */
  readonly redirection: readonly bigint[];
}

/** PICs and I/O APIC. The local APICs' states are the vCPUs'. */
export interface IrqchipState {
  readonly master: PicState;
  readonly slave: PicState;
  readonly ioApic: IoApicState;
}

/** One counter of the 8254 (`struct kvm_pit_channel_state`). */
export interface PitChannelState {
  /** 1-65536. */
  readonly count: number;
  readonly latchedCount: number;
  /** Which byte of the latched count is read next: 0 none latched, 1 low, 2 high, 3 low and then high. */
  readonly countLatched: number;
  readonly statusLatched: number;
  readonly status: number;
  /** 1 low, 2 high, 3 low of two, 4 high of two. */
  readonly readState: number;
  readonly writeState: number;
  readonly writeLatch: number;
  /** RW1 RW0 of the control word. */
  readonly rwMode: number;
  /** 0-5; 255 before the first control word. */
  readonly mode: number;
  readonly bcd: number;
  readonly gate: number;
  /** Nanoseconds since the count was loaded. */
  readonly age: number;
}

/** The 8254 and the two bits of port 61h that are its own (`struct kvm_pit_state2`). */
export interface PitState {
  readonly channels: readonly [PitChannelState, PitChannelState, PitChannelState];
  /** Bit 1 of port 61h. */
  readonly speaker: boolean;
}

/** Where a GSI goes: a pin of a controller in the engine, or a message to local APICs (SDM vol.3 11.11). */
export type GsiRoute =
  | { readonly gsi: number; readonly to: 'master' | 'slave' | 'io-apic'; readonly pin: number }
  | { readonly gsi: number; readonly to: 'message'; readonly address: number; readonly data: number };
