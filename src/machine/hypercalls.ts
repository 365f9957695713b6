/** KVM's hypercalls (the kernel's Documentation/virt/kvm/x86/hypercalls.rst), as far as a guest is told of them. */
import type { GuestMemory, Regs } from '../hv/contract.ts';
import type { KvmClock } from './kvmclock.ts';

/** KVM_HC_*: numbers in RAX. */
const VAPIC_POLL_IRQ = 1n;
const CLOCK_PAIRING = 9n;

/** Results below zero: what is not there, and what went wrong. */
export const KVM_ENOSYS = -1000n;
const KVM_EPERM = -1n;
const KVM_EFAULT = -14n;
const KVM_EOPNOTSUPP = -95n;

/** struct kvm_clock_pairing: s64 seconds, s64 nanoseconds, u64 TSC, u32 flags, nine words of zeros. */
const PAIRING_BYTES = 64;
const PAIRING_WALL_CLOCK = 0n;
const NS_PER_SECOND = 1_000_000_000n;
const LOW32 = 0xffff_ffffn;

/** The processor's state around the instruction. */
export interface HypercallState {
  readonly cpl: number;
  readonly longMode: boolean;
}

/**
 * Carries out VMCALL or VMMCALL: number in RAX, arguments in RBX, RCX, RDX, RSI; 32 bits of each outside 64-bit mode.
 * @returns what RAX becomes
 */
export function kvmHypercall(regs: Regs, s: HypercallState, memory: GuestMemory, clock: KvmClock): bigint {
  const cut = (v: bigint): bigint => (s.longMode ? BigInt.asUintN(64, v) : v & LOW32);
  return cut(s.cpl === 0 ? call(cut(regs.rax), cut(regs.rbx), cut(regs.rcx), memory, clock) : KVM_EPERM);
}

function call(number: bigint, a0: bigint, a1: bigint, memory: GuestMemory, clock: KvmClock): bigint {
  if (number === VAPIC_POLL_IRQ) return 0n;
  return number === CLOCK_PAIRING ? pairClocks(a0, a1, memory, clock) : KVM_ENOSYS;
}

/** Writes at gpa `at` what the host's date is and what the guest's TSC was then. */
function pairClocks(at: bigint, type: bigint, memory: GuestMemory, clock: KvmClock): bigint {
  if (type !== PAIRING_WALL_CLOCK) return KVM_EOPNOTSUPP;
  const { wallNs, tsc } = clock.pair();
  const bytes = new Uint8Array(PAIRING_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, wallNs / NS_PER_SECOND, true);
  view.setBigInt64(8, wallNs % NS_PER_SECOND, true);
  view.setBigUint64(16, BigInt.asUintN(64, tsc), true);
  try {
    memory.write(Number(at), bytes);
    return 0n;
  } catch (error) {
    if (error instanceof RangeError) return KVM_EFAULT;
    throw error;
  }
}
