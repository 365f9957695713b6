/** What is known of what a machine's vCPU does, whatever engine it is of: for statistics. */
import type { SoftVcpu } from '../hv/soft/vcpu.ts';
import type { ContractCpu } from './contract-cpu.ts';
import type { VcpuBridge } from './vcpu-bridge.ts';

/** Counters by name, since power-on. */
export interface CpuCounts {
  /** Ways out to the machine, by reason. */
  readonly exits: Readonly<Record<string, number>>;
  /** Fills of the software TLB and what else made accesses slow. */
  readonly memory: Readonly<Record<string, number>>;
  /** The translator's; undefined without one. */
  readonly translator?: Readonly<Record<string, number>> | undefined;
}

export interface CpuObserver {
  counts(): CpuCounts;
  /** Between slices: whether what comes next is translated. Undefined where nobody knows. */
  inTranslation(): boolean | undefined;
}

export interface Observed {
  readonly soft: SoftVcpu;
  readonly bridge: VcpuBridge;
  /** The other engine's vCPU, where the machine can change to one, and whether the soft one runs. */
  readonly other?: ContractCpu;
  readonly softRuns?: () => boolean;
}

export function observe({ soft, bridge, other, softRuns }: Observed): CpuObserver {
  return {
    counts: () => {
      const { delivered, ...memory } = soft.counters;
      const { exits } = bridge;
      const counters = soft.translator?.counters;
      const exception = Math.max(0, delivered - exits.interrupt - exits.nmi);
      return { exits: { ...exits, exception, ...other?.exits }, memory, translator: counters && { ...counters } };
    },
    inTranslation: () => ((softRuns?.() ?? true) ? soft.atRegion : undefined),
  };
}
