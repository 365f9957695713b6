// Exceptions and interrupts: recording, double and triple faults, and the way into each mode's delivery.

import { deliver_protected, deliver_real } from './delivery-legacy';
import { deliver_long } from './delivery-long';
import {
  CPU_CR2,
  CPU_DEBUGCTL,
  CPU_DR,
  CPU_EXC_CR2,
  CPU_EXC_DEPTH,
  CPU_EXC_DR6,
  CPU_EXC_ERROR,
  CPU_EXC_VECTOR,
  CPU_HALTED,
  CPU_N_DELIVERED,
  CPU_NMI_BLOCKED,
  CPU_NMI_PENDING,
  CPU_RIP,
  CR0_PE,
  EFLAGS_RF,
  EXC_BP,
  EXC_DB,
  EXC_DE,
  EXC_DF,
  EXC_GP,
  EXC_LEAVE,
  EXC_MC,
  EXC_NMI,
  EXC_OF,
  EXC_PF,
  EXC_TS,
  EXIT_IO,
  EXIT_SHUTDOWN,
} from './gen/layout';
import { set_delivering } from './mmu';
import { cr0, leave, long_mode, raise, rflags } from './state';

/** How an event came to be: decides privilege checks, the EXT bit and RF. The first three: software_interrupt. */
export const KIND_INT: u32 = 0;
export const KIND_INT3: u32 = 1;
export const KIND_INT1: u32 = 2;
export const KIND_EXTERNAL: u32 = 3;
export const KIND_EXCEPTION: u32 = 4;

/** Classes of SDM vol.3 table 6-4, in the order of exc_depth. */
const BENIGN: u32 = 1;
const CONTRIBUTORY: u32 = 2;
const PAGE_FAULT: u32 = 3;
const DOUBLE_FAULT: u32 = 4;

/** Vectors that push an error code: #DF #TS #NP #SS #GP #PF #AC. */
const WITH_ERROR: u32 = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);
/** Vectors that are not faults, so that RF is pushed as it is: #DB NMI #BP #OF #DF #MC. */
const NOT_FAULTS: u32 = (1 << EXC_DB) | (1 << EXC_NMI) | (1 << EXC_BP) | (1 << EXC_OF) | (1 << EXC_DF) | (1 << EXC_MC);

const DR6_HITS: u64 = 0xf;
const DR7_GD: u64 = 0x2000;
const DEBUGCTL_LBR: u64 = 1;
/** Nested exceptions are resolved in at most benign, contributory, #DF; more means that delivery cannot end. */
const MAX_NESTING: u32 = 8;

function class_of(vector: u32): u32 {
  if (vector == EXC_PF) return PAGE_FAULT;
  if (vector == EXC_DF) return DOUBLE_FAULT;
  if (vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP)) return CONTRIBUTORY;
  return BENIGN;
}

/** Whether an exception of class `second` while one of class `first` was delivered makes a double fault. */
function doubles(first: u32, second: u32): bool {
  if (first == CONTRIBUTORY) return second == CONTRIBUTORY;
  return first >= PAGE_FAULT && second >= CONTRIBUTORY;
}

/**
 * Delivers one event through the IDT or IVT, `rip` being pushed. 0: done. 1: another exception is recorded, the
 * state is as before. 2: another exception is recorded, after a task switch.
 */
export function deliver(cpu: u32, vector: u32, kind: u32, error: u32, rip: u64): u32 {
  const status = by_mode(cpu, vector, kind, error, rip);
  if (status == 0) store<u32>(cpu, load<u32>(cpu, CPU_N_DELIVERED) + 1, CPU_N_DELIVERED);
  return status;
}

function by_mode(cpu: u32, vector: u32, kind: u32, error: u32, rip: u64): u32 {
  const ext: u32 = kind >= KIND_INT1 ? 1 : 0;
  const exception = kind == KIND_EXCEPTION && vector < 32;
  const has_error: u32 = exception && (WITH_ERROR >> vector) & 1 ? 1 : 0;
  let flags = rflags(cpu);
  if (exception && !((NOT_FAULTS >> vector) & 1)) flags |= EFLAGS_RF;
  if (!(cr0(cpu) & CR0_PE)) return deliver_real(cpu, vector, flags, rip);
  const software = kind <= KIND_INT3;
  if (long_mode(cpu)) return deliver_long(cpu, vector, software, ext, has_error, error, flags, rip);
  return deliver_protected(cpu, vector, software, ext, has_error, error, flags, rip);
}

