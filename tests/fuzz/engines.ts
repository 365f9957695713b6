// The engines that the fuzzer can compare, by name.
import type { SoftVcpuOptions } from '../../src/hv/soft/vcpu.ts';
import { SoftEngine } from '../differential/interpreter.ts';

/** Options of the vCPU beyond those of an interpreter. */
const OPTIONS: Readonly<Record<string, Partial<SoftVcpuOptions>>> = {
  interpreter: {},
  // Translates at the first execution.
  translator: { engine: 'bt', hotThreshold: 1 },
};

export function vcpuOptions(name: string): Partial<SoftVcpuOptions> {
  const options = OPTIONS[name];
  if (!options) throw new Error(`no engine ${name}; there are ${Object.keys(OPTIONS).join(', ')}`);
  return options;
}

export const makeEngine = (name: string): SoftEngine => new SoftEngine(name, vcpuOptions(name));
