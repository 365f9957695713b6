/**
 * The hypervisor interface, `plinth/hv`: what `open("/dev/kvm")` is to a C program.
 *
 *   const hv = await openHypervisor('kvm');      // or 'soft', which runs everywhere, or 'bt', which translates too
 *   const vm = hv.createVm({ ram: 0x10000 });
 *
 *   const vm = await createSwitchableVm({ ram: 0x10000 });
 *   vm.switchEngine('kvm');                      // between two instructions
 */
import { type EngineKind, HvError, type Hypervisor, type VmOptions } from './contract.ts';
import { CPU_MODELS, type CpuModel } from './cpu-model.ts';
import { cpuidEntries, filterCpuid } from './cpuid-entries.ts';
import type { EngineImage } from './soft/image.ts';
import { SwitchableVm } from './switchable.ts';

export * from './contract.ts';
export { CPU_MODELS, type CpuModel, cpuModel } from './cpu-model.ts';
export { cpuidEntries, filterCpuid } from './cpuid-entries.ts';
export { compileEngineImage, type EngineImage } from './soft/image.ts';
export { SwitchableVm } from './switchable.ts';

/** On Node.js the image is in the package's build folder. */
async function imageOr(image: EngineImage | undefined): Promise<EngineImage> {
  return image ?? (await import('./kvm/engine-files.ts')).loadEngineImage();
}

/**
 * Opens an engine.
 * @param engine `kvm` needs Linux and Node.js; `soft`, an interpreter, and `bt`, which also translates what is hot, run
 *   everywhere
 * @param image the compiled soft engine; on Node.js it is read from the package's build folder if left out
 * @throws HvError with a one-line cause and advice
 */
export async function openHypervisor(engine: EngineKind | 'bt', image?: EngineImage): Promise<Hypervisor> {
  if (engine === 'kvm') {
    const { KvmHypervisor } = await import('./kvm/hypervisor.ts');
    return KvmHypervisor.open();
  }
  const { SoftHypervisor } = await import('./soft/contract-vm.ts');
  return new SoftHypervisor({ image: await imageOr(image), engine: engine === 'bt' ? 'bt' : 'interp' });
}

export interface SwitchableOptions extends VmOptions {
  /** What the guest may be told of, where KVM has it too. Default: the first of CPU_MODELS. */
  readonly model?: CpuModel | undefined;
}

/**
 * Makes a VM with one vCPU on both engines over the same RAM, at first on the soft one. Its CPUID has what both carry,
 * and its TSC the frequency of KVM's.
 * @param image as for openHypervisor
 * @throws HvError where there is no usable /dev/kvm, or for more than one vCPU
 */
export async function createSwitchableVm(options: SwitchableOptions, image?: EngineImage): Promise<SwitchableVm> {
  if ((options.vcpus ?? 1) !== 1) throw new HvError(`a switchable VM of ${options.vcpus} vCPUs`, 'give it one');
  const [{ KvmHypervisor }, { SoftHypervisor }, { SoftMemory }] = await Promise.all([
    import('./kvm/hypervisor.ts'),
    import('./soft/contract-vm.ts'),
    import('./soft/vm.ts'),
  ]);
  const compiled = await imageOr(image);
  const hypervisor = KvmHypervisor.open();
  try {
    const memory = SoftMemory.ofSize(options);
    const kvm = hypervisor.createVmOn(memory, options.tscHz);
    const model = options.model ?? CPU_MODELS[0]!;
    const soft = new SoftHypervisor({ image: compiled, engine: 'bt', model, tscHz: kvm.tscHz });
    const { entries } = filterCpuid(cpuidEntries(model), hypervisor.supportedCpuid());
    return new SwitchableVm(soft.createVmOn(memory), kvm, entries);
  } finally {
    hypervisor.close();
  }
}
