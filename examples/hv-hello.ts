// A guest of twelve bytes that adds two numbers and prints the digit, on either engine:
//   node examples/hv-hello.ts soft
//   node examples/hv-hello.ts kvm
import { openHypervisor } from '../src/hv/index.ts';

const code = [
  0xba, 0xf8, 0x03, // mov dx, 0x3f8
  0x00, 0xd8, //       add al, bl
  0x04, 0x30, //       add al, '0'
  0xee, //             out dx, al
  0xb0, 0x0a, //       mov al, '\n'
  0xee, //             out dx, al
  0xf4, //             hlt
]; // biome-ignore format: one instruction a line

const hypervisor = await openHypervisor(process.argv[2] === 'kvm' ? 'kvm' : 'soft');
const vm = hypervisor.createVm({ ram: 0x10000 });
vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: 0x10000, offset: 0 });
vm.memory.write(0x1000, Uint8Array.from(code));

const vcpu = vm.createVcpu(0);
const sregs = vcpu.getSregs();
vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
vcpu.setRegs({ ...vcpu.getRegs(), rip: 0x1000n, rflags: 2n, rax: 2n, rbx: 3n });

for (let exit = vcpu.run(); exit.reason !== 'hlt'; exit = vcpu.run()) {
  if (exit.reason !== 'io' || exit.direction !== 'out') throw new Error(`unexpected exit: ${exit.reason}`);
  process.stdout.write(exit.data);
}
console.log(`halted at 0x${vcpu.getRegs().rip.toString(16)} on the ${vm.engine} engine`);
vm.close();
hypervisor.close();
