/** Which engine runs a machine, and why: from what the host has and what was measured. */

/** What `--engine` takes. */
export const ENGINES = ['kvm', 'bt', 'interp', 'auto'] as const;
export type EngineOption = (typeof ENGINES)[number];
export type ChosenEngine = Exclude<EngineOption, 'auto'>;

/** What is known of /dev/kvm (src/hv/kvm/evidence.ts), as far as the choice needs it. */
export interface KvmFacts {
  readonly usable: boolean;
  readonly problem?: { readonly message: string; readonly advice: string } | undefined;
  /** Nanoseconds per instruction of guest kernel code. */
  readonly kernelNs?: number | undefined;
  /** False: a guest's SYSCALL does not raise its level, as on hosts that emulate guest kernels. */
  readonly systemCalls?: boolean | undefined;
}

export interface EngineChoice {
  readonly engine: ChosenEngine;
  /** One line. */
  readonly reason: string;
}

/** The choice cannot be carried out: `kvm` was asked for and there is none. */
export class EngineError extends Error {
  readonly advice: string;
  constructor(message: string, advice: string) {
    super(message);
    this.name = 'EngineError';
    this.advice = advice;
  }
}

/**
 * @param kvm what was found out about /dev/kvm; asked only when it matters
 * @param limitNs kernel code slower than this is better translated
 * @throws EngineError with a one-line cause for `kvm` on a host without a usable one
 */
export function chooseEngine(option: EngineOption, kvm: () => KvmFacts, limitNs: number): EngineChoice {
  if (option === 'interp' || option === 'bt') return { engine: option, reason: 'asked for' };
  const facts = kvm();
  const ns = facts.kernelNs ?? Number.POSITIVE_INFINITY;
  if (option === 'kvm') {
    if (!facts.usable) throw new EngineError(...problemOf(facts));
    const slow = ns > limitNs ? `, but guest kernel code is emulated here at ${Math.round(ns)} ns an instruction` : '';
    return { engine: 'kvm', reason: `asked for${slow}` };
  }
  if (!facts.usable) return { engine: 'bt', reason: `no usable /dev/kvm: ${problemOf(facts)[0]}` };
  if (facts.systemCalls === false) return { engine: 'bt', reason: '/dev/kvm leaves a guest at level 3 on SYSCALL' };
  if (ns > limitNs) {
    return { engine: 'bt', reason: `/dev/kvm takes ${Math.round(ns)} ns for an instruction of guest kernel code` };
  }
  return { engine: 'kvm', reason: `/dev/kvm takes ${ns.toFixed(2)} ns for an instruction of guest kernel code` };
}

function problemOf(facts: KvmFacts): [string, string] {
  return [facts.problem?.message ?? '/dev/kvm cannot be used', facts.problem?.advice ?? 'use --engine auto'];
}
