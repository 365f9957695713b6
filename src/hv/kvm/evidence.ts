/**
 * What this host's /dev/kvm is worth: is it there, may it be opened, what can it do, and how fast is guest kernel
 * code. A host that is itself a virtual machine without nested virtualization may offer /dev/kvm and still emulate
 * every instruction of a guest's kernel.
 */
import type { Exit, Vcpu } from '../contract.ts';
import { HvError } from '../contract.ts';
import { AT, SEL, setUpMode } from '../modes.ts';
import { KvmHypervisor } from './hypervisor.ts';

export interface KvmEvidence {
  readonly usable: boolean;
  /** Cause and advice when it is not usable. */
  readonly problem?: { readonly message: string; readonly advice: string };
  readonly apiVersion?: number;
  /** Nanoseconds per instruction of a loop at privilege level 0, and at level 3. */
  readonly kernelNs?: number;
  readonly userNs?: number;
  /** Nanoseconds of a port access that leaves the guest. */
  readonly exitNs?: number;
  /** In-kernel interrupt controllers and timer are there. */
  readonly irqchip?: boolean;
  /** It runs 32-bit code with paging; a host without nested virtualization may not. */
  readonly paging32?: boolean;
  /** SYSCALL takes a guest from level 3 to level 0, without which no operating system gets far. */
  readonly systemCalls?: boolean;
  /** A guest's TSC can run at a frequency of its own. */
  readonly tscScaling?: boolean;
  /** Hypercalls come out as exits. */
  readonly hypercalls?: boolean;
}

/**
 * A kernel whose instructions take longer is better translated: the soft engine needs 1-10 ns for each. Hardware
 * needs less than one, emulation hundreds.
 */
export const KERNEL_NS_LIMIT = 20;

const DEC_JNZ = [0x48, 0xff, 0xc9, 0x75, 0xfb]; // dec rcx; jnz back
const OUT_LOOP = [0xe6, 0x10, 0xeb, 0xfc]; // out 0x10, al; jmp back
const HLT = 0xf4;
const SYSCALL = [0x0f, 0x05];
const OUT = [0xe6, 0x10];
/** Where SYSCALL goes. */
const ENTRY = AT.code + 0x100;
const IA32_STAR = 0xc000_0081;
const IA32_LSTAR = 0xc000_0082;
const STAR = BigInt(SEL.code32) << 32n;
/** Rounds of the short loop, of the first long one and of the longest. */
const KERNEL_ROUNDS = [50, 1000, 10_000_000] as const;
const USER_ROUNDS = [100_000, 10_000_000, 10_000_000] as const;
/** A long loop tells something when it takes this much longer than entering and leaving the guest does. */
const TELLING = 4;
const TELLING_MS = 1;
/** The host may be busy with other things: the quickest of so many counts. */
const TRIES = 3;
const EXITS = 200;
/** A measurement may take this long, nanoseconds. */
const LIMIT_NS = 250e6;
/** A single exit may take this long, milliseconds. */
const PATIENCE_MS = 5000;
const RPL3 = 3;

/** All of it. Never throws for what it finds. Takes 30 ms, or 120 where guests' kernels are emulated. */
export const examineKvm = (path?: string): KvmEvidence =>
  examine(path, (hypervisor) => ({
    apiVersion: hypervisor.apiVersion,
    irqchip: hypervisor.hasIrqchip,
    paging32: runsPaging32(hypervisor),
    systemCalls: makesSystemCalls(hypervisor),
    tscScaling: hypervisor.capability('TSC_CONTROL') > 0,
    hypercalls: hypervisor.capability('XEN_HVM') > 0,
    kernelNs: loopNs(hypervisor, false, KERNEL_ROUNDS),
    userNs: loopNs(hypervisor, true, USER_ROUNDS),
    exitNs: exitNs(hypervisor),
  }));

/** What the choice of an engine needs: without system calls nothing is measured. Never throws either. */
export const examineKvmForChoice = (path?: string): KvmEvidence =>
  examine(path, (hypervisor) => {
    const systemCalls = makesSystemCalls(hypervisor);
    return systemCalls ? { systemCalls, kernelNs: loopNs(hypervisor, false, KERNEL_ROUNDS) } : { systemCalls };
  });

function examine(
  path = '/dev/kvm',
  look: (hypervisor: KvmHypervisor) => Omit<KvmEvidence, 'usable' | 'problem'>,
): KvmEvidence {
  let hypervisor: KvmHypervisor;
  try {
    hypervisor = KvmHypervisor.open(path);
  } catch (error) {
    return unusable(error);
  }
  try {
    return { usable: true, ...look(hypervisor) };
  } catch (error) {
    return unusable(error);
  } finally {
    hypervisor.close();
  }
}

