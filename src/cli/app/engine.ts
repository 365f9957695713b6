// Loads what `plinth run` needs of the engine: the built WebAssembly and the machine.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChosenEngine } from '../../machine/engine-choice.ts';
import type { MachineOptions as MachineEngine } from '../../machine/machine.ts';
import type { MachineFactory } from './contract.ts';
import { HostError, UsageError } from './errors.ts';
import type { EngineName } from './options.ts';
import type { RunOptions } from './run.ts';

const buildDir = join(import.meta.dirname, '../../../build');

async function readBuilt(name: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(join(buildDir, name)));
  } catch (error) {
    throw new HostError(`build/${name} is missing`, 'run "npm run build" in Plinth\'s folder', { cause: error });
  }
}

/**
 * Loads the machine and compiles the engine.
 * @throws HostError when Plinth is not built; UsageError for a CPU model that does not exist
 */
export async function machineFactory(options: Pick<RunOptions, 'cpu' | 'engine'>): Promise<MachineFactory> {
  const [runtime, interpreter, index, { Machine, compileEngineImage }, { CPU_MODELS }] = await Promise.all([
    readBuilt('runtime.wasm'),
    readBuilt('interpreter.wasm'),
    readBuilt('interpreter.json'),
    import('../../machine/machine.ts'),
    import('../../hv/cpu-model.ts'),
  ]);
  const models = CPU_MODELS.map((model) => model.name);
  const cpu = options.cpu === 'default' ? (models[0] ?? '') : options.cpu;
  if (!models.includes(cpu)) {
    throw new UsageError(`there is no CPU model ${JSON.stringify(cpu)}`, `choose one of ${models.join(', ')}`);
  }
  const image = compileEngineImage(runtime, interpreter, JSON.parse(new TextDecoder().decode(index)));
  const { engine, openVm } = await engineOf(options.engine);
  return { create: (machineOptions) => Machine.create({ ...machineOptions, engine, openVm, cpu, image }) };
}

/**
 * Decides what runs the machine.
 * @throws HostError when `kvm` was asked for and there is none
 */
async function engineOf(option: EngineName): Promise<{ engine: ChosenEngine; openVm: MachineEngine['openVm'] }> {
  const { chooseEngine, EngineError } = await import('../../machine/engine-choice.ts');
  if (option === 'interp' || option === 'bt') return { engine: option, openVm: undefined };
  const { examineKvm, KERNEL_NS_LIMIT } = await import('../../hv/kvm/evidence.ts');
  try {
    const { engine } = chooseEngine(option, examineKvm, KERNEL_NS_LIMIT);
    if (engine !== 'kvm') return { engine, openVm: undefined };
  } catch (error) {
    if (error instanceof EngineError) throw new HostError(error.message, error.advice, { cause: error });
    throw error;
  }
  const { KvmHypervisor } = await import('../../hv/kvm/hypervisor.ts');
  const { filterCpuid } = await import('../../hv/cpuid-entries.ts');
  const hypervisor = KvmHypervisor.open();
  const supported = hypervisor.supportedCpuid();
  return {
    engine: 'kvm',
    openVm: (memory) => ({
      vm: hypervisor.createVmOn(memory),
      filterCpuid: (entries) => filterCpuid(entries, supported),
      engineIrqchip: true,
    }),
  };
}
