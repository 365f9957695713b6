/** The vCPU of a machine: of the soft engine alone, or that and another between which the machine can change. */
import type { CpuModel } from '../hv/cpu-model.ts';
import { SoftVcpu } from '../hv/soft/vcpu.ts';
import type { SoftMemory } from '../hv/soft/vm.ts';
import { makeDecoder } from '../isa/decoder.ts';
import { ROWS } from '../isa/rows.ts';
import type { Board } from './board.ts';
import { boardCpuid, ContractCpu, type MachineCpu } from './contract-cpu.ts';
import type { EngineVm, MachineOptions } from './machine.ts';
import { type CpuObserver, observe } from './observe.ts';
import { SoftCpu } from './soft-cpu.ts';
import { SwitchingCpu } from './switching-cpu.ts';
import { InstructionTime, type TimeSource } from './time.ts';
import { vcpuTrace } from './trace-items.ts';
import { type SharedIdentity, VcpuBridge } from './vcpu-bridge.ts';

/** Some ten microseconds: the TSC lags behind the clock by so much at the most, and then catches up with it. */
const TSC_WINDOW = 2000;

/** What a vCPU is put together with. */
export interface CpuParts {
  readonly options: MachineOptions;
  readonly memory: SoftMemory;
  readonly board: Board;
  readonly model: CpuModel;
  readonly time: TimeSource;
  /** The other engine's virtual machine over the same memory. */
  readonly other: EngineVm | undefined;
}

export interface MadeCpu {
  readonly vcpu: MachineCpu;
  readonly soft: SoftVcpu;
  readonly observer: CpuObserver;
}

export function makeCpu(parts: CpuParts): MadeCpu {
  if (parts.other) return switchingCpu(parts, parts.other);
  const { soft, bridge } = softCpu(parts, parts.model);
  return { vcpu: soft, soft, observer: observe({ soft, bridge }) };
}

function softCpu(
  { options: o, memory, board, time }: CpuParts,
  model: CpuModel,
  shared?: SharedIdentity,
): { soft: SoftVcpu; bridge: VcpuBridge } {
  const bridge = new VcpuBridge(memory, board, model, shared);
  if (time.random64) bridge.random64 = time.random64;
  const rows = ROWS.map((r) => r);
  const decoder = makeDecoder(ROWS.filter((r) => r.feature === undefined || model.features.has(r.feature)));
  const soft = new SoftVcpu({
    id: 0,
    engine: o.engine === 'interp' ? 'interp' : 'bt',
    memory,
    image: o.image,
    decoder,
    rows,
    host: bridge,
    compiler: o.engine === 'interp' || time.deterministic ? undefined : o.openCompiler?.(model.features),
    // With a shared identity the TSC's frequency is another's.
    tscWindow: time.deterministic || shared ? 0 : TSC_WINDOW,
    ...vcpuTrace(o.log, o.logRange, o.logOutput),
  });
  bridge.attach(soft);
  if (time instanceof InstructionTime) time.executed = () => soft.executed;
  return { soft, bridge };
}

/** Two engines for one guest, which is told of what both can carry. */
function switchingCpu(parts: CpuParts, { vm, filterCpuid, engineIrqchip }: EngineVm): MadeCpu {
  const { memory, board, model } = parts;
  memory.memorySlots.forEach(({ gpa, size, offset }, slot) => {
    vm.setUserMemoryRegion({ slot, gpa, size, offset });
  });
  const { tscHz } = vm;
  const { entries: cpuid, missing } = filterCpuid(boardCpuid(model, tscHz, engineIrqchip));
  const common = { ...model, features: new Set([...model.features].filter((name) => !missing.includes(name))) };
  const { soft, bridge } = softCpu(parts, common, { cpuid, tscHz });
  const other = new ContractCpu({ vm, board, cpuid, engineIrqchip });
  const vcpu = new SwitchingCpu({ soft: new SoftCpu(memory, soft, bridge, board), other, tscHz });
  return { vcpu, soft, observer: observe({ soft, bridge, other, softRuns: () => vcpu.engine === 'bt' }) };
}
