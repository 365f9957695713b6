// How fast /dev/kvm runs code of level 3: the same machine code in a guest and on the host itself, in turns.
//
//   node bench/level3.ts [milliseconds a run]
//
// The host's side is a small C program; needs gcc.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KvmHypervisor } from '../src/hv/kvm/hypervisor.ts';
import { AT, SEL, setUpMode } from '../src/hv/modes.ts';

const RUN_MS = Number(process.argv[2] ?? 20);
const TURNS = 7;
const RPL3 = 3;
const HLT = 0xf4;
const RET = 0xc3;
const DATA = 0x18000;

interface Loop {
  readonly name: string;
  readonly instructions: number;
  /** rcx rounds; rsi, rdi buffers of 32 KiB. */
  readonly code: readonly number[];
}
const LOOPS: readonly Loop[] = [
  { name: 'count', instructions: 2, code: [0x48, 0xff, 0xc9, 0x75, 0xfb] }, // dec rcx; jnz
  {
    name: 'digest over memory',
    instructions: 8,
    code: [
      0x89, 0xca, //                          mov edx, ecx
      0x81, 0xe2, 0xfc, 0x7f, 0x00, 0x00, //  and edx, 0x7ffc
      0x33, 0x04, 0x16, //                    xor eax, [rsi+rdx]
      0xc1, 0xc0, 0x05, //                    rol eax, 5
      0x69, 0xc0, 0x93, 0x01, 0x00, 0x01, //  imul eax, eax, 0x01000193
      0x89, 0x04, 0x17, //                    mov [rdi+rdx], eax
      0xff, 0xc9, //                          dec ecx
      0x75, 0xe5, //                          jnz
    ], // biome-ignore format: one instruction a line
  },
  {
    name: 'SSE2 doubles',
    instructions: 5,
    code: [
      0xf2, 0x0f, 0x10, 0x06, // movsd xmm0, [rsi]
      0xf2, 0x0f, 0x59, 0xc1, // mulsd xmm0, xmm1
      0xf2, 0x0f, 0x58, 0xd0, // addsd xmm2, xmm0
      0xff, 0xc9, //             dec ecx
      0x75, 0xf0, //             jnz
    ], // biome-ignore format: one instruction a line
  },
];

const HOST = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
static char from[32768], to[32768];
int main(int argc, char **argv) {
  unsigned char *code = mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; argv[1][2 * i]; i++) { unsigned b; sscanf(argv[1] + 2 * i, "%2x", &b); code[i] = b; }
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  long rcx = atol(argv[2]);
  char *rsi = from, *rdi = to;
  __asm__ volatile("call *%3" : "+c"(rcx), "+S"(rsi), "+D"(rdi) : "r"(code) : "rax", "rdx", "xmm0", "xmm1", "xmm2", "cc", "memory");
  clock_gettime(CLOCK_MONOTONIC, &b);
  printf("%ld\\n", (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec);
}`;

/** Nanoseconds of a run in the guest. */
function inGuest(kvm: KvmHypervisor, loop: Loop): { run: (rounds: number) => number; close: () => void } {
  const vm = kvm.createVm({ ram: AT.ram, gpaTop: 4 << 20 });
  vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
  const sregs = setUpMode(vm.memory, 'long', () => [HLT]);
  vm.memory.write(AT.code, Uint8Array.from([...loop.code, HLT]));
  const vcpu = vm.createVcpu(0);
  vcpu.setCpuid(kvm.supportedCpuid());
  const cs = { ...sregs.cs, dpl: RPL3, selector: SEL.user64 | RPL3 };
  const ss = { ...sregs.ss, dpl: RPL3, selector: SEL.userData | RPL3 };
  const run = (rounds: number): number => {
    vcpu.setSregs({ ...sregs, cs, ss });
    const at = { rip: BigInt(AT.code), rsp: BigInt(AT.stack), rsi: BigInt(AT.data), rdi: BigInt(DATA), rflags: 2n };
    vcpu.setRegs({ ...vcpu.getRegs(), ...at, rcx: BigInt(rounds) });
    const began = performance.now();
    // HLT at level 3 is a fault, whose handler halts.
    const { reason } = vcpu.run();
    if (reason !== 'hlt') throw new Error(`the guest left with ${reason}`);
    return (performance.now() - began) * 1e6;
  };
  return { run, close: () => vm.close() };
}

function compare(kvm: KvmHypervisor, program: string, loop: Loop): string {
  const hex = Buffer.from([...loop.code, RET]).toString('hex');
  const host = (rounds: number): number =>
    Number(spawnSync(program, [hex, String(rounds)], { encoding: 'utf8' }).stdout);
  const guest = inGuest(kvm, loop);
  const rounds = Math.round((1e5 * RUN_MS * 1e6) / Math.max(1, host(1e5)));
  guest.run(1000);
  let [onHost, onGuest] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < TURNS; i++) {
    onHost = Math.min(onHost, host(rounds));
    onGuest = Math.min(onGuest, guest.run(rounds));
  }
  guest.close();
  const each = (ns: number): string => (ns / rounds / loop.instructions).toFixed(3);
  return `${loop.name.padEnd(20)} host ${each(onHost)} ns an instruction, level 3 of a guest ${each(onGuest)}: ratio ${(onGuest / onHost).toFixed(3)}`;
}

const kvm = KvmHypervisor.open();
const folder = mkdtempSync(join(tmpdir(), 'plinth-level3-'));
const program = join(folder, 'host');
writeFileSync(`${program}.c`, HOST);
const gcc = spawnSync('gcc', ['-O2', '-o', program, `${program}.c`], { encoding: 'utf8' });
if (gcc.status !== 0) throw new Error(`gcc: ${gcc.stderr}`);
for (const loop of LOOPS) console.log(compare(kvm, program, loop));
rmSync(folder, { recursive: true });
kvm.close();
