// What it costs when a guest leaves: port and memory accesses, HLT, hypercall, on the soft engine, interpreting and
// translating, and on /dev/kvm, on the caller's thread and on one of its own.
//
//   node bench/exits.ts [count]

import type { Exit, Hypervisor, Vcpu } from '../src/hv/contract.ts';
import { loadEngineImage } from '../src/hv/kvm/engine-files.ts';
import { KvmHypervisor } from '../src/hv/kvm/hypervisor.ts';
import { AT, setUpMode } from '../src/hv/modes.ts';
import { SoftHypervisor } from '../src/hv/soft/contract-vm.ts';

const COUNT = Number(process.argv[2] ?? 20_000);
const LOOPS: readonly (readonly [name: string, reason: string, code: readonly number[]])[] = [
  ['port write', 'io', [0xe6, 0x10, 0xeb, 0xfc]], // out 0x10, al; jmp back
  ['memory read', 'mmio', [0x8b, 0x04, 0x25, 0x00, 0x20, 0x04, 0x00, 0xeb, 0xf7]], // mov eax, [0x42000]; jmp back
  ['HLT', 'hlt', [0xf4, 0xeb, 0xfd]], // hlt; jmp back
  ['hypercall', 'hypercall', [0x0f, 0x01, 0xc1, 0xeb, 0xfb]], // vmcall; jmp back
];

function makeVcpu(engine: Hypervisor, code: readonly number[]): { vcpu: Vcpu; close: () => void } {
  const vm = engine.createVm({ ram: AT.ram, gpaTop: 4 << 20 });
  vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
  const sregs = setUpMode(vm.memory, 'long', () => [0xf4]);
  vm.memory.write(AT.code, Uint8Array.from(code));
  const vcpu = vm.createVcpu(0);
  if (engine instanceof KvmHypervisor) vcpu.setCpuid(engine.supportedCpuid());
  vcpu.setSregs(sregs);
  vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(AT.code), rsp: BigInt(AT.stack), rflags: 2n });
  return { vcpu, close: () => vm.close() };
}

/** Microseconds of an exit: the best of five rounds, because a busy host only makes it longer. */
async function measure(
  engine: Hypervisor,
  reason: string,
  code: readonly number[],
  run: (vcpu: Vcpu) => Exit | Promise<Exit>,
): Promise<string> {
  const { vcpu, close } = makeVcpu(engine, code);
  try {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 5; round++) {
      const began = performance.now();
      for (let i = 0; i < COUNT / 5; i++) {
        const exit = run(vcpu);
        const got = exit instanceof Promise ? (await exit).reason : exit.reason;
        if (got !== reason) return `no such exit (${got})`;
      }
      best = Math.min(best, ((performance.now() - began) * 1000) / (COUNT / 5));
    }
    return `${best.toFixed(2)} µs`;
  } finally {
    close();
  }
}

const image = await loadEngineImage();
const ENGINES: readonly (readonly [name: string, open: () => Hypervisor, run: (v: Vcpu) => Exit | Promise<Exit>])[] = [
  ['interpreter', () => new SoftHypervisor({ image, engine: 'interp' }), (v) => v.run()],
  ['translator', () => new SoftHypervisor({ image, engine: 'bt' }), (v) => v.run()],
  ['/dev/kvm', () => KvmHypervisor.open(), (v) => v.run()],
  ['/dev/kvm, own thread', () => KvmHypervisor.open(), (v) => v.runAsync()],
];

for (const [kind, open, run] of ENGINES) {
  let engine: Hypervisor;
  try {
    engine = open();
  } catch (error) {
    console.log(`${kind}: ${(error as Error).message}`);
    continue;
  }
  for (const [name, reason, code] of LOOPS) {
    // KVM answers hypercalls itself unless its Xen support is there; the loop would not end.
    const none = name === 'hypercall' && engine instanceof KvmHypervisor && engine.capability('XEN_HVM') === 0;
    const cost = none ? 'answered by the kernel' : await measure(engine, reason, code, run);
    console.log(`${kind.padEnd(20)} ${name.padEnd(12)} ${cost}`);
  }
  engine.close();
}