function unusable(error: unknown): KvmEvidence {
  const { message } = error as Error;
  return {
    usable: false,
    problem: { message, advice: error instanceof HvError ? error.advice : 'use --engine bt' },
  };
}

function runsPaging32(h: KvmHypervisor): boolean {
  return inGuest(
    h,
    [HLT],
    false,
    (vcpu) => {
      start(vcpu, 0);
      return runToExit(vcpu).reason === 'hlt';
    },
    'pae',
  );
}

/** A port access at SYSCALL's target is a fault if the level is still 3. */
function makesSystemCalls(h: KvmHypervisor): boolean {
  const code = [...SYSCALL, ...new Array(ENTRY - AT.code - SYSCALL.length).fill(HLT), ...OUT];
  return inGuest(h, code, true, (vcpu) => {
    vcpu.setMsrs([
      [IA32_STAR, STAR],
      [IA32_LSTAR, BigInt(ENTRY)],
    ]);
    start(vcpu, 0);
    return runToExit(vcpu).reason === 'io';
  });
}

/** Runs `measure` in a guest of a mode, 64-bit if not said otherwise, with `code` at AT.code; every fault ends in HLT. */
function inGuest<T>(
  h: KvmHypervisor,
  code: readonly number[],
  user: boolean,
  measure: (vcpu: Vcpu) => T,
  mode: 'long' | 'pae' = 'long',
): T {
  const vm = h.createVm({ ram: AT.ram });
  try {
    vm.setUserMemoryRegion({ slot: 0, gpa: 0, size: AT.ram, offset: 0 });
    const sregs = setUpMode(vm.memory, mode, () => [HLT]);
    vm.memory.write(AT.code, Uint8Array.from(code));
    const vcpu = vm.createVcpu(0);
    vcpu.setCpuid(h.supportedCpuid());
    const level = { dpl: RPL3 };
    const data = { ...sregs.ss, ...level, selector: SEL.userData | RPL3 };
    if (user)
      vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, ...level, selector: SEL.user64 | RPL3 }, ss: data, ds: data });
    else vcpu.setSregs(sregs);
    return measure(vcpu);
  } finally {
    vm.close();
  }
}

function start(vcpu: Vcpu, rcx: number): void {
  vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(AT.code), rsp: BigInt(AT.stack), rcx: BigInt(rcx), rflags: 2n });
}
/** Runs up to an exit. A host that is busy, or emulated itself, may need several goes for it. */
function runToExit(vcpu: Vcpu): Exit {
  const ends = performance.now() + PATIENCE_MS;
  for (;;) {
    const exit = vcpu.run({ nanoseconds: LIMIT_NS });
    if (exit.reason !== 'intr' || performance.now() >= ends) return exit;
  }
}
function expectReason(exit: Exit, ...reasons: readonly Exit['reason'][]): void {
  if (!reasons.includes(exit.reason)) {
    throw new HvError(`/dev/kvm does not run 64-bit guests: exit ${exit.reason}`, 'use --engine bt');
  }
}

/**
 * Time of one instruction of a loop, by the difference of a short and a long one. How long is found out, because a
 * thousand rounds are a millisecond where kernels are emulated, and lost in the time of an exit where they are not.
 */
function loopNs(h: KvmHypervisor, user: boolean, [few, first, most]: readonly [number, number, number]): number {
  return inGuest(h, [...DEC_JNZ, HLT], user, (vcpu) => {
    const run = (rounds: number): number => {
      // From level 3 the HLT at the end is a fault, so a new state is set for each run.
      start(vcpu, rounds);
      const began = performance.now();
      const exit = vcpu.run({ nanoseconds: LIMIT_NS });
      const took = performance.now() - began;
      expectReason(exit, 'hlt', 'intr');
      const left = Number(vcpu.getRegs().rcx);
      return exit.reason === 'hlt' ? took : (took * rounds) / Math.max(1, rounds - left);
    };
    const sregs = vcpu.getSregs();
    const best = (rounds: number): number => {
      const times = Array.from({ length: TRIES }, () => {
        vcpu.setSregs(sregs);
        return run(rounds);
      });
      return Math.min(...times);
    };
    const short = best(few);
    for (let many = first; ; many *= 10) {
      const more = best(many) - short;
      if (many >= most || more >= Math.max(TELLING_MS, TELLING * short)) {
        return Math.max(0, (more * 1e6) / (2 * (many - few)));
      }
    }
  });
}

function exitNs(h: KvmHypervisor): number {
  return inGuest(h, OUT_LOOP, false, (vcpu) => {
    start(vcpu, 0);
    const began = performance.now();
    for (let i = 0; i < EXITS; i++) expectReason(runToExit(vcpu), 'io');
    return ((performance.now() - began) * 1e6) / EXITS;
  });
}