/** What the exception itself changes: CR2, DR6 and DR7.GD (SDM vol.3 6.15, 17.2.3). */
function note_exception(cpu: u32, vector: u32): void {
  if (vector == EXC_PF) store<u64>(cpu, load<u64>(cpu, CPU_EXC_CR2), CPU_CR2);
  if (vector != EXC_DB) return;
  const dr6 = cpu + CPU_DR + 6 * 8;
  const dr7 = cpu + CPU_DR + 7 * 8;
  store<u64>(dr6, (load<u64>(dr6) & ~DR6_HITS) | load<u32>(cpu, CPU_EXC_DR6));
  store<u64>(dr7, load<u64>(dr7) & ~DR7_GD);
  store<u64>(cpu, load<u64>(cpu, CPU_DEBUGCTL) & ~DEBUGCTL_LBR, CPU_DEBUGCTL);
  store<u32>(cpu, 0, CPU_EXC_DR6);
}

function shutdown(cpu: u32): u32 {
  store<u32>(cpu, 0, CPU_EXC_DEPTH);
  leave(cpu, EXIT_SHUTDOWN);
  return EXIT_SHUTDOWN;
}

/** Delivers the recorded exception, which came up while an event of class `first` (0: none) was delivered. */
function deliver_recorded(cpu: u32, during: u32): u32 {
  set_delivering(true);
  const result = deliver_nested(cpu, during);
  set_delivering(false);
  return result;
}

function deliver_nested(cpu: u32, during: u32): u32 {
  let first = during;
  for (let i: u32 = 0; i < MAX_NESTING; i++) {
    let vector = load<u32>(cpu, CPU_EXC_VECTOR);
    let error = load<u32>(cpu, CPU_EXC_ERROR);
    note_exception(cpu, vector);
    if (doubles(first, class_of(vector))) {
      if (first == DOUBLE_FAULT) return shutdown(cpu);
      vector = EXC_DF;
      error = 0;
    }
    first = class_of(vector);
    store<u32>(cpu, first, CPU_EXC_DEPTH);
    if (deliver(cpu, vector, KIND_EXCEPTION, error, load<u64>(cpu, CPU_RIP)) == 0) {
      store<u32>(cpu, 0, CPU_EXC_DEPTH);
      return 0;
    }
  }
  return shutdown(cpu);
}

/**
 * Delivers the recorded exception to the guest; field rip is pushed, arithmetic flags must be explicit. 0: go on
 * at field rip. Otherwise exit_reason, which is EXIT_SHUTDOWN after a triple fault.
 */
export function deliver_exception(cpu: u32): u32 {
  if (load<u32>(cpu, CPU_EXC_VECTOR) == EXC_LEAVE) {
    leave(cpu, EXIT_IO);
    return EXIT_IO;
  }
  return deliver_recorded(cpu, 0);
}

/**
 * Delivers an external interrupt that the interrupt controller has acknowledged; ends HLT. Field rip is pushed,
 * arithmetic flags must be explicit. Result as deliver_exception.
 */
export function deliver_interrupt(cpu: u32, vector: u32): u32 {
  store<u32>(cpu, 0, CPU_HALTED);
  set_delivering(true);
  const status = deliver(cpu, vector & 0xff, KIND_EXTERNAL, 0, load<u64>(cpu, CPU_RIP));
  set_delivering(false);
  if (status == 0) return 0;
  return deliver_recorded(cpu, BENIGN);
}

/** Delivers an NMI and blocks further ones until IRET. Result as deliver_exception. */
export function deliver_nmi(cpu: u32): u32 {
  store<u32>(cpu, 0, CPU_NMI_PENDING);
  store<u32>(cpu, 1, CPU_NMI_BLOCKED);
  return deliver_interrupt(cpu, EXC_NMI);
}

/** Delivers #DB for the trap bits in exc_dr6 (single step: bit 14, task switch: bit 15), if any. */
export function deliver_debug_trap(cpu: u32): u32 {
  if (load<u32>(cpu, CPU_EXC_DR6) == 0) return 0;
  raise(cpu, EXC_DB, 0);
  return deliver_recorded(cpu, 0);
}

/** Ends an instruction whose fault came after a task switch: delivers it in the new task. Status 0 or 1. */
export function settle(cpu: u32, status: u32): u32 {
  if (status != 2) return status;
  deliver_recorded(cpu, 0);
  return 0;
}
