// The engines that the fuzzer can compare, by name.
import type { SoftVcpuOptions } from '../../src/hv/soft/vcpu.ts';
import { SoftEngine } from '../differential/interpreter.ts';

/** Options of the vCPU beyond those of an interpreter. */
const OPTIONS: Readonly<Record<string, Partial<SoftVcpuOptions>>> = {
  interpreter: {},
};

export function makeEngine(name: string): SoftEngine {
  const options = OPTIONS[name];
  if (!options) throw new Error(`no engine ${name}; there are ${Object.keys(OPTIONS).join(', ')}`);
  return new SoftEngine(name, options);
}
