/**
 * Interrupt messages between I/O APIC and local APICs, and who gets them (SDM vol.3 11.6.2).
 */

/** Delivery modes: bits [10:8] of the ICR, of LVT entries and of redirection entries. */
export const DELIVERY = { fixed: 0, lowestPriority: 1, smi: 2, nmi: 4, init: 5, startUp: 6, extInt: 7 } as const;

/** Physical destination "all" as 32 bits; an 8-bit 0xff becomes this. */
export const DESTINATION_ALL = 0xffffffff;

/** One message on the bus. */
export interface ApicMessage {
  /** 0 to 255; for start-up the page number of the code. */
  readonly vector: number;
  /** One of `DELIVERY`. */
  readonly delivery: number;
  readonly isLogical: boolean;
  /** APIC ID, or logical destination: 8 bits for an xAPIC, 32 for an x2APIC. */
  readonly destination: number;
  readonly isLevel: boolean;
  /** False only for the level de-assert of INIT. */
  readonly isAssert: boolean;
}

/** A local APIC as the bus sees it. */
export interface ApicTarget {
  /** Whether a message with this destination is for it. */
  matches(destination: number, isLogical: boolean): boolean;
  /** PPR, by which lowest-priority delivery chooses. */
  readonly processorPriority: number;
  /** Whether it takes fixed interrupts: enabled by hardware and software. */
  readonly isEnabled: boolean;
  /** Takes the message. Returns false when it is disabled. */
  accept(message: ApicMessage): boolean;
}

/** Destination shorthands of the ICR, bits [19:18]. */
export const SHORTHAND = { none: 0, self: 1, all: 2, others: 3 } as const;

/** Connects the APICs of one board. */
export class ApicBus {
  readonly #targets: ApicTarget[] = [];

  /** Puts a local APIC on the bus. */
  add(target: ApicTarget): void {
    this.#targets.push(target);
  }

  /** Delivers by destination. Returns whether a local APIC took the message. */
  send(message: ApicMessage): boolean {
    if (message.delivery === DELIVERY.lowestPriority) return this.#lowest(message)?.accept(message) ?? false;
    let isTaken = false;
    for (const target of this.#targets) {
      if (target.matches(message.destination, message.isLogical) && target.accept(message)) isTaken = true;
    }
    return isTaken;
  }

  /** Delivers an interprocessor interrupt of `source` (11.6.1). */
  sendIpi(source: ApicTarget, shorthand: number, message: ApicMessage): boolean {
    if (shorthand === SHORTHAND.none) return this.send(message);
    if (shorthand === SHORTHAND.self) return source.accept(message);
    let isTaken = false;
    for (const target of this.#targets) {
      if (shorthand === SHORTHAND.others && target === source) continue;
      if (target.accept(message)) isTaken = true;
    }
    return isTaken;
  }

  #lowest({ destination, isLogical }: ApicMessage): ApicTarget | undefined {
    let best: ApicTarget | undefined;
    for (const target of this.#targets) {
      if (!target.isEnabled || !target.matches(destination, isLogical)) continue;
      if (best === undefined || target.processorPriority < best.processorPriority) best = target;
    }
    return best;
  }
}
