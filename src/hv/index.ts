/**
 * The hypervisor interface, `plinth/hv`: what `open("/dev/kvm")` is to a C program.
 *
 *   const hv = await openHypervisor('kvm');      // or 'soft', which runs everywhere
 *   const vm = hv.createVm({ ram: 0x10000 });
 */
import type { EngineKind, Hypervisor } from './contract.ts';
import type { EngineImage } from './soft/image.ts';

export * from './contract.ts';
export { CPU_MODELS, type CpuModel, cpuModel } from './cpu-model.ts';
export { cpuidEntries, filterCpuid } from './cpuid-entries.ts';
export { compileEngineImage, type EngineImage } from './soft/image.ts';

/**
 * Opens an engine.
 * @param engine `kvm` needs Linux and Node.js; `soft` runs everywhere
 * @param image the compiled soft engine; on Node.js it is read from the package's build folder if left out
 * @throws HvError with a one-line cause and advice
 */
export async function openHypervisor(engine: EngineKind, image?: EngineImage): Promise<Hypervisor> {
  if (engine === 'kvm') {
    const { KvmHypervisor } = await import('./kvm/hypervisor.ts');
    return KvmHypervisor.open();
  }
  const { SoftHypervisor } = await import('./soft/contract-vm.ts');
  const { loadEngineImage } = image ? { loadEngineImage: async () => image } : await import('./kvm/engine-files.ts');
  return new SoftHypervisor({ image: await loadEngineImage() });
}
