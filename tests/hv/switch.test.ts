// A guest that computes a digest is moved between the engines a thousand times at random instants.
import { describe, expect, it } from 'vitest';
import { createSwitchableVm, type SwitchableVm } from '../../src/hv/index.ts';
import { AT, SEL, setUpMode } from '../../src/hv/modes.ts';
import { Random, seedOf } from '../isa/random.ts';
import { initialXsave, openKvm } from './engines.ts';

const kvm = openKvm();
if (typeof kvm === 'string') console.log(`engine switches skipped: ${kvm}`);
else kvm.close();

const FROM = AT.data;
const TO = 0x18000;
const MASK = 0x7ffc;
const PRIME = 0x01000193;
const SWITCHES = 1000;

// ecx rounds; eax digest; rsi, rdi tables
const CODE = [
  0x89, 0xca, //                          mov edx, ecx
  0x81, 0xe2, 0xfc, 0x7f, 0x00, 0x00, //  and edx, 0x7ffc
  0x33, 0x04, 0x16, //                    xor eax, [rsi+rdx]
  0xc1, 0xc0, 0x05, //                    rol eax, 5
  0x69, 0xc0, 0x93, 0x01, 0x00, 0x01, //  imul eax, eax, 0x01000193
  0x89, 0x04, 0x17, //                    mov [rdi+rdx], eax
  0xff, 0xc9, //                          dec ecx
  0x75, 0xe5, //                          jnz back
  0xf4, //                                hlt, or a fault at level 3 whose handler halts
]; // biome-ignore format: one instruction a line

/** The digest, worked out here. Writes the second table too. */
function digest(from: Int32Array, to: Int32Array, rounds: number): number {
  let eax = 0;
  for (let ecx = rounds; ecx !== 0; ecx--) {
    const at = (ecx & MASK) >> 2;
    eax ^= from[at]!;
    eax = (eax << 5) | (eax >>> 27);
    eax = Math.imul(eax, PRIME);
    to[at] = eax;
  }
  return eax >>> 0;
}

async function makeSwitchable(level: 0 | 3): Promise<SwitchableVm> {
  const vm = await createSwitchableVm({ ram: AT.ram, gpaTop: 4 << 20 });
  const { memory } = vm;
  vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
  const sregs = setUpMode(memory, 'long', () => [0xf4]);
  memory.write(AT.code, Uint8Array.from(CODE));
  memory.write(
    FROM,
    new Uint8Array(0x8000).map((_, i) => (i * 197) >> 3),
  );
  memory.fill(TO, 0x8000, 0);
  const cs = { ...sregs.cs, dpl: level, selector: level ? SEL.user64 | 3 : SEL.code64 };
  const ss = { ...sregs.ss, dpl: level, selector: level ? SEL.userData | 3 : SEL.data };
  vm.vcpu.setSregs({ ...sregs, cs, ss });
  vm.vcpu.setXsave(initialXsave());
  return vm;
}

const CASES = [
  { level: 3, rounds: 250_000_000, longest: 50_000 },
  { level: 0, rounds: 400_000, longest: 60_000 },
] as const;

describe.skipIf(typeof kvm === 'string').for(CASES)('a guest at level $level', ({ level, rounds, longest }) => {
  it('keeps its digest over a thousand switches', { timeout: 600_000 }, async () => {
    const random = new Random(seedOf(`switches at level ${level}`));
    const vm = await makeSwitchable(level);
    const regs = vm.vcpu.getRegs();
    vm.vcpu.setRegs({
      ...regs,
      rax: 0n,
      rcx: BigInt(rounds),
      rsi: BigInt(FROM),
      rdi: BigInt(TO),
      rsp: BigInt(AT.stack),
      rip: BigInt(AT.code),
      rflags: 2n,
    });
    const memory = (at: number): Uint8Array => vm.memory.read(at, 0x8000);
    const from = new Int32Array(memory(FROM).slice().buffer);
    const to = new Int32Array(0x2000);
    const want = digest(from, to, rounds);

    let switches = 0;
    let reason = 'intr';
    const began = performance.now();
    while (reason === 'intr' && switches < SWITCHES) {
      reason = vm.run({ nanoseconds: 1000 + random.below(longest) }).reason;
      if (reason !== 'intr') break;
      expect(vm.switchEngine(vm.engine === 'soft' ? 'kvm' : 'bt')).toBeUndefined();
      switches++;
    }
    const each = ((performance.now() - began) * 1000) / switches;
    console.log(`level ${level}: ${switches} switches, ${each.toFixed(0)} µs each with what ran between`);
    // It must not have ended before.
    expect(switches).toBe(SWITCHES);
    expect(vm.switchEngine(level === 3 ? 'kvm' : 'bt')).toBeUndefined();
    while (reason === 'intr') reason = vm.run({ nanoseconds: 1e9 }).reason;
    expect(reason).toBe('hlt');
    expect(Number(vm.vcpu.getRegs().rax)).toBe(want);
    expect(new Int32Array(memory(TO).slice().buffer)).toEqual(to);
    vm.close();
  });
});
