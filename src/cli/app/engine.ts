// Loads what `plinth run` needs of the engine: the built WebAssembly and the machine.

import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { ChosenEngine } from '../../machine/engine-choice.ts';
import type { MachineOptions as MachineEngine } from '../../machine/machine.ts';
import type { MachineFactory } from './contract.ts';
import { HostError, UsageError } from './errors.ts';
import { adviseHugePages } from './huge-pages.ts';
import type { IrqchipName } from './options.ts';
import { openRegionCompiler } from './region-compiler.ts';
import type { RunOptions } from './run.ts';
import { setFlagsOfModules } from './v8-flags.ts';

type EngineOptions = Pick<RunOptions, 'cpu' | 'engine' | 'switchable' | 'irqchip' | 'deterministic'>;

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
export async function machineFactory(options: EngineOptions): Promise<MachineFactory> {
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
  setFlagsOfModules();
  const image = compileEngineImage(runtime, interpreter, JSON.parse(new TextDecoder().decode(index)));
  // The host's processor cannot be told to count instructions.
  const counts = options.deterministic && options.engine === 'auto';
  const { engine, openVm } = await engineOf(counts ? { ...options, engine: 'bt' } : options);
  return {
    create: (machineOptions) => {
      const openCompiler = (features: ReadonlySet<string>) => {
        // A single processor has nothing to gain.
        if (availableParallelism() < 2) return undefined;
        return openRegionCompiler(features, machineOptions.logOutput);
      };
      return Machine.create({
        ...machineOptions,
        engine,
        openVm,
        openCompiler,
        cpu,
        image,
        adviseMemory: adviseHugePages,
      });
    },
  };
}

/**
 * Decides what runs the machine.
 * @throws HostError when `kvm` was asked for, or a switchable machine, and there is none
 */
async function engineOf(o: EngineOptions): Promise<{ engine: ChosenEngine; openVm: MachineEngine['openVm'] }> {
  const { chooseEngine } = await import('../../machine/engine-choice.ts');
  const soft = o.engine === 'interp' || o.engine === 'bt';
  if (soft && !o.switchable) return { engine: o.engine, openVm: undefined };
  const { examineKvm, examineKvmForChoice, KERNEL_NS_LIMIT } = await import('../../hv/kvm/evidence.ts');
  return asHostError(async () => {
    const examine = o.engine === 'auto' ? examineKvmForChoice : examineKvm;
    const { engine } = chooseEngine(o.engine, examine, KERNEL_NS_LIMIT);
    const openVm = engine === 'kvm' || o.switchable ? await vmOpener(o.irqchip ?? 'auto') : undefined;
    return { engine, openVm };
  });
}

/** @throws HvError when /dev/kvm cannot be opened or has no interrupt controllers, which were asked for */
async function vmOpener(irqchip: IrqchipName): Promise<MachineEngine['openVm']> {
  const { KvmHypervisor } = await import('../../hv/kvm/hypervisor.ts');
  const { filterCpuid } = await import('../../hv/cpuid-entries.ts');
  const { TSC_HZ } = await import('../../hv/cpu-model.ts');
  const hypervisor = KvmHypervisor.open();
  if (irqchip === 'kernel' && !hypervisor.hasIrqchip) {
    throw new HostError('this /dev/kvm has no interrupt controllers and timer', 'use --irqchip user');
  }
  const supported = hypervisor.supportedCpuid();
  return (memory) => ({
    vm: hypervisor.createVmOn(memory, TSC_HZ),
    filterCpuid: (entries) => filterCpuid(entries, supported),
    engineIrqchip: irqchip !== 'user' && hypervisor.hasIrqchip,
  });
}

/** What the engine refuses, as an error of the host with the same advice. */
async function asHostError<T>(f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (error) {
    const { message, advice } = error as Error & { advice?: unknown };
    if (error instanceof HostError || typeof advice !== 'string') throw error;
    throw new HostError(message, advice, { cause: error });
  }
}
