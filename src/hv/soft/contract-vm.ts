/** The soft engine as a Hypervisor: it runs everywhere. */

import { makeDecoder } from '../../isa/decoder.ts';
import { ROWS } from '../../isa/rows.ts';
import {
  HvError,
  type Hypervisor,
  type IoHook,
  type MemoryRegion,
  type Vcpu,
  type Vm,
  type VmOptions,
} from '../contract.ts';
import { CPU_MODELS, type CpuModel, TSC_HZ } from '../cpu-model.ts';
import { cpuidEntries } from '../cpuid-entries.ts';
import { IoHooks } from '../io-hooks.ts';
import { SoftContractVcpu } from './contract-vcpu.ts';
import type { EngineImage } from './image.ts';
import { SoftMemory } from './vm.ts';

const NO_IRQCHIP = 'use the devices of plinth, or --engine kvm';

export interface SoftOptions {
  /** The compiled engine. */
  readonly image: EngineImage;
  /** Which instructions there are, and what CPUID says at first. Default: the first model. */
  readonly model?: CpuModel | undefined;
  /** `bt` translates what is hot. Default `interp`. */
  readonly engine?: 'interp' | 'bt' | undefined;
  /** Guest TSC frequency in hertz. Default TSC_HZ. */
  readonly tscHz?: number | undefined;
}

export class SoftHypervisor implements Hypervisor {
  readonly engine = 'soft';
  private readonly options: SoftOptions;

  constructor(options: SoftOptions) {
    this.options = options;
  }
  createVm(options: VmOptions): SoftVm {
    return this.createVmOn(SoftMemory.ofSize(options), options.vcpus ?? 1);
  }
  /** A VM over memory that another engine may use too. */
  createVmOn(memory: SoftMemory, vcpus = 1): SoftVm {
    return new SoftVm(this.options, memory, vcpus);
  }
  close(): void {}
}

export class SoftVm implements Vm {
  readonly engine = 'soft';
  readonly tscHz: number;
  readonly memory: SoftMemory;
  private readonly options: SoftOptions;
  private readonly hooks = new IoHooks();
  private readonly maximum: number;
  private readonly vcpus = new Map<number, SoftContractVcpu>();

  constructor(options: SoftOptions, memory: SoftMemory, vcpus: number) {
    this.options = options;
    this.memory = memory;
    this.maximum = vcpus;
    this.tscHz = options.tscHz ?? TSC_HZ;
  }

  setUserMemoryRegion(region: MemoryRegion): void {
    this.memory.setRegion(region);
    this.dropCode();
  }
  getDirtyLog(slot: number): Uint8Array {
    const log = this.memory.takeDirtyLog(slot);
    this.dropCode();
    return log;
  }
  /** Memory or its map was changed behind the engine's back. */
  dropCode(): void {
    for (const vcpu of this.vcpus.values()) vcpu.soft.dropCode();
  }

  createVcpu(id: number): Vcpu {
    if (this.vcpus.has(id) || !Number.isInteger(id) || id < 0 || id >= this.maximum) {
      throw new HvError(`vCPU ${id} cannot be made`, `give each vCPU its own id from 0 to ${this.maximum - 1}`);
    }
    const { image, engine } = this.options;
    const model = this.options.model ?? CPU_MODELS[0]!;
    const decoder = makeDecoder(ROWS.filter((r) => r.feature === undefined || model.features.has(r.feature)));
    const vcpu = new SoftContractVcpu(
      { id, memory: this.memory, image, decoder, rows: ROWS, engine },
      this.hooks,
      this.tscHz,
    );
    vcpu.setCpuid(cpuidEntries(model, id, this.maximum));
    this.vcpus.set(id, vcpu);
    return vcpu;
  }

  createIrqchip(): never {
    throw new HvError('the soft engine has no interrupt controllers of its own', NO_IRQCHIP);
  }
  createPit(): never {
    return this.createIrqchip();
  }
  setIrqLine(): never {
    return this.createIrqchip();
  }
  setGsiRoutes(): never {
    return this.createIrqchip();
  }
  signalMsi(): never {
    return this.createIrqchip();
  }
  getIrqchip(): never {
    return this.createIrqchip();
  }
  setIrqchip(): never {
    return this.createIrqchip();
  }
  getPit(): never {
    return this.createIrqchip();
  }
  setPit(): never {
    return this.createIrqchip();
  }
  getClock(): never {
    throw new HvError("the soft engine has no clock of KVM's", 'leave it out');
  }
  setClock(): never {
    return this.getClock();
  }
  hook(hook: IoHook): () => void {
    return this.hooks.add(hook);
  }
  close(): void {
    for (const vcpu of this.vcpus.values()) vcpu.close();
    this.vcpus.clear();
  }
}
