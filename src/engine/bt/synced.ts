/**
 * Helpers that a region calls without leaving, with the state they look at stored before and what they change loaded
 * after: short system instructions that kernels are full of.
 */
import { SEG } from '../../isa/layout.ts';

export interface Synced {
  /** General-purpose registers it reads, and those it writes. */
  readonly reads?: readonly number[];
  readonly writes?: readonly number[];
  /** It looks at how many instructions are left. */
  readonly budget?: boolean;
  /** It reads and writes the flags. */
  readonly flags?: boolean;
  /** It changes the base of this segment. */
  readonly base?: number;
  /** Interrupts may be due after it. */
  readonly events?: boolean;
  /** The access context of the data TLB may be another after it. */
  readonly context?: boolean;
}

const [RAX, RCX, RDX, RSP] = [0, 1, 2, 4];

export const SYNCED_HELPERS: ReadonlyMap<string, Synced> = new Map<string, Synced>([
  ['clear_interrupt_flag', {}],
  ['set_interrupt_flag', { events: true }],
  ['pop_flags', { reads: [RSP], writes: [RSP], flags: true, events: true, context: true }],
  ['set_access_check', { context: true }],
  ['swapgs', { base: SEG.gs }],
  ['read_tsc', { writes: [RAX, RDX], budget: true }],
  ['read_tscp', { writes: [RAX, RCX, RDX], budget: true }],
]);
