// What the run command needs of a machine. The machine layer provides it; tests provide stand-ins.

import type { Outcome } from '../../machine/machine.ts';
import type { BootMethodName, EngineName, Typed } from './options.ts';

/** How a machine is built. */
export interface MachineOptions {
  /** Bytes of guest RAM. */
  readonly memory: number;
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  /** Kernel command line. */
  readonly append: string;
  /** How to boot. */
  readonly boot?: BootMethodName;
  readonly engine: EngineName;
  /** Name of a CPU model. */
  readonly cpu: string;
  /** The guest is told of KVM's clock. */
  readonly kvmclock: boolean;
  /** Time is a function of the instructions executed, random bits come of the seed, live input is not taken. */
  readonly deterministic?: { readonly seed: bigint };
  /** What is typed at the serial console at which guest time. */
  readonly typed?: readonly Typed[];
  /** Trace items by name; their lines go to `logOutput`. */
  readonly log: string[];
  /** Guest linear addresses `[first, last]` whose instructions are traced. Default: all. */
  readonly logRange?: readonly [bigint, bigint];
  /** Bytes the guest sent on its serial port; the buffer belongs to the machine once this returns. */
  readonly serialOutput: (bytes: Uint8Array) => void;
  readonly logOutput: (line: string) => void;
}

export type { Outcome } from '../../machine/machine.ts';

/** A machine. `run` gives the event loop its turn every few milliseconds. */
export interface MachineLike {
  serialInput(bytes: Uint8Array): void;
  run(options: { readonly signal?: AbortSignal }): Promise<Outcome>;
  stats(): object;
  /** The engine that runs now; undefined for a machine with one engine. */
  readonly engine?: 'bt' | 'kvm' | undefined;
  /** Goes on with another engine. Rejects with a cause and advice when that cannot be. */
  switchEngine?(engine: 'bt' | 'kvm'): Promise<void>;
  /** SHA-256 of memory, registers and time. */
  digest?(): Promise<string>;
}

export interface MachineFactory {
  create(options: MachineOptions): Promise<MachineLike>;
}
